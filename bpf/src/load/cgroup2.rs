// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the cgroup2 hierarchy is mounted.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The inode number, and so the id, of the hierarchy's own root.
const ROOT_ID: u64 = 1;

/// The root of the cgroup2 hierarchy: `/sys/fs/cgroup` on most machines, `/sys/fs/cgroup/unified` where
/// version 1 is mounted beside it. In a cgroup namespace that of the namespace, unless the whole hierarchy is mounted
/// there, too. `None` where this process sees no cgroup2 mount.
pub fn find_root() -> io::Result<Option<PathBuf>> {
    let roots = find_in_mountinfo(&std::fs::read("/proc/self/mountinfo")?);
    Ok(roots.iter().find(|root| is_whole(root)).or(roots.first()).cloned())
}

/// The same, for those who can do nothing about an error.
#[must_use]
pub fn root() -> Option<PathBuf> {
    find_root().ok().flatten()
}

/// Whether it is the root of the whole hierarchy: in a cgroup namespace it may be that of a part, and what runs
/// outside of it cannot be found.
#[must_use]
pub fn is_whole(root: &Path) -> bool {
    std::fs::symlink_metadata(root).is_ok_and(|metadata| metadata.ino() == ROOT_ID)
}

/// Fields of a line as `proc_pid_mountinfo(5)` has them: `id parent dev root mountpoint options … - type …`. What is
/// mounted from above the root of a cgroup namespace has a root of `/..`, `/../..`, ….
fn find_in_mountinfo(mountinfo: &[u8]) -> Vec<PathBuf> {
    let lines = mountinfo.split(|&byte| byte == b'\n');
    let found = lines.filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let (root, mountpoint) = (fields.nth(3)?, fields.next()?);
        let filesystem = fields.skip_while(|field| *field != b"-").nth(1)?;
        let is_root =
            root == b"/" || root.strip_prefix(b"/")?.split(|&byte| byte == b'/').all(|part| part == b"..");
        (filesystem == b"cgroup2" && is_root).then(|| OsString::from_vec(unescape(mountpoint)).into())
    });
    found.collect()
}

/// Undoes the octal escapes the kernel writes for space, tab, newline and backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\').then(|| tail.get(..3)).flatten().and_then(|digits| {
            digits.iter().try_fold(0_u32, |value, &digit| {
                (b'0'..=b'7').contains(&digit).then(|| value * 8 + u32::from(digit - b'0'))
            })
        });
        if let Some(byte) = octal.and_then(|value| u8::try_from(value).ok()) {
            plain.push(byte);
            rest = &tail[3..];
        } else {
            plain.push(first);
            rest = tail;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mount_on_hybrid_and_unified_machines() {
        let hybrid = b"25 24 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw\n\
            35 25 0:32 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
            38 25 0:35 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(find_in_mountinfo(hybrid), [PathBuf::from("/sys/fs/cgroup/unified")]);
        let unified = b"29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(find_in_mountinfo(unified), [PathBuf::from("/sys/fs/cgroup")]);
    }

    #[test]
    fn the_whole_hierarchy_is_known_in_a_cgroup_namespace() {
        let both = b"29 23 0:26 / /mnt/own rw - cgroup2 cgroup2 rw\n30 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
            31 23 0:26 /../other /mnt/x rw - cgroup2 cgroup2 rw\n";
        assert_eq!(find_in_mountinfo(both), [PathBuf::from("/mnt/own"), PathBuf::from("/sys/fs/cgroup")]);
        assert!(!is_whole(Path::new("/nowhere")));
    }

    #[test]
    fn ignores_bind_mounts_of_a_part_and_garbage() {
        let part = b"1 2 0:3 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert!(find_in_mountinfo(part).is_empty());
        assert!(find_in_mountinfo(b"\n\nnonsense\n1 2 3 4 5\n").is_empty());
    }

    #[test]
    fn undoes_the_kernels_escapes() {
        assert_eq!(unescape(br"/a\040b\\134c\999"), br"/a b\\c\999".to_vec());
    }
}
