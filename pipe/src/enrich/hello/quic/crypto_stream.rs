// SPDX-License-Identifier: GPL-3.0-or-later
//! The stream of handshake messages, put together from the CRYPTO frames of Initials (RFC 9000, 19.6).

use crate::enrich::hello::client_hello::{MAX_MESSAGE, message_len};
use crate::enrich::hello::quic::packet::Reader;

const PADDING: u64 = 0x00;
const PING: u64 = 0x01;
const ACK: u64 = 0x02;
const ACK_ECN: u64 = 0x03;
const CRYPTO: u64 = 0x06;
const CONNECTION_CLOSE: u64 = 0x1c;

/// The stream begins with no `ClientHello` that can be read, or says different things of the same bytes, which a server
/// refuses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Bytes that come in any order, some of them several times.
#[derive(Debug, Default)]
pub(super) struct CryptoStream {
    bytes: Vec<u8>,
    /// A bit for each of the bytes: whether it is there.
    present: Vec<u64>,
    /// So many are there from the begin on.
    whole: usize,
}

impl CryptoStream {
    /// Takes the CRYPTO frames of a packet, and passes the others. Behind one that has no business there nothing is read.
    pub(super) fn read(&mut self, frames: &[u8]) -> Result<(), Broken> {
        let mut reader = Reader(frames);
        while let Some(crypto) = next_crypto(&mut reader) {
            self.insert(crypto.offset, crypto.data)?;
        }
        Ok(())
    }

    fn insert(&mut self, offset: u64, data: &[u8]) -> Result<(), Broken> {
        let start = usize::try_from(offset).map_err(|_| Broken)?;
        let end = start.checked_add(data.len()).filter(|&end| end <= MAX_MESSAGE).ok_or(Broken)?;
        if end > self.bytes.len() {
            self.bytes.reserve_exact(end - self.bytes.len());
            self.bytes.resize(end, 0);
            self.present.resize(end.div_ceil(64), 0);
        }
        for (at, &byte) in (start..).zip(data) {
            let bit = 1 << (at % 64);
            if self.present[at / 64] & bit == 0 {
                self.present[at / 64] |= bit;
                self.bytes[at] = byte;
            } else if self.bytes[at] != byte {
                return Err(Broken);
            }
        }
        while self.whole < self.bytes.len() && self.present[self.whole / 64] & 1 << (self.whole % 64) != 0 {
            self.whole += 1;
        }
        Ok(())
    }

    /// The `ClientHello`, as soon as it is there.
    pub(super) fn hello(&self) -> Result<Option<&[u8]>, Broken> {
        let whole = &self.bytes[..self.whole];
        let len = message_len(whole).map_err(|()| Broken)?;
        Ok(len.and_then(|len| whole.get(..len)))
    }
}

struct Crypto<'a> {
    offset: u64,
    data: &'a [u8],
}

/// The next CRYPTO frame. `None` at the end, and at a frame that is cut or that no Initial has.
fn next_crypto<'a>(reader: &mut Reader<'a>) -> Option<Crypto<'a>> {
    loop {
        match reader.varint()? {
            PADDING | PING => {}
            kind @ (ACK | ACK_ECN) => {
                let [_largest, _delay, ranges, _first] = [(); 4].map(|()| reader.varint());
                for _ in 0..ranges?.checked_mul(2)? {
                    reader.varint()?;
                }
                for _ in 0..if kind == ACK_ECN { 3 } else { 0 } {
                    reader.varint()?;
                }
            }
            CRYPTO => return Some(Crypto { offset: reader.varint()?, data: reader.sized()? }),
            CONNECTION_CLOSE => {
                let [_error, _frame] = [(); 2].map(|()| reader.varint());
                reader.sized()?;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
impl CryptoStream {
    /// Bytes that are kept.
    pub(super) fn size(&self) -> usize {
        self.bytes.capacity() + 8 * self.present.capacity()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::enrich::hello::client_hello::tests::{hello_of, server_name_of};
    use crate::enrich::hello::quic::packet::tests::varint;

    fn crypto(offset: usize, data: &[u8]) -> Vec<u8> {
        [vec![6], varint(offset), varint(data.len()), data.to_vec()].concat()
    }

    #[test]
    fn other_frames_are_passed() {
        let hello = hello_of(&[server_name_of(b"a.test")]);
        let frames = [
            &[0, 0, 1][..],
            // Two ranges, and counts of congestion.
            &[3, 9, 0, 2, 1, 0, 0, 0, 0, 1, 2, 3],
            &crypto(20, &hello[20..]),
            &[2, 5, 0x40, 0x80, 0, 1],
            &[0x1c, 0, 6, 3, b'b', b'y', b'e'],
            &[0; 300],
            &crypto(0, &hello[..20]),
        ]
        .concat();
        let mut stream = CryptoStream::default();
        assert_eq!(stream.read(&frames), Ok(()));
        assert_eq!(stream.hello(), Ok(Some(&hello[..])));
    }

    #[test]
    fn nothing_is_read_behind_what_no_initial_has() {
        let hello = hello_of(&[server_name_of(b"a.test")]);
        // STREAM, HANDSHAKE_DONE, an ACK with more ranges than bytes, a CRYPTO frame that is cut.
        for hostile in [&[8, 0, 0][..], &[0x1e], &[2, 0, 0, 0xff, 0xff, 0xff, 0xff], &[6, 0, 0x44, 0xff]] {
            let mut stream = CryptoStream::default();
            assert_eq!(stream.read(&[hostile, &crypto(0, &hello)].concat()), Ok(()));
            assert_eq!(stream.hello(), Ok(None), "{hostile:?}");
        }
    }

    #[test]
    fn different_bytes_at_one_place_break_the_stream() {
        let mut stream = CryptoStream::default();
        assert_eq!(stream.read(&crypto(10, b"abc")), Ok(()));
        assert_eq!(stream.read(&crypto(8, b"xxabcxx")), Ok(()));
        assert_eq!(stream.read(&crypto(12, b"d")), Err(Broken));
    }

    #[test]
    fn streams_are_bounded() {
        let mut stream = CryptoStream::default();
        assert_eq!(stream.read(&crypto(MAX_MESSAGE - 1, b"a")), Ok(()));
        assert_eq!((stream.bytes.capacity(), stream.present.len()), (MAX_MESSAGE, MAX_MESSAGE / 64));
        assert_eq!(stream.read(&crypto(MAX_MESSAGE, b"a")), Err(Broken));
        assert_eq!(stream.read(&[6, 0xff, 255, 255, 255, 255, 255, 255, 255, 1, 0]), Err(Broken));
        let mut other = CryptoStream::default();
        assert_eq!(other.read(&crypto(0, &[2, 0, 0, 0])), Ok(()));
        assert_eq!(other.hello(), Err(Broken), "a ServerHello");
    }

    proptest! {
        #[test]
        fn no_frames_panic(frames in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut stream = CryptoStream::default();
            let _ = stream.read(&frames);
            let _ = stream.hello();
        }
    }
}
