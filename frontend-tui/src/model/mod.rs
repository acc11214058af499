// SPDX-License-Identifier: GPL-3.0-or-later
//! What the view is at, which lines it lists, and the rule that is being tried.

pub mod detail;
pub mod history;
pub mod line_list;
pub mod listing;
pub mod rule_editor;
pub mod rule_timing;
pub mod state;
mod typing;
pub mod widest;
