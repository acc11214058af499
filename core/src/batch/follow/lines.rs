// SPDX-License-Identifier: GPL-3.0-or-later
//! A line for each event, with the fields that somebody asked for.

use std::hash::{DefaultHasher, Hash, Hasher};

use hashlink::LinkedHashMap;

use super::REMEMBERED;
use super::connection::{Connection, Key};
use super::words::sentence;
use crate::text::{Escape, Template, round_trip};
use crate::wire::event::Direction;

/// What a field stands for.
pub(in crate::batch) fn value(connection: &Connection<'_>, field: &str) -> String {
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
        "sentence" => sentence(connection, connection.end(), true),
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
        let text = self.template.expand(|field| value(connection, field), self.escape);
        let text = text.trim_end();
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
        into.push_str(text);
        into.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::super::FollowFormat;
    use super::*;
    use crate::source::Origin;
    use crate::text::Units;

    fn line(template: &str, escape: Escape, event: &serde_json::Value) -> String {
        let wire = event.to_string();
        let shown = event["line"].as_str().unwrap_or_default().into();
        let connection =
            Connection::read(Origin::default(), wire.as_bytes(), shown, false, true, Units::Bytes).unwrap();
        Template::parse(template).unwrap().expand(|field| value(&connection, field), escape)
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
            let error = FollowFormat::parse(template).unwrap_err();
            assert!(error.contains(words), "{template}: {error}");
        }
    }
}
