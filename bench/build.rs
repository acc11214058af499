// SPDX-License-Identifier: GPL-3.0-or-later
//! Compiles the programs that LECO's are compared with.

#[path = "../bpf/build/compile.rs"]
mod compile;

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

const SOURCE: &str = "src/empty.bpf.c";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed={SOURCE}");
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    compile::compile(SOURCE, &out.join("empty.bpf.o")).map(drop)
}
