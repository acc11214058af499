// SPDX-License-Identifier: GPL-3.0-or-later
//! The keys that matter now, as many as there is room for.

use crate::input::action::Mode;
use crate::model::state::State;
use crate::ui::glyphs::Glyphs;
use crate::width::Width;

/// Between two keys.
const GAP: &str = "   ";
/// Always there, but in the help.
const HELP: (&str, &str) = ("?", "help");
/// There instead.
const BACK: (&str, &str) = ("Esc", "back");

/// What a key does while the list goes on, and while it does not; as long, so that both fit.
const FREEZE: &str = "freeze";
const RESUME: &str = "resume";

/// A key and what it does, the most important first.
type Keys = &'static [(&'static str, &'static str)];

const OF_LIST: Keys = &[
    ("q", "quit"),
    ("f", "filter"),
    ("⏎", "detail"),
    ("/", "search"),
    ("s", "sort"),
    ("space", FREEZE),
    ("r", "rules"),
    ("h", "history"),
    ("l", "listeners"),
];
const OF_SELECTION: Keys = &[
    ("q", "quit"),
    ("⏎", "detail"),
    ("p u a", "its process, unit, peer alone"),
    ("x e m", "hide, rename, merge"),
    ("y", "copy address"),
    ("space", FREEZE),
];
const OF_MARKED: Keys = &[
    ("q", "quit"),
    ("⏎", "detail"),
    ("a", "accept, no mark from now on"),
    ("p u A", "its process, unit, peer alone"),
    ("x e m", "hide, rename, merge"),
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
const OF_HISTORY: Keys = &[
    ("Esc", "back"),
    ("Tab", "by what"),
    ("1-6", "1h today 24h 7d 30d left"),
    ("⏎", "go in"),
    ("f", "filter"),
    ("↑ ↓", "select"),
];
const OF_RULES: Keys = &[("Esc", "back"), ("↑ ↓", "scroll"), ("t", "try a rule")];
const OF_HELP: Keys = &[("↑ ↓", "scroll")];
const OF_RECORDING: Keys = &[("q", "quit"), ("space", "pause"), ("← →", "seek"), ("+ -", "speed")];

/// The keys of what is on the screen, within a width; the selected line may be marked as new.
pub(crate) fn line(state: &State, is_marked: bool, glyphs: &'static Glyphs, width: usize) -> String {
    let keys = match state.mode {
        Mode::Detail => OF_DETAIL,
        Mode::Rules => OF_RULES,
        Mode::History => OF_HISTORY,
        Mode::Help => OF_HELP,
        _ if !state.search.is_empty() => OF_SEARCH,
        _ if is_marked => OF_MARKED,
        _ if state.selection.is_some() => OF_SELECTION,
        _ if !state.lines.filter.is_empty() => OF_FILTER,
        _ => OF_LIST,
    };
    let line = fitting(keys, glyphs, width);
    if state.lines.is_frozen() { line.replace(FREEZE, RESUME) } else { line }
}

/// The same of a recording that is played.
pub(crate) fn of_recording(glyphs: &'static Glyphs, width: usize) -> String {
    fitting(OF_RECORDING, glyphs, width)
}

/// As many keys as fit as a whole; help comes last, and goes last, as the way back from it does.
fn fitting(keys: Keys, glyphs: &'static Glyphs, width: usize) -> String {
    let said = |(key, does): &(&'static str, &'static str)| format!("{} {does}", glyphs.text(key));
    let last = if keys == OF_HELP { BACK } else { HELP };
    let help = said(&last);
    let mut line = String::new();
    for key in keys {
        let longer = if line.is_empty() { said(key) } else { format!("{line}{GAP}{}", said(key)) };
        if 1 + longer.width() + GAP.width() + help.width() <= width {
            line = longer;
        }
    }
    match line.as_str() {
        "" if 1 + help.width() > width => last.0.to_owned(),
        "" => format!(" {help}"),
        keys if last == BACK => format!(" {help}{GAP}{keys}"),
        keys => format!(" {keys}{GAP}{help}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_whole_and_help_is_always_there() {
        let all = [
            OF_LIST,
            OF_SELECTION,
            OF_MARKED,
            OF_FILTER,
            OF_SEARCH,
            OF_DETAIL,
            OF_RULES,
            OF_HISTORY,
            OF_HELP,
            OF_RECORDING,
        ];
        for keys in all {
            for width in 3..200 {
                let line = fitting(keys, Glyphs::unicode(), width);
                let last = if keys == OF_HELP { BACK } else { HELP };
                assert!(line.width() <= width && line.contains(last.0), "{width}: {line}");
                for part in line.split(GAP).map(str::trim).filter(|part| *part != last.0) {
                    let is_whole =
                        keys.iter().chain([&last]).any(|(key, does)| part == format!("{key} {does}"));
                    assert!(is_whole, "{width}: {part}");
                }
            }
        }
        let fitting = |keys, width| fitting(keys, Glyphs::unicode(), width);
        assert_eq!(fitting(OF_LIST, 40), " q quit   f filter   ⏎ detail   ? help");
        assert_eq!((fitting(OF_RULES, 8), fitting(OF_RULES, 3)), (" ? help".to_owned(), "?".to_owned()));
        assert_eq!(fitting(OF_HELP, 40), " Esc back   ↑ ↓ scroll");
    }
}
