// SPDX-License-Identifier: GPL-3.0-or-later
//! QUIC's packets with long headers (RFC 9000, 17.2), and the protection of Initials (RFC 9001, 5; RFC 9369).
//!
//! The keys of Initials come from a connection id that the first of them has in the open: anybody who sees that one can
//! read all. The crates for it are the plain Rust ones: they need no assembler and are right on every processor.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aes::Aes128;
use aes_gcm::aes::cipher::BlockCipherEncrypt;
use aes_gcm::{Aes128Gcm, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;

/// Bytes of a connection id (RFC 9000, 17.2).
const MAX_CONNECTION_ID: u8 = 20;
/// A packet's number has at most so many bytes; what is sampled to protect it begins after that many.
const MAX_NUMBER: usize = 4;
const SAMPLE: usize = 16;
const TAG: usize = 16;

/// Takes numbers and bytes off the front of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// An integer of 1, 2, 4 or 8 bytes (RFC 9000, 16).
    pub(super) fn varint(&mut self) -> Option<u64> {
        let first = self.byte()?;
        let rest = self.take((1_usize << (first >> 6)) - 1)?;
        Some(rest.iter().fold(u64::from(first & 0x3f), |value, &byte| value << 8 | u64::from(byte)))
    }

    /// Bytes that their number stands before.
    pub(super) fn sized(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.take(len)
    }

    fn connection_id(&mut self) -> Option<&'a [u8]> {
        let len = self.byte().filter(|&len| len <= MAX_CONNECTION_ID)?;
        self.take(len.into())
    }
}

/// A version of QUIC whose Initials can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// RFC 9000.
    One,
    /// RFC 9369.
    Two,
}

impl Version {
    pub(super) const ALL: [Self; 2] = [Self::One, Self::Two];

    pub(super) fn number(self) -> [u8; 4] {
        match self {
            Self::One => [0, 0, 0, 1],
            Self::Two => [0x6b, 0x33, 0x43, 0xcf],
        }
    }

    fn of(number: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.number() == number)
    }

    /// What an Initial has as its type; a Retry, the only type without a length, comes from servers alone.
    pub(super) fn initial_type(self) -> u8 {
        match self {
            Self::One => 0,
            Self::Two => 1,
        }
    }

    fn retry_type(self) -> u8 {
        match self {
            Self::One => 3,
            Self::Two => 0,
        }
    }

    fn salt(self) -> [u8; 20] {
        match self {
            Self::One => [
                0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c,
                0xad, 0xcc, 0xbb, 0x7f, 0x0a,
            ],
            Self::Two => [
                0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d,
                0xcb, 0xf9, 0xbd, 0x2e, 0xd9,
            ],
        }
    }

    /// Labels of packet protection key, initialization vector and header protection key.
    fn labels(self) -> [&'static str; 3] {
        match self {
            Self::One => ["quic key", "quic iv", "quic hp"],
            Self::Two => ["quicv2 key", "quicv2 iv", "quicv2 hp"],
        }
    }
}

/// What protects one side's Initials.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) packet: [u8; 16],
    pub(super) vector: [u8; 12],
    pub(super) header: [u8; 16],
}

impl Keys {
    /// Of the client's Initials; `connection_id` is the destination of its first one.
    pub(super) fn of_client(version: Version, connection_id: &[u8]) -> Option<Self> {
        let (_, secret) = Hkdf::<Sha256>::extract(Some(&version.salt()), connection_id);
        Self::of_side(version, &secret, "client in")
    }

    pub(super) fn of_side(version: Version, initial: &Hkdf<Sha256>, side: &str) -> Option<Self> {
        let mut secret = [0; 32];
        expand_label(initial, side, &mut secret)?;
        let secret = Hkdf::<Sha256>::from_prk(&secret).ok()?;
        let mut keys = Self { packet: [0; 16], vector: [0; 12], header: [0; 16] };
        let [packet, vector, header] = version.labels();
        expand_label(&secret, packet, &mut keys.packet)?;
        expand_label(&secret, vector, &mut keys.vector)?;
        expand_label(&secret, header, &mut keys.header)?;
        Some(keys)
    }

    /// What the first byte and the bytes of the number are masked with (RFC 9001, 5.4.3).
    pub(super) fn mask(&self, sample: [u8; SAMPLE]) -> [u8; 1 + MAX_NUMBER] {
        let mut block = sample.into();
        Aes128::new(&self.header.into()).encrypt_block(&mut block);
        [block[0], block[1], block[2], block[3], block[4]]
    }

    /// RFC 9001, 5.3.
    pub(super) fn nonce(&self, number: u64) -> [u8; 12] {
        let mut nonce = self.vector;
        for (byte, of_number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= of_number;
        }
        nonce
    }
}

/// HKDF-Expand-Label without a context (RFC 8446, 7.1).
fn expand_label(secret: &Hkdf<Sha256>, label: &str, key: &mut [u8]) -> Option<()> {
    let len = u16::try_from(key.len()).ok()?.to_be_bytes();
    let label_len = u8::try_from("tls13 ".len() + label.len()).ok()?;
    secret.expand_multi_info(&[&len, &[label_len], b"tls13 ", label.as_bytes(), &[0]], key).ok()
}

/// An Initial as it was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Initial<'a> {
    pub(super) version: Version,
    /// Of the destination.
    pub(super) connection_id: &'a [u8],
    /// The packet alone, without what comes after it.
    pub(super) bytes: &'a [u8],
    /// Where its number begins.
    number_at: usize,
}

/// The inside of an Initial.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) number: u64,
    pub(super) frames: Vec<u8>,
}

impl Initial<'_> {
    /// Takes the protection off. `None` where the keys are wrong or something was changed on the way. `largest` is the
    /// largest number so far.
    pub(super) fn open(&self, keys: &Keys, largest: Option<u64>) -> Option<Opened> {
        let sample_at = self.number_at + MAX_NUMBER;
        let sample = self.bytes.get(sample_at..sample_at + SAMPLE)?;
        let mask = keys.mask(sample.try_into().ok()?);
        let first = self.bytes.first()? ^ mask[0] & 0x0f;
        let number_len = usize::from(first & 3) + 1;
        let frames_at = self.number_at + number_len;

        let mut header = self.bytes.get(..frames_at)?.to_vec();
        header[0] = first;
        let mut truncated = 0;
        for (byte, mask) in header[self.number_at..].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
            truncated = truncated << 8 | u64::from(*byte);
        }
        let number = full_number(largest, truncated, number_len);

        let (sealed, tag) = self.bytes.get(frames_at..)?.split_last_chunk::<TAG>()?;
        let mut frames = sealed.to_vec();
        let cipher = Aes128Gcm::new(&keys.packet.into());
        let nonce = keys.nonce(number).into();
        cipher.decrypt_inout_detached(&nonce, &header, (&mut frames[..]).into(), tag.into()).ok()?;
        Some(Opened { number, frames })
    }
}

/// A packet's number, of which only the last bytes are sent (RFC 9000, A.3).
fn full_number(largest: Option<u64>, truncated: u64, len: usize) -> u64 {
    let expected = largest.map_or(0, |largest| largest.saturating_add(1));
    let window = 1_u64 << (8 * len);
    let candidate = expected & !(window - 1) | truncated;
    if candidate.saturating_add(window / 2) <= expected && candidate < (1 << 62) - window {
        candidate + window
    } else if candidate > expected.saturating_add(window / 2) && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

/// What bytes begin with.
#[derive(Debug)]
enum Packet<'a> {
    Initial(Initial<'a>),
    /// Of another type, with so many bytes.
    Other(usize),
}

/// Reads a long header, whose lengths have to be within the bytes.
fn read(bytes: &[u8]) -> Option<Packet<'_>> {
    let mut reader = Reader(bytes);
    let first = reader.byte()?;
    let version = Version::of(reader.take(4)?)?;
    let kind = first >> 4 & 3;
    if first & 0x80 == 0 || kind == version.retry_type() {
        return None;
    }
    let connection_id = reader.connection_id()?;
    reader.connection_id()?;
    let is_initial = kind == version.initial_type();
    if is_initial {
        // A server's Retry or an earlier connection gave the token.
        reader.sized()?;
    }
    let len = usize::try_from(reader.varint()?).ok()?;
    let number_at = bytes.len() - reader.0.len();
    let end = number_at.checked_add(len)?;
    let bytes = bytes.get(..end)?;
    Some(match is_initial {
        true if len < MAX_NUMBER + SAMPLE => return None,
        true => Packet::Initial(Initial { version, connection_id, bytes, number_at }),
        false => Packet::Other(end),
    })
}

/// Finds the Initials among packets one after another, with anything between.
#[derive(Debug)]
pub(super) struct Initials<'a> {
    bytes: &'a [u8],
    /// Whether a packet ended there, so that one is to be expected: elsewhere only what can be opened is one.
    is_begin: bool,
}

impl<'a> Initials<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, is_begin: true }
    }

    /// The next one that has lengths that can be; [`Self::pass`] goes on after it.
    pub(super) fn next(&mut self) -> Option<Initial<'a>> {
        loop {
            match read(self.bytes) {
                Some(Packet::Initial(initial)) => return Some(initial),
                Some(Packet::Other(len)) if self.is_begin => self.bytes = &self.bytes[len..],
                _ => self.seek()?,
            }
        }
    }

    /// Goes on after an Initial, or within what turned out to be none.
    pub(super) fn pass(&mut self, initial: &Initial<'_>, was_opened: bool) {
        if was_opened {
            self.bytes = self.bytes.get(initial.bytes.len()..).unwrap_or_default();
            self.is_begin = true;
        } else if self.seek().is_none() {
            self.bytes = &[];
        }
    }

    /// Goes on to the next bytes that a header can begin with.
    fn seek(&mut self) -> Option<()> {
        let rest = self.bytes.get(1..)?;
        let is_header = |bytes: &[u8]| bytes[0] & 0xc0 == 0xc0 && Version::of(&bytes[1..]).is_some();
        let at = rest.windows(5).position(is_header)?;
        self.bytes = &rest[at..];
        self.is_begin = false;
        Some(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::enrich::hello::quic::vectors;

    pub(in crate::enrich::hello) fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
        digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
    }

    pub(in crate::enrich::hello) fn varint(value: usize) -> Vec<u8> {
        let value = u64::try_from(value).unwrap();
        match value {
            0..0x40 => vec![u8::try_from(value).unwrap()],
            0x40..0x4000 => (0x4000 | u16::try_from(value).unwrap()).to_be_bytes().to_vec(),
            _ => (0x8000_0000 | u32::try_from(value).unwrap()).to_be_bytes().to_vec(),
        }
    }

    /// Seals frames in an Initial, as a client does. `keys_of` is the connection id that the keys come from.
    pub(in crate::enrich::hello) fn seal(
        version: Version,
        (connection_id, keys_of): (&[u8], &[u8]),
        token: &[u8],
        number: u32,
        frames: &[u8],
    ) -> Vec<u8> {
        let keys = Keys::of_client(version, keys_of).unwrap();
        let mut header = vec![0xc0 | version.initial_type() << 4 | 3];
        header.extend(version.number());
        header.push(u8::try_from(connection_id.len()).unwrap());
        header.extend(connection_id);
        header.extend([3, 1, 2, 3]);
        header.extend(varint(token.len()));
        header.extend(token);
        header.extend(varint(MAX_NUMBER + frames.len() + TAG));
        let number_at = header.len();
        header.extend(number.to_be_bytes());

        let mut sealed = frames.to_vec();
        let nonce = keys.nonce(number.into()).into();
        let tag = Aes128Gcm::new(&keys.packet.into())
            .encrypt_inout_detached(&nonce, &header, (&mut sealed[..]).into())
            .unwrap();
        sealed.extend(&tag[..]);
        let mask = keys.mask(sealed[..SAMPLE].try_into().unwrap());
        header[0] ^= mask[0] & 0x0f;
        for (byte, mask) in header[number_at..].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
        }
        header.extend(sealed);
        header
    }

    fn only_initial(bytes: &[u8]) -> Initial<'_> {
        Initials::of(bytes).next().unwrap()
    }

    /// RFC 9001, A.1, and RFC 9369, A.1.
    #[test]
    fn keys_are_those_of_the_appendices() {
        let id = hex("8394c8f03e515708");
        for (version, packet, vector, header) in [
            (
                Version::One,
                "1f369613dd76d5467730efcbe3b1a22d",
                "fa044b2f42a3fd3b46fb255c",
                "9f50449e04a0e810283a1e9933adedd2",
            ),
            (
                Version::Two,
                "8b1a0bc121284290a29e0971b5cd045d",
                "91f73e2351d8fa91660e909f",
                "45b95e15235d6f45a6b19cbcb0294ba9",
            ),
        ] {
            let keys = Keys::of_client(version, &id).unwrap();
            assert_eq!(keys.packet[..], hex(packet));
            assert_eq!(keys.vector[..], hex(vector));
            assert_eq!(keys.header[..], hex(header));
        }
    }

    /// RFC 9001, A.2 and A.3, and RFC 9369, A.2 and A.3.
    #[test]
    fn packets_of_the_appendices_are_opened() {
        let id = hex("8394c8f03e515708");
        for (client, server) in
            [(vectors::V1_CLIENT, vectors::V1_SERVER), (vectors::V2_CLIENT, vectors::V2_SERVER)]
        {
            let (client, server) = (hex(client), hex(server));
            let initial = only_initial(&client);
            assert_eq!((initial.connection_id, initial.bytes.len()), (&id[..], 1200));
            let keys = Keys::of_client(initial.version, &id).unwrap();
            let opened = initial.open(&keys, None).unwrap();
            assert_eq!(opened.number, 2);
            assert_eq!(opened.frames[..8], hex("060040f1010000ed"));
            assert_eq!(opened.frames.len(), 1162);
            assert!(opened.frames[245..].iter().all(|&byte| byte == 0));

            let initial = only_initial(&server);
            assert_eq!(initial.open(&keys, None), None, "those of the other side");
            let (_, secret) = Hkdf::<Sha256>::extract(Some(&initial.version.salt()), &id);
            let keys = Keys::of_side(initial.version, &secret, "server in").unwrap();
            let opened = initial.open(&keys, None).unwrap();
            assert_eq!(opened.number, 1);
            assert_eq!(opened.frames[..10], hex("02000000000600405a02"));
        }
    }

    #[test]
    fn what_was_changed_is_not_opened() {
        let sealed = seal(Version::One, (b"12345678", b"12345678"), b"token", 7, &[0; 100]);
        let keys = Keys::of_client(Version::One, b"12345678").unwrap();
        assert_eq!(only_initial(&sealed).open(&keys, None).unwrap().frames, [0; 100]);
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            let opened = Initials::of(&damaged).next().and_then(|initial| initial.open(&keys, None));
            assert_eq!(opened, None, "{at}");
        }
    }

    /// RFC 9000, A.3, and the ends of what can be.
    #[test]
    fn numbers_are_completed() {
        assert_eq!(full_number(Some(0xa82f_30ea), 0x9b32, 2), 0xa82f_9b32);
        assert_eq!(full_number(None, 2, 4), 2);
        assert_eq!(full_number(None, 0xffff_ffff, 4), 0xffff_ffff);
        assert_eq!(full_number(Some(255), 0, 1), 256);
        assert_eq!(full_number(Some(256), 255, 1), 255);
        let last = (1 << 62) - 1;
        assert_eq!(full_number(Some(last), 0xff, 1), last);
    }

    #[test]
    fn integers_have_one_to_eight_bytes() {
        // RFC 9000, A.1.
        for (bytes, value) in [
            ("c2197c5eff14e88c", 151_288_809_941_952_652),
            ("9d7f3e7d", 494_878_333),
            ("7bbd", 15_293),
            ("25", 37),
            ("4025", 37),
        ] {
            let bytes = hex(bytes);
            assert_eq!(Reader(&bytes).varint(), Some(value));
            assert_eq!(Reader(&bytes[..bytes.len() - 1]).varint(), None);
        }
    }

    #[test]
    fn headers_whose_lengths_lie_are_none() {
        let sealed = seal(Version::Two, (b"12345678", b"12345678"), b"", 0, &[0; 60]);
        for cut in 0..sealed.len() {
            assert!(Initials::of(&sealed[..cut]).next().is_none(), "{cut}");
        }
        let mut long_id = sealed.clone();
        long_id[5] = 21;
        let mut unknown = sealed.clone();
        unknown[4] ^= 1;
        let mut short_header = sealed.clone();
        short_header[0] &= 0x7f;
        let empty = [&sealed[..19], &[19], &sealed[20..]].concat();
        let negotiation = [&[0xc0, 0, 0, 0, 0][..], &sealed[5..]].concat();
        for bytes in [long_id, unknown, short_header, empty, negotiation] {
            assert!(Initials::of(&bytes).next().is_none(), "{bytes:?}");
        }
    }
}
