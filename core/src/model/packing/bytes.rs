// SPDX-License-Identifier: GPL-3.0-or-later
//! Numbers and texts in as few bytes as they need.

/// Writes what [`Reader`] reads.
pub(super) type Writer = Vec<u8>;

/// Seven bits a byte, the lowest first (LEB128).
pub(super) fn put_number(out: &mut Writer, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// A number that is most often near zero.
pub(super) fn put_signed(out: &mut Writer, number: i64) {
    put_number(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

pub(super) fn put_text(out: &mut Writer, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Reads what was written. It was written here, so nothing can be missing; where it were, zeros and nothing are read.
#[derive(Debug, Clone)]
pub(super) struct Reader<'r>(&'r [u8]);

impl<'r> Reader<'r> {
    pub(super) fn new(bytes: &'r [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    pub(super) fn bytes(&mut self, count: usize) -> &'r [u8] {
        let (bytes, rest) = self.0.split_at_checked(count).unwrap_or((&[], &[]));
        self.0 = rest;
        bytes
    }

    pub(super) fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 || shift > 63 {
                return number;
            }
        }
    }

    pub(super) fn signed(&mut self) -> i64 {
        let number = self.number();
        (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
    }

    pub(super) fn count(&mut self) -> usize {
        usize::try_from(self.number()).unwrap_or_default()
    }

    pub(super) fn text(&mut self) -> &'r str {
        let length = self.count();
        self.text_of(length)
    }

    pub(super) fn text_of(&mut self, length: usize) -> &'r str {
        str::from_utf8(self.bytes(length)).unwrap_or_default()
    }

    /// What is still to be read.
    pub(super) fn rest(&self) -> &'r [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(numbers in proptest::collection::vec(any::<(u64, i64)>(), 0..8), text in ".*") {
            let mut out = Vec::new();
            for (number, signed) in &numbers {
                put_number(&mut out, *number);
                put_signed(&mut out, *signed);
            }
            put_text(&mut out, &text);
            let mut reader = Reader::new(&out);
            for (number, signed) in numbers {
                prop_assert_eq!((reader.number(), reader.signed()), (number, signed));
            }
            prop_assert_eq!(reader.text(), text);
            prop_assert_eq!(reader.rest(), &[0_u8; 0]);
            prop_assert_eq!((reader.number(), reader.text()), (0, ""));
        }
    }
}
