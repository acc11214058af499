// SPDX-License-Identifier: GPL-3.0-or-later
//! The clocks, read in one place. Models never read them: time is handed to them.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds on the boot clock (`CLOCK_BOOTTIME`), which goes on in suspend.
pub type BootNs = u64;

/// The boot clock and the wall clock at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// `CLOCK_BOOTTIME` in ns.
    pub boot: BootNs,
    /// The wall clock: ns since 1970.
    pub wall: i64,
}

impl Now {
    /// Reads both.
    #[must_use]
    pub fn read() -> Self {
        Self { boot: boot_ns(), wall: wall_ns() }
    }
}

/// One clock for both: what needs no other one, such as a recording's.
impl From<BootNs> for Now {
    fn from(ns: BootNs) -> Self {
        Self { boot: ns, wall: i64::try_from(ns).unwrap_or(i64::MAX) }
    }
}

/// `CLOCK_BOOTTIME` in ns as the kernel has it, and with it the events: in a time namespace
/// (`time_namespaces(7)`) the same without the namespace's offset.
#[must_use]
pub fn boot_ns() -> BootNs {
    let time = clock_gettime(ClockId::Boottime);
    let ns = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
    u64::try_from(ns.saturating_sub(namespace_offset())).unwrap_or_default()
}

/// What the boot clock of this process's time namespace is ahead of the kernel's, in ns: so are the times at which
/// processes started, as `/proc` tells them.
#[must_use]
pub fn namespace_offset() -> i64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        let offsets = fs::read_to_string("/proc/self/timens_offsets");
        offsets.ok().and_then(|text| boot_offset(&text)).unwrap_or(0)
    })
}

/// What this thread has used of a CPU until now.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// ns since 1970.
fn wall_ns() -> i64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// The offset of the boot clock in ns, from a text as in `/proc/PID/timens_offsets`.
fn boot_offset(text: &str) -> Option<i64> {
    let mut words = text.lines().find_map(|line| line.strip_prefix("boottime"))?.split_whitespace();
    let mut number = || words.next()?.parse::<i64>().ok();
    let (seconds, ns) = (number()?, number()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(ns)
}

/// What tells this boot of this machine from every other one; empty where it cannot be learned. To be called before
/// a program gives up `/proc`, which its boot clock needs, too.
#[must_use]
pub fn boot_id() -> String {
    let _ = namespace_offset();
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_ascii().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_time_namespace_is_read() {
        let offset = |text| boot_offset(text);
        assert_eq!(
            offset("monotonic           0         0\nboottime       864000        5\n"),
            Some(864_000_000_000_005)
        );
        assert_eq!(offset("boottime -3 0"), Some(-3_000_000_000));
        for none in ["", "monotonic 1 2", "boottime", "boottime x 0", "boottime 9223372036854775807 0"] {
            assert_eq!(offset(none), None, "{none}");
        }
    }
}
