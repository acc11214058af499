// SPDX-License-Identifier: GPL-3.0-or-later
//! Names that processes themselves sent when they connected: of each connection its own.

use std::net::IpAddr;
use std::rc::Rc;

use hashlink::LruCache;
use leco_bpf::read::messages::{NameSource as Sender, SentName};
use leco_core::text::address;
use leco_os::clean::clean_bytes;
use leco_os::clock::BootNs;

use crate::enrich::hello::Hello;
use crate::enrich::hello::host_name::host_name;
use crate::enrich::labels::NameSource;

/// Whom a process said that it connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The name, in lower case; of a target behind a proxy it may be an address. `None` where it sent none.
    pub(crate) name: Option<Rc<str>>,
    /// How it was sent.
    pub(crate) source: NameSource,
    /// Whether it may be a cover for another one.
    pub(crate) may_be_cover: bool,
    /// The port of the target behind a proxy.
    pub(crate) port: Option<u16>,
    /// The first protocol that it offered.
    pub(crate) alpn: Option<Rc<str>>,
}

impl Sent {
    /// What a record of the kernel side says; `None` where that is nothing.
    pub(crate) fn of(record: &SentName) -> Option<Self> {
        let (name, source, port) = match record.source {
            Sender::Tls => (name_in(&record.name), NameSource::Hello, None),
            Sender::Connect => {
                let (host, port) = host_and_port(&record.name)?;
                (Some(host), NameSource::Proxy, Some(port))
            }
            Sender::Socks(0) | Sender::SocksAddress(0) => return None,
            Sender::Socks(port) => (Some(target(&record.name)?), NameSource::Proxy, Some(port)),
            Sender::SocksAddress(port) => (Some(text_of(&record.name)?), NameSource::Proxy, Some(port)),
        };
        // Some offer one that is none first, lest servers get used to what there is (RFC 8701).
        let is_word = !record.alpn.is_empty() && record.alpn.iter().all(u8::is_ascii_graphic);
        let alpn = is_word.then(|| clean_bytes(&record.alpn).into());
        let sent = Self { name, source, may_be_cover: record.has_ech, port, alpn };
        (sent.name.is_some() || sent.alpn.is_some()).then_some(sent)
    }
}

impl From<Hello> for Sent {
    fn from(hello: Hello) -> Self {
        Self {
            name: hello.name.map(Rc::from),
            source: NameSource::Quic,
            may_be_cover: hello.has_ech,
            port: None,
            alpn: hello.alpn.map(Rc::from),
        }
    }
}

fn name_in(bytes: &[u8]) -> Option<Rc<str>> {
    str::from_utf8(bytes).ok().and_then(host_name).map(Rc::from)
}

/// What is behind a proxy: a name, or an address as it is written.
fn target(bytes: &[u8]) -> Option<Rc<str>> {
    let written = || str::from_utf8(bytes).ok()?.parse::<IpAddr>().ok();
    name_in(bytes).or_else(|| Some(address(written()?).to_string().into()))
}

/// An address in network byte order.
fn text_of(bytes: &[u8]) -> Option<Rc<str>> {
    let found = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let found = found.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()?;
    Some(address(found).to_string().into())
}

/// The target of a request to a proxy (RFC 9110, 7.1: `authority-form`).
fn host_and_port(authority: &[u8]) -> Option<(Rc<str>, u16)> {
    let authority = str::from_utf8(authority).ok()?;
    let (host, port) = authority.rsplit_once(':')?;
    let port = port.parse().ok().filter(|number| *number != 0 && !port.starts_with('+'))?;
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match v6 {
        Some(host) => host.contains(':').then_some(host)?,
        None => Some(host).filter(|host| !host.contains(':'))?,
    };
    Some((target(host.as_bytes())?, port))
}

/// The latest of them, by the begin of their connection.
#[derive(Debug)]
pub(crate) struct SentNames(LruCache<BootNs, Sent>);

impl SentNames {
    /// Remembers those of so many connections.
    pub(crate) fn new(connections: usize) -> Self {
        Self(LruCache::new(connections.max(1)))
    }

    /// Whether this is news: a connection keeps the first name that it has.
    pub(crate) fn learn(&mut self, conn_ns: BootNs, sent: Sent) -> bool {
        if self.0.peek(&conn_ns).is_some_and(|known| known.name.is_some()) {
            return false;
        }
        self.0.insert(conn_ns, sent);
        true
    }

    /// Whether something was sent over a connection.
    pub(crate) fn knows(&self, conn_ns: BootNs) -> bool {
        self.0.contains_key(&conn_ns)
    }

    /// What was sent over a connection.
    pub(crate) fn of(&mut self, conn_ns: BootNs) -> Option<&Sent> {
        self.0.get(&conn_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(source: Sender, name: &[u8]) -> Option<(String, Option<u16>)> {
        let (name, alpn) = (name.to_vec(), Vec::new());
        let sent = Sent::of(&SentName { conn_ns: 1, source, has_ech: false, name, alpn })?;
        Some((sent.name?.to_string(), sent.port))
    }

    #[test]
    fn targets_behind_a_proxy_are_names_or_addresses() {
        for (authority, expected) in [
            (&b"Example.org:443"[..], Some("example.org")),
            (b"10.0.0.5:443", Some("10.0.0.5")),
            (b"[2001:DB8:0::1]:443", Some("2001:db8::1")),
            (b"[::ffff:10.0.0.5]:443", Some("10.0.0.5")),
            (b"[::]:443", Some("[::]")),
            (b"2001:db8::1:443", None),
            (b"[10.0.0.5]:443", None),
            (b"[fe80::1%eth0]:443", None),
            (b"10.0.0.256:443", None),
            (b"10.0.0.5", None),
            (b"10.0.0.5:0", None),
            (b"10.0.0.5:+443", None),
            (b":443", None),
        ] {
            let expected = expected.map(|name| (name.to_owned(), Some(443)));
            assert_eq!(sent(Sender::Connect, authority), expected, "{}", authority.escape_ascii());
        }
        let named = |name: &str| Some((name.to_owned(), Some(8443)));
        assert_eq!(sent(Sender::Socks(8443), b"a.example"), named("a.example"));
        assert_eq!(sent(Sender::Socks(8443), b"10.0.0.5"), named("10.0.0.5"));
        assert_eq!(sent(Sender::SocksAddress(8443), &[10, 0, 0, 5]), named("10.0.0.5"));
        let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(sent(Sender::SocksAddress(8443), &v6), named("2001:db8::1"));
        assert_eq!(sent(Sender::SocksAddress(8443), &v6[..15]), None);
        assert_eq!(sent(Sender::SocksAddress(0), &v6), None);
        // Of TLS no name is an address (RFC 6066, 3).
        assert_eq!(sent(Sender::Tls, b"10.0.0.5"), None);
    }
}
