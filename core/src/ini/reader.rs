// SPDX-License-Identifier: GPL-3.0-or-later
//! The ini reader: sections, keys and values with their places, nothing interpreted and nothing lost.

use std::fmt;
use std::ops::Range;

/// A key with its value and where both stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Section it stands in; empty before the first header.
    pub section: String,
    /// Key, trimmed.
    pub key: String,
    /// Value, trimmed, without its comments, continuation lines joined by one space.
    pub value: String,
    /// Byte of the file's text at which the key starts.
    pub key_at: usize,
    /// Where the pieces of the value stand.
    pieces: Vec<Piece>,
    /// Its lines as they were written, without comments.
    lines: Vec<String>,
}

/// What of a value stands on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    /// Byte of the value.
    start: usize,
    /// Byte of the text.
    at: usize,
    length: usize,
}

impl Entry {
    /// Bytes of the text in which the key stands.
    #[must_use]
    pub fn key_span(&self) -> Range<usize> {
        self.key_at..self.key_at + self.key.len()
    }

    /// Bytes of the text in which a part of the value stands; the whole value's first line without one.
    #[must_use]
    pub fn value_span(&self, part: Option<Range<usize>>) -> Range<usize> {
        let part = part.unwrap_or(0..self.value.len());
        let index = self.pieces.partition_point(|piece| piece.start <= part.start).saturating_sub(1);
        let Some(piece) = self.pieces.get(index) else { return self.key_span() };
        // The space that joins two pieces stands for the end of a line.
        let within = |byte: usize| piece.at + byte.saturating_sub(piece.start).min(piece.length);
        within(part.start)..within(part.end)
    }
}

/// A place in the text, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: &'static str,
    /// What to do.
    pub help: &'static str,
}

/// A section's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Name, trimmed.
    pub name: String,
    /// Bytes of the text in which it stands.
    pub span: Range<usize>,
}

/// A file as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ini {
    /// Every entry in the order of the file.
    pub entries: Vec<Entry>,
    /// Every section's header in the order of the file.
    pub headers: Vec<Header>,
    /// Every line that could not be read.
    pub malformed: Vec<Malformed>,
}

/// Sections whose keys are regexes: there the key ends at ` = ` and not at the first `=`.
pub const REGEX_SECTIONS: [&str; 3] = ["rx-group", "rx-proc", "rx-style"];

impl Ini {
    /// Reads a file's text: any text has a result.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut reader = Reader::default();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            reader.read_line(line, at);
            at += line.len();
        }
        reader.ini
    }
}

/// What was read so far, and what the next line may belong to.
#[derive(Default)]
struct Reader {
    ini: Ini,
    section: String,
    /// Whether the line before could be continued: a comment in between does not end an entry.
    continues: bool,
}

impl Reader {
    /// Reads a line that begins at a byte of the text.
    fn read_line(&mut self, raw: &str, start: usize) {
        let line = trim(raw);
        if line.starts_with(['#', ';']) {
            return;
        }
        let may_continue = std::mem::take(&mut self.continues);
        if line.is_empty() {
            return;
        }
        let at = start + (line.as_ptr() as usize - raw.as_ptr() as usize);
        let content = strip_comment(line);
        let span = at..at + content.len();
        if may_continue
            && raw.starts_with([' ', '\t'])
            && let Some(last) = self.ini.entries.last_mut()
        {
            last.extend(content, at);
            self.continues = true;
        } else if let Some(name) = header(line) {
            name.clone_into(&mut self.section);
            self.ini.headers.push(Header { name: name.to_owned(), span });
        } else if let Some(entry) = self.entry(content, at) {
            self.ini.entries.push(entry);
            self.continues = true;
        } else {
            self.ini.malformed.push(Malformed {
                span,
                message: "this is neither a [section] nor `key = value`, the line is skipped",
                help: "write `key = value`, or put a # before a comment",
            });
        }
    }

    /// The entry on a line without its comment, which begins at a byte of the text.
    fn entry(&self, content: &str, at: usize) -> Option<Entry> {
        let has_regexes = REGEX_SECTIONS.contains(&self.section.as_str());
        let (key, value) = if has_regexes { split_rule(content) } else { split_setting(content) }?;
        let (key, value) = (trim(key), trim(value));
        // Both are slices of the line.
        let offset = |part: &str| at + (part.as_ptr() as usize - content.as_ptr() as usize);
        (!key.is_empty()).then(|| Entry {
            section: self.section.clone(),
            key: key.to_owned(),
            value: value.to_owned(),
            key_at: offset(key),
            pieces: vec![Piece { start: 0, at: offset(value), length: value.len() }],
            lines: vec![content.to_owned()],
        })
    }
}

/// Writes every entry as it was written, in the order of the file, without comments and blank lines.
impl fmt::Display for Ini {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for entry in &self.entries {
            if entry.section != section {
                section = &entry.section;
                writeln!(f, "[{section}]")?;
            }
            writeln!(f, "{}", entry.lines.join("\n  "))?;
        }
        Ok(())
    }
}

impl Entry {
    fn extend(&mut self, more: &str, at: usize) {
        if more.is_empty() {
            return;
        }
        if !self.value.is_empty() {
            self.value.push(' ');
        }
        self.pieces.push(Piece { start: self.value.len(), at, length: more.len() });
        self.value.push_str(more);
        self.lines.push(more.to_owned());
    }
}

/// The name in `[name]`; a regex may start and end with brackets, too.
pub(crate) fn header(line: &str) -> Option<&str> {
    let name = strip_comment(line).strip_prefix('[')?.strip_suffix(']')?;
    (!name.contains(['[', ']', '='])).then(|| trim(name))
}

/// Cuts an inline comment: a `#` with a space before it and a space or the end after it.
fn strip_comment(line: &str) -> &str {
    let cut = line.match_indices('#').find(|&(at, _)| {
        line[..at].ends_with(is_space) && line[at + 1..].chars().next().is_none_or(is_space)
    });
    cut.map_or(line, |(at, _)| trim(&line[..at]))
}

/// Space of any kind, and the byte order marks that some editors leave.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// A setting's key and value as they stand on its line.
fn split_setting(line: &str) -> Option<(&str, &str)> {
    line.split_once('=')
}

/// A rule's: the key ends at the first ` = ` (or ` =` at the end), so that a regex may contain `=`.
pub(crate) fn split_rule(line: &str) -> Option<(&str, &str)> {
    let at_end = || Some((line.strip_suffix(" =")?, &line[line.len()..]));
    line.split_once(" = ").or_else(at_end).or_else(|| split_setting(line))
}

/// Without spaces at both ends.
fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(text: &str) -> Vec<(String, String, String)> {
        Ini::parse(text).entries.into_iter().map(|e| (e.section, e.key, e.value)).collect()
    }

    fn entry(section: &str, key: &str, value: &str) -> (String, String, String) {
        (section.into(), key.into(), value.into())
    }

    const COMMENTED: &str = "\u{feff}# top\n[text] # the text\n font-height = 15 # px\r\n\
                             line-fade-curve = 0,1\n\t; not this\n  2,3 # end\n\nlost line\n[run]\nfifo=/a#b";

    #[test]
    fn comments_continuations_and_sections() {
        let ini = Ini::parse(COMMENTED);
        assert_eq!(
            entries(COMMENTED),
            [
                entry("text", "font-height", "15"),
                entry("text", "line-fade-curve", "0,1 2,3"),
                entry("run", "fifo", "/a#b"),
            ]
        );
        assert_eq!(ini.malformed.len(), 1);
        assert_eq!(&COMMENTED[ini.malformed[0].span.clone()], "lost line");
        assert_eq!(&COMMENTED[ini.headers[0].span.clone()], "[text]");
    }

    #[test]
    fn every_place_is_known() {
        let ini = Ini::parse(COMMENTED);
        let curve = &ini.entries[1];
        assert_eq!(&COMMENTED[curve.key_span()], "line-fade-curve");
        assert_eq!(&COMMENTED[curve.value_span(Some(0..3))], "0,1");
        assert_eq!(&COMMENTED[curve.value_span(Some(4..7))], "2,3");
        assert_eq!(&COMMENTED[curve.value_span(Some(6..7))], "3");
        assert_eq!(&COMMENTED[curve.value_span(None)], "0,1", "its first line");
        assert_eq!(&COMMENTED[ini.entries[2].value_span(None)], "/a#b");
    }

    #[test]
    fn a_regex_may_contain_equals_signs_and_brackets() {
        let text = "[rx-proc]\n(?=a)b = c=d\n(?=a)b =\n[a]x = y\n[a]=[b]\nplain=z\n";
        assert_eq!(
            entries(text),
            [
                entry("rx-proc", "(?=a)b", "c=d"),
                entry("rx-proc", "(?=a)b", ""),
                entry("rx-proc", "[a]x", "y"),
                entry("rx-proc", "[a]", "[b]"),
                entry("rx-proc", "plain", "z"),
            ]
        );
    }

    #[test]
    fn nul_bytes_crlf_and_a_missing_last_newline_are_ordinary() {
        assert_eq!(entries("[run]\r\nfifo = /a\0b\r\n"), [entry("run", "fifo", "/a\0b")]);
        assert_eq!(entries("[run]\nfifo = /a"), [entry("run", "fifo", "/a")]);
    }

    fn file() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            "\\[rx-proc\\]|\\[rx-group\\]|\\[text\\]|\\[run\\]|\\[[a-z =]{0,4}\\]",
            "[ \t]{0,2}[a-z/&!$`\\\\(=\\[\\]#;]{0,6} ?= ?[a-z/&!$`\\\\#=\\[\\] ]{0,8}",
            "[ \t#;=\\[\\]\u{feff}\u{a0}\ra-b]{0,8}",
            ".{0,12}",
        ];
        proptest::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn printing_keeps_every_entry_and_its_order(text in file()) {
            let read = entries(&text);
            prop_assert_eq!(entries(&Ini::parse(&text).to_string()), read);
        }

        #[test]
        fn every_span_is_in_the_text(text in file()) {
            let ini = Ini::parse(&text);
            for entry in &ini.entries {
                prop_assert_eq!(&text[entry.key_span()], &entry.key);
                prop_assert!(text.get(entry.value_span(None)).is_some());
                for (at, c) in entry.value.char_indices() {
                    let there = &text[entry.value_span(Some(at..at + c.len_utf8()))];
                    // The space that joins two lines stands for the line's end.
                    prop_assert!(there == c.to_string() || c == ' ', "{:?} {:?}", there, c);
                }
            }
        }
    }
}
