// SPDX-License-Identifier: GPL-3.0-or-later
//! Memory is given back while other threads load and unload libraries, as name services do: what comes to be where a
//! library was is nobody else's.

#![cfg(target_env = "gnu")]
#![allow(clippy::unwrap_used, unsafe_code)]

use std::ffi::c_int;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use leco_os::reclaim::give_back;

/// Parts of glibc that nothing else here uses.
const LIBRARIES: [&std::ffi::CStr; 4] =
    [c"libBrokenLocale.so.1", c"libanl.so.1", c"libutil.so.1", c"libthread_db.so.1"];
/// Other memory takes a library's place so often at least, and for so long at least.
const TURNS: usize = 200;
const TIME: Duration = Duration::from_secs(3);

/// Where the code of a library is.
fn code_of(name: &str) -> Option<Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.contains(" r-xp ") && line.ends_with(name))?;
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    let hex = |number| usize::from_str_radix(number, 16).unwrap();
    Some(hex(start)..hex(end))
}

/// Loads a library, unloads it, and puts memory that is in use in its place; whether that changed by itself, or
/// nothing where something else took the place first.
fn is_damaged(library: &std::ffi::CStr) -> Option<bool> {
    // SAFETY: the library is one of glibc's, whose start and end do nothing to anybody else.
    let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW) };
    if handle.is_null() {
        return None;
    }
    let code = code_of(library.to_str().unwrap());
    // SAFETY: the handle is of above, and nothing of the library is in use.
    assert_eq!(unsafe { libc::dlclose(handle) }, 0);
    let code = code?;
    let flags: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: it takes no place where anything is.
    let place = unsafe {
        let wanted = ptr::with_exposed_provenance_mut(code.start);
        libc::mmap(wanted, code.len(), libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    if place == libc::MAP_FAILED {
        return None;
    }
    let memory = ptr::slice_from_raw_parts_mut(place.cast::<u8>(), code.len());
    // SAFETY: it was mapped above for reading and writing, and nobody else knows of it.
    unsafe { (*memory).fill(0xaa) };
    let end = Instant::now() + Duration::from_millis(2);
    let mut damaged = false;
    while Instant::now() < end && !damaged {
        // SAFETY: as above.
        damaged = unsafe { (*memory).iter() }.any(|byte| *byte != 0xaa);
    }
    // SAFETY: it is that of above, and no reference to it is left.
    unsafe { libc::munmap(place, code.len()) };
    Some(damaged)
}

#[test]
fn what_takes_the_place_of_a_library_is_not_given_back() {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                give_back();
            }
        });
        let start = Instant::now();
        let (mut turns, mut damaged) = (0, 0);
        for library in LIBRARIES.iter().cycle() {
            let most = if turns == 0 { TIME } else { 10 * TIME };
            if start.elapsed() > TIME && turns >= TURNS || start.elapsed() > most {
                break;
            }
            if let Some(is_damaged) = is_damaged(library) {
                turns += 1;
                damaged += usize::from(is_damaged);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        if turns == 0 {
            println!("SKIPPED: none of {LIBRARIES:?} can be loaded");
        }
        assert_eq!(damaged, 0, "of {turns} turns");
    });
}
