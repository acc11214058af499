//! The model behind LECO's frontends: what a person should see of the events a pipe sends.
//!
//! Nothing here knows a kernel, a window or a terminal. [`overseer::Overseer`] is the whole of it behind one
//! interface; [`source`] brings the bytes.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_core::say")]

pub mod clock;
pub mod config;
pub mod environment;
pub mod event;
pub mod facts;
pub mod fade;
mod known_line;
pub mod limits;
pub mod lines;
mod machines;
pub mod overseer;
pub mod pages;
pub mod place;
pub mod plain;
pub mod query;
pub mod recording;
pub mod rules;
pub mod sandbox;
pub mod say;
pub mod signals;
pub mod source;
pub mod style;
pub mod tag;
pub mod text;
pub mod traffic;
pub mod watch;

pub use machines::Timeline;
