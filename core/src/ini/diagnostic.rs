// SPDX-License-Identifier: GPL-3.0-or-later
//! What could not be used of a config, with its place and what to do.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use leco_os::clean::clean;

/// Of a longer line only so many characters around the fault are shown.
const SHOWN_CHARS: usize = 160;

/// A key, value or line that could not be used: the default stays and the rest of the file counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// File, as it was named.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column, in characters from 1.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to do, where that is known.
    pub help: Option<String>,
    /// The line as it stands in the file, and the bytes of it that are meant.
    source: (String, Range<usize>),
}

/// For what a diagnostic is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rendering {
    /// A file, or a terminal without colours.
    Plain,
    /// A terminal with colours.
    Coloured,
}

/// Something wrong with a span of a text, before the file is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    pub(crate) fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Finds the line of the text in which the fault is.
    pub(crate) fn in_file(self, file: &Path, text: &str) -> Diagnostic {
        let start = text.floor_char_boundary(self.span.start);
        let end = text.ceil_char_boundary(self.span.end.max(start));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find(['\n', '\r']).map_or(text.len(), |at| start + at);
        let mut source = &text[line_start..line_end];
        let column = source[..start - line_start].trim_start_matches('\u{feff}').chars().count() + 1;
        let mut span = start - line_start..end.min(line_end) - line_start;
        // A line of a thousand characters would hide what is shown of it.
        let first = source.floor_char_boundary(span.start.saturating_sub(SHOWN_CHARS / 2));
        source = &source[first..];
        source = &source[..source.ceil_char_boundary(source.len().min(SHOWN_CHARS))];
        span = span.start - first..(span.end - first).min(source.len());
        Diagnostic {
            file: file.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column,
            message: self.message,
            help: self.help,
            source: (source.to_owned(), span),
        }
    }
}

/// `FILE:LINE:COL: message`
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.to_string_lossy();
        write!(f, "{}:{}:{}: {}", clean(&file), self.line, self.column, clean(&self.message))
    }
}

/// What becomes of an entry that cannot be used, where the rest of the file counts.
const BECOMES: [&str; 3] = [", the rule is skipped", ", the style is skipped", ", the line is skipped"];

impl Diagnostic {
    /// The same of a text that is one line of the file.
    pub(crate) fn at_line(self, line: usize) -> Self {
        Self { line, ..self }
    }

    /// The same in one line without what becomes of the entry: for where nothing of the file takes effect.
    #[must_use]
    pub fn cause(&self) -> String {
        let said = self.to_string();
        let cause = BECOMES.iter().find_map(|becomes| said.strip_suffix(becomes));
        cause.map_or_else(|| said.clone(), ToOwned::to_owned)
    }

    /// The message, the line with a caret below the place that is meant, and what to do, in several lines
    /// without a newline at the end.
    #[must_use]
    pub fn render(&self, rendering: Rendering) -> String {
        let (source, span) = &self.source;
        // The caret must stand below the same character after unprintable ones were replaced.
        let shown = |part: &str| clean(&part.replace('\t', " ")).into_owned();
        let before = shown(&source[..span.start]);
        let meant = shown(&source[span.clone()]);
        let line = format!("{before}{meant}{}", shown(&source[span.end..]));
        let help = self.help.as_deref().map(clean);
        let mut annotation = AnnotationKind::Primary.span(before.len()..before.len() + meant.len());
        if let Some(help) = &help {
            annotation = annotation.label(&**help);
        }
        let snippet = Snippet::source(&line).line_start(self.line).annotation(annotation);
        let renderer = match rendering {
            Rendering::Plain => Renderer::plain(),
            Rendering::Coloured => Renderer::styled(),
        };
        let body = renderer.render(&[Group::with_level(Level::WARNING).element(snippet)]);
        format!("{self}\n{body}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str, part: &str) -> Diagnostic {
        let at = text.find(part).unwrap();
        Fault::new(at..at + part.len(), "this is wrong")
            .with_help("make it right")
            .in_file("w.ini".as_ref(), text)
    }

    #[test]
    fn the_caret_stands_below_what_is_meant() {
        let diagnostic = fault("[text]\nfont-height =\tżółw\u{1b}[31m # px\n", "\u{1b}[31m");
        insta::assert_snapshot!(diagnostic.render(Rendering::Plain));
        assert_eq!((diagnostic.line, diagnostic.column), (2, 19));
        assert!(diagnostic.render(Rendering::Coloured).contains("\u{1b}["));
    }

    #[test]
    fn a_cause_says_nothing_of_what_becomes_of_it() {
        let cause = |message| Fault::new(0..1, message).in_file("w.ini".as_ref(), "a").cause();
        for message in
            ["never closed, the rule is skipped", "never closed, the style is skipped", "never closed"]
        {
            assert_eq!(cause(message), "w.ini:1:1: never closed");
        }
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_fault() {
        let text = format!("a = {}HERE{}\n", "ż".repeat(5000), "x".repeat(5000));
        let diagnostic = fault(&text, "HERE");
        assert!(diagnostic.render(Rendering::Plain).len() < 800);
        assert!(diagnostic.render(Rendering::Plain).contains("HERE"));
        assert_eq!(diagnostic.column, 5005);
    }

    #[test]
    fn a_fault_at_the_end_has_a_place() {
        let text = "a";
        let diagnostic = Fault::new(1..1, "something is missing").in_file("w.ini".as_ref(), text);
        assert!(diagnostic.render(Rendering::Plain).starts_with("w.ini:1:2: something is missing\n"));
    }
}
