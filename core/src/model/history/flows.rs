// SPDX-License-Identifier: GPL-3.0-or-later
//! What totals are of: read from events, and kept once each.

use std::collections::hash_map::{DefaultHasher, RandomState};
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;

use hashbrown::HashTable;
use leco_os::clean::clean;

use crate::model::machines::MachineId;
use crate::query::Query;
use crate::text::{SEPARATOR, network};
use crate::wire::details::ConnectionDetails;
use crate::wire::event::Direction;
use crate::wire::history::{HistoryFlow, protocol_number};

/// Number of a flow.
pub(super) type FlowId = u32;

/// What totals are of, each once.
#[derive(Debug, Default)]
pub(super) struct Flows {
    ids: HashTable<FlowId>,
    pub(super) all: Vec<PackedFlow>,
    hasher: RandomState,
}

/// A flow in little memory.
#[derive(Debug)]
pub(super) struct PackedFlow {
    pub(super) machine: MachineId,
    /// User, program, unit, peer and host, each with [`END`] behind it.
    texts: Box<str>,
    direction: Direction,
    protocol: u16,
    port: u16,
    /// Not every event tells it: it tells no flow from others.
    uid: Option<u32>,
}

/// In no text that is safe to print.
const END: char = '\n';

impl PackedFlow {
    fn pack(machine: MachineId, flow: &HistoryFlow) -> Self {
        let HistoryFlow { user, uid, program, unit, direction, protocol, port, peer, host } = flow;
        let mut texts = String::new();
        for text in [user, program, unit, peer, host] {
            // A pipe may tell anything.
            texts.push_str(&clean(text));
            texts.push(END);
        }
        let (direction, protocol, port, uid) = (*direction, *protocol, *port, *uid);
        Self { machine, texts: texts.into(), direction, protocol, port, uid }
    }

    fn key(&self) -> (MachineId, &str, Direction, u16, u16) {
        (self.machine, &self.texts, self.direction, self.protocol, self.port)
    }

    pub(super) fn unpack(&self) -> HistoryFlow {
        let mut texts = self.texts.split(END).map(ToOwned::to_owned);
        let mut next = || texts.next().unwrap_or_default();
        let (user, program, unit, peer, host) = (next(), next(), next(), next(), next());
        let Self { direction, protocol, port, uid, .. } = *self;
        HistoryFlow { user, uid, program, unit, direction, protocol, port, peer, host }
    }
}

impl Flows {
    pub(super) fn id(&mut self, machine: MachineId, flow: &HistoryFlow, most: usize) -> FlowId {
        let id = self.place(PackedFlow::pack(machine, flow), most);
        id.unwrap_or_else(|| self.others(machine, &flow.host))
    }

    /// What is not told apart any more.
    pub(super) fn others(&mut self, machine: MachineId, host: &str) -> FlowId {
        let others = HistoryFlow { program: "(others)".into(), host: host.into(), ..HistoryFlow::default() };
        self.place(PackedFlow::pack(machine, &others), usize::MAX).unwrap_or(0)
    }

    /// The number of a flow that is known, or that becomes known where there are not so many.
    pub(super) fn place(&mut self, packed: PackedFlow, most: usize) -> Option<FlowId> {
        let Self { ids, all, hasher } = self;
        let hash = |flow: &PackedFlow| hasher.hash_one(flow.key());
        let at = |id: FlowId| all.get(id as usize);
        let is_same = |id: &FlowId| at(*id).is_some_and(|known| known.key() == packed.key());
        if let Some(id) = ids.find(hash(&packed), is_same) {
            return Some(*id);
        }
        let id = FlowId::try_from(all.len()).ok().filter(|_| all.len() < most)?;
        ids.insert_unique(hash(&packed), id, |id| at(*id).map_or(0, hash));
        all.push(packed);
        Some(id)
    }

    pub(super) fn get(&self, id: FlowId) -> Option<&PackedFlow> {
        self.all.get(id as usize)
    }

    pub(super) fn chosen(&self, filter: &Query) -> Vec<bool> {
        self.all.iter().map(|flow| filter.is_empty() || filter.chooses(flow.unpack())).collect()
    }
}

/// Of no line.
pub(super) const NO_HASH: u32 = 0;

/// Of what a line says of who and whom: its time and its bytes say nothing of that.
pub(super) fn hash_of(line: &str) -> u32 {
    let begin = line.find(SEPARATOR).unwrap_or(0);
    let end = line.rfind(SEPARATOR).filter(|end| *end > begin).unwrap_or(line.len());
    let mut hasher = DefaultHasher::new();
    line[begin..end].hash(&mut hasher);
    // Half of it tells as much.
    u32::try_from(hasher.finish() >> 32).unwrap_or_default().max(NO_HASH + 1)
}

/// What an event's connection is counted as: as a pipe would store it. `None` where it is about no connection.
pub(super) fn flow_of(line: &str, wire_line: &[u8]) -> Option<HistoryFlow> {
    let details = ConnectionDetails::of(line, str::from_utf8(wire_line).ok());
    let field = |name: &str| details.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let is_packets = details.peers.first().is_some_and(|peer| peer == "packet");
    // The pipe tells of itself, too.
    let is_pipe = details.user.is_empty() && details.process == "leco";
    if is_pipe || details.port.is_none() && !is_packets {
        return None;
    }
    let port = details.port.unwrap_or_default();
    // In the line, a unit that is called like its process is left out.
    let unit = match (line.split(SEPARATOR).nth(2), details.units.first()) {
        (Some(process), Some(unit)) if process.contains(" [") => unit.clone(),
        (_, Some(_)) => details.process.clone(),
        (_, None) => String::new(),
    };
    let of_line = || {
        let number = format!(" {port}/");
        let protocol = line.split_once(&number)?.1.split(' ').next()?;
        Some(if protocol == "x" { port } else { protocol_number(protocol) })
    };
    let protocol = field("proto").map_or_else(|| of_line().unwrap_or(6), |name| protocol_number(name));
    let mut addresses = details.peers.iter().filter_map(|peer| peer.parse::<IpAddr>().ok());
    let name = details.peers.iter().find(|peer| peer.parse::<IpAddr>().is_err() && *peer != "*");
    let peer = match (name, field("asn").zip(field("as_org"))) {
        _ if is_packets => details.peers.join(" "),
        (Some(name), _) => name.trim_start_matches('~').to_owned(),
        (None, Some((number, operator))) => format!("AS{number} {operator}"),
        (None, None) => network(addresses.next_back().unwrap_or(IpAddr::from([0; 4]))),
    };
    let direction = if details.direction == Direction::In { Direction::In } else { Direction::Out };
    let ConnectionDetails { user, uid, process: program, .. } = details;
    let host = details.host;
    Some(HistoryFlow { user, uid, program, unit, direction, protocol, port, peer, host })
}
