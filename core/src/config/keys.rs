// SPDX-License-Identifier: GPL-3.0-or-later
//! From the text of a key's value to its setting.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::settings::{
    Anchor, Effect, Effects, Layer, LineColumns, LineHeight, Settings, Shadow, TerminalColours,
    TerminalTheme, WindowFlag, WindowHint,
};
use crate::fade::{Points, SplineKind};
use crate::ini::{Entry, Fault, Rgba};
use crate::source::SourceSpec;
use crate::style::Outline;
use crate::text::{FLAG_WORDS, Units, expand, parse_duration, parse_flag};

/// Sections of settings, each with its keys as they stand in a config.
pub const SETTINGS: [(&str, &[&str]); 4] = [
    (
        "window",
        &[
            "title",
            "anchor",
            "init-offset-left",
            "init-offset-top",
            "init-width",
            "init-height",
            "pad-x",
            "pad-y",
            "frames-per-second-max",
            "rgba-bg",
            "rgba-fg",
            "rgba-in",
            "rgba-new",
            "rgba-refused",
            "rgba-blocked",
            "layer",
            "monitor",
            "click-through",
            "flags",
            "hints",
        ],
    ),
    (
        "text",
        &[
            "font",
            "font-height",
            "font-shadow",
            "font-outline",
            "effects",
            "effect-new",
            "effect-gone",
            "columns",
            "units",
            "line-height",
            "line-fade-time",
            "line-fade-curve",
            "line-fade-spline",
            "line-linger-time",
            "line-linger-curve",
            "line-uid-chars",
            "line-uid-fmt",
        ],
    ),
    ("tui", &["theme", "colours", "mouse", "heading", "lines-kept"]),
    ("run", &["fifo", "source", "conn-list-cache", "debug"]),
];

/// Largest size or offset in pixels that is taken for one.
const MAX_PIXELS: u32 = 32_767;
/// Characters of a tag: so many its hash has.
const MAX_UID_CHARS: usize = 11;
/// Connections a frontend may be asked to remember.
const MAX_CONN_LIST_CACHE: usize = 1_000_000;
/// Lines the terminal view may be asked to remember.
const MAX_LINES_KEPT: usize = 1_000_000;

/// Sets what an entry of a settings section says; the default stays where that cannot be. A table: a line for each key.
pub(super) fn set(settings: &mut Settings, entry: &Entry) -> Result<(), Fault> {
    let key = entry.key.replace('_', "-");
    let value = Value { entry, text: &entry.value };
    let Settings { window, text, tui, run } = settings;
    match (entry.section.as_str(), key.as_str()) {
        ("window", "title") => value.text.clone_into(&mut window.title),
        ("window", "anchor") => window.anchor = value.named(Anchor::parse, Anchor::NAMES)?,
        ("window", "init-offset-left") => window.init_offset_left = value.offset()?,
        ("window", "init-offset-top") => window.init_offset_top = value.offset()?,
        ("window", "init-width") => window.init_width = value.size()?,
        ("window", "init-height") => window.init_height = value.size()?,
        ("window", "pad-x") => window.pad_x = value.pad()?,
        ("window", "pad-y") => window.pad_y = value.pad()?,
        ("window", "frames-per-second-max") => window.frames_per_second_max = value.frames()?,
        ("window", "rgba-bg") => window.rgba_bg = value.rgba()?,
        ("window", "rgba-fg") => window.rgba_fg = value.rgba()?,
        ("window", "rgba-in") => window.rgba_in = value.rgba()?,
        ("window", "rgba-new") => window.rgba_new = value.rgba()?,
        ("window", "rgba-refused") => window.rgba_refused = value.rgba()?,
        ("window", "rgba-blocked") => window.rgba_blocked = value.rgba()?,
        ("window", "layer") => window.layer = value.named(Layer::parse, Layer::NAMES)?,
        ("window", "monitor") => {
            window.monitor = (!value.text.is_empty()).then(|| value.text.to_owned());
        }
        ("window", "click-through") => window.click_through = value.boolean()?,
        ("window", "flags") => window.flags = value.flags()?,
        ("window", "hints") => window.hints = value.hints()?,
        ("text", "font") => text.font = (!value.text.is_empty()).then(|| expand(value.text)),
        ("text", "font-height") => text.font_height = value.positive("a height in pixels like 14")?,
        ("text", "font-shadow") => text.font_shadow = value.shadows()?,
        ("text", "font-outline") => text.font_outline = value.outline()?,
        ("text", "effects") => text.effects = value.named(Effects::parse, Effects::NAMES)?,
        ("text", "effect-new") => text.effect_new = value.named(Effect::parse, Effect::NAMES)?,
        ("text", "effect-gone") => text.effect_gone = value.named(Effect::parse, Effect::NAMES)?,
        ("text", "columns") => text.columns = value.named(LineColumns::parse, LineColumns::NAMES)?,
        ("text", "units") => text.units = value.named(Units::parse, Units::NAMES)?,
        ("text", "line-height") => text.line_height = value.line_height()?,
        ("text", "line-fade-time") => text.line_fade_time = value.duration()?,
        ("text", "line-fade-curve") => text.line_fade_curve = curve(entry)?,
        ("text", "line-fade-spline") => text.line_fade_spline = value.spline()?,
        ("text", "line-linger-time") => text.line_linger_time = value.duration()?,
        ("text", "line-linger-curve") => text.line_linger_curve = curve(entry)?,
        ("text", "line-uid-chars") => text.line_uid_chars = value.at_most(MAX_UID_CHARS)?,
        ("text", "line-uid-fmt") => value.text.clone_into(&mut text.line_uid_fmt),
        ("tui", "theme") => tui.theme = value.named(TerminalTheme::parse, TerminalTheme::NAMES)?,
        ("tui", "colours") => tui.colours = value.named(TerminalColours::parse, TerminalColours::NAMES)?,
        ("tui", "mouse") => tui.mouse = value.boolean()?,
        ("tui", "heading") => tui.heading = value.boolean()?,
        ("tui", "lines-kept") => tui.lines_kept = value.at_most(MAX_LINES_KEPT)?,
        ("run", "fifo") => run.fifo = Some(value.fifo()?),
        ("run", "source") => run.sources = value.sources()?,
        ("run", "conn-list-cache") => run.conn_list_cache = value.at_most(MAX_CONN_LIST_CACHE)?,
        ("run", "debug") => run.debug = value.boolean()?,
        _ => return Err(unknown_key(entry, &key)),
    }
    Ok(())
}

/// Reads the points of a curve.
pub(super) fn curve(entry: &Entry) -> Result<Points, Fault> {
    Points::parse(&entry.value).map_err(|error| {
        let fault = Fault::new(entry.value_span(Some(error.span)), format!("{}: {}", entry.key, error.fault));
        fault.with_help("keeping the previous curve; spline-editor.html draws curves and writes them")
    })
}

fn unknown_key(entry: &Entry, key: &str) -> Fault {
    let section = &entry.section;
    let keys = SETTINGS.iter().find(|(name, _)| name == section).map_or(&[][..], |(_, keys)| keys);
    let fault = Fault::new(entry.key_span(), format!("there is no key {key} in [{section}]"));
    if let Some((other, _)) = SETTINGS.iter().find(|(_, keys)| keys.contains(&key)) {
        return fault.with_help(format!("it belongs in [{other}]"));
    }
    match nearest(key, keys) {
        Some(near) => fault.with_help(format!("did you mean {near}?")),
        None => fault.with_help(format!("its keys are {}", keys.join(", "))),
    }
}

/// The name that a misspelt one most likely stands for.
pub(super) fn nearest<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    let scored = names.iter().map(|known| (strsim::jaro_winkler(name, known), *known));
    scored.filter(|(score, _)| *score > 0.85).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

struct Value<'e> {
    entry: &'e Entry,
    text: &'e str,
}

impl Value<'_> {
    fn bad(&self, expected: &str) -> Fault {
        self.bad_part(0..self.text.len(), expected)
    }

    fn bad_part(&self, part: Range<usize>, expected: &str) -> Fault {
        let key = &self.entry.key;
        let shown = &self.text[part.clone()];
        let span =
            if self.text.is_empty() { self.entry.key_span() } else { self.entry.value_span(Some(part)) };
        Fault::new(span, format!("{key} = {shown}: expected {expected}")).with_help("using the default")
    }

    /// The value's words, each with its place.
    fn words(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.text.split_whitespace().map(|word| {
            let at = word.as_ptr() as usize - self.text.as_ptr() as usize;
            (word, at..at + word.len())
        })
    }

    fn number<T: std::str::FromStr + PartialOrd + Copy>(
        &self,
        least: T,
        most: T,
        expected: &str,
    ) -> Result<T, Fault> {
        let number = self.text.parse().ok().filter(|number| (&least..=&most).contains(&number));
        number.ok_or_else(|| self.bad(expected))
    }

    fn offset(&self) -> Result<i32, Fault> {
        let most = i32::try_from(MAX_PIXELS).unwrap_or(i32::MAX);
        self.number(-most, most, &format!("a number of pixels from -{most} to {most}"))
    }

    fn size(&self) -> Result<u32, Fault> {
        self.number(1, MAX_PIXELS, &format!("a number of pixels from 1 to {MAX_PIXELS}"))
    }

    fn pad(&self) -> Result<u32, Fault> {
        self.number(0, MAX_PIXELS, &format!("a number of pixels from 0 to {MAX_PIXELS}"))
    }

    fn at_most(&self, most: usize) -> Result<usize, Fault> {
        self.number(0, most, &format!("a number from 0 to {most}"))
    }

    fn positive(&self, expected: &str) -> Result<f32, Fault> {
        self.number(1.0, MAX_PIXELS as f32, &format!("{expected}, from 1 to {MAX_PIXELS}"))
    }

    fn frames(&self) -> Result<f64, Fault> {
        self.number(0.0, 1000.0, "frames per second like 60 or 0.25, up to 1000, or 0 for the display's rate")
    }

    fn rgba(&self) -> Result<Rgba, Fault> {
        Rgba::parse(self.text)
            .ok_or_else(|| self.bad("a colour of 3, 4, 6 or 8 hexadecimal digits like 000c0866"))
    }

    fn duration(&self) -> Result<Duration, Fault> {
        parse_duration(self.text).map_err(|_| self.bad("a duration like 90, 1:30, 5m or 1d8h"))
    }

    fn named<T>(&self, parse: impl Fn(&str) -> Option<T>, names: &[&str]) -> Result<T, Fault> {
        parse(&self.text.to_ascii_lowercase()).ok_or_else(|| self.bad(&format!("one of {}", names.join(" "))))
    }

    fn outline(&self) -> Result<Option<Outline>, Fault> {
        if matches!(self.text, "" | "0" | "none") {
            return Ok(None);
        }
        let outline = Outline::parse(self.text);
        outline.map(Some).map_err(|(part, expected)| self.bad_part(part, expected))
    }

    fn spline(&self) -> Result<SplineKind, Fault> {
        SplineKind::parse(self.text).ok_or_else(|| self.bad("cardinal, natural or linear"))
    }

    fn boolean(&self) -> Result<bool, Fault> {
        parse_flag(self.text).ok_or_else(|| self.bad(FLAG_WORDS))
    }

    /// Separated by spaces.
    fn sources(&self) -> Result<Vec<SourceSpec>, Fault> {
        let parse = |(word, at): (&str, Range<usize>)| {
            let expanded = word
                .split_once(':')
                .map_or(word.to_owned(), |(kind, path)| format!("{kind}:{}", expand(path).display()));
            SourceSpec::parse(&expanded).map_err(|error| self.bad_part(at, error.expected))
        };
        self.words().map(parse).collect()
    }

    fn fifo(&self) -> Result<PathBuf, Fault> {
        if self.text.is_empty() { Err(self.bad("a path")) } else { Ok(expand(self.text)) }
    }

    fn flags(&self) -> Result<Vec<WindowFlag>, Fault> {
        let parse = |(word, at): (&str, Range<usize>)| {
            let known = WindowFlag::parse(&word.to_ascii_lowercase().replace('-', "_"));
            known.ok_or_else(|| self.bad_part(at, &format!("some of {}", WindowFlag::NAMES.join(" "))))
        };
        self.words().map(parse).collect()
    }

    fn hints(&self) -> Result<Vec<(WindowHint, String)>, Fault> {
        let parse = |(word, at): (&str, Range<usize>)| {
            let pair = word.split_once('=').and_then(|(name, value)| {
                Some((WindowHint::parse(&name.to_ascii_lowercase().replace('-', "_"))?, value.to_owned()))
            });
            pair.ok_or_else(|| {
                self.bad_part(at, &format!("HINT=VALUE with a hint of {}", WindowHint::NAMES.join(" ")))
            })
        };
        self.words().map(parse).collect()
    }

    fn shadows(&self) -> Result<Vec<Shadow>, Fault> {
        let parse = |(word, at): (&str, Range<usize>)| {
            let mut parts = word.split(',');
            let mut pixels =
                || parts.next()?.parse().ok().filter(|pixels: &f32| pixels.abs() <= MAX_PIXELS as f32);
            let shadow = pixels().zip(pixels()).and_then(|(x, y)| {
                let rgba = parts.next().map_or(Some(Rgba::BLACK), Rgba::parse)?;
                parts.next().is_none().then_some(Shadow { x, y, rgba })
            });
            shadow.ok_or_else(|| self.bad_part(at, "shadows like 1,1 or 2,2,00000080"))
        };
        self.words().map(parse).collect()
    }

    fn line_height(&self) -> Result<LineHeight, Fault> {
        let expected = "1.5 (times the font's height), +10 (pixels between lines) or 20 (pixels)";
        let number = |text: &str| {
            let plain = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
            plain.then(|| text.parse().ok().filter(|number| (0.0..=MAX_PIXELS as f32).contains(number)))?
        };
        let height = match self.text.strip_prefix('+') {
            Some(gap) => number(gap).map(LineHeight::Gap),
            None if self.text.contains('.') => number(self.text).map(LineHeight::Times),
            None => number(self.text).map(LineHeight::Pixels),
        };
        height.ok_or_else(|| self.bad(expected))
    }
}
