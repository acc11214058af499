// SPDX-License-Identifier: GPL-3.0-or-later
//! The programs for every kind of processor that LECO supports: which registers hold a system call's arguments, and
//! which byte of a word comes first, is known only when they are compiled.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use libbpf_cargo::SkeletonBuilder;
use libbpf_rs::ObjectBuilder;

/// As Rust names it, as libbpf does, and which byte comes first.
const ARCHITECTURES: [(&str, &str, &str); 5] = [
    ("x86_64", "x86", "-mlittle-endian"),
    ("aarch64", "arm64", "-mlittle-endian"),
    ("riscv64", "riscv", "-mlittle-endian"),
    ("s390x", "s390", "-mbig-endian"),
    ("powerpc64", "powerpc", "-mlittle-endian"),
];
/// Programs that find what they need in registers.
const BY_REGISTERS: [&str; 4] = ["raw_sendmsg", "ping_v4_sendmsg", "udp_sendmsg", "udpv6_sendmsg"];

/// Whether clang writes objects of this byte order; if not, says so, and fails where nothing may be skipped.
fn can_compile(clang: &str, order: &str, folder: &Path) -> bool {
    let (source, object) = (folder.join("empty.c"), folder.join("empty.o"));
    std::fs::write(&source, "").unwrap();
    let mut command = Command::new(clang);
    command.args([order, "-target", "bpf", "-c"]).arg(source).arg("-o").arg(object);
    let can = command.output().is_ok_and(|output| output.status.success());
    assert!(
        can || std::env::var("LECO_TEST_REQUIRE").as_deref() != Ok("all"),
        "may not be skipped: {clang} has no target bpf with {order}"
    );
    can
}

/// Names of programs and of functions that they share.
fn programs(object: &Path) -> BTreeSet<String> {
    let object = ObjectBuilder::default().open_file(object).unwrap();
    object.progs().map(|program| program.name().to_string_lossy().into_owned()).collect()
}

#[test]
fn each_architecture_has_all_programs() {
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".into());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bpf/leco.bpf.c");
    let folder = tempfile::tempdir().unwrap();
    let mut all: Option<BTreeSet<String>> = None;
    for (name, target, order) in ARCHITECTURES {
        if !can_compile(&clang, order, folder.path()) {
            println!("SKIPPED {name}: {clang} has no target bpf with {order}");
            continue;
        }
        let object = folder.path().join(format!("{name}.o"));
        let define = format!("-D__TARGET_ARCH_{target}");
        let warnings = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"];
        SkeletonBuilder::new()
            .source(&source)
            .clang(&clang)
            .clang_args([&["-mcpu=v3", order, &define][..], &warnings].concat())
            .obj(&object)
            .build()
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let there = programs(&object);
        for program in BY_REGISTERS {
            assert!(there.contains(program), "{name} has no {program}");
        }
        let all = all.get_or_insert_with(|| there.clone());
        assert_eq!(&there, all, "{name}");
    }
}
