// SPDX-License-Identifier: GPL-3.0-or-later
//! LECO in a terminal. The model is `leco_core`; here it is drawn and steered.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

pub mod app;
mod disputed;
pub mod handoff;
pub mod input;
pub mod model;
pub mod player;
pub mod printed;
pub mod readers;
pub mod terminal;
pub mod ui;
mod width;
