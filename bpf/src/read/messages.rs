// SPDX-License-Identifier: GPL-3.0-or-later
//! Records of what processes sent and received, copied from their memory: the layout is `src/bpf/leco.h`.

use crate::read::record::Fields;

/// Bytes of one encoded [`DnsAnswer`].
pub const DNS_SIZE: usize = 552;
const DNS_PAYLOAD: usize = 40;
/// Bytes of one encoded [`SentName`].
pub const HELLO_SIZE: usize = 304;
const HELLO_ALPN: usize = 16;
const HELLO_NAME: usize = 48;
/// Bytes before the payload of an encoded [`QuicDatagram`].
const QUIC_PAYLOAD: usize = 16;
/// Bytes of a datagram that can be one, and of what is copied at most. No other record is as long.
const QUIC_BYTES: std::ops::RangeInclusive<usize> = 1200..=4096;
const IPPROTO_TCP: u8 = 6;

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
    /// Whether it came over TCP, where its length goes before it.
    pub is_over_tcp: bool,
    /// Whether it came by multicast DNS, where any host of the network may answer.
    pub is_multicast: bool,
    /// Bytes of the answer that the process received.
    pub full_len: u16,
    /// Its first bytes, 512 at most: hostile.
    pub payload: Vec<u8>,
}

impl DnsAnswer {
    /// Decodes a record; `None` where it is not one that this version writes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let fields = Fields::of(bytes, DNS_SIZE)?;
        let len = fields.short(32)?;
        Some(Self {
            ns: fields.word(0)?,
            started: fields.word(8)?,
            cgroup: fields.word(16)?,
            pid: fields.half(24)?,
            uid: fields.half(28)?,
            full_len: fields.short(34)?,
            is_over_tcp: *bytes.get(36)? == IPPROTO_TCP,
            is_multicast: *bytes.get(37)? != 0,
            is_in_user_ns: fields.short(38)? != 0,
            payload: bytes.get(DNS_PAYLOAD..DNS_PAYLOAD + usize::from(len))?.to_vec(),
        })
    }
}

/// Whose word a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSource {
    /// The hello of TLS.
    Tls,
    /// A request to an HTTP proxy: the name is `HOST:PORT`.
    Connect,
    /// A request to a proxy of SOCKS version 5, for this port.
    Socks(u16),
    /// The same, for an address, of which the name is the bytes.
    SocksAddress(u16),
}

/// Whom a process said that it connects to, when the connection began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentName {
    /// Of the connection, as in [`crate::read::record::Conn::ns`].
    pub conn_ns: u64,
    /// Whose word it is.
    pub source: NameSource,
    /// Whether it may be a cover for another name (`encrypted_client_hello`).
    pub has_ech: bool,
    /// The name: hostile bytes, 255 at most.
    pub name: Vec<u8>,
    /// The first protocol that it offers (ALPN): hostile bytes, 32 at most.
    pub alpn: Vec<u8>,
}

impl SentName {
    /// Decodes a record; `None` where it is not one that this version writes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let fields = Fields::of(bytes, HELLO_SIZE)?;
        let [source, has_ech, name_len, alpn_len] = fields.block(10)?;
        let source = match source {
            0 => NameSource::Tls,
            1 => NameSource::Connect,
            2 => NameSource::Socks(fields.short(8)?),
            3 => NameSource::SocksAddress(fields.short(8)?),
            _ => return None,
        };
        let alpn = HELLO_ALPN..HELLO_ALPN + usize::from(alpn_len);
        Some(Self {
            conn_ns: fields.word(0)?,
            source,
            has_ech: has_ech != 0,
            name: bytes.get(HELLO_NAME..HELLO_NAME + usize::from(name_len))?.to_vec(),
            alpn: bytes.get(alpn).filter(|alpn| alpn.len() <= HELLO_NAME - HELLO_ALPN)?.to_vec(),
        })
    }
}

/// What begins like an Initial packet of QUIC: a datagram, or several that were sent in one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuicDatagram {
    /// Of the connection, as in [`crate::read::record::Conn::ns`].
    pub conn_ns: u64,
    /// Its first bytes, 4,096 at most: hostile.
    pub payload: Vec<u8>,
}

impl QuicDatagram {
    /// Decodes a record; `None` where it is not one that this version writes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let fields = Fields::of(bytes, bytes.len())?;
        let (conn_ns, len) = (fields.word(0)?, usize::try_from(fields.half(8)?).ok()?);
        let payload = bytes.get(QUIC_PAYLOAD..).filter(|payload| payload.len() == len)?;
        QUIC_BYTES.contains(&len).then(|| Self { conn_ns, payload: payload.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_claims_to_be_longer_than_its_record_is_refused() {
        let mut record = [0; DNS_SIZE];
        record[32..34].copy_from_slice(&513_u16.to_ne_bytes());
        assert_eq!(DnsAnswer::decode(&record), None);
        record[32..34].copy_from_slice(&512_u16.to_ne_bytes());
        assert_eq!(DnsAnswer::decode(&record).unwrap().payload.len(), 512);
    }

    #[test]
    fn a_name_that_claims_to_be_longer_than_its_record_is_refused() {
        let mut record = [0; HELLO_SIZE];
        record[..8].copy_from_slice(&5_u64.to_ne_bytes());
        record[8..10].copy_from_slice(&443_u16.to_ne_bytes());
        (record[10], record[11], record[12], record[13]) = (2, 1, 255, 32);
        let name = SentName::decode(&record).unwrap();
        assert_eq!((name.conn_ns, name.source, name.has_ech), (5, NameSource::Socks(443), true));
        assert_eq!((name.name.len(), name.alpn.len()), (255, 32));
        record[13] = 33;
        assert_eq!(SentName::decode(&record), None);
        (record[10], record[13]) = (4, 0);
        assert_eq!(SentName::decode(&record), None);
    }

    #[test]
    fn a_datagram_is_as_long_as_it_says() {
        let record = |size: usize, len: u32| {
            let mut record = vec![0; size];
            record[8..12].copy_from_slice(&len.to_ne_bytes());
            QuicDatagram::decode(&record)
        };
        assert_eq!(record(16 + 1250, 1250).unwrap().payload.len(), 1250);
        for (size, len) in
            [(16 + 1250, 1251), (16 + 1250, 1249), (16 + 1199, 1199), (16 + 4097, 4097), (12, 0)]
        {
            assert_eq!(record(size, len), None, "{size} {len}");
        }
    }
}
