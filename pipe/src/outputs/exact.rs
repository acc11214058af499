// SPDX-License-Identifier: GPL-3.0-or-later
//! What was just made at a path, and nothing that was put in its place meanwhile.

use std::fs::{self, FileType, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Device and inode.
pub(crate) type Identity = (u64, u64);

/// What is at a path now, not through a link.
pub(crate) fn identity(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|there| (there.dev(), there.ino()))
}

/// Gives what this process has made at a path exactly this mode, whatever the umask is, and tells what it is. Refuses
/// what is of another kind or user.
pub(crate) fn set_mode(path: &Path, is_kind: fn(&FileType) -> bool, mode: u32) -> io::Result<Identity> {
    let flags = (OFlags::PATH | OFlags::NOFOLLOW).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let there = opened.metadata()?;
    if !is_kind(&there.file_type()) || there.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("another process replaced it"));
    }
    // By what is open, since the path may lead elsewhere at any moment.
    let open = format!("/proc/self/fd/{}", opened.as_raw_fd());
    fs::set_permissions(open, fs::Permissions::from_mode(mode))?;
    Ok((there.dev(), there.ino()))
}
