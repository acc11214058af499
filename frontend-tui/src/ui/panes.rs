// SPDX-License-Identifier: GPL-3.0-or-later
//! What can be opened beside the list: a line's details, the rules, a rule that is edited, the keys.

use std::path::Path;

use leco_core::model::known_line::KnownLine;
use leco_core::model::overseer::Overseer;
use leco_core::model::traffic::{BUCKET_NS, BUCKETS, Traffic};
use leco_core::text::{bytes, relative_time};
use leco_core::wire::details::ConnectionDetails;
use leco_core::wire::event::ConnectionState;
use leco_os::clean::clean;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use crate::input::action::KEYS;
use crate::model::rule_editor::RuleEditor;
use crate::model::rule_timing::slow_from;
use crate::ui::row::sparkline;
use crate::ui::theme::Theme;

/// Cells of the names of fields.
const NAME_WIDTH: usize = 11;

fn field(name: &str, value: String, theme: Theme) -> Line<'static> {
    let name = Span::styled(format!(" {name:<NAME_WIDTH$} "), theme.faint(255));
    Line::from(vec![name, Span::styled(value, theme.text(200))])
}

fn heading(text: &str, theme: Theme) -> Line<'static> {
    Line::styled(format!(" {text}"), theme.text(255).add_modifier(Modifier::BOLD))
}

fn ago(age: std::time::Duration) -> String {
    match relative_time(age).to_string().trim().strip_prefix('-') {
        Some(age) => format!("{age} ago"),
        None => String::new(),
    }
}

/// Everything about a line.
pub(crate) fn detail(
    line: Option<KnownLine<'_>>,
    overseer: &Overseer,
    file: Option<&Path>,
    theme: Theme,
    (now, width): (u64, usize),
) -> Vec<Line<'static>> {
    let Some(line) = line else { return vec![heading("this line is gone", theme)] };
    let details = line.details();
    let mut lines = vec![heading(line.text(), theme)];
    if line.received() != line.text() {
        lines.push(field("received", line.received().to_owned(), theme));
    }
    lines.push(field("first seen", ago(line.first_age(now)), theme));
    lines.push(field("last seen", ago(line.age(now)), theme));
    lines.push(field("traffic", traffic(line.traffic(), now), theme));
    if details.fields.is_empty() {
        lines.extend(fields_of_line(&details, line.state(), theme));
        lines.push(field("", "more details with leco-event-pipe --extra-ev-data".into(), theme));
    }
    lines.extend(fields(details.fields, width, theme));
    lines.extend(matching_rules(&line, overseer, file, theme));
    lines
}

/// Bytes in each direction, in all and now, and those of the latest seconds.
fn traffic(traffic: &Traffic, now: u64) -> String {
    let rate = traffic.rate(now);
    format!(
        "v {} ({}/s)   {} ({}/s) ^   {} {} s",
        bytes(traffic.total.rx),
        bytes(rate.rx),
        bytes(traffic.total.tx),
        bytes(rate.tx),
        sparkline(&traffic.history(now)),
        BUCKET_NS / 1_000_000_000 * BUCKETS as u64
    )
}

/// What a line alone tells.
fn fields_of_line(
    details: &ConnectionDetails,
    state: ConnectionState,
    theme: Theme,
) -> impl Iterator<Item = Line<'static>> {
    let known = [
        ("user", details.user.clone()),
        ("process", details.process.clone()),
        ("unit", details.units.join(", ")),
        ("peer", details.peers.join(", ")),
        ("port", details.port.map(|port| port.to_string()).unwrap_or_default()),
        ("state", details.state(state).to_owned()),
    ];
    let known = known.into_iter().filter(|(_, value)| !value.is_empty());
    known.map(move |(name, value)| field(name, value, theme))
}

/// The rules that match a line, each with its place in the config.
fn matching_rules(
    line: &KnownLine<'_>,
    overseer: &Overseer,
    file: Option<&Path>,
    theme: Theme,
) -> Vec<Line<'static>> {
    let steps = overseer.explain(line.received()).steps;
    let mut lines =
        vec![heading(if steps.is_empty() { "no rule matches" } else { "rules that match" }, theme)];
    let file = file.map_or_else(
        || "widget.ini".into(),
        |file| file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    );
    lines.extend(steps.into_iter().map(|step| {
        let key = clean(&step.rule_key).into_owned();
        field(&format!("{file}:{}", step.rule_line), key, theme)
    }));
    lines
}

/// Fields of an event in the order in which a person asks for them, and what they are called.
const FIELDS: [(&str, &str); 27] = [
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
/// From this width on fields stand in two columns.
const TWO_COLUMNS: usize = 90;

/// Fields of an event, known ones first, in one column or two.
fn fields(mut fields: Vec<(String, String)>, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let place = |name: &str| FIELDS.iter().position(|(known, _)| *known == name).unwrap_or(FIELDS.len());
    fields.retain(|(name, value)| name != "v" && !value.is_empty());
    fields.sort_by_key(|(name, _)| place(name));
    let said: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| {
            let value = match name.as_str() {
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
            };
            let name = FIELDS.get(place(&name)).map_or(name, |(_, called)| (*called).to_owned());
            (name, value)
        })
        .collect();
    if width < TWO_COLUMNS {
        return said.into_iter().map(|(name, value)| field(&name, value, theme)).collect();
    }
    let half = said.len().div_ceil(2);
    (0..half)
        .map(|at| {
            let (name, value) = &said[at];
            let mut line = field(name, value.clone(), theme);
            if let Some((name, value)) = said.get(half + at) {
                line.push_span(" ".repeat((width / 2).saturating_sub(line.width()).max(2)));
                line.extend(field(name, value.clone(), theme));
            }
            line
        })
        .collect()
}

/// Every rule, with how often it held; the ones that take longer than the others, with their time.
pub(crate) fn rules(
    overseer: &Overseer,
    file: Option<&Path>,
    times: &[u64],
    theme: Theme,
) -> Vec<Line<'static>> {
    let mut lines = vec![heading("    hits  line  rule", theme)];
    let slow_from = slow_from(times);
    lines.extend(overseer.rules().enumerate().map(|(index, rule)| {
        let text = format!(" {:>8}  {:>4}  {}", rule.hits.held, rule.line, clean(rule.key));
        let style = if rule.hits.held == 0 { theme.faint(160) } else { theme.text(220) };
        let slow = match times.get(index) {
            _ if rule.hits.exceeded > 0 => "   too slow: counts as not matching".to_owned(),
            Some(time) if *time >= slow_from => format!("   {} µs a line", time / 1000),
            _ => String::new(),
        };
        Line::from(vec![Span::styled(text, style), Span::styled(slow, theme.text(255))])
    }));
    if lines.len() == 1 {
        let file = file.map_or_else(String::new, |file| format!(" in {}", file.display()));
        lines.push(Line::styled(
            format!(" no rules{file}: press t, or select a line and press x, e or m"),
            theme.faint(255),
        ));
    }
    lines
}

/// What a rule would do to what is known.
pub(crate) fn rule_editor(editor: &RuleEditor, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = vec![heading(
        &format!("a rule of [{}] at the end of the config would", editor.section.name()),
        theme,
    )];
    let does = match (&editor.error, editor.changed, editor.hidden) {
        (Some(error), ..) => format!("not work: {error}"),
        (None, 0, 0) => "affect none of the known lines".into(),
        (None, changed, hidden) => format!("change {changed} and hide {hidden} lines"),
    };
    lines.push(Line::styled(format!(" {does}"), theme.text(255)));
    for (before, after) in &editor.examples {
        lines.push(Line::styled(format!(" - {before}"), theme.faint(255)));
        let after = after
            .as_ref()
            .map_or_else(|| "   (not shown)".to_owned(), |after| format!(" + {}", clean(after)));
        lines.push(Line::styled(after, theme.text(220)));
    }
    lines
}

/// Every key.
pub(crate) fn help(theme: Theme) -> Vec<Line<'static>> {
    let mut lines = vec![heading(concat!("leco-tui ", env!("CARGO_PKG_VERSION")), theme)];
    let explained = |(what, meaning): &(&'static str, &'static str)| {
        let what = Span::styled(format!(" {what:<18} "), theme.text(255));
        Line::from(vec![what, Span::styled(*meaning, theme.text(200))])
    };
    lines.extend(KEYS.iter().map(explained));
    let marks = [
        ("<-", "the peer connected to this machine"),
        ("+", "first connection of its program with this peer"),
        ("!refused !timeout", "what went wrong; !blocked: by a firewall of this machine"),
        ("v 1K / 2K ^", "bytes received and sent"),
    ];
    lines.push(Line::raw(""));
    lines.extend(marks.iter().map(explained));
    lines
}
