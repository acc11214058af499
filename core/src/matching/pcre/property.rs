// SPDX-License-Identifier: GPL-3.0-or-later
//! `\p{…}`: what Unicode says of a character.

use super::Parser;
use crate::matching::pattern::PatternError;

const CATEGORIES: [&str; 36] = [
    "C", "Cc", "Cf", "Cn", "Co", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl",
    "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
];

/// Yes or no, by long and by short name without what does not count in names.
const BINARY: &[&str] = &[
    "ahex",
    "alpha",
    "alphabetic",
    "ascii",
    "asciihexdigit",
    "bidic",
    "bidicontrol",
    "bidim",
    "bidimirrored",
    "cased",
    "caseignorable",
    "changeswhencasefolded",
    "changeswhencasemapped",
    "changeswhenlowercased",
    "changeswhentitlecased",
    "changeswhenuppercased",
    "ci",
    "cwcf",
    "cwcm",
    "cwl",
    "cwt",
    "cwu",
    "dash",
    "defaultignorablecodepoint",
    "dep",
    "deprecated",
    "di",
    "dia",
    "diacritic",
    "ebase",
    "ecomp",
    "emod",
    "emoji",
    "emojicomponent",
    "emojimodifier",
    "emojimodifierbase",
    "emojipresentation",
    "epres",
    "ext",
    "extendedpictographic",
    "extender",
    "extpict",
    "graphemebase",
    "graphemeextend",
    "graphemelink",
    "grbase",
    "grext",
    "grlink",
    "hex",
    "hexdigit",
    "idc",
    "idcontinue",
    "ideo",
    "ideographic",
    "ids",
    "idsb",
    "idsbinaryoperator",
    "idst",
    "idstart",
    "idstrinaryoperator",
    "joinc",
    "joincontrol",
    "loe",
    "logicalorderexception",
    "lower",
    "lowercase",
    "math",
    "nchar",
    "noncharactercodepoint",
    "patsyn",
    "patternsyntax",
    "patternwhitespace",
    "patws",
    "pcm",
    "prependedconcatenationmark",
    "qmark",
    "quotationmark",
    "radical",
    "regionalindicator",
    "ri",
    "sd",
    "sentenceterminal",
    "softdotted",
    "space",
    "sterm",
    "term",
    "terminalpunctuation",
    "uideo",
    "unifiedideograph",
    "upper",
    "uppercase",
    "variationselector",
    "vs",
    "whitespace",
    "wspace",
    "xidc",
    "xidcontinue",
    "xids",
    "xidstart",
];

impl Parser<'_> {
    /// What follows `\p` or `\P`, as the engines read it.
    pub(super) fn property(&mut self, start: usize, is_negated: bool) -> Result<String, PatternError> {
        let inside = if self.eat("{") {
            let Some(end) = self.rest().find('}') else {
                return Err(self
                    .fault(start, "this property is never closed")
                    .help("add a \"}\" after its name"));
            };
            let inside = &self.rest()[..end];
            self.at += end + 1;
            inside
        } else {
            let at = self.at;
            self.next();
            &self.regex[at..self.at]
        };
        let (name, is_other) = match inside.trim().strip_prefix('^') {
            Some(name) => (name, true),
            None => (inside.trim(), false),
        };
        // Spaces, hyphens, underscores and case do not count.
        let key: String = name.chars().filter(|c| !matches!(c, ' ' | '\t' | '-' | '_')).collect();
        let key = key.to_ascii_lowercase();
        let is_negated = is_negated != is_other;
        let p = if is_negated { 'P' } else { 'p' };
        if self.flags.caseless && matches!(key.as_str(), "lu" | "ll" | "lt") {
            // Only that case in PCRE2 before 10.43, any case since.
            let written = &self.regex[start..self.at];
            return Err(self
                .fault(
                    start,
                    format!(
                        "`{written}` means different things to versions of PCRE where case does not count"
                    ),
                )
                .help("write \\p{L&} for letters of either case, or I/…/ for a regex in which case counts"));
        }
        if let Some(category) = CATEGORIES.iter().find(|category| category.eq_ignore_ascii_case(&key)) {
            return Ok(format!("\\{p}{{{category}}}"));
        }
        let class = |inside: &str| format!("[{}{inside}]", if is_negated { "^" } else { "" });
        match key.as_str() {
            "any" => return Ok(class("\\x{0}-\\x{10FFFF}")),
            "l&" | "lc" => return Ok(class("\\p{Lu}\\p{Ll}\\p{Lt}")),
            "xan" => return Ok(class("\\p{L}\\p{N}")),
            "xps" | "xsp" => return Ok(class("\\x{9}-\\x{D}\\x{85}\\x{180E}\\p{Z}")),
            "xwd" => return Err(self.refuse(start, "this property is", "write [\\p{L}\\p{N}_]")),
            "xuc" => {
                return Err(self.refuse(start, "this property is", "write [$@`\\x{A0}-\\x{10FFFF}]"));
            }
            _ => {}
        }
        if BINARY.contains(&key.as_str()) {
            return Ok(format!("\\{p}{{{key}}}"));
        }
        let (kind, script) = match key.split_once(['=', ':']) {
            Some(("sc" | "script", script)) => ("sc", script),
            Some(("scx" | "scriptextensions", script)) => ("scx", script),
            Some(("bc" | "bidiclass", _)) => {
                return Err(self.refuse(
                    start,
                    "the direction of writing is",
                    "write a script like \\p{Hebrew}",
                ));
            }
            Some(_) => ("", ""),
            // What is written in several scripts belongs to each of them.
            None => ("scx", key.as_str()),
        };
        let written = format!("\\{p}{{{kind}={script}}}");
        let is_script = !script.is_empty()
            && script.chars().all(|c| c.is_ascii_alphanumeric())
            && regex_syntax::parse(&written).is_ok();
        if is_script {
            return Ok(written);
        }
        let written = &self.regex[start..self.at];
        Err(self
            .fault(start, format!("`{written}`: there is no such property"))
            .help("write one like \\p{L} (letters), \\p{Nd} (digits) or \\p{Greek}"))
    }
}
