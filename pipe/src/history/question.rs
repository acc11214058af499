// SPDX-License-Identifier: GPL-3.0-or-later
//! What was counted, put together by what is asked for, and written as a table, as JSON or as CSV.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt::{Display, Write as _};
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::thread;

use compact_str::{CompactString, ToCompactString, format_compact};
use hashbrown::HashMap;
use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;
use leco_bpf::read::record::Direction;
use leco_cli::history::{By, Moment};
use leco_core::query::Query;
use leco_core::text::bytes;
use leco_core::wire::event::Direction as WireDirection;
use leco_core::wire::history::HistoryFlow;
use leco_os::clean::clean;
use leco_os::time_zone::{midnight, start_of_day};
use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthStr;

use crate::history::by_flow::ByFlow;
use crate::history::errors::StoreError;
use crate::history::seen::user_name;
use crate::history::store::Store;
use crate::history::totals::{Column, FlowRef, Sums};

/// Ids of all flows.
const EVERY: (i64, i64) = (i64::MIN, i64::MAX);
/// From so many flows on, to start a thread is worth it.
const MANY: usize = 20_000;
/// Cells of the longest bar.
const BAR: u64 = 24;
/// Stands before the last row of a table.
const TOTAL: &str = "total";
/// Of long names, so many cells of a table are shown.
const LABEL: usize = 48;

/// What is asked.
#[derive(Debug)]
pub struct Question<'q> {
    /// By what it is put together.
    pub by: By,
    /// From which moment until before which, in seconds since 1970.
    pub range: (i64, i64),
    /// Which connections.
    pub filter: &'q Query,
    /// Rows that are wanted; the rest is put together in one. All of hours and days.
    pub top: Option<usize>,
    /// In which hours and days are.
    pub zone: &'q TimeZone,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What each row is of, and its sums: the one with most bytes first; of hours and days the earliest. Among hours, what is
    /// known of a whole day only has no time.
    pub rows: Vec<(CompactString, Sums)>,
    /// How many rows were put together at the end, and their sums.
    pub rest: Option<(usize, Sums)>,
    /// All together.
    pub total: Sums,
}

/// Seconds since 1970 of what a person wrote.
#[must_use]
pub fn second_of(moment: &Moment, now: i64, zone: &TimeZone) -> i64 {
    match *moment {
        Moment::Ago(age) => now.saturating_sub(i64::try_from(age.as_secs()).unwrap_or(now)),
        Moment::Days(days) => start_of_day(now, -days, zone),
        Moment::Date(year, month, day) => midnight(date(year, month, day), zone).unwrap_or(now),
    }
}

impl Question<'_> {
    /// Looks it up.
    pub fn answer(&self, store: &Store) -> Result<Answer, StoreError> {
        let is_by_time = self.by.is_time();
        let rows = if is_by_time { self.by_time(store)? } else { self.by_label(store)? };
        let mut answer = Answer { rows, ..Answer::default() };
        for (_, sums) in &answer.rows {
            answer.total.add(sums);
        }
        if let Some(top) = self.top.filter(|top| *top < answer.rows.len() && !is_by_time) {
            let mut rest = Sums::default();
            let gone = answer.rows.split_off(top);
            for (_, sums) in &gone {
                rest.add(sums);
            }
            answer.rest = Some((gone.len(), rest));
        }
        Ok(answer)
    }

    /// Sums of each hour or day, the earliest first.
    fn by_time(&self, store: &Store) -> Result<Vec<(CompactString, Sums)>, StoreError> {
        let mut chosen = HashSet::new();
        let has_filter = !self.filter.is_empty();
        if has_filter {
            let mut users = Users::default();
            store.flows(
                EVERY,
                |_| true,
                |id, flow| {
                    if self.chooses(flow, users.name(flow.uid)) {
                        chosen.insert(id);
                    }
                },
            )?;
        }
        let mut by_time: BTreeMap<i64, Sums> = BTreeMap::new();
        // Begins of days of which the hours are not known any more.
        let mut whole_days = HashSet::new();
        // Most totals that follow each other are of one hour.
        let mut day = (0..0, 0);
        let mut latest = ((0, false), Sums::default());
        store.totals(self.range, |total| {
            if has_filter && !chosen.contains(&total.flow) {
                return;
            }
            if self.by == By::Day && !day.0.contains(&total.start) {
                let begin = start_of_day(total.start, 0, self.zone);
                day = (begin..start_of_day(total.start, 1, self.zone), begin);
            }
            let start = if self.by == By::Day { day.1 } else { total.start };
            if (start, total.is_day) != latest.0 {
                by_time.entry(latest.0.0).or_default().add(&latest.1);
                latest = ((start, total.is_day), Sums::default());
                if total.is_day {
                    whole_days.insert(start);
                }
            }
            latest.1.add(&total.sums);
        })?;
        by_time.entry(latest.0.0).or_default().add(&latest.1);
        by_time.retain(|_, sums| *sums != Sums::default());
        let label = |start| self.time(start, self.by == By::Day || whole_days.contains(&start));
        Ok(by_time.into_iter().map(|(start, sums)| (label(start), sums)).collect())
    }

    /// Sums of everything that has one name, what moved most first.
    fn by_label(&self, store: &Store) -> Result<Vec<(CompactString, Sums)>, StoreError> {
        let mut by_flow = ByFlow::default();
        store.totals(self.range, |total| by_flow.add(total.flow, &total.sums))?;
        let mut rows = self.of_labels(store, &by_flow)?.shown();
        let weight = |sums: &Sums| (moved(sums), sums.connections);
        rows.sort_unstable_by(|a, b| weight(&b.1).cmp(&weight(&a.1)).then_with(|| a.0.cmp(&b.0)));
        Ok(rows)
    }

    /// Names of all flows, of many in two threads.
    fn of_labels(&self, store: &Store, by_flow: &ByFlow) -> Result<ByLabel, StoreError> {
        let (middle, count) = by_flow.middle();
        if count < MANY {
            return self.of_labels_between(store, by_flow, EVERY);
        }
        let (first, second) = ((i64::MIN, middle), (middle.saturating_add(1), i64::MAX));
        let path = store.path();
        let both: Result<_, StoreError> = thread::scope(|scope| {
            let other = || self.of_labels_between(&Store::open_again(path)?, by_flow, second);
            let other = thread::Builder::new().spawn_scoped(scope, other);
            let own = self.of_labels_between(store, by_flow, first)?;
            // A flow goes with the last of its totals: in what is read later, what counts here is missing only where it has
            // become too old meanwhile.
            let other = match other {
                Ok(other) => other.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => self.of_labels_between(store, by_flow, second),
            };
            Ok((own, other?))
        });
        let (mut own, other) = both?;
        for (label, sums) in other.0 {
            own.add(&label, &sums);
        }
        Ok(own)
    }

    fn of_labels_between(
        &self,
        store: &Store,
        by_flow: &ByFlow,
        ids: (i64, i64),
    ) -> Result<ByLabel, StoreError> {
        let mut by_label = ByLabel::default();
        let column = match self.by {
            _ if !self.filter.is_empty() => None,
            By::Program => Some(Column::Program),
            By::Unit => Some(Column::Unit),
            By::Peer => Some(Column::Peer),
            By::User | By::Port | By::Host | By::Hour | By::Day => None,
        };
        if let Some(column) = column {
            store.labels(column, ids, |id, label| {
                if let Some(sums) = by_flow.of(id) {
                    by_label.add(label, &sums);
                }
            })?;
            return Ok(by_label);
        }
        let mut users = Users::default();
        let mut ports = HashMap::new();
        store.flows(
            ids,
            |id| by_flow.of(id).is_some(),
            |id, flow| {
                let user = users.name(flow.uid);
                if let Some(sums) = by_flow.of(id).filter(|_| self.chooses(flow, user)) {
                    let label = match self.by {
                        By::Program => flow.program,
                        By::Unit => flow.unit,
                        By::User => user,
                        By::Peer => flow.peer,
                        By::Port => {
                            let port = || known(flow, user).port();
                            ports.entry((flow.protocol, flow.port)).or_insert_with(port).as_str()
                        }
                        By::Host | By::Hour | By::Day => "",
                    };
                    by_label.add(label, &sums);
                }
            },
        )?;
        Ok(by_label)
    }

    fn chooses(&self, flow: &FlowRef<'_>, user: &str) -> bool {
        self.filter.is_empty() || self.filter.chooses(known(flow, user))
    }

    fn time(&self, start: i64, is_day: bool) -> CompactString {
        let format = if is_day { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M" };
        match Timestamp::from_second(start) {
            Ok(time) => self.zone.to_datetime(time).strftime(format).to_compact_string(),
            Err(_) => "-".into(),
        }
    }
}

/// Sums of everything that has one name, as it stands in the file. There may be very many, most of them short.
#[derive(Default)]
struct ByLabel(HashMap<CompactString, Sums>);

impl ByLabel {
    fn add(&mut self, label: &str, sums: &Sums) {
        match self.0.get_mut(label) {
            Some(known) => known.add(sums),
            None => drop(self.0.insert(label.into(), *sums)),
        }
    }

    /// As it is shown: the file is a file, anything may stand in it.
    fn shown(mut self) -> Vec<(CompactString, Sums)> {
        let odd = self.0.extract_if(|label, _| label.is_empty() || matches!(clean(label), Cow::Owned(_)));
        for (label, sums) in odd.collect::<Vec<_>>() {
            let shown = if label.is_empty() { "-".into() } else { clean(&label) };
            self.add(&shown, &sums);
        }
        self.0.into_iter().collect()
    }
}

/// Names of users, each asked for once.
#[derive(Default)]
pub(super) struct Users(HashMap<u32, String>);

impl Users {
    pub(super) fn name(&mut self, uid: u32) -> &str {
        self.0.entry(uid).or_insert_with(|| user_name(uid))
    }
}

/// The same as everybody knows it.
pub(super) fn known(flow: &FlowRef<'_>, user: &str) -> HistoryFlow {
    HistoryFlow {
        user: user.to_owned(),
        uid: Some(flow.uid),
        program: flow.program.to_owned(),
        unit: flow.unit.to_owned(),
        direction: match flow.direction {
            Direction::Incoming => WireDirection::In,
            Direction::Outgoing | Direction::Listening => WireDirection::Out,
        },
        protocol: flow.protocol,
        port: flow.port,
        peer: flow.peer.to_owned(),
        host: String::new(),
    }
}

impl Answer {
    /// As a table: numbers under each other, and with bars where a person looks at it.
    pub fn table(&self, by: By, with_bars: bool, out: &mut dyn Write) -> io::Result<()> {
        let rest = self.rest.as_ref().map(|(count, sums)| (format_compact!("({count} more)"), *sums));
        let rows = || self.rows.iter().chain(&rest).map(|(label, sums)| (shortened(label), sums));
        let width = rows().map(|(label, _)| cells(&label)).max().unwrap_or(0);
        let width = width.max(by.word().len()).max(TOTAL.len());
        let most = self.rows.iter().map(|(_, sums)| moved(sums)).max().unwrap_or(0);
        writeln!(out, "{:<width$}  received      sent  connections  failed", by.word())?;
        let mut line = String::new();
        for (label, sums) in rows() {
            row(&label, width, sums, &mut line);
            if with_bars {
                line.push_str(&bar(moved(sums), most));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        row(TOTAL, width, &self.total, &mut line);
        writeln!(out, "{}", line.trim_end())
    }

    /// As objects, one on a line.
    pub fn json(&self, by: By, out: &mut dyn Write) -> io::Result<()> {
        for (label, sums) in &self.rows {
            writeln!(out, "{}", object(by.word(), label, sums))?;
        }
        if let Some((count, sums)) = &self.rest {
            let mut object = object(by.word(), "", sums);
            object[by.word()] = Value::Null;
            object["rows"] = (*count).into();
            writeln!(out, "{object}")?;
        }
        Ok(())
    }

    /// As values separated by commas (RFC 4180), which no spreadsheet takes for formulas.
    pub fn csv(&self, by: By, out: &mut dyn Write) -> io::Result<()> {
        let failures: Vec<_> =
            Sums { failures: [1; 6], ..Sums::default() }.failures().map(|(kind, _)| kind).collect();
        write!(out, "{},rx,tx,connections,{}\r\n", by.word(), failures.join(","))?;
        let rest = self.rest.as_ref().map(|(count, sums)| (format_compact!("({count} more)"), *sums));
        for (label, sums) in self.rows.iter().chain(&rest) {
            let failures: Vec<String> = sums.failures.iter().map(ToString::to_string).collect();
            let Sums { rx, tx, connections, .. } = sums;
            write!(out, "{},{rx},{tx},{connections},{}\r\n", field(label), failures.join(","))?;
        }
        Ok(())
    }
}

fn moved(sums: &Sums) -> u64 {
    sums.rx.saturating_add(sums.tx)
}

/// A row up to its bar, in place of the one before.
fn row(label: &str, width: usize, sums: &Sums, line: &mut String) {
    const SPACES: &str = "           ";
    line.clear();
    line.push_str(label);
    line.extend(std::iter::repeat_n(' ', width.saturating_sub(cells(label))));
    let failed = sums.failures.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let failed: &dyn Display = if failed > 0 { &failed } else { &"" };
    for (number, width) in
        [(&bytes(sums.rx) as &dyn Display, 8), (&bytes(sums.tx), 8), (&sums.connections, 11), (failed, 6)]
    {
        line.push_str("  ");
        let before = line.len();
        // Writing to memory cannot fail.
        let _ = write!(line, "{number}");
        // All of them are ASCII.
        let padding = usize::saturating_sub(width, line.len() - before);
        line.insert_str(before, SPACES.get(..padding).unwrap_or_default());
    }
    line.push_str("  ");
}

/// Its width; most names are plain, and of very many that takes no time.
fn cells(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// A bar in eighths of cells.
fn bar(part: u64, most: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = u128::from(part) * u128::from(BAR) * 8 / u128::from(most.max(1));
    let eighths = usize::try_from(eighths).unwrap_or(0).max(usize::from(part > 0));
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

fn shortened(label: &str) -> Cow<'_, str> {
    if cells(label) <= LABEL {
        return label.into();
    }
    let mut short = String::new();
    for character in label.chars() {
        short.push(character);
        if short.width() >= LABEL - 1 {
            break;
        }
    }
    (short + "…").into()
}

fn object(key: &str, label: &str, sums: &Sums) -> Value {
    let failures: Map<String, Value> =
        sums.failures().map(|(kind, count)| (kind.to_owned(), count.into())).collect();
    json!({
        key: label,
        "rx": sums.rx,
        "tx": sums.tx,
        "connections": sums.connections,
        "failures": failures,
    })
}

/// A field of CSV. What begins like a formula gets a quote before it, as OWASP advises.
fn field(text: &str) -> String {
    // A sign alone is none; what has no name is written so.
    let is_formula = text.len() > 1 && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r', '\'', ';']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(connections: u64, rx: u64, tx: u64) -> Sums {
        Sums { connections, rx, tx, ..Sums::default() }
    }

    #[test]
    fn a_table_has_numbers_under_each_other() {
        let mut failed = sums(3, 0, 0);
        failed.failures[0] = 2;
        let answer = Answer {
            rows: vec![("firefox".into(), sums(12, 1 << 30, 1 << 20)), ("日本".into(), failed)],
            rest: Some((4, sums(1, 10, 10))),
            total: sums(16, (1 << 30) + 10, (1 << 20) + 10),
        };
        let mut table = Vec::new();
        answer.table(By::Program, true, &mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        let ends: Vec<_> =
            table.lines().map(|line| line.split_at_checked(9).map(|(label, _)| label)).collect();
        assert_eq!(ends[..2], [Some("program  "), Some("firefox  ")], "{table}");
        assert!(table.contains("firefox         1G        1M           12          ████"), "{table}");
        assert!(table.contains("日本            0B        0B            3       2\n"), "{table}");
        assert!(table.contains("(4 more)") && table.ends_with("16\n"), "{table}");
    }

    #[test]
    fn no_cell_of_csv_is_a_formula() {
        let hostile = ["=cmd|' /C calc'!A0", "+1", "-2", "@SUM(1)", "a,b", "a\"b", "plain"];
        let answer = Answer {
            rows: hostile.map(|label| (label.into(), sums(1, 2, 3))).to_vec(),
            rest: Some((4, sums(5, 6, 7))),
            ..Answer::default()
        };
        let mut csv = Vec::new();
        answer.csv(By::Peer, &mut csv).unwrap();
        let csv = String::from_utf8(csv).unwrap();
        let lines: Vec<&str> = csv.split("\r\n").collect();
        assert_eq!(
            lines[..4],
            [
                "peer,rx,tx,connections,refused,reset,timeout,unreachable,unanswered,blocked",
                "\"'=cmd|' /C calc'!A0\",2,3,1,0,0,0,0,0,0",
                "\"'+1\",2,3,1,0,0,0,0,0,0",
                "\"'-2\",2,3,1,0,0,0,0,0,0",
            ]
        );
        assert!(
            lines.contains(&"\"a,b\",2,3,1,0,0,0,0,0,0") && lines.contains(&"\"a\"\"b\",2,3,1,0,0,0,0,0,0")
        );
        assert!(lines.contains(&"plain,2,3,1,0,0,0,0,0,0"));
        assert!(lines.contains(&"(4 more),6,7,5,0,0,0,0,0,0"));
    }

    #[test]
    fn bars_are_in_proportion() {
        assert_eq!((bar(0, 10), bar(10, 10).chars().count()), (String::new(), 24));
        assert_eq!((bar(5, 10).chars().count(), bar(1, u64::MAX)), (12, "▏".to_owned()));
    }
}
