//! LECO in a terminal. The model is `leco_core`; here it is drawn and steered.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

pub mod app;
pub mod batch;
pub mod columns;
pub mod intention;
pub mod listing;
mod panes;
pub mod player;
mod row;
pub mod state;
pub mod terminal;
pub mod theme;
pub mod timing;
pub mod trial;
pub mod view;
