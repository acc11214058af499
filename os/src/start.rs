// SPDX-License-Identifier: GPL-3.0-or-later
//! How a program begins: whether it has a standard output, and that a limit of files does not end it. One of two modules
//! of this crate with unsafe code, which asks the kernel: nothing in it is for Miri.

#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Before `main`: the standard library opens /dev/null in the place of a standard stream that is closed, which cannot be
/// told from one that was redirected there.
// SAFETY: the linker puts a pointer to a function into this section, which the C library calls with arguments that this
// one does not take, once, while there is one thread.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: it takes numbers, and changes nothing.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    WAS_CLOSED.store(flags < 0, Ordering::Relaxed);
}

/// From now on a file that grows beyond its limit (`RLIMIT_FSIZE`) is an error like any other, not the end of the program by
/// SIGXFSZ. To be called before there is another thread, and before the sandbox.
pub fn outlive_file_size_limit() {
    // SAFETY: no handler is called, and no other part of the program has one for this signal.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Programs that are run from now on get standard streams alone, whatever else this one was given, and are ended by SIGXFSZ as
/// programs are.
pub fn pass_on_nothing() {
    // SAFETY: it takes numbers, and closes nothing here.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    // SAFETY: no handler is called, and no other part of the program has one for this signal.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_DFL) };
}

/// Fails where standard output was closed (`>&-`): what is written to it is lost without an error.
pub fn has_stdout() -> io::Result<()> {
    if WAS_CLOSED.load(Ordering::Relaxed) {
        return Err(io::Error::new(io::ErrorKind::NotConnected, "it is closed"));
    }
    Ok(())
}
