// SPDX-License-Identifier: GPL-3.0-or-later
//! What keys and the mouse ask for.

pub mod action;
