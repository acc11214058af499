// SPDX-License-Identifier: GPL-3.0-or-later
//! One object that stands for everything, rewritten when it changes: what waybar calls `return-type: json`.

use std::time::{Duration, Instant};

use leco_os::clock::BootNs;

use super::SUMMARY_INTERVAL;
use super::connection::Connection;
use super::words;
use crate::model::known_line::KnownLine;
use crate::model::overseer::Overseer;
use crate::source::SourcesState;
use crate::text::Escape;
use crate::wire::event::{ConnectionState, Direction, State};

/// Lines in a tooltip.
const LINES: usize = 10;

/// What is to be said, and what was said last.
#[derive(Default)]
pub(super) struct Summary {
    latest: Option<Latest>,
    written: Option<(Instant, String)>,
    has_changed: bool,
}

/// What happened last.
struct Latest {
    text: String,
    classes: Vec<&'static str>,
}

impl Summary {
    pub(super) fn take(&mut self, connection: &Connection<'_>) {
        self.has_changed = true;
        self.latest = Some(Latest { text: text(connection), classes: classes(connection) });
    }

    /// Appends the object if it is another one now; tells when to look again, if nothing comes before.
    pub(super) fn write(
        &mut self,
        overseer: &Overseer,
        source: &SourcesState,
        now: BootNs,
        into: &mut String,
    ) -> Option<Duration> {
        let early = match &self.written {
            Some((written, _)) if self.has_changed && !source.has_ended => {
                SUMMARY_INTERVAL.saturating_sub(written.elapsed())
            }
            _ => Duration::ZERO,
        };
        if !early.is_zero() {
            return Some(early);
        }
        self.has_changed = false;
        let is_reading = source.is_reading || source.has_ended;
        let fades_in = overseer.latest_is_gone_in(now);
        let is_quiet = fades_in == Some(Duration::ZERO);
        let object = self.object(overseer, source, is_reading, is_quiet);
        if self.written.as_ref().is_none_or(|(_, before)| *before != object) {
            into.push_str(&object);
            into.push('\n');
            self.written = Some((Instant::now(), object));
        }
        fades_in.filter(|_| is_reading && !is_quiet)
    }

    fn object(&self, overseer: &Overseer, source: &SourcesState, is_reading: bool, is_quiet: bool) -> String {
        let mut tooltip = String::new();
        for line in overseer.known().rev().take(LINES) {
            if !tooltip.is_empty() {
                tooltip.push('\n');
            }
            Escape::Pango.apply(line.text().trim_end(), &mut tooltip);
        }
        let (text, classes) = match &self.latest {
            _ if !is_reading => ("no events".to_owned(), vec!["waiting"]),
            Some(latest) if !is_quiet => (latest.text.clone(), latest.classes.clone()),
            _ => (known(overseer), vec!["quiet"]),
        };
        if !is_reading || tooltip.is_empty() {
            let hint = if is_reading { "" } else { source.remedy.as_str() };
            tooltip.clear();
            Escape::Pango.apply(&format!("{}{hint}", source.text), &mut tooltip);
        }
        let mut escaped = String::new();
        Escape::Pango.apply(&text, &mut escaped);
        let alt = classes.first().copied().unwrap_or_default();
        serde_json::json!({"text": escaped, "alt": alt, "class": classes, "tooltip": tooltip}).to_string()
    }
}

/// What there is while nothing happens.
fn known(overseer: &Overseer) -> String {
    let is_listener = |line: &KnownLine<'_>| line.brief_details().direction == Direction::Listen;
    match overseer.known().len() {
        0 => "no connections".to_owned(),
        lines => format!("{} known", words::known(lines, overseer.known().filter(is_listener).count())),
    }
}

/// Who and whom, in few words.
fn text(connection: &Connection<'_>) -> String {
    let details = &connection.details;
    let (who, peer) = (&details.process, connection.peer());
    let arrow = match details.direction {
        Direction::In => "←",
        Direction::Out => "→",
        Direction::Listen if !who.is_empty() => return connection.listens(who),
        Direction::Listen => "",
    };
    if who.is_empty() || peer.is_empty() {
        return connection.shown.trim_end().to_owned();
    }
    let state = connection.told_state().filter(|state| state.is_trouble());
    let state = state.map_or_else(String::new, |state| format!(" {}", state.name()));
    format!("{who} {arrow} {peer}{state}")
}

/// What style sheets may distinguish: first how it stands.
fn classes(connection: &Connection<'_>) -> Vec<&'static str> {
    let mut classes = vec![match (connection.state, connection.details.direction) {
        (ConnectionState::Refused, _) => "refused",
        (ConnectionState::TimedOut, _) => "timeout",
        (ConnectionState::Blocked, _) => "blocked",
        (_, Direction::Listen) if connection.end().is_some() => "closed",
        (_, Direction::Listen) => "listening",
        (_, Direction::In) => "incoming",
        (_, Direction::Out) => "outgoing",
    }];
    classes.extend(connection.told_state().is_some_and(State::is_trouble).then_some("trouble"));
    classes.extend(connection.details.is_first_ever.then_some("new"));
    classes
}
