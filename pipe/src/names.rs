//! Names of addresses, from the answers of name servers that processes received: nobody is asked.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hickory_proto::op::{Header, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use leco_bpf::record::{Conn, DnsAnswer};
use leco_core::event::BootNs;

use crate::cache::TimedCache;

/// Names that are remembered, by who asked.
pub const NAME_ENTRIES: usize = 8192;
/// Users below this number are the system's, and so are its resolvers (`SYS_UID_MAX` of login.defs(5)).
const FIRST_ORDINARY_UID: u32 = 1000;
/// Characters of a name (RFC 1035, 2.3.4).
const MAX_NAME: usize = 255;
/// Of one answer so many addresses are taken.
const MAX_ADDRESSES: usize = 64;

/// For whom a name counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scope {
    /// The process that asked.
    Process(u32),
    /// Other processes of its user, such as a helper that resolves for its parent.
    User(u32),
    /// Everybody: the system's own resolver asked, on behalf of any process.
    Everybody,
}

/// Remembers which name was asked for by whom, and what its addresses are.
#[derive(Debug)]
pub struct Names {
    names: TimedCache<(Scope, IpAddr), Rc<str>>,
}

impl Names {
    /// Remembers names for so long after the latest answer that gave them.
    #[must_use]
    pub fn new(lifetime: Duration) -> Self {
        Self { names: TimedCache::new(NAME_ENTRIES, lifetime) }
    }

    /// Learns from an answer; what is none is ignored. Whatever it holds, it names nothing for others than who
    /// received it: for its process and its user, and for everybody if that user is the system.
    pub fn learn(&mut self, answer: &DnsAnswer) {
        let Some((name, addresses)) = addresses(&answer.payload) else { return };
        let name: Rc<str> = name.into();
        let shared = if answer.uid < FIRST_ORDINARY_UID { Scope::Everybody } else { Scope::User(answer.uid) };
        for address in addresses {
            for scope in [Scope::Process(answer.pid), shared] {
                self.names.insert((scope, address), name.clone(), answer.ns);
            }
        }
    }

    /// The name that a connection's process asked for to find its peer; else what its user or the system did.
    /// In lower case, without the final dot.
    pub fn name(&mut self, conn: &Conn, now: BootNs) -> Option<Rc<str>> {
        if !conn.has_process() {
            return None;
        }
        let address = conn.remote.to_canonical();
        [Scope::Process(conn.pid), Scope::User(conn.uid), Scope::Everybody]
            .into_iter()
            .find_map(|scope| self.names.get(&(scope, address), now).cloned())
    }
}

/// The name that was asked for and its addresses, at the end of whatever chain of aliases. An answer whose end
/// was not copied is read up to there. `None` where it is no answer to one question.
fn addresses(payload: &[u8]) -> Option<(String, Vec<IpAddr>)> {
    let mut decoder = BinDecoder::new(payload);
    let header = Header::read(&mut decoder).ok()?;
    let metadata = header.metadata;
    let is_answer = metadata.message_type == MessageType::Response && metadata.op_code == OpCode::Query;
    if !is_answer || header.counts.queries != 1 {
        return None;
    }
    let query = Query::read(&mut decoder).ok()?;
    let asked = host_name(&query.name().to_ascii())?;
    let mut addresses = Vec::new();
    if query.query_class() != DNSClass::IN || metadata.response_code != ResponseCode::NoError {
        return Some((asked, addresses));
    }
    // Servers put aliases before what they stand for (RFC 1034, 3.6.2), so one pass follows them.
    let mut aliases: Vec<Name> = vec![query.name().clone()];
    for _ in 0..header.counts.answers {
        let Ok(record) = Record::<RData>::read(&mut decoder) else { break };
        if record.dns_class != DNSClass::IN || !aliases.contains(&record.name) {
            continue;
        }
        match record.data {
            RData::CNAME(alias) if aliases.len() < MAX_ADDRESSES => aliases.push(alias.0),
            RData::A(address) if addresses.len() < MAX_ADDRESSES => addresses.push(address.0.into()),
            RData::AAAA(address) if addresses.len() < MAX_ADDRESSES => {
                addresses.push(IpAddr::V6(address.0).to_canonical());
            }
            _ => {}
        }
    }
    Some((asked, addresses))
}

/// A name as it can stand in a line; `None` for one that no host has (RFC 1123, 2.1, and `_` of services).
pub(crate) fn host_name(name: &str) -> Option<String> {
    let text = name.strip_suffix('.').unwrap_or(name);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(is_host))
        .then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::op::Message;
    use hickory_proto::rr::RecordType;
    use hickory_proto::rr::rdata::{A, AAAA, CNAME};
    use leco_bpf::record::{Direction, State};
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    /// An answer to a question about a name.
    fn answer_to(question: &str, records: &[(&str, RData)]) -> Vec<u8> {
        let mut message = Message::response(7, OpCode::Query);
        message.add_query(Query::query(name(question), RecordType::A));
        for (owner, data) in records {
            message.add_answer(Record::from_rdata(name(owner), 60, data.clone()));
        }
        message.to_vec().unwrap()
    }

    fn a(address: &str) -> RData {
        RData::A(A(address.parse().unwrap()))
    }

    fn received_by(pid: u32, uid: u32, payload: Vec<u8>) -> DnsAnswer {
        DnsAnswer { ns: SECOND, pid, uid, full_len: 0, payload }
    }

    fn conn(pid: u32, uid: u32, remote: &str) -> Conn {
        Conn {
            ns: 1,
            ns_trx: 1,
            rx: 0,
            tx: 0,
            cgroup: 0,
            started: 0,
            socket: 0,
            local: Ipv4Addr::UNSPECIFIED.into(),
            remote: remote.parse().unwrap(),
            pid,
            uid,
            local_port: 0,
            remote_port: 443,
            protocol: 6,
            direction: Direction::Outgoing,
            state: State::Open,
            comm: [0; 16],
        }
    }

    fn name_for(names: &mut Names, conn: &Conn) -> Option<String> {
        names.name(conn, 2 * SECOND).map(|name| name.to_string())
    }

    #[test]
    fn a_chain_of_aliases_has_the_name_that_was_asked_for() {
        let payload = answer_to(
            "WWW.Example.test.",
            &[
                ("www.example.test.", RData::CNAME(CNAME(name("cdn.example.net.")))),
                ("cdn.example.net.", RData::CNAME(CNAME(name("edge7.example.net.")))),
                ("edge7.example.net.", a("192.0.2.7")),
                ("edge7.example.net.", RData::AAAA(AAAA("2001:db8::7".parse().unwrap()))),
                ("elsewhere.example.", a("192.0.2.99")),
            ],
        );
        let mut names = Names::new(Duration::from_secs(60));
        names.learn(&received_by(10, 1000, payload));
        for remote in ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7"] {
            let shown = name_for(&mut names, &conn(10, 1000, remote));
            assert_eq!(shown.as_deref(), Some("www.example.test"), "{remote}");
        }
        assert_eq!(name_for(&mut names, &conn(10, 1000, "192.0.2.99")), None, "nobody asked for it");
        assert_eq!(names.name(&conn(10, 1000, "192.0.2.7"), 62 * SECOND), None, "too old");
    }

    #[test]
    fn the_newest_name_that_the_process_asked_for_counts() {
        let mut names = Names::new(Duration::from_secs(60));
        for (pid, question) in [(10, "one.test."), (11, "two.test."), (10, "three.test."), (11, "two.test.")]
        {
            names.learn(&received_by(pid, 1000, answer_to(question, &[(question, a("192.0.2.1"))])));
        }
        assert_eq!(name_for(&mut names, &conn(10, 1000, "192.0.2.1")).as_deref(), Some("three.test"));
        assert_eq!(name_for(&mut names, &conn(11, 1000, "192.0.2.1")).as_deref(), Some("two.test"));
        assert_eq!(name_for(&mut names, &conn(12, 1000, "192.0.2.1")).as_deref(), Some("two.test"));
    }

    #[test]
    fn a_forged_answer_names_nothing_for_other_users() {
        let mut names = Names::new(Duration::from_secs(60));
        names.learn(&received_by(10, 1000, answer_to("bank.test.", &[("bank.test.", a("192.0.2.66"))])));
        assert_eq!(name_for(&mut names, &conn(20, 1001, "192.0.2.66")), None);
        assert_eq!(name_for(&mut names, &conn(0, 1000, "192.0.2.66")), None, "of no process");
        // The system's resolver asks for all.
        names.learn(&received_by(1, 101, answer_to("real.test.", &[("real.test.", a("192.0.2.66"))])));
        assert_eq!(name_for(&mut names, &conn(20, 1001, "192.0.2.66")).as_deref(), Some("real.test"));
        assert_eq!(name_for(&mut names, &conn(10, 1000, "192.0.2.66")).as_deref(), Some("bank.test"));
    }

    #[test]
    fn an_answer_that_was_cut_is_read_up_to_there() {
        let records: Vec<_> = (1..=40).map(|last| ("many.test.", a(&format!("192.0.2.{last}")))).collect();
        let mut payload = answer_to("many.test.", &records);
        payload.truncate(512);
        let (asked, found) = addresses(&payload).unwrap();
        assert_eq!(asked, "many.test");
        assert!(found.len() > 25 && found.len() < 40, "{}", found.len());
    }

    #[test]
    fn hostile_answers_name_nothing() {
        let plain = answer_to("a.test.", &[("a.test.", a("192.0.2.1"))]);
        let mut question_loop = plain.clone();
        // The question's name points at itself.
        question_loop[12..14].copy_from_slice(&[0xc0, 12]);
        let mut request = plain.clone();
        request[2] &= 0x7f;
        for payload in [&question_loop[..], &request, &[], &[0; 11], &[0xff; 512]] {
            assert_eq!(addresses(payload), None, "{payload:?}");
        }
        for hostile in [&b"a :: b"[..], b"\x1b[2J", b"x\n", b"\xff", b""] {
            let mut payload = answer_to("abcdef.test.", &[("abcdef.test.", a("192.0.2.1"))]);
            payload[13..19].fill(b'z');
            payload[13..13 + hostile.len()].copy_from_slice(hostile);
            let is_plain = hostile.is_empty();
            assert_eq!(addresses(&payload).is_some(), is_plain, "{hostile:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(payload in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = addresses(&payload);
        }

        #[test]
        fn no_damage_panics(at in 0..60_usize, byte in any::<u8>()) {
            let mut payload = answer_to("a.test.", &[("a.test.", a("192.0.2.1"))]);
            let at = at % payload.len();
            payload[at] = byte;
            let _ = addresses(&payload);
        }
    }
}
