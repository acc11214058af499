//! The two clocks of the pipe, read in one place.

use std::time::Duration;

use jiff::Timestamp;
use leco_core::event::BootNs;
use rustix::time::{ClockId, clock_gettime};

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

/// `CLOCK_BOOTTIME` in ns.
#[must_use]
pub fn boot_ns() -> BootNs {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}
