// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;
/// 2026-03-01 in ns since 1970.
const WALL: i64 = 1_772_323_200_000_000_000;

/// Ours, so long after our boot; that was at [`WALL`].
fn now(boot: u64) -> Now {
    Now { boot, wall: WALL + boot.cast_signed() }
}

fn on(source: usize) -> Origin<'static> {
    Origin { index: source, ..Origin::default() }
}

fn event(ns_trx: u64, fields: &str) -> Event {
    Event::parse(format!("{{\"ns\":{ns_trx},\"ns_trx\":{ns_trx},\"line\":\"x\"{fields}}}").as_bytes())
        .unwrap()
}

fn clock(boot: &str, ns: u64, wall: i64) -> String {
    format!(",\"clock\":{{\"boot\":\"{boot}\",\"host\":\"host of {boot}\",\"ns\":{ns},\"wall\":{wall}}}")
}

struct Heard {
    machines: Machines,
    all: Vec<(Placed, u64)>,
}

impl Heard {
    fn new() -> Self {
        Self { machines: Machines::new(Some("ours0000-1")), all: Vec::new() }
    }

    fn hear(&mut self, origin: Origin<'_>, ns_trx: u64, fields: &str, now: Now) -> MachineId {
        let placed = self.machines.place(origin, &event(ns_trx, fields), now);
        let machine = placed.machine;
        self.all.push((placed, ns_trx));
        machine
    }

    /// Ages in seconds of everything, as it is known now.
    fn ages(&mut self, now: Now) -> Vec<i64> {
        self.machines.keep_time(now);
        let place = |(placed, ns): &(Placed, u64)| {
            self.machines.again(placed.machine, placed.epoch, *ns).unwrap_or(placed.updated)
        };
        let places =
            self.all.iter().map(place).map(|at| now.boot.cast_signed() - at.min(now.boot.cast_signed()));
        places.map(|age| age / SECOND.cast_signed()).collect()
    }
}

#[test]
fn a_told_clock_is_mapped_by_the_wall_clock_whatever_was_before() {
    let mut heard = Heard::new();
    // It was started ten days before us, and the other way round.
    let days = 240 * HOUR;
    let reported = clock("a", days + 50 * SECOND, WALL + (50 * SECOND).cast_signed());
    heard.hear(on(0), days + 10 * SECOND, &reported, now(60 * SECOND));
    heard.hear(on(0), days - 4 * HOUR, "", now(60 * SECOND));
    assert_eq!(heard.ages(now(60 * SECOND)), [50, 4 * 3600 + 60]);
    let young = clock("b", 3 * SECOND, WALL + (59 * SECOND).cast_signed());
    let first = heard.hear(on(1), SECOND, &young, now(60 * SECOND));
    assert_eq!(heard.ages(now(61 * SECOND))[2], 4);
    // On the same stream it was started again.
    let again = clock("c", 5 * SECOND, WALL + (70 * SECOND).cast_signed());
    let second = heard.hear(on(1), 5 * SECOND, &again, now(70 * SECOND));
    assert_eq!(heard.hear(on(1), 6 * SECOND, "", now(71 * SECOND)), second);
    assert_ne!(first, second);
    assert_eq!(heard.ages(now(75 * SECOND))[3..], [5, 4]);
}

#[test]
fn an_event_says_of_which_machine_it_is_or_its_stream_does() {
    let mut heard = Heard::new();
    let at = now(HOUR);
    let (a, b) = (clock("aaaaaaaa-1", 9, at.wall), clock("bbbbbbbb-1", 9, at.wall));
    let near = heard.hear(on(0), 9, &a, at);
    let far = heard.hear(on(0), 9, &b, at);
    assert_eq!(heard.hear(on(0), 9, ",\"boot\":\"aaaaaaaa\"", at), near);
    assert_eq!(heard.hear(on(0), 9, ",\"key\":\"aaaaaaaa-1f\"", at), near);
    assert_eq!(heard.hear(on(0), 9, "", at), far, "as the one before");
    let sender = |port: u16| Origin { sender: Some(([192, 0, 2, 1], port).into()), ..on(1) };
    assert_eq!(heard.hear(sender(1), 9, &a, at), near);
    assert_eq!(heard.hear(sender(2), 9, &b, at), far);
    assert_eq!(heard.hear(sender(1), 9, "", at), near);
    let unknown = heard.hear(sender(3), 9, "", at);
    assert!(unknown != near && unknown != far);
    // Ids that begin alike are reported apart by the stream.
    let twins =
        [1, 2].map(|twin| heard.hear(on(1 + twin), 9, &clock(&format!("cccccccc-{twin}"), 9, at.wall), at));
    assert_ne!(twins[0], twins[1]);
    assert_eq!(heard.hear(on(2), 9, ",\"boot\":\"cccccccc\"", at), twins[0]);
    assert_eq!(heard.hear(on(3), 9, ",\"boot\":\"cccccccc\"", at), twins[1]);
    // A new connection to a source may lead elsewhere.
    let anew = Origin { stream: 1, ..on(0) };
    assert!(![near, far].contains(&heard.hear(anew, 9, "", at)));
}

#[test]
fn our_own_clock_needs_no_mapping() {
    let mut heard = Heard::new();
    let wrong = clock("ours0000-1", 5, 0);
    let ours = heard.hear(on(0), 10 * SECOND, &wrong, now(20 * SECOND));
    assert_eq!(heard.hear(on(4), 11 * SECOND, ",\"key\":\"ours0000-ff\"", now(20 * SECOND)), ours);
    assert_eq!(heard.ages(now(20 * SECOND)), [10, 9]);
    assert!(heard.all.iter().all(|(placed, _)| placed.boot.is_none()));
}

#[test]
fn without_a_clock_times_are_ours_where_they_can_be() {
    let mut heard = Heard::new();
    heard.hear(on(0), 5 * HOUR, "", now(10 * HOUR));
    heard.hear(on(0), 7 * HOUR, "", now(10 * HOUR));
    assert_eq!(heard.ages(now(10 * HOUR)), [5 * 3600, 3 * 3600], "the newest is within four hours");
    heard.hear(on(1), 2 * HOUR, "", now(10 * HOUR));
    heard.hear(on(1), 3 * HOUR, "", now(10 * HOUR));
    assert_eq!(heard.ages(now(10 * HOUR))[2..], [3600, 0], "too old for ours: the newest is now");
    heard.hear(on(2), 9 * HOUR, "", now(10 * HOUR));
    heard.hear(on(2), 11 * HOUR, "", now(10 * HOUR));
    assert_eq!(heard.ages(now(10 * HOUR))[4..], [2 * 3600, 0], "in our future");
    assert_eq!(heard.ages(now(11 * HOUR))[4..], [3 * 3600, 3600]);
    // It was started again: its clock begins anew, and what was before stays where it was.
    heard.hear(on(2), HOUR, "", now(11 * HOUR));
    heard.hear(on(2), HOUR + 5 * SECOND, "", now(11 * HOUR + 5 * SECOND));
    assert_eq!(heard.ages(now(11 * HOUR + 6 * SECOND))[4..], [3 * 3600 + 6, 3606, 6, 1]);
    // So it does where it is connected to again.
    heard.hear(Origin { stream: 1, ..on(2) }, HOUR - SECOND, "", now(12 * HOUR));
    assert_eq!(heard.ages(now(12 * HOUR))[8], 0);
}

#[test]
fn who_was_heard_in_the_middle_of_a_stream_is_known_once_a_clock_comes() {
    let mut heard = Heard::new();
    let unnamed = heard.hear(on(0), 100 * HOUR, "", now(HOUR));
    let short = heard.hear(on(1), 90 * HOUR, ",\"boot\":\"bbbbbbbb\"", now(HOUR));
    let reported = clock("aaaaaaaa-1", 100 * HOUR + 30 * SECOND, now(HOUR).wall);
    assert_eq!(heard.hear(on(0), 100 * HOUR + 30 * SECOND, &reported, now(HOUR)), unnamed);
    let reported = clock("bbbbbbbb-1", 91 * HOUR, now(HOUR).wall);
    assert_eq!(heard.hear(on(1), 91 * HOUR, &reported, now(HOUR)), short);
    assert_eq!(heard.ages(now(HOUR)), [30, 3600, 0, 0]);
    // The clock of a younger boot is not that of the events before it.
    let other = heard.hear(on(2), 100 * HOUR, "", now(HOUR));
    assert_ne!(heard.hear(on(2), SECOND, &clock("c", SECOND, now(HOUR).wall), now(HOUR)), other);
}

#[test]
fn clocks_that_are_set_move_what_was_placed_by_them() {
    let mut heard = Heard::new();
    let at = now(HOUR);
    heard.hear(on(0), 10 * HOUR, &clock("a", 10 * HOUR, at.wall - HOUR.cast_signed()), at);
    assert_eq!(heard.ages(at), [3600]);
    // Its wall clock was an hour slow.
    heard.hear(
        on(0),
        10 * HOUR + SECOND,
        &clock("a", 10 * HOUR + SECOND, at.wall + SECOND.cast_signed()),
        now(HOUR + SECOND),
    );
    assert!(heard.machines.take_stale());
    assert_eq!(heard.ages(now(HOUR + SECOND)), [1, 0]);
    // Ours is set an hour forward: by that much we were wrong about when it was.
    let set = Now { boot: HOUR + SECOND, wall: at.wall + HOUR.cast_signed() };
    heard.machines.keep_time(set);
    assert!(heard.machines.take_stale());
    assert_eq!(heard.ages(set), [3600, 3599]);
}

#[test]
fn a_wall_clock_ahead_of_ours_makes_nothing_younger_than_it_is() {
    let mut heard = Heard::new();
    let at = now(HOUR);
    let ahead = |ns: u64| clock("a", ns, WALL + (2 * HOUR + ns).cast_signed());
    heard.hear(on(0), 500 * SECOND, &ahead(510 * SECOND), at);
    assert_eq!(heard.ages(at), [10]);
    heard.hear(on(0), 570 * SECOND, &ahead(570 * SECOND), now(HOUR + 64 * SECOND));
    assert_eq!(
        heard.ages(now(HOUR + 64 * SECOND)),
        [74, 4],
        "the one that was under way for longer says less"
    );
}

#[test]
fn memory_is_bounded_and_no_number_is_too_large() {
    let mut heard = Heard::new();
    for boot in 0..3 * MAX_MACHINES as u64 {
        let wild = [0, 1, u64::MAX][usize::try_from(boot % 3).unwrap()];
        let wall = [i64::MIN, i64::MAX, 0][usize::try_from(boot / 3 % 3).unwrap()];
        let sender = Origin { sender: Some(([192, 0, 2, 1], u16::try_from(boot).unwrap()).into()), ..on(1) };
        heard.hear(sender, wild, "", Now { boot: wild, wall });
        heard.hear(sender, wild, &clock(&format!("{boot:08}-x"), wild, wall), Now { boot: 7, wall });
        heard.hear(on(0), wild, &format!(",\"boot\":\"{boot:08}\""), now(HOUR));
    }
    assert!(heard.machines.all.len() <= MAX_MACHINES && heard.machines.streams.len() <= MAX_MACHINES);
    assert!(heard.machines.named.len() <= 3 * MAX_MACHINES, "{}", heard.machines.named.len());
    let _ = heard.machines.again(0, 0, u64::MAX);
}

#[test]
fn what_was_fixed_stays_so() {
    let mut heard = Heard::new();
    heard.machines.fix(vec![Clock { boot: "a".into(), host: String::new(), ns: HOUR, wall: WALL }]);
    let at = Now::from(WALL.unsigned_abs());
    for _ in 0..2 {
        heard.hear(on(0), HOUR - SECOND, &clock("a", HOUR, 5), at);
        heard.all.drain(..).for_each(|(placed, _)| assert_eq!(placed.updated, WALL - SECOND.cast_signed()));
        heard.machines.forget();
    }
}
