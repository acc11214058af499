//! The records of the kernel side, decoded: the layout is `src/bpf/leco.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Bytes of one encoded [`Conn`].
pub const CONN_SIZE: usize = 112;
/// Bytes of a value of `flows`, and where its connection stands in it.
pub const FLOW_SIZE: usize = 168;
const FLOW_CONN: usize = 32;
/// Where it says that not everything was announced.
const FLOW_PENDING: usize = 10;
/// Bytes of a key of `flows`.
pub const FLOW_KEY_SIZE: usize = 32;
/// Bytes of a value of `closed`: the connection between two numbers.
pub const CLOSED_SIZE: usize = CONN_SIZE + 16;
/// Bytes of one encoded [`DnsAnswer`].
pub const DNS_SIZE: usize = 552;
const DNS_PAYLOAD: usize = 40;
/// Bytes of the value of `stats`.
pub const STATS_SIZE: usize = 56;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Which end opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// This machine.
    #[default]
    Outgoing,
    /// The other.
    Incoming,
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

/// One connection as the kernel side last announced it.
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
    /// Local address as the socket has it; unspecified for one that is not bound.
    pub local: IpAddr,
    /// Remote address; unspecified where the kernel side could not learn it.
    pub remote: IpAddr,
    /// Thread group, as the initial pid namespace numbers it; 0 where no process is known.
    pub pid: u32,
    /// Effective user, as the initial user namespace numbers it.
    pub uid: u32,
    /// Local port.
    pub local_port: u16,
    /// Remote port.
    pub remote_port: u16,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// Which end opened it.
    pub direction: Direction,
    /// How it stands.
    pub state: State,
    /// Name of the thread group's leader, up to the first NUL: hostile bytes.
    pub comm: [u8; 16],
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
        if bytes.len() != CONN_SIZE {
            return None;
        }
        let word =
            |at: usize| -> Option<u64> { Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?)) };
        let half =
            |at: usize| -> Option<u32> { Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?)) };
        let short =
            |at: usize| -> Option<u16> { Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?)) };
        let block = |at: usize| -> Option<[u8; 16]> { bytes.get(at..at + 16)?.try_into().ok() };
        let (family, fate) = (*bytes.get(94)?, *bytes.get(95)?);
        Some(Self {
            ns: word(16)?,
            ns_trx: word(24)?,
            rx: word(0)?,
            tx: word(8)?,
            cgroup: word(32)?,
            started: word(40)?,
            local: address(family, block(48)?)?,
            remote: address(family, block(64)?)?,
            pid: half(80)?,
            uid: half(84)?,
            local_port: short(88)?,
            remote_port: short(90)?,
            protocol: short(92)?,
            direction: match fate >> 4 {
                0 => Direction::Outgoing,
                1 => Direction::Incoming,
                _ => return None,
            },
            state: *STATES.get(usize::from(fate & 0xf))?,
            comm: block(96)?,
        })
    }

    /// Decodes a value of `flows`; `None` also where nothing was announced of it yet.
    #[must_use]
    pub fn decode_flow(bytes: &[u8]) -> Option<Self> {
        let conn = Self::decode(bytes.get(FLOW_CONN..FLOW_CONN + CONN_SIZE)?)?;
        (conn.ns > 0).then_some(conn)
    }

    /// The same where bytes came since the last announcement.
    #[must_use]
    pub fn decode_pending_flow(bytes: &[u8]) -> Option<Self> {
        Self::decode_flow(bytes).filter(|_| bytes.get(FLOW_PENDING).is_some_and(|&pending| pending != 0))
    }

    /// Decodes a value of `closed`; `None` also where it is written right now or never was.
    #[must_use]
    pub fn decode_closed(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        let (conn, tail) = rest.split_last_chunk::<8>()?;
        (head == tail && *head != [0; 8]).then(|| Self::decode(conn))?
    }

    /// The process's name without its padding.
    #[must_use]
    pub fn comm(&self) -> &[u8] {
        self.comm.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

fn address(family: u8, bytes: [u8; 16]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        AF_INET6 => Some(Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// An answer of a name server that a process received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsAnswer {
    /// `CLOCK_BOOTTIME` of its receipt in ns.
    pub ns: u64,
    /// `CLOCK_BOOTTIME` of the start of the process that received it in ns: with its pid, that process alone.
    pub started: u64,
    /// Id of that process's cgroup: the inode number of its folder in cgroup2.
    pub cgroup: u64,
    /// Thread group, as the initial pid namespace numbers it.
    pub pid: u32,
    /// That process's effective user, as the initial user namespace numbers it.
    pub uid: u32,
    /// Whether it runs in a user namespace other than the initial one, where anybody may be root.
    pub is_in_user_ns: bool,
    /// Bytes of the whole answer.
    pub full_len: u16,
    /// Its first bytes, 512 at most: hostile.
    pub payload: Vec<u8>,
}

impl DnsAnswer {
    /// Decodes a record; `None` where it is not one that this version writes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != DNS_SIZE {
            return None;
        }
        let word =
            |at: usize| -> Option<u64> { Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?)) };
        let half =
            |at: usize| -> Option<u32> { Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?)) };
        let short =
            |at: usize| -> Option<u16> { Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?)) };
        let len = short(32)?;
        Some(Self {
            ns: word(0)?,
            started: word(8)?,
            cgroup: word(16)?,
            pid: half(24)?,
            uid: half(28)?,
            full_len: short(34)?,
            is_in_user_ns: half(36)? != 0,
            payload: bytes.get(DNS_PAYLOAD..DNS_PAYLOAD + usize::from(len))?.to_vec(),
        })
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
    /// A connection is announced at most once in this time; what came since is pending.
    pub update_interval: Duration,
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
            interval,
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
        let words: [u64; 7] =
            words.iter().map(|word| u64::from_ne_bytes(*word)).collect::<Vec<_>>().try_into().ok()?;
        let [
            ring_dropped,
            sockets_skipped,
            flows_added,
            closed_added,
            blocked_skipped,
            dns_skipped,
            interval,
        ] = words;
        rest.is_empty().then(|| Self {
            ring_dropped,
            sockets_skipped,
            flows_added,
            closed_added,
            blocked_skipped,
            dns_skipped,
            update_interval: Duration::from_nanos(interval),
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
                offset_of!(types::conn, laddr),
                offset_of!(types::conn, raddr),
                offset_of!(types::conn, pid),
                offset_of!(types::conn, uid),
                offset_of!(types::conn, lport),
                offset_of!(types::conn, rport),
                offset_of!(types::conn, protocol),
                offset_of!(types::conn, family),
                offset_of!(types::conn, fate),
                offset_of!(types::conn, comm),
            ],
            [16, 24, 0, 8, 32, 40, 48, 64, 80, 84, 88, 90, 92, 94, 95, 96]
        );
        assert_eq!(offset_of!(types::tracked, conn), FLOW_CONN);
        assert_eq!(offset_of!(types::tracked, pending), FLOW_PENDING);
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
            update_interval: Duration::from_millis(7),
        };
        assert_eq!(Stats::decode(&stats.encode()), Some(stats));
        assert_eq!(Stats::decode(&[0; STATS_SIZE - 1]), None);
    }

    #[test]
    fn a_slot_that_is_written_right_now_is_no_connection() {
        let mut slot = [0; CLOSED_SIZE];
        slot[8 + 94] = AF_INET;
        assert_eq!(Conn::decode_closed(&slot), None, "never used");
        slot[CLOSED_SIZE - 8] = 1;
        assert_eq!(Conn::decode_closed(&slot), None, "begun");
        slot[0] = 1;
        assert!(Conn::decode_closed(&slot).is_some());
    }

    #[test]
    fn a_record_of_another_size_family_or_state_is_refused() {
        assert_eq!(Conn::decode(&[0; CONN_SIZE - 1]), None);
        assert_eq!(Conn::decode(&[0; CONN_SIZE]), None, "family 0");
        let mut record = [0; CONN_SIZE];
        record[94] = AF_INET6;
        record[95] = 1 << 4 | 8;
        record[96..100].copy_from_slice(b"curl");
        let conn = Conn::decode(&record).unwrap();
        assert_eq!(conn.comm(), b"curl");
        assert_eq!(conn.remote, IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        assert_eq!((conn.direction, conn.state), (Direction::Incoming, State::Blocked));
        for fate in [9, 2 << 4] {
            record[95] = fate;
            assert_eq!(Conn::decode(&record), None);
        }
    }

    #[test]
    fn an_answer_that_claims_to_be_longer_than_its_record_is_refused() {
        let mut record = [0; DNS_SIZE];
        record[32..34].copy_from_slice(&513_u16.to_ne_bytes());
        assert_eq!(DnsAnswer::decode(&record), None);
        record[32..34].copy_from_slice(&512_u16.to_ne_bytes());
        assert_eq!(DnsAnswer::decode(&record).unwrap().payload.len(), 512);
    }
}
