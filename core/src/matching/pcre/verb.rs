// SPDX-License-Identifier: GPL-3.0-or-later
//! `(*…)`: settings at the begin, and verbs.

use super::Parser;
use super::group::Look;
use super::node::Node;
use crate::matching::pattern::PatternError;

/// Words for look-around and atomic groups, `(*WORD:…)`, and what else they are written as.
const WORDS: [(&str, &str); 10] = [
    ("positive_lookahead", "?="),
    ("pla", "?="),
    ("negative_lookahead", "?!"),
    ("nla", "?!"),
    ("positive_lookbehind", "?<="),
    ("plb", "?<="),
    ("negative_lookbehind", "?<!"),
    ("nlb", "?<!"),
    ("atomic", "?>"),
    ("atomic_", "?>"),
];

/// Settings at the begin that change nothing here: the text is UTF-8, a line ends with LF, and how a match is found is
/// the engine's affair.
const SETTINGS: [&str; 7] = [
    "(*UTF)",
    "(*LF)",
    "(*BSR_UNICODE)",
    "(*NO_AUTO_POSSESS)",
    "(*NO_DOTSTAR_ANCHOR)",
    "(*NO_JIT)",
    "(*NO_START_OPT)",
];

/// Those that would change something, and what to write instead.
const OTHER_SETTINGS: [(&str, &str); 12] = [
    ("(*UCP)", "write \\p{L}, \\p{Nd}, \\p{Xan} or \\p{Xsp} for letters, digits and spaces of all scripts"),
    ("(*CR)", "write [^\\r] for . and (?=\\r) for $"),
    ("(*CRLF)", "write [^\\r\\n] for . and (?=\\r\\n) for $"),
    ("(*ANYCRLF)", "write [^\\r\\n] for . and (?=\\R|\\z) for $"),
    ("(*ANY)", "write \\V for . and (?=\\R|\\z) for $"),
    ("(*NUL)", "write [^\\0] for ."),
    ("(*BSR_ANYCRLF)", "write (?>\\r\\n|\\r|\\n) for \\R"),
    ("(*NOTEMPTY)", "write + for *, or a look-ahead like (?=.)"),
    ("(*NOTEMPTY_ATSTART)", "write + for *, or a look-ahead like (?=.)"),
    ("(*LIMIT_HEAP=", "leave it out: the steps that a rule may take are limited anyway"),
    ("(*LIMIT_MATCH=", "leave it out: the steps that a rule may take are limited anyway"),
    ("(*LIMIT_DEPTH=", "leave it out: the steps that a rule may take are limited anyway"),
];

impl Parser<'_> {
    /// Passes over settings at the begin.
    pub(super) fn skip_settings(&mut self) -> Result<(), PatternError> {
        while SETTINGS.iter().any(|setting| self.eat(setting)) {}
        let start = self.at;
        for (setting, help) in OTHER_SETTINGS {
            if self.eat(setting) {
                if setting.ends_with('=') {
                    self.at += self.rest().find(')').map_or(0, |end| end + 1);
                }
                return Err(self.refuse(start, "this setting is", help));
            }
        }
        Ok(())
    }

    /// `(*…)`.
    pub(super) fn verb(&mut self, start: usize) -> Result<Node, PatternError> {
        self.at += 1;
        let length =
            self.rest().bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let word = self.rest()[..length].to_owned();
        self.at += length;
        if self.rest().starts_with(':')
            && let Some((_, written)) = WORDS.iter().find(|(known, _)| *known == word)
        {
            self.at += 1;
            if let Some((look, _)) = Look::parse(written) {
                return self.look_around(start, look);
            }
            self.demands.backtracking = true;
            return self.plain(start, "(?>");
        }
        if matches!(word.as_str(), "F" | "FAIL") && self.eat(")") {
            return Ok(Node { is_position: true, ..Node::set("[^\\x{0}-\\x{10FFFF}]".to_owned(), 1) });
        }
        self.at += self.rest().find([')', ':']).map_or(0, |end| end + 1);
        Err(match word.as_str() {
            "F" | "FAIL" => self.refuse(start, "names of verbs are", "write (*FAIL)"),
            "ACCEPT" => self.refuse(start, "ending a match early is", "put what follows into (?:…|)"),
            "COMMIT" | "PRUNE" | "SKIP" | "THEN" => self.refuse(
                start,
                "control of backtracking is",
                "write (?>…), or a regex of its own like /A/ && !/B/",
            ),
            "" | "MARK" => self.refuse(start, "marks are", "leave it out"),
            "sr" | "script_run" | "asr" | "atomic_script_run" => {
                self.refuse(start, "script runs are", "write the script like \\p{Greek}+")
            }
            "napla" | "non_atomic_positive_lookahead" | "naplb" | "non_atomic_positive_lookbehind" => {
                self.refuse(start, "non-atomic look-around is", "write (?=…) or (?<=…)")
            }
            _ if SETTINGS.iter().any(|setting| setting[2..setting.len() - 1] == word)
                || OTHER_SETTINGS.iter().any(|(setting, _)| setting[2..setting.len() - 1] == word) =>
            {
                self.fault(start, format!("(*{word}) is only valid at the start of a regex"))
                    .help("leave it out, or move it there")
            }
            _ => self
                .fault(start, format!("there is no verb (*{word})"))
                .help("write \\(\\* if the characters are meant"),
        })
    }
}
