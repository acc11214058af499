// SPDX-License-Identifier: GPL-3.0-or-later
//! How often a person is told: what came meanwhile is counted.

use std::time::{Duration, Instant};

use leco_core::batch::notify::Notice;

/// From one notification to the next.
const INTERVAL: Duration = Duration::from_secs(10);

/// What is to be told next, and when.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    next: Option<Told>,
    told_at: Option<Instant>,
}

/// What is told at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// The latest.
    pub(crate) notice: Notice,
    /// So many came before it.
    pub(crate) others: u64,
}

impl Pace {
    pub(crate) fn take(&mut self, notice: Notice) {
        let others = self.next.take().map_or(0, |before| before.others + 1);
        self.next = Some(Told { notice, others });
    }

    /// Takes back what could not be told.
    pub(crate) fn take_back(&mut self, told: Told) {
        match &mut self.next {
            Some(next) => next.others += told.others + 1,
            None => self.next = Some(told),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    /// How long what there is to tell has to wait; `None` where there is nothing.
    pub(crate) fn due_in(&self, now: Instant) -> Option<Duration> {
        self.next.as_ref()?;
        let passed = self.told_at.map(|told| now.saturating_duration_since(told));
        Some(passed.map_or(Duration::ZERO, |passed| INTERVAL.saturating_sub(passed)))
    }

    /// What is to be told now.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Told> {
        self.due_in(now).filter(Duration::is_zero)?;
        self.told_at = Some(now);
        self.next.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(text: &str) -> Notice {
        Notice { text: text.into(), ..Notice::default() }
    }

    #[test]
    fn a_thousand_in_a_second_are_two() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.due_in(start), None);
        let mut told = Vec::new();
        for number in 0_u32..1000 {
            pace.take(notice(&number.to_string()));
            told.extend(pace.due(start + Duration::from_millis(1) * number));
        }
        let end = start + Duration::from_secs(1);
        assert_eq!(pace.due_in(end), Some(Duration::from_secs(9)));
        assert_eq!(pace.due(end), None);
        told.extend(pace.due(start + INTERVAL));
        let told: Vec<_> = told.iter().map(|told| (told.notice.text.as_str(), told.others)).collect();
        assert_eq!(told, [("0", 0), ("999", 998)]);
        assert!(pace.is_empty() && pace.due_in(start + INTERVAL * 2).is_none());
    }

    #[test]
    fn what_could_not_be_told_is_told_later() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.take(notice("a"));
        pace.take(notice("b"));
        let told = pace.due(start).unwrap();
        pace.take_back(told.clone());
        assert_eq!(pace.due(start + INTERVAL), Some(told.clone()));
        pace.take(notice("c"));
        pace.take_back(told);
        assert_eq!(pace.due(start + INTERVAL * 2), Some(Told { notice: notice("c"), others: 2 }));
    }
}
