// SPDX-License-Identifier: GPL-3.0-or-later
//! What has no safe interface: Xlib's connection and id of an SDL window, which SDL hands out as a pointer and a
//! number, memory shared with another process, and the environment that libraries in C read. The one module of this
//! crate with unsafe code.
//!
//! Miri runs none of it: it calls SDL, Xlib and the kernel. No pointer is kept, and none of ours is handed out.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use anyhow::{Context, ensure};
use memmap2::MmapMut;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use sdl3::sys::loadso::{SDL_LoadFunction, SDL_LoadObject};
use sdl3::sys::properties::{SDL_GetNumberProperty, SDL_GetPointerProperty, SDL_PropertiesID};
use sdl3::sys::video::{
    SDL_GetWindowProperties, SDL_PROP_WINDOW_X11_DISPLAY_POINTER, SDL_PROP_WINDOW_X11_WINDOW_NUMBER,
};
use sdl3::video::Window;

/// What SDL knows of a window besides.
fn properties(window: &Window) -> SDL_PropertiesID {
    // SAFETY: the window lives as long as it is borrowed.
    unsafe { SDL_GetWindowProperties(window.raw()) }
}

/// An id by which every client of the X server knows the window.
pub(crate) fn window_id(window: &Window) -> anyhow::Result<u32> {
    let properties = properties(window);
    // SAFETY: its name is a C string; a property that is not there is the default, 0.
    let id = unsafe { SDL_GetNumberProperty(properties, SDL_PROP_WINDOW_X11_WINDOW_NUMBER, 0) };
    u32::try_from(id).ok().filter(|id| *id != 0).context("SDL created a window that X does not know")
}

/// What becomes readable when the X server has sent SDL something.
pub(crate) fn connection_fd(window: &Window) -> anyhow::Result<OwnedFd> {
    let (properties, none) = (properties(window), std::ptr::null_mut());
    // SAFETY: as above; a pointer that is not there is null.
    let display = unsafe { SDL_GetPointerProperty(properties, SDL_PROP_WINDOW_X11_DISPLAY_POINTER, none) };
    ensure!(!display.is_null(), "SDL does not use X11");
    // SAFETY: the name is a C string. SDL has opened the same library before, and it is never closed.
    let library = unsafe { SDL_LoadObject(c"libX11.so.6".as_ptr()) };
    ensure!(!library.is_null(), "cannot open libX11.so.6");
    // SAFETY: the name is a C string, and the library is open.
    let function = unsafe { SDL_LoadFunction(library, c"XConnectionNumber".as_ptr()) };
    let function = function.context("libX11 has no XConnectionNumber")?;
    // SAFETY: Xlib declares `int XConnectionNumber(Display *)`.
    let connection_number: unsafe extern "C" fn(*mut c_void) -> c_int =
        unsafe { std::mem::transmute(function) };
    // SAFETY: SDL keeps the display open as long as the window lives.
    let fd = unsafe { connection_number(display) };
    ensure!(fd >= 0, "the X connection has no descriptor");
    // SAFETY: it is open as long as the display is, and borrowed only until it is duplicated.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fd.try_clone_to_owned().context("cannot duplicate the descriptor of the X connection")
}

/// Keeps libraries from the session bus. SDL built with D-Bus connects to it, and to the system's, for what an overlay
/// has no use for, and stays: through a connection that may speak, programs could be run in spite of the sandbox.
///
/// # Panics
/// When there is another thread, which could read the environment meanwhile.
pub(crate) fn leave_session_bus() {
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    assert!(
        threads.ok().is_none_or(|threads| threads == 1),
        "the environment is changed before threads start"
    );
    // SAFETY: there is no other thread, in Rust or C.
    unsafe { std::env::set_var("DBUS_SESSION_BUS_ADDRESS", "disabled:") };
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
