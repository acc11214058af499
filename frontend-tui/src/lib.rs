//! LECO in a terminal. The model is `leco_core`; here it is drawn and steered.

pub mod app;
pub mod columns;
pub mod theme;
pub mod view;
