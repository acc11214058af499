// SPDX-License-Identifier: GPL-3.0-or-later
//! The model behind LECO's frontends: what a person should see of the events a pipe sends.
//!
//! Nothing here knows a kernel, a window or a terminal. [`model::overseer::Overseer`] is the whole of it behind one
//! interface; [`source`] brings the bytes.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

pub mod batch;
pub mod config;
pub mod fade;
pub mod ini;
pub mod lists;
pub mod matching;
pub mod model;
pub mod query;
pub mod rules;
pub mod source;
pub mod style;
pub mod text;
pub mod wire;
