// SPDX-License-Identifier: GPL-3.0-or-later
//! From one version of the programs to the next, without a byte counted twice.

pub(crate) mod loaded;
pub(crate) mod takeover;
