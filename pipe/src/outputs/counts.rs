// SPDX-License-Identifier: GPL-3.0-or-later
//! What metrics count: connections, bytes and failures since the pipe began, as Prometheus reads them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::rc::Rc;

use hashlink::LruCache;
use leco_bpf::read::record::{Conn, Direction};
use leco_os::clock::BootNs;

use crate::enrich::labels::Who;
use crate::render::line::{outcome, proto, state_name};
use crate::source::kernel_events::Losses;

/// Connections of which it is known how much was counted; of more, those heard of least recently go.
const COUNTED: usize = 65_536;
/// Connections heard of since the last write whose unit may still become known.
const WAITING: usize = 8192;
/// Time series of units by their names; what further ones count is `unit="other"`.
pub(crate) const MAX_SERIES: usize = 1000;
const OTHER: &str = "other";

/// A family of time series. They are written in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Metric {
    Connections,
    Received,
    Sent,
    Failures,
    Open,
}

/// Each with its name, type and help.
const METRICS: [(Metric, &str, &str, &str); 5] = [
    (
        Metric::Connections,
        "leco_connections_total",
        "counter",
        "Connections that began since leco-event-pipe did.",
    ),
    (Metric::Received, "leco_received_bytes_total", "counter", "Bytes received since leco-event-pipe began."),
    (Metric::Sent, "leco_sent_bytes_total", "counter", "Bytes sent since leco-event-pipe began."),
    (
        Metric::Failures,
        "leco_failures_total",
        "counter",
        "Connections that failed since leco-event-pipe began, by how.",
    ),
    (Metric::Open, "leco_open_connections", "gauge", "Connections that are open, or that are being opened."),
];

/// A time series: its metric and its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    metric: Metric,
    unit: Rc<str>,
    direction: &'static str,
    protocol: Rc<str>,
    /// Empty where the metric does not tell states apart.
    state: &'static str,
}

/// What of a connection is in the counters.
#[derive(Debug, Default)]
struct Counted {
    rx: u64,
    tx: u64,
    failure: Option<&'static str>,
    /// Where it counts as open.
    open: Option<Box<Series>>,
}

/// Counters, and what they know of connections.
#[derive(Debug)]
pub(crate) struct Counts {
    series: BTreeMap<Series, u64>,
    /// Those of `series` that do not count as [`OTHER`].
    named: usize,
    counted: LruCache<BootNs, Counted>,
    waiting: HashMap<BootNs, (Conn, Rc<Who>)>,
    /// An unknown connection that began by then counts from what it has moved when it is heard of.
    horizon: BootNs,
    losses: Losses,
    /// Whether it was said that there are more series than are counted by name.
    is_limit_told: bool,
}

impl Counts {
    /// From a moment of the boot clock on.
    pub(crate) fn new(begin: BootNs) -> Self {
        Self {
            series: BTreeMap::new(),
            named: 0,
            counted: LruCache::new(COUNTED),
            waiting: HashMap::new(),
            horizon: begin,
            losses: Losses::default(),
            is_limit_told: false,
        }
    }

    /// Takes what is known of a connection now.
    pub(crate) fn see(&mut self, conn: &Conn, who: &Rc<Who>) {
        if conn.is_listener() {
            return;
        }
        let failure = outcome(conn.state);
        let is_counted = |known: &Counted| {
            (known.rx, known.tx, known.failure) == (conn.rx, conn.tx, failure)
                && known.open.as_ref().map(|open| open.state) == conn.is_open().then(|| state_name(conn))
        };
        if !self.waiting.contains_key(&conn.ns) && self.counted.get(&conn.ns).is_some_and(is_counted) {
            return;
        }
        self.waiting.insert(conn.ns, (*conn, Rc::clone(who)));
        if self.waiting.len() >= WAITING {
            self.settle();
        }
    }

    /// Takes what was lost so far.
    pub(crate) fn lose(&mut self, losses: &Losses) {
        self.losses = *losses;
    }

    /// Counts what was heard.
    fn settle(&mut self) {
        let mut waiting: Vec<_> = std::mem::take(&mut self.waiting).into_iter().collect();
        // The horizon moves when connections are forgotten, so the earliest come first.
        waiting.sort_unstable_by_key(|(ns, _)| *ns);
        for (ns, (conn, who)) in waiting {
            self.count(ns, &conn, &who);
        }
    }

    fn count(&mut self, ns: BootNs, conn: &Conn, who: &Who) {
        let mut number = String::new();
        let protocol: Rc<str> =
            if conn.is_packet { "packet" } else { proto(conn.protocol, &mut number) }.into();
        let unit: Rc<str> = unit(who).into();
        let direction = if conn.direction == Direction::Incoming { "in" } else { "out" };
        let of = |metric, state| Series {
            metric,
            unit: Rc::clone(&unit),
            direction,
            protocol: Rc::clone(&protocol),
            state,
        };
        let failure = outcome(conn.state);
        let (is_new, mut counted) = match self.counted.remove(&ns) {
            Some(counted) => (false, counted),
            None if ns > self.horizon => (true, Counted::default()),
            None => (false, Counted { rx: conn.rx, tx: conn.tx, failure, open: None }),
        };
        if let Some(open) = counted.open.take() {
            self.end(*open);
        }
        for (metric, more) in [
            (Metric::Connections, u64::from(is_new)),
            (Metric::Received, conn.rx.saturating_sub(counted.rx)),
            (Metric::Sent, conn.tx.saturating_sub(counted.tx)),
        ] {
            let slot = self.slot(of(metric, ""));
            *slot = slot.saturating_add(more);
        }
        if let Some(kind) = failure
            && counted.failure != failure
        {
            *self.slot(of(Metric::Failures, kind)) += 1;
        }
        // From the begin, so that there is a zero to compare with.
        self.slot(of(Metric::Open, "open"));
        if conn.is_open() {
            let open = of(Metric::Open, state_name(conn));
            *self.slot(open.clone()) += 1;
            counted.open = Some(Box::new(open));
        }
        counted.rx = counted.rx.max(conn.rx);
        counted.tx = counted.tx.max(conn.tx);
        counted.failure = failure.or(counted.failure);
        if self.counted.len() == self.counted.capacity()
            && let Some((ns, forgotten)) = self.counted.remove_lru()
        {
            self.horizon = self.horizon.max(ns);
            if let Some(open) = forgotten.open {
                self.end(*open);
            }
        }
        self.counted.insert(ns, counted);
    }

    /// One connection less is open there.
    fn end(&mut self, open: Series) {
        let slot = self.slot(open);
        *slot = slot.saturating_sub(1);
    }

    /// The value of a series, or where there are too many of that of the others. Series stay, so that one leads to the
    /// same value every time.
    fn slot(&mut self, series: Series) -> &mut u64 {
        let is_known = self.series.contains_key(&series);
        let series = if is_known || self.named < MAX_SERIES {
            self.named += usize::from(!is_known);
            series
        } else {
            if !std::mem::replace(&mut self.is_limit_told, true) {
                tracing::warn!(
                    "metrics: there are {MAX_SERIES} time series: what further units do counts as unit=\"{OTHER}\""
                );
            }
            let is_common = ["tcp", "udp", "packet"].contains(&&*series.protocol);
            let protocol = if is_common { series.protocol } else { OTHER.into() };
            Series { unit: OTHER.into(), protocol, ..series }
        };
        self.series.entry(series).or_default()
    }

    /// All of it, as Prometheus reads it (text format 0.0.4).
    pub(crate) fn text(&mut self) -> String {
        self.settle();
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        for (metric, name, kind, help) in METRICS {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
            for (series, value) in self.series.iter().filter(|(series, _)| series.metric == metric) {
                let Series { unit, direction, protocol, state, .. } = series;
                let unit = escaped(unit);
                write!(text, r#"{name}{{unit="{unit}",direction="{direction}",protocol="{protocol}""#)?;
                if !state.is_empty() {
                    write!(text, r#",state="{state}""#)?;
                }
                writeln!(text, "}} {value}")?;
            }
        }
        let name = "leco_lost_events_total";
        writeln!(text, "# HELP {name} What leco-event-pipe could not tell, by what.\n# TYPE {name} counter")?;
        let Losses { connections, sockets, blocked, answers, malformed } = self.losses;
        for (kind, value) in [
            ("connection", connections),
            ("socket", sockets),
            ("blocked_packet", blocked),
            ("name", answers),
            ("record", malformed),
        ] {
            writeln!(text, r#"{name}{{kind="{kind}"}} {value}"#)?;
        }
        Ok(())
    }
}

/// The container or unit as a label: without what tells one run from another, such as the peer and the process in the
/// instance of a socket's service.
fn unit(who: &Who) -> Cow<'_, str> {
    if let Some(container) = &who.container {
        return Cow::Borrowed(container);
    }
    let unit = who.unit.as_deref().unwrap_or_default();
    let Some((name, kind)) = unit.rsplit_once('.') else { return Cow::Borrowed(unit) };
    if let Some((template, instance)) = name.split_once('@') {
        let is_id = instance.len() >= 8 && is_number(instance);
        let is_a_run =
            is_id || instance.contains(':') || !instance.contains(|letter: char| letter.is_alphabetic());
        return if is_a_run { format!("{template}@.{kind}").into() } else { unit.into() };
    }
    if kind != "scope" && !name.starts_with("run-") {
        return Cow::Borrowed(unit);
    }
    let parts: Vec<&str> = name.split('-').filter(|part| !is_number(part)).collect();
    format!("{}.{kind}", parts.join("-")).into()
}

/// A number of a session or process, or an id, as in `run-r0123abcd`, `run-p12-i34` and `session-c1`.
fn is_number(part: &str) -> bool {
    let digits = part.strip_prefix(['i', 'p', 'r', 'u']).unwrap_or(part);
    digits.contains(|digit: char| digit.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn escaped(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use leco_bpf::read::record::State;

    use super::*;
    use crate::fixtures;

    const BEGIN: BootNs = 100;

    fn who(unit: &str) -> Rc<Who> {
        Rc::new(Who { unit: Some(unit.into()), ..Who::nobody() })
    }

    fn conn(ns: BootNs, rx: u64, tx: u64) -> Conn {
        Conn { rx, tx, ..fixtures::conn(ns, 1, 0, "192.0.2.1") }
    }

    /// What follows this beginning of a line.
    fn value(counts: &mut Counts, begin: &str) -> Option<u64> {
        let text = counts.text();
        let mut values =
            text.lines().filter_map(|line| line.strip_prefix(begin)?.strip_prefix(' ')?.parse().ok());
        let value = values.next();
        assert_eq!(values.next(), None, "twice: {text}");
        value
    }

    const A: &str = r#"{unit="a.service",direction="out",protocol="tcp"}"#;

    #[test]
    fn increments_count_once_and_never_backwards() {
        let mut counts = Counts::new(BEGIN);
        let state = |state, conn| Conn { state, ..conn };
        for (heard, expected) in [
            (state(State::Connecting, conn(101, 0, 0)), [1, 0, 0]),
            (conn(101, 10, 3), [1, 10, 3]),
            (conn(101, 10, 3), [1, 10, 3]),
            // An earlier word that arrives late.
            (conn(101, 7, 2), [1, 10, 3]),
            (conn(102, 5, 0), [2, 15, 3]),
            (state(State::Reset, conn(101, 20, 3)), [2, 25, 3]),
            // A replay to a new reader.
            (state(State::Reset, conn(101, 20, 3)), [2, 25, 3]),
        ] {
            counts.see(&heard, &who("a.service"));
            let names = ["connections", "received_bytes", "sent_bytes"];
            let told = names.map(|name| value(&mut counts, &format!("leco_{name}_total{A}")).unwrap());
            assert_eq!(told, expected, "{heard:?}");
        }
        let failed = format!("leco_failures_total{}", A.replace('}', r#",state="reset"}"#));
        assert_eq!(value(&mut counts, &failed), Some(1));
        let open = |state: &str| {
            format!("leco_open_connections{}", A.replace('}', &format!(",state=\"{state}\"}}")))
        };
        assert_eq!(value(&mut counts, &open("open")), Some(1), "the other one");
        assert_eq!(value(&mut counts, &open("connecting")), Some(0));
    }

    #[test]
    fn what_was_before_the_pipe_does_not_count() {
        let mut counts = Counts::new(BEGIN);
        counts.see(&conn(90, 1000, 2000), &who("a.service"));
        assert_eq!(value(&mut counts, &format!("leco_received_bytes_total{A}")), Some(0));
        counts.see(&conn(90, 1001, 2002), &who("a.service"));
        assert_eq!(value(&mut counts, &format!("leco_received_bytes_total{A}")), Some(1));
        assert_eq!(value(&mut counts, &format!("leco_sent_bytes_total{A}")), Some(2));
        assert_eq!(value(&mut counts, &format!("leco_connections_total{A}")), Some(0));
    }

    #[test]
    fn a_unit_that_is_known_later_has_all_of_it() {
        let mut counts = Counts::new(BEGIN);
        counts.see(&conn(101, 1, 1), &Rc::new(Who::nobody()));
        counts.see(&conn(101, 2, 2), &who("a.service"));
        assert_eq!(value(&mut counts, &format!("leco_received_bytes_total{A}")), Some(2));
        assert!(!counts.text().contains(r#"unit="""#));
    }

    #[test]
    fn series_are_bounded_and_nothing_is_lost_by_it() {
        let mut counts = Counts::new(BEGIN);
        for number in 0..3000 {
            let protocol = u16::try_from(number % 300).unwrap();
            let open = Conn { protocol, ..conn(101 + number, 1, 2) };
            counts.see(&open, &who(&format!("unit{number}.service")));
            counts.see(&Conn { state: State::Refused, ..open }, &who(&format!("unit{number}.service")));
        }
        let text = counts.text();
        let sum = |name: &str| -> u64 {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
        };
        assert_eq!(
            ["leco_connections", "leco_received", "leco_sent", "leco_failures", "leco_open"].map(sum),
            [3000, 3000, 6000, 3000, 0]
        );
        assert!(text.contains(r#"leco_connections_total{unit="other",direction="out",protocol="tcp"} "#));
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!((MAX_SERIES..MAX_SERIES + 100).contains(&series), "{series}");
    }

    #[test]
    fn forgotten_connections_are_not_counted_again() {
        let mut counts = Counts::new(BEGIN);
        let many = COUNTED as u64 + 1000;
        for ns in BEGIN + 1..=BEGIN + many {
            counts.see(&conn(ns, 1, 0), &who("a.service"));
        }
        let received = format!("leco_received_bytes_total{A}");
        assert_eq!(value(&mut counts, &received), Some(many));
        counts.see(&conn(BEGIN + 1, 1, 0), &who("a.service"));
        assert_eq!(value(&mut counts, &received), Some(many));
        assert_eq!(value(&mut counts, &format!("leco_connections_total{A}")), Some(many));
        let open = format!("leco_open_connections{}", A.replace('}', r#",state="open"}"#));
        assert_eq!(value(&mut counts, &open), Some(COUNTED as u64));
    }

    #[test]
    fn hostile_units_stay_in_their_label() {
        let mut counts = Counts::new(BEGIN);
        counts.see(&conn(101, 1, 0), &who("a\"} 9\nleco_x 1\\.service"));
        let text = counts.text();
        assert!(
            text.contains(r#"{unit="a\"} 9\nleco_x 1\\.service",direction="out",protocol="tcp"} 1"#),
            "{text}"
        );
    }

    #[test]
    fn runs_of_a_unit_are_one() {
        for (name, expected) in [
            ("ssh.service", "ssh.service"),
            ("sshd@0-10.0.0.1:22-10.0.0.5:3333.service", "sshd@.service"),
            ("sshd@7-fd83::1:22-fd83::2:3333.service", "sshd@.service"),
            ("helper@3-1234-1000.service", "helper@.service"),
            ("user@1000.service", "user@.service"),
            ("app-org.kde.dolphin@0123456789abcdef.service", "app-org.kde.dolphin@.service"),
            ("wg-quick@a1.service", "wg-quick@a1.service"),
            ("postgresql@15-main.service", "postgresql@15-main.service"),
            ("session-3.scope", "session.scope"),
            ("session-c1.scope", "session.scope"),
            ("app-gnome-org.mozilla.firefox-12345.scope", "app-gnome-org.mozilla.firefox.scope"),
            ("run-r0123456789abcdef0123456789abcdef.scope", "run.scope"),
            ("run-p123-i456.service", "run.service"),
            ("run-u12.service", "run.service"),
            ("backup-2.service", "backup-2.service"),
            ("", ""),
        ] {
            assert_eq!(unit(&who(name)), expected, "{name}");
        }
        let container = Who { container: Some("docker:0123456789ab".into()), ..Who::nobody() };
        assert_eq!(unit(&container), "docker:0123456789ab");
    }
}
