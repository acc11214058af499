// SPDX-License-Identifier: GPL-3.0-or-later
//! What rules make of a line, step by step, for a person or a program: `-r`.

use std::io::Write;
use std::ops::Range;

use anstyle::{AnsiColor, Style};
use leco_os::clean::clean;

use super::notify::told_of;
use super::{PlainError, unless_broken_pipe};
use crate::config::Config;
use crate::rules::{Explanation, Verdict};

/// Of a rule's key so many characters are shown before what it made of the line.
const MAX_KEY: usize = 40;

/// Prints what the rules make of a line, step by step; what each rule put in is set off.
pub fn explain(config: &Config, line: &str, mut out: impl Write) -> Result<(), PlainError> {
    let explanation = config.rules.explain(line);
    let file = config.file.as_deref().map_or_else(|| "-".into(), |file| file.display().to_string());
    let places: Vec<String> =
        explanation.steps.iter().map(|step| format!("{file}:{}", step.rule_line)).collect();
    let place_width = places.iter().map(String::len).max().unwrap_or(0);
    let keys = || explanation.steps.iter().map(|step| step.rule_key.chars().count());
    let key_width = keys().max().unwrap_or(0).min(MAX_KEY);
    let mut text = format!("{}\n", clean(&explanation.original));
    for (step, place) in explanation.steps.iter().zip(places) {
        let result = match () {
            () if step.dropped => "(dropped)".to_owned(),
            () if step.exceeded => "(took too many steps, so it counts as not matching)".to_owned(),
            () => set_off(&step.result, &step.placed),
        };
        text += &format!(
            "  {PLACE}{place:<place_width$}{PLACE:#}  {:<key_width$}  {result}\n",
            clean(&step.rule_key)
        );
    }
    if let Verdict::Show { line, .. } = &explanation.verdict {
        text += &format!("{}\n", clean(line));
    }
    text += &what_became(&explanation, &file);
    if let Verdict::Show { line: shown, .. } = &explanation.verdict
        && let Some((told, rule)) = told_of(config, line, shown)
    {
        text += &format!("→ leco-notify tells: {} by {file}:{rule}\n", clean(&told));
    }
    unless_broken_pipe(out.write_all(text.as_bytes())).map(|_| ())
}

/// What became of a line, in words, and which rules did it.
fn what_became(explanation: &Explanation, file: &str) -> String {
    let Explanation { original, steps, verdict } = explanation;
    let by = |holds: &dyn Fn(usize) -> bool| {
        let places = (0..steps.len()).filter(|index| holds(*index));
        let places: Vec<_> = places.map(|index| format!("{file}:{}", steps[index].rule_line)).collect();
        if places.is_empty() { String::new() } else { format!(" by {}", places.join(", ")) }
    };
    let Verdict::Show { line, group } = verdict else {
        return format!("→ hidden{}\n", by(&|index| steps[index].dropped));
    };
    let changes = |index: usize| {
        let before = index.checked_sub(1).map_or(original, |before| &steps[before].result);
        steps[index].result != *before
    };
    let mut text = match group {
        _ if line != original => format!("→ changed{}\n", by(&changes)),
        None => "→ shown as it came\n".to_owned(),
        Some(_) => String::new(),
    };
    if let Some(group) = group {
        text += &format!("→ group {}{}\n", clean(group), by(&|index| steps[index].group.is_some()));
    }
    text
}

const PLACE: Style = Style::new().dimmed();
const PLACED: Style = AnsiColor::Green.on_default().bold();

/// A line with some of its bytes set off by colour.
fn set_off(line: &str, spans: &[Range<usize>]) -> String {
    let mut text = String::with_capacity(line.len());
    let mut at = 0;
    for span in spans.iter().filter(|span| !span.is_empty()) {
        let (before, placed) = (clean(&line[at..span.start]), clean(&line[span.clone()]));
        text += &format!("{before}{PLACED}{placed}{PLACED:#}");
        at = span.end;
    }
    text + &clean(&line[at..])
}

/// The same as one JSON object.
pub fn explain_as_json(config: &Config, line: &str, mut out: impl Write) -> Result<(), PlainError> {
    let explanation = config.rules.explain(line);
    let (shown, group) = match &explanation.verdict {
        Verdict::Show { line, group } => (Some(line), group.as_deref()),
        Verdict::Drop => (None, None),
    };
    let json = serde_json::json!({
        "file": config.file,
        "original": explanation.original,
        "steps": explanation.steps,
        "line": shown,
        "group": group,
        "changed": shown.is_some_and(|line| *line != explanation.original),
        "discarded": shown.is_none(),
    });
    unless_broken_pipe(writeln!(out, "{json}")).map(|_| ())
}
