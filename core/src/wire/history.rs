// SPDX-License-Identifier: GPL-3.0-or-later
//! What a pipe has stored of the time before, as it tells it to receivers that want it: `history` of its own events.

use std::collections::BTreeMap;

use leco_os::clock::BootNs;
use serde::{Deserialize, Serialize};

use crate::text::{Protocol, port_of};
use crate::wire::details::ConnectionDetails;
use crate::wire::event::Direction;

/// Version of these fields.
pub const HISTORY_VERSION: u32 = 1;

/// A part of what is stored. Parts follow each other, the latest totals first, up to the one that is the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHistory {
    /// See [`HISTORY_VERSION`].
    pub v: u32,
    /// From when on totals were asked for, in seconds since 1970.
    pub since: i64,
    /// When that was.
    pub until: i64,
    /// The same on the clock of `ns`: connections that began later are in no total.
    pub at: BootNs,
    /// Totals.
    #[serde(default)]
    pub totals: Vec<StoredTotal>,
    /// Nothing follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end: bool,
    /// Why there is no more, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a program moved with a peer in an hour or day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTotal {
    /// Begin of the hour or day, in seconds since 1970.
    pub start: i64,
    /// Which of both.
    pub by: Span,
    /// Script or process.
    pub program: String,
    /// Unit or container, where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// User of the process.
    pub uid: u32,
    /// The user's name, else the number.
    pub user: String,
    /// Which end opened it: `in` or `out`.
    pub dir: String,
    /// As in events.
    pub proto: String,
    /// Port of the end that was called.
    pub port: u16,
    /// Name of the other end, operator of its network, or its network.
    pub peer: String,
    /// Connections that began.
    pub connections: u64,
    /// Bytes received.
    pub rx: u64,
    /// Bytes sent.
    pub tx: u64,
    /// Connections that failed, by how.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<String, u64>,
}

/// How long a total is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// An hour of the wall clock.
    #[default]
    Hour,
    /// A day where the pipe runs: of 23 or 25 hours where clocks change.
    Day,
}

/// What totals are of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct HistoryFlow {
    /// User's name, else number.
    pub user: String,
    /// User's number, where it is known.
    pub uid: Option<u32>,
    /// Script or process.
    pub program: String,
    /// Unit or container; empty where there is none.
    pub unit: String,
    /// Which end opened connections.
    pub direction: Direction,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// Port of the end that was called.
    pub port: u16,
    /// Name of the other end, operator of its network, or its network.
    pub peer: String,
    /// Name of the machine, where a reader knows it.
    pub host: String,
}

/// Fields of events that totals have: a filter can ask for these.
pub const HISTORY_FIELDS: [&str; 6] = ["user", "comm", "unit", "raddr", "dir", "rport"];

impl HistoryFlow {
    /// As a line of the pipe would have it, without a time.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { user, program, unit, peer, .. } = self;
        let unit = if unit.is_empty() || unit == program { String::new() } else { format!(" [{unit}]") };
        let mark = if self.direction == Direction::In { "<- " } else { "" };
        let port = port_of(self.port, Protocol::from_number(self.protocol));
        format!("{user} :: {program}{unit} :: {mark}{peer}{port}")
    }

    /// What a filter may ask for.
    #[must_use]
    pub fn into_details(self) -> ConnectionDetails {
        let Self { user, uid, program, unit, direction, protocol: _, port, peer, host } = self;
        ConnectionDetails {
            user,
            uid,
            process: program,
            units: vec![unit],
            peers: vec![peer],
            port: Some(port),
            direction,
            host,
            ..ConnectionDetails::default()
        }
    }

    /// The port, as lines show it.
    #[must_use]
    pub fn port(&self) -> String {
        port_of(self.port, Protocol::from_number(self.protocol)).to_string().trim().to_owned()
    }
}

impl From<&StoredTotal> for HistoryFlow {
    fn from(total: &StoredTotal) -> Self {
        Self {
            user: total.user.clone(),
            uid: Some(total.uid),
            program: total.program.clone(),
            unit: total.unit.clone(),
            direction: Direction::parse(&total.dir).unwrap_or_default(),
            protocol: protocol_number(&total.proto),
            port: total.port,
            peer: total.peer.clone(),
            host: String::new(),
        }
    }
}

/// The number of a protocol as events have it.
pub(crate) fn protocol_number(name: &str) -> u16 {
    match name {
        "tcp" => 6,
        "udp" => 17,
        number => number.parse().unwrap_or_default(),
    }
}

impl StoredHistory {
    /// The part that an event brings; none of another version.
    #[must_use]
    pub fn of(event: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Bringing {
            history: StoredHistory,
        }
        let Bringing { history } = serde_json::from_slice(event).ok()?;
        (history.v == HISTORY_VERSION).then_some(history)
    }
}
