// SPDX-License-Identifier: GPL-3.0-or-later
//! A rule that is to stand at the end of a config: whether it is read there as what was written.

use std::path::Path;

use super::file::Config;
use crate::ini::{Ini, header, is_space, split_rule};
use crate::lists::{Lists, ListsFrom};
use crate::rules::NoticeRule;

/// Where styles are.
const STYLES: &str = "rx-style";

/// A rule as it was written, for the end of a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRule<'t> {
    /// The section it belongs to: of rules, or of styles.
    pub section: &'t str,
    /// `KEY = VALUE`.
    pub text: &'t str,
}

/// Why it cannot stand there: for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotARule(String);

impl NewRule<'_> {
    /// Its section and itself, as they stand in a config. Spaces at its end count for nothing there.
    #[must_use]
    pub fn config_text(self) -> String {
        format!("[{}]\n{}\n", self.section, self.text.trim_end())
    }

    /// What is written to the end of a config, behind this.
    pub(super) fn appended_text(self, before: &[u8]) -> String {
        format!("{}{}\n", to_section(before, self.section), self.text.trim_end())
    }

    /// Reads a config's bytes with the rule at their end; `file` stands in messages of the config, and lists are those that
    /// were read before. Such as the reader
    /// would take for something else than this one rule is refused, and so is what it would complain about.
    pub fn read_after(self, before: &[u8], file: &Path, lists: &Lists) -> Result<Config, NotARule> {
        if self.text.trim_end().contains('\n') {
            return Err(NotARule("a rule is one line: take the line breaks out".into()));
        }
        let appended = self.appended_text(before);
        let bytes = [before, appended.as_bytes()].concat();
        let is_break = |byte: &&u8| **byte == b'\n';
        let first_new =
            before.iter().chain(appended.as_bytes().iter().take_while(is_break)).filter(is_break).count() + 1;
        let config = Config::parse_with(&bytes, file, ListsFrom::Known(lists));
        if let Some(fault) = config.diagnostics.iter().find(|fault| fault.line >= first_new) {
            return Err(NotARule(match &fault.help {
                Some(help) => format!("{}: {help}", fault.message),
                None => fault.message.clone(),
            }));
        }
        let lines =
            config.rules.infos().map(|rule| rule.line).chain(config.notices.all().map(NoticeRule::line));
        let new_rules = lines.filter(|line| *line >= first_new).count();
        let is_style = self.section == STYLES;
        if new_rules == usize::from(!is_style) && self.is_read_from(before, &bytes) {
            Ok(config)
        } else {
            Err(NotARule(self.misreading()))
        }
    }

    /// Whether what is read after the bytes before is this rule, the same in section, key and value, and nothing else.
    fn is_read_from(self, before: &[u8], bytes: &[u8]) -> bool {
        let Some((key, value)) = split_rule(self.text) else { return false };
        let begin = String::from_utf8_lossy(before).len();
        let ini = Ini::parse(&String::from_utf8_lossy(bytes));
        let entries: Vec<_> = ini.entries.iter().filter(|entry| entry.key_at >= begin).collect();
        let appended = to_section(before, self.section);
        let headers = ini.headers.iter().filter(|header| header.span.start >= begin).count();
        headers == appended.matches('[').count()
            && matches!(entries.as_slice(), [entry] if entry.section == self.section
                && entry.key == key.trim_end()
                && entry.value == value.trim())
    }

    /// What it would be read as.
    fn misreading(self) -> String {
        let text = self.text.trim_end();
        if text.is_empty() {
            return "there is nothing to append: write KEY = VALUE".into();
        }
        if let Some(mark) =
            text.trim_start_matches(is_space).chars().next().filter(|c| matches!(c, '#' | ';'))
        {
            return format!("this is a comment: write [{mark}] for a {mark} at the begin of a key");
        }
        if header(text).is_some() {
            return format!("this is the header of a section: write `{text} =` for a rule");
        }
        if text.starts_with(is_space) {
            return "spaces before a key are not part of it: write `\\ ` for the first one, or take them out"
                .into();
        }
        "what follows ` # ` is a comment: write `\\#` in a key; a value cannot contain it".into()
    }
}

/// What has to stand between a config and a key of a section at its end: nothing but a line break where that section is
/// the last one.
pub(super) fn to_section(before: &[u8], section: &str) -> String {
    let ini = Ini::parse(&String::from_utf8_lossy(before));
    let is_last = ini.headers.last().is_some_and(|header| header.name == section);
    match before.last() {
        _ if !is_last => format!("\n[{section}]\n"),
        Some(b'\n') => String::new(),
        _ => "\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::RuleSection;

    const BEFORE: &[u8] = b"[text]\nfont-height = 15\n[rx-proc]\na = b";

    fn read(section: RuleSection, text: &str) -> Result<Config, String> {
        NewRule { section: section.name(), text }
            .read_after(BEFORE, Path::new("w.ini"), &Lists::default())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_reader_takes_for_a_rule_is_one() {
        for text in [
            "foo = bar",
            "foo =",
            "foo = ",
            "foo   =   bar  ",
            "foo=bar",
            "[text] = x",
            "[a]x",
            "\\ foo = \\ bar",
            "[#]foo = bar",
            "a#b = c#d",
            "a \\# b = c",
            "(?=a)b = c=d",
            "# =",
        ] {
            let result = read(RuleSection::Group, text);
            let is_rule = !matches!(text, "[a]x" | "# =");
            assert_eq!(result.is_ok(), is_rule, "{text:?}: {:?}", result.err());
            if let Ok(config) = result {
                assert_eq!(config.rules.infos().count(), 2, "{text}");
            }
        }
    }

    #[test]
    fn what_it_takes_for_something_else_is_refused_with_the_reason() {
        for (text, reason) in [
            ("#foo = bar", "this is a comment: write [#]"),
            ("; foo", "this is a comment: write [;]"),
            (" # foo = bar", "this is a comment: write [#]"),
            ("[text]", "this is the header of a section: write `[text] =`"),
            ("[rx-group] # x", "this is the header"),
            (" = x", "key"),
            ("= x", "neither a [section] nor `key = value`"),
            ("", "there is nothing to append"),
            ("foo", "neither a [section] nor `key = value`"),
            ("  foo = bar", "spaces before a key"),
            ("\u{feff}foo = bar", "spaces before a key"),
            ("\tfoo = bar", "spaces before a key"),
            ("foo = bar\nmore", "a rule is one line"),
            ("foo = bar\n more", "a rule is one line"),
            ("foo = bar\nc = d", "a rule is one line"),
            ("foo = bar\n[text]", "a rule is one line"),
            ("foo = bar # baz", "what follows ` # ` is a comment"),
            ("foo = # baz", "what follows ` # ` is a comment"),
            ("foo = bar #", "what follows ` # ` is a comment"),
            ("foo # x = bar", "neither a [section] nor `key = value`"),
            ("(foo = bar", "this group is never closed"),
            ("foo = $1", "there is no group number 1"),
            ("foo = \\n", "`\\n` is taken literally here"),
        ] {
            for section in [RuleSection::Group, RuleSection::Proc, RuleSection::Notify] {
                let error = read(section, text).unwrap_err();
                assert!(error.contains(reason), "{text:?}: {error}");
            }
        }
    }
}
