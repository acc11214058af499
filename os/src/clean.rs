// SPDX-License-Identifier: GPL-3.0-or-later
//! Text that came from outside, made safe for a terminal and a screen.

use std::borrow::Cow;

/// Stands where a character was that must not reach a terminal.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Replaces each character that could act on a terminal or reorder what is shown around it.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    // Most texts are plain, and of very many that takes no time.
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.chars().any(is_unsafe) {
        text.chars().map(|c| if is_unsafe(c) { REPLACEMENT } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}

/// The same for bytes, of which those that are no UTF-8 are replaced too.
#[must_use]
pub fn clean_bytes(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => clean(text),
        Cow::Owned(text) => Cow::Owned(clean(&text).into_owned()),
    }
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and the bidirectional formatting
/// characters of Unicode's UAX #9, which can make a line read as another one.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{061c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_newlines_and_bad_utf8_lose_their_teeth() {
        assert_eq!(clean_bytes(b"a\x1b[31mb"), "a\u{fffd}[31mb");
        assert_eq!(clean_bytes(b"a\nb\rc\0d\x7fe"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e");
        assert_eq!(clean_bytes(b"a\xff\xc3"), "a\u{fffd}\u{fffd}");
        assert_eq!(clean("a\u{9b}31m"), "a\u{fffd}31m", "CSI as one C1 character");
        assert_eq!(clean("abc\u{202e}cba"), "abc\u{fffd}cba", "right-to-left override");
    }

    #[test]
    fn ordinary_text_of_any_script_is_untouched() {
        for text in ["curl", "żółw", "日本語", "👍🏽", "e\u{301}", ""] {
            assert!(matches!(clean(text), Cow::Borrowed(same) if same == text));
        }
    }
}
