//! Compiles the eBPF programs with clang and generates their skeleton.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use libbpf_cargo::SkeletonBuilder;

const SOURCE: &str = "src/bpf/leco.bpf.c";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=src/bpf");
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".into());
    if Command::new(&clang).arg("--version").output().is_err() {
        bail!("`{clang}` is needed to compile the eBPF programs: run script/bootstrap, or set CLANG");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let skeleton = out.join("leco.skel.rs");
    SkeletonBuilder::new()
        .source(SOURCE)
        .clang(&clang)
        // v3 has atomics that return a value (compare and exchange), in every kernel LECO supports.
        .clang_args(["-mcpu=v3", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"])
        .obj(out.join("leco.bpf.o"))
        .reference_obj(true)
        .build_and_generate(&skeleton)
        .with_context(|| format!("compiling {SOURCE}"))?;
    // The fingerprint that tells one build of the programs from another: FNV-1a over the object.
    let object = fs::read(out.join("leco.bpf.o")).context("the object clang wrote")?;
    let hash = object.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    println!("cargo:rustc-env=LECO_BPF_OBJECT_HASH={}", hash & 0xffff_ffff);
    Ok(())
}
