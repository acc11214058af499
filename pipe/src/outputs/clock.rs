// SPDX-License-Identifier: GPL-3.0-or-later
//! How the clock of events goes, told to each reader as a field of events that it gets anyway.

use std::cell::OnceCell;

use leco_core::wire::event::Clock;
use leco_os::clock::BootNs;

use crate::clock::Now;
use crate::render::line::Machine;

/// While there are events, a reader is told again after this time.
const AGAIN_NS: u64 = 60_000_000_000;
/// It is told at once where the wall clock was set by more than this.
const STEP_NS: i128 = 1_000_000_000;

/// Both clocks of this machine at one moment, as a field of an event.
#[derive(Debug, Default)]
pub struct ClockField {
    machine: Machine,
    boot: BootNs,
    wall: i64,
    /// Made when somebody is to be told: `,"clock":{…}`.
    text: OnceCell<String>,
}

impl ClockField {
    /// Nothing is told of a machine whose boot id is not known.
    #[must_use]
    pub fn new(now: &Now, machine: &Machine) -> Self {
        let mut field = Self { machine: machine.clone(), ..Self::default() };
        field.set(now);
        field
    }

    pub(crate) fn set(&mut self, now: &Now) {
        self.boot = now.boot;
        self.wall = i64::try_from(now.wall.as_nanosecond()).unwrap_or_default();
        self.text.take();
    }

    pub(crate) fn text(&self) -> &str {
        self.text.get_or_init(|| {
            if self.machine.boot_id.is_empty() {
                return String::new();
            }
            let clock = Clock {
                boot: self.machine.boot_id.clone(),
                host: self.machine.host.clone(),
                ns: self.boot,
                wall: self.wall,
            };
            serde_json::to_string(&clock).map(|clock| format!(",\"clock\":{clock}")).unwrap_or_default()
        })
    }

    /// Adds an event to bytes, with this in it.
    pub fn add_to(&self, bytes: &mut Vec<u8>, event: &[u8]) {
        splice(bytes, event, self.text());
    }
}

/// Adds an event to bytes, with one field more.
pub(crate) fn splice(bytes: &mut Vec<u8>, event: &[u8], field: &str) {
    match event.strip_suffix(b"}\n") {
        Some(fields) if !field.is_empty() => {
            bytes.extend_from_slice(fields);
            bytes.extend_from_slice(field.as_bytes());
            bytes.extend_from_slice(b"}\n");
        }
        _ => bytes.extend_from_slice(event),
    }
}

/// What a reader was told of the clock last.
#[derive(Debug, Default)]
pub(crate) struct ClockSent(Option<(BootNs, i64)>);

impl ClockSent {
    /// What is to be added to the next event; mostly nothing.
    pub(crate) fn due<'c>(&self, clock: &'c ClockField) -> &'c str {
        if self.is_due(clock) { clock.text() } else { "" }
    }

    fn is_due(&self, clock: &ClockField) -> bool {
        let Some((boot, wall)) = self.0 else { return true };
        let passed = i128::from(clock.boot) - i128::from(boot);
        let stepped = i128::from(clock.wall) - i128::from(wall) - passed;
        passed >= i128::from(AGAIN_NS) || stepped.abs() > STEP_NS
    }

    /// It was told.
    pub(crate) fn tell(&mut self, clock: &ClockField) {
        self.0 = Some((clock.boot, clock.wall));
    }

    /// Adds an event to a batch of up to `limit` bytes, with the clock where that is due; one that is larger goes alone.
    /// Whether it had room.
    pub(crate) fn add(
        &mut self,
        batch: &mut Vec<u8>,
        event: &[u8],
        limit: usize,
        clock: &ClockField,
    ) -> bool {
        let field = self.due(clock);
        if !batch.is_empty() && batch.len() + event.len() + field.len() > limit {
            return false;
        }
        splice(batch, event, field);
        if !field.is_empty() {
            self.tell(clock);
        }
        true
    }

    /// Its next event is the first of a stream.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use leco_core::wire::event::Event;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(boot: u64, wall: i64) -> ClockField {
        let machine =
            Machine { host: "nas \"1\"".into(), boot_id: "01234567-89ab".into(), ..Machine::default() };
        let wall = Timestamp::from_second(1_772_323_200 + wall).unwrap();
        ClockField::new(&Now { boot: boot * SECOND, wall }, &machine)
    }

    #[test]
    fn a_reader_is_told_first_after_a_step_and_once_a_minute() {
        let mut clock_sent = ClockSent::default();
        let mut is_told = |boot: u64, wall: i64| {
            let field = at(boot, wall);
            let is_due = !clock_sent.due(&field).is_empty();
            if is_due {
                clock_sent.tell(&field);
            }
            is_due
        };
        assert!(is_told(10, 0));
        assert!(!is_told(10, 0) && !is_told(40, 31) && !is_told(69, 59));
        assert!(is_told(70, 60));
        assert!(is_told(71, 3661) && !is_told(72, 3662), "set forward");
        assert!(is_told(73, 50) && !is_told(74, 51), "and back");
        assert!(is_told(7200, 7177), "slept");
        clock_sent.forget();
        assert!(!clock_sent.due(&at(7200, 7177)).is_empty());
    }

    #[test]
    fn it_stands_in_an_event_as_any_other_field() {
        let mut bytes = Vec::new();
        at(5, 7).add_to(&mut bytes, b"{\"ns\":1,\"ns_trx\":2,\"line\":\"x\"}\n");
        let clock = Event::parse(bytes.trim_ascii_end()).unwrap().clock.0.unwrap();
        let expected = Clock {
            boot: "01234567-89ab".into(),
            host: "nas \"1\"".into(),
            ns: 5 * SECOND,
            wall: 1_772_323_207 * 1_000_000_000,
        };
        assert_eq!(*clock, expected);
        for kept in [&b""[..], b"x", b"{}"] {
            bytes.clear();
            at(5, 7).add_to(&mut bytes, kept);
            assert_eq!(bytes, kept);
        }
        bytes.clear();
        ClockField::default().add_to(&mut bytes, b"{}\n");
        assert_eq!(bytes, b"{}\n", "a machine that does not know itself");
    }
}
