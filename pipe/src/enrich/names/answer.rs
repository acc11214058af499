// SPDX-License-Identifier: GPL-3.0-or-later
//! What an answer of a name server says: hostile bytes, read by `hickory-proto`.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Header, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// Characters of a name (RFC 1035, 2.3.4).
const MAX_NAME: usize = 255;
/// Of one answer so many addresses are taken.
const MAX_ADDRESSES: usize = 64;

/// A name that was asked for, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// In lower case, without the final dot.
    pub(crate) name: String,
    /// At the end of whatever chain of aliases.
    pub(crate) addresses: Vec<IpAddr>,
    /// How long it may be answered again without asking: of all records that it took, the shortest.
    pub(crate) ttl: Duration,
}

impl Answer {
    /// Reads an answer; one whose end was not copied up to there. `None` where it is no answer to one question.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let mut decoder = BinDecoder::new(payload);
        let header = Header::read(&mut decoder).ok()?;
        let metadata = header.metadata;
        let is_answer = metadata.message_type == MessageType::Response && metadata.op_code == OpCode::Query;
        if !is_answer || header.counts.queries != 1 {
            return None;
        }
        let query = Query::read(&mut decoder).ok()?;
        let name = host_name(&query.name().to_ascii())?;
        let mut answer = Self { name, addresses: Vec::new(), ttl: Duration::ZERO };
        if query.query_class() != DNSClass::IN || metadata.response_code != ResponseCode::NoError {
            return Some(answer);
        }
        // Servers put aliases before what they stand for (RFC 1034, 3.6.2), so one pass follows them.
        let mut aliases: Vec<Name> = vec![query.name().clone()];
        let mut ttl = u32::MAX;
        for _ in 0..header.counts.answers {
            let Ok(record) = Record::<RData>::read(&mut decoder) else { break };
            if record.dns_class != DNSClass::IN || !aliases.contains(&record.name) {
                continue;
            }
            match record.data {
                RData::CNAME(alias) if aliases.len() < MAX_ADDRESSES => aliases.push(alias.0),
                RData::A(address) if answer.addresses.len() < MAX_ADDRESSES => {
                    answer.addresses.push(address.0.into());
                }
                RData::AAAA(address) if answer.addresses.len() < MAX_ADDRESSES => {
                    answer.addresses.push(IpAddr::V6(address.0).to_canonical());
                }
                _ => continue,
            }
            ttl = ttl.min(record.ttl);
        }
        answer.ttl = Duration::from_secs(ttl.into());
        Some(answer)
    }
}

/// A name as it can stand in a line; `None` for one that no host has (RFC 1123, 2.1, and `_` of services).
pub(crate) fn host_name(name: &str) -> Option<String> {
    let text = name.strip_suffix('.').unwrap_or(name);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(is_host))
        .then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
pub(super) mod tests {
    use hickory_proto::op::Message;
    use hickory_proto::rr::RecordType;
    use hickory_proto::rr::rdata::{A, AAAA, CNAME};
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    /// An answer to a question about a name.
    pub(in crate::enrich::names) fn answer_to(question: &str, records: &[(&str, RData)]) -> Vec<u8> {
        let mut message = Message::response(7, OpCode::Query);
        message.add_query(Query::query(name(question), RecordType::A));
        for (at, (owner, data)) in (0..).zip(records) {
            message.add_answer(Record::from_rdata(name(owner), 60 + at, data.clone()));
        }
        message.to_vec().unwrap()
    }

    pub(in crate::enrich::names) fn record(address: &str) -> RData {
        match address.parse().unwrap() {
            IpAddr::V4(address) => RData::A(A(address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(address)),
        }
    }

    #[test]
    fn a_chain_of_aliases_has_the_name_that_was_asked_for() {
        let payload = answer_to(
            "WWW.Example.test.",
            &[
                ("www.example.test.", RData::CNAME(CNAME(name("cdn.example.net.")))),
                ("cdn.example.net.", RData::CNAME(CNAME(name("edge7.example.net.")))),
                ("edge7.example.net.", record("192.0.2.7")),
                ("edge7.example.net.", record("::ffff:192.0.2.8")),
                ("edge7.example.net.", record("2001:db8::7")),
                ("elsewhere.example.", record("192.0.2.99")),
            ],
        );
        let answer = Answer::parse(&payload).unwrap();
        assert_eq!(answer.name, "www.example.test");
        let expected =
            ["192.0.2.7", "192.0.2.8", "2001:db8::7"].map(|address| address.parse::<IpAddr>().unwrap());
        assert_eq!(answer.addresses, expected, "nobody asked for the last one");
        assert_eq!(answer.ttl, Duration::from_secs(60));
    }

    #[test]
    fn an_answer_that_was_cut_is_read_up_to_there() {
        let records: Vec<_> =
            (1..=40).map(|last| ("many.test.", record(&format!("192.0.2.{last}")))).collect();
        let mut payload = answer_to("many.test.", &records);
        payload.truncate(512);
        let answer = Answer::parse(&payload).unwrap();
        assert_eq!(answer.name, "many.test");
        assert!(answer.addresses.len() > 25 && answer.addresses.len() < 40, "{answer:?}");
    }

    #[test]
    fn hostile_answers_name_nothing() {
        let plain = answer_to("a.test.", &[("a.test.", record("192.0.2.1"))]);
        let mut question_loop = plain.clone();
        // The question's name points at itself.
        question_loop[12..14].copy_from_slice(&[0xc0, 12]);
        let mut request = plain.clone();
        request[2] &= 0x7f;
        for payload in [&question_loop[..], &request, &[], &[0; 11], &[0xff; 512]] {
            assert_eq!(Answer::parse(payload), None, "{payload:?}");
        }
        for hostile in [&b"a :: b"[..], b"\x1b[2J", b"x\n", b"\xff", b""] {
            let mut payload = answer_to("abcdef.test.", &[("abcdef.test.", record("192.0.2.1"))]);
            payload[13..19].fill(b'z');
            payload[13..13 + hostile.len()].copy_from_slice(hostile);
            let is_plain = hostile.is_empty();
            assert_eq!(Answer::parse(&payload).is_some(), is_plain, "{hostile:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(payload in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Answer::parse(&payload);
        }

        #[test]
        fn no_damage_panics(at in 0..60_usize, byte in any::<u8>()) {
            let mut payload = answer_to("a.test.", &[("a.test.", record("192.0.2.1"))]);
            let at = at % payload.len();
            payload[at] = byte;
            let _ = Answer::parse(&payload);
        }
    }
}
