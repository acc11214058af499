// SPDX-License-Identifier: GPL-3.0-or-later
//! What a person is told of by itself: once for each connection and reason.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use hashlink::LinkedHashMap;
use leco_os::clock::Now;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::{Map, Value, json};

use super::PlainError;
use super::feed::{Feed, Inputs, Replay};
use super::follow::{Connection, Key, REMEMBERED, value};
use crate::config::Config;
use crate::model::overseer::{Overseer, Received};
use crate::rules::{Facts, NoticeRules, pair};
use crate::source::{Origin, SourceSpec};
use crate::wire::details::Peers;
use crate::wire::event::Direction;

/// What there is to tell of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notice {
    /// In words.
    pub text: String,
    /// Key of the rule that has it told.
    pub reason: String,
    /// Its line as it was received.
    pub received: String,
    /// A rule's key that matches the lines of its process and peer.
    pub pair: Option<String>,
    /// The event as it came, with what is `shown` of it, the `notice` and its `reason`: an object on one line.
    pub json: String,
}

/// Where notices go.
pub trait Outlet {
    /// Takes one, whether or not it has room.
    fn take(&mut self, notice: Notice);
    /// Whether it has room: a recording waits until it has.
    fn has_room(&self) -> bool;
    /// Does what is due; tells when to call it again, if nothing can be read before.
    fn work(&mut self) -> io::Result<Option<Duration>>;
    /// What becomes readable when there is something to do.
    fn fds(&self) -> Vec<BorrowedFd<'_>>;
    /// Whether all that it took is told.
    fn is_done(&self) -> bool;
}

/// Tells what happens until nothing can come any more. What is to be said besides goes to standard error under the program's
/// name.
pub fn notify(
    program: &str,
    overseer: &mut Overseer,
    inputs: Inputs<'_>,
    outlet: &mut dyn Outlet,
) -> Result<(), PlainError> {
    let mut feed = Feed::open(program, inputs, overseer)?;
    let mut replay = Replay::new(feed.sources.specs());
    let mut told = Told::default();
    loop {
        feed.report_notices(overseer);
        let state = feed.sources.state();
        if state.is_reading {
            replay.begin();
        }
        replay.has_come_to_its_end(state.has_ended);
        if !state.has_ended {
            feed.report_state(&state, if state.is_reading { "" } else { &state.remedy });
        }
        let due = outlet.work().map_err(PlainError::Tell)?;
        if state.has_ended && outlet.is_done() {
            return Ok(());
        }
        let left = replay.left().into_iter().chain(due).min();
        // Where nothing else would be late, all of it is told.
        let has_to_wait = !outlet.has_room() && feed.sources.specs().iter().all(SourceSpec::is_recording);
        // A source that has ended is readable for ever.
        let sources = feed.fds().filter(|_| !state.has_ended && !has_to_wait);
        wait(sources.chain(outlet.fds()), left).map_err(PlainError::Follow)?;
        feed.follow_config(overseer)?;
        if has_to_wait {
            continue;
        }
        let replayed = replay.of(feed.sources.specs());
        feed.sources
            .wait(Some(Duration::ZERO), |origin, line| {
                if let Received::Line { text: shown, group, is_new } =
                    overseer.receive_from(origin, line, Now::read())
                {
                    replay.arrived();
                    let units = overseer.settings().text.units;
                    if let Some(connection) =
                        Connection::read(origin, line, shown, group.is_some(), is_new, units)
                        && let Some(notice) =
                            told.notice(overseer.notices(), &connection, line, replayed[origin.index])
                    {
                        outlet.take(notice);
                    }
                }
            })
            .map_err(PlainError::Follow)?;
    }
}

/// Sleeps until something can be read, or the time is over.
fn wait<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>, time: Option<Duration>) -> io::Result<()> {
    let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    match poll(&mut fds, time.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Of which connections was told, and why.
#[derive(Debug, Default)]
struct Told {
    /// Hashes of the keys of rules.
    reasons: LinkedHashMap<Key, Vec<u64>>,
}

impl Told {
    /// What there is to tell of an event; nothing where it only tells what is known at the start.
    fn notice(
        &mut self,
        rules: &NoticeRules,
        connection: &Connection<'_>,
        wire_line: &[u8],
        is_known: bool,
    ) -> Option<Notice> {
        let details = &connection.details;
        if details.direction == Direction::Listen && is_loopback(&details.listens_at) {
            return None;
        }
        let peers = Peers::known(details.peers.clone());
        let facts = facts(connection, &peers);
        let telling = rules.of(&facts);
        if telling.is_empty() {
            return None;
        }
        let before = self.reasons.remove(&connection.key).unwrap_or_default();
        let hashes: Vec<u64> = telling.iter().map(|rule| hash(rule.key())).collect();
        let first = hashes.iter().position(|hash| !before.contains(hash));
        let mut all = before;
        all.extend(hashes);
        all.sort_unstable();
        all.dedup();
        self.reasons.insert(connection.key.clone(), all);
        if self.reasons.len() > REMEMBERED {
            self.reasons.pop_front();
        }
        let rule = telling.get(first.filter(|_| !is_known)?)?;
        let text = rule.text(&facts, |field| value(connection, field));
        // Where nothing is known of what it asks for, the line says something.
        let text = if text.is_empty() { connection.shown.trim().to_owned() } else { text };
        let reason = rule.key().to_owned();
        let mut event: Map<String, Value> = serde_json::from_slice(wire_line).unwrap_or_default();
        let added =
            [("shown", connection.shown.to_string()), ("notice", text.clone()), ("reason", reason.clone())];
        event.extend(added.map(|(name, value)| (name.to_owned(), Value::String(value))));
        Some(Notice {
            text,
            reason,
            received: connection.received.clone(),
            pair: pair(&connection.received),
            json: Value::Object(event).to_string(),
        })
    }
}

fn facts<'l>(connection: &'l Connection<'_>, peers: &'l Peers<'l>) -> Facts<'l> {
    Facts {
        line: &connection.received,
        peers,
        is_first_ever: connection.details.is_first_ever,
        state: connection.told_state(),
    }
}

/// What rules of a config's file tell of a line, as far as the line alone says; and in which line of the file the rule stands.
pub(super) fn told_of(config: &Config, line: &str, shown: &str) -> Option<(String, usize)> {
    let event = json!({"ns": 0, "ns_trx": 0, "line": line}).to_string();
    let units = config.settings.text.units;
    let connection = Connection::read(Origin::default(), event.as_bytes(), shown.into(), false, true, units)?;
    let peers = Peers::known(connection.details.peers.clone());
    let facts = facts(&connection, &peers);
    let rule = config.notices.of(&facts).into_iter().find(|rule| rule.line() > 0)?;
    Some((rule.text(&facts, |field| value(&connection, field)), rule.line()))
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

fn is_loopback(address: &str) -> bool {
    let address = address.trim_matches(['[', ']']).parse::<IpAddr>();
    address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::text::Units;

    /// What events of connections tell, in their order.
    fn told(config: &str, events: &[(u64, &str, Value)]) -> Vec<String> {
        let config = Config::parse(config.as_bytes(), Path::new("w.ini"));
        assert_eq!(config.diagnostics, []);
        let mut told = Told::default();
        let mut take = |(ns, line, fields): &(u64, &str, Value)| {
            let mut event = json!({"ns": ns, "ns_trx": ns, "line": line});
            event.as_object_mut()?.extend(fields.as_object()?.clone());
            let wire = event.to_string();
            let connection = Connection::read(
                Origin::default(),
                wire.as_bytes(),
                (*line).into(),
                false,
                true,
                Units::Bytes,
            )?;
            let is_known = fields["known"] == true;
            let notice = told.notice(&config.notices, &connection, wire.as_bytes(), is_known)?;
            let object: Value = serde_json::from_str(&notice.json).unwrap();
            assert!(!notice.json.contains('\n') && object["ns"] == *ns, "{object}");
            assert!(object["notice"] == notice.text && object["reason"] == notice.reason, "{object}");
            Some(format!("{}: {}", notice.reason, notice.text))
        };
        events.iter().filter_map(&mut take).collect()
    }

    const CURL: &str = "18:32 :: me :: curl :: a.test 443 :: ";
    const BLOCKED: &str = "18:32 :: me :: curl :: a.test 443 !blocked :: ";

    #[test]
    fn each_reason_is_told_once_for_each_connection() {
        let events = [
            (1, CURL, json!({"new": true})),
            (1, CURL, json!({"new": true})),
            (1, BLOCKED, json!({"new": true, "state": "blocked"})),
            (1, BLOCKED, json!({"new": true, "state": "blocked"})),
            (2, BLOCKED, json!({"state": "blocked"})),
            (3, CURL, json!({})),
        ];
        let said = "curl of me connects to a.test on port 443 for the first time.";
        assert_eq!(
            told("", &events),
            [
                format!("new: {said}"),
                "blocked: The first connection from curl of me to a.test on port 443 was blocked by the firewall."
                    .into(),
                "blocked: The connection from curl of me to a.test on port 443 was blocked by the firewall.".into(),
            ]
        );
        // Of several reasons at once the first one is told, and the others not later.
        let config = "[rx-notify]\n(\\w+) :: a\\.test = to {peer} by $1\nnew = n\n";
        assert_eq!(told(config, &events[..2]), ["(\\w+) :: a\\.test: to a.test by curl"]);
    }

    #[test]
    fn what_was_known_and_listeners_on_loopback_are_not_told() {
        let listening = |at: &str| format!("18:32 :: me :: nc :: listening {at} 80 :: ");
        for (address, is_told) in [
            ("127.0.0.1", false),
            ("127.9.9.9", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::", true),
            ("192.0.2.1", true),
        ] {
            let fields = json!({"new": true, "dir": "listen", "state": "listening"});
            assert_eq!(
                told("", &[(1, &listening(address), fields)]).len(),
                usize::from(is_told),
                "{address}"
            );
        }
        let events = [(1, CURL, json!({"new": true, "known": true})), (1, CURL, json!({"new": true}))];
        assert_eq!(told("", &events), [""; 0]);
    }

    #[test]
    fn a_line_alone_says_which_rule_tells_of_it() {
        let text =
            "[rx-notify]\n:: curl :: \\S+ 1 =\nblocked = stopped {proc}\n:: (c\\w+) :: = $1\nnew = n\n";
        let config = Config::parse(text.as_bytes(), Path::new("w.ini"));
        let told = |line: &str| told_of(&config, line, line);
        assert_eq!(told(CURL), Some(("curl".into(), 4)));
        assert_eq!(told(BLOCKED), Some(("stopped curl".into(), 3)));
        assert_eq!(told("18:32 :: me :: curl :: a.test 1 :: "), None);
        // What counts without rules is not of the file.
        assert_eq!(told_of(&Config::default(), BLOCKED, BLOCKED), None);
        let mut out = Vec::new();
        crate::batch::explain(&config, CURL, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.ends_with("→ shown as it came\n→ leco-notify tells: curl by w.ini:4\n"), "{out}");
    }

    #[test]
    fn a_pair_is_told_no_more() {
        let key = pair(CURL).unwrap();
        assert_eq!(key, ":: curl :: a\\.test 443( !\\w+)? ::");
        let events = [
            (1, CURL, json!({"new": true})),
            (2, BLOCKED, json!({"state": "blocked"})),
            (3, "18:32 :: me :: curl :: b.test 443 :: ", json!({"new": true})),
        ];
        assert_eq!(told(&format!("[rx-notify]\n{key} =\n"), &events).len(), 1);
        assert_eq!(pair("a :: b"), None);
    }
}
