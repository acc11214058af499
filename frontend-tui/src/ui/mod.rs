// SPDX-License-Identifier: GPL-3.0-or-later
//! What is drawn.

mod chart;
pub mod columns;
pub mod glyphs;
mod header;
mod history;
pub(crate) mod keys;
pub(crate) mod one_line;
mod panes;
mod row;
pub mod shorten;
pub mod theme;
pub mod view;
