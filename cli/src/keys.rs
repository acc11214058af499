// SPDX-License-Identifier: GPL-3.0-or-later
//! The keys of `leco-tui`, for its help and its man page.

/// Every key, for the help, in the order of use.
pub const KEYS: [(&str, &str); 24] = [
    ("↑ ↓  j k", "select a line"),
    ("PgUp PgDn  wheel", "scroll through all known lines"),
    ("Home End  g G", "first, last"),
    ("⏎", "everything about the line; there ↑ ↓ go through its fields"),
    ("p  u  a", "what the line's process, unit or peer does, alone; again: everything"),
    ("a", "on a line marked + accept the pair: a style in the config takes its mark away; A: its peer alone"),
    ("y", "copy the peer's address; in the details the field"),
    ("Y", "copy the event as JSON"),
    ("space", "freeze, resume"),
    ("/", "search; n next, N back"),
    ("f", "filter: user: proc: unit: peer: port: dir: state: host: trouble new open @NAME /regex/ -not"),
    ("l", "listeners alone; again: everything"),
    ("s", "sort: fixed places, last seen, rate, total"),
    (
        "h",
        "history: what moved over time; Tab by what, 1 to 6 since when (1 h, today, 24 h, 7 d, 30 d, since I left), ⏎ into a row, Esc back",
    ),
    ("r", "rules and their hits"),
    ("x", "a rule that hides the line"),
    ("e", "a rule that renames it"),
    ("m", "a rule that merges it with others"),
    ("t", "a rule that you type; Tab changes the section"),
    ("Esc", "back"),
    ("H", "hide the heading for ever; again: show it"),
    ("Ctrl-L", "redraw"),
    ("q", "close what is open, else quit"),
    ("Ctrl-C", "quit"),
];
