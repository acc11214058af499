// SPDX-License-Identifier: GPL-3.0-or-later
//! What a response of a name server says: hostile bytes, read by `hickory-proto`.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Header, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::SVCB;
use hickory_proto::rr::rdata::svcb::SvcParamValue;
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, Restrict};

use crate::enrich::hello::host_name::host_name;

/// Of one response so many addresses are taken for each name, …
const MAX_ADDRESSES: usize = 64;
/// … from so many records, …
const MAX_RECORDS: usize = 128;
/// … along so many aliases, …
const MAX_ALIASES: usize = 32;
/// … for so many names.
const MAX_NAMES: usize = 16;
/// The highest bit of the class, in multicast DNS, asks to forget other records (RFC 6762, 10.2).
const CACHE_FLUSH: u16 = 1 << 15;

/// A name, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// In lower case, without the final dot.
    pub name: String,
    /// At the end of whatever chain of aliases; at least one.
    pub addresses: Vec<IpAddr>,
    /// How long it may be answered again without asking: of all records that it took, the shortest.
    pub ttl: Duration,
}

impl Answer {
    /// Reads a response; one whose end was not copied up to there. That to a question names the addresses of what was
    /// asked for. One to a question about a service names those of its servers (SRV, RFC 2782). One without a question is
    /// of multicast DNS, which names its own domain alone.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Vec<Self> {
        Response::read(payload).map(|response| response.answers()).unwrap_or_default()
    }

    /// Reads what came over TCP: messages with their length before them (RFC 1035, 4.2.2), or one whose length was
    /// received by itself.
    #[must_use]
    pub fn from_tcp(mut bytes: &[u8]) -> Vec<Self> {
        let mut answers = Vec::new();
        let mut is_first = true;
        while let Some((len, rest)) = bytes.split_first_chunk()
            && answers.len() < MAX_NAMES
        {
            let message = &rest[..rest.len().min(u16::from_be_bytes(*len).into())];
            match Response::read(message) {
                Some(response) => answers.extend(response.answers()),
                // Without a length before it, the number of questions stands where the mark of a response would be.
                None if is_first => return Self::parse(bytes),
                None => {}
            }
            is_first = false;
            bytes = &rest[message.len()..];
        }
        answers.truncate(MAX_NAMES);
        answers
    }
}

/// A record of a kind that leads to addresses.
#[derive(Debug)]
struct Record {
    owner: Name,
    /// In seconds.
    ttl: u32,
    data: RData,
}

/// A response without an error.
#[derive(Debug)]
struct Response {
    question: Option<Query>,
    /// Of all its sections, in whatever order servers put them.
    records: Vec<Record>,
}

impl Response {
    fn read(payload: &[u8]) -> Option<Self> {
        let payload = &payload[..payload.len().min(u16::MAX.into())];
        let mut decoder = BinDecoder::new(payload);
        let header = Header::read(&mut decoder).ok()?;
        let (metadata, counts) = (header.metadata, header.counts);
        let is_answer = metadata.message_type == MessageType::Response && metadata.op_code == OpCode::Query;
        if !is_answer || counts.queries > 1 {
            return None;
        }
        let question = if counts.queries == 1 { Some(Query::read(&mut decoder).ok()?) } else { None };
        let is_internet = question.as_ref().is_none_or(|question| question.query_class() == DNSClass::IN);
        let mut records = Vec::new();
        if is_internet && metadata.response_code == ResponseCode::NoError {
            let count = [counts.answers, counts.authorities, counts.additionals].into_iter().map(usize::from);
            for _ in 0..count.sum() {
                if records.len() >= MAX_RECORDS || read_record(&mut decoder, &mut records).is_none() {
                    break;
                }
            }
        }
        Some(Self { question, records })
    }

    fn answers(&self) -> Vec<Answer> {
        let Some(question) = &self.question else { return self.multicast_answers() };
        let is_binding = matches!(question.query_type(), RecordType::HTTPS | RecordType::SVCB);
        let (answer, servers) = self.follow(question.name(), is_binding);
        let of_servers = servers.into_iter().map(|server| self.follow(server, false).0);
        [answer].into_iter().chain(of_servers).flatten().collect()
    }

    /// Nobody asked in the response: so it names no more than multicast DNS may (RFC 6762, 3).
    fn multicast_answers(&self) -> Vec<Answer> {
        let mut owners: Vec<&Name> = Vec::new();
        for record in &self.records {
            let is_address = matches!(record.data, RData::A(_) | RData::AAAA(_));
            let is_local =
                record.owner.iter().next_back().is_some_and(|last| last.eq_ignore_ascii_case(b"local"));
            if is_address && is_local && owners.len() < MAX_NAMES && !owners.contains(&&record.owner) {
                owners.push(&record.owner);
            }
        }
        owners.into_iter().filter_map(|owner| self.follow(owner, false).0).collect()
    }

    /// The addresses of a name, and the servers of a service.
    fn follow<'a>(&'a self, wanted: &'a Name, is_binding: bool) -> (Option<Answer>, Vec<&'a Name>) {
        let mut answer = Answer { name: String::new(), addresses: Vec::new(), ttl: Duration::MAX };
        let mut servers = Vec::new();
        let mut names = vec![wanted];
        let mut at = 0;
        while let Some(&name) = names.get(at) {
            at += 1;
            for record in self.records.iter().filter(|record| record.owner == *name) {
                let alias = match &record.data {
                    RData::SRV(server) => {
                        if servers.len() < MAX_NAMES - 1 && !servers.contains(&&server.target) {
                            servers.push(&server.target);
                        }
                        continue;
                    }
                    data => answer.take(data),
                };
                answer.ttl = answer.ttl.min(Duration::from_secs(record.ttl.into()));
                if let Some(alias) = alias.filter(|alias| !alias.is_root() && !names.contains(alias))
                    && names.len() < MAX_ALIASES
                {
                    names.push(alias);
                }
            }
        }
        let name = named(wanted, is_binding).filter(|_| !answer.addresses.is_empty());
        (name.map(|name| Answer { name, ..answer }), servers)
    }
}

/// The host that is asked for. Names of service bindings begin with port and protocol (RFC 9460, 2.3), which are no part
/// of a host's.
fn named(wanted: &Name, is_binding: bool) -> Option<String> {
    let text = wanted.to_ascii();
    let mut host = text.as_str();
    while is_binding
        && host.starts_with('_')
        && let Some((_, parent)) = host.split_once('.')
    {
        host = parent;
    }
    host_name(host)
}

impl Answer {
    /// Takes the addresses of a record. Returns the alias whose addresses are as good.
    fn take<'a>(&mut self, data: &'a RData) -> Option<&'a Name> {
        match data {
            RData::A(address) => self.add(address.0),
            RData::AAAA(address) => self.add(address.0),
            RData::CNAME(alias) => return Some(&alias.0),
            RData::HTTPS(binding) => return Some(self.take_hints(binding)),
            RData::SVCB(binding) => return Some(self.take_hints(binding)),
            _ => {}
        }
        None
    }

    /// Takes the addresses that a service binding hints at (RFC 9460, 7.3). Returns its target.
    fn take_hints<'a>(&mut self, binding: &'a SVCB) -> &'a Name {
        for (_, value) in &binding.svc_params {
            match value {
                SvcParamValue::Ipv4Hint(hint) => hint.0.iter().for_each(|address| self.add(address.0)),
                SvcParamValue::Ipv6Hint(hint) => hint.0.iter().for_each(|address| self.add(address.0)),
                _ => {}
            }
        }
        &binding.target_name
    }

    fn add(&mut self, address: impl Into<IpAddr>) {
        let address = address.into().to_canonical();
        if self.addresses.len() < MAX_ADDRESSES && !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }
}

/// Reads a record, and keeps it if it leads to addresses. `None` where the payload ends before it does, or its begin makes
/// no sense.
fn read_record(decoder: &mut BinDecoder<'_>, records: &mut Vec<Record>) -> Option<()> {
    let owner = Name::read(decoder).ok()?;
    let kind = RecordType::from(decoder.read_u16().ok()?.unverified(/* any is one */));
    let class = decoder.read_u16().ok()?.unverified(/* compared below */);
    let ttl = decoder.read_u32().ok()?.unverified(/* any is one */);
    let len = decoder.read_u16().ok()?.unverified(/* held against what is there next */);
    let mut data = decoder.clone(u16::try_from(decoder.index()).ok()?);
    decoder.read_slice(len.into()).ok()?;
    let leads_to_addresses = matches!(
        kind,
        RecordType::A
            | RecordType::AAAA
            | RecordType::CNAME
            | RecordType::SRV
            | RecordType::SVCB
            | RecordType::HTTPS
    );
    if leads_to_addresses
        && class & !CACHE_FLUSH == u16::from(DNSClass::IN)
        && let Ok(data) = RData::read(&mut data, kind, Restrict::new(len))
    {
        records.push(Record { owner, ttl, data });
    }
    Some(())
}

#[cfg(test)]
pub(super) mod tests {
    use hickory_proto::op::Message;
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::svcb::{EchConfigList, IpHint, SvcParamKey, Unknown};
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, HTTPS, NULL, PTR, SRV};
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

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn alias(target: &str) -> RData {
        RData::CNAME(CNAME(name(target)))
    }

    fn server(target: &str) -> RData {
        RData::SRV(SRV::new(0, 0, 443, name(target)))
    }

    fn binding(priority: u16, target: &str, hints: &[&str]) -> SVCB {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for hint in hints {
            match hint.parse().unwrap() {
                IpAddr::V4(address) => v4.push(A(address)),
                IpAddr::V6(address) => v6.push(AAAA(address)),
            }
        }
        let parameters = vec![
            (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(v4))),
            (SvcParamKey::EchConfigList, SvcParamValue::EchConfigList(EchConfigList(vec![7; 40]))),
            (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(v6))),
            (SvcParamKey::Unknown(65_000), SvcParamValue::Unknown(Unknown(vec![1, 2, 3]))),
        ];
        SVCB::new(priority, name(target), parameters)
    }

    /// A response to a question of a type, with some of its records in the additional section.
    fn response(
        question: &str,
        kind: RecordType,
        records: &[(&str, RData)],
        added: &[(&str, RData)],
    ) -> Vec<u8> {
        let mut message = Message::response(7, OpCode::Query);
        message.add_query(Query::query(name(question), kind));
        for (owner, data) in records {
            message.add_answer(Record::from_rdata(name(owner), 60, data.clone()));
        }
        for (owner, data) in added {
            message.add_additional(Record::from_rdata(name(owner), 50, data.clone()));
        }
        message.to_vec().unwrap()
    }

    /// As printers and the like announce themselves: records of which all but the first are to replace older ones.
    fn announcement(records: &[(&str, RData)]) -> Vec<u8> {
        let mut message = Message::response(0, OpCode::Query);
        for (at, (owner, data)) in records.iter().enumerate() {
            let mut record = Record::from_rdata(name(owner), 120, data.clone());
            if at > 0 {
                record.dns_class = DNSClass::Unknown(0x8001);
            }
            message.add_answer(record);
        }
        message.to_vec().unwrap()
    }

    fn named(answers: &[Answer]) -> Vec<(&str, &[IpAddr])> {
        answers.iter().map(|answer| (answer.name.as_str(), &answer.addresses[..])).collect()
    }

    #[test]
    fn a_chain_of_aliases_has_the_name_that_was_asked_for() {
        let mut records = vec![
            ("www.example.test.", alias("cdn.example.net.")),
            ("CDN.example.net.", alias("edge7.example.net.")),
            ("edge7.example.net.", record("192.0.2.7")),
            ("edge7.example.net.", record("::ffff:192.0.2.8")),
            ("edge7.example.net.", record("2001:db8::7")),
            ("elsewhere.example.", record("192.0.2.99")),
        ];
        let expected = addresses(&["192.0.2.7", "192.0.2.8", "2001:db8::7"]);
        let answers = Answer::parse(&answer_to("WWW.Example.test.", &records));
        assert_eq!(named(&answers), [("www.example.test", &expected[..])], "nobody asked for the last one");
        assert_eq!(answers[0].ttl, Duration::from_secs(60));
        // Servers may put an address before the alias that it belongs to.
        records.reverse();
        let answers = Answer::parse(&answer_to("www.example.test.", &records));
        let mut found = answers[0].addresses.clone();
        found.sort();
        assert_eq!((answers.len(), found), (1, expected));
        assert_eq!(answers[0].ttl, Duration::from_secs(61), "not that of what nobody asked for");
    }

    #[test]
    fn aliases_that_lead_nowhere_or_in_circles_name_nothing() {
        let circle =
            [("a.test.", alias("b.test.")), ("b.test.", alias("a.test.")), ("c.test.", record("192.0.2.1"))];
        assert_eq!(Answer::parse(&answer_to("a.test.", &circle)), []);
        let owners: Vec<String> = (0..100).map(|number| format!("n{number}.test.")).collect();
        let mut long: Vec<(&str, RData)> =
            owners.windows(2).map(|pair| (pair[0].as_str(), alias(&pair[1]))).collect();
        long.push((&owners[99], record("192.0.2.1")));
        assert_eq!(Answer::parse(&answer_to("n0.test.", &long)), []);
        assert_eq!(Answer::parse(&answer_to("n90.test.", &long)).len(), 1);
    }

    #[test]
    fn hints_of_service_bindings_are_addresses_of_what_was_asked_for() {
        let hints = binding(1, ".", &["192.0.2.1", "2001:db8::1"]);
        let expected = addresses(&["192.0.2.1", "2001:db8::1"]);
        for (kind, data) in
            [(RecordType::HTTPS, RData::HTTPS(HTTPS(hints.clone()))), (RecordType::SVCB, RData::SVCB(hints))]
        {
            for question in ["Shop.example.test.", "_8443._https.shop.example.test."] {
                let answers = Answer::parse(&response(question, kind, &[(question, data.clone())], &[]));
                assert_eq!(named(&answers), [("shop.example.test", &expected[..])], "{question}");
            }
        }
        // The target's addresses come along, in either mode, and aliases lead there.
        for priority in [0, 1] {
            let bound = RData::HTTPS(HTTPS(binding(priority, "svc.example.net.", &[])));
            let answers = Answer::parse(&response(
                "example.test.",
                RecordType::HTTPS,
                &[("www.example.test.", bound), ("example.test.", alias("www.example.test."))],
                &[("svc.example.net.", record("192.0.2.5")), ("other.example.net.", record("192.0.2.6"))],
            ));
            assert_eq!(named(&answers), [("example.test", &addresses(&["192.0.2.5"])[..])]);
            assert_eq!(answers[0].ttl, Duration::from_secs(50));
        }
    }

    #[test]
    fn servers_of_a_service_have_their_own_names() {
        let question = "_xmpp-client._tcp.example.test.";
        let answers = Answer::parse(&response(
            question,
            RecordType::SRV,
            &[
                (question, server("One.example.test.")),
                (question, server("two.example.test.")),
                (question, server(".")),
            ],
            &[
                ("two.example.test.", record("192.0.2.2")),
                ("one.example.test.", record("192.0.2.1")),
                ("one.example.test.", record("2001:db8::1")),
                ("bank.test.", record("192.0.2.3")),
            ],
        ));
        let (one, two) = (addresses(&["192.0.2.1", "2001:db8::1"]), addresses(&["192.0.2.2"]));
        assert_eq!(named(&answers), [("one.example.test", &one[..]), ("two.example.test", &two[..])]);
    }

    #[test]
    fn multicast_responses_name_their_own_domain() {
        let printer = announcement(&[
            ("_ipp._tcp.local.", RData::PTR(PTR(name("printer._ipp._tcp.local.")))),
            ("printer._ipp._tcp.local.", server("Printer.local.")),
            ("Printer.local.", record("192.0.2.1")),
            ("printer.local.", record("fe80::1")),
            ("8.8.local.8.", record("192.0.2.2")),
            ("bank.test.", record("192.0.2.3")),
            ("local.", alias("bank.test.")),
        ]);
        let answers = Answer::parse(&printer);
        assert_eq!(named(&answers), [("printer.local", &addresses(&["192.0.2.1", "fe80::1"])[..])]);
        assert_eq!(answers[0].ttl, Duration::from_secs(120));
        // To whoever asked as if it were a name server they repeat the question.
        let legacy = answer_to("printer.local.", &[("printer.local.", record("192.0.2.1"))]);
        assert_eq!(Answer::parse(&legacy).len(), 1);
        let many: Vec<String> = (0..100).map(|number| format!("n{number}.local.")).collect();
        let many: Vec<(&str, RData)> =
            many.iter().map(|owner| (owner.as_str(), record("192.0.2.1"))).collect();
        assert_eq!(Answer::parse(&announcement(&many)).len(), MAX_NAMES);
    }

    #[test]
    fn messages_over_tcp_have_their_length_before_them() {
        let message = |host: &str, address: &str| answer_to(host, &[(host, record(address))]);
        let sized =
            |message: &[u8]| [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat();
        let (a, b) = (message("a.test.", "192.0.2.1"), message("b.test.", "192.0.2.2"));
        let (one, two) = (addresses(&["192.0.2.1"]), addresses(&["192.0.2.2"]));
        let both = [("a.test", &one[..]), ("b.test", &two[..])];
        assert_eq!(named(&Answer::from_tcp(&sized(&a))), both[..1]);
        assert_eq!(named(&Answer::from_tcp(&[sized(&a), sized(&b)].concat())), both);
        assert_eq!(named(&Answer::from_tcp(&a)), both[..1], "the length was received before");
        assert_eq!(named(&Answer::from_tcp(&[sized(&a), sized(&[1, 2, 3]), sized(&b)].concat())), both);
        assert_eq!(
            named(&Answer::from_tcp(&[sized(&a), sized(&b)[..9].to_vec()].concat())),
            both[..1],
            "cut"
        );
        for hostile in [&[][..], &[0], &[0, 0], &[0; 600], &[0xff; 600], &[0, 12, 1, 2]] {
            assert_eq!(Answer::from_tcp(hostile), [], "{hostile:?}");
        }
        assert_eq!(Answer::from_tcp(&sized(&a).repeat(100)).len(), MAX_NAMES);
    }

    #[test]
    fn an_answer_that_was_cut_is_read_up_to_there() {
        let records: Vec<_> =
            (1..=40).map(|last| ("many.test.", record(&format!("192.0.2.{last}")))).collect();
        let mut payload = answer_to("many.test.", &records);
        payload.truncate(512);
        let answers = Answer::parse(&payload);
        assert_eq!(answers[0].name, "many.test");
        assert!(answers[0].addresses.len() > 25 && answers[0].addresses.len() < 40, "{answers:?}");
    }

    #[test]
    fn records_that_make_no_sense_are_passed() {
        // An address of five bytes, and a binding whose parameters are out of order.
        let five = RData::Unknown { code: RecordType::A, rdata: NULL::with(vec![1, 2, 3, 4, 5]) };
        let disorder = vec![0, 1, 0, 0, 4, 0, 4, 1, 2, 3, 4, 0, 1, 0, 0];
        let disorder = RData::Unknown { code: RecordType::HTTPS, rdata: NULL::with(disorder) };
        let payload = answer_to(
            "a.test.",
            &[("a.test.", five), ("a.test.", disorder), ("a.test.", record("192.0.2.1"))],
        );
        assert_eq!(named(&Answer::parse(&payload)), [("a.test", &addresses(&["192.0.2.1"])[..])]);
    }

    #[test]
    fn responses_are_bounded() {
        let names: Vec<String> =
            (0..200).map(|number| format!("192.0.{}.{}", number / 100, number % 100)).collect();
        let records: Vec<_> = names.iter().map(|address| ("a.test.", record(address))).collect();
        assert_eq!(Answer::parse(&answer_to("a.test.", &records))[0].addresses.len(), MAX_ADDRESSES);
        let others: Vec<_> = (0..MAX_RECORDS).map(|_| ("b.test.", record("192.0.2.1"))).collect();
        let late = [others, vec![("a.test.", record("192.0.2.1"))]].concat();
        assert_eq!(Answer::parse(&answer_to("a.test.", &late)), []);
    }

    #[test]
    fn hostile_answers_name_nothing() {
        let plain = answer_to("a.test.", &[("a.test.", record("192.0.2.1"))]);
        assert_eq!(Answer::parse(&plain).len(), 1);
        let mut question_loop = plain.clone();
        // The question's name points at itself.
        question_loop[12..14].copy_from_slice(&[0xc0, 12]);
        let mut request = plain.clone();
        request[2] &= 0x7f;
        let mut failure = plain.clone();
        failure[3] |= 3;
        let mut no_question = plain.clone();
        no_question[5] = 0;
        let mut two_questions = plain.clone();
        two_questions[5] = 2;
        for payload in [
            &question_loop[..],
            &request,
            &failure,
            &no_question,
            &two_questions,
            &[],
            &[0; 11],
            &[0xff; 512],
        ] {
            assert_eq!(Answer::parse(payload), [], "{payload:?}");
        }
        for hostile in [&b"a :: b"[..], b"\x1b[2J", b"x\n", b"\xff", b""] {
            let mut payload = answer_to("abcdef.test.", &[("abcdef.test.", record("192.0.2.1"))]);
            payload[13..19].fill(b'z');
            payload[13..13 + hostile.len()].copy_from_slice(hostile);
            let is_plain = hostile.is_empty();
            assert_eq!(!Answer::parse(&payload).is_empty(), is_plain, "{hostile:?}");
        }
        for number in ["8.8.8.8.", "1.", "0x7f."] {
            assert_eq!(Answer::parse(&answer_to(number, &[(number, record("192.0.2.1"))])), [], "{number}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(payload in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Answer::parse(&payload);
            let _ = Answer::from_tcp(&payload);
        }

        #[test]
        fn no_damage_panics(at in 0..60_usize, byte in any::<u8>()) {
            let mut payload = answer_to("a.test.", &[("a.test.", record("192.0.2.1"))]);
            let at = at % payload.len();
            payload[at] = byte;
            let _ = Answer::parse(&payload);
            let _ = Answer::from_tcp(&payload);
        }
    }
}
