//! The ini reader: sections, keys and values with their places, nothing interpreted and nothing lost.

/// A key with its value and where both stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Section it stands in; empty before the first header.
    pub section: String,
    /// Key, trimmed.
    pub key: String,
    /// Value, trimmed, without its comments, continuation lines joined by one space.
    pub value: String,
    /// Line of the key, from 1.
    pub line: usize,
}

/// A line that is neither a section, nor a key with a value, nor a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

/// A file as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ini {
    /// Every entry in the order of the file.
    pub entries: Vec<Entry>,
    /// Every line that could not be read.
    pub malformed: Vec<Malformed>,
}

/// Sections whose keys are regexes: there the key ends at ` = ` and not at the first `=`.
pub const RULE_SECTIONS: [&str; 2] = ["rx-group", "rx-proc"];

impl Ini {
    /// Reads a file's text: any text has a result.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut ini = Self::default();
        let mut section = String::new();
        // Whether the line before could be continued: a comment in between does not end an entry.
        let mut continues = false;
        for (index, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = index + 1;
            let trimmed = raw.trim();
            if trimmed.starts_with(['#', ';']) {
                continue;
            }
            if trimmed.is_empty() {
                continues = false;
                continue;
            }
            if continues
                && raw.starts_with([' ', '\t'])
                && let Some(last) = ini.entries.last_mut()
            {
                let more = strip_comment(trimmed);
                if !last.value.is_empty() && !more.is_empty() {
                    last.value.push(' ');
                }
                last.value.push_str(more);
                continue;
            }
            continues = false;
            if let Some(name) =
                trimmed.strip_prefix('[').and_then(|rest| strip_comment(rest).strip_suffix(']'))
                && !name.contains(" = ")
            {
                name.trim().clone_into(&mut section);
                continue;
            }
            match split_entry(strip_comment(trimmed), RULE_SECTIONS.contains(&section.as_str())) {
                Some((key, value)) => {
                    let (key, value) = (key.to_owned(), value.to_owned());
                    ini.entries.push(Entry { section: section.clone(), key, value, line });
                    continues = true;
                }
                None => ini.malformed.push(Malformed {
                    line,
                    message: "this is neither a [section] nor `key = value`, the line is skipped".into(),
                }),
            }
        }
        ini
    }
}

/// Cuts an inline comment: a `#` with a space before it and a space or the end after it.
fn strip_comment(line: &str) -> &str {
    let cut = line.match_indices('#').find(|&(at, _)| {
        line[..at].ends_with([' ', '\t'])
            && line[at + 1..].chars().next().is_none_or(|next| next == ' ' || next == '\t')
    });
    cut.map_or(line, |(at, _)| &line[..at]).trim_end()
}

/// In rules the key ends at the first ` = ` (or ` =` at the end), so that a regex may contain `=`.
fn split_entry(line: &str, is_rule: bool) -> Option<(&str, &str)> {
    let spaced = || line.split_once(" = ").or_else(|| line.strip_suffix(" =").map(|key| (key, "")));
    let (key, value) = is_rule.then(spaced).flatten().or_else(|| line.split_once('='))?;
    let key = key.trim();
    (!key.is_empty()).then_some((key, value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(String, String, String, usize)> {
        Ini::parse(text).entries.into_iter().map(|e| (e.section, e.key, e.value, e.line)).collect()
    }

    fn entry(section: &str, key: &str, value: &str, line: usize) -> (String, String, String, usize) {
        (section.into(), key.into(), value.into(), line)
    }

    #[test]
    fn comments_continuations_and_sections() {
        let text = "\u{feff}# top\n[text] # the text\n font-height = 15 # px\r\nline-fade-curve = 0,1\n\t; not this\n  \
                    2,3 # end\n\nlost line\n[run]\nfifo=/a#b\n";
        let ini = Ini::parse(text);
        assert_eq!(
            entries(text),
            [
                entry("text", "font-height", "15", 3),
                entry("text", "line-fade-curve", "0,1 2,3", 4),
                entry("run", "fifo", "/a#b", 10),
            ]
        );
        assert_eq!(ini.malformed.len(), 1);
        assert_eq!(ini.malformed[0].line, 8);
    }

    #[test]
    fn a_regex_may_contain_equals_signs_and_brackets() {
        let text = "[rx-proc]\n(?=a)b = c=d\n(?=a)b =\n[a]x = y\nplain=z\n";
        assert_eq!(
            entries(text),
            [
                entry("rx-proc", "(?=a)b", "c=d", 2),
                entry("rx-proc", "(?=a)b", "", 3),
                entry("rx-proc", "[a]x", "y", 4),
                entry("rx-proc", "plain", "z", 5),
            ]
        );
    }
}
