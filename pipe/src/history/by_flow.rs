// SPDX-License-Identifier: GPL-3.0-or-later
//! Sums by flow, added up as the file has them: in the order of their ids, hour after hour.

use hashbrown::HashMap;

use crate::history::totals::Sums;

/// Ids up to here have a place of their own, so that adding up goes from one to the next in memory; a file numbers its flows
/// from 1. What stands in a file is anything, so others are looked up.
pub(super) const DENSE: usize = 1 << 22;

/// What was counted of each flow.
#[derive(Debug, Default)]
pub(super) struct ByFlow {
    /// Connections, bytes received, bytes sent: what most rows have, and so little that most of it stays in a cache.
    dense: Vec<[u64; 3]>,
    /// Of other ids, and what failed.
    others: HashMap<i64, Sums>,
}

impl ByFlow {
    /// Adds what was counted of a flow.
    pub(super) fn add(&mut self, flow: i64, sums: &Sums) {
        let Some(at) = dense(flow).filter(|_| sums.failures == [0; 6]) else {
            return self.others.entry(flow).or_default().add(sums);
        };
        if at >= self.dense.len() {
            self.dense.resize((at + 1).next_power_of_two(), [0; 3]);
        }
        let more = [sums.connections, sums.rx, sums.tx];
        for (sum, more) in self.dense[at].iter_mut().zip(more) {
            *sum = sum.saturating_add(more);
        }
    }

    /// The id that as many of the flows are below as above, and how many there are: of those with a place of their own.
    pub(super) fn middle(&self) -> (i64, usize) {
        let known = || (0_i64..).zip(&self.dense).filter(|(_, sums)| **sums != [0; 3]).map(|(id, _)| id);
        let count = known().count();
        (known().nth(count / 2).unwrap_or(0), count)
    }

    /// What was counted of it, where anything was.
    pub(super) fn of(&self, flow: i64) -> Option<Sums> {
        let dense = dense(flow).and_then(|at| self.dense.get(at)).copied().unwrap_or_default();
        let [connections, rx, tx] = dense;
        let mut sums = Sums { connections, rx, tx, ..Sums::default() };
        if let Some(others) = self.others.get(&flow) {
            sums.add(others);
        }
        (sums != Sums::default()).then_some(sums)
    }
}

fn dense(flow: i64) -> Option<usize> {
    usize::try_from(flow).ok().filter(|at| *at < DENSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_added_up_whatever_ids_a_file_has() {
        let mut by_flow = ByFlow::default();
        let ids = [0, 1, 2, 1000, i64::MAX, -1, i64::MIN, 1 << 22, (1 << 22) - 1];
        let failed = Sums { failures: [1, 0, 0, 0, 0, 2], ..Sums::default() };
        for (times, id) in (1..).zip(ids) {
            by_flow.add(id, &failed);
            for _ in 0..times {
                by_flow.add(id, &Sums { connections: 1, rx: 2, ..Sums::default() });
            }
        }
        for (times, id) in (1..).zip(ids) {
            let expected = Sums { connections: times, rx: 2 * times, ..failed };
            assert_eq!(by_flow.of(id), Some(expected), "{id}");
        }
        assert_eq!((by_flow.of(3), by_flow.of(-2), by_flow.of(i64::MAX - 1)), (None, None, None));
    }
}
