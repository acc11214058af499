// SPDX-License-Identifier: GPL-3.0-or-later
//! The wire schema: one JSON object per line.

use leco_os::clock::BootNs;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

/// What every writer sends and every reader takes; readers ignore fields they don't know.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// The connection's first event: its identity.
    pub ns: BootNs,
    /// Its latest event.
    pub ns_trx: BootNs,
    /// The line to show, as the pipe wrote it.
    pub line: String,
    /// `in`, `out` or `listen`, where the writer says so.
    #[serde(default, deserialize_with = "lenient")]
    pub dir: Text,
    /// What became of it, such as `refused`, where the writer says so.
    #[serde(default, deserialize_with = "lenient")]
    pub state: Text,
    /// The machine that it is from, where the writer says so.
    #[serde(default, deserialize_with = "lenient")]
    pub host: Text,
    /// Whether its program was never seen with its peer before.
    #[serde(default, deserialize_with = "lenient", rename = "new")]
    pub is_new: Flag,
    /// Bytes received, where the writer says so.
    #[serde(default, deserialize_with = "lenient")]
    pub rx: Count,
    /// Bytes sent, where the writer says so.
    #[serde(default, deserialize_with = "lenient")]
    pub tx: Count,
    /// First digits of the id of the boot since which its times count, where the writer says so.
    #[serde(default, deserialize_with = "lenient")]
    pub boot: Text,
    /// The same and `ns`, where the writer says so.
    #[serde(default, deserialize_with = "lenient")]
    pub key: Text,
    /// How the clock of its times goes, where the writer says so.
    #[serde(default, deserialize_with = "lenient_clock")]
    pub clock: MaybeClock,
    /// It is of no connection: it brings what was stored before ([`StoredHistory`](super::history::StoredHistory)).
    #[serde(default, deserialize_with = "lenient", rename = "history")]
    pub is_history: Presence,
}

/// How the boot clock of a machine goes: what it and the wall clock said at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The id of the boot (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// Name of the machine.
    #[serde(default)]
    pub host: String,
    /// The boot clock, ns.
    pub ns: BootNs,
    /// The wall clock, ns since 1970.
    pub wall: i64,
}

/// A clock, where it is one: what is none counts as nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MaybeClock(pub Option<Box<Clock>>);

/// A text of an event that decides on nothing but looks: what is none counts as an empty one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(pub String);

/// The same for what is true or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flag(pub bool);

/// The same for what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count(pub Option<u64>);

/// The same for an object: whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Presence(pub bool);

/// Which end of a connection opened it, or that there is none yet: `dir`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Direction {
    /// This one.
    #[default]
    Out,
    /// The other one.
    In,
    /// Neither: it waits for others to open some.
    Listen,
}

impl Direction {
    /// As events have it.
    pub const NAMES: [&str; 3] = ["in", "out", "listen"];

    /// Reads it; `None` for what is none.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "in" => Some(Self::In),
            "out" => Some(Self::Out),
            "listen" => Some(Self::Listen),
            _ => None,
        }
    }
}

/// How a connection stands or ended: `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is open.
    Open,
    /// It waits for connections.
    Listening,
    /// The peer did not answer yet.
    Connecting,
    /// It ended in good order.
    Closed,
    /// The peer refused it.
    Refused,
    /// The peer broke it off.
    Reset,
    /// The peer did not answer in time.
    TimedOut,
    /// A router says that there is no way.
    Unreachable,
    /// It ended before the peer answered.
    Unanswered,
    /// The firewall stopped it.
    Blocked,
}

impl State {
    /// Each with its name in events.
    const ALL: [(Self, &str); 10] = [
        (Self::Open, "open"),
        (Self::Listening, "listening"),
        (Self::Connecting, "connecting"),
        (Self::Closed, "closed"),
        (Self::Refused, "refused"),
        (Self::Reset, "reset"),
        (Self::TimedOut, "timeout"),
        (Self::Unreachable, "unreachable"),
        (Self::Unanswered, "unanswered"),
        (Self::Blocked, "blocked"),
    ];

    /// Whether something went wrong.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        match self {
            Self::Open | Self::Listening | Self::Connecting | Self::Closed => false,
            Self::Refused
            | Self::Reset
            | Self::TimedOut
            | Self::Unreachable
            | Self::Unanswered
            | Self::Blocked => true,
        }
    }

    /// Whether nothing more comes of it.
    #[must_use]
    pub fn is_end(self) -> bool {
        self.is_trouble() || self == Self::Closed
    }

    /// Reads one; `None` for what another writer may say.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
    }

    /// Names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|(_, name)| *name)
    }

    /// As events have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| *name)
    }
}

/// Whether a connection goes on, as far as its writer says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Phase {
    /// The writer does not say.
    #[default]
    Untold,
    /// It is open, or waits for its peer's answer.
    Open,
    /// It ended, in good order or not.
    Closed,
}

/// How a connection stands, as far as that changes its looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum ConnectionState {
    /// Outgoing, and nothing went wrong.
    #[default]
    Ordinary,
    /// It came from outside.
    Incoming,
    /// Its peer refused it or broke it off, or a router says that there is no way.
    Refused,
    /// Its peer does not answer.
    TimedOut,
    /// The firewall stopped it.
    Blocked,
}

/// Why a received line is no event.
#[derive(Debug, thiserror::Error)]
#[error("malformed event ({source}): {text}")]
pub struct MalformedEvent {
    /// The line, cleaned and shortened for a log.
    pub text: String,
    /// What is wrong with it.
    pub source: serde_json::Error,
}

/// Takes a field of any type, since readers take events of any writer.
fn lenient<'de, D: Deserializer<'de>, T: From<Lenient>>(from: D) -> Result<T, D::Error> {
    Ok(Lenient::deserialize(from)?.into())
}

fn lenient_clock<'de, D: Deserializer<'de>>(from: D) -> Result<MaybeClock, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Lenient {
        Clock(Box<Clock>),
        Other(IgnoredAny),
    }
    Ok(match Lenient::deserialize(from)? {
        Lenient::Clock(clock) if !clock.boot.is_empty() => MaybeClock(Some(clock)),
        Lenient::Clock(_) | Lenient::Other(_) => MaybeClock(None),
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient {
    Text(String),
    Flag(bool),
    Count(u64),
    Object {},
    Other(IgnoredAny),
}

impl From<Lenient> for Text {
    fn from(value: Lenient) -> Self {
        match value {
            Lenient::Text(text) => Self(text),
            _ => Self::default(),
        }
    }
}

impl From<Lenient> for Flag {
    fn from(value: Lenient) -> Self {
        Self(matches!(value, Lenient::Flag(true)))
    }
}

impl From<Lenient> for Presence {
    fn from(value: Lenient) -> Self {
        Self(matches!(value, Lenient::Object {}))
    }
}

impl From<Lenient> for Count {
    fn from(value: Lenient) -> Self {
        match value {
            Lenient::Count(count) => Self(Some(count)),
            _ => Self(None),
        }
    }
}

impl Event {
    /// How it stands: what went wrong says more than where it came from.
    #[must_use]
    pub fn connection_state(&self) -> ConnectionState {
        match (State::parse(&self.state.0), Direction::parse(&self.dir.0)) {
            (Some(State::Blocked), _) => ConnectionState::Blocked,
            (Some(State::Refused | State::Reset | State::Unreachable), _) => ConnectionState::Refused,
            (Some(State::TimedOut | State::Unanswered), _) => ConnectionState::TimedOut,
            (_, Some(Direction::In)) => ConnectionState::Incoming,
            (_, Some(Direction::Out | Direction::Listen) | None) => ConnectionState::Ordinary,
        }
    }

    /// Whether it goes on.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match State::parse(&self.state.0) {
            None => Phase::Untold,
            Some(State::Open | State::Connecting | State::Listening) => Phase::Open,
            Some(_) => Phase::Closed,
        }
    }

    /// Reads one line without its newline.
    pub fn parse(line: &[u8]) -> Result<Self, MalformedEvent> {
        /// Of a malformed line, so much is kept for the log.
        const SHOWN_BYTES: usize = 200;
        serde_json::from_slice(line).map_err(|source| MalformedEvent {
            text: leco_os::clean::clean_bytes(&line[..line.len().min(SHOWN_BYTES)]).into_owned(),
            source,
        })
    }
}

/// An event as the pipe writes it.
#[derive(Debug, Serialize)]
pub struct EventRecord<'a> {
    /// See [`Event::ns`].
    pub ns: BootNs,
    /// See [`Event::ns_trx`].
    pub ns_trx: BootNs,
    /// See [`Event::line`].
    pub line: &'a str,
    /// See [`Event::boot`].
    #[serde(skip_serializing_if = "str::is_empty")]
    pub boot: &'a str,
    /// Which end opened it: `out`, `in`; or `listen`. Without details the first is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<&'a str>,
    /// How it stands or ended: `open`, `connecting`, `closed`, `refused`, `reset`, `timeout`, `unreachable`,
    /// `unanswered`, `blocked`; `listening` or `closed`. Without details the first three are told of listeners alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'a str>,
    /// Whether its program was never seen with its peer before: told where it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<bool>,
    /// The rest, on request.
    #[serde(flatten)]
    pub details: Option<Details<'a>>,
}

/// Fields beyond the three that every reader knows: one for each on the wire, in its order, so they are not split.
#[derive(Debug, Serialize)]
pub struct Details<'a> {
    /// Version of these fields.
    pub v: u32,
    /// Tells the connection from every other one, on other machines and after other boots, too.
    pub key: String,
    /// Name of the machine.
    pub host: &'a str,
    /// `udp`, `tcp` or the protocol's number.
    pub proto: &'a str,
    /// Thread group, where a process is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// User's number, where a process is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// User's name, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// The process's own name, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<&'a str>,
    /// What the process is called now, where that is another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm_now: Option<&'a str>,
    /// What an interpreter runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<&'a str>,
    /// Names of the processes that started it, the nearest first.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub parents: &'a [std::rc::Rc<str>],
    /// Path of what it executed, as it sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<&'a str>,
    /// Its command line, where it lived long enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<&'a str>,
    /// Path of the cgroup below the hierarchy's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cg: Option<&'a str>,
    /// Unit of the service manager in which it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'a str>,
    /// Container in which it runs, as `KIND:NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<&'a str>,
    /// Local address.
    pub laddr: std::net::IpAddr,
    /// Local port.
    pub lport: u16,
    /// Remote address.
    pub raddr: std::net::IpAddr,
    /// Remote port.
    pub rport: u16,
    /// Name of the remote address, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// Where the name is from: `hello`, `quic`, `proxy`, the process sent it itself; `ech`, the same, but it may be a
    /// cover for another name; `dns`, an answer that the process received; `dns-user`, `dns-system`, one that others
    /// did; `reverse`, the system's resolver was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_src: Option<&'a str>,
    /// Port of the target, where the peer is a proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u16>,
    /// First protocol that the process offered in a hello (ALPN).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<&'a str>,
    /// Number of the autonomous system that announces the remote address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// Who operates it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_org: Option<&'a str>,
    /// Country in which the remote address is said to be, by its two letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<&'a str>,
    /// What the port of the service is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<&'a str>,
    /// Bytes received.
    pub rx: u64,
    /// Bytes sent.
    pub tx: u64,
    /// Interface by which it leaves, as its network namespace calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iface: Option<std::borrow::Cow<'a, str>>,
    /// Smoothed round-trip time of TCP in µs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u32>,
    /// Segments that TCP sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrans: Option<u32>,
    /// Congestion window of TCP in segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwnd: Option<u32>,
    /// State of TCP while it goes on, as `ss` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_state: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_three_fields_and_ignores_the_rest() {
        let event = Event::parse(br#"{"ns":1,"x":[{}],"ns_trx":2,"line":"a :: b"}"#).unwrap();
        assert_eq!((event.ns, event.ns_trx, event.line.as_str()), (1, 2, "a :: b"));
        assert_eq!((event.connection_state(), event.is_new), (ConnectionState::Ordinary, Flag(false)));
    }

    #[test]
    fn how_a_connection_stands_is_taken_where_it_is_told_and_ignored_where_it_is_no_such_thing() {
        let stands = |fields: &str| {
            let event = format!(r#"{{"ns":1,"ns_trx":2,"line":"a",{fields}}}"#);
            let event = Event::parse(event.as_bytes()).unwrap();
            (event.connection_state(), event.is_new.0)
        };
        assert_eq!(stands(r#""dir":"in","new":true"#), (ConnectionState::Incoming, true));
        assert_eq!(stands(r#""dir":"out","state":"refused""#), (ConnectionState::Refused, false));
        assert_eq!(stands(r#""dir":"in","state":"blocked""#), (ConnectionState::Blocked, false));
        for (state, stood) in [
            ("reset", ConnectionState::Refused),
            ("unreachable", ConnectionState::Refused),
            ("timeout", ConnectionState::TimedOut),
            ("unanswered", ConnectionState::TimedOut),
            ("open", ConnectionState::Ordinary),
        ] {
            assert_eq!(stands(&format!(r#""state":"{state}""#)), (stood, false));
        }
        assert_eq!(stands(r#""dir":7,"state":{"a":[]},"new":"yes""#), (ConnectionState::Ordinary, false));
        assert_eq!(stands(r#""dir":null,"state":null,"new":null"#), (ConnectionState::Ordinary, false));
    }

    #[test]
    fn a_clock_is_taken_where_it_is_one() {
        let clock = |clock: &str| {
            let event = format!(r#"{{"ns":1,"ns_trx":2,"line":"a","clock":{clock}}}"#);
            Event::parse(event.as_bytes()).unwrap().clock.0
        };
        let known = clock(r#"{"boot":"b","host":"h","ns":7,"wall":-8,"x":1}"#).unwrap();
        assert_eq!((known.boot.as_str(), known.host.as_str(), known.ns, known.wall), ("b", "h", 7, -8));
        assert!(clock(r#"{"boot":"b","ns":7,"wall":8}"#).is_some());
        for none in
            ["null", "7", "[]", "{}", r#"{"boot":"","ns":7,"wall":8}"#, r#"{"boot":"b","ns":-7,"wall":8}"#]
        {
            assert_eq!(clock(none), None, "{none}");
        }
    }

    #[test]
    fn a_malformed_line_is_named_without_its_escapes() {
        for line in
            [&b"{\"ns\":1}"[..], b"\x1b[2J", b"[]", b"{\"ns\":-1,\"ns_trx\":1,\"line\":\"\"}", &[b'x'; 9999]]
        {
            let error = Event::parse(line).unwrap_err().to_string();
            assert!(!error.contains('\x1b') && error.len() < 800, "{error}");
        }
    }
}
