// SPDX-License-Identifier: GPL-3.0-or-later
//! An object that somebody else compiled, such as a release ships: it is taken where it was made of these very sources
//! for this kind of processor. That is a guard against mistakes; against others there are the sums of the release.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// What an object is made of and for, as the file beside it says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// As Rust names the processor, and which byte of a word comes first.
    pub(crate) target: String,
    /// Hash of all that clang reads and is told.
    pub(crate) sources: String,
}

impl Origin {
    /// The origin of what is compiled of a directory's files with these arguments.
    pub(crate) fn of(directory: &Path, arguments: &[&str], target: String) -> Result<Self> {
        let read = || -> std::io::Result<Vec<(String, Vec<u8>)>> {
            let mut files = Vec::new();
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if path.extension().is_some_and(|kind| kind == "c" || kind == "h") {
                    files.push((name, fs::read(&path)?));
                }
            }
            files.sort();
            Ok(files)
        };
        let files = read().with_context(|| format!("cannot read {}", directory.display()))?;
        let mut all = arguments.join(" ").into_bytes();
        for (name, text) in files {
            // With its length, no two trees are one text.
            all.extend(format!("\0{name}\0{}\0", text.len()).into_bytes());
            all.extend(text);
        }
        Ok(Self { target, sources: format!("{:016x}", fnv(&all)) })
    }

    /// The text that stands beside an object.
    pub(crate) fn describe(&self, object: &[u8]) -> String {
        format!("target {}\nsources {}\nobject {:016x}\n", self.target, self.sources, fnv(object))
    }

    /// Reads an object, unless it is another one than is needed here.
    pub(crate) fn take(&self, path: &Path) -> Result<Vec<u8>> {
        let shown = path.display();
        // Cargo runs this in the directory of the package, where nobody would look for it.
        ensure!(path.is_absolute(), "LECO_BPF_OBJECT is {shown}: give an absolute path");
        let object = fs::read(path).with_context(|| format!("LECO_BPF_OBJECT: cannot read {shown}"))?;
        let beside = beside(path);
        let said = fs::read_to_string(&beside).with_context(|| {
            format!(
                "LECO_BPF_OBJECT: cannot read {}, which a release has beside the object",
                beside.display()
            )
        })?;
        let value = |key: &str| said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        if value("target") != Some(&self.target) {
            let found = value("target").unwrap_or("something unknown");
            bail!("LECO_BPF_OBJECT: {shown} is for {found}, and this build is for {}", self.target);
        }
        ensure!(
            value("sources") == Some(&self.sources),
            "LECO_BPF_OBJECT: {shown} was compiled from other sources than these: take the one of this version, or \
             unset LECO_BPF_OBJECT to compile with clang"
        );
        ensure!(
            said == self.describe(&object),
            "LECO_BPF_OBJECT: {shown} is not the object that {} describes",
            beside.display()
        );
        Ok(object)
    }
}

/// The file that describes an object.
pub(crate) fn beside(object: &Path) -> PathBuf {
    let mut path = object.as_os_str().to_owned();
    path.push(".origin");
    path.into()
}

/// FNV-1a of 64 bits.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
