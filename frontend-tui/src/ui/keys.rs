// SPDX-License-Identifier: GPL-3.0-or-later
//! The keys that matter now, as many as there is room for.

use unicode_width::UnicodeWidthStr;

use crate::input::action::Mode;
use crate::model::state::State;
use crate::ui::glyphs::Glyphs;

/// Between two keys.
const GAP: &str = "   ";
/// Always there.
const HELP: (&str, &str) = ("?", "help");

/// A key and what it does, the most important first.
type Keys = &'static [(&'static str, &'static str)];

const OF_LIST: Keys = &[
    ("q", "quit"),
    ("f", "filter"),
    ("⏎", "detail"),
    ("/", "search"),
    ("s", "sort"),
    ("space", "freeze"),
    ("r", "rules"),
    ("l", "listeners"),
];
const OF_SELECTION: Keys = &[
    ("q", "quit"),
    ("⏎", "detail"),
    ("p u a", "its process, unit, peer alone"),
    ("x e m", "hide, rename, merge"),
    ("y", "copy address"),
    ("space", "freeze"),
];
const OF_FILTER: Keys =
    &[("q", "quit"), ("f", "change"), ("Esc", "show all"), ("⏎", "detail"), ("s", "sort")];
const OF_SEARCH: Keys = &[("q", "quit"), ("n N", "next, back"), ("Esc", "end"), ("⏎", "detail")];
const OF_DETAIL: Keys = &[
    ("Esc", "back"),
    ("↑ ↓", "field"),
    ("y", "copy it"),
    ("Y", "copy all as JSON"),
    ("x e m", "hide, rename, merge"),
];
const OF_RULES: Keys = &[("Esc", "back"), ("↑ ↓", "scroll"), ("t", "try a rule")];
const OF_HELP: Keys = &[("Esc", "back"), ("↑ ↓", "scroll")];

/// The keys of what is on the screen, within a width.
pub(crate) fn line(state: &State, glyphs: &'static Glyphs, width: usize) -> String {
    let keys = match state.mode {
        Mode::Detail => OF_DETAIL,
        Mode::Rules => OF_RULES,
        Mode::Help => OF_HELP,
        _ if !state.search.is_empty() => OF_SEARCH,
        _ if state.selection.is_some() => OF_SELECTION,
        _ if !state.lines.filter.is_empty() => OF_FILTER,
        _ => OF_LIST,
    };
    fitting(keys, glyphs, width)
}

/// As many keys as fit as a whole; help comes last, and goes last.
fn fitting(keys: Keys, glyphs: &'static Glyphs, width: usize) -> String {
    let said = |(key, does): &(&'static str, &'static str)| format!("{} {does}", glyphs.text(key));
    let help = said(&HELP);
    let mut line = String::new();
    for key in keys {
        let longer = if line.is_empty() { said(key) } else { format!("{line}{GAP}{}", said(key)) };
        if 1 + longer.width() + GAP.width() + help.width() <= width {
            line = longer;
        }
    }
    match line.as_str() {
        "" if 1 + help.width() > width => HELP.0.to_owned(),
        "" => format!(" {help}"),
        keys => format!(" {keys}{GAP}{help}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_whole_and_help_is_always_there() {
        for keys in [OF_LIST, OF_SELECTION, OF_FILTER, OF_SEARCH, OF_DETAIL, OF_RULES, OF_HELP] {
            for width in 1..200 {
                let line = fitting(keys, Glyphs::unicode(), width);
                assert!(line.width() <= width && line.contains('?'), "{width}: {line}");
                for part in line.split(GAP).map(str::trim).filter(|part| *part != "?") {
                    let is_whole =
                        keys.iter().chain([&HELP]).any(|(key, does)| part == format!("{key} {does}"));
                    assert!(is_whole, "{width}: {part}");
                }
            }
        }
        let fitting = |keys, width| fitting(keys, Glyphs::unicode(), width);
        assert_eq!(fitting(OF_LIST, 40), " q quit   f filter   ⏎ detail   ? help");
        assert_eq!((fitting(OF_HELP, 8), fitting(OF_HELP, 3)), (" ? help".to_owned(), "?".to_owned()));
    }
}
