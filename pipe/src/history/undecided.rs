// SPDX-License-Identifier: GPL-3.0-or-later
//! Connections of which nobody knows yet whether they are new.

use hashlink::LinkedHashMap;
use leco_bpf::read::record::Conn;
use leco_os::clock::BootNs;

use crate::enrich::peer_names::HELLO_NS;

/// Connections whose process may name its peer yet, the oldest first.
#[derive(Debug)]
pub(crate) struct Undecided {
    conns: LinkedHashMap<BootNs, Conn>,
    capacity: usize,
    /// What began until then is decided: it does not wait again, where too many made it go early.
    horizon: BootNs,
}

impl Undecided {
    /// For so many.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { conns: LinkedHashMap::new(), capacity, horizon: 0 }
    }

    /// Whether this one waits.
    pub(crate) fn add(&mut self, conn: &Conn) -> bool {
        let waits = conn.ns > self.horizon;
        if waits {
            self.conns.entry(conn.ns).or_insert(*conn);
        }
        waits
    }

    /// It is decided.
    pub(crate) fn remove(&mut self, ns: BootNs) {
        self.conns.remove(&ns);
    }

    /// When to call [`Self::pop`].
    pub(crate) fn due(&self) -> Option<BootNs> {
        let is_full = self.conns.len() > self.capacity;
        self.conns.front().map(|(ns, _)| if is_full { 0 } else { ns.saturating_add(HELLO_NS) })
    }

    /// The next one that has waited long enough, or for which there is no room.
    pub(crate) fn pop(&mut self, now: BootNs) -> Option<Conn> {
        self.due().filter(|due| *due <= now)?;
        let (ns, conn) = self.conns.pop_front()?;
        self.horizon = self.horizon.max(ns);
        Some(conn)
    }

    /// All that wait.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Conn> + use<> {
        std::mem::take(&mut self.conns).into_iter().map(|(_, conn)| conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn each_is_decided_once_however_many_begin_at_once() {
        let mut undecided = Undecided::new(2);
        let conns = [1, 2, 3, 4].map(|ns| fixtures::conn(ns, 7, 1000, "192.0.2.1"));
        assert!(conns.iter().all(|conn| undecided.add(conn)));
        let mut decided = Vec::new();
        while let Some(conn) = undecided.pop(10) {
            decided.push(conn.ns);
            assert!(!undecided.add(&conn), "{decided:?}");
        }
        assert_eq!(decided, [1, 2]);
        assert_eq!(undecided.due(), Some(3 + HELLO_NS));
        assert_eq!(undecided.pop(4 + HELLO_NS).map(|conn| conn.ns), Some(3));
        assert_eq!(undecided.take().map(|conn| conn.ns).collect::<Vec<_>>(), [4]);
    }
}
