// SPDX-License-Identifier: GPL-3.0-or-later
//! Everything that is known of a line, as fields that can be gone through and copied.

use std::path::Path;
use std::time::Duration;

use leco_core::model::known_line::KnownLine;
use leco_core::model::overseer::Overseer;
use leco_core::text::relative_time;
use leco_core::wire::details::ConnectionDetails;
use leco_core::wire::event::ConnectionState;
use leco_os::clean::clean;
use leco_os::clock::BootNs;

/// One field: how it is called, and what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// For a person.
    pub name: String,
    /// As it is copied.
    pub value: String,
}

impl Field {
    fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// Fields of an event in the order in which a person asks for them, and what they are called.
const EVENT_FIELDS: [(&str, &str); 36] = [
    ("host", "machine"),
    ("user", "user"),
    ("uid", "user id"),
    ("pid", "process id"),
    ("comm", "process"),
    ("comm_now", "process now"),
    ("script", "script"),
    ("parents", "started by"),
    ("exe", "program"),
    ("cmdline", "command line"),
    ("unit", "unit"),
    ("container", "container"),
    ("cg", "cgroup"),
    ("proto", "protocol"),
    ("dir", "direction"),
    ("laddr", "from"),
    ("lport", "from port"),
    ("raddr", "to"),
    ("rport", "to port"),
    ("name", "name"),
    ("name_src", "name from"),
    ("target_port", "port behind it"),
    ("alpn", "protocol offered"),
    ("asn", "system"),
    ("as_org", "operator"),
    ("country", "country"),
    ("service", "service"),
    ("state", "state"),
    ("rx", "received"),
    ("tx", "sent"),
    ("iface", "interface"),
    ("rtt_us", "round trip"),
    ("retrans", "sent again"),
    ("cwnd", "window"),
    ("tcp_state", "state of TCP"),
    ("key", "key"),
];

/// Everything about a line but its traffic over time, and then each rule that matches it with its place in the config.
pub fn fields(line: &KnownLine<'_>, overseer: &Overseer, config: Option<&Path>, now: BootNs) -> Vec<Field> {
    let details = line.details();
    let mut fields = Vec::new();
    if *line.received() != *line.text() {
        fields.push(Field::new("as received", line.received()));
    }
    if line.connections() > 1 {
        fields.push(Field::new(
            "connections",
            format!("{}, shown as one; below is the latest", line.connections()),
        ));
    }
    fields.push(Field::new("first seen", ago(line.first_age(now))));
    fields.push(Field::new("last seen", ago(line.age(now))));
    let (total, rate) = (line.total(), line.rate(now));
    let units = overseer.settings().text.units;
    for (name, total, rate) in [("traffic in", total.rx, rate.rx), ("traffic out", total.tx, rate.tx)] {
        let rate = if line.is_closed() { String::new() } else { format!(" ({}/s)", units.amount(rate)) };
        fields.push(Field::new(name, format!("{}{rate}", units.amount(total))));
    }
    if details.fields.is_empty() {
        fields.extend(fields_of_line(&details, line.state()));
    } else {
        fields.extend(fields_of_event(details.fields));
    }
    fields.extend(matching_rules(line, overseer, config));
    fields
}

fn ago(age: Duration) -> String {
    match relative_time(age).to_string().trim().strip_prefix('-') {
        Some(age) => format!("{age} ago"),
        None => String::new(),
    }
}

/// What a line alone tells.
fn fields_of_line(details: &ConnectionDetails, state: ConnectionState) -> Vec<Field> {
    let known = [
        ("user", details.user.clone()),
        ("process", details.process.clone()),
        ("unit", details.units.join(", ")),
        ("peer", details.peers.join(", ")),
        ("port", details.port.map(|port| port.to_string()).unwrap_or_default()),
        ("state", details.state(state).to_owned()),
        ("more", "run leco-event-pipe with --extra-ev-data".to_owned()),
    ];
    known
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| Field::new(name, value))
        .collect()
}

fn fields_of_event(mut fields: Vec<(String, String)>) -> Vec<Field> {
    let place =
        |name: &str| EVENT_FIELDS.iter().position(|(known, _)| *known == name).unwrap_or(EVENT_FIELDS.len());
    let is_listener = fields.iter().any(|(name, value)| name == "dir" && value == "listen");
    fields.retain(|(name, value)| match name.as_str() {
        "v" => false,
        "raddr" | "rport" if is_listener => false,
        // Not known: of the end of a listener it is every address.
        "raddr" | "laddr" if !is_listener => !matches!(value.as_str(), "" | "0.0.0.0" | "::"),
        "rport" | "lport" => value != "0",
        _ => !value.is_empty(),
    });
    fields.sort_by_key(|(name, _)| place(name));
    let said = fields.into_iter().map(|(name, value)| {
        let called = match name.as_str() {
            "laddr" if is_listener => "at",
            "lport" if is_listener => "port",
            name => EVENT_FIELDS.get(place(name)).map_or(name, |(_, called)| *called),
        };
        Field::new(called, in_words(&name, value))
    });
    said.collect()
}

fn in_words(name: &str, value: String) -> String {
    match name {
        "rx" | "tx" => format!("{value} bytes"),
        "rtt_us" => value.parse().map_or(value, |us: u32| format!("{} ms", f64::from(us) / 1000.0)),
        "retrans" | "cwnd" => format!("{value} segments"),
        "name_src" => match value.as_str() {
            "hello" => "this process, in TLS".into(),
            "quic" => "this process, in QUIC".into(),
            "proxy" => "this process, to a proxy".into(),
            "ech" => "this process, in TLS; may be a cover (ECH)".into(),
            "dns" => "a DNS response to this process".into(),
            "dns-user" => "a DNS response to another process of the user".into(),
            "dns-system" => "a DNS response to the system's resolver".into(),
            "reverse" => "the resolver".into(),
            _ => value,
        },
        _ => value,
    }
}

fn matching_rules(line: &KnownLine<'_>, overseer: &Overseer, config: Option<&Path>) -> Vec<Field> {
    let steps = overseer.explain(line.received()).steps;
    if steps.is_empty() {
        return vec![Field::new("rules", "none matches")];
    }
    let file = config.and_then(Path::file_name).map_or("widget.ini".into(), |name| name.to_string_lossy());
    let rule = |step: leco_core::rules::Step| {
        Field::new(format!("{}:{}", clean(&file), step.rule_line), clean(&step.rule_key))
    };
    steps.into_iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use leco_core::config::Config;
    use serde_json::{Value, json};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn told(more: &Value) -> Vec<(String, String)> {
        let mut event = json!({"v": 1, "ns": SECOND, "ns_trx": SECOND, "line": "18:34 :: me :: nc :: x :: ", "rx": 5000, "tx": 0});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut overseer = Overseer::new(Config::default());
        overseer.receive(event.to_string().as_bytes(), SECOND);
        let line = overseer.known().next().unwrap();
        fields(&line, &overseer, None, SECOND).into_iter().map(|field| (field.name, field.value)).collect()
    }

    fn values(fields: &[(String, String)], names: &[&str]) -> Vec<Option<String>> {
        let value =
            |name: &&str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        names.iter().map(value).collect()
    }

    #[test]
    fn an_end_that_is_not_known_is_no_fact() {
        let ends = json!({"laddr": "0.0.0.0", "lport": 8080, "raddr": "0.0.0.0", "rport": 0});
        let names = ["at", "port", "from", "from port", "to", "to port"];
        let mut listener = ends.clone();
        listener["dir"] = "listen".into();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(values(&told(&listener), &names), [text("0.0.0.0"), text("8080"), None, None, None, None]);
        assert_eq!(values(&told(&ends), &names), [None, None, None, text("8080"), None, None]);
        let both = json!({"laddr": "::1", "lport": 0, "raddr": "192.0.2.1", "rport": 443});
        assert_eq!(
            values(&told(&both), &names),
            [None, None, text("::1"), None, text("192.0.2.1"), text("443")]
        );
    }

    #[test]
    fn what_is_closed_has_no_rate() {
        let rate = |state: &str| values(&told(&json!({"state": state})), &["traffic in"]);
        assert_eq!(rate("open"), [Some("4.9K (833B/s)".to_owned())]);
        assert_eq!(rate("closed"), [Some("4.9K".to_owned())]);
    }
}
