// SPDX-License-Identifier: GPL-3.0-or-later
//! Standard output for a terminal that cannot be drawn on: in the characters that its locale has.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use crate::ui::glyphs::Glyphs;

/// Writes texts, each whole ones, in the characters of a locale.
pub struct InGlyphs<W> {
    out: W,
    glyphs: &'static Glyphs,
}

impl<W> InGlyphs<W> {
    /// Writes to this.
    pub fn new(out: W, glyphs: &'static Glyphs) -> Self {
        Self { out, glyphs }
    }
}

impl<W: Write> Write for InGlyphs<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.out.write_all(self.glyphs.shown(&String::from_utf8_lossy(text)).as_bytes())?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: AsFd> AsFd for InGlyphs<W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.out.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_locale_lacks_is_replaced() {
        for (glyphs, written) in [(Glyphs::ascii(), "gr??e\n"), (Glyphs::unicode(), "größe\n")] {
            let mut out = Vec::new();
            InGlyphs::new(&mut out, glyphs).write_all("größe\n".as_bytes()).unwrap();
            assert_eq!(out, written.as_bytes());
        }
    }
}
