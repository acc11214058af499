//! Turns what LECO's kernel side records into lines of text and hands them to receivers.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

pub mod asn;
mod cache;
pub mod clock;
pub mod feed;
pub mod labels;
pub mod line;
pub mod memory;
pub mod names;
pub mod outputs;
pub mod reverse;
pub mod run;
pub mod service;
pub mod tunables;
pub mod zone;
