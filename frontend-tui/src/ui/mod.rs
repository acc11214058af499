// SPDX-License-Identifier: GPL-3.0-or-later
//! What is drawn.

pub mod columns;
pub mod glyphs;
mod panes;
mod row;
pub mod theme;
pub mod view;
