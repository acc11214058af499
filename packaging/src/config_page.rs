// SPDX-License-Identifier: GPL-3.0-or-later
//! The config's man page, from the commented example: a test holds that to the keys and defaults of the code.

use clap_mangen::roff::{Roff, bold, roman};

use crate::page;

const EXAMPLE: &str = include_str!("../../widget.ini");

/// What a line of the example is.
#[derive(Debug, PartialEq, Eq)]
enum Line<'t> {
    Blank,
    Text(&'t str),
    Section(&'t str),
    /// `#key = value`, without the `#`.
    Default(&'t str),
    Example(&'t str),
}

impl<'t> Line<'t> {
    fn parse(line: &'t str) -> Self {
        let header = || line.strip_prefix('[')?.strip_suffix(']');
        match line.strip_prefix('#') {
            _ if line.trim().is_empty() => Self::Blank,
            Some("") => Self::Text(""),
            Some(text) if text.starts_with(' ') => Self::Text(text.trim()),
            Some(default) => Self::Default(default),
            None => header().map_or(Self::Example(line), Self::Section),
        }
    }
}

/// `widget.ini(5)`.
pub(crate) fn page() -> String {
    let mut roff =
        page::start("widget.ini", "5", "settings and rules of leco-sdl-widget, leco-tui and leco-notify");
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([page::place("~/.config/leco/widget.ini")]);
    roff.control("SH", ["DESCRIPTION"]);
    let mut block = Block::default();
    for line in EXAMPLE.lines().map(Line::parse).chain([Line::Blank]) {
        match line {
            Line::Blank => block.write(&mut roff),
            Line::Section(name) => {
                roff.control("SH", [format!("[{name}]").as_str()]);
                block.write(&mut roff);
            }
            Line::Text(text) if block.defaults.is_empty() && block.examples.is_empty() => {
                block.text.push(text);
            }
            Line::Text(text) => {
                block.write(&mut roff);
                block.text.push(text);
            }
            Line::Default(default) => block.defaults.push(default),
            Line::Example(example) => block.examples.push(example),
        }
    }
    page::see_also("widget.ini(5)", &mut roff);
    roff.to_roff()
}

/// Lines that stand together.
#[derive(Debug, Default)]
struct Block<'t> {
    text: Vec<&'t str>,
    defaults: Vec<&'t str>,
    examples: Vec<&'t str>,
}

impl Block<'_> {
    /// Writes it, and begins another.
    fn write(&mut self, page: &mut Roff) {
        let Self { text, defaults, examples } = std::mem::take(self);
        if let Some((first, more)) = defaults.split_first() {
            page.control("TP", []);
            page.text([bold(*first)]);
            for default in more {
                page.control("TQ", []);
                page.text([bold(*default)]);
            }
        } else if !text.is_empty() {
            page.control("PP", []);
        }
        for line in text {
            if line.is_empty() {
                page.control("PP", []);
            } else {
                page.text([roman(line)]);
            }
        }
        if !examples.is_empty() {
            page.control("EX", []);
            for example in examples {
                page.text([roman(example)]);
            }
            page.control("EE", []);
        }
    }
}
