// SPDX-License-Identifier: GPL-3.0-or-later
//! Events as they travel, and what they say.

pub mod details;
pub mod event;
pub mod history;
pub mod tag;
