// SPDX-License-Identifier: GPL-3.0-or-later
//! Compiles the programs that LECO's are compared with.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};
use libbpf_cargo::SkeletonBuilder;

const SOURCE: &str = "src/empty.bpf.c";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed={SOURCE}");
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".into());
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let order = match env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "-mbig-endian",
        _ => "-mlittle-endian",
    };
    SkeletonBuilder::new()
        .source(SOURCE)
        .clang(&clang)
        .clang_args(["-mcpu=v3", order, "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"])
        .obj(out.join("empty.bpf.o"))
        .build()
        .with_context(|| format!("compiling {SOURCE}"))
}
