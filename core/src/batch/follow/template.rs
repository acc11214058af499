// SPDX-License-Identifier: GPL-3.0-or-later
//! A line for each event, with the fields that somebody asked for.

use std::hash::{DefaultHasher, Hash, Hasher};

use hashlink::LinkedHashMap;

use super::REMEMBERED;
use super::connection::{Connection, Key};
use crate::text::round_trip;
use crate::wire::event::Direction;

/// What may stand in a template, with what it is.
pub const FIELDS: [(&str, &str); 16] = [
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
    pub(super) fn apply(self, text: &str, into: &mut String) {
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
    pub(super) fn line() -> Self {
        Self { parts: vec![Part::Field("line")] }
    }

    /// Reads one. `{{` and `}}` are braces.
    pub fn parse(text: &str) -> Result<Self, String> {
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
            let place = text[..text.len() - rest.len()].chars().count() + 1;
            let name = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
            let Some((name, after)) = name else {
                return Err(format!(
                    "character {place}: this brace has no other; write {{{{ or }}}} for itself"
                ));
            };
            let Some((field, _)) = FIELDS.iter().find(|(known, _)| *known == name) else {
                return Err(format!(
                    "character {place}: there is no field {{{name}}}; fields are {}",
                    names()
                ));
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(field));
            rest = after;
        }
        literal.push_str(rest);
        if parts.is_empty() {
            return Err(format!("expected waybar, plain, or a text with one of {}", names()));
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// What it says of a connection. Where a field is empty, one space beside it goes.
    fn expand(&self, connection: &Connection<'_>, escape: Escape) -> String {
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
                    let value = value(connection, name);
                    is_after_nothing = value.is_empty();
                    escape.apply(&value, &mut text);
                }
            }
        }
        text.truncate(text.trim_end().len());
        text
    }
}

fn names() -> String {
    FIELDS.map(|(name, _)| format!("{{{name}}}")).join(" ")
}

fn value(connection: &Connection<'_>, field: &str) -> String {
    let details = &connection.details;
    match field {
        "time" => connection.time.clone(),
        "user" => details.user.clone(),
        "proc" => details.process.clone(),
        "unit" => details.units.first().cloned().unwrap_or_default(),
        "peer" => connection.peer().to_owned(),
        "port" => details.port.map(|port| port.to_string()).unwrap_or_default(),
        "dir" => match details.direction {
            Direction::In => "in",
            Direction::Out => "out",
            Direction::Listen => "listen",
        }
        .to_owned(),
        "state" => details.state(connection.state).to_owned(),
        "new" => if details.is_first_ever { "new" } else { "" }.to_owned(),
        "host" => details.host.clone(),
        "rx" => connection.rx.clone(),
        "tx" => connection.tx.clone(),
        "iface" => details.iface.clone(),
        "rtt" => details.numbers.rtt_us.map(|us| round_trip(us).to_string()).unwrap_or_default(),
        "country" => details.country.clone(),
        _ => connection.shown.to_string(),
    }
}

/// Prints what differs from what was known before of the same connection.
pub(super) struct Lines<'t> {
    template: &'t Template,
    escape: Escape,
    /// A hash of what was known last, by connection.
    printed: LinkedHashMap<Key, u64>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(template: &'t Template, escape: Escape) -> Self {
        Self { template, escape, printed: LinkedHashMap::new() }
    }

    pub(super) fn take(&mut self, connection: &Connection<'_>, is_known: bool, into: &mut String) {
        let text = self.template.expand(connection, self.escape);
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        let before = self.printed.insert(connection.key.clone(), hash);
        if self.printed.len() > REMEMBERED {
            self.printed.pop_front();
        }
        if is_known || before == Some(hash) {
            return;
        }
        into.push_str(&text);
        into.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Origin;
    use crate::text::Units;

    fn line(template: &str, escape: Escape, event: &serde_json::Value) -> String {
        let wire = event.to_string();
        let shown = event["line"].as_str().unwrap_or_default().into();
        let connection =
            Connection::read(Origin::default(), wire.as_bytes(), shown, false, true, Units::Bytes).unwrap();
        Template::parse(template).unwrap().expand(&connection, escape)
    }

    #[test]
    fn fields_stand_for_what_events_tell() {
        let event = serde_json::json!({"ns": 1, "ns_trx": 2, "host": "nas",
            "line": "18:32 :: me :: a&b [unit] :: <- www.test 443 !refused :: v 1.5M / 58B ^"});
        for (template, text) in [
            ("{time} {user} {proc} {peer} {rx}", "18:32 me a&b www.test 1.5M"),
            ("{unit}:{port} {dir} {state} {host} {tx}", "unit:443 in refused nas 58B"),
            ("{new} {proc} {new} {{x}}", "a&b {x}"),
            ("[{line}]", "[18:32 :: me :: a&b [unit] :: <- www.test 443 !refused :: v 1.5M / 58B ^]"),
        ] {
            assert_eq!(line(template, Escape::None, &event), text, "{template}");
        }
        let measured = serde_json::json!({"ns": 1, "ns_trx": 2, "line": "18:32 :: me :: nc :: nas 22 :: ",
            "iface": "wg0", "rtt_us": 20_400, "country": "DE", "rx": 3000, "tx": 0});
        assert_eq!(line("{iface} {rtt} {country} {rx} {tx}", Escape::None, &measured), "wg0 20ms DE 2.9K 0B");
        assert_eq!(line("<b>{proc}</b>", Escape::Pango, &event), "<b>a&amp;b</b>");
        let event = serde_json::json!({"ns": 1, "ns_trx": 2, "line": "x :: y :: %{A1:rm:} :: z 1 :: "});
        assert_eq!(
            line(
                "%{proc}",
                Escape::Polybar,
                &serde_json::json!({"ns": 1, "ns_trx": 2,
            "line": "x :: y :: {A1:rm:} :: z 1 :: "})
            ),
            "% {A1:rm:}"
        );
        assert_eq!(line("%{{F-}}{proc}", Escape::Polybar, &event), "%{F-}% {A1:rm:}");
    }

    #[test]
    fn what_is_no_field_is_refused_with_the_list() {
        for (template, words) in [
            ("a {tim}", "character 3: there is no field {tim}; fields are {time} {user}"),
            ("{time", "character 1: this brace"),
            ("a}", "character 2: this brace"),
            ("wayber", "expected waybar, plain, or a text with one of {time}"),
            ("{{time}}", "expected waybar"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(words), "{template}: {error}");
        }
    }
}
