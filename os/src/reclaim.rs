//! Memory that is seldom needed. The one module of this crate with unsafe code.

#![allow(unsafe_code)]

use std::fs;
use std::ops::Range;

use rustix::mm::{Advice, madvise};

/// Gives back what only a part that seldom runs needed, such as the start: freed memory, and the pages of program and
/// libraries that were read for it. Those that are needed again come back from the page cache, without a read from
/// the disk.
pub fn give_back() {
    // SAFETY: it only returns unused memory of the allocator to the kernel.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
    for range in unwritten() {
        let start = std::ptr::with_exposed_provenance_mut(range.start);
        // SAFETY: the range is mapped from a file, and no page of it was ever changed, see `unwritten_range`: when
        // one is used again, the kernel maps the same bytes of the file.
        let done = unsafe { madvise(start, range.len(), Advice::LinuxDontNeed) };
        // Where it cannot be done, the program only stays larger.
        let _ = done;
    }
}

/// Where code and constants are in memory.
fn unwritten() -> Vec<Range<usize>> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(unwritten_range).collect()
}

/// Reads a line like `55d0c0a00000-55d0c0b00000 r-xp 00100000 08:01 1234    /usr/bin/leco-tui`. Code is never written
/// to, nor is what stands before it at the begin of the file: headers and constants. Other constants that can only
/// be read now, the dynamic linker may have changed before (`PT_GNU_RELRO`).
fn unwritten_range(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let (rights, offset) = (words.next()?, words.next()?);
    let is_file = words.nth(2)?.starts_with('/');
    let hex = |number: &str| usize::from_str_radix(number, 16).ok();
    let is_unwritten = rights == "r-xp" || rights == "r--p" && hex(offset)? == 0;
    (is_file && is_unwritten).then_some(hex(start)?..hex(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_is_given_back() {
        let range = Some(0x1000..0x3000);
        assert_eq!(unwritten_range("1000-3000 r-xp 00001000 08:01 12    /usr/bin/x y"), range);
        assert_eq!(unwritten_range("1000-3000 r--p 00000000 08:01 12    /usr/lib/libc.so.6"), range);
        for other in [
            "1000-3000 r--p 00001000 08:01 12    /usr/bin/x",
            "1000-3000 rwxp 00001000 08:01 12    /usr/bin/x",
            "1000-3000 rw-p 00000000 08:01 12    /usr/bin/x",
            "1000-3000 r--s 00000000 08:01 12    anon_inode:bpf-map",
            "1000-3000 r-xp 00000000 00:00 0    [vdso]",
            "1000-3000 r--p 00000000 00:00 0",
            "",
        ] {
            assert_eq!(unwritten_range(other), None, "{other}");
        }
        assert!(!unwritten().is_empty());
        give_back();
    }
}
