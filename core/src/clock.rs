//! The clock of events. Models never read it: time is handed to them.

use rustix::time::{ClockId, clock_gettime};

use crate::event::BootNs;

/// `CLOCK_BOOTTIME` in ns.
#[must_use]
pub fn boot_ns() -> BootNs {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}
