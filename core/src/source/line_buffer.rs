// SPDX-License-Identifier: GPL-3.0-or-later
//! Lines out of a stream of bytes.

/// A line may be so long; of a longer one nothing is delivered. Bytes.
pub const MAX_PARTIAL_LINE: usize = 64 << 10;

/// Keeps the start of a line until its end arrives.
#[derive(Debug, Default)]
pub struct LineBuffer {
    partial: Vec<u8>,
    /// The current line was too long: the rest of it goes, too.
    skipping: bool,
    overlong: u64,
}

impl LineBuffer {
    /// Takes bytes and hands out every line that ends in them, without its newline.
    pub fn push(&mut self, mut bytes: &[u8], mut deliver: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.partial.len() + line.len() > MAX_PARTIAL_LINE {
                self.overlong += 1;
            } else if self.partial.is_empty() {
                deliver(line);
            } else {
                self.partial.extend_from_slice(line);
                deliver(&self.partial);
            }
            self.partial.clear();
        }
        if self.skipping {
            return;
        }
        if self.partial.len() + bytes.len() > MAX_PARTIAL_LINE {
            self.partial = Vec::new();
            self.skipping = true;
            self.overlong += 1;
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    /// Nothing follows: hands out the last line, if it lacks its newline.
    pub fn end(&mut self, deliver: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            self.push(b"\n", deliver);
        }
        self.start_anew();
    }

    /// Forgets the line whose end did not come.
    pub fn start_anew(&mut self) {
        self.partial.clear();
        self.skipping = false;
    }

    /// Lines that were too long to keep.
    #[must_use]
    pub fn overlong(&self) -> u64 {
        self.overlong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(buffer: &mut LineBuffer, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        buffer.push(bytes, |line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn lines_arrive_whole_however_they_are_cut() {
        let mut buffer = LineBuffer::default();
        assert_eq!(lines(&mut buffer, b"ab"), Vec::<Vec<u8>>::new());
        assert_eq!(lines(&mut buffer, b"c\nd\n\ne"), [&b"abc"[..], b"d", b""]);
        assert_eq!(lines(&mut buffer, b"\n"), [b"e"]);
        buffer.push(b"f", |_| unreachable!());
        let mut ends = Vec::new();
        buffer.end(|line| ends.push(line.to_vec()));
        buffer.end(|line| ends.push(line.to_vec()));
        assert_eq!(ends, [b"f"]);
        assert_eq!(buffer.overlong(), 0);
    }

    #[test]
    fn an_overlong_line_is_counted_once_and_the_next_one_arrives() {
        let mut buffer = LineBuffer::default();
        for _ in 0..40 {
            assert!(lines(&mut buffer, &[b'x'; 5000]).is_empty());
        }
        assert!(buffer.partial.capacity() <= MAX_PARTIAL_LINE);
        assert_eq!(lines(&mut buffer, b"tail\nnext\n"), [b"next"]);
        assert_eq!(buffer.overlong(), 1);
        let line_of = |length: usize| format!("{}\n", "y".repeat(length)).into_bytes();
        assert_eq!(lines(&mut buffer, &line_of(MAX_PARTIAL_LINE)).len(), 1);
        assert!(lines(&mut buffer, &line_of(MAX_PARTIAL_LINE + 1)).is_empty());
        assert_eq!(buffer.overlong(), 2);
    }
}
