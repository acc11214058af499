// SPDX-License-Identifier: GPL-3.0-or-later
//! Turns what LECO's kernel side records into lines of text and hands them to receivers.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

pub mod clock;
pub mod enrich;
pub mod event_loop;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod fixtures;
pub mod history;
pub mod outputs;
pub mod render;
pub mod source;
pub mod systemd;
