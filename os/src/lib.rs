// SPDX-License-Identifier: GPL-3.0-or-later
//! What LECO's programs ask of their system: clocks, files, directories, signals, limits, the sandbox.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see say")]

pub mod bell;
pub mod causes;
pub mod clean;
pub mod clock;
pub mod environment;
pub mod files;
pub mod limits;
pub mod reclaim;
pub mod sandbox;
pub mod say;
pub mod signals;
pub mod start;
pub mod time_zone;
pub mod watch;
