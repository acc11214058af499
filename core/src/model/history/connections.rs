// SPDX-License-Identifier: GPL-3.0-or-later
//! Of which connections it is known how much was counted.

use std::cmp::Reverse;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use leco_os::clock::BootNs;

use super::flows::FlowId;
use crate::model::machines::MachineId;
use crate::model::traffic::Bytes;

/// So many are known; of more, half as many: those heard of last.
const MOST: usize = 65_536;

/// What of a connection is in the totals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connection {
    pub(super) ns: BootNs,
    pub(super) bytes: Bytes,
    pub(super) machine: MachineId,
    pub(super) flow: FlowId,
    /// Of what the flow was made.
    pub(super) hash: u32,
    /// How many events had come before the last one of it.
    pub(super) heard: u32,
    pub(super) has_failed: bool,
    /// It began since there is counting.
    pub(super) is_counted: bool,
    pub(super) is_new: bool,
}

impl Connection {
    /// One of which nothing is counted.
    pub(super) fn new(machine: MachineId, ns: BootNs, flow: FlowId) -> Self {
        let bytes = Bytes::default();
        Self {
            ns,
            bytes,
            machine,
            flow,
            hash: 0,
            heard: 0,
            has_failed: false,
            is_counted: false,
            is_new: false,
        }
    }
}

/// Connections, in little memory: one after the other, found by a table of their places.
#[derive(Debug, Default)]
pub(super) struct Connections {
    all: Vec<Connection>,
    places: HashTable<u32>,
    hasher: RandomState,
    /// Events that have come.
    events: u32,
}

impl Connections {
    fn place(&self, machine: MachineId, ns: BootNs) -> Option<usize> {
        let is_it = |place: &u32| {
            self.all.get(*place as usize).is_some_and(|known| (known.machine, known.ns) == (machine, ns))
        };
        self.places.find(self.hasher.hash_one((machine, ns)), is_it).map(|place| *place as usize)
    }

    pub(super) fn get(&self, machine: MachineId, ns: BootNs) -> Option<&Connection> {
        self.all.get(self.place(machine, ns)?)
    }

    pub(super) fn get_mut(&mut self, machine: MachineId, ns: BootNs) -> Option<&mut Connection> {
        let place = self.place(machine, ns)?;
        self.all.get_mut(place)
    }

    /// Takes what is known of a connection now.
    pub(super) fn insert(&mut self, connection: Connection) {
        if self.events == u32::MAX {
            // They are told apart by the order alone.
            self.all.iter_mut().for_each(|known| known.heard = 0);
            self.events = 0;
        }
        self.events += 1;
        let connection = Connection { heard: self.events, ..connection };
        if let Some(known) = self.get_mut(connection.machine, connection.ns) {
            *known = connection;
            return;
        }
        if self.all.len() >= MOST {
            self.forget_half();
        }
        self.push(connection);
    }

    fn push(&mut self, connection: Connection) {
        let Ok(place) = u32::try_from(self.all.len()) else { return };
        let hash = |known: &Connection| self.hasher.hash_one((known.machine, known.ns));
        let all = &self.all;
        self.places.insert_unique(hash(&connection), place, |place| all.get(*place as usize).map_or(0, hash));
        self.all.push(connection);
    }

    fn forget_half(&mut self) {
        let mut all = std::mem::take(&mut self.all);
        all.select_nth_unstable_by_key(MOST / 2, |known| Reverse(known.heard));
        all.truncate(MOST / 2);
        self.refill(all);
    }

    fn refill(&mut self, all: Vec<Connection>) {
        self.places.clear();
        self.all.clear();
        for connection in all {
            self.push(connection);
        }
    }

    /// Forgets those of a machine.
    pub(super) fn forget(&mut self, machine: MachineId) {
        let mut all = std::mem::take(&mut self.all);
        all.retain(|known| known.machine != machine);
        self.refill(all);
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.all.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_heard_of_last_stay() {
        let mut known = Connections::default();
        let machine = MachineId::default();
        let most = MOST as u64;
        for ns in 0..most {
            known.insert(Connection::new(machine, ns, 1));
        }
        // The first ones are heard of again.
        for ns in 0..100 {
            known.insert(Connection::new(machine, ns, 2));
        }
        known.insert(Connection::new(machine, most, 3));
        assert_eq!(known.all.len(), MOST / 2 + 1);
        let flow = |ns| known.get(machine, ns).map(|known| known.flow);
        assert_eq!((flow(0), flow(99), flow(most), flow(most - 1)), (Some(2), Some(2), Some(3), Some(1)));
        assert_eq!((flow(100), flow(most / 2)), (None, None));
        known.forget(machine);
        assert!(known.all.is_empty() && known.get(machine, 0).is_none());
        assert!(size_of::<Connection>() <= 48);
    }
}
