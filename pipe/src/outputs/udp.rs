//! Events as datagrams, to whoever may hear them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use rustix::event::PollFlags;
use serde_json::{Map, Value};

use super::complaint::Complaint;
use super::reader::{QueueLimits, Reader};

/// Bytes of a datagram: what no path of today's networks cuts into pieces, headers and a tunnel's included.
pub const MAX_DATAGRAM: usize = 1400;
/// What remains of an event that is larger.
const KEPT_FIELDS: [&str; 6] = ["ns", "ns_trx", "line", "dir", "state", "host"];

/// A connected datagram socket.
#[derive(Debug)]
pub(crate) struct UdpOutput {
    address: SocketAddr,
    socket: UdpSocket,
    is_blocked: bool,
    pub(crate) reader: Reader,
    complaint: Complaint,
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
        Ok(Self { address, socket, is_blocked: false, reader, complaint: Complaint::default() })
    }

    pub(crate) fn poll(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.is_blocked.then(|| (self.socket.as_fd(), PollFlags::OUT))
    }

    pub(crate) fn look(&mut self) {
        self.is_blocked = false;
    }

    pub(crate) fn flush(&mut self) {
        while let Some(event) = self.reader.queue.front()
            && !self.is_blocked
        {
            let datagram = fit(event);
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
                _ => self.complaint.settle(),
            }
            self.reader.queue.pop();
        }
    }
}

/// An event within the bytes of a datagram: without its details, and with a shorter line if it must.
fn fit(event: &Rc<[u8]>) -> Rc<[u8]> {
    if event.len() <= MAX_DATAGRAM {
        return Rc::clone(event);
    }
    let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(event) else { return Rc::from([]) };
    fields.retain(|name, _| KEPT_FIELDS.contains(&name.as_str()));
    loop {
        let mut shorter = serde_json::to_vec(&fields).unwrap_or_default();
        shorter.push(b'\n');
        let excess = shorter.len().saturating_sub(MAX_DATAGRAM);
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

    #[test]
    fn no_datagram_is_longer_than_it_may_be() {
        for line_bytes in [10, 1300, 1400, 5000] {
            for filling in ["x", "ż", "\"", "\u{1f600}"] {
                let event = serde_json::json!({
                    "ns": u64::MAX, "ns_trx": u64::MAX, "state": "refused",
                    "line": filling.repeat(line_bytes), "cg": "c".repeat(4000),
                });
                let bytes: Rc<[u8]> = format!("{event}\n").into_bytes().into();
                let datagram = fit(&bytes);
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
}
