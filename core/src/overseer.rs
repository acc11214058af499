//! The whole model behind one interface: events in, frames out. It performs no I/O and reads no clock.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Settings};
use crate::event::{BootNs, Event, MalformedEvent};
use crate::fade::Fade;
use crate::lines::{LineKey, Lines, Update};
use crate::rules::{Explanation, RuleSet, Verdict};
use crate::tag::Tag;
use crate::text::clean;

/// What a person should see now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// One per slot, from the top; empty slots are `None`.
    pub rows: Vec<Option<Row>>,
    /// Counts since the start.
    pub counts: Counts,
}

/// A line in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// As the rules left it, safe to print.
    pub text: Arc<str>,
    /// Its tag.
    pub tag: Arc<Tag>,
    /// Opacity, 0–255.
    pub alpha: u8,
    /// Time since its last update.
    pub age: Duration,
}

/// What became of the events received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events received.
    pub received: u64,
    /// Lines that were no events.
    pub malformed: u64,
    /// Events that rules dropped.
    pub dropped: u64,
}

/// What became of one event.
#[derive(Debug)]
pub enum Received {
    /// It has a line, whether in a slot or not.
    Line {
        /// As the rules left it, safe to print.
        text: String,
        /// The group it belongs to, where it belongs to one.
        group: Option<Arc<str>>,
        /// Whether it was not known before.
        is_new: bool,
    },
    /// A newer event of the same connection is known already.
    Old,
    /// A rule dropped it.
    Dropped,
    /// It was no event.
    Malformed(MalformedEvent),
    /// It was empty.
    Blank,
}

/// Events in, frames out.
#[derive(Debug)]
pub struct Overseer {
    settings: Settings,
    rules: RuleSet,
    fade: Fade,
    lines: Lines,
    frame: Frame,
    /// What each row of the frame was made from: its line's `ns`.
    tagged: Vec<Option<BootNs>>,
}

impl Overseer {
    /// Starts with nothing known.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let fade = Fade::new(&config.settings.line_fade_curve, config.settings.line_fade_time);
        let lines = Lines::new(config.settings.conn_list_cache);
        Self {
            settings: config.settings,
            rules: config.rules,
            fade,
            lines,
            frame: Frame::default(),
            tagged: Vec::new(),
        }
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes new settings and rules; lines that are known stay as they are until their next update.
    pub fn reload(&mut self, config: Config) {
        self.fade = Fade::new(&config.settings.line_fade_curve, config.settings.line_fade_time);
        self.lines.set_capacity(config.settings.conn_list_cache);
        self.settings = config.settings;
        self.rules = config.rules;
        self.tagged.clear();
    }

    /// Takes one event: a line of the wire without its newline. `now` is the boot clock.
    pub fn receive(&mut self, wire_line: &[u8], now: BootNs) -> Received {
        if wire_line.trim_ascii().is_empty() {
            return Received::Blank;
        }
        self.frame.counts.received += 1;
        let event = match Event::parse(wire_line) {
            Ok(event) => event,
            Err(error) => {
                self.frame.counts.malformed += 1;
                return Received::Malformed(error);
            }
        };
        let (text, group) = match self.rules.apply(&clean(&event.line)) {
            Verdict::Show { line, group } => (line, group.map(Arc::<str>::from)),
            Verdict::Drop => {
                self.frame.counts.dropped += 1;
                return Received::Dropped;
            }
        };
        let key = group.clone().map_or(LineKey::Connection(event.ns), LineKey::Group);
        // A clock ahead of ours would keep its line fresh for as long as it is ahead.
        let updated = event.ns_trx.min(now);
        match self.lines.update(&key, event.ns, updated, &text, &self.fade, now) {
            Update::Old => Received::Old,
            update => Received::Line { text, group, is_new: update == Update::New },
        }
    }

    /// What to show now on so many rows.
    pub fn frame(&mut self, now: BootNs, rows: usize) -> &Frame {
        self.lines.resize(rows);
        self.frame.rows.resize(rows, None);
        self.tagged.resize(rows, None);
        for ((line, row), tagged) in self.lines.slots().zip(&mut self.frame.rows).zip(&mut self.tagged) {
            let Some((_, line)) = line else {
                (*row, *tagged) = (None, None);
                continue;
            };
            let age = now.saturating_sub(line.updated);
            let tag = match row {
                Some(row) if *tagged == Some(line.ns) => Arc::clone(&row.tag),
                _ => Arc::new(Tag::new(line.ns, self.settings.line_uid_chars, &self.settings.line_uid_fmt)),
            };
            *tagged = Some(line.ns);
            *row = Some(Row {
                text: Arc::clone(&line.text),
                tag,
                alpha: self.fade.alpha(age),
                age: Duration::from_nanos(age),
            });
        }
        &self.frame
    }

    /// Time until a visible line changes its alpha; `None` while none will.
    #[must_use]
    pub fn next_change(&self, now: BootNs) -> Option<Duration> {
        let changes = self.lines.slots().flatten().filter_map(|(_, line)| {
            let age = now.saturating_sub(line.updated);
            self.fade.next_change(age).map(|next| next - age)
        });
        changes.min().map(Duration::from_nanos)
    }

    /// Every line now known, least recently updated first.
    pub fn known_lines(&self) -> impl Iterator<Item = &str> {
        self.lines.known().map(|line| &*line.text)
    }

    /// What the rules make of a line, step by step.
    #[must_use]
    pub fn explain(&self, line: &str) -> Explanation {
        self.rules.explain(line)
    }
}
