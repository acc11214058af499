//! Turns what LECO's kernel side records into lines of text and hands them to receivers.

mod cache;
pub mod clock;
pub mod feed;
pub mod labels;
pub mod line;
pub mod names;
pub mod outputs;
pub mod run;
pub mod service;
pub mod tunables;
