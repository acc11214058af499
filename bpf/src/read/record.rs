// SPDX-License-Identifier: GPL-3.0-or-later
//! The records of the kernel side, decoded: the layout is `src/bpf/leco.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Where a process leaves a datagram socket as it was bound for so long, it waits for others; a client goes on sooner.
pub const LISTEN_WAIT: Duration = Duration::from_secs(2);

/// Bytes of one encoded [`Conn`].
pub const CONN_SIZE: usize = 152;
/// Bytes of a value of `flows`, and where its connection stands in it.
pub const FLOW_SIZE: usize = 248;
const FLOW_CONN: usize = 40;
/// Where it says that not everything was announced.
const FLOW_PENDING: usize = 8;
/// Where it has what TCP says was received and sent.
const FLOW_READ: usize = FLOW_CONN + CONN_SIZE;
const FLOW_WRITTEN: usize = FLOW_READ + 8;
/// Bytes of a key of `flows`.
pub const FLOW_KEY_SIZE: usize = 32;
/// Bytes of one encoded [`Ending`].
pub const ENDING_SIZE: usize = 32;
/// Bytes of a value of `closed`: the connection between its number and a checksum.
pub const CLOSED_SIZE: usize = CONN_SIZE + 16;
/// Bytes of the value of `stats`.
pub const STATS_SIZE: usize = 72;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const AF_PACKET: u8 = 17;

/// Which end opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Direction {
    /// This machine.
    #[default]
    Outgoing,
    /// The other.
    Incoming,
    /// Neither: a socket waits for others, and this is no connection yet. It has no remote end.
    Listening,
}

/// How a connection stands, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It goes on.
    #[default]
    Open,
    /// It waits for the peer's answer.
    Connecting,
    /// Its process closed it in good order.
    Closed,
    /// Nobody listens at that port.
    Refused,
    /// The peer broke it off.
    Reset,
    /// The peer stopped answering, or never did.
    TimedOut,
    /// A router or the peer's host says that there is no way.
    Unreachable,
    /// Its process gave up before the peer answered.
    Unanswered,
    /// A firewall of this machine drops its packets.
    Blocked,
}

/// In the order of `enum state` in `leco.h`.
const STATES: [State; 9] = [
    State::Open,
    State::Connecting,
    State::Closed,
    State::Refused,
    State::Reset,
    State::TimedOut,
    State::Unreachable,
    State::Unanswered,
    State::Blocked,
];

/// One connection as the kernel side last announced it: a field for each of `struct conn` in `leco.h`, so they are not
/// split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conn {
    /// `CLOCK_BOOTTIME` of its first event in ns: its identity.
    pub ns: u64,
    /// `CLOCK_BOOTTIME` of its latest event in ns.
    pub ns_trx: u64,
    /// Bytes received, as recv returned them.
    pub rx: u64,
    /// Bytes sent, as send returned them.
    pub tx: u64,
    /// Id of the process's cgroup: the inode number of its folder in cgroup2.
    pub cgroup: u64,
    /// `CLOCK_BOOTTIME` of the process's start in ns: tells it from a later one with the same pid.
    pub started: u64,
    /// Cookie of its socket, where several connections go over that: they end together. Else 0.
    pub socket: u64,
    /// Local address as the socket has it; unspecified for one that is not bound.
    pub local: IpAddr,
    /// Remote address; unspecified where the kernel side could not learn it.
    pub remote: IpAddr,
    /// Thread group, as the initial pid namespace numbers it; 0 where no process is known.
    pub pid: u32,
    /// Effective user of the process, as the initial user namespace numbers it.
    pub uid: u32,
    /// Local port.
    pub local_port: u16,
    /// Remote port.
    pub remote_port: u16,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// Whether these are frames of a packet socket, which knows neither addresses nor ports nor a protocol.
    pub is_packet: bool,
    /// Which end opened it.
    pub direction: Direction,
    /// How it stands.
    pub state: State,
    /// Name of the thread group's leader, up to the first NUL: hostile bytes.
    pub comm: [u8; 16],
    /// Tells what its process runs from what it ran before: a count.
    pub exec: u16,
    /// How its TCP connection did when it was told last; nothing of other protocols.
    pub tcp: Tcp,
    /// Name of the interface by which it leaves, in its network namespace, up to the first NUL: hostile bytes. Empty
    /// where its socket has no route of its own.
    pub iface: [u8; 16],
}

/// How a TCP connection does. Zero is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tcp {
    /// Smoothed round-trip time in µs.
    pub rtt_us: u32,
    /// Segments that were sent again.
    pub retrans: u32,
    /// Congestion window in segments.
    pub cwnd: u32,
    /// `TCP_*` of the kernel's `tcp_states.h`.
    pub state: u8,
}

/// By the kernel's numbers, from 1; names as `ss` has them.
const TCP_STATES: [&str; 11] = [
    "established",
    "syn-sent",
    "syn-recv",
    "fin-wait-1",
    "fin-wait-2",
    "time-wait",
    "closed",
    "close-wait",
    "last-ack",
    "listen",
    "closing",
];

impl Tcp {
    /// Name of its state, as `ss` has it.
    #[must_use]
    pub fn state_name(self) -> Option<&'static str> {
        TCP_STATES.get(usize::from(self.state).checked_sub(1)?).copied()
    }
}

/// Numbers of a record, in the machine's order, by their offsets; `None` behind its end.
#[derive(Clone, Copy)]
pub(super) struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    /// Of a record of this size; `None` where it has another one.
    pub(super) fn of(bytes: &'b [u8], size: usize) -> Option<Self> {
        (bytes.len() == size).then_some(Self(bytes))
    }

    pub(super) fn block<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    pub(super) fn word(self, at: usize) -> Option<u64> {
        self.block(at).map(u64::from_ne_bytes)
    }

    pub(super) fn half(self, at: usize) -> Option<u32> {
        self.block(at).map(u32::from_ne_bytes)
    }

    pub(super) fn short(self, at: usize) -> Option<u16> {
        self.block(at).map(u16::from_ne_bytes)
    }
}

impl Conn {
    /// Whether a process is known: a packet that a firewall drops on its way in has none.
    #[must_use]
    pub fn has_process(&self) -> bool {
        self.pid != 0
    }

    /// Decodes a record; `None` where it has another size, address family or state than this version writes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let fields = Fields::of(bytes, CONN_SIZE)?;
        let (family, state_dir) = (*bytes.get(102)?, *bytes.get(103)?);
        Some(Self {
            ns: fields.word(16)?,
            ns_trx: fields.word(24)?,
            rx: fields.word(0)?,
            tx: fields.word(8)?,
            cgroup: fields.word(32)?,
            started: fields.word(40)?,
            socket: fields.word(48)?,
            local: address(family, fields.block(56)?)?,
            remote: address(family, fields.block(72)?)?,
            pid: fields.half(88)?,
            uid: fields.half(92)?,
            local_port: fields.short(96)?,
            remote_port: fields.short(98)?,
            protocol: fields.short(100)?,
            is_packet: family == AF_PACKET,
            direction: match state_dir >> 4 {
                0 => Direction::Outgoing,
                1 => Direction::Incoming,
                2 => Direction::Listening,
                _ => return None,
            },
            state: *STATES.get(usize::from(state_dir & 0xf))?,
            comm: fields.block(104)?,
            exec: fields.short(134)?,
            tcp: Tcp {
                rtt_us: fields.half(120)?,
                retrans: fields.half(124)?,
                cwnd: fields.half(128)?,
                state: *bytes.get(132)?,
            },
            iface: fields.block(136)?,
        })
    }

    /// Decodes a value of `flows`; `None` also where nothing was announced of it yet.
    #[must_use]
    pub fn decode_flow(bytes: &[u8]) -> Option<Self> {
        let mut conn = Self::decode(bytes.get(FLOW_CONN..FLOW_CONN + CONN_SIZE)?)?;
        let fields = Fields(bytes);
        conn.rx = conn.rx.max(fields.word(FLOW_READ)?);
        conn.tx = conn.tx.max(fields.word(FLOW_WRITTEN)?);
        (conn.ns > 0).then_some(conn)
    }

    /// The same where bytes came since the last announcement.
    #[must_use]
    pub fn decode_pending_flow(bytes: &[u8]) -> Option<Self> {
        let pending = bytes.get(FLOW_PENDING..FLOW_PENDING + 4)?;
        Self::decode_flow(bytes).filter(|_| pending != [0; 4])
    }

    /// Whether it is a socket that waits for others.
    #[must_use]
    pub fn is_listener(&self) -> bool {
        self.direction == Direction::Listening
    }

    /// Whether it goes on: it may end yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open | State::Connecting)
    }

    /// The process's name without its padding.
    #[must_use]
    pub fn comm(&self) -> &[u8] {
        unpadded(&self.comm)
    }

    /// The interface's name without its padding.
    #[must_use]
    pub fn iface(&self) -> &[u8] {
        unpadded(&self.iface)
    }
}

pub(super) fn unpadded(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn address(family: u8, bytes: [u8; 16]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        AF_INET6 => Some(Ipv6Addr::from(bytes).into()),
        AF_PACKET => Some(Ipv4Addr::UNSPECIFIED.into()),
        _ => None,
    }
}

/// A value of `closed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// A connection as it ended.
    Conn(Conn),
    /// Nothing but that all connections over a socket have ended.
    Socket {
        /// The socket's, as in [`Conn::socket`].
        cookie: u64,
        /// `CLOCK_BOOTTIME` of it in ns.
        ns: u64,
    },
}

impl Closed {
    /// Decodes a value; `None` also where it is written right now or never was.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk::<8>()?;
        let (conn, check) = rest.split_last_chunk::<8>()?;
        let number = u64::from_ne_bytes(*number);
        if bytes.len() != CLOSED_SIZE || number == 0 || u64::from_ne_bytes(*check) != checksum(conn, number) {
            return None;
        }
        let ns = u64::from_ne_bytes(conn.get(24..32)?.try_into().ok()?);
        match conn.get(16..24)? {
            [0, 0, 0, 0, 0, 0, 0, 0] => Some(Self::Socket { cookie: record_socket(conn)?, ns }),
            _ => Conn::decode(conn).map(Self::Conn),
        }
    }
}

/// Cookie of the socket of a record over which several connections go; the record itself may be none of them.
pub(crate) fn record_socket(record: &[u8]) -> Option<u64> {
    let cookie = u64::from_ne_bytes(record.get(48..56)?.try_into().ok()?);
    (cookie != 0).then_some(cookie)
}

/// `checksum()` of `announce.h`.
fn checksum(conn: &[u8], number: u64) -> u64 {
    let (words, _) = conn.as_chunks::<8>();
    words
        .iter()
        .fold(number, |sum, word| (sum ^ u64::from_ne_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Several connections have ended at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// `CLOCK_BOOTTIME` of it in ns.
    pub ns: u64,
    /// What ended.
    pub of: EndOf,
}

/// What has ended, and with it connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOf {
    /// A socket: all that went over it. Its cookie, as in [`Conn::socket`].
    Socket(u64),
    /// A process: its parts in sockets that others still use.
    Process {
        /// Thread group.
        pid: u32,
        /// `CLOCK_BOOTTIME` of its start in ns.
        started: u64,
    },
}

impl Ending {
    /// Decodes a record; `None` where it is not one that this version writes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != ENDING_SIZE {
            return None;
        }
        let (words, _) = bytes.as_chunks::<8>();
        let [ns, socket, started, _] = *words else { return None };
        let pid = u32::from_ne_bytes(bytes.get(24..28)?.try_into().ok()?);
        let of = match u64::from_ne_bytes(socket) {
            0 => EndOf::Process { pid, started: u64::from_ne_bytes(started) },
            socket => EndOf::Socket(socket),
        };
        Some(Self { ns: u64::from_ne_bytes(ns), of })
    }

    /// Whether it ended this connection, which went over a socket with others.
    #[must_use]
    pub fn ended(&self, part: &Conn) -> bool {
        match self.of {
            EndOf::Socket(socket) => part.socket == socket,
            EndOf::Process { pid, started } => part.pid == pid && part.started == started,
        }
    }
}

/// What the kernel side could not deliver or no longer holds, counted since it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Announcements that found the ring full.
    pub ring_dropped: u64,
    /// Sockets whose storage could not be allocated: their bytes were not counted.
    pub sockets_skipped: u64,
    /// Flows put into `flows`, which forgets the least recently used.
    pub flows_added: u64,
    /// Connections put into `closed`, which forgets the oldest.
    pub closed_added: u64,
    /// Packets dropped on their way in that came too fast to be told one by one.
    pub blocked_skipped: u64,
    /// Answers of name servers that were left out to leave the ring to announcements.
    pub dns_skipped: u64,
    /// Names that processes sent and that could not be read.
    pub hellos_skipped: u64,
    /// A connection is announced at most once in this time; what came since is pending.
    pub update_interval: Duration,
    /// Whether names that processes send are read: else nobody needs to wait for them.
    pub reads_hellos: bool,
}

impl Stats {
    /// The value of `stats`, to be written at load.
    pub(crate) fn encode(&self) -> [u8; STATS_SIZE] {
        let interval = u64::try_from(self.update_interval.as_nanos()).unwrap_or(u64::MAX);
        let mut bytes = [0; STATS_SIZE];
        let words = [
            self.ring_dropped,
            self.sockets_skipped,
            self.flows_added,
            self.closed_added,
            self.blocked_skipped,
            self.dns_skipped,
            self.hellos_skipped,
            interval,
            self.reads_hellos.into(),
        ];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Decodes the value of `stats`; `None` where it has another size.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: [u64; 9] =
            words.iter().map(|word| u64::from_ne_bytes(*word)).collect::<Vec<_>>().try_into().ok()?;
        let [
            ring_dropped,
            sockets_skipped,
            flows_added,
            closed_added,
            blocked_skipped,
            dns_skipped,
            hellos_skipped,
            interval,
            reads_hellos,
        ] = words;
        rest.is_empty().then(|| Self {
            ring_dropped,
            sockets_skipped,
            flows_added,
            closed_added,
            blocked_skipped,
            dns_skipped,
            hellos_skipped,
            update_interval: Duration::from_nanos(interval),
            reads_hellos: reads_hellos != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skeleton::types;

    #[test]
    fn sizes_are_those_of_the_programs() {
        assert_eq!(size_of::<types::conn>(), CONN_SIZE);
        assert_eq!(size_of::<types::tracked>(), FLOW_SIZE);
        assert_eq!(size_of::<types::flow_key>(), FLOW_KEY_SIZE);
        assert_eq!(size_of::<types::closed_slot>(), CLOSED_SIZE);
        assert_eq!(size_of::<types::stats>(), STATS_SIZE);
    }

    #[test]
    fn fields_stand_where_the_programs_write_them() {
        use std::mem::offset_of;
        assert_eq!(
            [
                offset_of!(types::conn, ns),
                offset_of!(types::conn, ns_trx),
                offset_of!(types::conn, rx),
                offset_of!(types::conn, tx),
                offset_of!(types::conn, cgroup),
                offset_of!(types::conn, started),
                offset_of!(types::conn, socket),
                offset_of!(types::conn, laddr),
                offset_of!(types::conn, raddr),
                offset_of!(types::conn, pid),
                offset_of!(types::conn, uid),
                offset_of!(types::conn, lport),
                offset_of!(types::conn, rport),
                offset_of!(types::conn, protocol),
                offset_of!(types::conn, family),
                offset_of!(types::conn, state_dir),
                offset_of!(types::conn, comm),
                offset_of!(types::conn, srtt_us),
                offset_of!(types::conn, retrans),
                offset_of!(types::conn, cwnd),
                offset_of!(types::conn, tcp_state),
                offset_of!(types::conn, exec),
                offset_of!(types::conn, iface),
            ],
            [
                16, 24, 0, 8, 32, 40, 48, 56, 72, 88, 92, 96, 98, 100, 102, 103, 104, 120, 124, 128, 132,
                134, 136
            ]
        );
        assert_eq!(offset_of!(types::tracked, conn), FLOW_CONN);
        assert_eq!(offset_of!(types::tracked, pending), FLOW_PENDING);
        assert_eq!(offset_of!(types::tracked, read), FLOW_READ);
        assert_eq!(offset_of!(types::tracked, written), FLOW_WRITTEN);
    }

    #[test]
    fn counters_read_back_as_written() {
        let stats = Stats {
            ring_dropped: 1,
            sockets_skipped: 2,
            flows_added: 3,
            closed_added: 4,
            blocked_skipped: 5,
            dns_skipped: 6,
            hellos_skipped: 7,
            update_interval: Duration::from_millis(8),
            reads_hellos: true,
        };
        assert_eq!(Stats::decode(&stats.encode()), Some(stats));
        assert_eq!(Stats::decode(&[0; STATS_SIZE - 1]), None);
    }

    fn slot(number: u64, conn: &[u8; CONN_SIZE]) -> [u8; CLOSED_SIZE] {
        let mut slot = [0; CLOSED_SIZE];
        slot[..8].copy_from_slice(&number.to_ne_bytes());
        slot[8..8 + CONN_SIZE].copy_from_slice(conn);
        slot[8 + CONN_SIZE..].copy_from_slice(&checksum(conn, number).to_ne_bytes());
        slot
    }

    #[test]
    fn a_slot_that_is_written_right_now_is_no_connection() {
        let mut conn = [0; CONN_SIZE];
        conn[102] = AF_INET;
        conn[16] = 1;
        assert_eq!(Closed::decode(&[0; CLOSED_SIZE]), None, "never used");
        assert!(matches!(Closed::decode(&slot(1, &conn)), Some(Closed::Conn(_))));
        // Whatever a processor copied last: one word of what stood there before is enough.
        for at in 0..CLOSED_SIZE / 8 {
            let mut torn = slot(1, &conn);
            torn[at * 8] ^= 4;
            assert_eq!(Closed::decode(&torn), None, "word {at}");
        }
    }

    #[test]
    fn a_slot_may_tell_of_nothing_but_a_socket() {
        let mut conn = [0; CONN_SIZE];
        conn[24..32].copy_from_slice(&5_u64.to_ne_bytes());
        conn[48..56].copy_from_slice(&7_u64.to_ne_bytes());
        assert_eq!(Closed::decode(&slot(9, &conn)), Some(Closed::Socket { cookie: 7, ns: 5 }));
    }

    #[test]
    fn an_ending_is_of_a_socket_or_of_a_process_with_its_start() {
        let mut record = [0; ENDING_SIZE];
        record[..8].copy_from_slice(&5_u64.to_ne_bytes());
        record[16..24].copy_from_slice(&8_u64.to_ne_bytes());
        record[24..28].copy_from_slice(&3_u32.to_ne_bytes());
        let of = EndOf::Process { pid: 3, started: 8 };
        assert_eq!(Ending::decode(&record), Some(Ending { ns: 5, of }));
        record[8..16].copy_from_slice(&7_u64.to_ne_bytes());
        assert_eq!(Ending::decode(&record), Some(Ending { ns: 5, of: EndOf::Socket(7) }));
        assert_eq!(Ending::decode(&record[1..]), None);
    }

    #[test]
    fn a_record_of_another_size_family_or_state_is_refused() {
        assert_eq!(Conn::decode(&[0; CONN_SIZE - 1]), None);
        assert_eq!(Conn::decode(&[0; CONN_SIZE]), None, "family 0");
        let mut record = [0; CONN_SIZE];
        record[102] = AF_INET6;
        record[103] = 1 << 4 | 8;
        record[104..108].copy_from_slice(b"curl");
        record[120..122].copy_from_slice(&700_u16.to_ne_bytes());
        record[132] = 8;
        record[136..140].copy_from_slice(b"tun0");
        let conn = Conn::decode(&record).unwrap();
        assert_eq!((conn.comm(), conn.iface()), (&b"curl"[..], &b"tun0"[..]));
        assert_eq!(conn.tcp.state_name(), Some("close-wait"));
        assert_eq!([0, 12].map(|state| Tcp { state, ..conn.tcp }.state_name()), [None; 2]);
        assert_eq!(conn.remote, IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        assert_eq!((conn.direction, conn.state), (Direction::Incoming, State::Blocked));
        for state_dir in [9, 3 << 4] {
            record[103] = state_dir;
            assert_eq!(Conn::decode(&record), None);
        }
    }
}
