// SPDX-License-Identifier: GPL-3.0-or-later
//! Opacity as a terminal can show it.

use leco_core::config::StateColours;
use leco_core::model::overseer::Row;
use leco_core::style::LineStyle;
use ratatui::style::{Color, Modifier, Style};
use termini::{NumberCapability, TermInfo};

/// How many colours the terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorDepth {
    /// No colours at all: words and dimming only (`NO_COLOR`).
    None,
    /// The sixteen of every terminal.
    Sixteen,
    /// The 256 of xterm.
    Indexed,
    /// 24 bits.
    True,
}

impl ColorDepth {
    /// From the values of `NO_COLOR`, `COLORTERM` and `TERM`, and the terminal's entry in terminfo.
    #[must_use]
    pub fn detect(
        no_color: Option<&str>,
        colorterm: Option<&str>,
        term: Option<&str>,
        entry: Option<&TermInfo>,
    ) -> Self {
        // https://no-color.org: any value but the empty one.
        if no_color.is_some_and(|value| !value.is_empty()) {
            return Self::None;
        }
        let term = term.unwrap_or_default();
        // A terminal says more of itself than a database that may be older, or on another machine.
        if matches!(colorterm, Some("truecolor" | "24bit")) || term.contains("direct") {
            return Self::True;
        }
        if let Some(entry) = entry {
            // What tmux and ncurses call 24 bits: terminfo(5) and user_caps(5).
            if ["RGB", "Tc"].iter().any(|name| entry.extended_cap(name).is_some()) {
                return Self::True;
            }
            return match entry.number_cap(NumberCapability::MaxColors) {
                Some(256..) => Self::Indexed,
                Some(8..) => Self::Sixteen,
                _ => Self::None,
            };
        }
        match term {
            _ if term.contains("256color") => Self::Indexed,
            "dumb" => Self::None,
            _ => Self::Sixteen,
        }
    }
}

/// Text at full opacity, on a dark background and on a light one.
const ON_DARK: [u8; 3] = [0xe6, 0xe6, 0xe6];
const ON_LIGHT: [u8; 3] = [0x1c, 0x1c, 0x1c];
/// Colours are chosen for dark backgrounds: on a light one so much is left of each channel.
const LIGHT_PERCENT: u16 = 55;
/// Opacity of separators beside that of the text.
const SEPARATOR_PERCENT: u16 = 55;

/// Colours of the view.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    /// What the terminal can show.
    pub depth: ColorDepth,
    /// The terminal's background, towards which lines fade.
    ground: [u8; 3],
    /// Text, and what is behind it, where a style says so.
    style: LineStyle,
    states: StateColours,
}

impl Theme {
    /// The usual colours at a depth.
    #[must_use]
    pub fn new(depth: ColorDepth) -> Self {
        Self { depth, ground: [0; 3], style: LineStyle::default(), states: StateColours::default() }
    }

    /// The same upon a background of this colour.
    #[must_use]
    pub fn upon(self, ground: [u8; 3]) -> Self {
        Self { ground, ..self }
    }

    /// Rec. 601: what an eye sees of red, green and blue.
    fn is_light(self) -> bool {
        let [red, green, blue] = self.ground.map(u32::from);
        299 * red + 587 * green + 114 * blue > 127_500
    }

    /// The same with the colours of a config.
    #[must_use]
    pub fn with_states(self, states: StateColours) -> Self {
        Self { states, ..self }
    }

    /// The same with what is a line's own: its style, else the colour of its state, else that of a first sight.
    #[must_use]
    pub fn of_row(self, row: &Row) -> Self {
        let first_ever = row.is_first_ever.then_some(self.states.first_ever);
        let fg = row.style.fg.or_else(|| self.states.of(row.state)).or(first_ever);
        Self { style: LineStyle { fg, ..row.style }, ..self }
    }

    /// What is behind a line at an opacity.
    #[must_use]
    pub fn background(self, alpha: u8) -> Style {
        let Some(bg) = self.style.bg else { return Style::new() };
        let alpha = u8::try_from(u16::from(alpha) * u16::from(bg.alpha) / 255).unwrap_or(alpha);
        match self.colour([bg.red, bg.green, bg.blue], alpha) {
            Some(colour) => Style::new().bg(colour),
            None => Style::new(),
        }
    }

    fn foreground(self) -> [u8; 3] {
        match self.style.fg {
            Some(fg) => self.readable([fg.red, fg.green, fg.blue]),
            None if self.is_light() => ON_LIGHT,
            None => ON_DARK,
        }
    }

    fn readable(self, rgb: [u8; 3]) -> [u8; 3] {
        let darker = |channel: u8| u8::try_from(u16::from(channel) * LIGHT_PERCENT / 100).unwrap_or(channel);
        if self.is_light() { rgb.map(darker) } else { rgb }
    }

    /// Text of a line at an opacity (0–255).
    #[must_use]
    pub fn text(self, alpha: u8) -> Style {
        self.blend(self.foreground(), alpha)
    }

    /// A tag of a colour at an opacity.
    #[must_use]
    pub fn tag(self, rgb: [u8; 3], alpha: u8) -> Style {
        self.blend(self.readable(rgb), alpha)
    }

    /// Times and what stands in brackets: beside the text, not above it.
    #[must_use]
    pub fn faint(self, alpha: u8) -> Style {
        let faint = u16::from(alpha) * SEPARATOR_PERCENT / 100;
        self.blend(self.foreground(), u8::try_from(faint).unwrap_or(alpha))
    }

    /// Header and footer.
    #[must_use]
    pub fn frame(self) -> Style {
        match self.depth {
            ColorDepth::None => Style::new().add_modifier(Modifier::REVERSED),
            ColorDepth::Sixteen => {
                Style::new().fg(Color::Gray).bg(Color::Black).add_modifier(Modifier::REVERSED)
            }
            ColorDepth::Indexed if self.is_light() => {
                Style::new().fg(Color::Indexed(238)).bg(Color::Indexed(253))
            }
            ColorDepth::Indexed => Style::new().fg(Color::Indexed(250)).bg(Color::Indexed(235)),
            ColorDepth::True if self.is_light() => {
                Style::new().fg(Color::Rgb(0x40, 0x40, 0x40)).bg(Color::Rgb(0xdc, 0xde, 0xe0))
            }
            ColorDepth::True => {
                Style::new().fg(Color::Rgb(0xb8, 0xb8, 0xb8)).bg(Color::Rgb(0x1e, 0x22, 0x26))
            }
        }
    }

    /// What is wrong with what was typed.
    #[must_use]
    pub fn wrong(self) -> Style {
        match self.depth {
            ColorDepth::None => Style::new().add_modifier(Modifier::UNDERLINED),
            _ => Style::new().fg(Color::Red).add_modifier(Modifier::UNDERLINED),
        }
    }

    /// Blends a colour towards the background.
    fn blend(self, rgb: [u8; 3], alpha: u8) -> Style {
        let steps = match alpha {
            170.. => Style::new().add_modifier(Modifier::BOLD),
            85.. => Style::new(),
            _ => Style::new().add_modifier(Modifier::DIM),
        };
        match (self.depth, self.colour(rgb, alpha)) {
            (ColorDepth::None | ColorDepth::Sixteen, Some(colour)) => steps.fg(colour),
            (ColorDepth::None | ColorDepth::Sixteen, None) => steps,
            (_, colour) => Style::new().fg(colour.unwrap_or_default()),
        }
    }

    /// A colour blended towards the background, where the terminal has so many.
    fn colour(self, rgb: [u8; 3], alpha: u8) -> Option<Color> {
        let part = |channel: u8, of: u8| u16::from(channel) * u16::from(of) / 255;
        let mixed: [u8; 3] = std::array::from_fn(|at| {
            let sum = part(rgb[at], alpha) + part(self.ground[at], 255 - alpha);
            u8::try_from(sum).unwrap_or(u8::MAX)
        });
        match self.depth {
            ColorDepth::None => None,
            ColorDepth::Sixteen => Some(nearest_of_sixteen(rgb)),
            ColorDepth::Indexed => Some(Color::Indexed(nearest_of_256(mixed))),
            ColorDepth::True => Some(Color::Rgb(mixed[0], mixed[1], mixed[2])),
        }
    }
}

/// The default foreground for greys, else the hue by which channels are strong.
fn nearest_of_sixteen([red, green, blue]: [u8; 3]) -> Color {
    let strongest = red.max(green).max(blue);
    let weakest = red.min(green).min(blue);
    if strongest - weakest < 40 {
        return Color::Reset;
    }
    let middle = u16::midpoint(strongest.into(), weakest.into());
    let strong = |channel: u8| u16::from(channel) > middle;
    match (strong(red), strong(green), strong(blue)) {
        (true, false, false) => Color::Red,
        (true, true, false) => Color::Yellow,
        (false, true, false) => Color::Green,
        (false, true, true) => Color::Cyan,
        (false, false, true) => Color::Blue,
        (true, false, true) => Color::Magenta,
        _ => Color::Reset,
    }
}

/// xterm's cube of 6×6×6 colours (16–231) or its ramp of 24 greys (232–255), whichever is nearer.
fn nearest_of_256(rgb: [u8; 3]) -> u8 {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let distance = |a: [u8; 3], b: [u8; 3]| -> u32 {
        a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
    };
    let level = |channel: u8| {
        (0..6_u8).min_by_key(|&index| LEVELS[usize::from(index)].abs_diff(channel)).unwrap_or(0)
    };
    let cube = rgb.map(level);
    let cube_rgb = cube.map(|index| LEVELS[usize::from(index)]);
    let mean =
        u8::try_from(rgb.iter().map(|&channel| u16::from(channel)).sum::<u16>() / 3).unwrap_or(u8::MAX);
    let grey = mean.saturating_sub(3).div_euclid(10).min(23);
    let grey_rgb = [8 + 10 * grey; 3];
    if distance(grey_rgb, rgb) < distance(cube_rgb, rgb) {
        232 + grey
    } else {
        16 + 36 * cube[0] + 6 * cube[1] + cube[2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_follows_the_environment() {
        let detect = |no_color, colorterm, term| ColorDepth::detect(no_color, colorterm, term, None);
        assert_eq!(detect(Some("1"), Some("truecolor"), None), ColorDepth::None);
        assert_eq!(detect(Some(""), Some("truecolor"), None), ColorDepth::True);
        assert_eq!(detect(None, None, Some("tmux-256color")), ColorDepth::Indexed);
        assert_eq!(detect(None, None, Some("linux")), ColorDepth::Sixteen);
        assert_eq!(detect(None, None, Some("dumb")), ColorDepth::None);
    }

    /// An entry as tic compiles it (term(5)): a name, `max_colors` and, as an extension, `RGB`.
    fn entry(colours: i16, has_rgb: bool) -> TermInfo {
        let names = b"leco-test\0";
        let mut bytes = Vec::new();
        let mut push = |numbers: &[i16]| bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        push(&[0o432, i16::try_from(names.len()).unwrap(), 0, 14, 0, 0]);
        bytes.extend(names);
        let mut push = |numbers: &[i16]| bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        push(&[-1; 13]);
        push(&[colours]);
        if has_rgb {
            // A string beside it, as every terminal has one.
            push(&[1, 0, 1, 3, 9]);
            bytes.extend([1, 0]);
            bytes.extend([0_i16, 0, 4].iter().flat_map(|offset| offset.to_le_bytes()));
            bytes.extend(b"x\0RGB\0XX\0");
        }
        TermInfo::parse(&*bytes).unwrap()
    }

    #[test]
    fn depth_follows_terminfo() {
        let detect =
            |colorterm, term, entry: TermInfo| ColorDepth::detect(None, colorterm, Some(term), Some(&entry));
        assert_eq!(detect(None, "foot", entry(256, false)), ColorDepth::Indexed);
        assert_eq!(detect(None, "foot", entry(256, true)), ColorDepth::True);
        assert_eq!(detect(None, "xterm-256color", entry(8, false)), ColorDepth::Sixteen);
        assert_eq!(detect(None, "vt100", entry(-1, false)), ColorDepth::None);
        assert_eq!(detect(Some("truecolor"), "vt100", entry(-1, false)), ColorDepth::True);
    }

    #[test]
    fn indexed_colours_are_the_nearest() {
        assert_eq!(nearest_of_256([0, 0, 0]), 16);
        assert_eq!(nearest_of_256([255, 255, 255]), 231);
        assert_eq!(nearest_of_256([128, 128, 128]), 244);
        assert_eq!(nearest_of_256([255, 0, 0]), 196);
    }

    #[test]
    fn on_a_light_background_text_is_dark_and_fades_to_light() {
        let theme = Theme::new(ColorDepth::True).upon([255; 3]);
        let grey = |alpha| match theme.text(alpha).fg {
            Some(Color::Rgb(red, ..)) => red,
            other => panic!("{other:?}"),
        };
        assert!(grey(255) < 0x20 && grey(100) > 0x80 && grey(0) == 255);
        assert!(
            Theme::new(ColorDepth::True).upon([0x28, 0x2c, 0x34]).text(255).fg
                == Some(Color::Rgb(0xe6, 0xe6, 0xe6))
        );
    }

    #[test]
    fn fading_dims_at_every_depth() {
        for depth in [ColorDepth::None, ColorDepth::Sixteen, ColorDepth::Indexed, ColorDepth::True] {
            let theme = Theme::new(depth);
            assert_ne!(theme.text(255), theme.text(100), "{depth:?}");
            assert_ne!(theme.text(100), theme.text(30), "{depth:?}");
        }
    }
}
