// SPDX-License-Identifier: GPL-3.0-or-later
//! Lines for bars, scripts and screen readers, as things happen: `--follow`. Nothing is printed, and nobody wakes up,
//! while nothing changes.

mod connection;
mod summary;
mod template;
mod words;

use std::fmt::Display;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use leco_os::clock::Now;
use leco_os::sandbox::Sandbox;
use leco_os::{say, watch};

use self::connection::Connection;
use self::summary::Summary;
use self::template::Lines;
pub use self::template::{Escape, FIELDS, Template};
pub use self::words::Sentences;
use self::words::Words;
use super::{PlainError, QUIET, is_taken, take, wanted_sources};
use crate::config::ConfigWatch;
use crate::model::overseer::{Overseer, Received};
use crate::source::{SOURCE_GIVEN_UP, SourceSpec, Sources, are_allowed};

/// A summary is written at most so often: a bar shows no more.
const SUMMARY_INTERVAL: Duration = Duration::from_millis(100);
/// What is known at the start is told in this time, even if events never pause.
const REPLAY_TIME: Duration = Duration::from_secs(2);
/// Connections of which it is remembered what was said.
const REMEMBERED: usize = 10_000;

/// What is printed of what happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowFormat {
    /// An object for waybar, rewritten with each change.
    Waybar,
    /// Sentences.
    Plain,
    /// A line for each change of what it shows.
    Template(Template),
}

impl FollowFormat {
    /// Reads `waybar`, `plain` or a text with fields.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "waybar" => Ok(Self::Waybar),
            "plain" => Ok(Self::Plain),
            text => Template::parse(text).map(Self::Template),
        }
    }
}

/// Each line as rules make it.
impl Default for FollowFormat {
    fn default() -> Self {
        Self::Template(Template::line())
    }
}

/// What is printed, by format.
enum Printer<'f> {
    Summary(Box<Summary>),
    Words(Words),
    Lines(Lines<'f>),
}

impl Printer<'_> {
    /// Takes note of an event, and appends what there is to print of it at once: nothing where it only tells what is
    /// known at the start.
    fn take(&mut self, connection: &Connection<'_>, is_known: bool, into: &mut String) {
        match self {
            Self::Summary(summary) => summary.take(connection),
            Self::Words(words) => words.take(connection, is_known, into),
            Self::Lines(lines) => lines.take(connection, is_known, into),
        }
    }
}

/// What is followed, and how.
#[derive(Debug, Clone, Copy)]
pub struct Follow<'o> {
    /// Sources that were named; without one those of the config.
    pub named_sources: &'o [SourceSpec],
    /// The config, which is followed.
    pub config: Option<&'o Path>,
    /// What the caller entered: sources that it keeps away are not followed.
    pub sandbox: &'o Sandbox,
    /// What is printed.
    pub format: &'o FollowFormat,
    /// What fields of a template may not contain.
    pub escape: Escape,
}

/// Prints what happens until nobody reads any more, or nothing can come. What is to be told besides goes to standard
/// error under the program's name.
pub fn follow(
    program: &str,
    overseer: &mut Overseer,
    options: Follow<'_>,
    mut out: impl Write + AsFd,
) -> Result<(), PlainError> {
    let Follow { named_sources, config, sandbox, format, escape } = options;
    let report = |notice: &dyn Display| say::err(format_args!("{program}: {notice}"));
    let mut sources = Sources::open(&wanted_sources(named_sources, overseer)?).map_err(PlainError::Follow)?;
    let in_force = overseer.config_fingerprint();
    // A file that cannot be followed only never changes.
    let mut config_watch = config.and_then(|path| ConfigWatch::follow(path, in_force).ok());
    let mut printer = match format {
        FollowFormat::Waybar => Printer::Summary(Box::default()),
        FollowFormat::Plain => Printer::Words(Words::default()),
        FollowFormat::Template(template) => Printer::Lines(Lines::new(template, escape)),
    };
    let mut replay = Replay::new(sources.specs());
    let mut reported = None;
    loop {
        if let Some(notice) = overseer.take_notice().or_else(watch::take_notice) {
            report(&notice);
        }
        let state = sources.state();
        if state.is_reading {
            replay.begin();
        }
        let mut text = String::new();
        if replay.has_come_to_its_end(state.has_ended)
            && let Printer::Words(words) = &printer
        {
            words.begin(&mut text);
        }
        let mut left = replay.left();
        if let Printer::Summary(summary) = &mut printer {
            // What is known at the start is one change.
            if left.is_none() || !state.is_reading {
                left = summary.write(overseer, &state, Now::read().boot, &mut text);
            }
        } else if reported.as_ref() != Some(&state.text) && !state.has_ended {
            let hint = if state.is_reading { "" } else { state.remedy.as_str() };
            report(&format_args!("{}{hint}", state.text));
            reported = Some(state.text.clone());
        }
        if !is_taken(&text, &mut out)? {
            return Ok(());
        }
        if state.has_ended {
            return Ok(());
        }
        let fds = sources.fds().chain(config_watch.as_ref().map(AsFd::as_fd));
        if say::wait_for_input_within(fds, &out, left).map_err(PlainError::Follow)? {
            return Ok(());
        }
        if let Some(reload) = config_watch.as_mut().and_then(|watch| watch.look().ok().flatten()) {
            for notice in take(reload, overseer) {
                report(&notice);
            }
            let wanted = wanted_sources(named_sources, overseer)?;
            if !are_allowed(sandbox, &wanted) {
                report(&SOURCE_GIVEN_UP);
            } else if wanted != sources.specs() {
                sources = Sources::open(&wanted).map_err(PlainError::Follow)?;
            }
        }
        let mut text = String::new();
        let replayed = replay.of(sources.specs());
        sources
            .wait(Some(Duration::ZERO), |origin, line| {
                let now = Now::read();
                if let Received::Line { text: shown, group, is_new } =
                    overseer.receive_from(origin, line, now)
                {
                    replay.arrived();
                    let units = overseer.settings().text.units;
                    if let Some(connection) =
                        Connection::read(origin, line, shown, group.is_some(), is_new, units)
                    {
                        printer.take(&connection, replayed[origin.index], &mut text);
                    }
                }
            })
            .map_err(PlainError::Follow)?;
        if !is_taken(&text, &mut out)? {
            return Ok(());
        }
    }
}

/// When what was known before is told: then events pause.
struct Replay {
    /// The source began to be read.
    begun: Option<Instant>,
    last_event: Option<Instant>,
    is_over: bool,
}

impl Replay {
    /// Of what was recorded all is news.
    fn new(sources: &[SourceSpec]) -> Self {
        let is_over = sources.iter().all(SourceSpec::is_recording);
        Self { begun: None, last_event: None, is_over }
    }

    fn begin(&mut self) {
        self.begun.get_or_insert_with(Instant::now);
    }

    fn arrived(&mut self) {
        self.begin();
        self.last_event = Some(Instant::now());
    }

    /// Whether it is over now and was not before.
    fn has_come_to_its_end(&mut self, has_ended: bool) -> bool {
        let ends = !self.is_over && (has_ended || self.left().is_some_and(|left| left.is_zero()));
        self.is_over |= ends;
        ends
    }

    /// Until it is over by all that is known; `None` before it began, and when it is over.
    fn left(&self) -> Option<Duration> {
        let begun = self.begun.filter(|_| !self.is_over)?;
        let all = REPLAY_TIME.saturating_sub(begun.elapsed());
        Some(self.last_event.map_or(all, |last| QUIET.saturating_sub(last.elapsed()).min(all)))
    }

    /// Of each source whether its events tell what was known before.
    fn of(&self, sources: &[SourceSpec]) -> Vec<bool> {
        sources.iter().map(|source| !self.is_over && !source.is_recording()).collect()
    }
}
