//! The records of the kernel side, decoded: the layout is `src/bpf/leco.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Bytes of one encoded [`Conn`].
pub const CONN_SIZE: usize = 144;
/// Bytes of a key of `conns`.
pub const CONN_KEY_SIZE: usize = 32;
/// Bytes of the value of `stats`.
pub const STATS_SIZE: usize = 24;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

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
    /// Cookie of the socket, unique since boot.
    pub cookie: u64,
    /// Id of the process's cgroup: the inode number of its folder in cgroup2.
    pub cgroup: u64,
    /// `CLOCK_BOOTTIME` of the process's start in ns: tells it from a later one with the same pid.
    pub started: u64,
    /// Local address as the socket has it; unspecified for one that is not bound.
    pub local: IpAddr,
    /// Remote address; unspecified where the kernel side could not learn it.
    pub remote: IpAddr,
    /// Thread group, as the initial pid namespace numbers it.
    pub pid: u32,
    /// User, as the initial user namespace numbers it.
    pub uid: u32,
    /// Local port.
    pub local_port: u16,
    /// Remote port.
    pub remote_port: u16,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// Name of the thread group's leader, up to the first NUL: hostile bytes.
    pub comm: [u8; 16],
}

impl Conn {
    /// Decodes a record; `None` where it has another size or address family than this version writes.
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
        let family = short(126)?;
        Some(Self {
            ns: word(0)?,
            ns_trx: word(8)?,
            rx: word(16)?,
            tx: word(24)?,
            cookie: word(32)?,
            cgroup: word(40)?,
            started: word(48)?,
            local: address(family, block(80)?)?,
            remote: address(family, block(96)?)?,
            pid: half(112)?,
            uid: half(116)?,
            local_port: short(120)?,
            remote_port: short(122)?,
            protocol: short(124)?,
            comm: block(128)?,
        })
    }

    /// The process's name without its padding.
    #[must_use]
    pub fn comm(&self) -> &[u8] {
        self.comm.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

fn address(family: u16, bytes: [u8; 16]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        AF_INET6 => Some(Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// What the kernel side could not deliver, since it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Announcements that found the ring full; the map still got them.
    pub ring_dropped: u64,
    /// Sockets whose storage could not be allocated: their bytes were not counted.
    pub sockets_skipped: u64,
    /// A connection is announced at most once in this time; what came since is pending.
    pub update_interval: Duration,
}

impl Stats {
    /// The value of `stats`, to be written at load.
    pub(crate) fn encode(&self) -> [u8; STATS_SIZE] {
        let interval = u64::try_from(self.update_interval.as_nanos()).unwrap_or(u64::MAX);
        let mut bytes = [0; STATS_SIZE];
        let words = [self.ring_dropped, self.sockets_skipped, interval];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Decodes the value of `stats`; `None` where it has another size.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let [ring_dropped, sockets_skipped, interval] = *words else { return None };
        rest.is_empty().then(|| Self {
            ring_dropped: u64::from_ne_bytes(ring_dropped),
            sockets_skipped: u64::from_ne_bytes(sockets_skipped),
            update_interval: Duration::from_nanos(u64::from_ne_bytes(interval)),
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
        assert_eq!(size_of::<types::conn_key>(), CONN_KEY_SIZE);
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
                offset_of!(types::conn, cookie),
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
                offset_of!(types::conn, comm),
            ],
            [0, 8, 16, 24, 32, 40, 48, 80, 96, 112, 116, 120, 122, 124, 126, 128]
        );
    }

    #[test]
    fn counters_read_back_as_written() {
        let stats = Stats { ring_dropped: 1, sockets_skipped: 2, update_interval: Duration::from_millis(3) };
        assert_eq!(Stats::decode(&stats.encode()), Some(stats));
        assert_eq!(Stats::decode(&[0; STATS_SIZE - 1]), None);
    }

    #[test]
    fn a_record_of_another_size_or_family_is_refused() {
        assert_eq!(Conn::decode(&[0; CONN_SIZE - 1]), None);
        assert_eq!(Conn::decode(&[0; CONN_SIZE]), None, "family 0");
        let mut record = [0; CONN_SIZE];
        record[126..128].copy_from_slice(&AF_INET6.to_ne_bytes());
        record[128..132].copy_from_slice(b"curl");
        let conn = Conn::decode(&record).unwrap();
        assert_eq!(conn.comm(), b"curl");
        assert_eq!(conn.remote, IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    }
}
