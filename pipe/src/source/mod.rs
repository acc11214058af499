// SPDX-License-Identifier: GPL-3.0-or-later
//! What the kernel side tells, in order.

pub mod kernel_events;
pub mod listeners;
pub(crate) mod own;
