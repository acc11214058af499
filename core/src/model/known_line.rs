// SPDX-License-Identifier: GPL-3.0-or-later
//! A line as those who show it see it.

use std::time::Duration;

use leco_os::clock::BootNs;

use crate::model::fader::age;
use crate::model::line::Line;
pub use crate::model::line::LineId;
use crate::model::machines::ours;
use crate::model::traffic::Traffic;
use crate::wire::details::ConnectionDetails;
use crate::wire::event::{ConnectionState, Phase};

/// A line that is known, whether it is in a slot or not.
#[derive(Debug, Clone)]
pub struct KnownLine<'o>(pub(crate) &'o Line);

impl KnownLine<'_> {
    /// By what it is known.
    #[must_use]
    pub fn id(&self) -> LineId {
        self.0.id()
    }

    /// As the rules left it, safe to print.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.look.text
    }

    /// As it was received, safe to print.
    #[must_use]
    pub fn received(&self) -> &str {
        &self.0.event.received
    }

    /// When it began, in ns on our boot clock; negative before that began.
    #[must_use]
    pub fn first(&self) -> i64 {
        self.0.life.first
    }

    /// When it was last updated, on the same clock.
    #[must_use]
    pub fn updated(&self) -> i64 {
        self.0.life.updated
    }

    /// Time since it began, on whichever machine that was.
    #[must_use]
    pub fn first_age(&self, now: BootNs) -> Duration {
        Duration::from_nanos(age(self.0.life.first, ours(now)))
    }

    /// Time since its last update.
    #[must_use]
    pub fn age(&self, now: BootNs) -> Duration {
        Duration::from_nanos(age(self.0.life.updated, ours(now)))
    }

    /// How its connection stands.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        self.0.event.state
    }

    /// Whether its writer said that it ended; a group has ended when all of its connections have.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.phase() == Phase::Closed
    }

    /// Connections that rules have put into it, of the latest that are told apart; 1 for a line of its own.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections()
    }

    /// What goes over it.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.0.bytes.traffic
    }

    /// The event as it came and, as `shown`, what the rules made of its line; as `age`, how long ago it was, in
    /// seconds, whichever clock its times are on.
    #[must_use]
    pub fn json(&self, now: BootNs) -> serde_json::Value {
        let line = self.0;
        let event = line.event.json.as_deref().and_then(|event| serde_json::from_str(event).ok());
        let mut event = event.unwrap_or_else(
            || serde_json::json!({"ns": line.life.ns, "ns_trx": line.life.ns_trx, "line": &*line.event.received}),
        );
        if let Some(host) = &line.machine.host {
            event["host"] = (**host).into();
        }
        let milliseconds = self.age(now).as_millis();
        event["age"] = (milliseconds as f64 / 1000.0).into();
        event["shown"] = (*line.look.text).into();
        event
    }

    /// What is known of its connection. The event is read for it: keep what you need.
    #[must_use]
    pub fn details(&self) -> ConnectionDetails {
        let mut details = ConnectionDetails::of(&self.0.event.received, self.0.event.json.as_deref());
        details.is_first_ever = self.0.event.is_first_ever;
        if let Some(host) = &self.0.machine.host {
            host.as_ref().clone_into(&mut details.host);
        }
        details
    }
}
