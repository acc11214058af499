// SPDX-License-Identifier: GPL-3.0-or-later
//! Characters beside letters and digits, as the terminal's character set has them.

use std::borrow::Cow;

use ratatui::buffer::Buffer;

use unicode_width::UnicodeWidthChar;

use crate::width::Width;

/// Characters that the view draws by itself, by what they stand for.
#[derive(Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// Whether no other characters than those of ASCII can be shown.
    pub is_ascii: bool,
    /// Sent; a key that goes up.
    pub up: &'static str,
    /// Received; a key that goes down.
    pub down: &'static str,
    /// The key to the left.
    pub left: &'static str,
    /// The key to the right; what something becomes.
    pub right: &'static str,
    /// The enter key.
    pub enter: &'static str,
    /// Between things told beside one another.
    pub dot: &'static str,
    /// Where a text was shortened: one cell.
    pub ellipsis: &'static str,
    /// Before a count: so many times.
    pub times: &'static str,
    /// A recording plays.
    pub play: &'static str,
    /// It stands still.
    pub pause: &'static str,
    /// The part of a recording that was played.
    pub played: &'static str,
    /// The part that is to come, and lines between panes.
    pub rule: &'static str,
    /// A line between columns.
    pub bar: &'static str,
    /// Microseconds.
    pub microseconds: &'static str,
    /// Heights of a small chart, the lowest first; nothing is a space.
    pub heights: [&'static str; 8],
}

static UNICODE: Glyphs = Glyphs {
    is_ascii: false,
    up: "↑",
    down: "↓",
    left: "←",
    right: "→",
    enter: "⏎",
    dot: "·",
    ellipsis: "…",
    times: "×",
    play: "▶",
    pause: "‖",
    played: "━",
    rule: "─",
    bar: "│",
    microseconds: "µs",
    heights: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
};

static ASCII: Glyphs = Glyphs {
    is_ascii: true,
    up: "^",
    down: "v",
    left: "<",
    right: ">",
    enter: "Enter",
    dot: "-",
    ellipsis: "~",
    times: "x",
    play: ">",
    pause: "=",
    played: "=",
    rule: "-",
    bar: "|",
    microseconds: "us",
    heights: ["_", ".", ":", "-", "=", "+", "*", "#"],
};

impl Glyphs {
    /// Those of Unicode.
    #[must_use]
    pub fn unicode() -> &'static Self {
        &UNICODE
    }

    /// Those of ASCII.
    #[must_use]
    pub fn ascii() -> &'static Self {
        &ASCII
    }

    /// By the values of `LC_ALL`, `LC_CTYPE` and `LANG`: the first that is not empty counts (locale(7)), and without any
    /// the locale is POSIX.
    #[must_use]
    pub fn detect(lc_all: Option<&str>, lc_ctype: Option<&str>, lang: Option<&str>) -> &'static Self {
        let locale = [lc_all, lc_ctype, lang].into_iter().flatten().find(|value| !value.is_empty());
        // `de_DE.UTF-8@euro`; some write utf8.
        let codeset = locale.and_then(|locale| locale.split_once('.')).map_or("", |(_, codeset)| codeset);
        let codeset = codeset.split_once('@').map_or(codeset, |(codeset, _)| codeset);
        let is_utf8 = ["UTF-8", "UTF8"].iter().any(|name| codeset.eq_ignore_ascii_case(name));
        if is_utf8 { Self::unicode() } else { Self::ascii() }
    }

    /// A text of the view's own in these characters: keys are written out where they have no sign.
    #[must_use]
    pub fn text(&'static self, text: &'static str) -> Cow<'static, str> {
        if !self.is_ascii || text.is_ascii() {
            return text.into();
        }
        let mut written = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '⏎' => written.push_str(self.enter),
                '…' => written.push_str("..."),
                c if c.is_ascii() => written.push(c),
                c => written.push_str(&ascii(c.encode_utf8(&mut [0; 4]))),
            }
        }
        written.into()
    }

    /// A text from outside in these characters.
    #[must_use]
    pub fn shown<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.is_ascii || text.is_ascii() {
            return text.into();
        }
        let visible = text.chars().filter(|c| c.width() != Some(0));
        visible.map(|c| ascii(c.encode_utf8(&mut [0; 4])).into_owned()).collect::<String>().into()
    }
}

/// Puts what ASCII has in the place of all other characters of a screen: of a wide one a cell each, since a terminal that
/// writes over one of them leaves the other.
pub(crate) fn in_ascii(screen: &mut Buffer) {
    for at in 0..screen.content.len() {
        let written = match screen.content[at].symbol() {
            symbol if symbol.is_ascii() => continue,
            symbol => ascii(symbol).into_owned(),
        };
        for (cell, c) in screen.content[at..].iter_mut().zip(written.chars()) {
            cell.set_char(c);
        }
    }
}

/// A character as ASCII has it or something like it, in as many cells; a question mark where there is nothing like it.
#[must_use]
pub(crate) fn ascii(character: &str) -> Cow<'_, str> {
    if character.is_ascii() {
        return character.into();
    }
    let unknown = || Cow::Owned("?".repeat(character.width().max(1)));
    let mut chars = character.chars();
    let (Some(c), None) = (chars.next(), chars.next()) else { return unknown() };
    let alike = match c {
        '↑' | '▲' => "^",
        '↓' | '▼' => "v",
        '←' | '◀' | '⏎' | '↵' => "<",
        '→' | '▶' => ">",
        '·' | '•' | '▄' | '─' | '╌' | '┄' | '–' | '—' | '−' => "-",
        '…' => "~",
        '×' => "x",
        'µ' | 'μ' => "u",
        '▁' => "_",
        '▂' => ".",
        '▃' => ":",
        '▅' | '‖' | '━' | '═' => "=",
        '█' | '■' => "#",
        '║' | '│' | '┃' | '▏' | '▎' | '▍' | '▌' | '▋' | '▊' | '▉' | '▐' => "|",
        // Corners and crossings of lines.
        '▆' | '\u{250c}'..='\u{254b}' | '\u{2550}'..='\u{257f}' => "+",
        // Charts in dots: those of no dot at all, and the others.
        '\u{2800}' | '\u{a0}' => " ",
        '▇' | '\u{2801}'..='\u{28ff}' => "*",
        '‘' | '’' => "'",
        '“' | '”' => "\"",
        _ => return unknown(),
    };
    alike.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_character_set_is_that_of_the_locale() {
        let is_ascii = |lc_all, lc_ctype, lang| Glyphs::detect(lc_all, lc_ctype, lang).is_ascii;
        assert!(!is_ascii(None, None, Some("de_DE.UTF-8")));
        assert!(!is_ascii(None, Some("C.utf8"), Some("C")));
        assert!(!is_ascii(Some(""), None, Some("en_US.UTF-8@latin")));
        assert!(is_ascii(Some("C"), Some("C.UTF-8"), Some("C.UTF-8")));
        assert!(is_ascii(Some("POSIX"), None, None) && is_ascii(None, None, None));
        assert!(is_ascii(None, None, Some("de_DE.ISO-8859-1")) && is_ascii(None, None, Some("de_DE")));
    }

    #[test]
    fn what_ascii_lacks_is_replaced_in_as_many_cells() {
        for (character, replaced) in [("a", "a"), ("ü", "?"), ("日", "??"), ("e\u{301}", "?"), ("█", "#")]
        {
            assert_eq!(ascii(character), replaced);
        }
        for c in ('\u{80}'..='\u{ffff}').filter(|c| !c.is_control()) {
            let character = c.to_string();
            let replaced = ascii(&character);
            assert!(replaced.is_ascii() && replaced.len() == character.width().max(1), "{c:?}: {replaced}");
        }
        assert_eq!(Glyphs::ascii().text("⏎ copy … ↑ ↓"), "Enter copy ... ^ v");
        assert_eq!(Glyphs::unicode().text("⏎ ↑"), "⏎ ↑");
        assert_eq!(Glyphs::ascii().shown("■ ▶ ‖ ━ ─"), "# > = = -");
        assert_eq!(Glyphs::ascii().shown("mu\u{308}nchen.de 日 443"), "munchen.de ?? 443");
    }

    #[test]
    fn both_sets_have_glyphs_of_the_same_width() {
        let cells = |glyphs: &Glyphs| {
            let one = [glyphs.up, glyphs.down, glyphs.left, glyphs.right, glyphs.dot, glyphs.ellipsis];
            let more = [glyphs.times, glyphs.play, glyphs.pause, glyphs.played, glyphs.rule, glyphs.bar];
            one.iter().chain(&more).chain(&glyphs.heights).map(|glyph| glyph.width()).collect::<Vec<_>>()
        };
        assert!(cells(Glyphs::unicode()).iter().all(|width| *width == 1));
        assert_eq!(cells(Glyphs::unicode()), cells(Glyphs::ascii()));
    }
}
