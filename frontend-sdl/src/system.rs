//! What has no safe interface: Xlib's connection and id of an SDL window, which SDL hands out as a pointer and a
//! number, and giving memory back. The one module of this crate with unsafe code.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};

use anyhow::{Context, ensure};
use memmap2::MmapMut;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{Advice, madvise};
use sdl3::sys::loadso::{SDL_LoadFunction, SDL_LoadObject};
use sdl3::sys::properties::{SDL_GetNumberProperty, SDL_GetPointerProperty};
use sdl3::sys::video::{
    SDL_GetWindowProperties, SDL_PROP_WINDOW_X11_DISPLAY_POINTER, SDL_PROP_WINDOW_X11_WINDOW_NUMBER,
};
use sdl3::video::Window;

/// An id by which every client of the X server knows the window.
pub(crate) fn window_id(window: &Window) -> anyhow::Result<u32> {
    // SAFETY: the window lives, and so do its properties; a property that is not there is the default, 0.
    let id = unsafe {
        let properties = SDL_GetWindowProperties(window.raw());
        SDL_GetNumberProperty(properties, SDL_PROP_WINDOW_X11_WINDOW_NUMBER, 0)
    };
    u32::try_from(id).ok().filter(|id| *id != 0).context("SDL made a window that X does not know")
}

/// What becomes readable when the X server has sent SDL something.
pub(crate) fn connection_fd(window: &Window) -> anyhow::Result<OwnedFd> {
    // SAFETY: as above; a pointer that is not there is null.
    let display = unsafe {
        let properties = SDL_GetWindowProperties(window.raw());
        SDL_GetPointerProperty(properties, SDL_PROP_WINDOW_X11_DISPLAY_POINTER, std::ptr::null_mut())
    };
    ensure!(!display.is_null(), "SDL does not use X11");
    // SAFETY: both names are C strings. SDL has opened the same library before, and it is never closed.
    let function = unsafe {
        let library = SDL_LoadObject(c"libX11.so.6".as_ptr());
        ensure!(!library.is_null(), "cannot open libX11.so.6");
        SDL_LoadFunction(library, c"XConnectionNumber".as_ptr())
    };
    let function = function.context("libX11 has no XConnectionNumber")?;
    // SAFETY: Xlib declares `int XConnectionNumber(Display *)`, and SDL keeps the display open as long as the
    // window lives. The descriptor is borrowed only until it is duplicated.
    let fd = unsafe {
        let connection_number: unsafe extern "C" fn(*mut c_void) -> c_int = std::mem::transmute(function);
        BorrowedFd::borrow_raw(connection_number(display))
    };
    fd.try_clone_to_owned().context("cannot duplicate the descriptor of the X connection")
}

/// Memory of zeroes that another process can map, and its file, which stays as large as it is.
pub(crate) fn shared_memory(bytes: u64) -> io::Result<(File, MmapMut)> {
    let file = memfd_create("leco", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, bytes)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    let file = File::from(file);
    // SAFETY: the seals keep everybody from taking pages away. That the other process may change the bytes, or
    // read them while they are half written, is no harm: any bytes are pixels.
    let memory = unsafe { MmapMut::map_mut(&file)? };
    Ok((file, memory))
}

/// Gives back what only the start needed: freed memory, and the pages of the program that were read for it.
/// Those that are needed again come back from the page cache, without a read from the disk.
pub(crate) fn let_go_of_the_start() {
    // SAFETY: it only returns unused memory of the allocator to the kernel.
    #[cfg(target_env = "gnu")]
    unsafe {
        sdl3::libc::malloc_trim(0);
    }
    for range in own_code() {
        let start = std::ptr::with_exposed_provenance_mut(range.start);
        // SAFETY: the range is mapped from the program's file, read-only and executable, so that no page of it
        // was ever changed: when one is used again, the kernel maps the same bytes of the file.
        let done = unsafe { madvise(start, range.len(), Advice::LinuxDontNeed) };
        // Where it cannot be done, the program only stays larger.
        let _ = done;
    }
}

/// Where the program's own code is in memory, which nothing writes to.
fn own_code() -> Vec<Range<usize>> {
    let Ok(program) = fs::read_link("/proc/self/exe") else { return Vec::new() };
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return Vec::new() };
    maps.lines().filter_map(|line| code_of(line, &program.to_string_lossy())).collect()
}

/// Reads a line like `55d0c0a00000-55d0c0b00000 r-xp 00100000 08:01 1234    /usr/bin/leco-sdl-widget`.
fn code_of(line: &str, program: &str) -> Option<Range<usize>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_code = words.next()? == "r-xp";
    let address = |hex: &str| usize::from_str_radix(hex, 16).ok();
    (is_code && line.ends_with(program)).then_some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_the_program_itself_is_let_go() {
        let program = "/usr/bin/x y";
        assert_eq!(
            code_of("1000-3000 r-xp 00001000 08:01 12    /usr/bin/x y", program),
            Some(0x1000..0x3000)
        );
        assert_eq!(code_of("1000-3000 r--p 00001000 08:01 12    /usr/bin/x y", program), None);
        assert_eq!(code_of("1000-3000 rwxp 00001000 08:01 12    /usr/bin/x y", program), None);
        assert_eq!(code_of("1000-3000 r-xp 00001000 08:01 12    /usr/lib/libc.so.6", program), None);
        assert_eq!(code_of("", program), None);
        assert!(!own_code().is_empty());
        let_go_of_the_start();
    }
}
