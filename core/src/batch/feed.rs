// SPDX-License-Identifier: GPL-3.0-or-later
//! Events and the config, followed together.

use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use leco_os::sandbox::Sandbox;
use leco_os::{say, watch};

use super::{PlainError, QUIET, take};
use crate::config::ConfigWatch;
use crate::model::overseer::Overseer;
use crate::source::{NoRuntimeFolder, SOURCE_GIVEN_UP, SourceSpec, Sources, SourcesState, are_allowed};

/// What is known at the start is told in this time, even if events never pause.
const REPLAY_TIME: Duration = Duration::from_secs(2);

/// What is followed.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'o> {
    /// Sources that were named; without one those of the config.
    pub named_sources: &'o [SourceSpec],
    /// The config, which is followed.
    pub config: Option<&'o Path>,
    /// What the caller entered: sources that it keeps away are not followed.
    pub sandbox: &'o Sandbox,
}

/// Sources and config as they are followed. What there is to say goes to standard error under the program's name.
pub(super) struct Feed<'o> {
    program: &'o str,
    inputs: Inputs<'o>,
    pub(super) sources: Sources,
    config: Option<ConfigWatch>,
    reported: Option<String>,
}

impl<'o> Feed<'o> {
    pub(super) fn open(
        program: &'o str,
        inputs: Inputs<'o>,
        overseer: &Overseer,
    ) -> Result<Self, PlainError> {
        let wanted = wanted_sources(inputs.named_sources, overseer)?;
        let sources = Sources::open(&wanted).map_err(PlainError::Follow)?;
        let in_force = overseer.config_fingerprint();
        // A file that cannot be followed only never changes.
        let config = inputs.config.and_then(|path| ConfigWatch::follow(path, in_force).ok());
        Ok(Self { program, inputs, sources, config, reported: None })
    }

    pub(super) fn report(&self, notice: &dyn Display) {
        say::err(format_args!("{}: {notice}", self.program));
    }

    /// Says what a person should know of rules and of the system.
    pub(super) fn report_notices(&self, overseer: &mut Overseer) {
        if let Some(notice) = overseer.take_notice().or_else(watch::take_notice) {
            self.report(&notice);
        }
    }

    /// Says how the sources are doing, where that has changed.
    pub(super) fn report_state(&mut self, state: &SourcesState, remedy: &str) {
        if self.reported.as_ref() != Some(&state.text) {
            self.report(&format_args!("{}{remedy}", state.text));
            self.reported = Some(state.text.clone());
        }
    }

    /// What becomes readable when there is something to take.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sources.fds().chain(self.config.as_ref().map(AsFd::as_fd))
    }

    /// Takes a config that has changed, and with it where events come from, but for sources that were named and such as
    /// the sandbox keeps away.
    pub(super) fn follow_config(&mut self, overseer: &mut Overseer) -> Result<(), PlainError> {
        let Some(reload) = self.config.as_mut().and_then(|watch| watch.look().ok().flatten()) else {
            return Ok(());
        };
        for notice in take(reload, overseer) {
            self.report(&notice);
        }
        let wanted = wanted_sources(self.inputs.named_sources, overseer)?;
        if !are_allowed(self.inputs.sandbox, &wanted) {
            self.report(&SOURCE_GIVEN_UP);
        } else if wanted != self.sources.specs() {
            self.sources = Sources::open(&wanted).map_err(PlainError::Follow)?;
        }
        Ok(())
    }
}

/// Sources that were named, else those of the config.
fn wanted_sources(named: &[SourceSpec], overseer: &Overseer) -> Result<Vec<SourceSpec>, NoRuntimeFolder> {
    if named.is_empty() { overseer.settings().run.all_sources() } else { Ok(named.to_vec()) }
}

/// When what was known before is told: then events pause.
pub(super) struct Replay {
    /// The source began to be read.
    begun: Option<Instant>,
    last_event: Option<Instant>,
    is_over: bool,
}

impl Replay {
    /// Of what was recorded all is news.
    pub(super) fn new(sources: &[SourceSpec]) -> Self {
        let is_over = sources.iter().all(SourceSpec::is_recording);
        Self { begun: None, last_event: None, is_over }
    }

    pub(super) fn begin(&mut self) {
        self.begun.get_or_insert_with(Instant::now);
    }

    pub(super) fn arrived(&mut self) {
        self.begin();
        self.last_event = Some(Instant::now());
    }

    /// Whether it is over now and was not before.
    pub(super) fn has_come_to_its_end(&mut self, has_ended: bool) -> bool {
        let ends = !self.is_over && (has_ended || self.left().is_some_and(|left| left.is_zero()));
        self.is_over |= ends;
        ends
    }

    /// Until it is over by all that is known; `None` before it began, and when it is over.
    pub(super) fn left(&self) -> Option<Duration> {
        let begun = self.begun.filter(|_| !self.is_over)?;
        let all = REPLAY_TIME.saturating_sub(begun.elapsed());
        Some(self.last_event.map_or(all, |last| QUIET.saturating_sub(last.elapsed()).min(all)))
    }

    /// Of each source whether its events tell what was known before.
    pub(super) fn of(&self, sources: &[SourceSpec]) -> Vec<bool> {
        sources.iter().map(|source| !self.is_over && !source.is_recording()).collect()
    }
}
