// SPDX-License-Identifier: GPL-3.0-or-later
//! Compiles the programs that LECO's are compared with.

#[path = "../bpf/build/compile.rs"]
mod compile;

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    // What they count in is LECO's.
    println!("cargo:rerun-if-changed=../bpf/src/bpf");
    for name in ["empty.bpf", "original.bpf"] {
        let source = format!("src/{name}.c");
        println!("cargo:rerun-if-changed={source}");
        compile::compile(&source, &out.join(name).with_extension("bpf.o"))?;
    }
    Ok(())
}
