// SPDX-License-Identifier: GPL-3.0-or-later
//! One line: a connection, or a group of them, as its events and the rules made it.

use std::sync::Arc;

use leco_os::clock::BootNs;

use crate::model::fader::Times;
use crate::model::machines::{MachineId, OurNs, Placed};
use crate::model::traffic::{BUCKET_NS, Bytes, Traffic};
use crate::style::LineStyle;
use crate::wire::event::{ConnectionState, Phase};

/// Connections of a group whose bytes are told apart.
pub(super) const MAX_MEMBERS: usize = 256;

/// By what a line is known from others as long as it is known: its machine and, on that one's clock, its begin.
pub type LineId = (MachineId, BootNs);

/// What a line stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LineKey {
    /// One connection, by its `ns` on its machine's clock.
    Connection(MachineId, BootNs),
    /// All connections of a machine that rules put under one key.
    Group(MachineId, Arc<str>),
}

/// What the rules and styles made of a line as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) text: Arc<str>,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) style: LineStyle,
    /// Index of its curve in `[curves]`.
    pub(crate) curve: Option<usize>,
}

/// An event that is to be shown.
pub(crate) struct Arrival<'a> {
    /// Its machine, and when it came as our clock goes.
    pub(crate) placed: Placed,
    /// Of the connection.
    pub(crate) ns: BootNs,
    pub(crate) ns_trx: BootNs,
    /// As received.
    pub(crate) received: &'a str,
    /// The whole event, where it has more to tell than its line.
    pub(crate) event: Option<&'a str>,
    /// What went over the connection, where that is known.
    pub(crate) bytes: Option<Bytes>,
    pub(crate) state: ConnectionState,
    pub(crate) phase: Phase,
    pub(crate) is_first_ever: bool,
    pub(crate) shown: Shown,
}

/// A connection or group as last received.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) machine: LineMachine,
    pub(crate) life: Lifetime,
    pub(crate) event: LastEvent,
    pub(crate) look: Look,
    pub(crate) bytes: LineBytes,
    /// Where it is shown.
    pub(super) slot: Option<usize>,
}

/// The machine on which it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct LineMachine {
    pub(crate) id: MachineId,
    pub(super) epoch: u32,
    /// Id of the machine's boot, where it is known and not ours.
    pub(crate) boot: Option<Arc<str>>,
    /// Name of the machine, where it is known.
    pub(crate) host: Option<Arc<str>>,
}

/// From when to when it was heard of.
#[derive(Debug, Clone)]
pub(crate) struct Lifetime {
    /// Oldest `ns` seen in it: its identity, from which its tag is made.
    pub(crate) ns: BootNs,
    /// `ns` of the connection whose line it shows.
    pub(super) latest: BootNs,
    /// When it was last updated, on its machine's clock.
    pub(crate) ns_trx: BootNs,
    /// When it began and when it was last updated, on our clock.
    pub(crate) first: OurNs,
    pub(crate) updated: OurNs,
}

/// What its last event said, but for times and bytes.
#[derive(Debug, Clone)]
pub(crate) struct LastEvent {
    /// The line as received, for other rules to be applied to it.
    pub(crate) received: Arc<str>,
    /// The whole event, where it has more to tell than its line.
    pub(crate) json: Option<Box<str>>,
    pub(crate) state: ConnectionState,
    pub(super) phase: Phase,
    pub(crate) is_first_ever: bool,
}

/// What rules and styles made of it.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) text: Arc<str>,
    /// The key under which rules put it.
    pub(super) group: Option<Arc<str>>,
    pub(crate) style: LineStyle,
    /// Index of its curve in `[curves]`.
    pub(super) curve: Option<usize>,
}

/// What went over it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LineBytes {
    pub(crate) traffic: Traffic,
    /// Of a group: its latest connections, the last heard of at the end.
    pub(super) members: Option<Vec<Member>>,
}

/// A connection of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// By what it is known on its machine.
    pub(super) ns: BootNs,
    pub(super) phase: Phase,
    /// What went over it so far, where that is known.
    pub(super) bytes: Option<Bytes>,
}

/// Whether a line was there before the bytes that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counting {
    NewLine,
    KnownLine,
}

impl LineKey {
    /// What an event's line stands for.
    pub(super) fn of(machine: MachineId, ns: BootNs, shown: &Shown) -> Self {
        match &shown.group {
            None => Self::Connection(machine, ns),
            Some(group) => Self::Group(machine, Arc::clone(group)),
        }
    }
}

impl Line {
    /// Makes the line of a first event; bytes that are new by it come with it.
    pub(super) fn new(key: &LineKey, arrival: Arrival<'_>) -> (Self, Bytes) {
        let Arrival { placed, ns, ns_trx, received, event, bytes, state, phase, is_first_ever, shown } =
            arrival;
        let Placed { machine, epoch, first, updated, boot, host } = placed;
        let received = shared(received, &shown.text);
        let mut line = Self {
            machine: LineMachine { id: machine, epoch, boot, host },
            life: Lifetime { ns, latest: ns, ns_trx, first, updated },
            event: LastEvent { received, json: event.map(Box::from), state, phase, is_first_ever },
            look: Look::from(shown),
            bytes: LineBytes {
                members: matches!(key, LineKey::Group(..)).then(Vec::new),
                ..LineBytes::default()
            },
            slot: None,
        };
        let more = line.count(Member { ns, phase, bytes }, Counting::NewLine);
        (line, more)
    }

    /// Takes a further event, and tells which bytes are new by it; `None` where nothing is.
    pub(super) fn update(&mut self, arrival: Arrival<'_>) -> Option<Bytes> {
        let Arrival { placed, ns, ns_trx, received, event, bytes, state, phase, is_first_ever, shown } =
            arrival;
        let life = &mut self.life;
        if ns < life.ns {
            (life.ns, life.first) = (ns, placed.first);
        }
        if ns_trx < life.ns_trx || (ns_trx == life.ns_trx && self.look.text == shown.text) {
            return None;
        }
        (life.updated, life.ns_trx) = (placed.updated, ns_trx);
        self.machine.epoch = placed.epoch;
        self.machine.host = placed.host.or(self.machine.host.take());
        let more = self.count(Member { ns, phase, bytes }, Counting::KnownLine);
        self.life.latest = ns;
        if *self.event.received != *received {
            self.event.received = shared(received, &shown.text);
        }
        self.event.json = event.map(Box::from);
        (self.event.state, self.event.phase) = (state, phase);
        self.event.is_first_ever = is_first_ever;
        self.look = Look::from(shown);
        Some(more)
    }

    /// Connections in it that are told apart.
    pub(crate) fn connections(&self) -> usize {
        self.bytes.members.as_ref().map_or(1, Vec::len)
    }

    /// `ns` of each of them.
    pub(crate) fn each_ns(&self) -> Vec<BootNs> {
        let members = self.bytes.members.as_ref();
        members.map_or_else(|| vec![self.life.latest], |all| all.iter().map(|member| member.ns).collect())
    }

    /// By what it is known.
    pub(crate) fn id(&self) -> LineId {
        (self.machine.id, self.life.ns)
    }

    /// What it stands for.
    pub(super) fn key(&self) -> LineKey {
        match &self.look.group {
            None => LineKey::Connection(self.machine.id, self.life.latest),
            Some(group) => LineKey::Group(self.machine.id, Arc::clone(group)),
        }
    }

    /// Whether no other connection than this one is known to be part of it.
    pub(super) fn is_only(&self, ns: BootNs) -> bool {
        let is_another = |member: &Member| member.ns != ns;
        self.life.ns == ns
            && self.life.latest == ns
            && !self.bytes.members.as_ref().is_some_and(|members| members.iter().any(is_another))
    }

    /// What its opacity depends on.
    pub(crate) fn times(&self) -> Times {
        Times { first: self.life.first, updated: self.life.updated, curve: self.look.curve }
    }

    /// Whether it goes on: a group does while one of its connections does.
    pub(crate) fn phase(&self) -> Phase {
        let Some(members) = &self.bytes.members else { return self.event.phase };
        let has = |phase| members.iter().any(|member| member.phase == phase);
        [Phase::Open, Phase::Untold].into_iter().find(|phase| has(*phase)).unwrap_or(self.event.phase)
    }

    /// Takes what went over one of its connections so far, and tells what of that is new.
    fn count(&mut self, latest: Member, counting: Counting) -> Bytes {
        let Member { ns, bytes, .. } = latest;
        let updated = self.life.updated;
        let LineBytes { traffic, members } = &mut self.bytes;
        // What was open before it was seen, did not send all of it just now.
        let is_young = self.life.ns_trx.saturating_sub(ns) < BUCKET_NS;
        let Some(members) = members else {
            let Some(bytes) = bytes else { return Bytes::default() };
            if is_young || counting == Counting::KnownLine {
                return traffic.update(bytes, updated);
            }
            traffic.add_old(bytes);
            return Bytes::default();
        };
        let known = members.iter().rposition(|member| member.ns == ns).map(|at| members.remove(at));
        let before = known.and_then(|member| member.bytes);
        if members.len() == MAX_MEMBERS {
            members.remove(0);
        }
        members.push(Member { bytes: bytes.or(before), ..latest });
        let Some(bytes) = bytes else { return Bytes::default() };
        let Some(before) = before.or_else(|| is_young.then(Bytes::default)) else {
            traffic.add_old(bytes);
            return Bytes::default();
        };
        let more = bytes.since(before);
        traffic.add(more, updated);
        more
    }

    /// Takes in a line that has become one with this one.
    pub(super) fn join(&mut self, earlier: Self) {
        self.life.join(&earlier.life);
        let Some(members) = &mut self.bytes.members else { return };
        self.bytes.traffic.join(&earlier.bytes.traffic);
        let mut all = earlier.bytes.members.unwrap_or_default();
        all.retain(|before| members.iter().all(|member| member.ns != before.ns));
        all.append(members);
        all.drain(..all.len().saturating_sub(MAX_MEMBERS));
        *members = all;
    }

    /// Tells a group's connections apart from now on, or no more.
    pub(super) fn count_as(&mut self, key: &LineKey) {
        let LineBytes { traffic, members } = &mut self.bytes;
        match key {
            LineKey::Connection(..) => *members = None,
            LineKey::Group(..) => {
                let (ns, phase, bytes) = (self.life.latest, self.event.phase, Some(traffic.total));
                members.get_or_insert_with(|| vec![Member { ns, phase, bytes }]);
            }
        }
    }
}

impl Lifetime {
    /// Takes in that of a line that has become one with this one.
    pub(super) fn join(&mut self, earlier: &Self) {
        self.ns = self.ns.min(earlier.ns);
        self.first = self.first.min(earlier.first);
        self.ns_trx = self.ns_trx.max(earlier.ns_trx);
        self.updated = self.updated.max(earlier.updated);
    }
}

impl From<Shown> for Look {
    fn from(shown: Shown) -> Self {
        Self { text: shown.text, group: shown.group, style: shown.style, curve: shown.curve }
    }
}

/// Most lines are shown as they were received: one text is both.
fn shared(received: &str, shown: &Arc<str>) -> Arc<str> {
    if **shown == *received { Arc::clone(shown) } else { received.into() }
}
