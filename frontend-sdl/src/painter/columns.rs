// SPDX-License-Identifier: GPL-3.0-or-later
//! Columns in which the parts of lines stand: how wide each has to be, which there is room for, and how they move.

use std::time::Duration;

use leco_os::clock::BootNs;

/// Columns move to where they have to be in this time.
const MOVING: Duration = Duration::from_millis(200);
/// What needed more room and is gone leaves that room for so long.
const KEPT: Duration = Duration::from_secs(5);
/// Of the width, the peer keeps so much, in percent, before anything else has room.
const PEER_PERCENT: i32 = 35;
/// An address, of which nothing can be left out in the middle, keeps so much.
const ADDRESS_PERCENT: i32 = 60;
/// A process, a user and what else is asked for keep so much, in times of the font's height.
const LEAST_PROCESS: i32 = 5;
const LEAST_USER: i32 = 5;
const LEAST_LOCAL: i32 = 5;

/// Widths of the parts of a line, in pixels; 0 for what it does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Widths {
    pub(super) tag: i32,
    /// The mark of what is new.
    pub(super) mark: i32,
    pub(super) time: i32,
    pub(super) user: i32,
    pub(super) process: i32,
    /// With the space before it.
    pub(super) unit: i32,
    pub(super) local: i32,
    /// With its port and state.
    pub(super) peer: i32,
    /// The same, where it is an address and not a name.
    pub(super) address: i32,
    /// What stands before, between and behind the amounts of bytes, and these.
    pub(super) traffic: [i32; 5],
}

impl Widths {
    /// Each part at least as wide as that of another line.
    fn join(self, other: Self) -> Self {
        let mut traffic = self.traffic;
        for (wide, part) in traffic.iter_mut().zip(other.traffic) {
            *wide = part.max(*wide);
        }
        // A short process before a long unit needs no more room than both.
        let together = (self.process + self.unit).max(other.process + other.unit);
        let process = self.process.max(other.process);
        Self {
            tag: self.tag.max(other.tag),
            mark: self.mark.max(other.mark),
            time: self.time.max(other.time),
            user: self.user.max(other.user),
            process,
            unit: together - process,
            local: self.local.max(other.local),
            peer: self.peer.max(other.peer),
            address: self.address.max(other.address),
            traffic,
        }
    }

    /// Whether a line of these widths has room.
    fn covers(self, other: Self) -> bool {
        self.join(other) == self
    }

    /// Rounded up, so that not every character more moves everything.
    fn rounded(self, grain: i32) -> Self {
        let round = |width: i32| (width + grain - 1) / grain * grain;
        Self {
            user: round(self.user),
            process: round(self.process),
            unit: round(self.unit),
            local: round(self.local),
            peer: round(self.peer),
            address: round(self.address),
            ..self
        }
    }
}

/// Where a column begins and how wide it is, in pixels; not wide at all where it is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) x: i32,
    pub(super) width: i32,
}

impl Place {
    fn between(from: Self, to: Self, part: f32) -> Self {
        #[allow(clippy::cast_possible_truncation)]
        let mix = |from: i32, to: i32| from + ((to - from) as f32 * part).round() as i32;
        // What is new does not grow out of the left edge.
        let x = if from.width == 0 { to.x } else { mix(from.x, to.x) };
        Self { x, width: mix(from.width, to.width) }
    }
}

/// Where everything of a line stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) tag: Place,
    pub(super) mark: Place,
    pub(super) time: Place,
    pub(super) user: Place,
    /// With the unit.
    pub(super) process: Place,
    pub(super) local: Place,
    pub(super) peer: Place,
    pub(super) traffic: [Place; 5],
    /// Where all that rules have merged begins.
    pub(super) flow: i32,
}

impl Places {
    /// Those that matter to a line of such widths.
    pub(super) fn of(&self, line: &Widths) -> Self {
        let beside = |place: Place, needed: i32| Place { width: place.width.min(needed), ..place };
        let place =
            |place: Place, needed: i32| if needed > 0 { beside(place, needed) } else { Place::default() };
        let aligned = |place: Place, needed: i32| if needed > 0 { place } else { Place::default() };
        Self {
            tag: place(self.tag, line.tag),
            mark: place(self.mark, line.mark),
            time: aligned(self.time, line.time),
            user: place(self.user, line.user),
            process: place(self.process, line.process + line.unit),
            local: place(self.local, line.local),
            peer: place(self.peer, line.peer),
            traffic: std::array::from_fn(|at| aligned(self.traffic[at], line.traffic[at])),
            flow: self.flow,
        }
    }

    fn between(from: Self, to: Self, part: f32) -> Self {
        let place = |of: fn(&Self) -> Place| Place::between(of(&from), of(&to), part);
        Self {
            tag: place(|places| places.tag),
            mark: place(|places| places.mark),
            time: place(|places| places.time),
            user: place(|places| places.user),
            process: place(|places| places.process),
            local: place(|places| places.local),
            peer: place(|places| places.peer),
            traffic: std::array::from_fn(|at| Place::between(from.traffic[at], to.traffic[at], part)),
            flow: to.flow,
        }
    }

    /// Fits columns into a width: the peer has its room first and the unit last; of the others some may be left out.
    pub(super) fn fit(wanted: Widths, width: i32, height: i32) -> Self {
        let gap = height * 4 / 5;
        let beside = |width: i32| if width > 0 { width + gap } else { 0 };
        // The mark of what is new stands between a tag and what follows it.
        let tag = if wanted.mark > 0 && wanted.tag > 0 { wanted.tag + gap / 3 } else { beside(wanted.tag) };
        let lead = tag + if wanted.mark > 0 { wanted.mark + gap / 2 } else { 0 };
        let mut left = (width - lead).max(0);
        // Where something has no room, what matters less has none either.
        let mut is_full = false;
        let mut take = |wanted: i32| {
            is_full |= wanted > left;
            let taken = if is_full { 0 } else { wanted };
            left -= taken;
            taken
        };
        let share = |wanted: i32, percent: i32| wanted.min(width * percent / 100);
        let mut peer = take(share(wanted.peer, PEER_PERCENT));
        let mut process = take(beside(wanted.process.min(LEAST_PROCESS * height)));
        peer += take((share(wanted.address, ADDRESS_PERCENT) - peer).max(0));
        let amounts = wanted.traffic.iter().sum::<i32>();
        let has_traffic = take(beside(amounts)) > 0;
        let time = take(beside(wanted.time));
        let mut user = take(beside(wanted.user.min(LEAST_USER * height)));
        let mut local = take(beside(wanted.local.min(LEAST_LOCAL * height)));
        let mut grow = |taken: &mut i32, natural: i32| {
            let more = (natural - *taken).clamp(0, left);
            *taken += more;
            left -= more;
        };
        grow(&mut peer, wanted.peer);
        grow(&mut process, beside(wanted.process));
        if !is_full {
            grow(&mut user, beside(wanted.user));
            grow(&mut local, beside(wanted.local));
            grow(&mut process, beside(wanted.process + wanted.unit));
        }

        let mut x = 0;
        let mut place = |taken: i32, gap: i32| {
            let place = Place { x, width: (taken - gap).max(0) };
            x += taken;
            place
        };
        let mark = lead - tag;
        let tag = place(tag, tag - wanted.tag);
        let mark = place(mark, mark - wanted.mark);
        let time = place(time, gap);
        let (user, process) = (place(user, gap), place(process, gap));
        let (local, peer) = (place(local, gap), place(peer, 0));
        let mut traffic = [Place::default(); 5];
        if has_traffic {
            place(gap, 0);
            traffic = wanted.traffic.map(|part| place(part, 0));
        }
        Self { tag, mark, time, user, process, local, peer, traffic, flow: lead }
    }
}

/// The columns of a window over time.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// What lines need, or needed until a moment ago.
    widths: Widths,
    /// When more was needed, or all that there is.
    needed: BootNs,
    /// From where to where they move, and since when.
    from: Places,
    to: Places,
    moving_since: Option<BootNs>,
    /// Where they stand.
    now: Places,
}

impl Columns {
    /// Takes what the lines in them need; tells whether the columns have moved.
    pub(super) fn update(
        &mut self,
        lines: impl Iterator<Item = Widths>,
        width: i32,
        height: i32,
        is_gentle: bool,
        now: BootNs,
    ) -> bool {
        let Some(needed) = lines.reduce(Widths::join) else { return false };
        let needed = needed.rounded((height / 2).max(1));
        let was_empty = self.widths == Widths::default();
        if !self.widths.covers(needed) {
            self.widths = self.widths.join(needed);
            self.needed = now;
        } else if self.widths == needed {
            self.needed = now;
        } else if Duration::from_nanos(now.saturating_sub(self.needed)) >= KEPT {
            self.widths = needed;
            self.needed = now;
        }
        let to = Places::fit(self.widths, width, height);
        if to != self.to {
            let moves = is_gentle && !was_empty;
            (self.from, self.to) = (self.now, to);
            self.moving_since = moves.then_some(now);
        }
        let before = self.now;
        let passed = self.moving_since.map(|since| Duration::from_nanos(now.saturating_sub(since)));
        self.now = match passed {
            Some(passed) if passed < MOVING => {
                // Quick at first, then gentle, as lines come.
                let part = 1.0 - (1.0 - passed.as_secs_f32() / MOVING.as_secs_f32()).powi(3);
                Places::between(self.from, self.to, part)
            }
            _ => {
                self.moving_since = None;
                self.to
            }
        };
        self.now != before
    }

    /// Where they stand.
    pub(super) fn places(&self) -> &Places {
        &self.now
    }

    /// Whether they move.
    pub(super) fn is_moving(&self) -> bool {
        self.moving_since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEIGHT: i32 = 16;
    const LINE: Widths = Widths {
        tag: 30,
        mark: 0,
        time: 40,
        user: 30,
        process: 60,
        unit: 90,
        local: 0,
        peer: 120,
        address: 0,
        traffic: [10, 30, 10, 30, 10],
    };
    const MS: BootNs = 1_000_000;

    #[test]
    fn the_peer_goes_last_and_the_unit_first() {
        let mut before = Places::fit(LINE, 1000, HEIGHT);
        assert!(before.process.width >= 150 && before.traffic[4].width == 10);
        let mut went = Vec::new();
        for width in (0..1000).rev() {
            let places = Places::fit(LINE, width, HEIGHT);
            let end = places.traffic[4].x + places.traffic[4].width;
            assert!(end.max(places.peer.x + places.peer.width) <= width.max(30 + 12), "{width}: {places:?}");
            for (name, of) in [
                ("unit", (|places| places.process.width - 150) as fn(&Places) -> i32),
                ("user", |places| places.user.width),
                ("time", |places| places.time.width),
                ("traffic", |places| places.traffic[1].width),
                ("process", |places| places.process.width),
                ("peer", |places| places.peer.width),
            ] {
                if (name == "unit" && of(&before) >= 0 && of(&places) < 0)
                    || (name != "unit" && of(&before) > 0 && of(&places) == 0)
                {
                    went.push(name);
                    break;
                }
            }
            before = places;
        }
        // What goes leaves room for the unit's begin.
        went.dedup();
        let again = went.iter().rposition(|name| *name == "unit").filter(|at| *at > 0);
        again.map(|at| went.remove(at));
        assert_eq!(went, ["unit", "user", "time", "traffic", "process", "peer"]);
    }

    #[test]
    fn a_wider_line_moves_the_others_gently_and_they_stay_for_a_while() {
        let mut columns = Columns::default();
        let mut update = |line: Widths, at: BootNs| {
            let moved = columns.update(std::iter::once(line), 1000, HEIGHT, true, at);
            (moved, columns.places().peer.x, columns.is_moving())
        };
        let (moved, first, moving) = update(LINE, 0);
        assert!(moved && !moving, "the first line is at its place");
        assert_eq!(update(LINE, MS), (false, first, false));
        let wide = Widths { user: 60, ..LINE };
        let (_, at, moving) = update(wide, 2 * MS);
        assert!(moving && at == first);
        let (moved, half, _) = update(wide, 52 * MS);
        let (_, there, moving) = update(wide, 300 * MS);
        assert!(moved && first < half && half < there && !moving, "{first} {half} {there}");
        assert_eq!(update(LINE, 1000 * MS), (false, there, false));
        assert!(update(LINE, 5400 * MS).2, "nobody needs it any more");
        assert_eq!(update(LINE, 6000 * MS), (true, first, false));
    }

    #[test]
    fn without_effects_they_are_there_at_once() {
        let mut columns = Columns::default();
        columns.update(std::iter::once(LINE), 1000, HEIGHT, false, 0);
        let before = *columns.places();
        assert!(columns.update(std::iter::once(Widths { user: 60, ..LINE }), 1000, HEIGHT, false, MS));
        assert!(columns.places().peer.x > before.peer.x && !columns.is_moving());
    }
}
