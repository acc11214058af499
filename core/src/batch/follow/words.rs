// SPDX-License-Identifier: GPL-3.0-or-later
//! Sentences for those who hear them, or read them one by one: only what changed.

use hashlink::LinkedHashMap;
use leco_os::clock::Now;

use super::REMEMBERED;
use super::connection::{Connection, Key};
use crate::model::overseer::{Overseer, Received};
use crate::source::Origin;
use crate::wire::event::{Direction, State};

/// What was spoken of last.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Said {
    end: Option<State>,
    is_listener: bool,
}

/// Says what begins, ends or goes wrong.
#[derive(Default)]
pub(super) struct Words {
    /// How each connection stood when it was spoken of; `None` while it goes on.
    said: LinkedHashMap<Key, Said>,
}

impl Words {
    /// Says how much was known before.
    pub(super) fn begin(&self, into: &mut String) {
        let known = known(self.said.len(), self.said.values().filter(|said| said.is_listener).count());
        let are = if self.said.len() == 1 { "is" } else { "are" };
        into.push_str(&format!("{known} {are} known.\n"));
    }

    pub(super) fn take(&mut self, connection: &Connection<'_>, is_known: bool, into: &mut String) {
        let end = connection.end();
        let said = Said { end, is_listener: connection.details.direction == Direction::Listen };
        let before = self.said.insert(connection.key.clone(), said);
        if self.said.len() > REMEMBERED {
            self.said.pop_front();
        }
        let is_trouble = end.is_some_and(State::is_trouble);
        // Of connections that share a line, the line is what begins.
        let matters = !connection.is_grouped || connection.is_new_line || is_trouble;
        if is_known || !matters || before.is_some_and(|before| before.end == end) {
            return;
        }
        into.push_str(&sentence(connection, end, before.is_none()));
        into.push('\n');
    }
}

/// So many lines, some of which are who listens.
pub(super) fn known(lines: usize, listeners: usize) -> String {
    let count = |count, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let connections = lines.saturating_sub(listeners);
    match (connections, listeners) {
        (_, 0) => count(connections, "connection"),
        (0, _) => count(listeners, "listener"),
        _ => format!("{} and {}", count(connections, "connection"), count(listeners, "listener")),
    }
}

/// Sentences about what was recorded.
#[derive(Default)]
pub struct Sentences(Words);

impl Sentences {
    /// Takes one event, and appends what there is to say of it.
    pub fn receive(&mut self, overseer: &mut Overseer, wire_line: &[u8], now: Now, into: &mut String) {
        let origin = Origin::default();
        if let Received::Line { text, group, is_new } = overseer.receive_from(origin, wire_line, now)
            && let units = overseer.settings().text.units
            && let Some(connection) =
                Connection::read(origin, wire_line, text, group.is_some(), is_new, units)
        {
            self.0.take(&connection, false, into);
        }
    }
}

/// What happens to a connection, of which nothing may have been said.
pub(super) fn sentence(connection: &Connection<'_>, end: Option<State>, is_news: bool) -> String {
    let details = &connection.details;
    let host = connection.source.map_or_else(String::new, |_| format!("On {}: ", details.host));
    let peer = connection.peer();
    let is_listener = details.direction == Direction::Listen;
    let has_place = if is_listener { !details.listens_at.is_empty() } else { !peer.is_empty() };
    if !has_place || details.process.is_empty() && details.user.is_empty() {
        // Another writer's line is said as it stands.
        return format!("{host}{}", connection.shown.trim_end());
    }
    let who = match (details.process.as_str(), details.user.as_str()) {
        ("", user) => format!("a process of {user}"),
        (process, "") => process.to_owned(),
        (process, user) => format!("{process} of {user}"),
    };
    let port = details.port.map_or_else(String::new, |port| format!(" on port {port}"));
    let is_first = details.is_first_ever && is_news;
    let (from, to) = match details.direction {
        Direction::Listen => {
            let first = if is_first && end.is_none() { " for the first time" } else { "" };
            return format!("{host}{}{first}.", connection.listens(&who));
        }
        Direction::In => (peer, who.as_str()),
        Direction::Out => (who.as_str(), peer),
    };
    let Some(end) = end else {
        let first = if is_first { " for the first time" } else { "" };
        return format!("{host}{from} connects to {to}{port}{first}.");
    };
    let what = match end {
        State::Refused => "was refused",
        State::Reset => "was broken off by the peer",
        State::TimedOut => "timed out",
        State::Unreachable => "found no route",
        State::Unanswered => "got no answer",
        State::Blocked => "was blocked by the firewall",
        State::Open | State::Listening | State::Connecting | State::Closed => "ended",
    };
    let bytes = match (connection.rx.as_str(), connection.tx.as_str()) {
        ("" | "0B" | "0b", "" | "0B" | "0b") => String::new(),
        (rx, tx) => format!("; {} received, {} sent", in_words(rx), in_words(tx)),
    };
    let first = if is_first { "first " } else { "" };
    format!("{host}The {first}connection from {from} to {to}{port} {what}{bytes}.")
}

/// `1.5M` as `1.5 megabytes`.
fn in_words(bytes: &str) -> String {
    let number = bytes.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &bytes[number.len()..] {
        "B" | "" => "byte",
        "K" => "kilobyte",
        "M" => "megabyte",
        "G" => "gigabyte",
        "T" => "terabyte",
        "b" => "bit",
        "kb" => "kilobit",
        "Mb" => "megabit",
        "Gb" => "gigabit",
        "Tb" => "terabit",
        other => return format!("{number} {other}"),
    };
    let number = if number.is_empty() { "0" } else { number };
    format!("{number} {unit}{}", if number == "1" { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Units;

    fn say(words: &mut Words, is_known: bool, ns: u64, line: &str, more: serde_json::Value) -> String {
        let mut event = more;
        (event["ns"], event["ns_trx"], event["line"]) = (ns.into(), ns.into(), line.into());
        let wire = event.to_string();
        let mut text = String::new();
        let connection =
            Connection::read(Origin::default(), wire.as_bytes(), line.into(), false, true, Units::Bytes)
                .unwrap();
        words.take(&connection, is_known, &mut text);
        text
    }

    #[test]
    fn who_listens_is_no_connection() {
        let said = [(0, 0), (1, 0), (1, 1), (2, 1), (9, 5)].map(|(lines, listeners)| known(lines, listeners));
        let expected = ["0 connections", "1 connection", "1 listener", "1 connection and 1 listener"];
        assert_eq!(said[..4], expected);
        assert_eq!(said[4], "4 connections and 5 listeners");
        let mut words = Words::default();
        let listens = "18:32 :: root :: nginx :: listening 0.0.0.0 80 :: ";
        say(&mut words, true, 1, listens, serde_json::json!({"dir": "listen", "state": "listening"}));
        let mut begun = String::new();
        words.begin(&mut begun);
        assert_eq!(begun, "1 listener is known.\n");
        say(&mut words, true, 2, "18:32 :: me :: ssh :: nas 22 :: ", serde_json::json!({}));
        begun.clear();
        words.begin(&mut begun);
        assert_eq!(begun, "1 connection and 1 listener are known.\n");
    }

    #[test]
    fn only_what_changed_is_said() {
        let mut words = Words::default();
        let mut begun = String::new();
        assert_eq!(say(&mut words, true, 1, "18:32 :: me :: ssh :: nas 22 :: ", serde_json::json!({})), "");
        words.begin(&mut begun);
        assert_eq!(begun, "1 connection is known.\n");
        let mut hear = |ns, line: &str, state: &str, more: &str| {
            let mut event = serde_json::json!({"new": more.contains("new")});
            if !state.is_empty() {
                event["state"] = state.into();
            }
            for dir in ["in", "listen"] {
                if more.split(' ').any(|word| word == dir) {
                    event["dir"] = dir.into();
                }
            }
            say(&mut words, false, ns, line, event)
        };
        let firefox = "18:32 :: me :: firefox [x] :: www.test 443 :: ";
        let nginx = "18:32 :: root :: nginx :: listening 0.0.0.0 8080 :: ";
        for (ns, line, state, more, said) in [
            (1, "18:32 :: me :: ssh :: nas 22 :: v 1M / 2K ^", "", "", ""),
            (
                2,
                firefox,
                "connecting",
                "new",
                "firefox of me connects to www.test on port 443 for the first time.\n",
            ),
            (2, firefox, "open", "new", ""),
            (
                2,
                "18:32 :: me :: firefox [x] :: www.test 443 :: v 1.5M / 1K ^",
                "closed",
                "new",
                "The connection from firefox of me to www.test on port 443 ended; \
                 1.5 megabytes received, 1 kilobyte sent.\n",
            ),
            (2, firefox, "closed", "", ""),
            (
                3,
                "18:33 :: root :: sshd :: <- 192.0.2.1 22 :: ",
                "",
                "in",
                "192.0.2.1 connects to sshd of root on port 22.\n",
            ),
            (
                4,
                "18:33 :: me :: curl :: www.test 80 !refused :: ",
                "refused",
                "new",
                "The first connection from curl of me to www.test on port 80 was refused.\n",
            ),
            (5, "anything else", "", "", "anything else\n"),
            (
                6,
                nginx,
                "listening",
                "listen new",
                "nginx of root begins to listen on 0.0.0.0 8080 for the first time.\n",
            ),
            (6, nginx, "listening", "listen new", ""),
            (6, nginx, "closed", "listen new", "nginx of root no longer listens on 0.0.0.0 8080.\n"),
        ] {
            assert_eq!(hear(ns, line, state, more), said, "{line} {state}");
        }
    }
}
