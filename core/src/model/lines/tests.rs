// SPDX-License-Identifier: GPL-3.0-or-later
use std::collections::{HashMap, HashSet};
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

/// What an overlay remembers.
fn window(ordinary: usize) -> Capacity {
    Capacity { ordinary, open: None }
}

fn shown(text: &str, group: Option<&str>) -> Shown {
    Shown { text: text.into(), group: group.map(Into::into), style: LineStyle::default(), curve: None }
}

fn placed(ns: u64, updated: u64) -> Placed {
    let (first, updated) = (ns.cast_signed(), updated.cast_signed());
    Placed { machine: 0, epoch: 0, first, updated, boot: None, host: None }
}

fn arrival(ns: u64, updated: u64, text: &str, phase: Phase) -> Arrival<'_> {
    Arrival {
        placed: placed(ns, updated),
        state: ConnectionState::Ordinary,
        phase,
        is_first_ever: false,
        event: None,
        bytes: None,
        ns,
        ns_trx: updated,
        received: text,
        shown: shown(text, None),
    }
}

fn arrive(lines: &mut Lines, ns: u64, updated: u64, group: Option<&str>) -> Update {
    arrive_as(lines, ns, updated, group, Phase::Untold)
}

fn arrive_as(lines: &mut Lines, ns: u64, updated: u64, group: Option<&str>, phase: Phase) -> Update {
    let text = format!("line {ns} {updated}");
    let arrival = Arrival { shown: shown(&text, group), ..arrival(ns, updated, &text, phase) };
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
    let mut lines = Lines::new(window(10));
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
    let mut lines = Lines::new(window(3));
    lines.resize(2);
    for ns in [70, 90, 30, 80, 10] {
        arrive(&mut lines, ns, ns * SECOND, None);
    }
    assert_eq!(texts(&lines), some(&["line 80 80000000000", "line 90 90000000000"]));
    let known = |lines: &Lines| lines.known().map(|line| line.line().life.ns).collect::<Vec<_>>();
    assert_eq!(known(&lines), [70, 80, 90]);
    arrive(&mut lines, 70, 100 * SECOND, None);
    assert_eq!(known(&lines), [80, 90, 70]);
    lines.place_again(|_, _, ns| (ns != 90 * SECOND).then(|| 20 - ns.cast_signed()), 20);
    assert_eq!(known(&lines), [70, 80, 90]);
}

#[test]
fn a_line_that_has_faded_to_nothing_makes_room_first() {
    let mut lines = Lines::new(window(10));
    lines.resize(2);
    arrive(&mut lines, 1, SECOND, None);
    arrive(&mut lines, 2, 150 * SECOND, None);
    arrive(&mut lines, 3, 160 * SECOND, None);
    assert_eq!(texts(&lines), some(&["line 2 150000000000", "line 3 160000000000"]));
}

#[test]
fn a_group_is_one_line_with_the_oldest_identity() {
    let mut lines = Lines::new(window(10));
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
    let mut lines = Lines::new(window(10));
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
        let line = line.line();
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
    let members = lines.known().next().unwrap().line().bytes.members.as_ref().unwrap().len();
    assert_eq!(members, MAX_MEMBERS);
}

#[test]
fn a_resize_refills_from_what_is_remembered() {
    let mut lines = Lines::new(window(4));
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
    let mut lines = Lines::new(window(10));
    lines.resize(4);
    for ns in 1..=4 {
        arrive(&mut lines, ns, ns * SECOND, None);
    }
    lines.remake(|line| {
        let received = &*line.event.received;
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

#[test]
fn what_is_open_outlives_what_is_not_and_both_have_a_bound() {
    let mut lines = Lines::new(Capacity { ordinary: 2, open: Some(3) });
    let known = |lines: &Lines| lines.known().map(|line| line.line().life.ns).collect::<Vec<_>>();
    for ns in 1..=9 {
        let phase = if ns % 2 == 0 { Phase::Open } else { Phase::Closed };
        arrive_as(&mut lines, ns, ns * SECOND, None, phase);
    }
    assert_eq!((known(&lines), lines.forgotten()), (vec![4, 6, 7, 8, 9], 4));
    arrive_as(&mut lines, 4, 10 * SECOND, None, Phase::Closed);
    assert_eq!((known(&lines), lines.forgotten()), (vec![6, 8, 9, 4], 5), "it is open no more");
    assert_eq!(lines.known().map(|line| line.is_closed()).collect::<Vec<_>>(), [false, false, true, true]);
}

#[test]
fn a_group_is_open_while_one_of_its_connections_is() {
    let mut lines = Lines::new(window(10));
    let mut close = |ns, at, phase| {
        arrive_as(&mut lines, ns, at * SECOND, Some("g"), phase);
        lines.known().next().unwrap().is_closed()
    };
    assert!(!close(1, 10, Phase::Open));
    assert!(!close(2, 11, Phase::Closed), "the first is open");
    assert!(close(1, 12, Phase::Closed));
    assert!(!close(3, 13, Phase::Untold));
}

#[test]
fn long_lines_are_forgotten_before_they_take_much() {
    let mut lines = Lines::new(window(1000));
    for ns in 0..300 {
        let text = format!("{ns}{}", "x".repeat(60_000));
        let arrival =
            Arrival { received: &text, shown: shown(&text, None), ..arrival(ns, ns, "", Phase::Untold) };
        lines.update(arrival, &fader(), 300);
    }
    let (known, forgotten) = (lines.known().len(), lines.forgotten());
    assert!(known > 50 && known as u64 + forgotten == 300 && forgotten > 200, "{known} {forgotten}");
}

#[test]
fn lines_stand_in_order_however_late_their_events_come() {
    let mut lines = Lines::new(window(1000));
    let times: [u64; 12] = [100, 95, 70, 10, 80, 1, 91, 82, 73, 200, 150, 9];
    for (ns, tenths) in (0..).zip(times) {
        lines.update(arrival(ns, tenths * SECOND / 10, "x", Phase::Untold), &fader(), 1000);
    }
    let order =
        |lines: &Lines| lines.known().map(|line| line.updated() * 10 / 1_000_000_000).collect::<Vec<_>>();
    // What comes up to a second late stands behind what was there, and such do not add up.
    assert_eq!(order(&lines), [10, 1, 9, 70, 80, 82, 73, 100, 95, 91, 150, 200]);
    lines.update(arrival(1, 50 * SECOND, "x", Phase::Untold), &fader(), 1000);
    assert_eq!(order(&lines).last(), Some(&500));
}

/// What can happen to lines.
#[derive(Debug, Clone)]
enum Step {
    Arrive { ns: u64, later: i64, group: Option<u8>, phase: Phase },
    Resize(usize),
    Remake(u8),
    Capacity(usize),
    PlaceAgain(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let phase = proptest::sample::select(vec![Phase::Untold, Phase::Open, Phase::Closed]);
    prop_oneof![
        8 => (0_u64..12, -9_i64..40, proptest::option::of(0_u8..3), phase)
            .prop_map(|(ns, later, group, phase)| Step::Arrive { ns, later, group, phase }),
        1 => (0_usize..6).prop_map(Step::Resize),
        1 => (0_u8..4).prop_map(Step::Remake),
        1 => (0_usize..8).prop_map(Step::Capacity),
        1 => (-3_i64..3).prop_map(Step::PlaceAgain),
    ]
}

fn remade(how: u8, received: &str) -> Option<Shown> {
    match how {
        0 => None,
        1 => Some(shown(received, Some("all"))),
        2 => Some(shown(received, None)),
        _ => received.len().is_multiple_of(2).then(|| shown(received, None)),
    }
}

/// The same as lines, without anything that makes it fast or small.
#[derive(Default)]
struct Reference {
    known: Vec<Line>,
    /// Behind which moments they stand.
    places: HashMap<LineKey, OurNs>,
    slots: Vec<Option<LineKey>>,
    forgotten: u64,
}

impl Reference {
    fn find(&self, key: &LineKey) -> Option<usize> {
        self.known.iter().position(|line| line.key() == *key)
    }

    fn update(&mut self, arrival: Arrival<'_>, capacity: Capacity, now: OurNs) {
        let key = LineKey::of(0, arrival.ns, &arrival.shown);
        let connection = LineKey::Connection(0, arrival.ns);
        let mut slot = None;
        if let Some(at) = self.find(&key) {
            if self.known[at].update(arrival).is_none() {
                return;
            }
            let line = self.known.remove(at);
            slot = line.slot;
            self.put_in_order(line);
        } else {
            let mut line = Line::new(&key, arrival).0;
            if line.look.group.is_some()
                && let Some(at) = self.find(&connection)
            {
                slot = self.known.remove(at).slot;
                line.slot = slot;
                if let Some(slot) = slot {
                    self.slots[slot] = Some(key.clone());
                }
            }
            self.put_in_order(line);
        }
        if slot.is_none() {
            self.show(&key, now);
        }
        self.forget(capacity);
    }

    fn put_in_order(&mut self, line: Line) {
        let is_before = |before: &Line| self.places[&before.key()] <= line.life.updated + MOMENT;
        let at = self.known.iter().rposition(is_before).map_or(0, |at| at + 1);
        self.insert(at, line);
    }

    fn insert(&mut self, at: usize, line: Line) {
        let before = at.checked_sub(1).map_or(OurNs::MIN, |before| self.places[&self.known[before].key()]);
        self.places.insert(line.key(), before.max(line.life.updated));
        self.known.insert(at, line);
    }

    fn show(&mut self, key: &LineKey, now: OurNs) {
        let updated = self.known[self.find(key).unwrap()].life.updated;
        let in_slot = |slot: &Option<LineKey>| slot.as_ref().map(|key| &self.known[self.find(key).unwrap()]);
        let is_free = |line: Option<&Line>| line.is_none_or(|line| fader().alpha(line.times(), now) == 0);
        let free = self.slots.iter().position(|slot| is_free(in_slot(slot)));
        let oldest =
            self.slots.iter().enumerate().filter_map(|(at, slot)| Some((in_slot(slot)?.life.updated, at)));
        let oldest = oldest.min().filter(|(before, _)| *before <= updated + MOMENT);
        if let Some(slot) = free.or(oldest.map(|(_, slot)| slot)) {
            self.place(slot, key);
        }
    }

    fn place(&mut self, slot: usize, key: &LineKey) {
        if let Some(at) = self.slots[slot].take().and_then(|old| self.find(&old)) {
            self.known[at].slot = None;
        }
        let at = self.find(key).unwrap();
        self.known[at].slot = Some(slot);
        self.slots[slot] = Some(key.clone());
    }

    fn forget(&mut self, capacity: Capacity) {
        let is_open = |line: &Line| capacity.open.is_some() && line.phase() == Phase::Open;
        for (open, most) in [(false, Some(capacity.ordinary)), (true, capacity.open)] {
            let count = self.known.iter().filter(|line| is_open(line) == open).count();
            let mut excess = count.saturating_sub(most.unwrap_or(usize::MAX));
            self.known.retain(|line| {
                let is_first = is_open(line) == open && excess > 0;
                excess -= usize::from(is_first);
                let goes = is_first && line.slot.is_none();
                self.forgotten += u64::from(goes);
                !goes
            });
        }
    }

    fn resize(&mut self, rows: usize, capacity: Capacity) {
        if rows == self.slots.len() {
            return;
        }
        let had = self.slots.len();
        self.slots.resize(rows, None);
        let gone = |line: &&mut Line| line.slot.is_some_and(|slot| slot >= rows);
        self.known.iter_mut().filter(gone).for_each(|line| line.slot = None);
        let hidden = self.known.iter().rev().filter(|line| line.slot.is_none());
        let hidden: Vec<_> = hidden.take(rows.saturating_sub(had)).map(Line::key).collect();
        for (slot, key) in (had..).zip(hidden.iter().rev()) {
            self.place(slot, key);
        }
        self.forget(capacity);
    }

    fn remake(&mut self, how: u8) {
        for mut line in std::mem::take(&mut self.known) {
            let slot = line.slot.take();
            if let Some(slot) = slot {
                self.slots[slot] = None;
            }
            let Some(shown) = remade(how, &line.event.received) else { continue };
            let key = LineKey::of(0, line.life.latest, &shown);
            line.look = Look::from(shown);
            line.count_as(&key);
            let earlier = self.find(&key).map(|at| self.known.remove(at));
            line.slot = earlier.as_ref().and_then(|earlier| earlier.slot).or(slot);
            if let Some(earlier) = earlier {
                line.join(earlier);
            }
            if let Some(slot) = line.slot {
                self.slots[slot] = Some(key.clone());
            }
            self.insert(self.known.len(), line);
        }
    }

    fn place_again(&mut self, shift: i64, now: OurNs) {
        for line in &mut self.known {
            (line.life.first, line.life.updated) =
                (again(line.life.ns, shift, now), again(line.life.ns_trx, shift, now));
        }
        self.known.sort_by_key(|line| line.life.updated);
        self.places = self.known.iter().map(|line| (line.key(), line.life.updated)).collect();
    }
}

fn again(ns: u64, shift: i64, now: OurNs) -> OurNs {
    (ns.cast_signed() + shift * 5 * SECOND.cast_signed()).min(now)
}

proptest! {
    #[test]
    fn packed_lines_are_as_they_would_be_unpacked(
        steps in proptest::collection::vec(step(), 0..60),
        open in proptest::option::of(0_usize..8),
    ) {
        let mut capacity = Capacity { ordinary: 5, open };
        let (mut lines, mut reference) = (Lines::new(capacity), Reference::default());
        let mut now = 20 * SECOND.cast_signed();
        for step in steps {
            match step {
                Step::Arrive { ns, later, group, phase } => {
                    let at = (now + later * SECOND.cast_signed() / 4).cast_unsigned();
                    now = now.max(at.cast_signed());
                    let group = group.map(|group| format!("g{group}"));
                    let text = format!("line {ns} {at} :: {group:?}");
                    for side in 0..2 {
                        let arrival = Arrival {
                            event: (ns % 3 == 0).then_some(r#"{"ns":7,"line":"a","x":[1],"rx":5}"#),
                            bytes: (ns % 4 > 0).then_some(Bytes { rx: at % 9999, tx: ns }),
                            shown: shown(&text, group.as_deref()),
                            ..arrival(ns, at, &text, phase)
                        };
                        if side == 0 {
                            lines.update(arrival, &fader(), now);
                        } else {
                            reference.update(arrival, capacity, now);
                        }
                    }
                }
                Step::Resize(rows) => {
                    lines.resize(rows);
                    reference.resize(rows, capacity);
                }
                Step::Capacity(ordinary) => {
                    capacity.ordinary = ordinary;
                    lines.set_capacity(capacity);
                    reference.forget(capacity);
                }
                Step::Remake(how) => {
                    lines.remake(|line| remade(how, &line.event.received));
                    reference.remake(how);
                }
                Step::PlaceAgain(shift) => {
                    lines.place_again(|_, _, ns| Some(again(ns, shift, now)), now);
                    reference.place_again(shift, now);
                }
            }
            let known: Vec<_> = lines.known().map(|line| format!("{:?}", line.line())).collect();
            prop_assert_eq!(known, reference.known.iter().map(|line| format!("{line:?}")).collect::<Vec<_>>());
            let rev: Vec<_> = lines.known().rev().map(|line| line.id()).collect();
            prop_assert_eq!(rev, reference.known.iter().rev().map(Line::id).collect::<Vec<_>>());
            let slots: Vec<_> = lines.slots().map(|line| line.map(Line::key)).collect();
            prop_assert_eq!(&slots, &reference.slots);
            prop_assert_eq!(lines.forgotten(), reference.forgotten);
            for line in &reference.known {
                let id = lines.store.find(&line.key()).unwrap();
                let is_plain = lines.store.plain(id).is_some();
                prop_assert_eq!(is_plain, line.slot.is_some(), "what is not shown is packed");
            }
        }
    }
}
