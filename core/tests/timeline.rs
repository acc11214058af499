// SPDX-License-Identifier: GPL-3.0-or-later
//! Several machines, boots and recordings through the whole model: ages, order and slots.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use leco_core::config::Config;
use leco_core::model::overseer::Overseer;
use leco_core::source::Origin;
use leco_os::clock::Now;

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;
/// Of the wall clock at our boot: ns since 1970.
const WALL: i64 = 1_772_323_200_000_000_000;
const OURS: &str = "0urb00t0-0000";

/// So long after our boot.
fn now(boot: u64) -> Now {
    Now { boot, wall: WALL + boot.cast_signed() }
}

/// A machine that was started at another time.
struct Host {
    boot: &'static str,
    /// Its boot clock when ours began.
    ahead: i64,
    is_told: bool,
}

impl Host {
    fn new(boot: &'static str, ahead: i64) -> Self {
        Self { boot, ahead, is_told: false }
    }

    fn clock(&self, ours: u64) -> u64 {
        ours.checked_add_signed(self.ahead).unwrap()
    }

    /// An event of a connection that began and was told at these moments of ours; the first of them has the clock as it
    /// was when it was written.
    fn event(&mut self, first: i64, latest: i64, written: u64, line: &str) -> Vec<u8> {
        let theirs = |moment: i64| u64::try_from(moment + self.ahead).unwrap();
        let mut event = serde_json::json!({"ns": theirs(first), "ns_trx": theirs(latest), "line": line, "boot": &self.boot[..8]});
        if !std::mem::replace(&mut self.is_told, true) {
            event["clock"] = serde_json::json!({
                "boot": self.boot, "host": format!("host-{}", self.boot),
                "ns": self.clock(written), "wall": now(written).wall,
            });
        }
        event.to_string().into_bytes()
    }
}

fn overseer(config: &str, rows: usize) -> Overseer {
    let config = Config::parse(config.as_bytes(), std::path::Path::new("test.ini"));
    let mut overseer = Overseer::on_machine(config, OURS);
    overseer.frame(0, rows);
    overseer
}

/// Lines in their slots with their age in seconds.
fn shown(overseer: &mut Overseer, now: u64, rows: usize) -> Vec<(String, u64)> {
    let rows = &overseer.frame(now, rows).rows;
    rows.iter().flatten().map(|row| (row.text.to_string(), row.age.as_secs())).collect()
}

fn named(lines: &[(&str, u64)]) -> Vec<(String, u64)> {
    lines.iter().map(|(line, age)| ((*line).to_owned(), *age)).collect()
}

#[test]
fn machines_started_ten_days_apart_stand_in_one_order_and_fade_alike() {
    let mut overseer = overseer("[text]\nline-fade-time = 100\nline-fade-curve = 0,100 100,0\n", 4);
    let minute = (60 * SECOND).cast_signed();
    let mut old = Host::new("aaaaaaaa-1", (10 * DAY).cast_signed());
    let mut young = Host::new("bbbbbbbb-1", -(HOUR.cast_signed()));
    let at = 2 * HOUR;
    let here = at.cast_signed();
    let local = format!("{{\"ns\":{},\"ns_trx\":{},\"line\":\"local\"}}", at - 9 * SECOND, at - 3 * SECOND);
    overseer.receive_from(Origin { index: 0, ..Origin::default() }, local.as_bytes(), now(at));
    let source = |index| Origin { index, ..Origin::default() };
    let first = old.event(here - 2 * minute, here - minute / 2, at, "old");
    overseer.receive_from(source(1), &first, now(at));
    overseer.receive_from(source(1), &old.event(here - minute, here - minute, at, "older"), now(at));
    overseer.receive_from(source(1), &young.event(here - 10, here - minute / 4, at, "young"), now(at));
    assert_eq!(
        shown(&mut overseer, at, 4),
        named(&[("local", 3), ("old", 30), ("older", 60), ("young", 15)])
    );
    let alphas: Vec<_> = overseer.frame(at, 4).rows.iter().flatten().map(|row| row.alpha).collect();
    // Of 255, from full to nothing in a hundred seconds.
    for (alpha, age) in alphas.iter().zip([3.0, 30.0, 60.0, 15.0]) {
        assert!((f64::from(*alpha) - 2.55 * (100.0 - age)).abs() < 12.0, "{alphas:?}");
    }
    let order: Vec<_> = overseer.known().map(|line| line.text().to_owned()).collect();
    assert_eq!(order, ["older", "old", "young", "local"], "the least recently updated first");
    let first_ages: Vec<_> = overseer.known().map(|line| line.first_age(at).as_secs()).collect();
    assert_eq!(first_ages, [60, 120, 0, 9]);
    // The next one takes the slot of the oldest, whoever told it last.
    overseer.receive_from(source(1), &old.event(here, here, at, "new"), now(at));
    assert_eq!(shown(&mut overseer, at, 4)[2], ("new".to_owned(), 0));
}

#[test]
fn a_replay_of_four_hours_looks_as_old_as_it_is_even_where_we_were_started_since() {
    let mut overseer = overseer("[text]\nline-fade-time = 10d\n", 7);
    let mut host = Host::new("aaaaaaaa-1", DAY.cast_signed());
    let at = 10 * 60 * SECOND;
    for age in (0..=240).rev().step_by(40) {
        let then = at.cast_signed() - age * 60 * SECOND.cast_signed();
        overseer.receive(&host.event(then, then, at, &format!("{age}")), now(at));
    }
    let ages = [240, 200, 160, 120, 80, 40, 0].map(|age: u64| (age.to_string(), age * 60));
    assert_eq!(shown(&mut overseer, at, 7), ages);
    // An older machine that tells what it knows takes no slot from what is newer, and pushes nothing out.
    let mut other = Host::new("bbbbbbbb-1", DAY.cast_signed());
    for age in 1..500 {
        let then = at.cast_signed() - (300 + age) * 60 * SECOND.cast_signed();
        overseer.receive(&other.event(then, then, at, "ancient"), now(at));
    }
    assert_eq!(shown(&mut overseer, at, 7), ages);
}

#[test]
fn a_reboot_in_the_middle_of_a_stream_leaves_every_age_right() {
    let mut overseer = overseer("[text]\nline-fade-time = 10d\n", 4);
    let mut before = Host::new("aaaaaaaa-1", (10 * DAY).cast_signed());
    let at = HOUR;
    let here = at.cast_signed();
    overseer.receive(&before.event(here, here, at, "before"), now(at));
    // It was started 30 s ago; its clocks says that, and nothing else is new on this stream.
    let later = at + 90 * SECOND;
    let mut after = Host::new("cccccccc-1", -(later.cast_signed() - (30 * SECOND).cast_signed()));
    let then = (later - 5 * SECOND).cast_signed();
    overseer.receive(&after.event(then, then, later, "after"), now(later));
    overseer.receive(&after.event(then + 1, later.cast_signed(), later, "more"), now(later));
    assert_eq!(shown(&mut overseer, later, 4), named(&[("before", 90), ("after", 5), ("more", 0)]));
    let tags: Vec<_> =
        overseer.frame(later, 3).rows.iter().flatten().map(|row| row.tag.text.clone()).collect();
    assert!(
        tags.iter().all(|tag| tag.starts_with("host-")),
        "of different machines for all that is known: {tags:?}"
    );
}

#[test]
fn connections_of_different_boots_are_never_the_same_and_of_one_boot_always() {
    let mut overseer = overseer("[text]\nline-fade-time = 10d\n", 4);
    let event = |boot: &str, host: &str, line: &str| {
        serde_json::json!({
            "ns": 7, "ns_trx": 8, "line": line,
            "clock": {"boot": boot, "host": host, "ns": 9, "wall": WALL},
        })
        .to_string()
        .into_bytes()
    };
    let source = |index| Origin { index, ..Origin::default() };
    overseer.receive_from(source(0), &event("a-1", "nas", "one"), now(HOUR));
    overseer.receive_from(source(0), &event("b-1", "nas", "two"), now(HOUR));
    overseer.receive_from(source(1), &event("a-1", "nas", "one, heard again"), now(HOUR));
    let rows = overseer.frame(HOUR, 4).rows.clone();
    let lines: Vec<_> = rows.iter().flatten().map(|row| &*row.text).collect();
    assert_eq!(lines, ["one, heard again", "two"]);
    assert_ne!(rows[0].as_ref().unwrap().tag, rows[1].as_ref().unwrap().tag);
    assert!(rows.iter().flatten().all(|row| row.tag.text.starts_with('#')), "one machine needs no name");
    overseer.receive_from(source(0), &event("c-1", "far", "three"), now(HOUR));
    let tags: Vec<_> =
        overseer.frame(HOUR, 4).rows.iter().flatten().map(|row| row.tag.text.clone()).collect();
    assert!(tags[0].starts_with("nas#") && tags[2].starts_with("far#"), "{tags:?}");
}

#[test]
fn json_tells_ages_whatever_the_clock() {
    let mut overseer = overseer("[text]\nline-fade-time = 10d\n", 4);
    let mut host = Host::new("aaaaaaaa-1", (10 * DAY).cast_signed());
    let then = (HOUR - 90 * SECOND).cast_signed();
    overseer.receive(&host.event(then, then, HOUR, "x"), now(HOUR));
    overseer.keep_time(now(HOUR + 500_000_000));
    let line = overseer.known().next().unwrap();
    let json = line.json(HOUR + 500_000_000);
    assert_eq!((&json["age"], &json["host"]), (&90.5.into(), &"host-aaaaaaaa-1".into()));
    assert_eq!(line.age(HOUR), Duration::from_secs(90));
}
