// SPDX-License-Identifier: GPL-3.0-or-later
//! Lines for bars, scripts and screen readers, as things happen: `--follow`. Nothing is printed, and nobody wakes up,
//! while nothing changes.

mod connection;
mod lines;
mod summary;
mod words;

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use leco_os::clock::Now;
use leco_os::say;

pub(super) use self::connection::{Connection, Key};
use self::lines::Lines;
pub(super) use self::lines::value;
use self::summary::Summary;
pub use self::words::Sentences;
use self::words::Words;
use super::feed::{Feed, Inputs, Replay};
use super::{PlainError, is_taken};
use crate::model::overseer::{Overseer, Received};
use crate::text::{Escape, Template, field_names};

/// A summary is written at most so often: a bar shows no more.
const SUMMARY_INTERVAL: Duration = Duration::from_millis(100);
/// Connections of which it is remembered what was said.
pub(super) const REMEMBERED: usize = 10_000;

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
            text => match Template::parse(text) {
                Ok(template) if template.has_fields() => Ok(Self::Template(template)),
                Ok(_) => Err(format!("expected waybar, plain, or a text with one of {}", field_names())),
                Err(error) => Err(error.placed(text)),
            },
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
    /// Events and the config.
    pub inputs: Inputs<'o>,
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
    let Follow { inputs, format, escape } = options;
    let mut feed = Feed::open(program, inputs, overseer)?;
    let mut printer = match format {
        FollowFormat::Waybar => Printer::Summary(Box::default()),
        FollowFormat::Plain => Printer::Words(Words::default()),
        FollowFormat::Template(template) => Printer::Lines(Lines::new(template, escape)),
    };
    let mut replay = Replay::new(feed.sources.specs());
    loop {
        feed.report_notices(overseer);
        let state = feed.sources.state();
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
        } else if !state.has_ended {
            feed.report_state(&state, if state.is_reading { "" } else { &state.remedy });
        }
        if !is_taken(&text, &mut out)? {
            return Ok(());
        }
        if state.has_ended {
            return Ok(());
        }
        if say::wait_for_input_within(feed.fds(), &out, left).map_err(PlainError::Follow)? {
            return Ok(());
        }
        feed.follow_config(overseer)?;
        let mut text = String::new();
        let replayed = replay.of(feed.sources.specs());
        feed.sources
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
