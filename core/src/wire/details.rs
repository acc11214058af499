// SPDX-License-Identifier: GPL-3.0-or-later
//! What is known of a connection: from the fields of its event where the writer tells them, else from its line.

use std::cell::OnceCell;
use std::time::Duration;

use leco_os::clean::clean;
use serde_json::{Map, Value};

use crate::text::{SEPARATOR, traffic};
use crate::wire::event::{ConnectionState, Direction, State};

/// What is known of a connection. What is not known is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConnectionDetails {
    /// Machine.
    pub host: String,
    /// User's name, else number.
    pub user: String,
    /// User's number, where an event tells it.
    pub uid: Option<u32>,
    /// Script, else process.
    pub process: String,
    /// Unit, container and cgroup, as far as they are known.
    pub units: Vec<String>,
    /// Names and address of the peer; none of a listener.
    pub peers: Vec<String>,
    /// Address at which a listener waits for peers; of nothing else.
    pub listens_at: String,
    /// Port of the service: the end that was called.
    pub port: Option<u16>,
    /// Which end opened it.
    pub direction: Direction,
    /// How it stands, as in events: `open`, `refused`, …
    pub state: String,
    /// Its program was never seen with its peer before.
    pub is_first_ever: bool,
    /// Country in which the other end is said to be.
    pub country: String,
    /// Command line and path of what its process runs, as far as they are known.
    pub commands: Vec<String>,
    /// Interface by which it leaves.
    pub iface: String,
    /// What can be counted and measured of it.
    pub numbers: Numbers,
    /// How long after its begin it is looked at: of an event alone, when that was written.
    pub age: Option<Duration>,
    /// Every field of the event besides its line and times, by name, safe to print.
    pub fields: Vec<(String, String)>,
}

/// What can be counted and measured of a connection, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Smoothed round-trip time in µs.
    pub rtt_us: Option<u64>,
    /// Segments that were sent again.
    pub retrans: Option<u64>,
    /// Bytes received.
    pub rx: Option<u64>,
    /// Bytes sent.
    pub tx: Option<u64>,
}

impl ConnectionDetails {
    /// From a line as it was received and the object that it came in, where that has more fields.
    #[must_use]
    pub fn of(line: &str, event: Option<&str>) -> Self {
        let mut details = Self::of_line(line);
        if let Some(event) = event.and_then(|event| serde_json::from_str(event).ok()) {
            details.add(&event);
        }
        details
    }

    /// From a line as it was received and fields of its event.
    pub(crate) fn with_fields(line: &str, fields: &Map<String, Value>) -> Self {
        let mut details = Self::of_line(line);
        details.add(fields);
        details
    }

    /// Reads `TIME :: USER :: COMM [CGROUP] :: [<- ]PEER PORT[/PROTO][ !STATE] :: TRAFFIC`, or `listening ADDRESS` in
    /// the place of the peer. A line of another writer may have any other parts: then less is known.
    fn of_line(line: &str) -> Self {
        let parts: Vec<&str> = line.split(SEPARATOR).collect();
        let mut details = Self::default();
        if parts.len() < 4 {
            return details;
        }
        details.user = known(parts[1]);
        (details.numbers.rx, details.numbers.tx) = traffic(line).unzip();
        let (process, cgroup) = match parts[2].split_once(" [") {
            Some((process, cgroup)) => (process, cgroup.strip_suffix(']').unwrap_or(cgroup)),
            None => (parts[2], ""),
        };
        details.process = known(process);
        details.units.extend((!cgroup.is_empty()).then(|| cgroup.to_owned()));
        // The local end may stand before the remote one; traffic is last.
        let end = parts[parts.len() - 1 - usize::from(parts.len() > 4)];
        let marked = [("<- ", Direction::In), ("listening ", Direction::Listen)];
        let marked =
            marked.into_iter().find_map(|(mark, direction)| Some((end.strip_prefix(mark)?, direction)));
        let (end, direction) = marked.unwrap_or((end, Direction::Out));
        details.direction = direction;
        let mut words = end.split(' ');
        let address = words.next().filter(|address| !address.is_empty()).map(ToOwned::to_owned);
        match direction {
            Direction::Listen => details.listens_at = address.unwrap_or_default(),
            Direction::In | Direction::Out => details.peers.extend(address),
        }
        for word in words {
            let number = word.split('/').next().unwrap_or_default();
            match (word.strip_prefix('!'), number.parse()) {
                (Some(state), _) => state.clone_into(&mut details.state),
                (None, Ok(port)) => details.port = Some(port),
                (None, Err(_)) => details.peers.push(word.trim_matches(['(', ')']).to_owned()),
            }
        }
        details
    }

    fn add(&mut self, event: &Map<String, Value>) {
        for (name, value) in event {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Array(items) => {
                    items.iter().map(|item| item.as_str().unwrap_or("?")).collect::<Vec<_>>().join(" < ")
                }
                other => other.to_string(),
            };
            let text = clean(&text).into_owned();
            match name.as_str() {
                // Of the connection these say nothing.
                "ns" | "ns_trx" | "line" | "boot" | "clock" => continue,
                "host" => self.host.clone_from(&text),
                "user" => self.user.clone_from(&text),
                "uid" => {
                    self.uid = text.parse().ok();
                    if self.user.is_empty() {
                        self.user.clone_from(&text);
                    }
                }
                // Of a process without a name the line has its number.
                "comm" if !event.contains_key("script") && !text.trim().is_empty() => {
                    self.process.clone_from(&text);
                }
                "script" => self.process.clone_from(&text),
                "unit" | "container" => self.units.push(text.clone()),
                "raddr" | "name" if self.direction != Direction::Listen && !self.peers.contains(&text) => {
                    self.peers.push(text.clone());
                }
                "dir" => self.direction = Direction::parse(&text).unwrap_or_default(),
                "laddr" if self.direction == Direction::Listen && self.listens_at.is_empty() => {
                    self.listens_at.clone_from(&text);
                }
                "state" => self.state.clone_from(&text),
                "new" => self.is_first_ever = *value == Value::Bool(true),
                "cmdline" | "exe" => self.commands.push(text.clone()),
                "country" => self.country.clone_from(&text),
                "iface" => self.iface.clone_from(&text),
                _ => {}
            }
            self.fields.push((clean(name).into_owned(), text));
        }
        let number = |name: &str| event.get(name)?.as_u64();
        let Numbers { rtt_us, retrans, rx, tx } = self.numbers;
        self.numbers = Numbers {
            rtt_us: number("rtt_us").or(rtt_us),
            retrans: number("retrans").or(retrans),
            rx: number("rx").or(rx),
            tx: number("tx").or(tx),
        };
        let lasted = number("ns").and_then(|ns| number("ns_trx")?.checked_sub(ns));
        self.age = lasted.map(Duration::from_nanos).or(self.age);
        let port = |name: &str| event.get(name)?.as_u64().and_then(|port| u16::try_from(port).ok());
        self.port = port(match self.direction {
            Direction::In | Direction::Listen => "lport",
            Direction::Out => "rport",
        })
        .or(self.port);
    }

    /// User's number, where it is known.
    pub(crate) fn known_uid(&self) -> Option<u32> {
        self.uid.or_else(|| match self.user.as_str() {
            // Everywhere the same.
            "root" => Some(0),
            user => user.parse().ok(),
        })
    }

    /// How it stands, as a word.
    #[must_use]
    pub fn state(&self, state: ConnectionState) -> &str {
        match state {
            _ if !self.state.is_empty() => &self.state,
            ConnectionState::Blocked => State::Blocked.name(),
            ConnectionState::Refused => State::Refused.name(),
            ConnectionState::TimedOut => State::TimedOut.name(),
            ConnectionState::Ordinary | ConnectionState::Incoming => "",
        }
    }
}

/// Names and address of a connection's peer, which are read when they are asked for.
#[derive(Debug, Default)]
pub struct Peers<'e> {
    line: &'e str,
    event: Option<&'e str>,
    read: OnceCell<Vec<String>>,
}

impl<'e> Peers<'e> {
    /// Those of a line as it was received and the object that it came in, where that has more fields.
    #[must_use]
    pub fn of(line: &'e str, event: Option<&'e str>) -> Self {
        Self { line, event, read: OnceCell::new() }
    }

    /// Those that were read before.
    pub(crate) fn known(peers: Vec<String>) -> Self {
        Self { read: peers.into(), ..Self::default() }
    }

    pub(crate) fn get(&self) -> &[String] {
        self.read.get_or_init(|| ConnectionDetails::of(self.line, self.event).peers)
    }
}

/// `-` stands for what is not known.
fn known(part: &str) -> String {
    if part == "-" { String::new() } else { part.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_alone_tells_most() {
        let details = ConnectionDetails::of(
            "18:32 :: me :: drill [tmux] :: 10.2.0.1 53/udp !refused :: v 58B / 26B ^",
            None,
        );
        assert_eq!(
            (details.user.as_str(), details.process.as_str(), details.units.as_slice()),
            ("me", "drill", &["tmux".to_owned()][..])
        );
        assert_eq!(
            (details.peers.as_slice(), details.port, details.state.as_str()),
            (&["10.2.0.1".to_owned()][..], Some(53), "refused")
        );
        let details = ConnectionDetails::of("18:32 :: - :: - :: <- a.test (192.0.2.1) 22 :: ", None);
        assert_eq!((details.user.as_str(), details.direction, details.port), ("", Direction::In, Some(22)));
        assert_eq!(details.peers, ["a.test", "192.0.2.1"]);
        let listener = ConnectionDetails::of("18:32 :: me :: sshd :: listening 0.0.0.0 22 !closed :: ", None);
        assert_eq!(
            (listener.direction, listener.port, listener.peers.len()),
            (Direction::Listen, Some(22), 0)
        );
        assert_eq!((listener.state.as_str(), listener.listens_at.as_str()), ("closed", "0.0.0.0"));
        let local = ConnectionDetails::of("18:32 :: me :: ssh :: 10.0.0.1 4000 :: 10.0.0.2 22 :: ", None);
        assert_eq!((local.peers.as_slice(), local.port), (&["10.0.0.2".to_owned()][..], Some(22)));
        for other in ["", "x", "a :: b", " ::  ::  ::  :: "] {
            let _ = ConnectionDetails::of(other, None);
        }
    }

    #[test]
    fn fields_tell_the_rest() {
        let event = r#"{"ns":1,"ns_trx":2,"line":"x","dir":"in","state":"open","new":true,"host":"nas","pid":7,"uid":0,
            "comm":"python3","script":"a.py","parents":["sh","cron"],"unit":"a.service","container":"docker:1\u001b[31m",
            "laddr":"::1","lport":22,"raddr":"::2","rport":4000,"name":"b.test"}"#;
        let details = ConnectionDetails::of("18:32 :: root :: a.py [a] :: <- b.test 22 :: ", Some(event));
        assert_eq!(
            (details.host.as_str(), details.process.as_str(), details.port),
            ("nas", "a.py", Some(22))
        );
        assert_eq!(details.units, ["a", "docker:1\u{fffd}[31m", "a.service"]);
        assert_eq!(details.peers, ["b.test", "::2"]);
        assert!(details.is_first_ever && details.direction == Direction::In);
        assert!(details.fields.contains(&("parents".into(), "sh < cron".into())));
        let renamed = r#"{"ns":1,"ns_trx":2,"line":"x","pid":7,"comm":"before","comm_now":"after"}"#;
        let details = ConnectionDetails::of("18:32 :: root :: before :: b.test 22 :: ", Some(renamed));
        assert_eq!(details.process, "before");
        assert!(details.fields.contains(&("comm_now".into(), "after".into())));
        let nameless = r#"{"ns":1,"ns_trx":2,"line":"x","pid":7,"comm":""}"#;
        assert_eq!(ConnectionDetails::of("18:32 :: root :: 7 :: b.test 22 :: ", Some(nameless)).process, "7");
    }
}
