// SPDX-License-Identifier: GPL-3.0-or-later
//! What was just made at a path, and nothing that was put in its place meanwhile.

use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::umask;

/// Device and inode.
pub(crate) type Identity = (u64, u64);

/// What is at a path now, not through a link.
pub(crate) fn identity(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|there| (there.dev(), there.ino()))
}

/// Runs what makes a file with exactly this mode, which the umask takes nothing from: at no moment may more users use
/// it, and a sandbox refuses to change modes afterwards. Meanwhile other threads make files with no more than that.
pub(crate) fn with_mode<T>(mode: u32, make: impl FnOnce(Mode) -> T) -> T {
    let mode = Mode::from_raw_mode(mode);
    let before = umask(Mode::from_raw_mode(0o777).difference(mode));
    let result = make(mode);
    umask(before);
    result
}

/// What this process has just made at a path. Refuses what is of another kind or user.
pub(crate) fn made(path: &Path, is_kind: fn(&FileType) -> bool) -> io::Result<Identity> {
    let there = fs::symlink_metadata(path)?;
    if !is_kind(&there.file_type()) || there.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("another process replaced it"));
    }
    Ok((there.dev(), there.ino()))
}
