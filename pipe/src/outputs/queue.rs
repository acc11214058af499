// SPDX-License-Identifier: GPL-3.0-or-later
//! What a receiver has still to be sent.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use hashlink::{LinkedHashMap, LinkedHashSet, LruCache};
use leco_os::clock::BootNs;

use super::clock::{ClockField, ClockSent};

/// Encoded events by connection: a newer event takes the place of the queued older one, so that a receiver
/// that stalls costs memory for the connections there are and wakes up to what is true then.
#[derive(Debug)]
pub(crate) struct Queue {
    events: LinkedHashMap<BootNs, Rc<[u8]>>,
    /// Connections of which an event is queued that are not open.
    ended: LinkedHashSet<BootNs>,
    /// How many of these there may be.
    capacity: usize,
    pace: Option<Pace>,
}

/// Holds back what follows too soon on an event of the same connection.
#[derive(Debug)]
struct Pace {
    interval: u64,
    capacity: usize,
    /// When each connection's latest event was let through.
    latest: LruCache<BootNs, BootNs>,
    held: HashMap<BootNs, Event>,
    /// When which connection's held event may go.
    due: BTreeSet<(BootNs, BootNs)>,
}

/// One that is held back.
#[derive(Debug)]
struct Event {
    json: Rc<[u8]>,
    is_open: bool,
}

/// Events of open connections that are queued at most.
const MAX_OPEN: usize = 50_000;

impl Queue {
    /// For so many connections that are not open, each at most once in `rate_limit`.
    pub(crate) fn new(capacity: usize, rate_limit: Duration) -> Self {
        let pace = (!rate_limit.is_zero()).then(|| Pace {
            interval: u64::try_from(rate_limit.as_nanos()).unwrap_or(u64::MAX),
            capacity,
            latest: LruCache::new(capacity),
            held: HashMap::new(),
            due: BTreeSet::new(),
        });
        Self { events: LinkedHashMap::new(), ended: LinkedHashSet::new(), capacity, pace }
    }

    /// Adds an event at the end. Above the capacity the oldest of those goes that are not open, as it goes from the
    /// kernel's map: an open connection may have nothing more to tell for days.
    pub(crate) fn push(&mut self, ns: BootNs, json: Rc<[u8]>, is_open: bool, now: BootNs) {
        let event = Event { json, is_open };
        match &mut self.pace {
            Some(pace) => {
                if let Some((ns, event)) = pace.push(ns, event, now) {
                    self.add(ns, event);
                }
            }
            None => self.add(ns, event),
        }
    }

    fn add(&mut self, ns: BootNs, event: Event) {
        match self.events.to_back(&ns) {
            Some(queued) => *queued = event.json,
            None => _ = self.events.insert(ns, event.json),
        }
        self.ended.remove(&ns);
        if !event.is_open {
            self.ended.insert(ns);
        }
        if self.ended.len() > self.capacity
            && let Some(oldest) = self.ended.pop_front()
        {
            self.events.remove(&oldest);
        }
        if self.events.len() - self.ended.len() > MAX_OPEN {
            self.pop();
        }
    }

    /// When the next held event may go.
    pub(crate) fn due(&self) -> Option<BootNs> {
        self.pace.as_ref()?.due.first().map(|(due, _)| *due)
    }

    /// Lets every held event go whose time has come.
    pub(crate) fn release(&mut self, now: BootNs) {
        while let Some((ns, event)) = self.pace.as_mut().and_then(|pace| pace.release(now)) {
            self.add(ns, event);
        }
    }

    /// Lets every held event go, and holds back none from now on.
    pub(crate) fn release_all(&mut self) {
        let Some(mut pace) = self.pace.take() else { return };
        for (_, ns) in pace.due {
            if let Some(event) = pace.held.remove(&ns) {
                self.add(ns, event);
            }
        }
    }

    /// Whether nothing is left, neither to be sent now nor held back.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.due().is_none()
    }

    pub(crate) fn clear(&mut self) {
        (self.events, self.ended) = Default::default();
        if let Some(pace) = &mut self.pace {
            pace.latest.clear();
            pace.held = HashMap::new();
            pace.due = BTreeSet::new();
        }
    }

    /// The oldest event.
    pub(crate) fn front(&self) -> Option<&Rc<[u8]>> {
        self.events.front().map(|(_, event)| event)
    }

    /// Takes the oldest event out.
    pub(crate) fn pop(&mut self) {
        if let Some((ns, _)) = self.events.pop_front() {
            self.ended.remove(&ns);
        }
        if self.events.is_empty() && self.events.capacity() > KEPT_CAPACITY {
            (self.events, self.ended) = Default::default();
        }
    }

    /// Moves whole events into `batch`, up to `limit` bytes of it; one that is larger goes alone. The clock is told
    /// with one of them where that is due.
    pub(crate) fn fill(
        &mut self,
        batch: &mut Vec<u8>,
        limit: usize,
        clock_sent: &mut ClockSent,
        clock: &ClockField,
    ) {
        while let Some(event) = self.front() {
            if !clock_sent.add(batch, event, limit, clock) {
                return;
            }
            self.pop();
        }
    }
}

/// An empty queue gives back the memory of more entries than this: a stall is over.
const KEPT_CAPACITY: usize = 256;

impl Pace {
    /// Takes an event; what may go now comes back, and so does the next one where more are held than may be.
    fn push(&mut self, ns: BootNs, event: Event, now: BootNs) -> Option<(BootNs, Event)> {
        let Some(due) = self.due(ns, now) else { return Some((ns, event)) };
        if self.held.insert(ns, event).is_none() {
            self.due.insert((due, ns));
        }
        if self.held.len() <= self.capacity {
            return None;
        }
        let (_, first) = self.due.pop_first()?;
        self.latest.insert(first, now);
        Some((first, self.held.remove(&first)?))
    }

    /// When an event of this connection may go; `None`: now, and from now on the next has to wait.
    fn due(&mut self, ns: BootNs, now: BootNs) -> Option<BootNs> {
        let due = self.latest.get(&ns).map(|latest| latest.saturating_add(self.interval));
        if let Some(due) = due.filter(|due| *due > now || self.held.contains_key(&ns)) {
            return Some(due);
        }
        self.latest.insert(ns, now);
        None
    }

    fn release(&mut self, now: BootNs) -> Option<(BootNs, Event)> {
        let (_, ns) = *self.due.first().filter(|(due, _)| *due <= now)?;
        self.due.pop_first();
        self.latest.insert(ns, now);
        self.held.remove(&ns).map(|event| (ns, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Rc<[u8]> {
        text.as_bytes().into()
    }

    fn taken(queue: &mut Queue) -> String {
        let mut batch = Vec::new();
        queue.fill(&mut batch, 4096, &mut ClockSent::default(), &ClockField::default());
        String::from_utf8(batch).unwrap()
    }

    #[test]
    fn a_newer_event_takes_the_place_of_the_older_one() {
        let mut queue = Queue::new(10, Duration::ZERO);
        for (ns, text) in [(1, "a1\n"), (2, "b1\n"), (1, "a2\n"), (3, "c1\n")] {
            queue.push(ns, event(text), false, 0);
        }
        let mut batch = Vec::new();
        queue.fill(&mut batch, 6, &mut ClockSent::default(), &ClockField::default());
        assert_eq!(batch, b"b1\na2\n");
        batch.clear();
        queue.fill(&mut batch, 1, &mut ClockSent::default(), &ClockField::default());
        assert_eq!(batch, b"c1\n", "one that is too large goes alone");
        assert!(queue.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        for rate_limit in [Duration::ZERO, Duration::from_nanos(10)] {
            let mut queue = Queue::new(10, rate_limit);
            for ns in 0..1000 {
                for _ in 0..3 {
                    queue.push(ns, event("x\n"), false, 5);
                }
            }
            assert_eq!(taken(&mut queue).len(), 20);
            queue.release(20);
            assert!(taken(&mut queue).len() <= 20);
        }
    }

    #[test]
    fn what_ended_takes_no_place_of_what_is_open() {
        for rate_limit in [Duration::ZERO, Duration::from_nanos(10)] {
            let mut queue = Queue::new(10, rate_limit);
            queue.push(1, event("open\n"), true, 0);
            queue.push(2, event("ends\n"), true, 0);
            queue.push(2, event("ended\n"), false, 20);
            for ns in 3..1000 {
                queue.push(ns, event("x\n"), false, 30);
            }
            assert_eq!(taken(&mut queue), format!("open\n{}", "x\n".repeat(10)));
            assert!(queue.is_empty());
            for ns in 0..2 * MAX_OPEN as u64 {
                queue.push(ns, event("x\n"), true, 100);
            }
            assert_eq!(queue.events.len(), MAX_OPEN);
        }
    }

    #[test]
    fn nothing_is_lost_where_more_would_be_held_back_than_may_be() {
        let mut queue = Queue::new(2, Duration::from_nanos(100));
        for text in ["open\n", "changed\n"] {
            for ns in 1..=4 {
                queue.push(ns, event(text), true, ns);
            }
        }
        queue.release(200);
        assert_eq!(taken(&mut queue), "changed\n".repeat(4));
    }

    #[test]
    fn what_follows_too_soon_waits_and_then_the_latest_goes() {
        let mut queue = Queue::new(10, Duration::from_nanos(100));
        queue.push(1, event("a1\n"), true, 1000);
        queue.push(1, event("a2\n"), true, 1010);
        queue.push(2, event("b1\n"), true, 1020);
        queue.push(1, event("a3\n"), true, 1030);
        assert_eq!(taken(&mut queue), "a1\nb1\n");
        assert_eq!(queue.due(), Some(1100));
        queue.release(1099);
        assert_eq!(taken(&mut queue), "");
        assert!(!queue.is_empty(), "one is held back");
        queue.release(1100);
        assert_eq!(taken(&mut queue), "a3\n");
        assert_eq!(queue.due(), None);
        queue.push(1, event("a4\n"), true, 1150);
        assert_eq!(queue.due(), Some(1200), "counted from when the last one went");
        queue.push(2, event("b2\n"), true, 1150);
        assert_eq!(taken(&mut queue), "b2\n");
    }

    #[test]
    fn at_the_end_nothing_is_held_back() {
        let mut queue = Queue::new(10, Duration::from_nanos(100));
        for (ns, text) in [(1, "a1\n"), (2, "b1\n"), (2, "b2\n"), (1, "a2\n"), (2, "b3\n")] {
            queue.push(ns, event(text), true, 1000);
        }
        assert_eq!(taken(&mut queue), "a1\nb1\n");
        assert!(!queue.is_empty());
        queue.release_all();
        queue.push(1, event("a3\n"), false, 1010);
        assert_eq!(taken(&mut queue), "b3\na3\n");
        assert!(queue.is_empty());
    }
}
