// SPDX-License-Identifier: GPL-3.0-or-later
//! Sentences for those who hear them, or read them one by one: only what changed.

use hashlink::LinkedHashMap;

use super::REMEMBERED;
use super::connection::{Connection, Key};
use crate::wire::event::{Direction, State};

/// Says what begins, ends or goes wrong.
pub(super) struct Words {
    /// What is known at the start is not said one by one.
    pub(super) is_silent: bool,
    /// How each connection stood when it was spoken of; `None` while it goes on.
    said: LinkedHashMap<Key, Option<State>>,
}

impl Default for Words {
    fn default() -> Self {
        Self { is_silent: true, said: LinkedHashMap::new() }
    }
}

impl Words {
    /// What was known before is told: from now on everything is said.
    pub(super) fn begin(&mut self, into: &mut String) {
        self.is_silent = false;
        into.push_str(&match self.said.len() {
            1 => "1 connection is known.\n".to_owned(),
            count => format!("{count} connections are known.\n"),
        });
    }

    pub(super) fn take(&mut self, connection: &Connection<'_>, into: &mut String) {
        let end = connection.told_state().filter(|state| state.is_end());
        let before = self.said.insert(connection.key.clone(), end);
        if self.said.len() > REMEMBERED {
            self.said.pop_front();
        }
        let is_trouble = end.is_some_and(State::is_trouble);
        // Of connections that share a line, the line is what begins.
        let matters = !connection.is_grouped || connection.is_new_line || is_trouble;
        if self.is_silent || !matters || before == Some(end) {
            return;
        }
        into.push_str(&sentence(connection, end));
        into.push('\n');
    }
}

/// What happens to a connection.
fn sentence(connection: &Connection<'_>, end: Option<State>) -> String {
    let details = &connection.details;
    let host = connection.source.map_or_else(String::new, |_| format!("On {}: ", details.host));
    if connection.peer().is_empty() || details.process.is_empty() && details.user.is_empty() {
        // Another writer's line is said as it stands.
        return format!("{host}{}", connection.shown);
    }
    let who = match (details.process.as_str(), details.user.as_str()) {
        ("", user) => format!("a process of {user}"),
        (process, "") => process.to_owned(),
        (process, user) => format!("{process} of {user}"),
    };
    let peer = connection.peer();
    let port = details.port.map_or_else(String::new, |port| format!(", port {port}"));
    let first = if details.is_first_ever { ", for the first time" } else { "" };
    let is_incoming = details.direction == Direction::In;
    let Some(end) = end else {
        return if is_incoming {
            format!("{host}{peer} connects to {who}{port}{first}.")
        } else {
            format!("{host}{who} connects to {peer}{port}{first}.")
        };
    };
    let what = match end {
        State::Refused => "was refused",
        State::Reset => "was broken off by the peer",
        State::TimedOut => "timed out",
        State::Unreachable => "found no way",
        State::Unanswered => "got no answer",
        State::Blocked => "was blocked by the firewall",
        _ => "ended",
    };
    let between = if is_incoming { format!("{peer} to {who}") } else { format!("{who} to {peer}") };
    let bytes = match (connection.rx.as_str(), connection.tx.as_str()) {
        ("" | "0B", "" | "0B") => String::new(),
        (rx, tx) => format!("; {} received, {} sent", in_words(rx), in_words(tx)),
    };
    format!("{host}The connection of {between}{port}, {what}{first}{bytes}.")
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
        other => return format!("{number} {other}"),
    };
    let number = if number.is_empty() { "0" } else { number };
    format!("{number} {unit}{}", if number == "1" { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Origin;

    fn say(words: &mut Words, ns: u64, line: &str, more: serde_json::Value) -> String {
        let mut event = more;
        (event["ns"], event["ns_trx"], event["line"]) = (ns.into(), ns.into(), line.into());
        let wire = event.to_string();
        let mut text = String::new();
        let connection =
            Connection::read(Origin::default(), wire.as_bytes(), line.into(), false, true).unwrap();
        words.take(&connection, &mut text);
        text
    }

    #[test]
    fn only_what_changed_is_said() {
        let mut words = Words::default();
        let mut begun = String::new();
        assert_eq!(say(&mut words, 1, "18:32 :: me :: ssh :: nas 22 :: ", serde_json::json!({})), "");
        words.begin(&mut begun);
        assert_eq!(begun, "1 connection is known.\n");
        let mut hear = |ns, line: &str, state: &str, more: &str| {
            let mut event = serde_json::json!({"new": more == "new"});
            if !state.is_empty() {
                event["state"] = state.into();
            }
            if more == "in" {
                event["dir"] = "in".into();
            }
            say(&mut words, ns, line, event)
        };
        let firefox = "18:32 :: me :: firefox [x] :: www.test 443 :: ";
        for (ns, line, state, more, said) in [
            (1, "18:32 :: me :: ssh :: nas 22 :: v 1M / 2K ^", "", "", ""),
            (
                2,
                firefox,
                "connecting",
                "new",
                "firefox of me connects to www.test, port 443, for the first time.\n",
            ),
            (2, firefox, "open", "", ""),
            (
                2,
                "18:32 :: me :: firefox [x] :: www.test 443 :: v 1.5M / 1K ^",
                "closed",
                "",
                "The connection of firefox of me to www.test, port 443, ended; 1.5 megabytes received, 1 kilobyte sent.\n",
            ),
            (2, firefox, "closed", "", ""),
            (
                3,
                "18:33 :: root :: sshd :: <- 192.0.2.1 22 :: ",
                "",
                "in",
                "192.0.2.1 connects to sshd of root, port 22.\n",
            ),
            (
                4,
                "18:33 :: me :: curl :: www.test 80 !refused :: ",
                "refused",
                "",
                "The connection of curl of me to www.test, port 80, was refused.\n",
            ),
            (5, "anything else", "", "", "anything else\n"),
        ] {
            assert_eq!(hear(ns, line, state, more), said, "{line} {state}");
        }
    }
}
