// SPDX-License-Identifier: GPL-3.0-or-later
//! Styles of lines: `[rx-style]`, whose keys are regexes like those of rules.

use std::ops::Range;

use unicode_width::UnicodeWidthStr;

use crate::fade::Points;
use crate::ini::{Entry, Fault, Ini, Rgba};
use crate::lists::Lists;
use crate::matching::{Chain, Prefilter};
use crate::text::parse_flag;
use crate::wire::details::Peers;

/// How a line is drawn, where that differs from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct LineStyle {
    /// Text.
    pub fg: Option<Rgba>,
    /// That is its colour even where the connection's state has one.
    pub is_over_state: bool,
    /// Background.
    pub bg: Option<Rgba>,
    /// Around the text.
    pub outline: Option<Outline>,
    /// In place of the tag.
    pub icon: Option<Icon>,
    /// Its text is bold.
    pub is_bold: Option<bool>,
    /// It is not marked as new, even where its program was never seen with its peer before.
    pub is_accepted: bool,
}

/// A symbol of a few bytes, such as an emoji.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Icon([u8; Icon::MAX_BYTES]);

impl Icon {
    /// An emoji may be several characters, joined by others.
    const MAX_BYTES: usize = 32;
    /// It stands where tags do.
    const MAX_CELLS: usize = 4;

    fn parse(text: &str) -> Option<Self> {
        let is_fit = (1..=Self::MAX_BYTES).contains(&text.len())
            && (1..=Self::MAX_CELLS).contains(&text.width())
            && !text.chars().any(char::is_control);
        let mut bytes = [0; Self::MAX_BYTES];
        bytes.get_mut(..text.len()).filter(|_| is_fit)?.copy_from_slice(text.as_bytes());
        Some(Self(bytes))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(Self::MAX_BYTES);
        std::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }
}

/// A line around glyphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outline {
    /// Width in pixels.
    pub pixels: u8,
    /// Colour.
    pub rgba: Rgba,
}

impl Outline {
    /// Widest outline, in pixels.
    const MAX_PIXELS: u8 = 16;

    /// Reads `PIXELS` or `PIXELS,RGBA`, else says which bytes are wrong and what was expected.
    pub(crate) fn parse(text: &str) -> Result<Self, (Range<usize>, &'static str)> {
        let (pixels, colour) = text.split_once(',').map_or((text, None), |(px, rgba)| (px, Some(rgba)));
        let width = pixels.parse().ok().filter(|width| *width <= Self::MAX_PIXELS);
        let width = width.ok_or((0..pixels.len(), "pixels up to 16, and a colour after a comma"))?;
        let rgba = colour.map_or(Some(Rgba::BLACK), Rgba::parse);
        let rgba = rgba.ok_or((pixels.len() + 1..text.len(), "a colour like ffd166 after the comma"))?;
        Ok(Self { pixels: width, rgba })
    }
}

#[derive(Debug, Clone)]
struct StyleRule {
    chain: Chain,
    style: LineStyle,
    curve: Option<usize>,
}

/// The styles of a config, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct StyleSet {
    rules: Vec<StyleRule>,
    prefilter: Prefilter,
}

impl StyleSet {
    /// Compiles the styles of a file; those that cannot be used are left out and named.
    pub(crate) fn compile(ini: &Ini, curves: &[(String, Points)], lists: &Lists) -> (Self, Vec<Fault>) {
        let mut set = Self::default();
        let mut faults = Vec::new();
        for entry in ini.entries.iter().filter(|entry| entry.section == "rx-style") {
            match StyleRule::compile(entry, curves, lists) {
                Ok(rule) => set.rules.push(rule),
                Err(fault) => faults.push(fault),
            }
        }
        set.prefilter = Prefilter::new(set.rules.iter().map(|rule| &rule.chain));
        (set, faults)
    }

    /// Style of a line as it is shown and of its connection's peers, and the index of its curve in [`crate::config::Config::curves`]: of
    /// all styles that hold, the later one counts.
    #[must_use]
    pub fn style(&self, line: &str, peers: &Peers<'_>) -> (LineStyle, Option<usize>) {
        let mut style = LineStyle::default();
        let mut curve = None;
        let candidates = self.prefilter.candidates(line);
        let mut from = 0;
        while let Some(index) = candidates.next_from(from) {
            from = index + 1;
            let Some(rule) = self.rules.get(index).filter(|rule| rule.chain.holds(line, peers) == Ok(true))
            else {
                continue;
            };
            if rule.style.fg.is_some() {
                (style.fg, style.is_over_state) = (rule.style.fg, rule.style.is_over_state);
            }
            style.bg = rule.style.bg.or(style.bg);
            style.outline = rule.style.outline.or(style.outline);
            style.icon = rule.style.icon.or(style.icon);
            style.is_bold = rule.style.is_bold.or(style.is_bold);
            style.is_accepted |= rule.style.is_accepted;
            curve = rule.curve.or(curve);
        }
        (style, curve)
    }
}

/// What a style is made of.
const WORDS: &str =
    "write fg=RGBA over=state bg=RGBA curve=NAME outline=PIXELS,RGBA icon=SYMBOL weight=bold new=no";

impl StyleRule {
    fn compile(entry: &Entry, curves: &[(String, Points)], lists: &Lists) -> Result<Self, Fault> {
        let chain = Chain::parse(entry, lists)?;
        let mut rule = Self { chain, style: LineStyle::default(), curve: None };
        let value = entry.value.as_str();
        for word in value.split_whitespace() {
            let at = word.as_ptr() as usize - value.as_ptr() as usize;
            rule.set(word, curves)
                .map_err(|(part, message)| {
                    let span = entry.value_span(Some(at + part.start..at + part.end));
                    Fault::new(span, format!("{message}, the style is skipped"))
                })
                .map_err(|fault| fault.with_help(WORDS))?;
        }
        if rule.style.is_over_state && rule.style.fg.is_none() {
            let at = value.find("over=").unwrap_or_default();
            let span = entry.value_span(Some(at..at + "over=state".len()));
            return Err(Fault::new(span, "over=state is about the colour of text, the style is skipped")
                .with_help("add fg=RGBA"));
        }
        Ok(rule)
    }

    fn set(&mut self, word: &str, curves: &[(String, Points)]) -> Result<(), (Range<usize>, String)> {
        let whole = 0..word.len();
        let Some((key, value)) = word.split_once('=') else {
            return Err((whole, format!("`{word}` is not key=value")));
        };
        let bad = |expected: &str| (key.len() + 1..word.len(), format!("{key}={value}: expected {expected}"));
        let rgba = |text: &str| Rgba::parse(text).ok_or_else(|| bad("a colour like ffd166"));
        match key {
            "fg" => self.style.fg = Some(rgba(value)?),
            "over" if value.eq_ignore_ascii_case("state") => self.style.is_over_state = true,
            "over" => return Err(bad("state")),
            "bg" => self.style.bg = Some(rgba(value)?),
            "outline" => {
                let outline = Outline::parse(value).map_err(|(_, expected)| bad(expected))?;
                self.style.outline = Some(outline);
            }
            "icon" => {
                let icon = Icon::parse(value).ok_or_else(|| bad("an emoji, or up to 4 characters"))?;
                self.style.icon = Some(icon);
            }
            "weight" => match value.to_ascii_lowercase().as_str() {
                "bold" => self.style.is_bold = Some(true),
                "normal" => self.style.is_bold = Some(false),
                _ => return Err(bad("bold or normal")),
            },
            "new" if parse_flag(value) == Some(false) => self.style.is_accepted = true,
            "new" => return Err(bad("no")),
            "curve" => {
                let named = curves.iter().rposition(|(name, _)| name.eq_ignore_ascii_case(value));
                self.curve = Some(named.ok_or_else(|| bad("the name of a curve in [curves]"))?);
            }
            _ => return Err((0..key.len(), format!("there is no style {key}"))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, StateColours};
    use crate::wire::event::ConnectionState;

    #[test]
    fn later_styles_count_and_earlier_ones_fill_in() {
        let text = "[curves]\nslow = 0,1 1,1\nFast = 0,1 1,0\n[rx-style]\nfire = fg=ffd166 outline=2\n\
                    fox = bg=#00000080 curve=slow\n/fire/ && !/wall/ = fg=f00 curve=fast outline=1,fff\n";
        let config = Config::parse(text.as_bytes(), Path::new("w.ini"));
        assert_eq!(config.diagnostics, []);
        let (style, curve) = config.styles.style("firefox", &Peers::default());
        assert_eq!(style.fg, Rgba::parse("f00"));
        assert_eq!(style.bg, Rgba::parse("00000080"));
        assert_eq!(style.outline, Rgba::parse("fff").map(|rgba| Outline { pixels: 1, rgba }));
        assert_eq!(curve, Some(1));
        let (style, curve) = config.styles.style("firewall", &Peers::default());
        assert_eq!((style.fg, curve), (Rgba::parse("ffd166"), None));
        assert_eq!(config.styles.style("curl", &Peers::default()), (LineStyle::default(), None));
    }

    #[test]
    fn a_state_has_its_colour_unless_a_style_is_to_be_over_it() {
        let text = "[rx-style]\nroot = fg=ffd166\nkeep = fg=8ab4f8 over=state\nlate = fg=123456\n";
        let config = Config::parse(text.as_bytes(), Path::new("w.ini"));
        assert_eq!(config.diagnostics, []);
        let colours = StateColours::default();
        let of = |line: &str, state| colours.of_line(state, &config.styles.style(line, &Peers::default()).0);
        assert_eq!(of("root", ConnectionState::Ordinary), Rgba::parse("ffd166"));
        assert_eq!(of("root", ConnectionState::Blocked), Some(colours.blocked));
        assert_eq!(of("root", ConnectionState::Incoming), Some(colours.incoming));
        assert_eq!(of("root keep", ConnectionState::Refused), Rgba::parse("8ab4f8"));
        // Whether it is over a state belongs to the colour that counts.
        assert_eq!(of("keep late", ConnectionState::Refused), Some(colours.refused));
        assert_eq!(of("", ConnectionState::Ordinary), None);
    }

    #[test]
    fn an_icon_is_short_and_a_weight_has_a_name() {
        let text = "[rx-style]\nfire = icon=🦊 weight=bold\nwall = icon=❤\u{fe0f}\u{200d}🔥 weight=normal\n";
        let config = Config::parse(text.as_bytes(), Path::new("w.ini"));
        assert_eq!(config.diagnostics, []);
        let of = |line: &str| {
            let (style, _) = config.styles.style(line, &Peers::default());
            (style.icon.map(|icon| icon.as_str().to_owned()), style.is_bold)
        };
        assert_eq!(of("firefox"), (Some("🦊".into()), Some(true)));
        assert_eq!(of("firewall"), (Some("❤\u{fe0f}\u{200d}🔥".into()), Some(false)));
        assert_eq!(of("curl"), (None, None));
        for value in ["icon=", "icon=browser", "icon=\u{7f}", "icon=\u{200b}", "weight=heavy", "new=yes"] {
            let config = Config::parse(format!("[rx-style]\nx = {value}\n").as_bytes(), Path::new("w.ini"));
            assert_eq!(config.diagnostics.len(), 1, "{value}");
        }
    }

    #[test]
    fn what_is_over_a_state_has_a_colour() {
        for value in ["over=state", "bg=000 over=state", "fg=fff over=all"] {
            let config = Config::parse(format!("[rx-style]\nx = {value}\n").as_bytes(), Path::new("w.ini"));
            let [diagnostic] = config.diagnostics.as_slice() else { panic!("{value}") };
            assert!(diagnostic.to_string().contains("the style is skipped"), "{diagnostic}");
            assert_eq!(config.styles.style("x", &Peers::default()).0, LineStyle::default());
        }
    }
}
