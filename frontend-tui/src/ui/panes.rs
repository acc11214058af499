// SPDX-License-Identifier: GPL-3.0-or-later
//! What can be opened beside the list: a line's details, the rules, a rule that is edited, the keys.

use std::path::Path;

use leco_cli::keys::KEYS;
use leco_core::model::known_line::KnownLine;
use leco_core::model::overseer::Overseer;
use leco_core::text::Units;
use leco_os::clean::clean;
use leco_os::clock::BootNs;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use crate::model::detail::Field;
use crate::model::rule_editor::RuleEditor;
use crate::model::rule_timing::slow_from;
use crate::ui::chart;
use crate::ui::shorten::wrapped;
use crate::ui::theme::Theme;
use crate::width::Width;

/// Cells of the names of fields.
const NAME_WIDTH: usize = 16;
/// Cells of keys and marks in the help.
const KEY_WIDTH: usize = 18;
/// A text beside a name has at least so many cells.
const LEAST_TEXT: usize = 12;
/// From this width on a chart stands beside the fields.
const CHART_BESIDE: usize = 100;
/// Rows of the chart.
const CHART_HEIGHT: u16 = 8;

/// A pane's lines, and which of them the cursor is on, where it has one.
pub(crate) struct Pane {
    pub(crate) lines: Vec<Line<'static>>,
    pub(crate) cursor: Option<std::ops::Range<usize>>,
    /// Stands at the right, whatever is scrolled, below so many lines.
    pub(crate) beside: Vec<Line<'static>>,
    pub(crate) above: usize,
}

impl Pane {
    fn of(lines: Vec<Line<'static>>) -> Self {
        Self { lines, cursor: None, beside: Vec::new(), above: 0 }
    }
}

fn heading(text: &str, width: usize, theme: Theme) -> impl Iterator<Item = Line<'static>> {
    let style = theme.text(255).add_modifier(Modifier::BOLD);
    let lines: Vec<_> =
        wrapped(text, width.saturating_sub(2)).into_iter().map(|line| format!(" {line}")).collect();
    lines.into_iter().map(move |line| Line::styled(line, style))
}

/// A name and a text in as many lines as it takes; the text stands below where beside it is no room for its words.
fn entry(
    name: &str,
    text: &str,
    (name_width, width): (usize, usize),
    styles: (Style, Style),
) -> Vec<Line<'static>> {
    let (name_style, text_style) = styles;
    let beside = width.saturating_sub(name_width + 3);
    let below = width.saturating_sub(4);
    let longest = text.split(' ').map(Width::width).max().unwrap_or(0);
    if beside < LEAST_TEXT || beside < longest && longest <= below {
        let names = wrapped(name.trim(), width.saturating_sub(2)).into_iter();
        let names = names.filter(|part| !part.is_empty());
        let names = names.map(|part| Line::styled(format!(" {part}"), name_style));
        let texts = wrapped(text, below).into_iter();
        let texts = texts.map(|part| Line::styled(format!("   {part}"), text_style));
        return names.chain(texts).collect();
    }
    let lines = wrapped(text, beside).into_iter().enumerate().map(|(at, part)| {
        let name = if at == 0 { name } else { "" };
        let padding = " ".repeat(name_width.saturating_sub(name.width()) + 1);
        Line::from(vec![
            Span::styled(format!(" {name}"), name_style),
            Span::raw(padding),
            Span::styled(part.to_owned(), text_style),
        ])
    });
    lines.collect()
}

/// Everything about a line.
pub(crate) fn detail(
    line: Option<&KnownLine<'_>>,
    (fields, at): (&[Field], usize),
    units: Units,
    theme: Theme,
    (now, width): (BootNs, usize),
) -> Pane {
    let Some(line) = line else { return Pane::of(heading("this line is gone", width, theme).collect()) };
    let is_beside = width >= CHART_BESIDE;
    let chart_width = if is_beside { width / 2 - 2 } else { width.saturating_sub(2).min(80) };
    let chart_size = (u16::try_from(chart_width).unwrap_or(u16::MAX), CHART_HEIGHT);
    let chart = chart::of_line(line.traffic(), chart_size, units, theme, now);
    let field_width = if is_beside { width / 2 } else { width };
    let mut lines: Vec<_> = heading(line.text(), width, theme).collect();
    let above = lines.len();
    let mut cursor = None;
    for (number, field) in fields.iter().enumerate() {
        let first = lines.len();
        let theme = if number == at { theme.on_selection() } else { theme };
        let styles = (theme.faint(255), theme.text(200));
        let entry = entry(&field.name, &field.value, (NAME_WIDTH, field_width), styles);
        let entry = entry
            .into_iter()
            .map(|line| if number == at { selected(line, field_width, theme) } else { line });
        lines.extend(entry);
        if number == at {
            cursor = Some(first..lines.len());
        }
    }
    if is_beside {
        return Pane { lines, cursor, beside: chart, above };
    }
    // With the last field what follows it is seen, too.
    if let Some(cursor) = cursor.as_mut().filter(|cursor| cursor.end == lines.len()) {
        cursor.end += chart.len();
    }
    lines.extend(chart);
    Pane { lines, cursor, beside: Vec::new(), above }
}

fn selected(line: Line<'static>, width: usize, theme: Theme) -> Line<'static> {
    let padding = width.saturating_sub(line.width() + 1);
    let mut line = line;
    line.push_span(" ".repeat(padding));
    line.patch_style(theme.selected())
}

/// Problems of the config; every rule, with how often it held; the ones that take longer than the others, with their
/// time.
pub(crate) fn rules(
    overseer: &Overseer,
    (file, faults): (Option<&Path>, &[String]),
    times: &[u64],
    theme: Theme,
    width: usize,
) -> Pane {
    let mut lines = Vec::new();
    for fault in faults {
        lines.extend(
            wrapped(fault, width.saturating_sub(2))
                .into_iter()
                .map(|part| Line::styled(format!(" {part}"), theme.wrong())),
        );
    }
    lines.extend(heading("   hits  line  section   rule", width, theme));
    let slow_from = slow_from(times);
    let mut has_rules = false;
    for (index, rule) in overseer.rules().enumerate() {
        has_rules = true;
        let style = if rule.hits.held == 0 { theme.faint(255) } else { theme.text(220) };
        let name = format!("{:>6}  {:>4}  {:<8}", rule.hits.held, rule.line, rule.section.name());
        let mut text = format!("{} = {}", clean(rule.key), clean(rule.value));
        match times.get(index) {
            _ if rule.hits.exceeded > 0 => text += "   too slow: counts as not matching",
            Some(time) if *time >= slow_from => {
                text += &format!("   {} {} a line", time / 1000, theme.glyphs().microseconds);
            }
            _ => {}
        }
        lines.extend(entry(&name, text.trim_end(), (22, width), (style, style)));
    }
    if !has_rules {
        let file = file.map_or_else(String::new, |file| format!(" in {}", file.display()));
        let text =
            format!("no rule{file} renames, merges or hides: press t, or select a line and press x, e or m");
        lines.extend(entry("", &text, (0, width), (theme.faint(255), theme.faint(255))));
    }
    Pane::of(lines)
}

/// What a rule would do to what is known, with as many examples as fit as a whole.
pub(crate) fn rule_editor(editor: &RuleEditor, theme: Theme, (width, height): (usize, usize)) -> Pane {
    let section = editor.section.name();
    let does = match &editor.error {
        Some(error) => format!("a rule of [{section}] would not work: {error}"),
        None => format!("a rule of [{section}] at the end of the config would {}", editor.effect),
    };
    let mut lines: Vec<_> = heading(&does, width, theme).collect();
    for (number, example) in editor.examples.iter().enumerate() {
        let said = |mark: &str, text: &str, style| entry(mark, text, (1, width), (style, style));
        let mut told: Vec<_> =
            example.before.iter().map(|before| said("-", before, theme.faint(255))).collect();
        let after = example.after.as_ref().map_or("(not shown)".into(), |after| clean(after));
        let after = said("+", &after, theme.text(220));
        // Of lines that become one, one says more than its result left out.
        let room = height.saturating_sub(lines.len() + after.len());
        while told.len() > 1 && told.iter().map(Vec::len).sum::<usize>() > room {
            told.pop();
        }
        if number > 0 && told.iter().map(Vec::len).sum::<usize>() > room {
            break;
        }
        lines.extend(told.into_iter().flatten().chain(after));
    }
    Pane::of(lines)
}

/// How each of several sources is, every key, and what marks mean.
pub(crate) fn help(sources: &[String], theme: Theme, width: usize) -> Pane {
    let mut lines: Vec<_> = heading(concat!("leco-tui ", env!("CARGO_PKG_VERSION")), width, theme).collect();
    for source in sources {
        lines.extend(entry("source", source, (KEY_WIDTH, width), (theme.text(255), theme.text(200))));
    }
    let mut explain = |(what, meaning): &(&'static str, &'static str)| {
        let (what, meaning) = (theme.glyphs().text(what), theme.glyphs().text(meaning));
        lines.extend(entry(&what, &meaning, (KEY_WIDTH, width), (theme.text(255), theme.text(200))));
    };
    KEYS.iter().for_each(&mut explain);
    let marks = [
        ("", ""),
        ("<-", "the peer connected to this machine"),
        ("+", "first connection of its program with this peer"),
        ("-", "closed"),
        ("!refused !timeout", "what went wrong; !blocked: by a firewall of this machine"),
        ("~", "before a name: it may be a cover for another one (ECH)"),
        ("×12", "so many connections, which rules have made one line; bytes are those of all"),
        ("v 1K / 2K ^", "bytes received and sent"),
        (
            "▁▂▅▇▅▃▂▁",
            "bytes of the latest minute, 5 s each, the same time on every line; the highest bar is a line's most",
        ),
    ];
    marks.iter().for_each(&mut explain);
    Pane::of(lines)
}
