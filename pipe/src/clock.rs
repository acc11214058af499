// SPDX-License-Identifier: GPL-3.0-or-later
//! The two clocks of the pipe, read in one place.

use std::time::Duration;

use jiff::Timestamp;
use leco_os::clock::{BootNs, boot_ns};

/// The boot clock and the wall clock at one moment: what maps one to the other.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// `CLOCK_BOOTTIME` in ns.
    pub boot: BootNs,
    /// The wall clock.
    pub wall: Timestamp,
}

impl Now {
    /// Reads both clocks.
    #[must_use]
    pub fn read() -> Self {
        Self { boot: boot_ns(), wall: Timestamp::now() }
    }

    /// Time since a moment of the boot clock; none for one that is still to come.
    #[must_use]
    pub fn since(&self, ns: BootNs) -> Duration {
        Duration::from_nanos(self.boot.saturating_sub(ns))
    }

    /// The wall clock at a moment of the boot clock, as the wall clock goes now.
    #[must_use]
    pub fn wall_at(&self, ns: BootNs) -> Timestamp {
        self.wall.checked_sub(self.since(ns)).unwrap_or(self.wall)
    }
}
