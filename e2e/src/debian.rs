// SPDX-License-Identifier: GPL-3.0-or-later
//! A small Debian system, for what is installed in it and started by its systemd.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skip;
use crate::vm::output;

/// The system, unpacked.
pub struct Debian {
    folder: tempfile::TempDir,
}

impl Debian {
    /// Unpacks the system that `script/bootstrap test` has made; where there is none, says so, and fails where nothing
    /// may be skipped.
    ///
    /// # Panics
    /// With `LECO_TEST_REQUIRE=all` instead of skipping, and when it cannot be unpacked.
    #[must_use]
    pub fn unpack() -> Option<Self> {
        let archive = in_target("images/debian.tar");
        if !archive.exists() || !rustix::process::geteuid().is_root() {
            let _ = skip("there is no Debian system to install into: run script/bootstrap test as root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        output(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder.path()));
        Some(Self { folder })
    }

    /// A path in it, seen from outside.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside.trim_start_matches('/'))
    }

    /// Runs a command in it.
    ///
    /// # Panics
    /// When it fails.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, args: &[S]) -> String {
        let mut command = Command::new("chroot");
        command.arg(self.folder.path()).arg(program).args(args);
        command.env_clear().envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("XDG_RUNTIME_DIR", "/tmp")]);
        String::from_utf8_lossy(&output(&mut command)).into_owned()
    }

    /// Puts a file of the host's into it.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn copy(&self, from: &Path, inside: &str) {
        let to = self.path(inside);
        fs::copy(from, &to).unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), to.display()));
    }

    /// Makes a disk of it.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn disk(&self, folder: &Path) -> PathBuf {
        let disk = folder.join("disk");
        let mut command = Command::new("mke2fs");
        command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
        output(command.args(["-q", "-t", "ext4", "-d"]).arg(self.folder.path()).arg(&disk).arg("1G"));
        disk
    }
}

/// A package that `script/packages` has built, `first` or `second`; where there is none, says so, and fails where
/// nothing may be skipped.
///
/// # Panics
/// With `LECO_TEST_REQUIRE=all` instead of skipping.
#[must_use]
pub fn package(name: &str) -> Option<PathBuf> {
    let package = in_target(&format!("packages/{name}.deb"));
    (package.exists() || skip("there are no packages to install: run script/packages")).then_some(package)
}

fn in_target(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(path)
}
