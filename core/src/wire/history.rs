// SPDX-License-Identifier: GPL-3.0-or-later
//! What a pipe has stored of the time before, as it tells it to receivers that want it: `history` of its own events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of these fields.
pub const HISTORY_VERSION: u32 = 1;

/// A part of what is stored. Parts follow each other, the latest totals first, up to the one that is the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHistory {
    /// See [`HISTORY_VERSION`].
    pub v: u32,
    /// From when on totals were asked for, in seconds since 1970.
    pub since: i64,
    /// When that was: what came later is in events.
    pub until: i64,
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
