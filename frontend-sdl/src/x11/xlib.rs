//! What only Xlib knows of an SDL window: its connection and its id. The one module of this crate with unsafe
//! code: SDL hands out both as pointers and numbers without a type.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::os::fd::{BorrowedFd, OwnedFd};

use anyhow::{Context, ensure};
use sdl3::sys::loadso::{SDL_LoadFunction, SDL_LoadObject};
use sdl3::sys::properties::{SDL_GetNumberProperty, SDL_GetPointerProperty};
use sdl3::sys::video::{
    SDL_GetWindowProperties, SDL_PROP_WINDOW_X11_DISPLAY_POINTER, SDL_PROP_WINDOW_X11_WINDOW_NUMBER,
};
use sdl3::video::Window;

/// An id by which every client of the X server knows the window.
pub(super) fn window_id(window: &Window) -> anyhow::Result<u32> {
    // SAFETY: the window lives, and so do its properties; a property that is not there is the default, 0.
    let id = unsafe {
        let properties = SDL_GetWindowProperties(window.raw());
        SDL_GetNumberProperty(properties, SDL_PROP_WINDOW_X11_WINDOW_NUMBER, 0)
    };
    u32::try_from(id).ok().filter(|id| *id != 0).context("SDL made a window that X does not know")
}

/// What becomes readable when the X server has sent SDL something.
pub(super) fn connection_fd(window: &Window) -> anyhow::Result<OwnedFd> {
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
