// SPDX-License-Identifier: GPL-3.0-or-later
//! What is stored, for receivers: a page at a time, so that nobody who stalls keeps the file, or memory, for himself.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use leco_core::query::Query;
use leco_core::wire::event::Direction;
use leco_core::wire::history::{HISTORY_VERSION, HistoryFlow, Span, StoredHistory, StoredTotal};
use leco_os::causes::{causes, sentence};
use leco_os::clock::BootNs;

use crate::history::errors::StoreError;
use crate::history::question::{Users, known};
use crate::history::store::Store;
use crate::history::totals::Total;
use crate::render::line::proto;

/// Bytes of a page; a receiver may have one more line.
const PAGE: usize = 32 << 10;
/// A line is ended once it is so long: with one total more it is mostly still written at once to a pipe (`PIPE_BUF`).
const LINE: usize = 3000;
/// Rows that are read at once.
const ROWS: usize = 500;

/// What a receiver is told, and how far it was.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    /// An event up to its last field, without its closing brace.
    pub(crate) head: Arc<str>,
    /// Seconds since 1970.
    pub(crate) since: i64,
    pub(crate) until: i64,
    /// The same on the boot clock.
    pub(crate) at: BootNs,
    /// Nothing of it yet where there is none.
    pub(crate) place: Option<Place>,
}

/// Hours go before days, and the latest before others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) is_day: bool,
    /// The total that was told last.
    pub(crate) start: i64,
    pub(crate) flow: i64,
    /// When the first hour began as it was at the beginning. Hours become days meanwhile, and must not count twice.
    pub(crate) hours_from: i64,
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct PageQuestion {
    /// Who asks.
    pub(crate) receiver: u64,
    pub(crate) filter: Option<Arc<Query>>,
    pub(crate) from: Cursor,
    /// Is over once everything until now is in the file.
    pub(crate) written: Option<Receiver<()>>,
}

/// Lines, and where the next page begins; the last one has the end.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) lines: Vec<u8>,
    pub(crate) next: Option<Cursor>,
}

impl PageQuestion {
    /// Looks it up.
    pub(crate) fn answer(&self, path: &Path) -> Page {
        if let Some(written) = &self.written {
            // It ends either way.
            let _ = written.recv();
        }
        self.read(path).unwrap_or_else(|error| self.refusal(&sentence(&causes(&error))))
    }

    /// Says why there is nothing.
    pub(crate) fn refusal(&self, reason: &str) -> Page {
        let mut lines = Vec::new();
        self.write(&mut lines, &StoredHistory { end: true, error: Some(reason.to_owned()), ..self.part() });
        Page { lines, next: None }
    }

    fn part(&self) -> StoredHistory {
        let Cursor { since, until, at, .. } = self.from;
        StoredHistory { v: HISTORY_VERSION, since, until, at, ..StoredHistory::default() }
    }

    fn write(&self, lines: &mut Vec<u8>, part: &StoredHistory) {
        lines.extend_from_slice(self.from.head.as_bytes());
        lines.extend_from_slice(b",\"history\":");
        // Writing to memory cannot fail, and no key is something else than a text.
        let _ = serde_json::to_writer(&mut *lines, part);
        lines.extend_from_slice(b"}\n");
    }

    fn read(&self, path: &Path) -> Result<Page, StoreError> {
        let store = Store::open_again(path)?;
        let mut users = Users::default();
        let mut place = match self.from.place {
            Some(place) => place,
            None => Place { is_day: false, start: i64::MAX, flow: i64::MAX, hours_from: store.first_hour()? },
        };
        let (mut lines, mut totals, mut length) = (Vec::new(), Vec::new(), 0);
        loop {
            let rows = store.totals_before(&place, self.from.since, ROWS)?;
            let is_last = rows.len() < ROWS;
            for (total, flow) in rows {
                (place.start, place.flow) = (total.start, total.flow);
                let Some(flow) = flow else { continue };
                let flow = known(&flow.as_ref(), users.name(flow.uid));
                if !self.filter.as_ref().is_none_or(|filter| filter.chooses(flow.clone())) {
                    continue;
                }
                let total = stored(&total, flow);
                // What JSON has around it is about as long as its texts may be.
                length += 160 + total.program.len() + total.unit.len() + total.user.len() + total.peer.len();
                totals.push(total);
                if length >= LINE {
                    self.write(
                        &mut lines,
                        &StoredHistory { totals: std::mem::take(&mut totals), ..self.part() },
                    );
                    length = 0;
                }
                if lines.len() >= PAGE {
                    return Ok(Page {
                        lines,
                        next: Some(Cursor { place: Some(place), ..self.from.clone() }),
                    });
                }
            }
            match (is_last, place.is_day) {
                (false, _) => {}
                (true, false) => {
                    place = Place { is_day: true, start: place.hours_from, flow: i64::MIN, ..place };
                }
                (true, true) => break,
            }
        }
        self.write(&mut lines, &StoredHistory { totals, end: true, ..self.part() });
        Ok(Page { lines, next: None })
    }
}

fn stored(total: &Total, flow: HistoryFlow) -> StoredTotal {
    let HistoryFlow { user, uid, program, unit, direction, protocol, port, peer, host: _ } = flow;
    let mut number = String::new();
    StoredTotal {
        start: total.start,
        by: if total.is_day { Span::Day } else { Span::Hour },
        program,
        unit,
        uid: uid.unwrap_or_default(),
        user,
        dir: if direction == Direction::In { "in" } else { "out" }.to_owned(),
        proto: proto(protocol, &mut number).to_owned(),
        port,
        peer,
        connections: total.sums.connections,
        rx: total.sums.rx,
        tx: total.sums.tx,
        failures: total.sums.failures().map(|(kind, count)| (kind.to_owned(), count)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::history::totals::HOUR;
    use crate::history::totals::fixtures::{LIMITS, START, fill};

    fn question(from: Option<Cursor>, filter: Option<&str>) -> PageQuestion {
        let head = "{\"ns\":1,\"ns_trx\":1,\"line\":\"x\"".into();
        let first = Cursor { head, since: START, until: START + 1000 * HOUR, at: 7, place: None };
        let filter = filter.map(|filter| Arc::new(Query::parse(filter).unwrap()));
        PageQuestion { receiver: 1, filter, from: from.unwrap_or(first), written: None }
    }

    /// Every part, and between pages this.
    fn all(path: &Path, filter: Option<&str>, mut between: impl FnMut()) -> Vec<StoredHistory> {
        let (mut parts, mut from) = (Vec::new(), None);
        loop {
            let page = question(from, filter).answer(path);
            assert!(page.lines.len() < PAGE + 4096 && page.lines.ends_with(b"\n"));
            for line in page.lines.trim_ascii_end().split(|byte| *byte == b'\n') {
                assert!(line.len() < 4096, "{} bytes", line.len());
                parts.push(StoredHistory::of(line).unwrap());
            }
            from = page.next;
            if from.is_none() {
                return parts;
            }
            between();
        }
    }

    fn summed(parts: &[StoredHistory]) -> BTreeMap<(i64, String), (u64, u64)> {
        let mut sums = BTreeMap::new();
        for total in parts.iter().flat_map(|part| &part.totals) {
            let before = sums.insert((total.start, total.peer.clone()), (total.connections, total.rx));
            assert_eq!(before, None, "{} {} came twice", total.start, total.peer);
        }
        sums
    }

    #[test]
    fn pages_have_every_total_once_while_others_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        let zone = TimeZone::UTC;
        // Ten days, of which the first become days.
        let mut store = fill(&path, &zone, 0..240, 10);
        store.tidy("boot", START + 240 * HOUR, &zone, LIMITS).unwrap();
        let is_day = |part: &StoredHistory| part.totals.iter().any(|total| total.by == Span::Day);
        let before = all(&path, None, || ());
        assert!(before.len() > 100 && before.iter().any(is_day));
        assert!(before.iter().rev().skip(1).all(|part| !part.end) && before.last().unwrap().end);
        let sums = summed(&before);
        let connections: u64 = sums.values().map(|(connections, _)| connections).sum();
        // The day on which it was asked for begins before that.
        let mut whole = 0;
        store.totals((START, i64::MAX), |total| whole += total.sums.connections).unwrap();
        assert_eq!(connections, whole);
        // A receiver that stalls between two pages holds up neither the one that writes nor the file's bounds.
        let mut hour = 240;
        let after = all(&path, None, || {
            let mut store = fill(&path, &zone, hour..hour + 1, 1);
            store.bound(LIMITS).unwrap();
            hour += 1;
        });
        assert_eq!(summed(&after), sums);
        let log = std::fs::metadata(dir.path().join("seen.sqlite-wal")).unwrap().len();
        assert!(log < 8 << 20, "the log is {log} bytes: nothing keeps it from being emptied");
    }

    #[test]
    fn a_filter_chooses_totals_and_what_cannot_be_read_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.sqlite");
        drop(fill(&path, &TimeZone::UTC, 0..3, 10));
        let chosen = all(&path, Some("peer:host-7. port:443"), || ());
        assert_eq!((chosen.len(), chosen[0].totals.len()), (1, 3));
        let total = &chosen[0].totals[0];
        assert_eq!(
            (total.program.as_str(), total.dir.as_str(), total.proto.as_str(), total.rx),
            ("program-7", "out", "tcp", 1 << 20)
        );
        let nothing = all(&dir.path().join("nothing"), None, || ());
        assert!(nothing[0].end && nothing[0].error.as_deref().is_some_and(|error| error.contains("nothing")));
    }
}
