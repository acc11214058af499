// SPDX-License-Identifier: GPL-3.0-or-later
use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::fade::{Curve, Fade, Points, SplineKind};
use crate::model::line::MAX_MEMBERS;
use crate::model::machines::Placed;
use crate::model::traffic::Bytes;
use crate::style::LineStyle;
use crate::wire::event::{ConnectionState, Phase};

fn fade(points: &str, ns: u64) -> Fade {
    Fade::new(&Curve::new(&Points::parse(points).unwrap(), SplineKind::Linear), Duration::from_nanos(ns))
}

/// Fades to nothing in 100 s.
fn fader() -> Fader {
    Fader::new(fade("0,100 100,0", 100 * SECOND), std::iter::empty(), None)
}

const SECOND: u64 = 1_000_000_000;

fn shown(text: &str, group: Option<&str>) -> Shown {
    Shown { text: text.into(), group: group.map(Into::into), style: LineStyle::default(), curve: None }
}

fn placed(ns: u64, updated: u64) -> Placed {
    let (first, updated) = (ns.cast_signed(), updated.cast_signed());
    Placed { machine: 0, epoch: 0, first, updated, boot: None, host: None }
}

fn arrive(lines: &mut Lines, ns: u64, updated: u64, group: Option<&str>) -> Update {
    let text = format!("line {ns} {updated}");
    let arrival = Arrival {
        placed: placed(ns, updated),
        state: ConnectionState::Ordinary,
        phase: Phase::Untold,
        is_first_ever: false,
        event: None,
        bytes: None,
        ns,
        ns_trx: updated,
        received: &text,
        shown: shown(&text, group),
    };
    lines.update(arrival, &fader(), updated.cast_signed())
}

fn texts(lines: &Lines) -> Vec<Option<String>> {
    lines.slots().map(|line| line.map(|line| line.look.text.to_string())).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| (!text.is_empty()).then(|| (*text).to_owned())).collect()
}

#[test]
fn an_update_stays_in_place_and_a_new_line_takes_the_oldest_slot() {
    let mut lines = Lines::new(10);
    lines.resize(3);
    for ns in 1..=3 {
        assert_eq!(arrive(&mut lines, ns, ns * SECOND, None), Update::New);
    }
    assert_eq!(arrive(&mut lines, 1, 4 * SECOND, None), Update::Changed);
    assert_eq!(arrive(&mut lines, 1, 3 * SECOND, None), Update::Old);
    arrive(&mut lines, 5, 5 * SECOND, None);
    assert_eq!(texts(&lines), some(&["line 1 4000000000", "line 5 5000000000", "line 3 3000000000"]));
}

#[test]
fn what_is_older_than_all_that_is_shown_takes_no_slot_and_is_forgotten_first() {
    let mut lines = Lines::new(3);
    lines.resize(2);
    for ns in [70, 90, 30, 80, 10] {
        arrive(&mut lines, ns, ns * SECOND, None);
    }
    assert_eq!(texts(&lines), some(&["line 80 80000000000", "line 90 90000000000"]));
    let known = |lines: &Lines| lines.known().map(|line| line.life.ns).collect::<Vec<_>>();
    assert_eq!(known(&lines), [70, 80, 90]);
    arrive(&mut lines, 70, 100 * SECOND, None);
    assert_eq!(known(&lines), [80, 90, 70]);
    lines.place_again(|_, _, ns| (ns != 90 * SECOND).then(|| 20 - ns.cast_signed()), 20);
    assert_eq!(known(&lines), [70, 80, 90]);
}

#[test]
fn a_line_that_has_faded_to_nothing_makes_room_first() {
    let mut lines = Lines::new(10);
    lines.resize(2);
    arrive(&mut lines, 1, SECOND, None);
    arrive(&mut lines, 2, 150 * SECOND, None);
    arrive(&mut lines, 3, 160 * SECOND, None);
    assert_eq!(texts(&lines), some(&["line 2 150000000000", "line 3 160000000000"]));
}

#[test]
fn a_group_is_one_line_with_the_oldest_identity() {
    let mut lines = Lines::new(10);
    lines.resize(3);
    arrive(&mut lines, 5, 5 * SECOND, Some("g"));
    arrive(&mut lines, 3, 6 * SECOND, Some("g"));
    let shown: Vec<_> = lines.slots().flatten().map(|line| (line.life.ns, line.life.updated)).collect();
    assert_eq!(shown, [(3, 6 * SECOND.cast_signed())]);
    // A connection that comes into a group leaves no second line behind.
    arrive(&mut lines, 7, 7 * SECOND, None);
    assert_eq!(arrive(&mut lines, 7, 8 * SECOND, Some("h")), Update::Changed);
    assert_eq!(texts(&lines), some(&["line 3 6000000000", "line 7 8000000000", ""]));
}

#[test]
fn a_groups_bytes_are_those_of_all_its_connections() {
    const SECOND: u64 = 1_000_000_000;
    let mut lines = Lines::new(10);
    lines.resize(2);
    let mut send = |ns: u64, updated: u64, sent: u64| {
        let arrival = Arrival {
            placed: placed(ns, updated),
            ns,
            ns_trx: updated,
            received: "x",
            event: None,
            bytes: Some(Bytes { rx: 0, tx: sent }),
            state: ConnectionState::Ordinary,
        phase: Phase::Untold,
            is_first_ever: false,
            shown: shown(&format!("sent {sent}"), Some("group")),
        };
        lines.update(arrival, &fader(), updated.cast_signed());
        let line = lines.known().next().unwrap();
        (
            line.bytes.traffic.total.tx,
            line.bytes.traffic.recent(updated)[crate::model::traffic::RECENT - 1],
            lines.traffic().total.tx,
        )
    };
    let now = 100 * SECOND;
    assert_eq!(send(now, now, 10), (10, 10, 10));
    assert_eq!(send(now + 1, now + 1, 500), (510, 510, 510), "another connection");
    assert_eq!(send(now, now + 2, 30), (530, 530, 530), "more of the first");
    assert_eq!(send(now + 1, now + 3, 500), (530, 530, 530));
    assert_eq!(send(SECOND, now + 4, 7000), (7530, 530, 530), "its bytes are older than it is known");
    for other in 0..2 * MAX_MEMBERS as u64 {
        send(now + 10 + other, now + 10 + other, 1);
    }
    let members = lines.known().next().unwrap().bytes.members.as_ref().unwrap().len();
    assert_eq!(members, MAX_MEMBERS);
}

#[test]
fn a_resize_refills_from_what_is_remembered() {
    let mut lines = Lines::new(4);
    lines.resize(2);
    for ns in 1..=6 {
        arrive(&mut lines, ns, ns * SECOND, None);
    }
    lines.resize(5);
    let shown: HashSet<u64> = lines.slots().flatten().map(|line| line.life.ns).collect();
    assert_eq!(shown, HashSet::from([3, 4, 5, 6]));
    lines.resize(1);
    lines.resize(0);
    assert_eq!(lines.slots().count(), 0);
}

#[test]
fn other_rules_take_effect_on_known_lines_in_their_slots() {
    let mut lines = Lines::new(10);
    lines.resize(4);
    for ns in 1..=4 {
        arrive(&mut lines, ns, ns * SECOND, None);
    }
    lines.remake(|received| {
        let number: u64 = received.split(' ').nth(1).unwrap().parse().unwrap();
        match number {
            1 => None,
            2 | 4 => Some(shown(&format!("even {number}"), Some("even"))),
            _ => Some(shown("three", None)),
        }
    });
    assert_eq!(texts(&lines), some(&["", "even 4", "three", ""]));
    assert_eq!(lines.slots().flatten().map(|line| line.life.ns).collect::<Vec<_>>(), [2, 3]);
    arrive(&mut lines, 9, 9 * SECOND, None);
    assert_eq!(texts(&lines)[0].as_deref(), Some("line 9 9000000000"), "the freed slot is the next one");
}

/// What can happen to lines.
#[derive(Debug, Clone)]
enum Step {
    Arrive { ns: u64, later: u64, group: Option<u8> },
    Resize(usize),
    Remake(u8),
    Capacity(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u64..12, 0_u64..40, proptest::option::of(0_u8..3))
            .prop_map(|(ns, later, group)| Step::Arrive { ns, later, group }),
        1 => (0_usize..6).prop_map(Step::Resize),
        1 => (0_u8..4).prop_map(Step::Remake),
        1 => (0_usize..8).prop_map(Step::Capacity),
    ]
}

proptest! {
    #[test]
    fn no_slot_is_held_by_two_lines_and_no_line_holds_two(
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut lines = Lines::new(5);
        let mut now = 0;
        for step in steps {
            match step {
                Step::Arrive { ns, later, group } => {
                    now += later * SECOND / 4;
                    let group = group.map(|group| format!("g{group}"));
                    arrive(&mut lines, ns, now, group.as_deref());
                }
                Step::Resize(rows) => lines.resize(rows),
                Step::Capacity(capacity) => lines.set_capacity(capacity),
                Step::Remake(how) => lines.remake(|received| match how {
                    0 => None,
                    1 => Some(shown(received, Some("all"))),
                    2 => Some(shown(received, None)),
                    _ => (received.len() % 2 == 0).then(|| shown(received, None)),
                }),
            }
            let held: Vec<&LineKey> = lines.slots.iter().flatten().collect();
            prop_assert_eq!(held.iter().collect::<HashSet<_>>().len(), held.len());
            for (slot, key) in lines.slots.iter().enumerate() {
                if let Some(key) = key {
                    prop_assert_eq!(lines.known[key].slot, Some(slot));
                }
            }
            for (key, line) in &lines.known {
                if let Some(slot) = line.slot {
                    prop_assert_eq!(lines.slots[slot].as_ref(), Some(key));
                }
            }
            prop_assert!(lines.known.len() <= lines.capacity.max(held.len()) + held.len());
        }
    }
}
