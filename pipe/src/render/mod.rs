// SPDX-License-Identifier: GPL-3.0-or-later
//! Events as text: the line and its time, the JSON around it.

pub mod line;
