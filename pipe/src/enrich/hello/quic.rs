// SPDX-License-Identifier: GPL-3.0-or-later
//! The `ClientHello` in a QUIC client's first datagrams. Their protection keeps out mistakes, not readers.

mod crypto_stream;
mod packet;
#[cfg(test)]
mod vectors;

use hashlink::LinkedHashMap;
use leco_os::clock::BootNs;

use crate::enrich::hello::quic::crypto_stream::{Broken, CryptoStream};
use crate::enrich::hello::quic::packet::{Initial, Initials, Keys, Opened};
use crate::enrich::hello::{Hello, client_hello};

/// Payloads of a flow that are looked at: a hello of several kilobytes fits in.
pub const MAX_PAYLOADS: u8 = 3;
/// Bytes of a payload that are looked at: several datagrams where the kernel cuts them apart (`UDP_SEGMENT`).
pub const MAX_PAYLOAD: usize = 4500;
/// Flows whose hello is not yet whole, or was told a moment ago.
pub const MAX_FLOWS: usize = 256;
/// For so long the begin of a flow is kept, in ns.
const LIFETIME_NS: u64 = 10_000_000_000;
/// Packets of a payload that it is tried to open, each with each connection id that its keys may come from, …
const MAX_ATTEMPTS: usize = 12;
/// … and so many times the payload's bytes in all, at most.
const ATTEMPTS_PER_BYTE: usize = 2;
/// The first connection id that a client chooses for its server has at least so many bytes (RFC 9000, 7.2).
const MIN_FIRST_CONNECTION_ID: usize = 8;

/// Puts hellos together from the Initials of flows. What does not belong to a hello that is still incomplete is kept
/// nowhere: at most 18 KiB for each of [`MAX_FLOWS`], of which the oldest give way.
#[derive(Debug, Default)]
pub struct InitialPackets {
    flows: LinkedHashMap<BootNs, Flow>,
}

impl InitialPackets {
    /// Knows no flow.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what a flow sent in one call: one datagram or several, each of one packet or several. `ns` is the begin of
    /// the flow, by which it is known. Returns the hello as soon as it is whole, and only once.
    pub fn push(&mut self, ns: BootNs, payload: &[u8], now: BootNs) -> Option<Hello> {
        self.forget_old(now);
        let payload = &payload[..payload.len().min(MAX_PAYLOAD)];
        if let Some(flow) = self.flows.get_mut(&ns) {
            return flow.push(payload);
        }
        let mut flow = Flow { since: now, payloads: 0, begin: None, is_done: false };
        let hello = flow.push(payload);
        // Nothing is kept of what cannot be opened, so nobody pushes out others by it.
        if flow.begin.is_some() {
            self.flows.insert(ns, flow);
        }
        while self.flows.len() > MAX_FLOWS {
            self.flows.pop_front();
        }
        hello
    }

    /// Forgets flows whose hello did not become whole in time; [`Self::push`] does so, too.
    pub fn forget_old(&mut self, now: BootNs) {
        while self.flows.front().is_some_and(|(_, flow)| now.saturating_sub(flow.since) >= LIFETIME_NS) {
            self.flows.pop_front();
        }
    }
}

#[derive(Debug)]
struct Flow {
    /// When it was first heard of.
    since: BootNs,
    payloads: u8,
    /// What was opened so far.
    begin: Option<Begin>,
    /// The hello was told, or there will be none.
    is_done: bool,
}

#[derive(Debug)]
struct Begin {
    /// Which the keys come from.
    connection_id: Box<[u8]>,
    /// Of the numbers of packets.
    largest: u64,
    stream: CryptoStream,
}

impl Flow {
    fn push(&mut self, payload: &[u8]) -> Option<Hello> {
        if self.is_done {
            return None;
        }
        self.payloads = self.payloads.saturating_add(1);
        let hello = self.read(payload);
        self.is_done = self.payloads >= MAX_PAYLOADS || !matches!(hello, Ok(None));
        if self.is_done
            && let Some(begin) = &mut self.begin
        {
            begin.stream = CryptoStream::default();
        }
        hello.ok().flatten()
    }

    fn read(&mut self, payload: &[u8]) -> Result<Option<Hello>, Broken> {
        let mut attempts = Attempts { left: MAX_ATTEMPTS, bytes_left: ATTEMPTS_PER_BYTE * payload.len() };
        let mut initials = Initials::of(payload);
        while attempts.left > 0
            && let Some(initial) = initials.next()
        {
            let Some((begin, frames)) = self.open(&initial, &mut attempts) else {
                initials.pass(&initial, false);
                continue;
            };
            initials.pass(&initial, true);
            begin.stream.read(&frames)?;
            if let Some(message) = begin.stream.hello()? {
                return client_hello::parse(message).map(Some).ok_or(Broken);
            }
        }
        Ok(None)
    }

    /// Opens a packet with keys from the connection id of the flow's first one, else from its own: a server that sends a
    /// Retry has its client begin anew with another one (RFC 9001, 5.2).
    fn open(&mut self, initial: &Initial<'_>, attempts: &mut Attempts) -> Option<(&mut Begin, Vec<u8>)> {
        let first = self.begin.as_ref().map(|begin| &*begin.connection_id);
        let own =
            Some(initial.connection_id).filter(|id| id.len() >= MIN_FIRST_CONNECTION_ID && first != Some(id));
        let largest = self.begin.as_ref().map(|begin| begin.largest);
        let (connection_id, opened) = [first, own]
            .into_iter()
            .flatten()
            .find_map(|id| Some((Box::from(id), attempts.open(initial, id, largest)?)))?;
        let begin = self.begin.get_or_insert_with(|| Begin {
            connection_id: Box::default(),
            largest: 0,
            stream: CryptoStream::default(),
        });
        begin.connection_id = connection_id;
        begin.largest = begin.largest.max(opened.number);
        Some((begin, opened.frames))
    }
}

/// Bounds the work on a payload.
#[derive(Debug)]
struct Attempts {
    left: usize,
    bytes_left: usize,
}

impl Attempts {
    fn open(&mut self, initial: &Initial<'_>, keys_of: &[u8], largest: Option<u64>) -> Option<Opened> {
        self.left = self.left.checked_sub(1)?;
        self.bytes_left = self.bytes_left.checked_sub(initial.bytes.len())?;
        initial.open(&Keys::of_client(initial.version, keys_of)?, largest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::enrich::hello::client_hello::tests::{ALPN, ECH, alpn_of, hello_of, server_name_of};
    use crate::enrich::hello::quic::packet::Version;
    use crate::enrich::hello::quic::packet::tests::{hex, seal, varint};

    const ID: &[u8] = b"\x01\x02\x03\x04\x05\x06\x07\x08";
    const SECOND: u64 = 1_000_000_000;

    fn hello() -> Vec<u8> {
        hello_of(&[(51, vec![5; 1700]), server_name_of(b"a.test"), alpn_of(&[b"h3"]), (ECH, vec![1; 40])])
    }

    fn crypto(hello: &[u8], from: usize, to: usize) -> Vec<u8> {
        [vec![6], varint(from), varint(to - from), hello[from..to].to_vec()].concat()
    }

    fn sealed(version: Version, number: u32, frames: &[u8]) -> Vec<u8> {
        seal(version, (ID, ID), b"", number, frames)
    }

    fn name(hello: Option<Hello>) -> Option<String> {
        hello.and_then(|hello| hello.name).map(String::from)
    }

    /// Pushes all payloads of one flow.
    fn name_of(payloads: &[&[u8]]) -> Option<String> {
        let mut packets = InitialPackets::new();
        payloads.iter().find_map(|payload| name(packets.push(1, payload, SECOND)))
    }

    /// RFC 9001, A.2, and RFC 9369, A.2.
    #[test]
    fn packets_of_the_appendices_name_their_server() {
        for packet in [vectors::V1_CLIENT, vectors::V2_CLIENT] {
            let hello = InitialPackets::new().push(1, &hex(packet), SECOND).unwrap();
            assert_eq!(
                hello,
                Hello { name: Some("example.com".into()), alpn: Some("alpn".into()), has_ech: false }
            );
        }
        for packet in [vectors::V1_SERVER, vectors::V2_SERVER] {
            assert_eq!(InitialPackets::new().push(1, &hex(packet), SECOND), None);
        }
    }

    #[test]
    fn a_hello_is_told_once_when_it_is_whole_and_then_forgotten() {
        let hello = hello();
        let mut packets = InitialPackets::new();
        let second = sealed(Version::One, 1, &crypto(&hello, 1000, hello.len()));
        let first = sealed(Version::One, 0, &crypto(&hello, 0, 1000));
        assert_eq!(packets.push(1, &second, SECOND), None);
        assert_eq!(packets.push(2, &first, SECOND), None, "another flow's");
        let expected = Hello { name: Some("a.test".into()), alpn: Some("h3".into()), has_ech: true };
        assert_eq!(packets.push(1, &first, SECOND), Some(expected));
        assert!(packets.flows[&1].is_done);
        let begin = packets.flows[&1].begin.as_ref().unwrap();
        assert_eq!(begin.stream.size(), 0);
        assert_eq!(packets.push(1, &[&first[..], &second].concat(), SECOND), None);
    }

    #[test]
    fn keys_come_from_the_first_packet_of_a_flow() {
        let hello = hello();
        let first = sealed(Version::One, 0, &crypto(&hello, 0, 1000));
        // The server chose this one.
        let answered = seal(Version::One, (b"chosen by it", ID), b"", 3, &crypto(&hello, 1000, hello.len()));
        assert_eq!(name_of(&[&first, &answered]).as_deref(), Some("a.test"));
        let empty = seal(Version::One, (b"", ID), b"", 3, &crypto(&hello, 1000, hello.len()));
        assert_eq!(name_of(&[&first, &empty]).as_deref(), Some("a.test"));
        assert_eq!(name_of(&[&answered, &first]), None, "its keys are not known yet");
        // Both sides went over to another version (RFC 9368).
        let newer = sealed(Version::Two, 3, &crypto(&hello, 1000, hello.len()));
        assert_eq!(name_of(&[&first, &newer]).as_deref(), Some("a.test"));
        // After a Retry all begins anew.
        let retried = (&b"by a Retry"[..], &b"by a Retry"[..]);
        let again = [
            seal(Version::One, retried, b"a token", 1, &crypto(&hello, 0, 900)),
            seal(Version::One, retried, b"a token", 2, &crypto(&hello, 900, hello.len())),
        ];
        assert_eq!(name_of(&[&first, &again[0], &again[1]]).as_deref(), Some("a.test"));
    }

    #[test]
    fn packets_are_found_among_others() {
        let hello = hello();
        let first = sealed(Version::Two, 0, &crypto(&hello, 0, 1000));
        let second = sealed(Version::Two, 1, &crypto(&hello, 1000, hello.len()));
        let mut zero_rtt = seal(Version::Two, (ID, ID), b"", 2, &crypto(&hello, 0, 300));
        zero_rtt[0] = zero_rtt[0] & 0xcf | 0x20;
        // The length of what would be the token is that of the rest.
        zero_rtt.remove(18);
        for between in [
            &[][..],
            &[0; 200],
            &[0xc0; 200],
            &zero_rtt,
            b"\x40short header and whatever",
            &first[..40],
            &[0xd0, 0x6b, 0x33, 0x43, 0xcf],
        ] {
            for ends in [true, false] {
                let padding = if ends { between } else { &[] };
                let payload = [&first, between, &second, padding].concat();
                assert_eq!(name_of(&[&payload]).as_deref(), Some("a.test"), "{between:?}");
                let payload = [between, &second, between, &first, padding].concat();
                assert_eq!(name_of(&[&payload]).as_deref(), Some("a.test"), "{between:?}");
            }
        }
        assert_eq!(name_of(&[&[&first[..], &second[..second.len() - 1]].concat()]), None, "cut");
    }

    #[test]
    fn datagrams_of_one_call_are_told_apart() {
        let hello = hello();
        let parts = [(0, 700), (700, 1300), (1300, hello.len())];
        let datagrams: Vec<Vec<u8>> = (0..)
            .zip(parts)
            .map(|(number, (from, to))| {
                let mut datagram = sealed(Version::One, number, &crypto(&hello, from, to));
                datagram.resize(1350, 0);
                datagram
            })
            .collect();
        assert_eq!(name_of(&[&datagrams.concat()]).as_deref(), Some("a.test"));
    }

    #[test]
    fn hostile_names_are_none() {
        for hostile in [&b"a\0.test"[..], b"a b.test", b"\x1b[2J", b"8.8.8.8", &[b'a'; 255], b""] {
            let hello = hello_of(&[server_name_of(hostile)]);
            let packet = sealed(Version::One, 0, &crypto(&hello, 0, hello.len()));
            let hello = InitialPackets::new().push(1, &packet, SECOND).unwrap();
            assert_eq!(hello.name, None, "{hostile:?}");
        }
        let hello = hello_of(&[(ALPN, vec![0xff, 0xff])]);
        let packet = sealed(Version::One, 0, &crypto(&hello, 0, hello.len()));
        let nothing = Hello { name: None, alpn: None, has_ech: false };
        assert_eq!(InitialPackets::new().push(1, &packet, SECOND), Some(nothing));
    }

    #[test]
    fn a_hello_that_is_too_long_or_contradicts_itself_ends_its_flow() {
        let long = hello_of(&vec![(0x1234, vec![]); 16_000]);
        let hello = hello();
        let mut other = hello.clone();
        other[900] ^= 1;
        let rest = sealed(Version::One, 1, &crypto(&hello, 1000, hello.len()));
        for frames in [
            crypto(&long, 0, 1000),
            [vec![6], varint(17_000), varint(1), vec![1]].concat(),
            [crypto(&hello, 0, 1000), crypto(&other, 800, 1000)].concat(),
            crypto(&[2; 1000], 0, 1000),
        ] {
            let mut packets = InitialPackets::new();
            assert_eq!(packets.push(1, &sealed(Version::One, 0, &frames), SECOND), None);
            assert!(packets.flows[&1].is_done);
            let first = sealed(Version::One, 2, &crypto(&hello, 0, 1000));
            assert_eq!(packets.push(1, &[first, rest.clone()].concat(), SECOND), None);
        }
    }

    #[test]
    fn three_payloads_are_looked_at() {
        let hello = hello();
        let parts: Vec<_> = (0..4)
            .map(|part| {
                let to = if part == 3 { hello.len() } else { (part + 1) * 400 };
                sealed(Version::One, u32::try_from(part).unwrap(), &crypto(&hello, part * 400, to))
            })
            .collect();
        assert_eq!(
            name_of(&[&parts[0], &parts[1], &[&parts[2][..], &parts[3]].concat()]).as_deref(),
            Some("a.test")
        );
        assert_eq!(name_of(&[&parts[0], &parts[1], &parts[2], &parts[3]]), None);
        let late = [&vec![0; MAX_PAYLOAD][..], &parts.concat()].concat();
        assert_eq!(name_of(&[&late]), None, "beyond what is looked at");
    }

    #[test]
    fn nothing_is_kept_of_what_cannot_be_opened() {
        let hello = hello();
        let mut packets = InitialPackets::new();
        let begun = sealed(Version::One, 0, &crypto(&hello, 0, 1000));
        assert_eq!(packets.push(1, &begun, SECOND), None);
        for flow in 2..1002 {
            let wrong = seal(Version::One, (ID, b"other keys"), b"", 0, &crypto(&hello, 0, 1100));
            assert_eq!(packets.push(flow, &wrong, SECOND), None);
        }
        assert_eq!(packets.flows.len(), 1);
        let rest = sealed(Version::One, 1, &crypto(&hello, 1000, hello.len()));
        assert_eq!(name(packets.push(1, &rest, SECOND)).as_deref(), Some("a.test"));
    }

    #[test]
    fn flows_are_bounded_and_end() {
        let hello = hello();
        let first = sealed(Version::One, 0, &crypto(&hello, 0, 1000));
        let rest = seal(Version::One, (b"server", ID), b"", 1, &crypto(&hello, 1000, hello.len()));
        let mut packets = InitialPackets::new();
        for flow in 0..1000 {
            assert_eq!(packets.push(flow, &first, SECOND), None);
        }
        assert_eq!(packets.flows.len(), MAX_FLOWS);
        assert_eq!(packets.push(743, &rest, SECOND), None, "the oldest went");
        assert_eq!(name(packets.push(999, &rest, 11 * SECOND - 1)).as_deref(), Some("a.test"));
        assert_eq!(packets.push(998, &rest, 11 * SECOND), None);
        assert!(packets.flows.is_empty());
        // Nor does a clock that goes back matter.
        assert_eq!(packets.push(1, &first, SECOND), None);
        assert_eq!(name(packets.push(1, &rest, 0)).as_deref(), Some("a.test"));
    }

    /// Each attempt to open a packet costs some microseconds.
    #[test]
    fn attempts_are_bounded() {
        let hello = hello_of(&[server_name_of(b"a.test")]);
        let real = sealed(Version::One, 0, &crypto(&hello, 0, hello.len()));
        let mut decoy = seal(Version::One, (b"decoy....", ID), b"", 0, &[0; 16]);
        let few = [&decoy.repeat(MAX_ATTEMPTS - 1)[..], &real].concat();
        assert_eq!(name_of(&[&few]).as_deref(), Some("a.test"));
        let many = [&decoy.repeat(MAX_ATTEMPTS)[..], &real].concat();
        assert_eq!(name_of(&[&many]), None);
        // Of those that say that they are long fewer are tried.
        decoy = seal(Version::One, (b"decoy....", ID), b"", 0, &[0; 3000]);
        let headers = [&decoy[..30].repeat(8)[..], &[0; 3000]].concat();
        assert_eq!(name_of(&[&[&headers[..], &real].concat()]).as_deref(), Some("a.test"));
        let mut attempts = Attempts { left: MAX_ATTEMPTS, bytes_left: 2 * real.len() };
        let initial = Initials::of(&real).next().unwrap();
        let opened = std::iter::repeat_with(|| attempts.open(&initial, ID, None)).take(4).flatten().count();
        assert_eq!(opened, ATTEMPTS_PER_BYTE);
    }

    /// How a client cuts its hello: pieces that cover it and may overlap, in any order, over some packets and payloads.
    fn pieces(len: usize) -> impl Strategy<Value = (Vec<(usize, usize)>, Vec<usize>)> {
        let cuts = proptest::collection::vec((0..len, 0..60_usize, 0..60_usize), 0..40);
        cuts.prop_flat_map(move |mut cuts| {
            cuts.sort_unstable();
            let mut from = 0;
            let mut pieces = Vec::new();
            for (at, back, on) in cuts {
                pieces.push((from, (at + on).min(len)));
                from = at.saturating_sub(back);
            }
            pieces.push((from, len));
            pieces.retain(|(from, to)| from < to);
            let packets = proptest::collection::vec(0..3_usize, pieces.len());
            (Just(pieces).prop_shuffle(), packets)
        })
    }

    proptest! {
        #[test]
        fn hellos_in_pieces_are_put_together(
            (pieces, packets) in pieces(hello().len()),
            payloads in proptest::array::uniform3(0..3_usize),
            is_new in any::<bool>(),
        ) {
            let hello = hello();
            let version = if is_new { Version::Two } else { Version::One };
            let mut sent = [const { Vec::new() }; 3];
            for (number, payload) in payloads.into_iter().enumerate() {
                let of_packet = pieces.iter().zip(&packets).filter(|(_, packet)| **packet == number);
                let frames: Vec<u8> = of_packet
                    .flat_map(|(&(from, to), _)| [vec![0, 1], crypto(&hello, from, to)].concat())
                    .collect();
                if !frames.is_empty() {
                    sent[payload].extend(sealed(version, u32::try_from(number).unwrap(), &frames));
                }
            }
            let sent: Vec<&[u8]> = sent.iter().map(|payload| &payload[..]).collect();
            prop_assume!(sent.iter().all(|payload| payload.len() <= MAX_PAYLOAD));
            prop_assert_eq!(name_of(&sent), Some("a.test".to_owned()));
        }

        #[test]
        fn no_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut packets = InitialPackets::new();
            let headed = [&[0xc0, 0, 0, 0, 1, 8][..], &payload].concat();
            prop_assert_eq!(packets.push(1, &payload, SECOND), None);
            prop_assert_eq!(packets.push(1, &headed, SECOND), None);
            prop_assert!(packets.flows.is_empty());
        }
    }
}
