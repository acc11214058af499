// SPDX-License-Identifier: GPL-3.0-or-later
//! Classes of characters, `[…]`, and what stands for some in one letter.

use std::fmt::Write;

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

use super::Parser;
use super::node::Node;
use crate::matching::pattern::{Case, PatternError};

const DIGIT: &[(char, char)] = &[('0', '9')];
const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
const SPACE: &[(char, char)] = &[('\t', '\r'), (' ', ' ')];
const HORIZONTAL: &[(char, char)] = &[
    ('\t', '\t'),
    (' ', ' '),
    ('\u{a0}', '\u{a0}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{2000}', '\u{200a}'),
    ('\u{202f}', '\u{202f}'),
    ('\u{205f}', '\u{205f}'),
    ('\u{3000}', '\u{3000}'),
];
const VERTICAL: &[(char, char)] = &[('\n', '\r'), ('\u{85}', '\u{85}'), ('\u{2028}', '\u{2029}')];

/// Classes with names, for `[[:NAME:]]`.
const POSIX: [(&str, &[(char, char)]); 14] = [
    ("alpha", &[('A', 'Z'), ('a', 'z')]),
    ("lower", &[('a', 'z')]),
    ("upper", &[('A', 'Z')]),
    ("alnum", &[('0', '9'), ('A', 'Z'), ('a', 'z')]),
    ("ascii", &[('\0', '\u{7f}')]),
    ("blank", &[('\t', '\t'), (' ', ' ')]),
    ("cntrl", &[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')]),
    ("digit", DIGIT),
    ("graph", &[('!', '~')]),
    ("print", &[(' ', '~')]),
    ("punct", &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
    ("space", SPACE),
    ("word", WORD),
    ("xdigit", &[('0', '9'), ('A', 'F'), ('a', 'f')]),
];

fn set(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|(first, last)| ClassUnicodeRange::new(*first, *last)))
}

/// What a letter after a backslash stands for; its capital stands for all others.
pub(super) fn shorthand(letter: char) -> Option<ClassUnicode> {
    let mut class = set(match letter.to_ascii_lowercase() {
        'd' => DIGIT,
        'w' => WORD,
        's' => SPACE,
        'h' => HORIZONTAL,
        'v' => VERTICAL,
        _ => return None,
    });
    if letter.is_ascii_uppercase() {
        class.negate();
    }
    Some(class)
}

/// A set as the engines read it.
pub(super) fn set_node(class: &ClassUnicode) -> Node {
    let mut text = String::from("[");
    write(class, &mut text);
    text.push(']');
    Node::set(text, weight(class))
}

fn write(class: &ClassUnicode, text: &mut String) {
    let put = |c: char, text: &mut String| {
        if c.is_ascii_alphanumeric() {
            text.push(c);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{{{:X}}}", u32::from(c));
        }
    };
    for range in class.ranges() {
        put(range.start(), text);
        if range.end() > range.start() {
            text.push('-');
            put(range.end(), text);
        }
    }
}

fn weight(class: &ClassUnicode) -> u64 {
    class.ranges().iter().map(|range| if range.end().is_ascii() { 1 } else { 8 }).sum()
}

/// A class that is being read.
#[derive(Debug)]
struct Class {
    /// Where its opening bracket stands.
    start: usize,
    /// Where its first item stands, at which a closing bracket is a character.
    first: usize,
    is_negated: bool,
    /// Between `\Q` and `\E`.
    is_quoted: bool,
    /// Characters and ranges, which stand for both cases where case does not count.
    written: ClassUnicode,
    /// What letters and names stand for: as it is.
    named: ClassUnicode,
    /// Properties, as the engines read them.
    properties: String,
}

/// What stands at a place of a class.
enum Item {
    Char(char),
    /// A hyphen by itself.
    Hyphen,
    /// Not a character: a range cannot end there.
    Set,
    End,
}

impl Parser<'_> {
    /// Reads a class whose opening bracket, at a place, was read.
    pub(super) fn class(&mut self, start: usize) -> Result<Node, PatternError> {
        self.at = start;
        self.refuse_bracket(start)?;
        self.at += 1;
        let is_negated = self.eat("^");
        let mut class = Class { is_negated, ..Class::new(start, self.at) };
        let mut before = None;
        let mut after_set = false;
        loop {
            let at = self.at;
            let item = self.class_item(&mut class)?;
            let is_after_set = std::mem::replace(&mut after_set, matches!(item, Item::Set));
            let is_last = self.rest().starts_with(']');
            match (item, before) {
                (Item::End, _) => break,
                (Item::Hyphen, _) if is_after_set && !is_last => return Err(self.hyphen(at)),
                (Item::Hyphen, Some(from)) if !is_last => {
                    let Some(to) = self.range_end(at, from, &mut class)? else {
                        class.add('-', '-');
                        break;
                    };
                    class.add(from, to);
                    before = None;
                }
                (Item::Hyphen, _) => {
                    class.add('-', '-');
                    before = Some('-');
                }
                (Item::Char(c), _) => {
                    class.add(c, c);
                    before = Some(c);
                }
                (Item::Set, _) => before = None,
            }
        }
        Ok(self.finish_class(class))
    }

    /// Refuses what begins with a bracket, at a place, and is no class.
    fn refuse_bracket(&mut self, start: usize) -> Result<(), PatternError> {
        if let Some(end) = self.posix_end() {
            self.at += end;
            let written = &self.regex[start..self.at];
            return Err(if written.starts_with("[:") {
                self.fault(start, format!("`{written}` is outside of a class"))
                    .help(format!("write [{written}]"))
            } else {
                self.collating(start)
            });
        }
        for (boundary, help) in [("[[:<:]]", "write \\b(?=\\w)"), ("[[:>:]]", "write \\b(?<=\\w)")] {
            if self.eat(boundary) {
                return Err(self.refuse(start, "this boundary is", help));
            }
        }
        Ok(())
    }

    /// The character up to which a range goes whose hyphen, at a place, was read; `None` where the class ends instead.
    fn range_end(&mut self, at: usize, from: char, class: &mut Class) -> Result<Option<char>, PatternError> {
        let to = match self.class_item(class)? {
            Item::Char(to) => to,
            Item::Hyphen => '-',
            Item::Set => return Err(self.hyphen(at)),
            Item::End => return Ok(None),
        };
        if to < from {
            return Err(self
                .fault(at, format!("this range ends before it begins: {from}-{to}"))
                .help("write the smaller character first, or \\- if the sign is meant"));
        }
        Ok(Some(to))
    }

    fn finish_class(&self, class: Class) -> Node {
        let Class { mut written, named, properties, is_negated, .. } = class;
        if self.flags.case == Case::Ignored {
            written.case_fold_simple();
        }
        written.union(&named);
        if !is_negated
            && properties.is_empty()
            && let [only] = written.ranges()
            && only.start() == only.end()
        {
            return Node::literal(&only.start().to_string(), Case::Counts);
        }
        let mut text = String::from(if is_negated { "[^" } else { "[" });
        write(&written, &mut text);
        text.push_str(&properties);
        text.push(']');
        let properties =
            if properties.is_empty() { 0 } else { 500 * properties.matches('\\').count() as u64 };
        Node::set(text, weight(&written) + properties + u64::from(is_negated) * 8)
    }

    fn class_item(&mut self, class: &mut Class) -> Result<Item, PatternError> {
        loop {
            let start = self.at;
            let is_first = start == class.first;
            let Some(c) = self.next() else {
                return Err(PatternError::at(class.start..class.start + 1, "this class is never closed")
                    .help("add a \"]\", or write \\[ if a bracket is meant"));
            };
            if class.is_quoted {
                if c == '\\' && self.eat("E") {
                    class.is_quoted = false;
                    continue;
                }
                return Ok(Item::Char(c));
            }
            return Ok(match c {
                ']' if !is_first => Item::End,
                '-' => Item::Hyphen,
                ' ' | '\t' if self.flags.extended_more => continue,
                '\\' if self.eat("Q") => {
                    class.is_quoted = true;
                    continue;
                }
                '\\' if self.eat("E") => continue,
                '\\' => self.class_escape(start, class)?,
                '[' => {
                    self.at = start;
                    if let Some(end) = self.posix_end() {
                        self.at += end;
                        self.posix(start, class)?;
                        Item::Set
                    } else {
                        self.at += 1;
                        Item::Char('[')
                    }
                }
                c => Item::Char(c),
            });
        }
    }

    fn class_escape(&mut self, start: usize, class: &mut Class) -> Result<Item, PatternError> {
        let Some(c) = self.peek() else {
            return Err(self
                .fault(start, "nothing follows this backslash")
                .help("write \\\\ for a backslash that is meant"));
        };
        if let Some(set) = shorthand(c) {
            self.at += 1;
            class.named.union(&set);
            return Ok(Item::Set);
        }
        if let Some(c) = self.character(start)? {
            return Ok(Item::Char(c));
        }
        Ok(match c {
            '0'..='7' => Item::Char(self.octal()),
            '8' | '9' => {
                self.at += 1;
                Item::Char(c)
            }
            'b' => {
                self.at += 1;
                Item::Char('\u{8}')
            }
            'p' | 'P' => {
                self.at += 1;
                let property = self.property(start, c)?;
                class.properties.push_str(&property);
                Item::Set
            }
            c => {
                self.at += c.len_utf8();
                return Err(self
                    .fault(start, format!("\\{c} means nothing in a class"))
                    .help(format!("write {c} for the letter, or \\\\{c} for a backslash and the letter")));
            }
        })
    }

    fn hyphen(&self, start: usize) -> PatternError {
        self.fault(start, "this hyphen is next to something that is not a single character")
            .help("write \\- if the sign is meant")
    }

    fn collating(&self, start: usize) -> PatternError {
        self.refuse(
            start,
            "collating elements are",
            "write the characters that are meant, or \\[ for a bracket",
        )
    }

    /// Where `[:NAME:]`, `[.x.]` or `[=x=]`, which begins here, ends: bytes from here.
    fn posix_end(&self) -> Option<usize> {
        let bytes = self.rest().as_bytes();
        let mark = *bytes.get(1).filter(|mark| matches!(mark, b':' | b'.' | b'='))?;
        let mut at = 2;
        while let Some(byte) = bytes.get(at) {
            let next = bytes.get(at + 1).copied();
            match byte {
                b'\\' if matches!(next, Some(b']' | b'\\')) => at += 1,
                b'[' if next == Some(mark) => return None,
                b']' => return None,
                byte if *byte == mark && next == Some(b']') => return Some(at + 2),
                _ => {}
            }
            at += 1;
        }
        None
    }

    fn posix(&self, start: usize, class: &mut Class) -> Result<(), PatternError> {
        let written = &self.regex[start..self.at];
        let Some(name) = written.strip_prefix("[:").and_then(|rest| rest.strip_suffix(":]")) else {
            return Err(self.collating(start));
        };
        let (name, is_negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        // Without case, upper and lower are the same letters.
        let name = if self.flags.case == Case::Ignored && matches!(name, "upper" | "lower") {
            "alpha"
        } else {
            name
        };
        let Some((_, ranges)) = POSIX.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = POSIX.iter().map(|(known, _)| *known).collect();
            return Err(self
                .fault(start, format!("there is no class {written}"))
                .help(format!("the names are {}", known.join(" "))));
        };
        let mut named = set(ranges);
        if is_negated {
            named.negate();
        }
        class.named.union(&named);
        Ok(())
    }
}

impl Class {
    fn new(start: usize, first: usize) -> Self {
        Self {
            start,
            first,
            is_negated: false,
            is_quoted: false,
            written: ClassUnicode::empty(),
            named: ClassUnicode::empty(),
            properties: String::new(),
        }
    }

    fn add(&mut self, first: char, last: char) {
        self.written.push(ClassUnicodeRange::new(first, last));
    }
}
