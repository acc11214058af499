// SPDX-License-Identifier: GPL-3.0-or-later
//! Events of the sources, read as they come; those of a burst together.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use anyhow::Context;
use leco_core::model::overseer::Overseer;
use leco_core::source::{SourceSpec, Sources, SourcesState};
use leco_os::clock::Now;

use crate::report::report;

/// In a burst of events, so long no more are waited for: many are one wakeup.
const READ_INTERVAL: Duration = Duration::from_millis(10);
/// Events that follow others within this are a burst.
const BURST_GAP: Duration = Duration::from_millis(30);
/// So many reads before the screen is drawn, whatever is left.
const MAX_READS: usize = 32;

/// Reads the sources.
pub(crate) struct EventReader {
    sources: Sources,
    are_named: bool,
    /// Whether a source may have something.
    has_input: bool,
    /// Before this nothing is read.
    read_from: Instant,
    last_events: Option<Instant>,
    reported: Option<SourcesState>,
}

impl EventReader {
    pub(crate) fn open(sources: &[SourceSpec], are_named: bool) -> anyhow::Result<Self> {
        Ok(Self {
            sources: open(sources)?,
            are_named,
            has_input: true,
            read_from: Instant::now(),
            last_events: None,
            reported: None,
        })
    }

    /// Whether the command line named the sources: those of the config do not count then.
    pub(crate) fn are_named(&self) -> bool {
        self.are_named
    }

    /// Whether these are others than there are.
    pub(crate) fn would_change(&self, sources: &[SourceSpec]) -> bool {
        sources != self.sources.specs()
    }

    /// Reads these from now on.
    pub(crate) fn follow(&mut self, sources: &[SourceSpec]) -> anyhow::Result<()> {
        self.sources = open(sources)?;
        Ok(())
    }

    /// Takes what has come; whether that changes what is to be seen.
    pub(crate) fn read(&mut self, overseer: &mut Overseer) -> anyhow::Result<bool> {
        if !self.has_input || Instant::now() < self.read_from {
            return Ok(false);
        }
        self.has_input = false;
        let now = Now::read();
        let mut has_come = false;
        for turn in 0..MAX_READS {
            self.has_input = turn + 1 == MAX_READS;
            let is_empty = self.sources.wait(Some(Duration::ZERO), |origin, line| {
                overseer.receive_from(origin, line, now);
                has_come = true;
            })?;
            if is_empty {
                break;
            }
        }
        if has_come {
            let is_burst =
                self.last_events.replace(Instant::now()).is_some_and(|last| last.elapsed() < BURST_GAP);
            if is_burst {
                self.read_from = Instant::now() + READ_INTERVAL;
            }
        }
        Ok(self.report_state() || has_come)
    }

    /// Says what is waited for; whether the sources are in another state than before.
    fn report_state(&mut self) -> bool {
        let state = self.sources.state();
        if self.reported.as_ref() == Some(&state) {
            return false;
        }
        if !state.is_reading {
            report(waiting(&state));
        }
        self.reported = Some(state);
        true
    }

    /// What is waited for, where no source can have anything now.
    pub(crate) fn waiting(&self) -> Option<String> {
        let state = self.sources.state();
        (!state.is_reading).then(|| waiting(&state))
    }

    /// Time until the sources are read again; nothing where they are read as soon as something comes.
    pub(crate) fn time_to_read(&self, now: Instant) -> Duration {
        self.read_from.saturating_duration_since(now)
    }

    /// What becomes readable when something comes.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sources.fds()
    }

    /// Something may have come.
    pub(crate) fn set_has_input(&mut self) {
        self.has_input = true;
    }
}

fn open(sources: &[SourceSpec]) -> anyhow::Result<Sources> {
    Sources::open(sources).context("cannot follow a source")
}

fn waiting(state: &SourcesState) -> String {
    format!("{}{}", state.text, state.remedy)
}
