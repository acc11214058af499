// SPDX-License-Identifier: GPL-3.0-or-later
//! The keys of `leco-tui`, for its help and its man page.

/// Every key, for the help, in the order of use.
pub const KEYS: [(&str, &str); 16] = [
    ("↑ ↓  j k", "select a line"),
    ("PgUp PgDn  wheel", "scroll through all known lines"),
    ("Home End  g G", "first, last"),
    ("⏎", "everything about the line"),
    ("space", "freeze, resume"),
    ("/", "search; n next, N back"),
    ("f", "filter: user: proc: unit: peer: port: dir: state: host: new /regex/ -not"),
    ("s", "sort: fixed places, last seen, rate, total"),
    ("r", "rules and their hits"),
    ("x", "a rule that hides the line"),
    ("e", "a rule that renames it"),
    ("m", "a rule that merges it with others"),
    ("t", "a rule that you type; Tab changes the section"),
    ("Esc", "back"),
    ("Ctrl-L", "redraw"),
    ("q  Ctrl-C", "quit"),
];
