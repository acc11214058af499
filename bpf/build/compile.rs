// SPDX-License-Identifier: GPL-3.0-or-later
//! Compiling eBPF programs with clang, for the build scripts of two packages.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use libbpf_cargo::SkeletonBuilder;

/// What clang is told wherever it runs. v3 has atomics that return a value (compare and exchange), in every kernel LECO
/// supports.
pub(crate) const ARGUMENTS: [&str; 5] = ["-mcpu=v3", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"];

/// Which byte of a word comes first where the programs will run: `little` or `big`. Clang's own choice would be that of
/// the machine that compiles.
pub(crate) fn byte_order() -> &'static str {
    match env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "big",
        _ => "little",
    }
}

/// Compiles a source of this package; a skeleton can be generated from what is returned.
pub(crate) fn compile(source: &str, object: &Path) -> Result<SkeletonBuilder> {
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".into());
    if Command::new(&clang).arg("--version").output().is_err() {
        bail!(
            "`{clang}` is needed to compile the eBPF programs: run script/bootstrap, set CLANG, or set LECO_BPF_OBJECT \
             to the object that came with a release (README.md, Install)"
        );
    }
    let order = format!("-m{}-endian", byte_order());
    // Else the same sources would be other programs in each directory: names of files are in the object.
    let package = env::var("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?;
    let without_directory = format!("-ffile-prefix-map={package}=.");
    let mut builder = SkeletonBuilder::new();
    builder
        .source(source)
        .clang(&clang)
        .clang_args(ARGUMENTS.into_iter().chain([&*order, &*without_directory]))
        .obj(object)
        .build()
        .with_context(|| format!("compiling {source}"))?;
    Ok(builder)
}
