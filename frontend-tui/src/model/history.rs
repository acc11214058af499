// SPDX-License-Identifier: GPL-3.0-or-later
//! What is looked at of what went over the network: of which time, by what, and how far somebody went into it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use leco_cli::history::By;
use leco_core::model::history::{Coverage, History, Moved};
use leco_core::query::{Names, Query, QueryError, quoted};
use leco_core::wire::history::{HISTORY_FIELDS, HistoryFlow};
use leco_os::time_zone::{start_of_day, start_of_hour};

/// Who pressed no key for so long has left: seconds.
const PAUSE: i64 = 600;
/// Who comes back is told for so long what is new: seconds.
const TOLD: i64 = 60;
/// Points of the chart.
pub(crate) const PARTS: usize = 96;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Clocks that say less were never set: seconds since 1970.
const NEVER_SET: i64 = 1_000_000_000;

/// By what rows are put together, in the order of the key.
const ALL: [By; 6] = [By::Program, By::Unit, By::User, By::Peer, By::Port, By::Host];

/// Of which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Range {
    /// The latest hour.
    Hour,
    /// Since midnight.
    Today,
    /// 24 hours.
    #[default]
    Day,
    /// 7 days.
    Week,
    /// 30 days.
    Month,
    /// Since the last key before a pause.
    SinceLeft,
}

impl Range {
    /// Each with its key, from 1, and its name.
    const ALL: [(Self, &str); 6] = [
        (Self::Hour, "1 h"),
        (Self::Today, "today"),
        (Self::Day, "24 h"),
        (Self::Week, "7 d"),
        (Self::Month, "30 d"),
        (Self::SinceLeft, "since I left"),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(range, _)| *range == self).map_or("", |(_, name)| name)
    }

    /// When it begins, in seconds since 1970; where totals are of whole hours and days, with one of those.
    fn begin(self, now: i64, left: Option<i64>, is_whole: bool, zone: &TimeZone) -> i64 {
        let hour = |second| if is_whole { start_of_hour(second, zone) } else { second };
        match self {
            Self::Hour => hour(now - HOUR),
            Self::Today => start_of_day(now, 0, zone),
            Self::Day => hour(now - DAY),
            Self::Week => start_of_day(now, -7, zone),
            Self::Month => start_of_day(now, -30, zone),
            Self::SinceLeft => left.unwrap_or(now),
        }
    }
}

/// A row that was gone into.
#[derive(Debug)]
struct Step {
    filter: String,
    query: Query,
    by: By,
    at: usize,
}

/// What is looked at.
#[derive(Debug)]
pub struct HistoryView {
    /// In which days are.
    pub zone: TimeZone,
    /// By what rows are put together.
    pub by: By,
    /// Of which time.
    pub range: Range,
    /// Which connections, as it was typed.
    pub filter: String,
    /// What that stood for when it could last be read.
    query: Query,
    steps: Vec<Step>,
    /// The selected row.
    pub at: usize,
    /// The last key, and the one before the latest pause, in seconds since 1970.
    key: Option<i64>,
    left: Option<i64>,
    /// When somebody came back, and what was new then.
    back: Option<(i64, usize)>,
    /// What was found last, and for what.
    shown: Shown,
}

impl Default for HistoryView {
    fn default() -> Self {
        Self {
            zone: TimeZone::UTC,
            by: By::default(),
            range: Range::default(),
            filter: String::new(),
            query: Query::default(),
            steps: Vec::new(),
            at: 0,
            key: None,
            left: None,
            back: None,
            shown: Shown::default(),
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// When, in seconds since 1970, and for what.
    asked: Option<(i64, By, Range, String)>,
    /// From when until when, in seconds since 1970.
    pub range: (i64, i64),
    /// What each row is of, the one with most bytes first.
    pub rows: Vec<(String, Moved)>,
    /// All together.
    pub total: Moved,
    /// Bytes a second in parts of the range: received, and sent.
    pub rates: (Vec<u64>, Vec<u64>),
    /// From when on there is what.
    pub coverage: Coverage,
}

impl HistoryView {
    /// Takes note that somebody is there, at a moment in seconds since 1970.
    pub(super) fn touch(&mut self, history: Option<&History>, now: i64) {
        if let Some(key) = self.key.filter(|key| now - key >= PAUSE) {
            self.left = Some(key);
            let new = history.map_or(0, |history| history.news_since(key));
            self.back = (new > 0).then_some((now, new));
        }
        self.key = Some(now);
    }

    /// What to tell who has just come back.
    #[must_use]
    pub fn welcome(&self, now: i64) -> Option<String> {
        let (back, new) = self.back.filter(|(back, _)| now - back < TOLD)?;
        let pairs = if new == 1 { "pair" } else { "pairs" };
        let since = self.left.and_then(|left| self.time(left, back));
        Some(format!("{new} new {pairs}{}", since.map(|since| format!(" since {since}")).unwrap_or_default()))
    }

    /// Whether what is told to who has come back goes away by itself.
    #[must_use]
    pub fn is_welcoming(&self, now: i64) -> bool {
        self.back.is_some_and(|(back, _)| now - back <= TOLD)
    }

    /// It was looked at.
    pub(super) fn open(&mut self) {
        if self.back.take().is_some() {
            self.range = Range::SinceLeft;
        }
        self.at = 0;
    }

    /// Looks it up, where that was not done in this second.
    pub fn look(&mut self, history: Option<&History>, now: i64) -> &Shown {
        let asked = Some((now, self.by, self.range, self.filter.clone()));
        if self.shown.asked != asked
            && let Some(history) = history
        {
            let coverage = history.coverage();
            let begin = |is_whole| self.range.begin(now, self.left, is_whole, &self.zone);
            let is_whole = coverage.stored.is_some_and(|(_, until)| begin(false) < until);
            let range = (begin(is_whole), now + 1);
            let rows = history.sums(range, &self.query, |flow| label(self.by, flow));
            let mut total = Moved::default();
            for (_, moved) in &rows {
                total.add(moved);
            }
            let rates = history.rates(range, &self.query, PARTS);
            self.shown = Shown { asked, range, rows, total, rates, coverage };
        }
        self.at = self.at.min(self.shown.rows.len().saturating_sub(1));
        &self.shown
    }

    /// Puts rows together by the next thing, or the one before.
    pub(super) fn turn(&mut self, by: isize) {
        let at = ALL.iter().position(|known| *known == self.by).unwrap_or(0);
        let count = ALL.len().cast_signed();
        self.by = ALL[(at.cast_signed() + by).rem_euclid(count).cast_unsigned()];
        self.at = 0;
    }

    /// Takes the range of a key, from 1; says why not.
    pub(super) fn set_range(&mut self, key: usize) -> Result<(), &'static str> {
        let Some((range, _)) = key.checked_sub(1).and_then(|at| Range::ALL.get(at)) else { return Ok(()) };
        if *range == Range::SinceLeft && self.left.is_none() {
            return Err("you have not left yet: that is ten minutes without a key");
        }
        (self.range, self.at) = (*range, 0);
        Ok(())
    }

    /// Names may stand for something else now; what stands for nothing any more stays what it was.
    pub(super) fn reloaded(&mut self, names: &Names) {
        if let Ok(query) = read(&self.filter, names) {
            self.query = query;
        }
        for step in &mut self.steps {
            if let Ok(query) = read(&step.filter, names) {
                step.query = query;
            }
        }
        self.shown.asked = None;
    }

    /// Goes into the selected row: only that from now on.
    pub(super) fn go_into(&mut self, names: &Names) -> Result<(), QueryError> {
        let rows = &self.shown.rows;
        let Some((value, _)) = rows.get(self.at) else { return Ok(()) };
        let others = || rows.iter().map(|(other, _)| other.as_str()).filter(|other| other != value);
        let Some(more) = exact(self.by, value, others) else { return Ok(()) };
        let filter = format!("{} {more}", self.filter).trim().to_owned();
        let query = std::mem::replace(&mut self.query, read(&filter, names)?);
        let filter = std::mem::replace(&mut self.filter, filter);
        self.steps.push(Step { filter, query, by: self.by, at: self.at });
        self.by = if self.by == By::Program { By::Peer } else { By::Program };
        self.at = 0;
        Ok(())
    }

    /// Goes back out of a row, or what was typed; `false` where there is nothing to go out of.
    pub(super) fn go_back(&mut self) -> bool {
        if let Some(Step { filter, query, by, at }) = self.steps.pop() {
            (self.filter, self.query, self.by, self.at) = (filter, query, by, at);
            return true;
        }
        self.query = Query::default();
        (!std::mem::take(&mut self.filter).is_empty()).then(|| self.at = 0).is_some()
    }

    /// Takes a filter that was typed.
    pub(super) fn set_filter(&mut self, filter: &str, names: &Names) -> Result<(), QueryError> {
        // What stays as it was may name what the config has no more.
        if filter.trim() != self.filter {
            self.query = read(filter, names)?;
            filter.trim().clone_into(&mut self.filter);
        }
        self.steps.clear();
        self.at = 0;
        Ok(())
    }

    /// A moment as a person says it: without a date where that is today's; `None` where nobody knows.
    #[must_use]
    pub fn time(&self, second: i64, now: i64) -> Option<String> {
        let is_today = second >= start_of_day(now, 0, &self.zone);
        let format = if is_today { "%H:%M" } else { "%Y-%m-%d %H:%M" };
        let time = Timestamp::from_second(second).ok().filter(|_| second >= NEVER_SET)?;
        Some(self.zone.to_datetime(time).strftime(format).to_string())
    }

    /// Since when there is something of what is shown, and where it is from.
    #[must_use]
    pub fn origin(&self, now: i64) -> String {
        let Shown { range: (from, _), coverage, .. } = &self.shown;
        let since = |begin: i64| {
            let begin = begin.max(*from).max(coverage.cut.unwrap_or(i64::MIN));
            self.time(begin, now).map(|time| format!("since {time}, ")).unwrap_or_default()
        };
        let stored = coverage.stored.filter(|(_, until)| from < until);
        let mut said = match stored {
            None => format!("{}what this view saw", since(coverage.seen_since)),
            Some((begin, until)) => {
                let until = self.time(until, now).unwrap_or_default();
                format!("{}stored by the pipe until {until}, then seen here", since(begin))
            }
        };
        if let Some(error) = &coverage.error {
            // First, since the rest may be cut.
            said = format!("the pipe says: {} {said}", leco_os::causes::sentence(error));
        }
        if coverage.cut.is_some_and(|cut| cut > *from) {
            said += "; older totals had no room";
        }
        said
    }
}

/// Reads a filter. What totals do not have cannot be asked for.
pub(super) fn read(text: &str, names: &Names) -> Result<Query, QueryError> {
    let query = Query::parse_with(text, names)?;
    if query.asks_beyond(&[&HISTORY_FIELDS[..], &["host"]].concat()) {
        return Err(QueryError::whole(text, "the history knows user, proc, unit, peer, port, dir and host"));
    }
    Ok(query)
}

/// What a flow is called.
fn label(by: By, flow: &HistoryFlow) -> String {
    match by {
        By::Program | By::Hour | By::Day => flow.program.clone(),
        By::Unit => flow.unit.clone(),
        By::User => flow.user.clone(),
        By::Peer => flow.peer.clone(),
        By::Port => flow.port(),
        By::Host => flow.host.clone(),
    }
}

/// The filter that chooses what is in a row and in no other.
fn exact<'r, I: Iterator<Item = &'r str>>(by: By, value: &str, others: impl Fn() -> I) -> Option<String> {
    let field = match by {
        By::Unit => "unit",
        By::User => "user",
        By::Peer => "peer",
        By::Host => "host",
        By::Port => {
            let (number, _) = value.split_once('/').unwrap_or((value, ""));
            // A filter knows no protocol, but a line ends with it.
            let is_shared = others().any(|other| other.split('/').next() == Some(number));
            let end = value.replace('/', ".");
            return Some(if value.ends_with("/x") {
                format!("/ {end}$/")
            } else if is_shared {
                format!("port:{number} / {end}$/")
            } else {
                format!("port:{number}")
            });
        }
        By::Program | By::Hour | By::Day => "proc",
    };
    let lower = value.to_lowercase();
    let is_in_others = others().any(|other| other.to_lowercase().contains(&lower));
    if value.is_empty() || is_in_others || value.contains('"') {
        let regex = regex_syntax::escape(value).replace('/', "\\/");
        // Case tells nothing apart, unless it is asked for.
        let case = if others().any(|other| other.to_lowercase() == lower) { "(?-i)" } else { "" };
        return Some(format!("{field}:/^{case}{regex}$/"));
    }
    Some(format!("{field}:{}", quoted(value)?))
}

#[cfg(test)]
mod tests {
    use leco_core::config::Config;
    use leco_core::model::overseer::Overseer;
    use leco_os::clock::Now;
    use serde_json::json;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    /// 2027-01-15 08:00 UTC.
    const START: i64 = 1_800_000_000;

    fn receive(overseer: &mut Overseer, at: i64, who: &str, peer: &str, rx: u64) {
        let ns = u64::try_from(at).unwrap() * SECOND;
        let line = format!("08:00 :: me :: {who} :: {peer} :: ");
        let event = json!({"ns": ns, "ns_trx": ns, "line": line, "rx": rx, "tx": 0, "new": true});
        let _ = overseer.receive(event.to_string().as_bytes(), ns);
    }

    fn overseer() -> Overseer {
        let mut overseer = Overseer::with_list(Config::default(), "");
        overseer.keep_history(Now::from(u64::try_from(START).unwrap() * SECOND));
        overseer
    }

    #[test]
    fn a_row_that_is_gone_into_is_all_that_is_shown_and_back_is_where_one_was() {
        let mut overseer = overseer();
        let said = [
            ("curl [a/b]", "a.test 443", 1),
            ("curlftp", "a.test 21", 2),
            ("CURL", "b.test 443/udp", 4),
            ("say \"x\"/y", "xa.test 47/x", 8),
            ("dig [u]", "192.0.2.1 53", 16),
            ("a|b [u\\x2d0]", "c.test 443", 32),
            ("^x$", ":d 443", 64),
        ];
        for (at, (who, peer, rx)) in (1..).zip(said) {
            receive(&mut overseer, START + at, who, peer, rx);
        }
        let mut view = HistoryView::default();
        let now = START + 60;
        for by in ALL {
            view.by = by;
            let names = overseer.names().clone();
            let rows = view.look(overseer.history(), now).rows.clone();
            for (at, (row, moved)) in rows.iter().enumerate() {
                view.look(overseer.history(), now);
                view.at = at;
                view.go_into(&names).unwrap();
                assert!(view.filter.is_empty() || Query::parse(&view.filter).is_ok(), "{}", view.filter);
                let shown = view.look(overseer.history(), now);
                let total = shown.total;
                assert_eq!(total, *moved, "{row:?} of {by:?}: {}", view.filter);
                assert!(view.go_back() && !view.go_back());
                assert_eq!((view.by, view.at, view.filter.as_str()), (by, at, ""));
            }
            assert_eq!(rows.iter().map(|(_, moved)| moved.bytes.rx).sum::<u64>(), 127);
        }
    }

    #[test]
    fn a_filter_stays_what_it_was_where_the_config_has_no_more_what_it_names() {
        let mut overseer = overseer();
        for (at, (who, rx)) in (1..).zip([("curl", 1), ("ssh", 2)]) {
            receive(&mut overseer, START + at, who, "a.test 443", rx);
        }
        let names = Names { filters: vec![("web".to_owned(), "proc:curl".to_owned())], ..Names::default() };
        let mut view = HistoryView::default();
        view.set_filter("@web", &names).unwrap();
        let bytes = |view: &mut HistoryView| view.look(overseer.history(), START + 60).total.bytes.rx;
        assert_eq!(bytes(&mut view), 1);
        let gone = Names::default();
        view.reloaded(&gone);
        assert_eq!(bytes(&mut view), 1);
        view.set_filter("@web", &gone).unwrap();
        assert!(view.set_filter("@web x", &gone).is_err() && view.go_into(&gone).is_err());
        assert_eq!((bytes(&mut view), view.filter.as_str()), (1, "@web"));
        view.set_filter("proc:ssh", &gone).unwrap();
        assert_eq!(bytes(&mut view), 2);
        assert!(view.go_back());
        assert_eq!(bytes(&mut view), 3);

        let another = Names { filters: vec![("web".to_owned(), "proc:ssh".to_owned())], ..Names::default() };
        view.set_filter("@web", &names).unwrap();
        assert_eq!(bytes(&mut view), 1);
        view.go_into(&names).unwrap();
        view.reloaded(&another);
        assert!(view.go_back());
        assert_eq!((bytes(&mut view), view.filter.as_str()), (2, "@web"));
    }

    #[test]
    fn machines_are_told_apart() {
        let mut overseer = overseer();
        for (at, (host, rx)) in (1..).zip([("web1", 1), ("web2", 2), ("web1", 4)]) {
            let ns = u64::try_from(START).unwrap() * SECOND + at;
            let boot = format!("{host}00000000");
            let event = json!({"ns": ns, "ns_trx": ns, "line": "08:00 :: me :: curl :: a.test 443 :: ", "rx": rx,
                "tx": 0, "boot": &boot[..8], "clock": {"boot": boot, "host": host, "ns": ns, "wall": START * 1_000_000_000}});
            let _ = overseer.receive(event.to_string().as_bytes(), ns);
        }
        let mut view = HistoryView { by: By::Host, ..HistoryView::default() };
        let names = overseer.names().clone();
        let mut rows = || {
            let rows = &view.look(overseer.history(), START + 60).rows;
            let rows =
                rows.iter().map(|(name, moved)| (name.clone(), moved.connections, moved.bytes.rx)).collect();
            view.go_into(&names).unwrap();
            rows
        };
        let all: Vec<_> = rows();
        assert_eq!(all, [("web1".to_owned(), 2, 5), ("web2".to_owned(), 1, 2)]);
        assert_eq!(rows(), [("curl".to_owned(), 2, 5)], "of web1 alone");
    }

    #[test]
    fn ranges_begin_with_the_hours_and_days_that_totals_are_of() {
        let zone = TimeZone::posix("ABC-5:30").unwrap();
        let now = START + 1234;
        let of = |range: Range, is_whole| range.begin(now, Some(START - 77), is_whole, &zone);
        assert_eq!((of(Range::Hour, false), of(Range::Hour, true)), (now - HOUR, START - 5400));
        assert_eq!(
            (of(Range::Today, true), of(Range::Week, true)),
            (START - 48_600, START - 48_600 - 7 * DAY)
        );
        assert_eq!(of(Range::SinceLeft, true), START - 77);
    }

    #[test]
    fn who_left_is_told_once_what_is_new() {
        let mut overseer = overseer();
        let mut view = HistoryView::default();
        view.touch(overseer.history(), START + 10);
        assert!(view.set_range(6).is_err());
        receive(&mut overseer, START + 20, "curl", "a.test 443", 1);
        // No pause yet.
        view.touch(overseer.history(), START + 609);
        assert_eq!(view.welcome(START + 609), None);
        receive(&mut overseer, START + 700, "curl", "b.test 443", 1);
        receive(&mut overseer, START + 701, "curl", "c.test 443", 1);
        view.touch(overseer.history(), START + 1209);
        assert_eq!(view.welcome(START + 1210).as_deref(), Some("2 new pairs since 08:10"));
        view.touch(overseer.history(), START + 1211);
        assert!(view.welcome(START + 1268).is_some() && view.welcome(START + 1269).is_none());
        view.open();
        assert_eq!((view.range, view.welcome(START + 1220)), (Range::SinceLeft, None));
        let shown = view.look(overseer.history(), START + 1300);
        assert_eq!((shown.total.connections, shown.range.0), (2, START + 609));
        view.open();
        view.set_range(1).unwrap();
        assert_eq!(view.range, Range::Hour);
        // Nothing new is nothing to tell.
        view.touch(overseer.history(), START + 9000);
        assert_eq!(view.welcome(START + 9000), None);
    }

    #[test]
    fn where_totals_are_from_is_said() {
        let mut overseer = overseer();
        receive(&mut overseer, START + 1, "curl", "a.test 443", 1);
        let mut view = HistoryView::default();
        let now = START + 2 * DAY;
        view.range = Range::Week;
        view.look(overseer.history(), now);
        assert_eq!(view.origin(now), "since 2027-01-15 08:00, what this view saw");
        let at = u64::try_from(START).unwrap() * SECOND;
        let event = json!({"ns": 1, "ns_trx": 1, "line": "", "history": {"v": 1, "since": START - DAY,
            "until": START, "at": at, "totals": [], "end": true, "error": "no room."}});
        let _ = overseer.receive(event.to_string().as_bytes(), at);
        view.look(overseer.history(), now + 1);
        let said = "the pipe says: no room. since 2027-01-14 08:00, stored by the pipe until 2027-01-15 08:00, then seen here";
        assert_eq!(view.origin(now + 1), said);
        view.range = Range::Hour;
        view.look(overseer.history(), now + 2);
        assert!(
            view.origin(now + 2).ends_with("since 07:00, what this view saw"),
            "{}",
            view.origin(now + 2)
        );
    }

    #[test]
    fn a_filter_asks_only_for_what_is_known() {
        for known in ["", "curl", "user:me proc:/a/ unit:x peer:b port:80-90 dir:in -dir:out host:nas"] {
            assert!(read(known, &Names::default()).is_ok(), "{known}");
        }
        for unknown in ["rtt>1ms", "new", "state:refused", "open", "trouble", "country:DE"] {
            let error = read(unknown, &Names::default()).unwrap_err();
            assert!(error.message.starts_with("the history knows"), "{unknown}: {error}");
        }
    }
}
