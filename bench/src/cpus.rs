// SPDX-License-Identifier: GPL-3.0-or-later
//! On which CPUs what is measured runs.

use std::sync::OnceLock;

use anyhow::Result;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The calling thread, and what it starts, stays on some CPUs until this is dropped.
pub(crate) struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// On the last CPU that may be used: interrupts tend to be at the first.
    pub(crate) fn to_last() -> Result<Self> {
        Self::to(|cpu, last| cpu == last)
    }

    /// On all but that one, where there are others.
    pub(crate) fn to_others() -> Result<Self> {
        Self::to(|cpu, last| cpu != last)
    }

    fn to(is_chosen: impl Fn(usize, usize) -> bool) -> Result<Self> {
        // Threads of a thread that is pinned are, too: what the first of all found is what there is.
        static ALL: OnceLock<CpuSet> = OnceLock::new();
        let before = sched_getaffinity(None)?;
        let all = ALL.get_or_init(|| before);
        let usable: Vec<_> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
        let last = usable.last().copied().unwrap_or(0);
        let mut chosen = CpuSet::new();
        for cpu in usable.iter().filter(|cpu| is_chosen(**cpu, last)) {
            chosen.set(*cpu);
        }
        if chosen.count() > 0 {
            sched_setaffinity(None, &chosen)?;
        }
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.before);
    }
}
