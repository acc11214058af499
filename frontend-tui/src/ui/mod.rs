//! What is drawn.

pub mod columns;
mod panes;
mod row;
pub mod theme;
pub mod view;
