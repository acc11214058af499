// SPDX-License-Identifier: GPL-3.0-or-later
//! Totals through a whole memory: over restarts, hours, days, steps of the clock and upgrades.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use compact_str::CompactString;
use jiff::Timestamp;
use leco_cli::history::By;
use leco_core::query::Query;

use super::fixtures::{LIMITS, START, fill, flow, sums};
use super::*;
use crate::fixtures;
use crate::history::pages::{Cursor, PageQuestion};
use crate::history::question::{Answer, Question};
use crate::history::{Memory, Saved, Store, StoreError};

const SECOND: u64 = 1_000_000_000;
const DAY: i64 = 24 * HOUR;

fn saved(zone: &TimeZone) -> Saved {
    Saved { totals: Some(LIMITS), zone: zone.clone(), ..Saved::default() }
}

fn at(second: i64) -> Now {
    let boot = u64::try_from(second - START + 1_000).unwrap() * SECOND;
    Now { boot, wall: Timestamp::from_second(second).unwrap() }
}

fn conn(ns: u64, rx: u64, tx: u64) -> Conn {
    Conn { rx, tx, ..fixtures::conn(ns, 7, 1000, "192.0.2.1") }
}

fn ask(path: &Path, by: By, zone: &TimeZone, filter: &str) -> Answer {
    let filter = Query::parse(filter).unwrap();
    let question = Question { by, range: (0, i64::MAX), filter: &filter, top: None, zone };
    question.answer(&Store::open_to_read(path).unwrap()).unwrap()
}

#[test]
fn nothing_is_counted_twice_or_lost_over_restarts_and_kills() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    let zone = TimeZone::UTC;
    let labels = fixtures::labels("curl", None);
    let open = || Memory::open(&path, "boot", &saved(&zone)).unwrap().0;
    let mut memory = open();
    memory.count(&conn(1, 100, 10), &labels, &at(START));
    memory.count(&conn(1, 300, 20), &labels, &at(START + 1));
    memory.finish();
    // The kernel side tells the next pipe all that it knows, again.
    let mut memory = open();
    memory.count(&conn(1, 300, 20), &labels, &at(START + 10));
    memory.count(&conn(1, 1000, 50), &labels, &at(START + 11));
    memory.count(&Conn { state: State::Refused, ..conn(2, 0, 0) }, &labels, &at(START + 12));
    memory.keep_time(at(START + 20).boot);
    memory.finish();
    // One that was killed had counted more than it wrote.
    let mut memory = open();
    memory.count(&conn(1, 5000, 60), &labels, &at(START + 30));
    drop(memory);
    let mut memory = open();
    memory.count(&conn(1, 6000, 70), &labels, &at(START + 40));
    memory.count(&Conn { state: State::Refused, ..conn(2, 0, 0) }, &labels, &at(START + 41));
    memory.finish();
    let answer = ask(&path, By::Program, &zone, "");
    let mut expected = sums(2, 6000, 70);
    expected.failures[0] = 1;
    assert_eq!(answer.rows, [(CompactString::from("curl"), expected)]);
    // Of another boot, the same numbers are other connections.
    let mut memory = Memory::open(&path, "next", &saved(&zone)).unwrap().0;
    memory.count(&conn(1, 7, 7), &labels, &at(START + 50));
    memory.finish();
    assert_eq!(ask(&path, By::Program, &zone, "").total.rx, 6007);
}

#[test]
fn a_connection_that_fails_in_two_ways_counts_once_in_each() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    let labels = fixtures::labels("curl", None);
    let open = || Memory::open(&path, "boot", &saved(&TimeZone::UTC)).unwrap().0;
    let mut expected = sums(3, 0, 37);
    (expected.failures[0], expected.failures[5]) = (2, 3);
    let mut memory = open();
    for (second, state, sent) in [(0, State::Blocked, 0), (9, State::Open, 10), (18, State::Refused, 10)] {
        memory.count(&Conn { state, ..conn(1, 0, sent) }, &labels, &at(START + second));
        memory.keep_time(at(START + second + 6).boot);
    }
    for state in [State::Blocked, State::Open] {
        memory.count(&Conn { state, ..conn(2, 0, 20) }, &labels, &at(START + 30));
        memory.flush();
    }
    // All of it before anything is written.
    for (state, sent) in [(State::Blocked, 0), (State::Open, 7), (State::Refused, 7), (State::Closed, 7)] {
        memory.count(&Conn { state, ..conn(3, 0, sent) }, &labels, &at(START + 40));
    }
    // Each reader that comes is told all that is known, and so is the next pipe.
    for hour in 0..3 {
        memory.count(
            &Conn { state: State::Refused, ..conn(1, 0, 10) },
            &labels,
            &at(START + hour * HOUR + 60),
        );
        memory.count(&conn(2, 0, 20), &labels, &at(START + hour * HOUR + 60));
        memory.finish();
        memory = open();
    }
    drop(memory);
    assert_eq!(
        ask(&path, By::Hour, &TimeZone::UTC, "").rows,
        [(CompactString::from("2027-01-15 08:00"), expected)]
    );
}

#[test]
fn of_what_has_ended_so_much_is_known_as_may_be_told_again_and_of_what_is_open_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    let labels = fixtures::labels("curl", None);
    let saved = Saved { ended: 10, ..saved(&TimeZone::UTC) };
    for round in 0..3 {
        let mut memory = Memory::open(&path, "boot", &saved).unwrap().0;
        // What is open is told again, and then what ended in the meantime.
        memory.count(&conn(1, 500, 5), &labels, &at(START + round));
        let ended = |ns| Conn { state: State::Closed, ..conn(ns, 1, 1) };
        let first = 10 + u64::try_from(round).unwrap() * 1000;
        for ns in first..first + 1000 {
            memory.count(&ended(ns), &labels, &at(START + round));
        }
        memory.finish();
        let counted = Connection::open(&path).unwrap();
        let rows = counted.query_row("SELECT count(*) FROM counted", [], |row| row.get(0));
        assert_eq!(rows, Ok(21));
    }
    assert_eq!(ask(&path, By::Program, &TimeZone::UTC, "").total, sums(3001, 3500, 3005));
}

#[test]
fn bytes_count_in_the_hour_in_which_they_moved_and_names_by_what_is_known_when_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    // Half an hour beside the others.
    let zone = TimeZone::posix("ABC-5:30").unwrap();
    let mut memory = Memory::open(&path, "boot", &saved(&zone)).unwrap().0;
    let unnamed = fixtures::labels("curl", None);
    let named = fixtures::labels("curl", Some("a.test"));
    let half = START + 1800;
    memory.count(&conn(1, 100, 0), &unnamed, &at(half - 10));
    memory.count(&conn(1, 250, 0), &named, &at(half - 1));
    memory.count(&conn(1, 1000, 0), &named, &at(half));
    memory.finish();
    assert_eq!(ask(&path, By::Peer, &zone, "").rows, [(CompactString::from("a.test"), sums(1, 1000, 0))]);
    let hours = ask(&path, By::Hour, &zone, "");
    let rows = [("2027-01-15 13:00", sums(1, 250, 0)), ("2027-01-15 14:00", sums(0, 750, 0))];
    assert_eq!(hours.rows, rows.map(|(label, sums)| (CompactString::from(label), sums)));
    assert_eq!(ask(&path, By::Program, &zone, "peer:a.test port:443").rows.len(), 1);
    assert_eq!(ask(&path, By::Program, &zone, "proc:wget").rows.len(), 0);
}

#[test]
fn hours_become_days_and_days_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    // Clocks go forward on 2027-03-28, and back on 2027-10-31.
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let mut store = fill(&path, &zone, 0..24 * 100, 2);
    let now = START + 100 * DAY;
    store.tidy("boot", now, &zone, Limits { days: 60, ..LIMITS }).unwrap();
    store.tidy("boot", now, &zone, Limits { days: 60, ..LIMITS }).unwrap();
    drop(store);
    let days = ask(&path, By::Day, &zone, "");
    let of = |day: &str| days.rows.iter().find(|(label, _)| label == day).map(|(_, sums)| sums.connections);
    assert_eq!(of("2027-03-27"), Some(48));
    assert_eq!(of("2027-03-28"), Some(46), "a day of 23 hours");
    assert_eq!(of("2027-03-29"), Some(48));
    // 60 days before the 25th of April, and today.
    assert_eq!((days.rows[0].0.as_str(), days.rows.len()), ("2027-02-24", 61));
    let hours = ask(&path, By::Hour, &zone, "");
    assert_eq!(hours.rows.iter().filter(|(_, sums)| sums.connections == 2).count(), 7 * 24 + 10);
    let (whole, hourly): (Vec<_>, Vec<_>) = hours.rows.iter().partition(|(_, sums)| sums.connections > 2);
    assert_eq!((whole[0].0.as_str(), hourly[0].0.as_str()), ("2027-02-24", "2027-04-18 00:00"));
    assert!(
        whole.iter().all(|(label, _)| label.len() == 10) && hourly.iter().all(|(label, _)| label.len() == 16)
    );
    let mut json = Vec::new();
    hours.json(By::Hour, &mut json).unwrap();
    assert!(String::from_utf8(json).unwrap().contains("\"hour\":\"2027-02-24\""));
}

#[test]
fn a_time_begins_with_the_whole_total_that_it_is_in() {
    let zone = TimeZone::posix("ABC-5:30").unwrap();
    let start = |age| start_of_total(START - age, START, &zone);
    assert_eq!(START - start(0), 1800, "13:30 is of 13:00");
    assert_eq!(start(600), start(0));
    assert_eq!(
        start(8 * 24 * 3600),
        leco_os::time_zone::start_of_day(START, -8, &zone),
        "of which there are days only"
    );
}

#[test]
fn the_file_is_bounded_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    let zone = TimeZone::UTC;
    let limits = Limits { days: 30, bytes: 1 << 20 };
    let mut store = fill(&path, &zone, 0..2, 500);
    for hour in 2..100 {
        drop(store);
        store = fill(&path, &zone, hour..hour + 1, 500);
        store.bound(limits).unwrap();
    }
    drop(store);
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size < limits.bytes + (100 << 10), "{size}");
    let hours = ask(&path, By::Hour, &zone, "");
    assert_eq!(hours.rows.last().unwrap().0, "2027-01-19 11:00");
    assert!((10..98).contains(&hours.rows.len()), "{}", hours.rows.len());
}

#[test]
fn what_is_no_total_takes_no_room_of_totals() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    let mut store = fill(&path, &TimeZone::UTC, 0..2, 10);
    let counted = (0..40_000).map(|ns| (ns, Counted::default())).collect();
    let batch = TotalsBatch { counted, ..TotalsBatch::default() };
    store.write(&[], "6a1f6d0e-93a5-4ef0-b7d2-1f1f4a6a0f39", &[], (&batch, START)).unwrap();
    let connection = Connection::open(&path).unwrap();
    let others = tables::used_by_others(&connection).unwrap();
    assert!((40_000 * 40..40_000 * 100).contains(&others), "{others}");
    store.bound(Limits { days: 30, bytes: 1 << 20 }).unwrap();
    assert_eq!(ask(&path, By::Hour, &TimeZone::UTC, "").rows.len(), 2);
}

#[test]
fn a_clock_that_steps_back_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    let zone = TimeZone::UTC;
    let mut memory = Memory::open(&path, "boot", &saved(&zone)).unwrap().0;
    let labels = fixtures::labels("curl", None);
    for (bytes, wall) in [(10, START), (20, START - 4000), (30, START + 9000), (40, START + 1)] {
        memory.count(
            &conn(1, bytes, 0),
            &labels,
            &Now { boot: SECOND, wall: Timestamp::from_second(wall).unwrap() },
        );
    }
    memory.finish();
    assert_eq!(ask(&path, By::Hour, &zone, "").rows.len(), 3);
    assert_eq!(ask(&path, By::Program, &zone, "").total, sums(1, 40, 0));
}

#[test]
fn a_memory_of_before_gets_totals_and_keeps_its_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    let labels = fixtures::labels("curl", None);
    let mut memory = Memory::open(&path, "boot", &Saved::default()).unwrap().0;
    memory.see(&conn(1, 0, 0), &labels, &at(START));
    memory.finish();
    let old = Connection::open(&path).unwrap();
    let drops: String = ["flow", "hours", "packed", "failures", "counted"]
        .map(|table| format!("DROP TABLE {table};"))
        .concat();
    old.execute_batch(&format!("{drops} PRAGMA user_version=2")).unwrap();
    drop(old);
    assert!(!Store::open_to_read(&path).unwrap().has_totals().unwrap());
    let mut memory = Memory::open(&path, "boot", &saved(&TimeZone::UTC)).unwrap().0;
    memory.count(&conn(2, 1, 2), &labels, &at(START + 9));
    memory.finish();
    assert_eq!(ask(&path, By::Program, &TimeZone::UTC, "").total, sums(1, 1, 2));
    assert_eq!(Store::open_to_read(&path).unwrap().pairs().unwrap().len(), 1);
}

/// Version 3 kept each total in a row of its own. Reading leaves the file alone, opening it for writing packs it, and
/// both find the same totals.
#[test]
fn totals_are_the_same_after_an_upgrade() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    let zone = TimeZone::UTC;
    drop(fill(&path, &zone, 190..200, 3));
    let old = Connection::open(&path).unwrap();
    old.execute_batch(&format!(
        "DROP TABLE packed; CREATE TABLE days (start INTEGER NOT NULL, flow INTEGER NOT NULL, connections INTEGER NOT \
         NULL, rx INTEGER NOT NULL, tx INTEGER NOT NULL, PRIMARY KEY (start, flow)) WITHOUT ROWID; \
         INSERT INTO days VALUES ({0}, 1, 10, 100, 1000), ({0}, 3, 20, 200, 2000), ({1}, 3, 1, 2, 3); \
         INSERT INTO failures VALUES ({0}, 3, 1, 7), ({0}, 3, 6, 1), ({2}, 2, 5, 4); PRAGMA user_version=3",
        START - 8 * HOUR,
        START + 16 * HOUR,
        START + 191 * HOUR,
    ))
    .unwrap();
    drop(old);
    let all = || [By::Program, By::Peer, By::Hour, By::Day].map(|by| ask(&path, by, &zone, ""));
    let before = all();
    let total = before[0].total;
    assert_eq!((total.connections, total.rx, total.failures), (61, (30 << 20) + 302, [7, 0, 0, 0, 4, 1]));
    let mut store = Store::open(&path).unwrap();
    assert_eq!(all(), before);
    assert!(Connection::open(&path).unwrap().prepare("SELECT * FROM days").is_err());
    // Hours are packed when they are over, with what of one comes later.
    store.tidy("boot", START + 200 * HOUR, &zone, LIMITS).unwrap();
    assert_eq!(all(), before);
    let late = Flow { program: "late".into(), ..flow(1) };
    let batch = |flow: Flow| TotalsBatch {
        sums: [((START + 191 * HOUR, flow), sums(5, 6, 7))].into(),
        ..TotalsBatch::default()
    };
    store.write(&[], "boot", &[], (&batch(late), START + 201 * HOUR)).unwrap();
    store.write(&[], "boot", &[], (&batch(flow(1)), START + 201 * HOUR)).unwrap();
    let after = all();
    assert_eq!(after[0].total.connections, total.connections + 10);
    store.tidy("boot", START + 201 * HOUR, &zone, LIMITS).unwrap();
    assert_eq!(all(), after);
}

#[test]
fn damaged_totals_are_told_as_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    let mut store = fill(&path, &TimeZone::UTC, 0..3, 3);
    store.tidy("boot", START + 4 * HOUR, &TimeZone::UTC, LIMITS).unwrap();
    drop(store);
    for damage in ["totals = x'ffffffffffffffffffffff'", "totals = 'text'", "flow = 'text'"] {
        let file = dir.path().join("damaged.sqlite");
        std::fs::copy(&path, &file).unwrap();
        Connection::open(&file).unwrap().execute_batch(&format!("UPDATE packed SET {damage}")).unwrap();
        let error = Store::open_to_ask(&file).unwrap().totals((0, i64::MAX), |_| ()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged(..)), "{damage}: {error:?}");
        drop(Store::open(&file).unwrap());
        assert!(dir.path().join("damaged.sqlite.damaged").exists(), "{damage}");
        std::fs::remove_file(dir.path().join("damaged.sqlite.damaged")).unwrap();
    }
}

#[test]
fn an_answer_is_whole_while_hours_are_packed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    let zone = TimeZone::UTC;
    let mut store = fill(&path, &zone, 0..10, 3);
    store.tidy("boot", START + 10 * HOUR, &zone, LIMITS).unwrap();
    let mut store = fill(&path, &zone, 10..20, 3);
    let asked = Store::open_to_ask(&path).unwrap();
    let mut connections = 0;
    asked
        .totals((0, i64::MAX), |total| {
            if connections == 0 {
                store.tidy("boot", START + 30 * HOUR, &zone, LIMITS).unwrap();
            }
            connections += total.sums.connections;
        })
        .unwrap();
    assert_eq!(connections, 20 * 3);
}

#[test]
fn of_very_many_flows_each_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    drop(fill(&path, &TimeZone::UTC, 0..1, 20_500));
    for (by, rows) in [(By::Peer, 20_500), (By::Program, 50), (By::User, 1)] {
        let answer = ask(&path, by, &TimeZone::UTC, "");
        assert_eq!((answer.rows.len(), answer.total.connections), (rows, 20_500), "{by:?}");
    }
    let chosen = ask(&path, By::Peer, &TimeZone::UTC, "peer:99.example");
    assert_eq!(chosen.rows.len(), 205);
}

/// Locks that this process has on a database, and on the file by which its readers and writers know of each other.
fn locks(path: &Path) -> [usize; 2] {
    ["", "-shm"].map(|suffix| {
        let file = format!("{}{suffix}", path.display());
        let inode = format!(":{} ", std::fs::metadata(file).unwrap().ino());
        let all = std::fs::read_to_string("/proc/locks").unwrap();
        all.lines().filter(|line| line.contains(" POSIX ") && line.contains(&inode)).count()
    })
}

/// `SQLite` tells processes apart by their locks alone (fcntl(2)): without them others write over what is being read.
#[test]
fn what_is_opened_again_leaves_all_locks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.sqlite");
    let writer = fill(&path, &TimeZone::UTC, 0..1, 20_500);
    let before = locks(&path);
    assert!(before.iter().all(|count| *count > 0), "{before:?}");
    let head = "{\"ns\":1,\"ns_trx\":1,\"line\":\"x\"".into();
    let from = Cursor { head, since: START, until: START + HOUR, at: 7, place: None };
    let page = PageQuestion { receiver: 1, filter: None, from, written: None }.answer(&path);
    assert!(page.lines.len() > 10_000);
    assert_eq!(locks(&path), before, "after a page");
    drop(writer);
    let asked = Store::open_to_ask(&path).unwrap();
    assert!(asked.has_totals().unwrap());
    let before = locks(&path);
    let filter = Query::default();
    let question =
        Question { by: By::Peer, range: (0, i64::MAX), filter: &filter, top: None, zone: &TimeZone::UTC };
    assert_eq!(question.answer(&asked).unwrap().rows.len(), 20_500);
    assert!(before.iter().all(|count| *count > 0), "{before:?}");
    assert_eq!(locks(&path), before, "after a question in two threads");
}
