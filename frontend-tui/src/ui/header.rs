// SPDX-License-Identifier: GPL-3.0-or-later
//! The header: how much is shown of how much, and what is worth to be known besides.

use leco_core::model::overseer::Overseer;
use leco_core::text::bytes;
use leco_os::clock::BootNs;
use unicode_width::UnicodeWidthStr;

use crate::model::listing::Sort;
use crate::model::state::State;
use crate::ui::glyphs::Glyphs;
use crate::ui::row::sparkline;
use crate::ui::shorten;
use crate::ui::view::Status;

/// A part of the header.
struct Part {
    text: String,
    /// Parts of a lower one are left out first.
    importance: u8,
}

fn part(importance: u8, text: impl Into<String>) -> Part {
    Part { text: text.into(), importance }
}

/// The header within a width.
pub(crate) fn line(
    overseer: &Overseer,
    state: &State,
    status: &Status,
    glyphs: &'static Glyphs,
    (now, width): (BootNs, usize),
) -> String {
    let left = left_parts(status);
    let right = right_parts(overseer, state, status, glyphs, now);
    // The least important is left out until the others fit.
    for least in 0..=u8::MAX {
        let join = |parts: &[Part], between: &str| {
            let kept = parts.iter().filter(|part| part.importance >= least && !part.text.is_empty());
            kept.map(|part| part.text.as_str()).collect::<Vec<_>>().join(between)
        };
        let (left, right) = (join(&left, "   "), join(&right, &format!(" {} ", glyphs.dot)));
        let gap = if left.is_empty() || right.is_empty() { 0 } else { 2 };
        if let Some(rest) = width.checked_sub(2 + left.width() + gap + right.width()) {
            return format!(" {left}{}{right} ", " ".repeat(gap + rest));
        }
    }
    let most = right.iter().max_by_key(|part| part.importance);
    shorten::end(most.map_or("", |part| &part.text), width).into_owned()
}

fn left_parts(status: &Status) -> Vec<Part> {
    let source = &status.source;
    // What is not read is more important than what is.
    let importance = if source.is_reading { 30 } else { 80 };
    vec![part(20, "leco"), part(importance, source.text.clone())]
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
    if !state.lines.filter.is_empty() {
        parts.push(part(70, format!("filter: {}", state.lines.filter)));
        // Who filters for what is gone wants to know that it is.
        let forgotten = overseer.forgotten();
        if forgotten > 0 {
            parts.push(part(65, format!("{} older forgotten", grouped(forgotten))));
        }
    }
    match status.faults.len() {
        0 => {}
        1 => parts.push(part(75, "1 problem in the config: r")),
        several => parts.push(part(75, format!("{several} problems in the config: r"))),
    }
    if state.lines.sort != Sort::Slots {
        parts.push(part(63, format!("by {}", state.lines.sort.name())));
    }
    let (total, rate) = (overseer.traffic(), overseer.traffic().rate(now));
    if total.is_lively(now) {
        parts.push(part(
            40,
            format!("{} {}/s {} {}/s", glyphs.down, bytes(rate.rx), glyphs.up, bytes(rate.tx)),
        ));
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
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let said = [0, 12, 999, 1000, 4512, 1_234_567].map(grouped);
        assert_eq!(said, ["0", "12", "999", "1,000", "4,512", "1,234,567"]);
    }
}
