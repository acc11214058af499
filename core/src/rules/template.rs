// SPDX-License-Identifier: GPL-3.0-or-later
//! Replacement templates: `$1`…`$9` (one digit), `$0`, `${12}`, `${name}`, `$name`, `\1`, `$$`. A backslash before what
//! would be reported otherwise (`\\1`, `\\n`) makes it text.

use std::ops::Range;

use crate::matching::{Captures, Pattern};

/// A compiled replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(super) parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Group(usize),
}

/// What looks like a reference and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// Bytes of the template.
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: String,
    /// The group that is referred to and that the regex does not have.
    pub(crate) group: Option<usize>,
}

impl Template {
    /// Any text is a template: what is no reference stands for itself, and what looks like one is told. References
    /// are to groups of a regex, of which there is none where a chain only negates.
    pub(crate) fn parse(text: &str, target: Option<&Pattern>) -> (Self, Vec<Doubt>) {
        let mut reader =
            Reader { text, at: 0, target, parts: Vec::new(), literal: String::new(), doubts: Vec::new() };
        while let Some(length) = reader.rest().find(['$', '\\']) {
            reader.literal.push_str(&reader.rest()[..length]);
            reader.at += length;
            if reader.rest().starts_with('$') {
                reader.dollar();
            } else {
                reader.backslash();
            }
        }
        reader.literal.push_str(reader.rest());
        reader.flush();
        (Self { parts: reader.parts }, reader.doubts)
    }

    /// Whether nothing can come of it, though something is written: it refers to no group that there is.
    pub(crate) fn is_always_empty(&self, target: Option<&Pattern>) -> bool {
        let is_missing = |group: &usize| target.is_none_or(|pattern| *group > pattern.groups);
        !self.parts.is_empty()
            && self.parts.iter().all(|part| matches!(part, Part::Group(group) if is_missing(group)))
    }

    /// Whether each match stays as it is.
    pub(crate) fn is_the_match(&self) -> bool {
        self.parts == [Part::Group(0)]
    }

    /// Whether it is this text.
    pub(crate) fn is_text(&self, text: &str) -> bool {
        matches!(self.parts.as_slice(), [Part::Text(own)] if own == text)
    }

    /// Appends the expansion for a match; a group that is not set is empty.
    pub(crate) fn expand(&self, captures: &Captures<'_>, into: &mut String) {
        for part in &self.parts {
            into.push_str(match part {
                Part::Text(text) => text,
                Part::Group(index) => captures.get(*index),
            });
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    target: Option<&'t Pattern>,
    parts: Vec<Part>,
    literal: String,
    doubts: Vec<Doubt>,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn flush(&mut self) {
        if !self.literal.is_empty() {
            self.parts.push(Part::Text(std::mem::take(&mut self.literal)));
        }
    }

    /// Takes so many bytes as they stand.
    fn keep(&mut self, length: usize) {
        self.literal.push_str(&self.rest()[..length]);
        self.at += length;
    }

    /// Takes so many bytes, which refer to a group.
    fn group(&mut self, length: usize, group: usize) {
        let groups = self.target.map_or(0, |pattern| pattern.groups);
        if self.target.is_none() {
            let help = "they match no text that could be inserted: write a text".to_owned();
            self.doubt(length, "only negated regexes have no groups, so nothing is inserted".into(), help);
        } else if group > groups {
            let help = match groups {
                0 => "its regex has no groups: write $0 for the whole match, $$ for a $".to_owned(),
                _ => format!("its regex has {groups}: write a number up to that, or $$ for a $"),
            };
            self.doubt(length, format!("there is no group number {group}, so nothing is inserted"), help);
            if let Some(doubt) = self.doubts.last_mut() {
                doubt.group = Some(group);
            }
        }
        self.flush();
        self.parts.push(Part::Group(group));
        self.at += length;
    }

    fn doubt(&mut self, length: usize, message: String, help: String) {
        self.doubts.push(Doubt { span: self.at..self.at + length, message, help, group: None });
    }

    fn named(&self, name: &str) -> Option<usize> {
        let names = &self.target?.names;
        names.iter().find(|(known, _)| known == name).map(|(_, group)| *group)
    }

    /// What may be written instead.
    fn names_help(&self, literal: &str) -> String {
        let names: Vec<_> = self.target.iter().flat_map(|pattern| &pattern.names).collect();
        match names.as_slice() {
            [] => format!("its regex names no groups: write {literal} if the text is meant"),
            names => {
                let names: Vec<String> = names.iter().map(|(name, _)| format!("${{{name}}}")).collect();
                format!("write {}, or {literal} if the text is meant", names.join(" or "))
            }
        }
    }

    /// Reads from a `$` on.
    fn dollar(&mut self) {
        let after = &self.rest()[1..];
        let first = after.chars().next();
        if let Some(digit) = first.and_then(|c| c.to_digit(10)) {
            return self.group(2, digit as usize);
        }
        match first {
            Some('$') => {
                self.literal.push('$');
                self.at += 2;
            }
            Some('{') => self.braced(),
            Some('&') => {
                self.doubt(
                    2,
                    "`$&` is taken literally here".into(),
                    "write $0 for the whole match, $$& for the text".into(),
                );
                self.keep(2);
            }
            Some('+' | '<') if after[1..].starts_with(|c: char| c == '{' || c.is_alphabetic()) => {
                let help = "write ${NAME} for a named group, or $$ for a $".to_owned();
                self.doubt(2, "this is not a reference".into(), help);
                self.keep(2);
            }
            Some(c) if c.is_alphabetic() || c == '_' => {
                let length = name_length(after);
                let name = &after[..length];
                if let Some(group) = self.named(name) {
                    self.group(length + 1, group);
                } else {
                    let help = self.names_help(&format!("$${name}"));
                    self.doubt(
                        length + 1,
                        format!("there is no group named {name}, so `${name}` stays"),
                        help,
                    );
                    self.keep(length + 1);
                }
            }
            _ => self.keep(1),
        }
    }

    /// Reads from `${` on.
    fn braced(&mut self) {
        let inner = &self.rest()[2..];
        let length = name_length(inner);
        let name = &inner[..length];
        if length == 0 || !inner[length..].starts_with('}') {
            if let Some(end) = inner.find('}') {
                let written = &self.rest()[..end + 3];
                self.doubt(
                    end + 3,
                    format!("`{written}` is taken literally here"),
                    "write ${NAME} or ${12} for a group, or $$ for a $".into(),
                );
            }
            return self.keep(2);
        }
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            // What does not fit into a number is no group either.
            return self.group(length + 3, name.parse().unwrap_or(usize::MAX));
        }
        if let Some(group) = self.named(name) {
            return self.group(length + 3, group);
        }
        let help = self.names_help(&format!("$${{{name}}}"));
        self.doubt(length + 3, format!("there is no group named {name}, so nothing is inserted"), help);
        self.at += length + 3;
    }

    /// Reads from a backslash on: `\1` is `$1`, and `\\1` is that text.
    fn backslash(&mut self) {
        let after = &self.rest()[1..];
        if let Some(digit) = after.chars().next().and_then(|c| c.to_digit(10)) {
            return self.group(2, digit as usize);
        }
        if let Some(escaped) = after.strip_prefix('\\') {
            let is_digit = escaped.starts_with(|c: char| c.is_ascii_digit());
            // The first backslash makes the second one text, with the letter after it; a reference stays one.
            if is_digit || foreign_escape(escaped).is_some() {
                self.at += 1;
                return self.keep(if escaped.starts_with('$') { 1 } else { 2 });
            }
        } else if let Some((length, help)) = foreign_escape(after) {
            let length = length + 1;
            self.doubt(length, format!("`{}` is taken literally here", &self.rest()[..length]), help);
        }
        self.keep(1);
    }
}

/// What, after a backslash, other tools take for more than text: its bytes, and what to write instead.
fn foreign_escape(after: &str) -> Option<(usize, String)> {
    let letter = after.chars().next()?;
    let rest = &after[letter.len_utf8()..];
    let literal = format!("\\\\{letter} if the text is meant");
    Some(match letter {
        'g' | 'k' if rest.starts_with(['<', '{']) => {
            (2, format!("write ${{NAME}} or $1 for a group, or {literal}"))
        }
        'U' | 'L' | 'E' | 'Q' => (1, format!("letters keep their case: leave it out, or write {literal}")),
        // As in DOMAIN\user, more often than not.
        'u' | 'l' if rest.starts_with(['$', '\\']) => {
            (1, format!("letters keep their case: leave it out, or write {literal}"))
        }
        'n' | 'r' | 't' => (1, format!("a line has no control characters: write a space, or {literal}")),
        'x' if rest.starts_with(|c: char| c == '{' || c.is_ascii_hexdigit()) => {
            (1, format!("write the character itself, or {literal}"))
        }
        '$' if rest.starts_with(|c: char| c == '{' || c == '_' || c.is_alphanumeric()) => {
            (1, "write $$ for a $, or \\\\$ for a backslash before a group".to_owned())
        }
        '&' => (1, "a & is text by itself: leave the backslash out, or write \\\\&".to_owned()),
        _ => return None,
    })
}

/// The value of a rule that stands for this text: nothing in it refers to a group.
#[must_use]
pub fn as_text(text: &str) -> String {
    let text = text.replace('$', "$$");
    let mut value = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let after = &text[at + c.len_utf8()..];
        if c == '\\' && (after.starts_with(|c: char| c.is_ascii_digit()) || foreign_escape(after).is_some()) {
            value.push(c);
        }
        value.push(c);
    }
    value
}

/// Bytes of a name at the begin of a text.
fn name_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::matching::Case;

    /// What a replacement makes of the first match in `abcab`.
    fn expand(template: &str) -> (String, Vec<(String, String)>) {
        let pattern = Pattern::parse(r"(a)(?<name>b)(?<n2>c)(x)?", Case::Ignored).unwrap();
        let (parsed, doubts) = Template::parse(template, Some(&pattern));
        let mut text = String::new();
        parsed.expand(&pattern.first("abcab").unwrap().unwrap(), &mut text);
        let told = |doubt: Doubt| (template[doubt.span].to_owned(), doubt.message + ": " + &doubt.help);
        (text, doubts.into_iter().map(told).collect())
    }

    #[test]
    fn references_are_taken_in_every_usual_form() {
        for (template, text) in [
            ("$1-$2", "a-b"),
            ("$12", "a2"),
            ("${1}2", "a2"),
            ("$0!", "abc!"),
            ("[$4]", "[]"),
            ("${name}s $names", "bs $names"),
            ("$name/$n2.", "b/c."),
            (r"\1 \3 \0", "a c abc"),
            (r"\\1", r"\1"),
            (r"C:\dir\\x", r"C:\dir\\x"),
            (r"C:\\new\\\table \\U", r"C:\new\\table \U"),
            (r"DOMAIN\\$1 \\$2 DOMAIN\user \\u$1", r"DOMAIN\a \b DOMAIN\user \ua"),
            (r"\\g<name> \\x41", r"\g<name> \x41"),
            (r"\ żó \ż \d", r"\ żó \ż \d"),
            ("5$ $$1 $-", "5$ $1 $-"),
            ("100%", "100%"),
            (r"a\", r"a\"),
        ] {
            assert_eq!(expand(template).0, text, "{template}");
        }
        assert_eq!(expand(r"$1 ${1} ${name} $name \1 \\9 $$x $$ $ $- C:\dir \\n \\$1 \\U \$$x \x").1, []);
    }

    proptest! {
        #[test]
        fn what_is_made_text_stands_for_itself(text in r"[\\$1U&xgn{<a]{0,12}|.{0,12}") {
            prop_assert_eq!(expand(&as_text(&text)), (text, vec![]));
        }
    }

    #[test]
    fn what_refers_to_nothing_is_told() {
        for (template, meant, words) in [
            ("x $5", "$5", "no group number 5, so nothing is inserted: its regex has 4"),
            (r"x \5", r"\5", "no group number 5"),
            ("x ${12}", "${12}", "no group number 12"),
            ("x ${99999999999999999999}", "${99999999999999999999}", "no group number"),
            ("${nobody}", "${nobody}", "so nothing is inserted: write ${name} or ${n2}, or $${nobody} if"),
            ("$USD", "$USD", "so `$USD` stays: write ${name} or ${n2}, or $$USD if"),
            ("$&", "$&", "write $0"),
            ("$+{name}", "$+", "write ${NAME}"),
            ("$<name>", "$<", "write ${NAME}"),
            (
                r"\U$1",
                r"\U",
                r"is taken literally here: letters keep their case: leave it out, or write \\U if",
            ),
            (r"\L$1", r"\L", r"write \\L if the text is meant"),
            (r"$1\E", r"\E", r"write \\E"),
            (r"\u$1", r"\u", r"write \\u"),
            (r"a\nb", r"\n", r"a line has no control characters: write a space, or \\n if the text is meant"),
            (r"a\tb", r"\t", r"\\t if the text"),
            (r"\x41", r"\x", "write the character itself"),
            (r"\x{41}", r"\x", "write the character itself"),
            (r"\$1", r"\$", r"write $$ for a $, or \\$"),
            (r"\&", r"\&", "leave the backslash out"),
            (r"\g<name>", r"\g<", "write ${NAME}"),
            (r"\k{name}", r"\k{", "write ${NAME}"),
            ("${name:-x}", "${name:-x}", "is taken literally"),
            ("${}", "${}", "is taken literally"),
        ] {
            let told = expand(template).1;
            assert!(
                told.len() == 1 && told[0].0 == meant && told[0].1.contains(words),
                "{template}: {told:?}"
            );
        }
    }
}
