// SPDX-License-Identifier: GPL-3.0-or-later
//! Bytes over time, in little memory.

use leco_os::clock::BootNs;

use crate::model::machines::OurNs;
use crate::text::traffic;
use crate::wire::event::Event;

/// Time that each value of a history stands for, in ns.
pub const BUCKET_NS: u64 = 5_000_000_000;
/// Values of a history.
pub const BUCKETS: usize = 24;
/// The latest of them, for a small chart.
pub const RECENT: usize = 12;

/// Bytes in each direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Received.
    pub rx: u64,
    /// Sent.
    pub tx: u64,
}

impl Bytes {
    /// In both directions.
    #[must_use]
    pub fn total(self) -> u64 {
        self.rx.saturating_add(self.tx)
    }

    /// These and others.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self { rx: self.rx.saturating_add(others.rx), tx: self.tx.saturating_add(others.tx) }
    }

    /// How many more these are.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { rx: self.rx.saturating_sub(before.rx), tx: self.tx.saturating_sub(before.tx) }
    }

    /// How many went over an event's connection, from its fields or its line.
    #[must_use]
    pub fn of_event(event: &Event) -> Option<Self> {
        match (event.rx.0, event.tx.0) {
            (Some(rx), Some(tx)) => Some(Self { rx, tx }),
            _ => Self::of_line(&event.line),
        }
    }

    /// As a line of the pipe ends.
    #[must_use]
    pub fn of_line(line: &str) -> Option<Self> {
        traffic(line).map(|(rx, tx)| Self { rx, tx })
    }
}

/// What went over a connection, or over all: in total and lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Since it began, as far as it is known.
    pub total: Bytes,
    /// Most connections never have any that was seen to come.
    pub(super) history: Option<Box<History>>,
}

/// Bytes of the latest buckets in each direction, the current one last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct History {
    pub(super) rx: [u64; BUCKETS],
    pub(super) tx: [u64; BUCKETS],
    /// Number of the current bucket, since boot.
    pub(super) bucket: i64,
}

impl Traffic {
    /// Takes totals that are known now; what is more than before came lately.
    pub(crate) fn update(&mut self, total: Bytes, at: OurNs) -> Bytes {
        let more = total.since(self.total);
        self.add(more, at);
        self.total = total;
        more
    }

    /// Adds what came no one knows when.
    pub(crate) fn add_old(&mut self, more: Bytes) {
        self.total = self.total.and(more);
    }

    /// Adds what came lately.
    pub(crate) fn add(&mut self, more: Bytes, at: OurNs) {
        self.add_old(more);
        if more.total() == 0 {
            return;
        }
        let history = self.history.get_or_insert_default();
        history.go_on(at);
        for (buckets, more) in [(&mut history.rx, more.rx), (&mut history.tx, more.tx)] {
            let last = &mut buckets[BUCKETS - 1];
            *last = last.saturating_add(more);
        }
    }

    /// Adds what went over another connection.
    pub(super) fn join(&mut self, other: &Self) {
        self.add_old(other.total);
        let Some(theirs) = &other.history else { return };
        let mut theirs = **theirs;
        let ours = self
            .history
            .get_or_insert_with(|| Box::new(History { bucket: theirs.bucket, ..History::default() }));
        let bucket = ours.bucket.max(theirs.bucket);
        for history in [&mut **ours, &mut theirs] {
            history.go_on(bucket.saturating_mul(BUCKET_NS.cast_signed()));
        }
        for (ours, theirs) in [(&mut ours.rx, theirs.rx), (&mut ours.tx, theirs.tx)] {
            for (ours, theirs) in ours.iter_mut().zip(theirs) {
                *ours = ours.saturating_add(theirs);
            }
        }
    }

    fn history_at(&self, now: BootNs) -> Option<History> {
        let mut history = **self.history.as_ref()?;
        history.go_on(i64::try_from(now).unwrap_or(i64::MAX));
        Some(history)
    }

    /// Bytes a second over the current bucket and the one before.
    #[must_use]
    pub fn rate(&self, now: BootNs) -> Bytes {
        let Some(then) = self.history_at(now) else { return Bytes::default() };
        let into = now % BUCKET_NS;
        let rate = |buckets: &[u64; BUCKETS]| {
            let bytes = buckets[BUCKETS - 1].saturating_add(buckets[BUCKETS - 2]);
            per_second(bytes, BUCKET_NS + into)
        };
        Bytes { rx: rate(&then.rx), tx: rate(&then.tx) }
    }

    /// Bytes a second in each direction, received and sent, over each bucket of the history, the current one last.
    #[must_use]
    pub fn rates(&self, now: BootNs) -> ([u64; BUCKETS], [u64; BUCKETS]) {
        let then = self.history_at(now).unwrap_or_default();
        let rates = |buckets: &[u64; BUCKETS]| {
            let mut rates = buckets.map(|bytes| per_second(bytes, BUCKET_NS));
            // Of the current bucket only a part is over: with the one before it, that is known better.
            let bytes = buckets[BUCKETS - 1].saturating_add(buckets[BUCKETS - 2]);
            rates[BUCKETS - 1] = per_second(bytes, BUCKET_NS + now % BUCKET_NS);
            rates
        };
        (rates(&then.rx), rates(&then.tx))
    }

    /// Bytes in both directions of the latest buckets, the current one last.
    #[must_use]
    pub fn recent(&self, now: BootNs) -> [u64; RECENT] {
        let then = self.history_at(now).unwrap_or_default();
        let from = BUCKETS - RECENT;
        std::array::from_fn(|at| then.rx[from + at].saturating_add(then.tx[from + at]))
    }

    /// Whether anything came in the time of a small chart.
    #[must_use]
    pub fn is_lively(&self, now: BootNs) -> bool {
        self.history.is_some() && self.recent(now).iter().any(|bytes| *bytes > 0)
    }
}

fn per_second(bytes: u64, ns: u64) -> u64 {
    let rate = u128::from(bytes) * 1_000_000_000 / u128::from(ns.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

impl History {
    fn go_on(&mut self, at: OurNs) {
        let bucket = at.div_euclid(BUCKET_NS.cast_signed());
        let elapsed = usize::try_from(bucket.saturating_sub(self.bucket)).unwrap_or(BUCKETS).min(BUCKETS);
        for buckets in [&mut self.rx, &mut self.tx] {
            buckets.rotate_left(elapsed);
            buckets[BUCKETS - elapsed..].fill(0);
        }
        self.bucket = self.bucket.max(bucket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn rates_rise_and_fall_to_nothing() {
        let mut traffic = Traffic::default();
        traffic.update(Bytes { rx: 1000, tx: 0 }, 10 * SECOND.cast_signed());
        assert_eq!(traffic.rate(10 * SECOND), Bytes { rx: 200, tx: 0 });
        traffic.update(Bytes { rx: 1000, tx: 5000 }, 12 * SECOND.cast_signed());
        assert_eq!(traffic.rate(15 * SECOND), Bytes { rx: 200, tx: 1000 });
        assert_eq!(traffic.rate(20 * SECOND), Bytes::default());
        assert_eq!(traffic.recent(22 * SECOND)[RECENT - 4..], [0, 6000, 0, 0]);
        let (received, sent) = traffic.rates(22 * SECOND);
        assert_eq!((received[BUCKETS - 3], sent[BUCKETS - 3], sent[BUCKETS - 1]), (200, 1000, 0));
        assert!(traffic.is_lively(67 * SECOND) && !traffic.is_lively(70 * SECOND));
        assert_eq!(traffic.total, Bytes { rx: 1000, tx: 5000 });
        // A clock that goes back, a count that does.
        traffic.update(Bytes::default(), 0);
        assert_eq!(traffic.rate(12 * SECOND), Bytes { rx: 142, tx: 714 });
    }

    #[test]
    fn a_rate_has_no_upper_bound() {
        let mut traffic = Traffic::default();
        traffic.update(Bytes { rx: 1 << 40, tx: u64::MAX }, 10 * SECOND.cast_signed());
        assert_eq!(traffic.rate(10 * SECOND), Bytes { rx: (1 << 40) / 5, tx: u64::MAX / 5 });
    }

    #[test]
    fn a_lines_traffic_is_read() {
        let read = |traffic: &str| Bytes::of_line(&format!("a :: {traffic}"));
        assert_eq!(read("v 58B / 26B ^"), Some(Bytes { rx: 58, tx: 26 }));
        assert_eq!(read("v 1.5K / 2M ^"), Some(Bytes { rx: 1536, tx: 2 << 20 }));
        for none in [
            "",
            "v",
            "v  /  ^",
            "v 1.5X / 2M ^",
            "v 99999999999999999999T / 1B ^",
            "v B / 1B ^",
            "v é / 1B ^",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
