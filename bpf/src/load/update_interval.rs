// SPDX-License-Identifier: GPL-3.0-or-later
//! The update interval, as programs and readers know it.

use std::time::Duration;

use libbpf_rs::{MapCore, MapFlags};
use rustix::time::{ClockId, clock_getres};

use super::errors::LoadError;
use super::options::Options;
use crate::read::record::Stats;
use crate::skeleton::LecoSkel;

/// Tells the reader how long announcements are held back, and whether there is something else to wait for.
pub(crate) fn set_interval(skel: &LecoSkel<'_>, options: &Options) -> Result<(), LoadError> {
    let (map, key) = (&skel.maps.stats, 0_u32.to_ne_bytes());
    let refused = |error: libbpf_rs::Error| LoadError::Refused {
        what: "the map of counters",
        reason: error.to_string(),
    };
    let before = map.lookup(&key, MapFlags::ANY).map_err(refused)?;
    let before = before.as_deref().and_then(Stats::decode).unwrap_or_default();
    let reads_hellos = skel.maps.rodata_data.is_none_or(|rodata| rodata.reads_hellos);
    let stats = Stats { update_interval: options.update_interval, reads_hellos, ..before };
    map.update(&key, &stats.encode(), MapFlags::ANY).map_err(refused)
}

/// The kernel's tick is what its coarse clocks advance by (`TICK_NSEC`), so their resolution tells its
/// length without a look at the kernel's configuration.
pub(super) fn jiffy_ns() -> u64 {
    let tick = clock_getres(ClockId::MonotonicCoarse);
    u64::try_from(tick.tv_sec * 1_000_000_000 + tick.tv_nsec).unwrap_or(0).max(1)
}

pub(super) fn jiffies(interval: Duration) -> u64 {
    u64::try_from(interval.as_nanos() / u128::from(jiffy_ns())).unwrap_or(u64::MAX)
}
