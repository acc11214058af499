// SPDX-License-Identifier: GPL-3.0-or-later
//! Events as datagrams.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use rustix::event::PollFlags;
use serde_json::{Map, Value};

use crate::outputs::clock::{ClockField, ClockSent, splice};
use crate::outputs::reader::{QueueLimits, Reader};
use crate::outputs::warn_once::WarnOnce;

/// Bytes of a datagram: what no path of today's networks cuts into pieces, headers and a tunnel's included.
pub const MAX_DATAGRAM: usize = 1400;
/// What remains of an event that is larger.
const KEPT_FIELDS: [&str; 7] = ["ns", "ns_trx", "line", "boot", "dir", "state", "host"];

/// What goes first of one, in this order: long, and of the process alone.
const LONG_FIELDS: [&str; 3] = ["cmdline", "exe", "parents"];

/// A connected datagram socket.
#[derive(Debug)]
pub(crate) struct UdpOutput {
    address: SocketAddr,
    socket: UdpSocket,
    is_blocked: bool,
    pub(crate) reader: Reader,
    complaint: WarnOnce,
}

impl UdpOutput {
    pub(crate) fn open(address: SocketAddr, limits: QueueLimits) -> io::Result<Self> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        let reader = Reader::new(limits, 0);
        Ok(Self { address, socket, is_blocked: false, reader, complaint: WarnOnce::default() })
    }

    pub(crate) fn poll(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.is_blocked.then(|| (self.socket.as_fd(), PollFlags::OUT))
    }

    pub(crate) fn look(&mut self) {
        self.is_blocked = false;
    }

    pub(crate) fn flush(&mut self, clock: &ClockField) {
        while let Some(event) = self.reader.queue.front()
            && !self.is_blocked
        {
            let datagram = with_clock(event, &self.reader.clock_sent, clock);
            let mut sent = self.socket.send(&datagram);
            // Nobody listened to one of the datagrams before: this one was not sent.
            if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                sent = self.socket.send(&datagram);
            }
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => {
                    self.complaint.tell(&format!("cannot send to {}: {error}", self.address));
                }
                _ => {
                    self.complaint.settle();
                    self.reader.clock_sent.tell(clock);
                }
            }
            self.reader.queue.pop();
        }
    }
}

/// An event and how the clock goes: any datagram may be the first that somebody hears. Where there is no room for both,
/// details are only left out for the clock when it is due.
fn with_clock(event: &Rc<[u8]>, clock_sent: &ClockSent, clock: &ClockField) -> Rc<[u8]> {
    let field = clock.text();
    let has_room = event.len() + field.len() <= MAX_DATAGRAM;
    if field.is_empty() || (!has_room && event.len() <= MAX_DATAGRAM && clock_sent.due(clock).is_empty()) {
        return fit(event, MAX_DATAGRAM);
    }
    let mut datagram = Vec::with_capacity(MAX_DATAGRAM);
    splice(&mut datagram, &fit(event, MAX_DATAGRAM.saturating_sub(field.len())), field);
    datagram.into()
}

/// An event within so many bytes: without what is longest, else without its details, and with a shorter line if it must.
fn fit(event: &Rc<[u8]>, limit: usize) -> Rc<[u8]> {
    if event.len() <= limit {
        return Rc::clone(event);
    }
    let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(event) else { return Rc::from([]) };
    for long in LONG_FIELDS {
        if fields.remove(long).is_some() {
            let mut shorter = serde_json::to_vec(&fields).unwrap_or_default();
            shorter.push(b'\n');
            if shorter.len() <= limit {
                return shorter.into();
            }
        }
    }
    fields.retain(|name, _| KEPT_FIELDS.contains(&name.as_str()));
    loop {
        let mut shorter = serde_json::to_vec(&fields).unwrap_or_default();
        shorter.push(b'\n');
        let excess = shorter.len().saturating_sub(limit);
        match fields.get_mut("line") {
            Some(Value::String(line)) if excess > 0 && !line.is_empty() => {
                // A character may take two bytes in JSON: cut again rather than too much.
                let end = line.floor_char_boundary(line.len().saturating_sub(excess / 2 + 2));
                line.truncate(end);
                if end > 0 {
                    line.push('+');
                }
            }
            _ => return shorter.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::render::line::Machine;

    #[test]
    fn a_long_command_line_costs_no_other_field() {
        let event = |cmdline: usize, exe: usize, cg: usize| -> Value {
            let (cmdline, exe, cg) = ("a".repeat(cmdline), "b".repeat(exe), "c".repeat(cg));
            serde_json::json!({
                "ns": 1, "ns_trx": 2, "line": "x", "exe": exe, "cmdline": cmdline, "parents": ["sh"], "cg": cg,
            })
        };
        for (event, fields) in [
            (event(100, 100, 100), 7),
            (event(1300, 100, 100), 6),
            (event(700, 1300, 100), 5),
            (event(700, 700, 1350), 4),
            (event(10, 10, 1400), 3),
        ] {
            let bytes: Rc<[u8]> = format!("{event}\n").into_bytes().into();
            let datagram: Value = serde_json::from_slice(&fit(&bytes, MAX_DATAGRAM)).unwrap();
            assert_eq!(datagram.as_object().unwrap().len(), fields, "{datagram}");
        }
    }

    #[test]
    fn no_datagram_is_longer_than_it_may_be() {
        for line_bytes in [10, 1300, 1400, 5000] {
            for filling in ["x", "ż", "\"", "\u{1f600}"] {
                let event = serde_json::json!({
                    "ns": u64::MAX, "ns_trx": u64::MAX, "state": "refused",
                    "line": filling.repeat(line_bytes), "cg": "c".repeat(4000),
                });
                let bytes: Rc<[u8]> = format!("{event}\n").into_bytes().into();
                let datagram = fit(&bytes, MAX_DATAGRAM);
                assert!(datagram.len() <= MAX_DATAGRAM, "{}", datagram.len());
                let read: Value = serde_json::from_slice(&datagram).unwrap();
                assert_eq!((&read["ns"], &read["state"]), (&event["ns"], &event["state"]));
                let line = read["line"].as_str().unwrap();
                assert!(line == event["line"] || line.ends_with('+'), "{line}");
                assert!(
                    line.len() > 600 || line == event["line"],
                    "no shorter than it must be: {}",
                    line.len()
                );
            }
        }
    }

    #[test]
    fn each_datagram_tells_the_clock_unless_that_costs_details() {
        let machine = Machine { boot_id: "01234567-89ab-cdef".into(), ..Machine::default() };
        let at = |boot: u64| ClockField::new(&Now { boot, wall: jiff::Timestamp::UNIX_EPOCH }, &machine);
        let event = |details: usize| -> Rc<[u8]> {
            let event = serde_json::json!({"ns": 1, "ns_trx": 2, "line": "x", "boot": "01234567", "cg": "c".repeat(details)});
            format!("{event}\n").into_bytes().into()
        };
        let mut clock_sent = ClockSent::default();
        let mut sent = |details: usize, boot: u64| {
            let datagram = with_clock(&event(details), &clock_sent, &at(boot));
            clock_sent.tell(&at(boot));
            assert!(datagram.len() <= MAX_DATAGRAM, "{}", datagram.len());
            let read: Value = serde_json::from_slice(&datagram).unwrap();
            assert_eq!(read["boot"], "01234567");
            (read.get("clock").is_some(), read.get("cg").is_some())
        };
        assert_eq!(sent(1300, 1), (true, false), "the first one");
        assert_eq!(sent(10, 2), (true, true));
        assert_eq!(sent(1300, 3), (false, true));
        assert_eq!(sent(1500, 4), (true, false), "nothing is lost by it");
    }
}
