// SPDX-License-Identifier: GPL-3.0-or-later
//! Memory that is seldom needed. One of two modules of this crate with unsafe code.
//!
//! Miri runs none of it: it speaks with the dynamic linker and the kernel. What is given back is decided by a safe
//! function of numbers ([`unwritten_range`]), and `tests/pages.rs` lets libraries come and go meanwhile.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::ptr;

use rustix::mm::{Advice, madvise};

#[cfg(target_pointer_width = "32")]
use libc::Elf32_Phdr as Header;
#[cfg(target_pointer_width = "64")]
use libc::Elf64_Phdr as Header;

/// An entry of the dynamic section (`Elf32_Dyn` and `Elf64_Dyn` of elf(5), which libc does not have).
#[repr(C)]
#[derive(Clone, Copy)]
struct Dynamic {
    tag: isize,
    value: usize,
}

/// No more entries follow.
const DT_NULL: isize = 0;
/// The dynamic linker writes to code.
const DT_TEXTREL: isize = 22;
/// Flags of the object.
const DT_FLAGS: isize = 30;
/// The same as [`DT_TEXTREL`], among the flags.
const DF_TEXTREL: usize = 4;

/// Segments of an object that are given back: linkers make two or three that cannot be written to.
const SEGMENTS: usize = 8;

/// Whose pages are given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Those of libraries, in code that is needed for the rest.
    Libraries,
    /// Those of the object with this very code, which would else come back at once.
    Own,
}

/// Gives back what only a part that seldom runs needed, such as the start: freed memory, and the pages of program and
/// libraries that were read for it. Those that are needed again come back from the page cache, without a read from
/// the disk. Breakpoints that a debugger has set go, too.
pub fn give_back() {
    // SAFETY: it takes no pointers, any thread may call it, and it only returns unused memory to the kernel.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
    for mut turn in [Turn::Libraries, Turn::Own] {
        let turn = ptr::from_mut(&mut turn).cast();
        // SAFETY: the callback does not unwind, and what it is given as data is what it expects, and lives.
        unsafe {
            libc::dl_iterate_phdr(Some(give_back_object), turn);
        }
    }
}

/// Gives back the pages of a program or library.
///
/// # Safety
/// To be called by `dl_iterate_phdr(3)` alone, with a [`Turn`] as data. While it calls, no object can be unmapped (glibc holds the lock that
/// dlclose(3) needs, musl unmaps none), so nothing else can be where this one is.
unsafe extern "C" fn give_back_object(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    turn: *mut c_void,
) -> c_int {
    const GO_ON: c_int = 0;
    // SAFETY: it is valid until this returns, and nobody changes it.
    let Some(info) = (unsafe { info.as_ref() }) else { return GO_ON };
    // SAFETY: it is a turn, and nobody changes it.
    let Some(turn) = (unsafe { turn.cast::<Turn>().as_ref() }) else { return GO_ON };
    let Ok(base) = usize::try_from(info.dlpi_addr) else { return GO_ON };
    if info.dlpi_phdr.is_null() {
        return GO_ON;
    }
    // SAFETY: so many headers stand there, and stay there until this returns.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let code = (give_back as fn() as usize).wrapping_sub(base);
    let is_own = headers.iter().any(|header| {
        header.p_type == libc::PT_LOAD && place(header).is_some_and(|place| place.contains(&code))
    });
    if is_own != (*turn == Turn::Own) {
        return GO_ON;
    }
    // SAFETY: they are those of a mapped object at this base.
    if unsafe { has_text_relocations(base, headers) } {
        return GO_ON;
    }
    let page = rustix::param::page_size();
    let mut ranges = headers.iter().filter_map(|header| unwritten_range(header, headers, page));
    let ranges: [Option<Range<usize>>; SEGMENTS] = std::array::from_fn(|_| ranges.next());
    for range in ranges.into_iter().flatten() {
        let start = ptr::with_exposed_provenance_mut(base.wrapping_add(range.start));
        // SAFETY: the object is mapped there until this returns, from its file, and no page of the range was ever
        // changed, see `unwritten_range`: when one is used again, the kernel maps the same bytes of the file.
        let done = unsafe { madvise(start, range.len(), Advice::LinuxDontNeed) };
        // Where it cannot be done, the program only stays larger.
        let _ = done;
    }
    GO_ON
}

/// Whether the dynamic linker wrote to what can only be read: old code for 32 bits.
///
/// # Safety
/// The headers must be those of an object that is mapped at `base`.
unsafe fn has_text_relocations(base: usize, headers: &[Header]) -> bool {
    let dynamic = headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC).and_then(place);
    let Some(place) = dynamic else { return false };
    let first = ptr::with_exposed_provenance::<Dynamic>(base.wrapping_add(place.start));
    for at in 0..place.len() / size_of::<Dynamic>() {
        // SAFETY: the dynamic section of an object is mapped as long as the object is, and has so many entries.
        let entry = unsafe { first.wrapping_add(at).read_unaligned() };
        match entry.tag {
            DT_NULL => break,
            DT_TEXTREL => return true,
            DT_FLAGS if entry.value & DF_TEXTREL != 0 => return true,
            _ => {}
        }
    }
    false
}

/// Where a segment is, from the object's base on.
fn place(header: &Header) -> Option<Range<usize>> {
    let start = usize::try_from(header.p_vaddr).ok()?;
    Some(start..start.checked_add(usize::try_from(header.p_memsz).ok()?)?)
}

/// Whole pages of a segment that nobody ever wrote to: it is loaded and cannot be written to, and shares no page with
/// one that can, or with what the dynamic linker wrote to before it could only be read (`PT_GNU_RELRO`).
fn unwritten_range(header: &Header, all: &[Header], page: usize) -> Option<Range<usize>> {
    let pages = |header: &Header| {
        let place = place(header)?;
        Some(place.start - place.start % page..place.end.checked_next_multiple_of(page)?)
    };
    let is_written = |header: &Header| {
        header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W != 0
            || header.p_type == libc::PT_GNU_RELRO
    };
    if header.p_type != libc::PT_LOAD || is_written(header) {
        return None;
    }
    let range = pages(header)?;
    let is_shared =
        |other: &Header| pages(other).is_none_or(|other| other.start < range.end && range.start < other.end);
    let is_free = !all.iter().any(|other| is_written(other) && is_shared(other));
    (is_free && !range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(kind: u32, flags: u32, place: Range<u32>) -> Header {
        Header {
            p_type: kind,
            p_flags: flags,
            p_offset: 0,
            p_vaddr: place.start.into(),
            p_paddr: 0,
            p_filesz: 0,
            p_memsz: (place.end - place.start).into(),
            p_align: 0x1000,
        }
    }

    #[test]
    fn only_what_was_never_written_is_given_back() {
        const READ: u32 = libc::PF_R;
        const CODE: u32 = libc::PF_R | libc::PF_X;
        const DATA: u32 = libc::PF_R | libc::PF_W;
        let given = |headers: &[Header]| -> Vec<Range<usize>> {
            headers.iter().filter_map(|header| unwritten_range(header, headers, 0x1000)).collect()
        };
        let object = [
            segment(libc::PT_LOAD, READ, 0..0x1234),
            segment(libc::PT_LOAD, CODE, 0x2240..0x4000),
            segment(libc::PT_LOAD, READ, 0x4000..0x4001),
            segment(libc::PT_LOAD, DATA, 0x5e00..0x7000),
            segment(libc::PT_GNU_RELRO, READ, 0x5e00..0x6000),
            segment(libc::PT_NOTE, READ, 0x100..0x200),
        ];
        assert_eq!(given(&object), [0..0x2000, 0x2000..0x4000, 0x4000..0x5000]);
        for (why, written) in [
            ("data in its last page", segment(libc::PT_LOAD, DATA, 0x1800..0x3000)),
            ("code that can be written to", segment(libc::PT_LOAD, CODE | libc::PF_W, 0..0x1000)),
            ("relocated before it could only be read", segment(libc::PT_GNU_RELRO, READ, 0x1000..0x1100)),
            ("nobody knows where", segment(libc::PT_LOAD, DATA, u32::MAX - 1..u32::MAX)),
        ] {
            let mut written = written;
            if why == "nobody knows where" {
                written.p_memsz = !0;
                written.p_vaddr = !0;
            }
            assert!(given(&[segment(libc::PT_LOAD, READ, 0..0x1234), written]).is_empty(), "{why}");
        }
        give_back();
    }
}
