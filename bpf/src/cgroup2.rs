//! Where the cgroup2 hierarchy is mounted.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The root of the cgroup2 hierarchy: `/sys/fs/cgroup` on most machines, `/sys/fs/cgroup/unified` where
/// version 1 is mounted beside it. `None` where this process sees no cgroup2 mount.
#[must_use]
pub fn root() -> Option<PathBuf> {
    find_in_mountinfo(&std::fs::read("/proc/self/mountinfo").ok()?)
}

/// Fields of a line as `proc_pid_mountinfo(5)` has them: `id parent dev root mountpoint options … - type …`.
fn find_in_mountinfo(mountinfo: &[u8]) -> Option<PathBuf> {
    mountinfo.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let (root, mountpoint) = (fields.nth(3)?, fields.next()?);
        let filesystem = fields.skip_while(|field| *field != b"-").nth(1)?;
        (filesystem == b"cgroup2" && root == b"/").then(|| OsString::from_vec(unescape(mountpoint)).into())
    })
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
        assert_eq!(find_in_mountinfo(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let unified = b"29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(find_in_mountinfo(unified), Some("/sys/fs/cgroup".into()));
    }

    #[test]
    fn ignores_bind_mounts_of_a_part_and_garbage() {
        assert_eq!(find_in_mountinfo(b"1 2 0:3 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"), None);
        assert_eq!(find_in_mountinfo(b"\n\nnonsense\n1 2 3 4 5\n"), None);
    }

    #[test]
    fn undoes_the_kernels_escapes() {
        assert_eq!(unescape(br"/a\040b\\134c\999"), br"/a b\\c\999".to_vec());
    }
}
