// SPDX-License-Identifier: GPL-3.0-or-later
//! Everything that is known of a line, as fields that can be gone through and copied.

use std::path::Path;
use std::time::Duration;

use leco_core::model::known_line::KnownLine;
use leco_core::model::overseer::Overseer;
use leco_core::text::{bytes, relative_time};
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
const EVENT_FIELDS: [(&str, &str); 27] = [
    ("host", "machine"),
    ("user", "user"),
    ("uid", "user id"),
    ("pid", "process id"),
    ("comm", "process"),
    ("comm_now", "process now"),
    ("script", "script"),
    ("parents", "started by"),
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
    ("state", "state"),
    ("rx", "received"),
    ("tx", "sent"),
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
    let (total, rate) = (line.traffic().total, line.traffic().rate(now));
    fields.push(Field::new("traffic in", format!("{} ({}/s)", bytes(total.rx), bytes(rate.rx))));
    fields.push(Field::new("traffic out", format!("{} ({}/s)", bytes(total.tx), bytes(rate.tx))));
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
    fields.retain(|(name, value)| name != "v" && !value.is_empty());
    fields.sort_by_key(|(name, _)| place(name));
    let said = fields.into_iter().map(|(name, value)| {
        let called = EVENT_FIELDS.get(place(&name)).map_or(name.as_str(), |(_, called)| *called);
        Field::new(called, in_words(&name, value))
    });
    said.collect()
}

fn in_words(name: &str, value: String) -> String {
    match name {
        "rx" | "tx" => format!("{value} bytes"),
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
