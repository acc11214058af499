// SPDX-License-Identifier: GPL-3.0-or-later
//! A text with fields, which stand for what is known of a connection.

use std::ops::Range;

/// What may stand in a template, with what it is.
pub const FIELDS: [(&str, &str); 17] = [
    ("time", "when it began, as lines have it"),
    ("user", "name or number of the user"),
    ("proc", "process or script"),
    ("unit", "unit, container or cgroup"),
    ("peer", "name or address of the other end"),
    ("port", "port of the service"),
    ("dir", "in, out or listen"),
    ("state", "open, closed, refused, …: where it is told"),
    ("new", "new where it was never seen before"),
    ("host", "machine"),
    ("rx", "bytes received: 1.5M"),
    ("tx", "bytes sent"),
    ("iface", "interface by which it leaves"),
    ("rtt", "round trip of TCP: 20ms"),
    ("country", "where the other end is said to be"),
    ("line", "the line, as rules make it"),
    ("sentence", "what happens, in words"),
];

/// A text with fields in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// By its place among [`FIELDS`].
    Field(&'static str),
}

/// What in a template is no field, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Bytes of the template.
    pub span: Range<usize>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl TemplateError {
    /// The same with its place in the text.
    #[must_use]
    pub fn placed(&self, text: &str) -> String {
        let place = text[..self.span.start].chars().count() + 1;
        format!("character {place}: {}", self.message)
    }
}

/// What means something to those who read, and may therefore not come from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Escape {
    /// Nothing.
    #[default]
    None,
    /// Markup of Pango: `<`, `&`.
    Pango,
    /// Tags of polybar, some of which run commands: `%{`.
    Polybar,
}

impl Escape {
    /// Every name.
    pub const NAMES: &[&str] = &["none", "pango", "polybar"];

    /// By its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "pango" => Some(Self::Pango),
            "polybar" => Some(Self::Polybar),
            _ => None,
        }
    }

    /// The text, so that it means itself.
    pub fn apply(self, text: &str, into: &mut String) {
        for c in text.chars() {
            match (self, c) {
                (Self::Pango, '&') => into.push_str("&amp;"),
                (Self::Pango, '<') => into.push_str("&lt;"),
                (Self::Pango, '>') => into.push_str("&gt;"),
                (Self::Pango, '"') => into.push_str("&quot;"),
                (Self::Pango, '\'') => into.push_str("&#39;"),
                // Polybar knows no escape: a space keeps the two apart.
                (Self::Polybar, '{') if into.ends_with('%') => into.push_str(" {"),
                (_, c) => into.push(c),
            }
        }
        if self == Self::Polybar && text.ends_with('%') {
            into.push(' ');
        }
    }
}

impl Template {
    /// The line as rules make it, and nothing else.
    pub(crate) fn line() -> Self {
        Self { parts: vec![Part::Field("line")] }
    }

    /// Whether it says something of a connection.
    pub(crate) fn has_fields(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field(_)))
    }

    /// Reads one. `{{` and `}}` are braces.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
                literal.push_str(&rest[..1]);
                rest = after;
                continue;
            }
            let at = text.len() - rest.len();
            let fault = |length, message| TemplateError { span: at..at + length, message };
            let name = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
            let Some((name, after)) = name else {
                return Err(fault(1, "this brace has no other; write {{ or }} for itself".into()));
            };
            let Some((field, _)) = FIELDS.iter().find(|(known, _)| *known == name) else {
                let message = format!("there is no field {{{name}}}; fields are {}", field_names());
                return Err(fault(name.len() + 2, message));
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(field));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// What it says of a connection with these values of fields. Where one is empty, one space beside it goes.
    pub(crate) fn expand(&self, value: impl Fn(&str) -> String, escape: Escape) -> String {
        let mut text = String::new();
        let mut is_after_nothing = false;
        for part in &self.parts {
            match part {
                Part::Text(literal) => {
                    let is_doubled = is_after_nothing && (text.is_empty() || text.ends_with(' '));
                    text.push_str(literal.strip_prefix(' ').filter(|_| is_doubled).unwrap_or(literal));
                    is_after_nothing = false;
                }
                Part::Field(name) => {
                    let value = value(name);
                    is_after_nothing = value.is_empty();
                    escape.apply(&value, &mut text);
                }
            }
        }
        text
    }
}

/// All fields, as they stand in a template.
pub(crate) fn field_names() -> String {
    FIELDS.map(|(name, _)| format!("{{{name}}}")).join(" ")
}
