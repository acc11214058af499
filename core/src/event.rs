//! The wire schema: one JSON object per line.

use serde::{Deserialize, Serialize};

/// Nanoseconds on the boot clock (`CLOCK_BOOTTIME`), which goes on in suspend.
pub type BootNs = u64;

/// What every writer sends and every reader takes; readers ignore fields they don't know.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// The connection's first event: its identity.
    pub ns: BootNs,
    /// Its latest event.
    pub ns_trx: BootNs,
    /// The line to show, as the pipe wrote it.
    pub line: String,
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

impl Event {
    /// Reads one line without its newline.
    pub fn parse(line: &[u8]) -> Result<Self, MalformedEvent> {
        /// Of a malformed line, so much is kept for the log.
        const SHOWN_BYTES: usize = 200;
        serde_json::from_slice(line).map_err(|source| MalformedEvent {
            text: crate::text::clean_bytes(&line[..line.len().min(SHOWN_BYTES)]).into_owned(),
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
    /// The rest, on request.
    #[serde(flatten)]
    pub details: Option<Details<'a>>,
}

/// Fields beyond the three that every reader knows.
#[derive(Debug, Serialize)]
pub struct Details<'a> {
    /// Version of these fields.
    pub v: u32,
    /// `udp`, `tcp` or the protocol's number.
    pub proto: &'a str,
    /// Thread group.
    pub pid: u32,
    /// User's number.
    pub uid: u32,
    /// User's name, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// The process's own name.
    pub comm: &'a str,
    /// What an interpreter runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<&'a str>,
    /// Path of the cgroup below the hierarchy's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cg: Option<&'a str>,
    /// Local address.
    pub laddr: std::net::IpAddr,
    /// Local port.
    pub lport: u16,
    /// Remote address.
    pub raddr: std::net::IpAddr,
    /// Remote port.
    pub rport: u16,
    /// Bytes received.
    pub rx: u64,
    /// Bytes sent.
    pub tx: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_three_fields_and_ignores_the_rest() {
        let event = Event::parse(br#"{"ns":1,"x":[{}],"ns_trx":2,"line":"a :: b"}"#).unwrap();
        assert_eq!(event, Event { ns: 1, ns_trx: 2, line: "a :: b".into() });
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
