//! What a receiver has still to be sent.

use std::rc::Rc;

use hashlink::LinkedHashMap;
use leco_core::event::BootNs;

/// Encoded events by connection: a newer event takes the place of the queued older one, so that a receiver
/// that stalls costs memory for the connections there are and wakes up to what is true then.
#[derive(Debug)]
pub(crate) struct Queue {
    events: LinkedHashMap<BootNs, Rc<[u8]>>,
    capacity: usize,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { events: LinkedHashMap::new(), capacity }
    }

    /// Adds an event at the end; above the capacity the oldest goes, as it goes from the kernel's map.
    pub(crate) fn push(&mut self, ns: BootNs, event: Rc<[u8]>) {
        self.events.remove(&ns);
        self.events.insert(ns, event);
        if self.events.len() > self.capacity {
            self.events.pop_front();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.events = LinkedHashMap::new();
    }

    /// Moves whole events into `batch`, up to `limit` bytes of it; one that is larger goes alone.
    pub(crate) fn fill(&mut self, batch: &mut Vec<u8>, limit: usize) {
        while let Some((_, event)) = self.events.front()
            && (batch.is_empty() || batch.len() + event.len() <= limit)
        {
            batch.extend_from_slice(event);
            self.events.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Rc<[u8]> {
        text.as_bytes().into()
    }

    #[test]
    fn a_newer_event_takes_the_place_of_the_older_one() {
        let mut queue = Queue::new(10);
        for (ns, text) in [(1, "a1\n"), (2, "b1\n"), (1, "a2\n"), (3, "c1\n")] {
            queue.push(ns, event(text));
        }
        let mut batch = Vec::new();
        queue.fill(&mut batch, 6);
        assert_eq!(batch, b"b1\na2\n");
        batch.clear();
        queue.fill(&mut batch, 1);
        assert_eq!(batch, b"c1\n", "one that is too large goes alone");
        assert!(queue.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let mut queue = Queue::new(10);
        for ns in 0..1000 {
            queue.push(ns, event("x\n"));
        }
        let mut batch = Vec::new();
        queue.fill(&mut batch, 4096);
        assert_eq!(batch.len(), 20);
    }
}
