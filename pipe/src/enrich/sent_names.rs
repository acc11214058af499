// SPDX-License-Identifier: GPL-3.0-or-later
//! Names that processes themselves sent when they connected: of each connection its own.

use std::rc::Rc;

use hashlink::LruCache;
use leco_bpf::read::messages::{NameSource as Sender, SentName};
use leco_os::clean::clean_bytes;
use leco_os::clock::BootNs;

use crate::enrich::hello::Hello;
use crate::enrich::hello::host_name::host_name;
use crate::enrich::labels::NameSource;

/// Whom a process said that it connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The name, in lower case; `None` where it sent none.
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
            Sender::Socks(0) => return None,
            Sender::Socks(port) => (Some(name_in(&record.name)?), NameSource::Proxy, Some(port)),
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
    std::str::from_utf8(bytes).ok().and_then(host_name).map(Rc::from)
}

/// The target of a request to a proxy (RFC 9110, 7.1: `authority-form`).
fn host_and_port(target: &[u8]) -> Option<(Rc<str>, u16)> {
    let target = std::str::from_utf8(target).ok()?;
    let (host, port) = target.rsplit_once(':')?;
    let port = port.parse().ok().filter(|number| *number != 0 && !port.starts_with('+'))?;
    Some((name_in(host.as_bytes())?, port))
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
