// SPDX-License-Identifier: GPL-3.0-or-later
//! The parts of a line in columns: what each needs, and where each goes.

use leco_core::ini::Rgba;
use leco_core::text::Cells;
use unicode_segmentation::UnicodeSegmentation;

use super::columns::{Place, Places, Widths};
use super::fonts::Fonts;
use super::text::{MARK, Run, bounded, lay_out, width};

/// A peer keeps so much, in times of the font's height, before its port and how it went have room.
const LEAST_PEER: i32 = 8;

/// What the parts of a line need beside each other; what rules have merged only has a tag.
pub(crate) fn measure(
    fonts: &mut Fonts,
    tag: &str,
    line: &str,
    is_first_ever: bool,
    is_bold: bool,
) -> Widths {
    fonts.set_bold(is_bold);
    let (tag, line) = (bounded(tag), bounded(line));
    let cells = Cells::of(&line).unwrap_or_default();
    let tag = width(fonts, &tag);
    // Where tags are, there is room for a mark behind each.
    let mark = if tag > 0 || is_first_ever { width(fonts, MARK) } else { 0 };
    let beside = |fonts: &mut Fonts, unit: &str| {
        if unit.is_empty() { 0 } else { width(fonts, unit) + width(fonts, " ") }
    };
    let peer = [cells.peer, cells.port, cells.state].iter().map(|part| width(fonts, part)).sum();
    Widths {
        tag,
        mark,
        time: tabular_width(fonts, cells.time),
        user: width(fonts, cells.user),
        process: width(fonts, cells.process),
        unit: beside(fonts, cells.unit),
        local: width(fonts, cells.local),
        peer,
        address: if cells.has_address() { peer } else { 0 },
        traffic: traffic(&cells).map(|part| tabular_width(fonts, part)),
    }
}

/// What stands before, between and behind the amounts of bytes, and these.
fn traffic<'l>(cells: &Cells<'l>) -> [&'l str; 5] {
    let at = |part: &str| part.as_ptr() as usize - cells.traffic.as_ptr() as usize;
    let between = |from: usize, to: usize| cells.traffic.get(from..to).unwrap_or_default();
    if cells.traffic.is_empty() {
        return Default::default();
    }
    let (received, sent) = (at(cells.received), at(cells.sent));
    [
        between(0, received),
        cells.received,
        between(received + cells.received.len(), sent),
        cells.sent,
        between(sent + cells.sent.len(), cells.traffic.len()),
    ]
}

/// Places each part of a line in its column; returns where they end.
pub(super) fn lay_out_cells<'l>(
    fonts: &mut Fonts,
    cells: &Cells<'l>,
    (fg, faint): (Rgba, Rgba),
    columns: &Places,
    runs: &mut Vec<Run<'l>>,
) -> i32 {
    let mut put = |fonts: &mut Fonts, text: &'l str, x: i32, end: i32, rgba: Rgba| {
        lay_out(fonts, text, &[(0..text.len(), rgba)], x, end, runs)
    };
    let end_of = |place: Place| place.x + place.width;
    put(fonts, cells.user, columns.user.x, end_of(columns.user), fg);
    let end = put(fonts, cells.process, columns.process.x, end_of(columns.process), fg);
    if !cells.unit.is_empty() {
        let begin = end + width(fonts, " ");
        put(fonts, cells.unit, begin, end_of(columns.process), faint);
    }
    put(fonts, cells.local, columns.local.x, end_of(columns.local), faint);
    // How it went and to which port it went are whole, or left out where the peer has no room beside them: the line's
    // colour says how it went, too.
    let [peer, port, state] = [cells.peer, cells.port, cells.state].map(|part| width(fonts, part));
    let least = peer.min(LEAST_PEER * fonts.height());
    let room = columns.peer.width;
    let port = if least + port <= room { port } else { 0 };
    let state = if least + port + state <= room { state } else { 0 };
    let mut end = put(fonts, cells.peer, columns.peer.x, end_of(columns.peer) - port - state, fg);
    // What rules have put in their place may be long, and is cut.
    for (part, width) in [(cells.port, port), (cells.state, state)] {
        let word = part.trim_start();
        let is_plain = !word.contains(' ') && word.starts_with(|c: char| c == '!' || c.is_ascii_digit());
        if width > 0 || !is_plain {
            end = put(fonts, part, end, end_of(columns.peer), fg);
        }
    }
    // A time that does not fit is left out: a part of it would be another one.
    let whole = |place: Place| place.width > 0;
    if whole(columns.time) {
        lay_out_tabular(fonts, cells.time, end_of(columns.time), faint, runs);
    }
    for (at, part) in traffic(cells).into_iter().enumerate() {
        let place = columns.traffic[at];
        if part.is_empty() || !whole(place) {
            continue;
        }
        end = end_of(place);
        if at % 2 == 1 {
            lay_out_tabular(fonts, part, end, fg, runs);
        } else {
            lay_out(fonts, part, &[(0..part.len(), faint)], place.x, end, runs);
        }
    }
    end
}

/// Pixels that a text is wide whose digits are all as wide as the widest.
fn tabular_width(fonts: &mut Fonts, text: &str) -> i32 {
    let digit = fonts.digit_width();
    text.graphemes(true).map(|one| if is_digit(one) { digit } else { width(fonts, one) }).sum()
}

fn is_digit(grapheme: &str) -> bool {
    matches!(grapheme.as_bytes(), [b'0'..=b'9'])
}

/// Places a text with digits of one width, so that it ends at `end`.
fn lay_out_tabular<'l>(fonts: &mut Fonts, text: &'l str, end: i32, rgba: Rgba, runs: &mut Vec<Run<'l>>) {
    let all = tabular_width(fonts, text);
    let mut x = end - all;
    // Most fonts have such digits.
    if width(fonts, text) == all {
        lay_out(fonts, text, &[(0..text.len(), rgba)], x, end, runs);
        return;
    }
    let digit = fonts.digit_width();
    for one in text.graphemes(true) {
        let natural = width(fonts, one);
        let cell = if is_digit(one) { digit } else { natural };
        let begin = x + (cell - natural) / 2;
        lay_out(fonts, one, &[(0..one.len(), rgba)], begin, begin + natural, runs);
        x += cell;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is drawn of a line in a window of this width, part by part.
    fn drawn(fonts: &mut Fonts, line: &str, width: i32) -> String {
        let places = Places::fit(measure(fonts, "#a-b", line, false, false), width, fonts.height());
        let places = places.of(&measure(fonts, "#a-b", line, false, false));
        let mut runs = Vec::new();
        let black = Rgba::BLACK;
        lay_out_cells(fonts, &Cells::of(line).unwrap(), (black, black), &places, &mut runs);
        runs.iter().map(|run| run.text).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn no_number_is_cut_at_any_width() {
        let mut fonts = Fonts::open(None, 14.0).unwrap().0;
        let mut seen = String::new();
        for line in [
            "18:32 :: me :: curl [app-curl] :: <- 198.51.100.123 443 !unreachable :: v 878.9K / 240.1K ^",
            "18:32 :: me :: curl [app-curl] :: 2001:db8:1111:2222:3333:4444:5555:6666 65535/udp !refused :: v 87G / 24G ^",
            "18:32 :: me :: nginx [nginx] :: listening 198.51.100.123 8080 :: ",
            "11-28 18:32 :: postgres :: postgres [system-postgresql] :: 192.0.2.1 5432 !blocked :: v 0B / 0B ^",
        ] {
            let whole: Vec<&str> = line.split([' ', ':', '.']).collect();
            for width in 60..1000 {
                let text = drawn(&mut fonts, line, width);
                for number in text.split(['|', ' ', ':', '.', '…', '[', ']']) {
                    let is_number = number.starts_with(|c: char| c.is_ascii_digit());
                    assert!(!is_number || whole.contains(&number), "{width}: {number} of {text}");
                }
                let has_state = text.contains('!');
                assert!(
                    !has_state || whole.iter().any(|part| part.starts_with('!') && text.contains(part)),
                    "{text}"
                );
            }
            seen += &format!("{}\n{}\n", drawn(&mut fonts, line, 600), drawn(&mut fonts, line, 300));
        }
        assert!(seen.contains("198.51.100.123| 443| !unreachable"), "{seen}");
        assert!(seen.contains("listening 198.51.100.123| 8080"), "{seen}");
        let long =
            "18:32 :: me :: curl [app-curl] :: 2001:db8:1111:2222:3333:4444:5555:6666 443 :: v 87G / 24G ^";
        assert!(drawn(&mut fonts, long, 320).contains("curl"), "the process keeps its room");
    }
}
