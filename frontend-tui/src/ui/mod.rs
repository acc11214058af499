// SPDX-License-Identifier: GPL-3.0-or-later
//! What is drawn.

pub mod columns;
mod panes;
mod row;
pub mod theme;
pub mod view;
