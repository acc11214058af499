//! LECO in a terminal. The model is `leco_core`; here it is drawn and steered.

pub mod app;
pub mod batch;
pub mod columns;
pub mod intention;
pub mod listing;
mod panes;
pub mod player;
mod row;
pub mod state;
pub mod theme;
pub mod timing;
pub mod trial;
pub mod view;
