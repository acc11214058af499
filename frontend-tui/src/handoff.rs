// SPDX-License-Identifier: GPL-3.0-or-later
//! Lines on their way from the thread that reads to the one that draws.

use std::net::SocketAddr;
use std::sync::Arc;

use leco_core::source::Origin;
use leco_core::wire::event::Event;

/// Lines of the wire in the order in which they came.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    lines: Vec<Received>,
}

/// Where in a batch a line ends, and where it came from.
#[derive(Debug)]
struct Received {
    end: usize,
    source: usize,
    host: Option<Arc<str>>,
    stream: u64,
    sender: Option<SocketAddr>,
}

impl Batch {
    pub(crate) fn push(&mut self, origin: Origin<'_>, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        // One source after the other: its host is kept once.
        let same = self.lines.last().filter(|last| last.source == origin.index);
        let host = match same {
            Some(last) => last.host.clone(),
            None => origin.host.map(Arc::from),
        };
        self.lines.push(Received {
            end: self.bytes.len(),
            source: origin.index,
            host,
            stream: origin.stream,
            sender: origin.sender,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Each event as it came, with its newline. Other lines are left out.
    pub(crate) fn events(&self) -> Vec<u8> {
        let lines = self.bytes.split_inclusive(|byte| *byte == b'\n');
        lines.filter(|line| Event::parse(line).is_ok()).flatten().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Origin<'_>, &[u8])> {
        let starts = std::iter::once(0).chain(self.lines.iter().map(|line| line.end));
        starts.zip(&self.lines).map(|(start, line)| {
            let origin = Origin {
                index: line.source,
                host: line.host.as_deref(),
                stream: line.stream,
                sender: line.sender,
            };
            (origin, &self.bytes[start..line.end - 1])
        })
    }
}
