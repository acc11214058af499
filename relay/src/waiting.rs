// SPDX-License-Identifier: GPL-3.0-or-later
//! What waits to be published: of each connection the latest event alone, and one on its way at a time, so that a server
//! gets them in their order whatever fails.

use std::collections::HashMap;

use hashlink::LinkedHashMap;

use crate::message::Message;

/// Messages that were not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queue: LinkedHashMap<String, Message>,
    sent: HashMap<String, Message>,
}

impl Waiting {
    /// Adds a message. One of the same connection that waits gives it its place.
    pub(crate) fn push(&mut self, message: Message) {
        self.queue.replace(message.connection().to_owned(), message);
    }

    /// The first message whose connection has none on its way; it is on its way now.
    pub(crate) fn send(&mut self) -> Option<Message> {
        let connection = self.queue.keys().find(|connection| !self.sent.contains_key(*connection))?.clone();
        let message = self.queue.remove(&connection)?;
        self.sent.insert(connection, message.clone());
        Some(message)
    }

    /// It arrived, or never will.
    pub(crate) fn settle(&mut self, connection: &str) {
        self.sent.remove(connection);
    }

    /// It has to be sent again, unless a newer one of its connection waits.
    pub(crate) fn put_back(&mut self, connection: &str) {
        if let Some(message) = self.sent.remove(connection)
            && !self.queue.contains_key(connection)
        {
            self.queue.insert(connection.to_owned(), message);
            self.queue.to_front(connection);
        }
    }

    /// The same for all: it is not known what arrived.
    pub(crate) fn put_all_back(&mut self) {
        for connection in self.sent.keys().cloned().collect::<Vec<_>>() {
            self.put_back(&connection);
        }
    }

    /// Forgets what waits; how much that was.
    pub(crate) fn clear(&mut self) -> usize {
        let count = self.queue.len();
        self.queue.clear();
        count
    }

    /// Forgets the one that waits longest.
    pub(crate) fn drop_oldest(&mut self) {
        self.queue.pop_front();
    }

    /// All, in the order in which they are to be sent.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Message> {
        self.sent.values().chain(self.queue.values())
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many are on their way.
    pub(crate) fn sent(&self) -> usize {
        self.sent.len()
    }

    /// Whether everything arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.sent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(connection: &str, at: u32) -> Message {
        let id = format!("{connection}-{at}-0");
        Message { subject: "leco.a.b".to_owned(), id, payload: Vec::new() }
    }

    fn next(waiting: &mut Waiting) -> String {
        waiting.send().map(|message| message.id).unwrap_or_default()
    }

    #[test]
    fn only_the_latest_of_a_connection_waits_and_keeps_its_place() {
        let mut waiting = Waiting::default();
        for (connection, at) in [("b-1", 1), ("b-2", 1), ("b-1", 2)] {
            waiting.push(message(connection, at));
        }
        assert_eq!([next(&mut waiting), next(&mut waiting), next(&mut waiting)], ["b-1-2-0", "b-2-1-0", ""]);
    }

    #[test]
    fn one_of_a_connection_is_on_its_way_at_a_time() {
        let mut waiting = Waiting::default();
        waiting.push(message("b-1", 1));
        assert_eq!(next(&mut waiting), "b-1-1-0");
        waiting.push(message("b-1", 2));
        assert_eq!(next(&mut waiting), "");
        // It failed: the newer one says all.
        waiting.put_all_back();
        assert_eq!(next(&mut waiting), "b-1-2-0");
        waiting.put_back("b-1");
        assert_eq!(next(&mut waiting), "b-1-2-0");
        waiting.settle("b-1");
        assert!(waiting.is_empty());
    }
}
