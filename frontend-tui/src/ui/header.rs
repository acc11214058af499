// SPDX-License-Identifier: GPL-3.0-or-later
//! The header: how much is shown of how much, and what is worth to be known besides.

use std::borrow::Cow;

use leco_core::model::overseer::Overseer;
use leco_os::clock::BootNs;

use crate::input::action::Mode;
use crate::model::listing::Sort;
use crate::model::state::State;
use crate::ui::glyphs::Glyphs;
use crate::ui::row::sparkline;
use crate::ui::shorten;
use crate::ui::view::{Source, Status};
use crate::width::Width;

/// Cells that a source keeps, and a filter.
const LEAST_SOURCE: usize = 24;
const LEAST_FILTER: usize = 16;
/// All that is left of what is said of a source that is not read.
const WAITING: &str = "waiting";
/// Between parts at the left.
const GAP: &str = "   ";

/// A part of the header.
#[derive(Clone)]
struct Part {
    text: String,
    /// Parts of a lower one are left out first.
    importance: u8,
    /// How it is made shorter before a part is left out, and what it keeps.
    shorten: Option<(Shorten, usize)>,
}

type Shorten = for<'t> fn(&'t str, usize) -> Cow<'t, str>;

impl Part {
    /// Cells that it can do without.
    fn spare(&self) -> usize {
        self.shorten.map_or(0, |(_, least)| self.text.width().saturating_sub(least))
    }
}

fn part(importance: u8, text: impl Into<String>) -> Part {
    Part { text: text.into(), importance, shorten: None }
}

fn shortened(importance: u8, text: impl Into<String>, shorten: Shorten, least: usize) -> Part {
    Part { shorten: Some((shorten, least)), ..part(importance, text) }
}

/// The header within a width, with the keys that nothing else names.
pub(crate) fn line(
    overseer: &Overseer,
    state: &State,
    status: &Status,
    glyphs: &'static Glyphs,
    keys: &str,
    (now, width): (BootNs, usize),
) -> String {
    let mut right = right_parts(overseer, state, status, glyphs, now);
    // In a pane the way back matters more than how much is listed.
    right.push(part(if state.mode == Mode::List { 88 } else { 95 }, keys));
    fitted(&left_parts(status), &right, &format!(" {} ", glyphs.dot), width)
}

fn fitted(left: &[Part], right: &[Part], between: &str, width: usize) -> String {
    // The least important is left out until the others fit.
    for least in 0..=u8::MAX {
        let kept = |parts: &[Part]| -> Vec<Part> {
            parts.iter().filter(|part| part.importance >= least && !part.text.is_empty()).cloned().collect()
        };
        let (mut left, mut right) = (kept(left), kept(right));
        let join = |parts: &[Part], between: &str| {
            parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join(between)
        };
        let gap = if left.is_empty() || right.is_empty() { 0 } else { 2 };
        let used = 2 + join(&left, GAP).width() + gap + join(&right, between).width();
        let mut over = used.saturating_sub(width);
        if over > left.iter().chain(&right).map(Part::spare).sum() {
            continue;
        }
        let mut all: Vec<_> = left.iter_mut().chain(&mut right).collect();
        all.sort_by_key(|part| part.importance);
        for part in all {
            if let Some((shorten, _)) = part.shorten
                && over > 0
            {
                let before = part.text.width();
                part.text = shorten(&part.text, before - over.min(part.spare())).into_owned();
                over = over.saturating_sub(before - part.text.width());
            }
        }
        let (left, right) = (join(&left, GAP), join(&right, between));
        let rest = width.saturating_sub(2 + left.width() + right.width());
        return format!(" {left}{}{right} ", " ".repeat(rest));
    }
    let most = right.iter().max_by_key(|part| part.importance);
    shorten::end(most.map_or("", |part| &part.text), width).into_owned()
}

fn left_parts(status: &Status) -> Vec<Part> {
    let source = &status.source;
    let source = match source {
        // That nothing comes now is more important than how much came.
        Source { is_reading: false, has_ended: false, text, .. } => {
            shortened(91, text, waiting, WAITING.width())
        }
        // What is not read is more important than what is.
        Source { is_reading, text, .. } => {
            shortened(if *is_reading { 30 } else { 80 }, text, shorten::path, LEAST_SOURCE)
        }
    };
    vec![part(20, "leco"), source]
}

/// What is waited for, or only that something is.
fn waiting(text: &str, width: usize) -> Cow<'_, str> {
    if width < LEAST_SOURCE { WAITING.into() } else { shorten::path(text, width) }
}

fn right_parts(
    overseer: &Overseer,
    state: &State,
    status: &Status,
    glyphs: &'static Glyphs,
    now: BootNs,
) -> Vec<Part> {
    let counts = overseer.counts();
    let listing = state.lines.listed();
    let known = overseer.known().len();
    let mut parts = Vec::new();
    if let Some((ns, new)) = state.lines.frozen(now) {
        parts.push(part(100, format!("FROZEN {} s, {} new", ns / 1_000_000_000, grouped(new))));
    }
    if let Some(welcome) = state.history.welcome(state.second(now)) {
        parts.push(part(92, format!("{welcome} {} h", glyphs.dot)));
    }
    let shown = grouped(listing.shown as u64);
    parts.push(part(90, format!("{shown} of {}", lines(known))));
    let hidden = overseer.hidden();
    if hidden > 0 {
        parts.push(part(50, format!("{} hidden by rules", grouped(hidden as u64))));
    }
    let lost = counts.malformed.saturating_add(status.source.overlong);
    if lost > 0 {
        parts.push(part(60, format!("{} malformed", grouped(lost))));
    }
    if !state.lines.filter.is_empty() && !state.shows_history() {
        let filter = format!("filter: {}", state.lines.filter);
        parts.push(shortened(70, filter, shorten::end, LEAST_FILTER));
        // Who filters for what is gone wants to know that it is.
        let forgotten = overseer.forgotten();
        if forgotten > 0 {
            parts.push(part(65, format!("{} older forgotten", grouped(forgotten))));
        }
    }
    match status.faults.len() {
        0 => {}
        1 => parts.push(part(85, "1 problem in the config: r")),
        several => parts.push(part(85, format!("{several} problems in the config: r"))),
    }
    if state.lines.sort != Sort::Slots && !state.shows_history() {
        parts.push(part(63, format!("by {}", state.lines.sort.name())));
    }
    let (total, rate) = (overseer.traffic(), overseer.traffic().rate(now));
    if total.is_lively(now) {
        let units = overseer.settings().text.units;
        let (rx, tx) = (units.amount(rate.rx), units.amount(rate.tx));
        parts.push(part(40, format!("{} {rx}/s {} {tx}/s", glyphs.down, glyphs.up)));
        parts.push(part(10, sparkline(&total.recent(now), glyphs)));
    }
    parts
}

/// So many lines, as a person says it.
pub(crate) fn lines(count: usize) -> String {
    format!("{} line{}", grouped(count as u64), if count == 1 { "" } else { "s" })
}

/// A count with its thousands apart: `4,512`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use leco_core::config::Config;
    use serde_json::json;

    use super::*;
    use crate::input::action::Action;

    #[test]
    fn thousands_stand_apart() {
        let said = [0, 12, 999, 1000, 4512, 1_234_567].map(grouped);
        assert_eq!(said, ["0", "12", "999", "1,000", "4,512", "1,234,567"]);
    }

    #[test]
    fn what_matters_most_stays_longest_and_no_number_is_cut() {
        const NOW: BootNs = 60_000_000_000;
        let mut overseer = Overseer::with_list(Config::default(), "");
        for ns in 1..=1_234 {
            let event = json!({"ns": ns, "ns_trx": NOW, "line": "x", "rx": ns * 1000, "tx": 20});
            overseer.receive(event.to_string().as_bytes(), NOW);
        }
        overseer.receive(b"not an event", NOW);
        let mut state = State::new(None);
        let path = "/home/somebody/.local/share/a-long-directory/1000/recordings/12345/leco.fifo";
        for is_reading in [false, true] {
            for (filter, is_frozen) in [("", false), ("user:me port:65535 proc:firefox", false), ("", true)] {
                state.lines.filter = filter.to_owned();
                if is_frozen != state.lines.is_frozen() {
                    let _ = state.apply(Action::Freeze, &overseer, NOW - 12_000_000_000);
                }
                let source = Source {
                    text: format!("{} {path}", if is_reading { "reading" } else { "waiting for" }),
                    is_reading,
                    ..Source::default()
                };
                let status = Status { source, faults: vec![String::new(); 12], ..Status::default() };
                let at = |width| line(&overseer, &state, &status, Glyphs::unicode(), "?", (NOW, width));
                let words = |line: &str| line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
                let whole = words(&at(1000));
                let source = if is_reading { vec![] } else { vec![WAITING] };
                let filter = if filter.is_empty() { vec![] } else { vec!["filter: "] };
                let frozen = if is_frozen { vec!["FROZEN 12 s, 0 new"] } else { vec![] };
                let order: Vec<_> = [
                    frozen.clone(),
                    source,
                    vec!["0 of 1,234 lines"],
                    vec![" ? "],
                    vec!["12 problems in the config: r"],
                    filter.clone(),
                    vec!["1 malformed"],
                    vec!["↓ "],
                ]
                .concat();
                for width in 20..=200 {
                    let line = at(width);
                    assert!(line.width() <= width, "{width}: {line:?}");
                    let kept: Vec<_> = order.iter().map(|part| line.contains(part)).collect();
                    assert!(kept.is_sorted_by(|before, after| before >= after), "{width}: {line:?}");
                    for word in
                        words(&line).iter().filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
                    {
                        assert!(whole.contains(word), "{width}: {word} in {line:?}");
                    }
                    for number in line.split(|c: char| !c.is_ascii_digit()).filter(|part| part.len() > 1) {
                        assert!(
                            whole.iter().any(|word| word
                                .split(|c: char| !c.is_ascii_digit())
                                .any(|part| part == number)),
                            "{width}: {number} in {line:?}"
                        );
                    }
                }
                let has_room = is_reading || !is_frozen;
                assert!(!has_room || at(80).contains("12 problems in the config"), "{}", at(80));
                let is_alone = filter.is_empty() && frozen.is_empty();
                assert!(!is_alone || at(100).contains("…/leco.fifo"), "{}", at(100));
            }
        }
    }
}
