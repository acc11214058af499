// SPDX-License-Identifier: GPL-3.0-or-later
//! `\p{…}`: what Unicode says of a character.

use super::Parser;
use crate::matching::pattern::{Case, PatternError};

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

impl<'r> Parser<'r> {
    /// What follows `\p` or `\P`, which was read, as the engines read it.
    pub(super) fn property(&mut self, start: usize, letter: char) -> Result<String, PatternError> {
        let written = self.written_property(start)?.trim();
        let (name, is_other) = written.strip_prefix('^').map_or((written, false), |name| (name, true));
        let is_negated = (letter == 'P') != is_other;
        // Spaces, hyphens, underscores and case do not count.
        let key: String = name.chars().filter(|c| !matches!(c, ' ' | '\t' | '-' | '_')).collect();
        let key = key.to_ascii_lowercase();
        if self.flags.case == Case::Ignored && matches!(key.as_str(), "lu" | "ll" | "lt") {
            return Err(self.doubtful_case(start));
        }
        let p = if is_negated { 'P' } else { 'p' };
        if let Some(category) = CATEGORIES.iter().find(|category| category.eq_ignore_ascii_case(&key)) {
            return Ok(format!("\\{p}{{{category}}}"));
        }
        if let Some(inside) = self.special_property(start, &key)? {
            return Ok(format!("[{}{inside}]", if is_negated { "^" } else { "" }));
        }
        if BINARY.contains(&key.as_str()) {
            return Ok(format!("\\{p}{{{key}}}"));
        }
        self.script(start, &key, p)
    }

    /// The name of a property as it is written: in braces, or one letter.
    fn written_property(&mut self, start: usize) -> Result<&'r str, PatternError> {
        let regex = self.regex;
        if !self.eat("{") {
            let at = self.at;
            self.next();
            return Ok(&regex[at..self.at]);
        }
        let Some(end) = self.rest().find('}') else {
            return Err(self
                .fault(start, "this property is never closed")
                .help("add a \"}\" after its name"));
        };
        let inside = &self.rest()[..end];
        self.at += end + 1;
        Ok(inside)
    }

    /// A category that is only that case in PCRE2 before 10.43, and any case since.
    fn doubtful_case(&self, start: usize) -> PatternError {
        let written = &self.regex[start..self.at];
        let message =
            format!("`{written}` means different things to versions of PCRE where case does not count");
        self.fault(start, message)
            .help("write \\p{L&} for letters of either case, or I/…/ for a regex in which case counts")
    }

    /// What is PCRE's own, as what stands in a class; `None` where it is none of these.
    fn special_property(&self, start: usize, key: &str) -> Result<Option<&'static str>, PatternError> {
        Ok(Some(match key {
            "any" => "\\x{0}-\\x{10FFFF}",
            "l&" | "lc" => "\\p{Lu}\\p{Ll}\\p{Lt}",
            "xan" => "\\p{L}\\p{N}",
            "xps" | "xsp" => "\\x{9}-\\x{D}\\x{85}\\x{180E}\\p{Z}",
            "xwd" => return Err(self.refuse(start, "this property is", "write [\\p{L}\\p{N}_]")),
            "xuc" => return Err(self.refuse(start, "this property is", "write [$@`\\x{A0}-\\x{10FFFF}]")),
            _ => return Ok(None),
        }))
    }

    /// A script, by which characters are told apart that nothing else does.
    fn script(&self, start: usize, key: &str, p: char) -> Result<String, PatternError> {
        let (kind, script) = match key.split_once(['=', ':']) {
            Some(("sc" | "script", script)) => ("sc", script),
            Some(("scx" | "scriptextensions", script)) => ("scx", script),
            Some(("bc" | "bidiclass", _)) => {
                let help = "write a script like \\p{Hebrew}";
                return Err(self.refuse(start, "the direction of writing is", help));
            }
            Some(_) => ("", ""),
            // What is written in several scripts belongs to each of them.
            None => ("scx", key),
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
