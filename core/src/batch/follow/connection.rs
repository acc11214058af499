// SPDX-License-Identifier: GPL-3.0-or-later
//! What an event says, for those who print it in their own words.

use std::sync::Arc;

use leco_os::clean::clean;
use leco_os::clock::BootNs;

use crate::source::Origin;
use crate::text::{SEPARATOR, Units};
use crate::wire::details::ConnectionDetails;
use crate::wire::event::{ConnectionState, Event, State};

/// By what a connection is known: its machine, and its begin there.
pub(in crate::batch) type Key = (Box<str>, BootNs);

/// One event of a connection.
#[derive(Debug)]
pub(in crate::batch) struct Connection<'e> {
    pub(in crate::batch) key: Key,
    /// When it began, as its line has it.
    pub(in crate::batch) time: String,
    pub(in crate::batch) details: ConnectionDetails,
    pub(in crate::batch) state: ConnectionState,
    /// Bytes received and sent, as lines have them; empty where that is not told.
    pub(in crate::batch) rx: String,
    pub(in crate::batch) tx: String,
    /// As it was received.
    pub(in crate::batch) received: String,
    /// As rules made it.
    pub(in crate::batch) shown: Arc<str>,
    /// It is one of several that share a line.
    pub(in crate::batch) is_grouped: bool,
    /// Its line was not known before.
    pub(in crate::batch) is_new_line: bool,
    /// Which of several sources it came from.
    pub(in crate::batch) source: Option<&'e str>,
}

impl<'e> Connection<'e> {
    /// Reads an event; `None` for what is none.
    pub(in crate::batch) fn read(
        origin: Origin<'e>,
        wire_line: &[u8],
        shown: Arc<str>,
        is_grouped: bool,
        is_new_line: bool,
        units: Units,
    ) -> Option<Self> {
        let event = Event::parse(wire_line).ok()?;
        let line = clean(&event.line);
        let mut details = ConnectionDetails::of(&line, str::from_utf8(wire_line).ok());
        // Fields are for the eyes of a detailed view.
        details.fields.clear();
        if let (true, Some(host)) = (details.host.is_empty(), origin.host) {
            host.clone_into(&mut details.host);
        }
        let parts: Vec<&str> = line.split(SEPARATOR).collect();
        let is_known = parts.len() >= 4;
        let time = if is_known { parts[0].trim().to_owned() } else { String::new() };
        let amount =
            |count: Option<u64>| count.map_or_else(String::new, |count| units.amount(count).to_string());
        let machine = [&event.boot.0, &event.host.0].into_iter().find(|name| !name.is_empty());
        let machine = machine.map_or_else(|| origin.index.to_string(), Clone::clone);
        Some(Self {
            key: (machine.into(), event.ns),
            time,
            state: event.connection_state(),
            rx: amount(details.numbers.rx),
            tx: amount(details.numbers.tx),
            received: line.into_owned(),
            shown,
            is_grouped,
            is_new_line,
            source: origin.host,
            details,
        })
    }

    /// How it stands, as far as that is told.
    pub(in crate::batch) fn told_state(&self) -> Option<State> {
        State::parse(self.details.state(self.state))
    }

    /// How it ended, where it did.
    pub(in crate::batch) fn end(&self) -> Option<State> {
        self.told_state().filter(|state| state.is_end())
    }

    /// What becomes of a listener, whose process is called so.
    pub(in crate::batch) fn listens(&self, who: &str) -> String {
        let verb = if self.end().is_some() { "no longer listens on" } else { "begins to listen on" };
        let port = self.details.port.map_or_else(String::new, |port| format!(" {port}"));
        format!("{who} {verb} {}{port}", self.details.listens_at)
    }

    /// The first name or address of its peer.
    pub(in crate::batch) fn peer(&self) -> &str {
        self.details.peers.first().map_or("", String::as_str)
    }
}
