// SPDX-License-Identifier: GPL-3.0-or-later
//! What a subscriber heard of each connection: the latest event, for readers that come later and to know doubles.

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use hashlink::{LinkedHashMap, LruCache};
use leco_core::source::MAX_PARTIAL_LINE;
use leco_core::wire::event::{Event, Phase};
use leco_os::clock::BootNs;

use crate::message::{boot_of, hash_of, token};

/// Connections that are remembered, the longest unheard go.
pub(crate) const CONNECTIONS: usize = 16_384;
/// Boots of which it is known whose they are.
const BOOTS: usize = 4096;

/// An event as readers get it.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// Tells its connection from those of all machines.
    pub(crate) key: u64,
    /// What it shows.
    pub(crate) line: String,
    /// With a newline.
    pub(crate) event: Rc<[u8]>,
    /// Whether its connection is open.
    pub(crate) is_open: bool,
}

/// Why an event is not handed on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is older than what is known, or the same.
    Double,
    /// It is none.
    Malformed,
    /// It says that it is from another machine than its subject.
    Foreign,
}

#[derive(Debug)]
struct Known {
    ns_trx: BootNs,
    hash: u64,
    /// When the server got it: ns since 1970.
    at: i64,
    event: Rc<[u8]>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The longest unheard first.
    connections: LinkedHashMap<u64, Known>,
    boots: LruCache<String, String>,
    keys: RandomState,
    since: i64,
}

impl Seen {
    /// Remembers connections for this time after their last event.
    pub(crate) fn new(since: Duration) -> Self {
        Self {
            connections: LinkedHashMap::new(),
            boots: LruCache::new(BOOTS),
            keys: RandomState::new(),
            since: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        }
    }

    /// Takes an event that the server got at a moment, under the subject of a machine: one that may publish as one machine
    /// speaks for no other.
    pub(crate) fn hear(&mut self, host: &str, payload: &[u8], at: i64) -> Result<Heard, Refusal> {
        if payload.len() >= MAX_PARTIAL_LINE {
            return Err(Refusal::Malformed);
        }
        let event = Event::parse(payload).map_err(|_| Refusal::Malformed)?;
        let clock_host = event.clock.0.as_ref().map_or("", |clock| clock.host.as_str());
        if [event.host.0.as_str(), clock_host].iter().any(|named| !named.is_empty() && token(named) != host) {
            return Err(Refusal::Foreign);
        }
        let boot = boot_of(&event);
        if !boot.is_empty() {
            if self.boots.get(&boot).is_some_and(|owner| owner != host) {
                return Err(Refusal::Foreign);
            }
            self.boots.insert(boot.clone(), host.to_owned());
        }
        let key = self.keys.hash_one((host, &boot, event.ns));
        let hash = hash_of(payload);
        if let Some(known) = self.connections.get(&key)
            && (event.ns_trx < known.ns_trx || (event.ns_trx, hash) == (known.ns_trx, known.hash))
        {
            return Err(Refusal::Double);
        }
        let event_bytes = one_line(payload);
        let known = Known { ns_trx: event.ns_trx, hash, at, event: Rc::clone(&event_bytes) };
        self.connections.insert(key, known);
        self.forget(at);
        let is_open = event.phase() == Phase::Open;
        Ok(Heard { key, line: event.line, event: event_bytes, is_open })
    }

    fn forget(&mut self, now: i64) {
        while let Some((_, oldest)) = self.connections.front()
            && (self.connections.len() > CONNECTIONS || oldest.at < now.saturating_sub(self.since))
        {
            self.connections.pop_front();
        }
    }

    /// The latest event of each connection, the longest unheard first.
    pub(crate) fn all(&self) -> impl Iterator<Item = Heard> {
        self.connections.iter().filter_map(|(key, known)| {
            let event = Event::parse(&known.event).ok()?;
            let is_open = event.phase() == Phase::Open;
            Some(Heard { key: *key, line: event.line, event: Rc::clone(&known.event), is_open })
        })
    }
}

/// White space may be anywhere in JSON, and a newline would begin another event.
fn one_line(payload: &[u8]) -> Rc<[u8]> {
    let plain = payload.trim_ascii().iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte });
    plain.chain([b'\n']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn event(ns: u64, ns_trx: u64, line: &str) -> String {
        format!(r#"{{"ns":{ns},"ns_trx":{ns_trx},"line":"{line}","boot":"aaaa"}}"#)
    }

    fn lines(seen: &Seen) -> Vec<String> {
        seen.all().map(|heard| heard.line).collect()
    }

    #[test]
    fn doubles_and_what_is_older_are_dropped_and_later_names_are_not() {
        let mut seen = Seen::new(HOUR);
        let mut hear = |ns_trx, line: &str| seen.hear("a", event(1, ns_trx, line).as_bytes(), 0).err();
        assert_eq!(hear(5, "open"), None);
        assert_eq!(hear(5, "open"), Some(Refusal::Double));
        assert_eq!(hear(4, "older"), Some(Refusal::Double));
        assert_eq!(hear(5, "with a name"), None);
        assert_eq!(hear(6, "closed"), None);
        assert_eq!(lines(&seen), ["closed"]);
    }

    #[test]
    fn a_machine_speaks_for_no_other() {
        let mut seen = Seen::new(HOUR);
        let mut hear = |host: &str, text: &str| seen.hear(host, text.as_bytes(), 0).err();
        let named = r#"{"ns":1,"ns_trx":2,"line":"x","host":"db.lan"}"#;
        let clocked =
            r#"{"ns":1,"ns_trx":2,"line":"x","clock":{"boot":"b","host":"db.lan","ns":1,"wall":2}}"#;
        for text in [named, clocked] {
            assert_eq!(hear("web", text), Some(Refusal::Foreign));
            assert_eq!(hear("db_lan", text), None);
        }
        assert_eq!(hear("web", &event(1, 2, "x")), None);
        assert_eq!(hear("db_lan", &event(1, 3, "x")), Some(Refusal::Foreign), "the boot is of web");
    }

    #[test]
    fn an_event_is_one_line() {
        let mut seen = Seen::new(HOUR);
        let heard = seen.hear("a", b"{\"ns\":1,\n\"ns_trx\":2,\r\"line\":\"x\"}\n", 0).unwrap();
        assert_eq!(&*heard.event, b"{\"ns\":1, \"ns_trx\":2, \"line\":\"x\"}\n");
        assert_eq!(seen.hear("a", b"{}", 0).unwrap_err(), Refusal::Malformed);
        let long = event(1, 2, &"x".repeat(MAX_PARTIAL_LINE));
        assert_eq!(seen.hear("a", long.as_bytes(), 0).unwrap_err(), Refusal::Malformed);
    }

    #[test]
    fn what_was_not_heard_for_long_goes() {
        let mut seen = Seen::new(Duration::from_nanos(10));
        for (ns, at) in [(1, 0), (2, 5), (3, 11)] {
            seen.hear("a", event(ns, 9, &ns.to_string()).as_bytes(), at).unwrap();
        }
        assert_eq!(lines(&seen), ["2", "3"]);
        for ns in 0..CONNECTIONS as u64 + 100 {
            seen.hear("a", event(ns, 10, "x").as_bytes(), 11).unwrap();
        }
        assert_eq!(seen.all().count(), CONNECTIONS);
    }
}
