// SPDX-License-Identifier: GPL-3.0-or-later
//! Compiles the eBPF programs with clang and generates their skeleton.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use libbpf_cargo::SkeletonBuilder;

const SOURCE: &str = "src/bpf/leco.bpf.c";
const RECORDS: &str = "src/bpf/leco.h";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=src/bpf");
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".into());
    if Command::new(&clang).arg("--version").output().is_err() {
        bail!("`{clang}` is needed to compile the eBPF programs: run script/bootstrap, or set CLANG");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let skeleton = out.join("leco.skel.rs");
    // Else it is that of the machine that compiles.
    let order = match env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "-mbig-endian",
        _ => "-mlittle-endian",
    };
    SkeletonBuilder::new()
        .source(SOURCE)
        .clang(&clang)
        // v3 has atomics that return a value (compare and exchange), in every kernel LECO supports.
        .clang_args(["-mcpu=v3", order, "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"])
        .obj(out.join("leco.bpf.o"))
        .reference_obj(true)
        // Nobody reads it. Without this name rustup's stand-in for a rustfmt that is not installed fails the build.
        .rustfmt("no-rustfmt")
        .build_and_generate(&skeleton)
        .with_context(|| format!("compiling {SOURCE}"))?;
    // What tells one build of the programs from another, and whether two mean the same by what is in their maps.
    let object = fs::read(out.join("leco.bpf.o")).context("the object clang wrote")?;
    let records = fs::read_to_string(RECORDS).context(RECORDS)?;
    println!("cargo:rustc-env=LECO_BPF_OBJECT_HASH={}", fingerprint(&object));
    println!("cargo:rustc-env=LECO_BPF_LAYOUT_HASH={}", fingerprint(without_comments(&records).as_bytes()));
    Ok(())
}

/// FNV-1a, cut to 32 bits.
fn fingerprint(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash & 0xffff_ffff
}

/// The words of C source with one space between, without what stands in `/* */`.
fn without_comments(source: &str) -> String {
    let mut parts = source.split("/*");
    let mut code = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        code.push_str(part.split_once("*/").map_or("", |(_, after)| after));
    }
    code.split_whitespace().collect::<Vec<_>>().join(" ")
}
