// SPDX-License-Identifier: GPL-3.0-or-later
//! What follows a backslash, outside of classes and, where it means the same there, inside.

use super::node::Node;
use super::{Atom, Parser, Reference, class};
use crate::matching::pattern::{Case, PatternError};

/// What `\b` separates, for the engine that has no boundaries of ASCII words.
const BOUNDARY: &str = "(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))";
const NO_BOUNDARY: &str = "(?:(?<=[0-9A-Za-z_])(?=[0-9A-Za-z_])|(?<![0-9A-Za-z_])(?![0-9A-Za-z_]))";

impl Parser<'_> {
    /// What a backslash at a place, which was read, means.
    pub(super) fn escape(&mut self, start: usize) -> Result<Atom, PatternError> {
        let Some(c) = self.peek() else {
            return Err(self
                .fault(start, "nothing follows this backslash")
                .help("write \\\\ for a backslash that is meant"));
        };
        if let Some(set) = class::shorthand(c) {
            self.at += 1;
            return Ok(Atom::Node(class::set_node(&set)));
        }
        if c.is_ascii_digit() {
            return self.numbered(start);
        }
        if let Some(literal) = self.character(start)? {
            return Ok(Atom::Literal(literal));
        }
        self.at += c.len_utf8();
        self.letter(start, c).map(Atom::Node)
    }

    /// What a letter after a backslash at a place means, where it is more than a character; it was read.
    fn letter(&mut self, start: usize, c: char) -> Result<Node, PatternError> {
        Ok(match c {
            'N' if self.rest().starts_with('{') && self.braces()?.is_none() => {
                return Err(self.refuse(start, "names of characters are", "write \\x{HEX} for a character"));
            }
            'N' => Node::set("[^\\n]".to_owned(), 8),
            'b' | 'B' => self.boundary(start, c)?,
            'A' => Node::position("\\A"),
            'z' => Node::position("\\z"),
            'Z' => self.end_of_line(),
            'G' => {
                self.demands.backtracking = true;
                Node::position("\\G")
            }
            'K' if self.nesting.look_arounds > 0 => {
                return Err(self.refuse(start, "\\K inside of a look-around is", "write it outside"));
            }
            'K' => {
                self.demands.backtracking = true;
                Node::position("\\K")
            }
            'R' => {
                self.demands.backtracking = true;
                let text = "(?>\\r\\n|[\\n\\x0B\\x0C\\r\\x{85}\\x{2028}\\x{2029}])";
                Node { length: (1, Some(2)), ..Node::unknown(text.to_owned()) }
            }
            'p' | 'P' => Node::set(self.property(start, c)?, 500),
            'k' => {
                let name = self.delimited_name(start)?;
                self.named(start, name)?
            }
            'g' => self.group_reference(start)?,
            c => return Err(self.no_escape(start, c)),
        })
    }

    /// Why a letter after a backslash is no escape here.
    fn no_escape(&self, start: usize, c: char) -> PatternError {
        match c {
            'X' => self.refuse(
                start,
                "characters together with their marks are",
                "write \\P{M}\\p{M}*, or . for one character",
            ),
            'C' => self.refuse(start, "single bytes are", "write . for one character"),
            'L' | 'l' | 'U' | 'u' | 'F' => {
                let help = "write \\x{HEX} for a character, or (?i:…) for either case";
                self.refuse(start, "this escape of Perl and others is", help)
            }
            c => self
                .fault(start, format!("there is no escape \\{c}"))
                .help(format!("write {c} for the letter, or \\\\{c} for a backslash before it")),
        }
    }

    /// Escapes that stand for one character, in classes, too; the place is then behind them.
    pub(super) fn character(&mut self, start: usize) -> Result<Option<char>, PatternError> {
        let Some(c) = self.peek() else { return Ok(None) };
        let is_code = c == 'N' && self.rest().starts_with("N{U+");
        if c.is_ascii_alphanumeric()
            && !matches!(c, 'a' | 'e' | 'f' | 'n' | 'r' | 't' | 'c' | 'o' | 'x')
            && !is_code
        {
            return Ok(None);
        }
        self.at += c.len_utf8();
        Ok(Some(match c {
            'a' => '\u{7}',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'c' => match self.next() {
                Some(key @ ' '..='~') => char::from(key.to_ascii_uppercase() as u8 ^ 0x40),
                _ => {
                    return Err(self
                        .fault(start, "\\c needs a printable character of ASCII after it")
                        .help("write \\cX for Ctrl-X, or \\\\c for a backslash before a c"));
                }
            },
            'N' => {
                self.at += 3;
                self.coded(start, 16)?
            }
            'x' if self.eat("{") => self.coded(start, 16)?,
            'x' => {
                let digits = self.rest().bytes().take(2).take_while(u8::is_ascii_hexdigit).count();
                let code = u32::from_str_radix(&self.rest()[..digits], 16).unwrap_or(0);
                self.at += digits;
                char::from_u32(code).unwrap_or('\0')
            }
            'o' if self.eat("{") => self.coded(start, 8)?,
            'o' => {
                return Err(self
                    .fault(start, "\\o needs digits between braces after it")
                    .help("write \\o{101}, or o for the letter"));
            }
            c => c,
        }))
    }

    /// The character of a number up to a closing brace.
    fn coded(&mut self, start: usize, radix: u32) -> Result<char, PatternError> {
        let digits = self.rest().find('}').map(|end| &self.rest()[..end]);
        if let Some(digits) = digits {
            self.at += digits.len() + 1;
        }
        let code = digits.filter(|digits| !digits.starts_with(['+', '-']));
        code.and_then(|digits| u32::from_str_radix(digits, radix).ok()).and_then(char::from_u32).ok_or_else(
            || {
                let kind = if radix == 16 { "hexadecimal" } else { "octal" };
                self.fault(start, format!("this is not a valid {kind} number of a character"))
                    .help("write one like \\x{20AC} or \\o{101}")
            },
        )
    }

    /// A backslash and digits: a group, or the octal number of a character.
    fn numbered(&mut self, start: usize) -> Result<Atom, PatternError> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let text = &self.rest()[..digits];
        // What does not fit into a number is no group either.
        let group = text.parse().unwrap_or(usize::MAX);
        let is_group = !text.starts_with('0')
            && (group < 10 || text.starts_with(['8', '9']) || group <= self.groups.count);
        if !is_group {
            return Ok(Atom::Literal(self.octal()));
        }
        self.at += digits;
        Ok(Atom::Node(self.reference(start, group)?))
    }

    /// Up to three octal digits.
    pub(super) fn octal(&mut self) -> char {
        let digits = self.rest().bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        let code = u32::from_str_radix(&self.rest()[..digits], 8).unwrap_or(0);
        self.at += digits;
        char::from_u32(code).unwrap_or('\0')
    }

    fn boundary(&mut self, start: usize, c: char) -> Result<Node, PatternError> {
        if self.rest().starts_with('{') && self.braces()?.is_none() {
            self.at += self.rest().find('}').map_or(1, |end| end + 1);
            let kind = self.regex[start..self.at].to_owned();
            return Err(self.refuse(
                start,
                "this kind of boundary is",
                format!("write \\{c}, or \\{c}\\{} if the text is meant", &kind[2..]),
            ));
        }
        let text = match (self.dialect.backtracking, c) {
            (false, 'b') => "(?-u:\\b)",
            (false, _) => "(?-u:\\B)",
            (true, 'b') => BOUNDARY,
            (true, _) => NO_BOUNDARY,
        };
        Ok(Node { weight: 4, ..Node::position(text) })
    }

    /// A name between one of `<>`, `{}` and `''`.
    pub(super) fn delimited_name(&mut self, start: usize) -> Result<String, PatternError> {
        let close = match self.peek() {
            Some('<') => '>',
            Some('{') => '}',
            Some('\'') => '\'',
            _ => {
                return Err(self
                    .fault(start, "the name of a group is missing here")
                    .help("write it like \\k<NAME>"));
            }
        };
        self.at += 1;
        self.name_until(start, close)
    }

    /// A name up to a character that closes it.
    pub(super) fn name_until(&mut self, start: usize, close: char) -> Result<String, PatternError> {
        let Some(end) = self.rest().find(close) else {
            return Err(self
                .fault(start, "this name is never closed")
                .help(format!("add a \"{close}\" after it")));
        };
        let name = self.rest()[..end].to_owned();
        let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_')
            && name.chars().next().is_some_and(|c| !c.is_numeric())
            && name.chars().count() <= 32;
        if !is_name {
            return Err(self
                .fault(self.at, format!("`{name}` is not a valid name"))
                .help("a name has up to 32 letters, digits and _, and does not begin with a digit"));
        }
        self.at += end + 1;
        Ok(name)
    }

    /// The text that a group with a name matched.
    pub(super) fn named(&mut self, start: usize, name: String) -> Result<Node, PatternError> {
        let found = self.group_named(start, name);
        self.reference(start, found)
    }

    /// The number of a name; the first one where it is not known yet, which is then told.
    pub(super) fn group_named(&mut self, start: usize, name: String) -> usize {
        let here = self.groups.names.iter().chain(&self.groups.known).find(|(known, _)| *known == name);
        if let Some((_, group)) = here {
            return *group;
        }
        self.groups.unknown.push((name, start..self.at));
        0
    }

    /// The text that a group matched.
    fn reference(&mut self, start: usize, group: usize) -> Result<Node, PatternError> {
        if self.groups.open.contains(&group) {
            return Err(self.refuse(
                start,
                "a group that refers to itself is",
                "refer to it behind its closing bracket",
            ));
        }
        self.demands.backtracking = true;
        self.groups.references.push(Reference { span: start..self.at, group });
        let case = if self.flags.case == Case::Ignored { "i" } else { "" };
        let node = Node::unknown(format!("(?{case}:\\{group})"));
        let least = group.checked_sub(1).and_then(|index| self.groups.least.get(index)).copied().unwrap_or(0);
        Ok(Node { length: (least, None), ..node })
    }

    /// `\g`: by number, from here back or forward, or by name.
    fn group_reference(&mut self, start: usize) -> Result<Node, PatternError> {
        if self.rest().starts_with(['<', '\'']) {
            let close = if self.rest().starts_with('<') { '>' } else { '\'' };
            self.at += self.rest()[1..].find(close).map_or(1, |end| end + 2);
            return Err(self.recursion(start));
        }
        let is_braced = self.eat("{");
        if is_braced && self.peek().is_some_and(|c| !matches!(c, '0'..='9' | '+' | '-')) {
            let name = self.name_until(start, '}')?;
            return self.named(start, name);
        }
        let sign = self.peek().filter(|sign| matches!(sign, '+' | '-'));
        self.at += usize::from(sign.is_some());
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let number: Option<usize> = self.rest()[..digits].parse().ok().filter(|number| *number > 0);
        self.at += digits;
        let is_closed = !is_braced || self.eat("}");
        let group = match (number, sign) {
            (Some(number), None) => Some(number),
            (Some(number), Some('-')) => {
                (self.groups.count + 1).checked_sub(number).filter(|group| *group > 0)
            }
            (Some(number), Some(_)) => self.groups.count.checked_add(number),
            (None, _) => None,
        };
        match group {
            Some(group) if is_closed => self.reference(start, group),
            _ => Err(self
                .fault(start, "there is no such group")
                .help("write \\g{1} for the first group, \\g{-1} for the one before, or \\g{NAME}")),
        }
    }

    /// Recursion, and calls of groups as if they were functions.
    pub(super) fn recursion(&self, start: usize) -> PatternError {
        self.refuse(start, "recursion and calls to groups are", "write out again what the group matches")
    }
}
