// SPDX-License-Identifier: GPL-3.0-or-later
//! Plain lines for pipes and scripts, the same in every frontend: `--once`, `--follow`, `-d`, `-r`.

mod explain;
mod feed;
pub mod follow;
pub mod notify;

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use leco_os::clean::{clean, clean_bytes};
use leco_os::clock::Now;
use leco_os::{say, watch};

pub use self::explain::{explain, explain_as_json};
use self::feed::Feed;
pub use self::feed::Inputs;
use crate::config::Reload;
use crate::ini::Diagnostic;
use crate::model::overseer::{Overseer, Received};
use crate::source::{NoRuntimeFolder, Origin, SourceSpec, Sources};

/// Once every source has brought a line, so long a silence means that the replays are over.
const QUIET: Duration = Duration::from_millis(250);

/// Why plain lines cannot be printed.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// A source cannot be followed.
    #[error("cannot follow {0}")]
    Follow(io::Error),
    /// No source is named, and there is no default one.
    #[error(transparent)]
    NoSource(#[from] NoRuntimeFolder),
    /// No events can come.
    #[error("{0}")]
    Waiting(String),
    /// What is told is not taken any more.
    #[error(transparent)]
    Tell(io::Error),
    /// Nobody takes the lines, for another reason than that nobody reads any more.
    #[error("cannot write to standard output: {0}")]
    Write(io::Error),
}

/// Whether writing failed because nobody reads: then the work is done.
fn unless_broken_pipe(result: io::Result<()>) -> Result<bool, PlainError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(PlainError::Write(error)),
    }
}

/// How lines are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As they are shown.
    Text,
    /// As objects, one a line: the event as it came, and what is `shown` of it.
    Json,
}

/// Prints the lines that are known when the replay is over, or when the time is. What could not be understood is told
/// on standard error under the program's name.
pub fn once(
    program: &str,
    overseer: &mut Overseer,
    sources: &[SourceSpec],
    wait: Duration,
    format: Format,
    out: impl Write,
) -> Result<(), PlainError> {
    let mut sources = Sources::open(sources).map_err(PlainError::Follow)?;
    if let Some(notice) = watch::take_notice() {
        say::err(format_args!("{program}: {notice}"));
    }
    let start = Instant::now();
    let mut last_line: Option<Instant> = None;
    loop {
        let last_of_all = last_line.filter(|_| sources.awaited().is_empty());
        let quiet_left = last_of_all.map_or(wait, |last| QUIET.saturating_sub(last.elapsed()));
        let left = wait.saturating_sub(start.elapsed()).min(quiet_left);
        if left.is_zero() {
            break;
        }
        let mut arrived = false;
        sources
            .wait(Some(left), |origin, line| {
                overseer.receive_from(origin, line, Now::read());
                arrived = true;
            })
            .map_err(PlainError::Follow)?;
        if arrived {
            last_line = Some(Instant::now());
        }
        if sources.state().has_ended {
            break;
        }
    }
    let state = sources.state();
    if last_line.is_none() && !state.is_reading && !state.has_ended {
        return Err(PlainError::Waiting(state.text + &state.remedy));
    }
    // Of the only source that is what it knows.
    for awaited in sources.awaited().iter().filter(|_| sources.specs().len() > 1) {
        say::err(format_args!("{program}: nothing came in time: {awaited}"));
    }
    if let Some(notice) = not_understood(overseer.counts().malformed, state.overlong) {
        say::err(format_args!("{program}: {notice}"));
    }
    known(overseer, Now::read(), format, out)
}

/// Prints the lines that are known at a moment.
pub fn known(
    overseer: &mut Overseer,
    now: Now,
    format: Format,
    mut out: impl Write,
) -> Result<(), PlainError> {
    overseer.keep_time(now);
    let printed = overseer.known().try_for_each(|line| match format {
        Format::Text => writeln!(out, "{}", line.text()),
        Format::Json => writeln!(out, "{}", line.json(now.boot)),
    });
    unless_broken_pipe(printed.and_then(|()| out.flush())).map(|_| ())
}

/// How many lines were no events, where there were any.
#[must_use]
pub fn not_understood(malformed: u64, overlong: u64) -> Option<String> {
    let all = malformed.saturating_add(overlong);
    let lines = if all == 1 { "1 line was".to_owned() } else { format!("{all} lines were") };
    let too_long = if overlong > 0 { format!(" ({overlong} longer than 64 KiB)") } else { String::new() };
    (all > 0).then(|| {
        format!("{lines} not understood{too_long}: expected JSON lines as leco-event-pipe writes them")
    })
}

/// Prints each event as it came, and below it what became of it, until nobody reads any more. What is to be
/// told besides goes to standard error under the program's name.
pub fn debug(
    program: &str,
    overseer: &mut Overseer,
    inputs: Inputs<'_>,
    mut out: impl Write + AsFd,
) -> Result<(), PlainError> {
    let mut feed = Feed::open(program, inputs, overseer)?;
    feed.report_notices(overseer);
    loop {
        let state = feed.sources.state();
        feed.report_state(&state, "");
        if state.has_ended {
            return Ok(());
        }
        if say::wait_for_input(feed.fds(), &out).map_err(PlainError::Follow)? {
            return Ok(());
        }
        feed.follow_config(overseer)?;
        let text = read_all(&mut feed.sources, overseer)?;
        feed.report_notices(overseer);
        if !is_taken(&text, &mut out)? {
            return Ok(());
        }
    }
}

/// What there is to print of the events that have come.
fn read_all(sources: &mut Sources, overseer: &mut Overseer) -> Result<String, PlainError> {
    let mut text = String::new();
    let take = |origin: Origin<'_>, line: &[u8]| text.push_str(&became(overseer, origin, line, Now::read()));
    sources.wait(Some(Duration::ZERO), take).map_err(PlainError::Follow)?;
    Ok(text)
}

/// Prints a text; whether anybody still reads.
fn is_taken(text: &str, mut out: impl Write + AsFd) -> Result<bool, PlainError> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    // A terminal that went meanwhile fails in another way than a pipe does.
    let is_read = written.is_ok() || !say::is_gone(&out);
    Ok(is_read && unless_broken_pipe(written)?)
}

/// Takes a config that changed; what there is to say of it.
fn take(reload: Reload, overseer: &mut Overseer) -> Vec<String> {
    const STAYS: &str = "keeping the previous config";
    match reload {
        Reload::Good(config) => {
            let what = if config.file.is_some() {
                "reloaded the config"
            } else {
                "no config any more: using the defaults"
            };
            let notices = std::iter::once(what.to_owned())
                .chain(config.list_diagnostics.iter().map(ToString::to_string));
            let notices = notices.collect();
            overseer.reload(*config);
            notices
        }
        Reload::Bad(diagnostics) => {
            diagnostics.iter().map(Diagnostic::cause).chain([STAYS.to_owned()]).collect()
        }
        Reload::Unreadable(reason) => vec![format!("{reason}; {STAYS}")],
    }
}

/// Prints one event of a recording as it came, and below it what became of it; whether anybody still reads.
pub fn debug_event(
    overseer: &mut Overseer,
    wire_line: &[u8],
    now: Now,
    mut out: impl Write,
) -> Result<bool, PlainError> {
    unless_broken_pipe(out.write_all(became(overseer, Origin::default(), wire_line, now).as_bytes()))
}

fn became(overseer: &mut Overseer, origin: Origin<'_>, wire_line: &[u8], now: Now) -> String {
    let what = match overseer.receive_from(origin, wire_line, now) {
        Received::Blank => return String::new(),
        Received::Line { text, group, is_new } => {
            let verb = if is_new { "new" } else { "updated" };
            let group = group.map_or_else(String::new, |group| format!(" [group {}]", clean(&group)));
            format!("{verb}{group}: {}", clean(&text))
        }
        Received::Old => "nothing new".to_owned(),
        Received::Dropped => "dropped by a rule".to_owned(),
        Received::NotChosen => "does not match --filter".to_owned(),
        Received::History => "totals of the time before".to_owned(),
        Received::Malformed(error) => format!("malformed: {}", error.source),
    };
    let host = origin.host.map(|host| format!("{host}: ")).unwrap_or_default();
    format!("{host}{}\n  {what}\n", clean_bytes(wire_line))
}
