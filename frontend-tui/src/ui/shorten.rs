// SPDX-License-Identifier: GPL-3.0-or-later
//! Texts made to fit a number of cells, never by a part of a number that could be read as another one.

use std::borrow::Cow;

use leco_core::text::cut;

use crate::width::{Width, graphemes};

/// Stands for what was left out.
const ELLIPSIS: char = '…';

/// A text of at most so many cells: what does not fit is left out of its middle, and marked. Numbers in it are there as
/// a whole, or not at all.
#[must_use]
pub fn middle(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let Some(room) = width.checked_sub(1) else { return "".into() };
    let tail_width = room / 2;
    let is_digit = |c: char| c.is_ascii_digit();
    let mut head = start_within(text, room - tail_width);
    let mut tail = end_within(&text[head.len()..], tail_width);
    if text[head.len()..].starts_with(is_digit) {
        head = head.trim_end_matches(is_digit);
    }
    if text[..text.len() - tail.len()].ends_with(is_digit) {
        tail = tail.trim_start_matches(is_digit);
    }
    format!("{head}{ELLIPSIS}{tail}").into()
}

/// A text of at most so many cells: what does not fit is left out of its end, and marked. A number that would be cut
/// goes as a whole.
#[must_use]
pub fn end(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let Some(room) = width.checked_sub(1) else { return "".into() };
    let head = cut(text, start_within(text, room).len());
    format!("{}{ELLIPSIS}", &text[..head]).into()
}

/// An address of at most so many cells: what does not fit is left out of its end, by whole numbers, and marked.
#[must_use]
pub fn address(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let Some(room) = width.checked_sub(1) else { return "".into() };
    let head = start_within(text, room);
    let whole = head.rfind(['.', ':', ' ']).map_or(0, |at| at + 1);
    format!("{}{ELLIPSIS}", &head[..whole]).into()
}

/// A text with a path in it, of at most so many cells: directories are left out of the middle of the path, as a whole.
#[must_use]
pub fn path(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let longest = text.split(' ').max_by_key(|word| word.len()).unwrap_or_default();
    let (before, after) = text.split_once(longest).unwrap_or_default();
    let names: Vec<_> = longest.split('/').collect();
    let (last, directories) = names.split_last().unwrap_or((&"", &[]));
    let kept = (0..directories.len()).rev().map(|kept| {
        let directories: String = directories[..kept].iter().flat_map(|name| [*name, "/"]).collect();
        format!("{before}{directories}{ELLIPSIS}/{last}{after}")
    });
    kept.into_iter().find(|text| text.width() <= width).map_or_else(|| end(text, width), Cow::from)
}

/// The begin of a text that fits.
pub(super) fn start_within(text: &str, width: usize) -> &str {
    let mut used = 0;
    let cut = graphemes(text).find(|(_, _, cells)| {
        used += cells;
        used > width
    });
    &text[..cut.map_or(text.len(), |(at, ..)| at)]
}

/// The end of a text that fits.
fn end_within(text: &str, width: usize) -> &str {
    let mut used = 0;
    let cut = graphemes(text).rev().find(|(_, _, cells)| {
        used += cells;
        used > width
    });
    &text[cut.map_or(0, |(at, grapheme, _)| at + grapheme.len())..]
}

/// A text in lines of at most so many cells, broken at spaces where there are any, else where no name or number is cut.
#[must_use]
pub fn wrapped(text: &str, width: usize) -> Vec<&str> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut rest = text;
    loop {
        let mut line = start_within(rest, width);
        if line.len() == rest.len() {
            lines.push(rest);
            return lines;
        }
        if let Some(space) = line.rfind(' ').filter(|at| *at > 0)
            && !rest[line.len()..].starts_with(' ')
        {
            line = &line[..space];
        } else if rest[line.len()..].starts_with(char::is_alphanumeric)
            && let Some((at, c)) = line.char_indices().rfind(|(_, c)| !c.is_alphanumeric())
        {
            line = &line[..at + c.len_utf8()];
        }
        if line.is_empty() {
            // A character that is wider than all.
            line = graphemes(rest).next().map_or("", |(_, grapheme, _)| grapheme);
        }
        lines.push(line);
        rest = rest[line.len()..].trim_start_matches(' ');
        if rest.is_empty() {
            return lines;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_goes() {
        assert_eq!(middle("example.org", 11), "example.org");
        assert_eq!(middle("example.org", 10), "examp….org");
        assert_eq!(middle("example.org", 2), "e…");
        assert_eq!(middle("example.org", 1), "…");
        assert_eq!(middle("example.org", 0), "");
        assert_eq!(middle("日本語日本語", 6), "日…語");
        assert_eq!(middle("❤️❤️❤️.py", 6), "❤️…py");
        assert_eq!(middle("👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", 5), "👨‍👩‍👧…👨‍👩‍👧");
        assert_eq!(middle("\u{1100}\u{1161}\u{11a8}abcdef", 4), "\u{1100}\u{1161}\u{11a8}…f");
        assert_eq!(middle("ec2-203-0-113-77.example", 14), "ec2-203…xample");
        assert_eq!(middle("ec2-203-0-113-77.example", 13), "ec2-…xample");
        assert_eq!(middle("host-4711", 6), "hos…");
    }

    #[test]
    fn numbers_stay_whole() {
        assert_eq!(end("merged 878.9K", 13), "merged 878.9K");
        assert_eq!(end("merged 878.9K", 12), "merged …");
        assert_eq!(end("to example.org", 8), "to exam…");
        assert_eq!(end("日12345", 5), "日…");
        assert_eq!(end("18:34 a", 3), "…");
        assert_eq!(end("FROZEN 12 s, 1,234 new", 18), "FROZEN 12 s, …");
        assert_eq!(end("filter: port:65535", 17), "filter: port:…");
        assert_eq!(end("to fe80::1:2345 x", 12), "to fe80::1:…");
    }

    #[test]
    fn addresses_end_after_a_whole_number() {
        assert_eq!(address("192.0.2.10", 10), "192.0.2.10");
        assert_eq!(address("192.0.2.10", 9), "192.0.2.…");
        assert_eq!(address("192.0.2.10", 8), "192.0.…");
        assert_eq!(address("2001:db8::1", 10), "2001:db8:…");
        assert_eq!((address("192.0.2.10", 3).as_ref(), address("192.0.2.10", 0).as_ref()), ("…", ""));
    }

    #[test]
    fn directories_go_from_the_middle_of_a_path() {
        let text = "reading /run/user/1000/leco.fifo";
        assert_eq!(path(text, 32), text);
        assert_eq!(path(text, 31), "reading /run/user/…/leco.fifo");
        assert_eq!(path(text, 28), "reading /run/…/leco.fifo");
        assert_eq!(path(text, 19), "reading …/leco.fifo");
        assert_eq!(path(text, 18), "reading /run/user…");
        assert_eq!(path("listening on 127.0.0.1:65535", 20), "listening on …");
    }

    #[test]
    fn long_texts_take_several_lines() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("one two", 3), ["one", "two"]);
        assert_eq!(wrapped("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(wrapped("日本", 1), ["日", "本"]);
        assert_eq!(wrapped("❤️❤️❤️", 4), ["❤️❤️", "❤️"]);
        assert_eq!(wrapped("👨‍👩‍👧👨‍👩‍👧", 1), ["👨‍👩‍👧", "👨‍👩‍👧"]);
        assert_eq!(wrapped("to 2001:db8::4711", 12), ["to", "2001:db8::", "4711"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
