// SPDX-License-Identifier: GPL-3.0-or-later
//! What a subscriber heard of each connection: the latest event, for readers that come later and to know doubles.

use std::collections::HashMap;
use std::hash::Hasher;
use std::rc::Rc;
use std::time::Duration;

use hashlink::{LinkedHashMap, LruCache};
use leco_core::source::MAX_PARTIAL_LINE;
use leco_core::wire::event::{Event, Phase};
use leco_os::clock::BootNs;
use siphasher::sip::SipHasher13;

use crate::message::{boot_of, boot_of_host, hash_of, token, with_fields};

/// Connections that are remembered, the longest unheard go.
pub(crate) const CONNECTIONS: usize = 16_384;
/// Further events of its latest moment that are remembered of a connection: one comes again when its peer has a name.
const EARLIER: usize = 8;
/// Machines of which it is known which boots are theirs, and boots of each.
const HOSTS: usize = 4096;
const BOOTS: usize = 16;

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
    /// It is of no connection: it brings totals that were stored.
    Totals,
    /// It says that it is from another machine than its subject, or from several.
    Foreign,
}

#[derive(Debug)]
struct Known {
    ns_trx: BootNs,
    hash: u64,
    /// Of events of the same moment.
    earlier: Vec<u64>,
    /// When the server got it: ns since 1970.
    at: i64,
    event: Rc<[u8]>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The longest unheard first.
    connections: LinkedHashMap<u64, Known>,
    boots: Boots,
    since: i64,
}

impl Seen {
    /// Remembers connections for this time after their last event.
    pub(crate) fn new(since: Duration) -> Self {
        Self {
            connections: LinkedHashMap::new(),
            boots: Boots::new(),
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
        if event.is_history.0 {
            return Err(Refusal::Totals);
        }
        let clock_host = event.clock.0.as_ref().map_or("", |clock| clock.host.as_str());
        if [event.host.0.as_str(), clock_host].iter().any(|named| !named.is_empty() && token(named) != host) {
            return Err(Refusal::Foreign);
        }
        let boot = boot_of(&event).map_err(|_| Refusal::Foreign)?;
        if boot.is_some_and(|boot| !self.boots.claim(boot, host)) {
            return Err(Refusal::Foreign);
        }
        let event_bytes = match boot {
            Some(_) => one_line(payload),
            None => one_line(&of_host(&event, payload, host).ok_or(Refusal::Malformed)?),
        };
        let key = key_of(host, boot.unwrap_or_default(), event.ns);
        let hash = hash_of(payload);
        let mut earlier = Vec::new();
        if let Some(known) = self.connections.get_mut(&key) {
            let is_same_moment = event.ns_trx == known.ns_trx;
            let is_known = || known.hash == hash || known.earlier.contains(&hash);
            if event.ns_trx < known.ns_trx || is_same_moment && is_known() {
                return Err(Refusal::Double);
            }
            if is_same_moment {
                earlier = std::mem::take(&mut known.earlier);
                earlier.push(known.hash);
                earlier.drain(..earlier.len().saturating_sub(EARLIER));
            }
        }
        let known = Known { ns_trx: event.ns_trx, hash, earlier, at, event: Rc::clone(&event_bytes) };
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

/// Tells connections apart, in every process alike: `share=` of outputs goes by it.
fn key_of(host: &str, boot: &str, ns: BootNs) -> u64 {
    let mut hasher = SipHasher13::new();
    for part in [host.as_bytes(), boot.as_bytes(), &ns.to_le_bytes()] {
        hasher.write(part);
        hasher.write_u8(0xff);
    }
    hasher.finish()
}

/// Which boots are whose. A machine that claims many makes its own forgotten, and none of another one.
#[derive(Debug)]
struct Boots {
    owners: HashMap<String, String>,
    hosts: LruCache<String, LruCache<String, ()>>,
}

impl Boots {
    fn new() -> Self {
        Self { owners: HashMap::new(), hosts: LruCache::new(HOSTS) }
    }

    /// Whether a boot is of a machine, as it is of the first that names it.
    fn claim(&mut self, boot: &str, host: &str) -> bool {
        if self.owners.get(boot).is_some_and(|owner| owner != host) {
            return false;
        }
        if !self.hosts.contains_key(host) {
            if self.hosts.len() == HOSTS
                && let Some((_, boots)) = self.hosts.remove_lru()
            {
                boots.iter().for_each(|(boot, ())| drop(self.owners.remove(boot)));
            }
            self.hosts.insert(host.to_owned(), LruCache::new(BOOTS));
        }
        // Both were heard of again.
        if let Some(boots) = self.hosts.get_mut(host)
            && boots.get(boot).is_none()
        {
            if boots.len() == BOOTS
                && let Some((oldest, ())) = boots.remove_lru()
            {
                self.owners.remove(&oldest);
            }
            boots.insert(boot.to_owned(), ());
            self.owners.insert(boot.to_owned(), host.to_owned());
        }
        true
    }
}

/// Says of an event that names no boot which machine it is of: readers would take it for that of the last one that named
/// one.
fn of_host(event: &Event, payload: &[u8], host: &str) -> Option<Vec<u8>> {
    let mut more = format!("\"boot\":\"{}\"", boot_of_host(host));
    if event.host.0.is_empty() {
        more += &format!(",\"host\":{}", serde_json::to_string(host).ok()?);
    }
    // Where it has such a field that says nothing, a second one makes it none.
    with_fields(payload, &more).filter(|event| Event::parse(event).is_ok())
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
        format!(r#"{{"ns":{ns},"ns_trx":{ns_trx},"line":"{line}","boot":"aaaaaaaa"}}"#)
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
        assert_eq!(hear(5, "open"), Some(Refusal::Double));
        assert_eq!(hear(5, "with a name"), Some(Refusal::Double));
        for name in 0..100 {
            assert_eq!(hear(5, &name.to_string()), None);
        }
        assert_eq!(hear(5, "91"), Some(Refusal::Double));
        assert_eq!(hear(6, "closed"), None);
        assert_eq!(lines(&seen), ["closed"]);
        assert!(seen.connections.values().all(|known| known.earlier.is_empty()));
    }

    #[test]
    fn a_machine_speaks_for_no_other() {
        let mut seen = Seen::new(HOUR);
        let mut hear = |host: &str, text: &str| seen.hear(host, text.as_bytes(), 0).err();
        let named = r#"{"ns":1,"ns_trx":2,"line":"x","host":"db.lan"}"#;
        let clocked =
            r#"{"ns":1,"ns_trx":2,"line":"x","clock":{"boot":"bbbbbbbb","host":"db.lan","ns":1,"wall":2}}"#;
        for text in [named, clocked] {
            assert_eq!(hear("web", text), Some(Refusal::Foreign));
            assert_eq!(hear("db_lan", text), None);
        }
        assert_eq!(hear("web", &event(1, 2, "x")), None);
        assert_eq!(hear("db_lan", &event(1, 3, "x")), Some(Refusal::Foreign), "the boot is of web");
        let clock = r#""clock":{"boot":"bbbbbbbb-1","ns":1,"wall":2}"#;
        for fields in [
            r#""key":"bbbbbbbb-9""#.to_owned(),
            format!(r#""boot":"cccccccc",{clock}"#),
            format!(r#""key":"cccccccc-9",{clock}"#),
            clock.to_owned(),
            // Readers take what begins so for it.
            r#""boot":"bbbb""#.to_owned(),
        ] {
            let text = format!(r#"{{"ns":1,"ns_trx":9,"line":"x",{fields}}}"#);
            assert_eq!(hear("web", &text), Some(Refusal::Foreign), "{fields}");
        }
    }

    #[test]
    fn boots_that_a_machine_makes_up_take_nothing_from_another_one() {
        let mut seen = Seen::new(HOUR);
        let mut hear = |host: &str, boot: usize| {
            seen.hear(host, format!(r#"{{"ns":1,"ns_trx":2,"line":"x","boot":"{boot:08x}"}}"#).as_bytes(), 0)
        };
        hear("db", 7).unwrap();
        for boot in 8..8 + 2 * HOSTS {
            hear("web", boot).unwrap();
        }
        assert_eq!(hear("web", 7).unwrap_err(), Refusal::Foreign);
        assert_eq!(seen.boots.owners.len(), BOOTS + 1);
        for host in 100_000..100_000 + HOSTS {
            assert!(seen.boots.claim(&format!("{host:08x}"), &host.to_string()));
        }
        assert_eq!((seen.boots.owners.len(), seen.boots.hosts.len()), (HOSTS, HOSTS));
    }

    #[test]
    fn an_event_without_a_boot_is_of_its_subject() {
        let mut seen = Seen::new(HOUR);
        let mut hear = |host: &str, fields: &str| {
            let text = format!(r#"{{"ns":1,"ns_trx":2,"line":"x"{fields}}} "#);
            seen.hear(host, text.as_bytes(), 0).map(|heard| serde_json::from_slice(&heard.event).unwrap())
        };
        let [first, second, named]: [serde_json::Value; 3] =
            [hear("web", ""), hear("db_lan", r#","key":"a-1""#), hear("db_lan", r#","host":"db.lan""#)]
                .map(Result::unwrap);
        assert_eq!([&first["host"], &second["host"], &named["host"]], ["web", "db_lan", "db.lan"]);
        assert_ne!(first["boot"], second["boot"]);
        assert_eq!(second["boot"], named["boot"]);
        let boot = first["boot"].as_str().unwrap();
        assert_eq!(hear("db_lan", &format!(r#","boot":"{boot}""#)), Err(Refusal::Foreign));
        assert_eq!(hear("web", r#","boot":"""#), Err(Refusal::Malformed));
        let long = format!(r#","name":"{}""#, "x".repeat(MAX_PARTIAL_LINE - 60));
        assert_eq!(hear("web", &long), Err(Refusal::Malformed), "no room for it");
    }

    #[test]
    fn a_connection_has_the_same_key_everywhere() {
        assert_eq!(
            key_of("web1", "0f1e2d3c", 7),
            0xf02b_e6a5_e7c9_c64d,
            "in every version: programs share connections by it"
        );
        assert_ne!(key_of("web1", "0f1e2d3c", 7), key_of("web10", "f1e2d3c", 7));
    }

    #[test]
    fn an_event_is_one_line() {
        let mut seen = Seen::new(HOUR);
        let heard =
            seen.hear("a", b"{\"ns\":1,\n\"ns_trx\":2,\r\"line\":\"x\",\"boot\":\"aaaaaaaa\"}\n", 0).unwrap();
        assert_eq!(&*heard.event, b"{\"ns\":1, \"ns_trx\":2, \"line\":\"x\",\"boot\":\"aaaaaaaa\"}\n");
        assert_eq!(seen.hear("a", b"{}", 0).unwrap_err(), Refusal::Malformed);
        let totals = br#"{"ns":1,"ns_trx":3,"line":"x","boot":"aaaaaaaa","history":{}}"#;
        assert_eq!(seen.hear("a", totals, 0).unwrap_err(), Refusal::Totals);
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
