// SPDX-License-Identifier: GPL-3.0-or-later
//! Compiles the eBPF programs with clang, or takes the object that `LECO_BPF_OBJECT` names, and generates their
//! skeleton.

mod compile;
mod prebuilt;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use libbpf_cargo::SkeletonBuilder;

use crate::prebuilt::{Origin, beside, fnv};

const SOURCES: &str = "src/bpf";
const SOURCE: &str = "src/bpf/leco.bpf.c";
const RECORDS: &str = "src/bpf/leco.h";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed={SOURCES}");
    println!("cargo:rerun-if-env-changed=LECO_BPF_OBJECT");
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let object = out.join("leco.bpf.o");
    let processor = env::var("CARGO_CFG_TARGET_ARCH").context("cargo sets CARGO_CFG_TARGET_ARCH")?;
    let target = format!("{processor} {}", compile::byte_order());
    let origin = Origin::of(Path::new(SOURCES), &compile::ARGUMENTS, target)?;
    let mut skeleton = match env::var_os("LECO_BPF_OBJECT").filter(|path| !path.is_empty()) {
        Some(path) => copy(&origin, Path::new(&path), &object)?,
        None => compile::compile(SOURCE, &object)?,
    };
    skeleton
        .reference_obj(true)
        // Nobody reads it. Without this name rustup's stand-in for a rustfmt that is not installed fails the build.
        .rustfmt("no-rustfmt")
        .generate(out.join("leco.skel.rs"))
        .context("generating the skeleton")?;
    // What tells one build of the programs from another, and whether two mean the same by what is in their maps.
    let bytes = fs::read(&object).context("reading the object again")?;
    let records = fs::read_to_string(RECORDS).context(RECORDS)?;
    println!("cargo:rustc-env=LECO_BPF_OBJECT_HASH={}", short(&bytes));
    println!("cargo:rustc-env=LECO_BPF_LAYOUT_HASH={}", short(without_comments(&records).as_bytes()));
    fs::write(beside(&object), origin.describe(&bytes)).context("describing the object")
}

/// Puts an object from elsewhere where a compiled one would be.
fn copy(origin: &Origin, from: &Path, to: &Path) -> Result<SkeletonBuilder> {
    for file in [from, &beside(from)] {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    fs::write(to, origin.take(from)?).with_context(|| format!("cannot write {}", to.display()))?;
    let mut builder = SkeletonBuilder::new();
    builder.obj(to);
    Ok(builder)
}

/// A hash of 32 bits.
fn short(bytes: &[u8]) -> u64 {
    fnv(bytes) & 0xffff_ffff
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
