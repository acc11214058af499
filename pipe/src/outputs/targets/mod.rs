// SPDX-License-Identifier: GPL-3.0-or-later
//! Where events go, each kind in a file of its own.

pub(super) mod fifo;
pub(super) mod listener;
pub(super) mod metrics;
pub(super) mod recording;
pub(super) mod stdout;
pub(super) mod udp;
