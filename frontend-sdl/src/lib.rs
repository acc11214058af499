// SPDX-License-Identifier: GPL-3.0-or-later
//! LECO on the desktop. The model is `leco_core`; here it is drawn and put among the windows.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

pub mod app;
pub mod desktop_wishes;
pub mod display;
mod event_reader;
pub mod painter;
pub mod placement;
pub mod power;
pub mod presenter;
mod report;
mod screen;
mod system;
pub mod wayland;
pub mod x11;
