// SPDX-License-Identifier: GPL-3.0-or-later
//! What a connection's peer is called: by its process, which says so or had asked, else by the system's resolver.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use leco_bpf::read::messages::{DnsAnswer, QuicDatagram, SentName};
use leco_bpf::read::record::{Conn, Direction};
use leco_cli::tunables::Tunables;
use leco_os::clock::{BootNs, boot_ns};

use crate::enrich::cache::TimedCache;
use crate::enrich::hello::quic::InitialPackets;
use crate::enrich::labels::{NameSource, PeerName, Proxied, Who};
use crate::enrich::names::home::is_special;
use crate::enrich::names::reverse::ReverseDns;
use crate::enrich::names::standing::{Place, Standing};
use crate::enrich::names::table::Names;
use crate::enrich::process::{Process, lineage};
use crate::enrich::sent_names::{Sent, SentNames};
use crate::history::KeptName;

/// Connections whose name is remembered, unless more are said to be.
const CONNECTIONS: usize = 16_384;
/// So long after its begin a connection's process may send a name, in ns.
pub(crate) const HELLO_NS: u64 = 2_000_000_000;
/// Processes whose parents are remembered, and for how long.
const LINE_ENTRIES: usize = 1024;
const LINE_LIFETIME: Duration = Duration::from_secs(60);
const UDP: u16 = 17;
const DNS_PORT: u16 = 53;

/// What there is to say of a peer, besides its address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Called {
    pub(crate) name: Option<PeerName>,
    pub(crate) proxied: Option<Proxied>,
    pub(crate) alpn: Option<Rc<str>>,
}

/// Learns and remembers names of peers.
#[derive(Debug)]
pub(crate) struct PeerNames {
    heard: Names,
    /// Nothing where they are not wanted.
    sent: Option<SentNames>,
    /// Whether more of these may come.
    are_read: bool,
    quic: InitialPackets,
    reverse: Option<ReverseDns>,
    lines: TimedCache<(u32, u64), Rc<[Process]>>,
}

impl PeerNames {
    /// Knows none yet.
    pub(crate) fn new(tunables: &Tunables) -> io::Result<Self> {
        Ok(Self {
            heard: Names::new(tunables.cache_names, CONNECTIONS, boot_ns()),
            sent: tunables.hello.then(|| SentNames::new(CONNECTIONS)),
            are_read: true,
            quic: InitialPackets::new(),
            reverse: tunables.reverse_dns.then(ReverseDns::start).transpose()?,
            lines: TimedCache::new(LINE_ENTRIES, LINE_LIFETIME),
        })
    }

    /// From now on names of so many connections are remembered.
    pub(crate) fn remember(&mut self, connections: usize) {
        self.heard.remember(connections);
        self.sent = self.sent.take().map(|_| SentNames::new(connections));
    }

    /// Whether names that processes send are read: else no connection waits for one.
    pub(crate) fn expect_sent(&mut self, are_read: bool) {
        self.are_read = are_read;
    }

    /// Becomes readable when the resolver answered.
    pub(crate) fn resolver_fd(&self) -> Option<BorrowedFd<'_>> {
        self.reverse.as_ref().map(|reverse| reverse.bell().as_fd())
    }

    /// Takes the resolver's answers; the addresses that have a name now.
    pub(crate) fn take_resolved(&mut self, now: BootNs) -> Vec<IpAddr> {
        self.reverse.as_mut().map(|reverse| reverse.take_answers(now)).unwrap_or_default()
    }

    /// Learns names from an answer that a process in a place received. Returns connections that had no name and have one
    /// now.
    pub(crate) fn learn_answer(&mut self, answer: &DnsAnswer, place: Place, now: BootNs) -> Vec<Conn> {
        let line = line_of(&mut self.lines, answer.pid, answer.started, now);
        self.heard.learn(answer, &Standing { place, line }, now)
    }

    /// Learns what a process sent when it connected. Returns the begin of the connection that it names.
    pub(crate) fn learn_sent(&mut self, record: &SentName) -> Option<BootNs> {
        let sent = Sent::of(record)?;
        self.sent.as_mut()?.learn(record.conn_ns, sent).then_some(record.conn_ns)
    }

    /// The same from what began like QUIC.
    pub(crate) fn learn_quic(&mut self, datagram: &QuicDatagram, now: BootNs) -> Option<BootNs> {
        let QuicDatagram { conn_ns, payload } = datagram;
        let sent = self.sent.as_mut()?;
        let hello = self.quic.push(*conn_ns, payload, now)?;
        sent.learn(*conn_ns, hello.into()).then_some(*conn_ns)
    }

    /// Knows again what connections were called before this pipe.
    pub(crate) fn restore(&mut self, names: Vec<KeptName>) {
        for kept in names {
            let KeptName { ns, address, name, source, port, alpn, .. } = kept;
            let (name, alpn) = (Rc::from(name), alpn.map(Rc::from));
            if !source.is_sent() {
                self.heard.restore(ns, address, PeerName { text: name, source });
            } else if let Some(sent) = &mut self.sent {
                let may_be_cover = source == NameSource::Cover;
                let source = if may_be_cover { NameSource::Hello } else { source };
                sent.learn(ns, Sent { name: Some(name), source, may_be_cover, port, alpn });
            }
        }
    }

    /// Whether a connection's process may send its name yet: until then it is not known who its peer is.
    pub(crate) fn may_come(&self, conn: &Conn, now: BootNs) -> bool {
        self.sent.as_ref().is_some_and(|sent| {
            self.are_read
                && conn.direction == Direction::Outgoing
                && conn.is_open()
                && conn.has_process()
                && (conn.protocol, conn.remote_port) != (UDP, DNS_PORT)
                && now.saturating_sub(conn.ns) < HELLO_NS
                && !sent.knows(conn.ns)
        })
    }

    /// What a connection's peer is called.
    pub(crate) fn of(&mut self, conn: &Conn, who: &Who, now: BootNs) -> Called {
        let mut sent = self.sent.as_mut().and_then(|sent| sent.of(conn.ns)).cloned();
        // The extension may be there with nothing in it: then the name is one that was asked for.
        if let Some(Sent { name: Some(name), may_be_cover, .. }) = &mut sent
            && *may_be_cover
        {
            *may_be_cover = !self.heard.has_heard(conn, name);
        }
        // What others call an address says nothing where its process says whom it means. A proxy keeps its own name.
        let is_sure = |sent: &Sent| sent.name.is_some() && !sent.may_be_cover && sent.port.is_none();
        let heard = if sent.as_ref().is_some_and(is_sure) { None } else { self.heard_name(conn, who, now) };
        let mut called = called(sent, heard);
        if called.name.is_none() {
            called.name = self.reverse_name(conn, now);
        }
        called
    }

    /// The name that its peer had for its process when it connected, which it keeps.
    fn heard_name(&mut self, conn: &Conn, who: &Who, now: BootNs) -> Option<PeerName> {
        if let Some(known) = self.heard.known(conn) {
            return Some(known);
        }
        let place = Place::of(who.cgroup_path.is_some(), who.container.as_ref());
        let lines = &mut self.lines;
        let line = || line_of(lines, conn.pid, conn.started, now);
        self.heard.decide(conn, &place, line, now)
    }

    /// The name that the system's resolver has for its peer.
    fn reverse_name(&mut self, conn: &Conn, now: BootNs) -> Option<PeerName> {
        let reverse = self.reverse.as_mut().filter(|_| !is_special(conn.remote))?;
        // Nor would a name of this machine say more than its address.
        if self.heard.is_home(conn, now) {
            return None;
        }
        let text = reverse.name(conn.remote.to_canonical(), now)?;
        let name = PeerName { text, source: NameSource::Reverse };
        self.heard.keep(conn, &name);
        Some(name)
    }
}

/// Which name counts: what a process sent over the connection itself, unless that may be a cover and it had asked for
/// another one.
fn called(sent: Option<Sent>, heard: Option<PeerName>) -> Called {
    let Some(Sent { name, source, may_be_cover, port, alpn }) = sent else {
        return Called { name: heard, ..Called::default() };
    };
    let Some(text) = name else {
        return Called { name: heard, proxied: None, alpn };
    };
    let answered = heard.filter(|heard| heard.source != NameSource::Reverse);
    if let Some(port) = port {
        let proxied = Some(Proxied { port, proxy: answered.map(|proxy| proxy.text) });
        return Called { name: Some(PeerName { text, source }), proxied, alpn };
    }
    let name = match answered {
        Some(answered) if may_be_cover => answered,
        None if may_be_cover => PeerName { text, source: NameSource::Cover },
        _ => PeerName { text, source },
    };
    Called { name: Some(name), proxied: None, alpn }
}

fn line_of(
    lines: &mut TimedCache<(u32, u64), Rc<[Process]>>,
    pid: u32,
    started: u64,
    now: BootNs,
) -> Rc<[Process]> {
    if let Some(known) = lines.get(&(pid, started), now) {
        return Rc::clone(known);
    }
    let line: Rc<[Process]> = lineage(pid, started).into();
    lines.insert((pid, started), Rc::clone(&line), now);
    line
}

#[cfg(test)]
mod tests {
    use leco_bpf::read::messages::NameSource as Sender;

    use super::*;

    fn sent(name: &str, may_be_cover: bool, port: Option<u16>) -> Sent {
        let source = if port.is_some() { NameSource::Proxy } else { NameSource::Hello };
        Sent { name: Some(name.into()), source, may_be_cover, port, alpn: Some("h2".into()) }
    }

    fn heard(name: &str, source: NameSource) -> PeerName {
        PeerName { text: name.into(), source }
    }

    fn shown(
        sent: impl Into<Option<Sent>>,
        heard: impl Into<Option<PeerName>>,
    ) -> Option<(String, &'static str)> {
        called(sent.into(), heard.into()).name.map(|name| (name.text.to_string(), name.source.word()))
    }

    #[test]
    fn what_a_process_sends_counts_before_what_it_asked_for() {
        use NameSource::{Dns, Reverse};
        let is = |name: &str, source| Some((name.to_owned(), source));
        assert_eq!(shown(None, None), None);
        assert_eq!(shown(None, heard("a.example", Dns)), is("a.example", "dns"));
        assert_eq!(shown(sent("b.example", false, None), heard("a.example", Dns)), is("b.example", "hello"));
        assert_eq!(shown(sent("b.example", false, None), None), is("b.example", "hello"));
        // A cover counts only where nothing else is known, and an empty one is none.
        assert_eq!(shown(sent("c.example", true, None), heard("a.example", Dns)), is("a.example", "dns"));
        assert_eq!(shown(sent("c.example", true, None), None), is("c.example", "ech"));
        assert_eq!(shown(sent("c.example", true, None), heard("r.example", Reverse)), is("c.example", "ech"));
        let nameless = Sent { name: None, ..sent("", false, None) };
        let called = called(Some(nameless), Some(heard("a.example", Dns)));
        assert_eq!((called.name, called.alpn.as_deref()), (Some(heard("a.example", Dns)), Some("h2")));
    }

    #[test]
    fn a_name_that_a_process_sent_is_not_looked_for_elsewhere() {
        const SECOND: u64 = 1_000_000_000;
        let mut peers = PeerNames::new(&Tunables::default()).unwrap();
        let conn = Conn { started: 7, ..crate::fixtures::conn(2 * SECOND, 7, 1000, "192.0.2.1") };
        let answer = crate::enrich::names::table::tests::answer(7, 1000, SECOND, "a.example", "192.0.2.1");
        peers.learn_answer(&answer, Place::Unknown, SECOND);
        let tls = Sender::Tls;
        let (name, alpn) = (b"b.example".to_vec(), Vec::new());
        let record = SentName { conn_ns: conn.ns, source: tls, has_ech: false, name, alpn };
        assert_eq!(peers.learn_sent(&record), Some(conn.ns));
        let called = peers.of(&conn, &Who::nobody(), conn.ns);
        assert_eq!(called.name.map(|name| name.text.to_string()).as_deref(), Some("b.example"));
        assert_eq!(peers.heard.known(&conn), None);
        // Another connection of the process has the name that it asked for.
        let other = Conn { ns: conn.ns + 1, ..conn };
        let called = peers.of(&other, &Who::nobody(), other.ns);
        assert_eq!(called.name.map(|name| name.text.to_string()).as_deref(), Some("a.example"));
    }

    #[test]
    fn no_name_is_waited_for_where_none_is_read() {
        let mut peers = PeerNames::new(&Tunables::default()).unwrap();
        let conn = crate::fixtures::conn(1, 7, 1000, "192.0.2.1");
        assert!(peers.may_come(&conn, 2));
        peers.expect_sent(false);
        assert!(!peers.may_come(&conn, 2));
    }

    #[test]
    fn a_proxy_keeps_its_own_name_beside_that_of_the_target() {
        let behind = |heard| called(Some(sent("b.example", false, Some(443))), heard);
        let proxy = behind(Some(heard("proxy.example", NameSource::User)));
        assert_eq!(proxy.name.unwrap().source, NameSource::Proxy);
        assert_eq!(proxy.proxied, Some(Proxied { port: 443, proxy: Some("proxy.example".into()) }));
        assert_eq!(behind(None).proxied, Some(Proxied { port: 443, proxy: None }));
    }
}
