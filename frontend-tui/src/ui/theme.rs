// SPDX-License-Identifier: GPL-3.0-or-later
//! Opacity as a terminal can show it.

use leco_core::config::StateColours;
use leco_core::ini::{Rgba, contrast, mix};
use leco_core::model::overseer::Row;
use leco_core::wire::tag::TAG_SHADE;
use ratatui::style::{Color, Modifier, Style};
use termini::{NumberCapability, TermInfo};

use crate::ui::glyphs::Glyphs;

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
/// Opacity of separators beside that of the text, where they can still be read with less.
const SEPARATOR_PERCENT: u16 = 55;
/// Contrast that text has at full opacity: WCAG 2.2, success criterion 1.4.3.
const LEAST_CONTRAST: f32 = 4.5;
/// Steps in which a colour is brought nearer to one that can be read.
const STEPS: u16 = 16;
/// How much of the text's colour is behind a selected line, and behind header and footer.
const SELECTED_PERCENT: u16 = 18;
const FRAME_PERCENT: u16 = 13;
/// What is pointed out, bytes received, and bytes sent: apart for every kind of colour vision.
const ACCENT: [u8; 3] = [0x8a, 0xb4, 0xf8];
const RECEIVED: [u8; 3] = [0x61, 0xaf, 0xef];
const SENT: [u8; 3] = [0xe5, 0xc0, 0x7b];
const WRONG: [u8; 3] = [0xff, 0x6b, 0x6b];
/// Where the brightest channel is so little above the darkest, in percent of it, a colour is only a tint of white.
const TINT_PERCENT: u16 = 50;
/// A tint whose brightest channel is below is drawn as grey.
const BRIGHT_TINT: u8 = 0xc8;
/// A colour that stands for something is only grey where its channels differ by less.
const LEAST_HUE: u8 = 40;

/// A colour, and whether its hue says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ink {
    rgb: [u8; 3],
    /// It stands for a state: with few colours its hue is kept, be it ever so pale.
    is_sign: bool,
}

impl Ink {
    fn sign(rgb: [u8; 3]) -> Self {
        Self { rgb, is_sign: true }
    }

    fn tint(rgb: [u8; 3]) -> Self {
        Self { rgb, is_sign: false }
    }
}

/// Colours of the view.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    /// What the terminal can show.
    pub depth: ColorDepth,
    /// Characters that it can show.
    glyphs: &'static Glyphs,
    /// The terminal's background, towards which lines fade.
    ground: [u8; 3],
    /// It is drawn with the terminal's own colours reversed, where there are few.
    is_reversed: bool,
    /// What is behind a line, where its style says so.
    band: Option<Rgba>,
    /// Text, where it has a colour of its own.
    ink: Option<Ink>,
    is_bold: bool,
    states: StateColours,
}

impl Theme {
    /// The usual colours at a depth.
    #[must_use]
    pub fn new(depth: ColorDepth) -> Self {
        Self {
            depth,
            glyphs: Glyphs::unicode(),
            ground: [0; 3],
            is_reversed: false,
            band: None,
            ink: None,
            is_bold: false,
            states: StateColours::default(),
        }
    }

    /// The same upon a background of this colour.
    #[must_use]
    pub fn upon(self, ground: [u8; 3]) -> Self {
        Self { ground, ..self }
    }

    /// The same with these characters.
    #[must_use]
    pub fn with_glyphs(self, glyphs: &'static Glyphs) -> Self {
        Self { glyphs, ..self }
    }

    /// Characters beside letters and digits.
    #[must_use]
    pub fn glyphs(self) -> &'static Glyphs {
        self.glyphs
    }

    /// Whether black can be read better upon the background than white.
    fn is_light(self) -> bool {
        contrast([0; 3], self.ground) > contrast([255; 3], self.ground)
    }

    /// The same with the colours of a config.
    #[must_use]
    pub fn with_states(self, states: StateColours) -> Self {
        Self { states, ..self }
    }

    /// The same with what is a line's own: the colour of its state, else its style (unless that is to be over the state),
    /// else that of a first sight.
    #[must_use]
    pub fn of_row(self, row: &Row) -> Self {
        let first_ever = row.is_first_ever.then_some(self.states.first_ever);
        let colour = self.states.of_line(row.state, &row.style).or(first_ever);
        let is_styled = row.style.fg.is_some() && colour == row.style.fg;
        let ink =
            colour.map(|Rgba { red, green, blue, .. }| Ink { rgb: [red, green, blue], is_sign: !is_styled });
        let is_bold = row.style.is_bold == Some(true);
        let theme = Self { ink, is_bold, band: row.style.bg, ..self };
        if self.is_reversed { Self { ink: None, band: None, ..theme } } else { theme }
    }

    /// The same upon the ground of a selected line, on which everything can be read as well.
    #[must_use]
    pub fn on_selection(self) -> Self {
        match self.depth {
            ColorDepth::None | ColorDepth::Sixteen => Self { is_reversed: true, ink: None, ..self },
            ColorDepth::Indexed | ColorDepth::True => self.upon(self.ground_of(SELECTED_PERCENT)),
        }
    }

    /// What is behind a selected line; what stands on it is drawn by [`Self::on_selection`].
    #[must_use]
    pub fn selected(self) -> Style {
        match self.on_selection() {
            Self { is_reversed: true, .. } => Style::new().add_modifier(Modifier::REVERSED),
            Self { ground, .. } => {
                self.exactly(ground).map_or_else(Style::new, |colour| Style::new().bg(colour))
            }
        }
    }

    /// What is behind a line at an opacity.
    #[must_use]
    pub fn background(self, alpha: u8) -> Style {
        let Some(bg) = self.band else { return Style::new() };
        let alpha = u8::try_from(u16::from(alpha) * u16::from(bg.alpha) / 255).unwrap_or(alpha);
        let rgb = [bg.red, bg.green, bg.blue];
        let colour = match self.depth {
            ColorDepth::None => None,
            ColorDepth::Sixteen => hue(rgb, LEAST_HUE).filter(|_| self.shows_band()).map(Hue::as_ground),
            _ => self.exactly(mix(self.ground, rgb, alpha)),
        };
        colour.map_or_else(Style::new, |colour| Style::new().bg(colour))
    }

    /// Few colours have no dark or pale ones: then there is no band.
    fn shows_band(self) -> bool {
        self.band.is_some_and(|bg| {
            let rgb = [bg.red, bg.green, bg.blue];
            self.depth != ColorDepth::Sixteen
                || bg.alpha > 0x80 && rgb.iter().max() > Some(&0x80) && !is_tint(rgb)
        })
    }

    /// What text stands upon, at full opacity.
    fn behind(self) -> [u8; 3] {
        match self.band {
            Some(bg) => self.shown(mix(self.ground, [bg.red, bg.green, bg.blue], bg.alpha)),
            None => self.ground,
        }
    }

    /// A colour as the terminal shows it.
    fn shown(self, rgb: [u8; 3]) -> [u8; 3] {
        if self.depth == ColorDepth::Indexed { rgb_of_256(nearest_of_256(rgb)) } else { rgb }
    }

    /// Some of the text's colour upon the background.
    fn ground_of(self, percent: u16) -> [u8; 3] {
        let text = if self.is_light() { ON_LIGHT } else { ON_DARK };
        self.shown(mix(self.ground, text, u8::try_from(percent * 255 / 100).unwrap_or(u8::MAX)))
    }

    fn foreground(self) -> Ink {
        let behind = Self { ground: self.behind(), ..self };
        self.ink.unwrap_or_else(|| Ink::tint(if behind.is_light() { ON_LIGHT } else { ON_DARK }))
    }

    /// A colour, so far changed that it can be read upon the background, as the terminal then shows it.
    fn readable(self, rgb: [u8; 3]) -> [u8; 3] {
        let behind = self.behind();
        let far = if (Self { ground: behind, ..self }).is_light() { [0; 3] } else { [255; 3] };
        self.towards(rgb, far, behind)
    }

    /// The first colour on the way from one to another that can be read.
    fn towards(self, from: [u8; 3], to: [u8; 3], behind: [u8; 3]) -> [u8; 3] {
        let step = |step: u16| mix(from, to, u8::try_from(step * 255 / STEPS).unwrap_or(u8::MAX));
        (0..=STEPS).map(step).find(|rgb| contrast(self.shown(*rgb), behind) >= LEAST_CONTRAST).unwrap_or(to)
    }

    /// Text of a line at an opacity (0–255).
    #[must_use]
    pub fn text(self, alpha: u8) -> Style {
        let style = self.blend(self.foreground(), alpha);
        if self.is_bold { style.add_modifier(Modifier::BOLD) } else { style }
    }

    /// The mark of a line that was never seen before, whatever else its state is.
    #[must_use]
    pub fn first_ever(self, alpha: u8) -> Style {
        self.blend(Ink::sign(self.states.first_ever.rgb()), alpha)
    }

    /// A tag of a colour at an opacity.
    #[must_use]
    pub fn tag(self, rgb: [u8; 3], alpha: u8) -> Style {
        let text = Self { ink: None, ..self }.foreground().rgb;
        self.blend(Ink::tint(mix(text, rgb, TAG_SHADE)), alpha)
    }

    /// Times and what stands in brackets: beside the text, not above it.
    #[must_use]
    pub fn faint(self, alpha: u8) -> Style {
        let ink = self.foreground();
        match self.depth {
            ColorDepth::None | ColorDepth::Sixteen => {
                let faint = u16::from(alpha) * SEPARATOR_PERCENT / 100;
                self.blend(ink, u8::try_from(faint).unwrap_or(alpha))
            }
            ColorDepth::Indexed | ColorDepth::True => {
                let (behind, text) = (self.behind(), self.readable(ink.rgb));
                let percent = u8::try_from(SEPARATOR_PERCENT * 255 / 100).unwrap_or(u8::MAX);
                let faint = self.towards(mix(behind, text, percent), text, behind);
                self.fading(faint, alpha)
            }
        }
    }

    /// The names of columns, and what stands over a part of the screen.
    #[must_use]
    pub fn heading(self) -> Style {
        let plain = Self { ink: None, band: None, ..self };
        match self.depth {
            ColorDepth::None | ColorDepth::Sixteen => Style::new().add_modifier(Modifier::UNDERLINED),
            _ => plain.faint(255).add_modifier(Modifier::BOLD),
        }
    }

    /// What is pointed out: a filter in force, a key.
    #[must_use]
    pub fn accent(self) -> Style {
        self.own(ACCENT).add_modifier(Modifier::BOLD)
    }

    /// Bytes received, in a chart.
    #[must_use]
    pub fn received(self) -> Style {
        self.own(RECEIVED)
    }

    /// Bytes sent, in a chart.
    #[must_use]
    pub fn sent(self) -> Style {
        self.own(SENT)
    }

    /// What is wrong with what was typed.
    #[must_use]
    pub fn wrong(self) -> Style {
        self.own(WRONG).add_modifier(Modifier::UNDERLINED)
    }

    /// A colour of the view's own.
    fn own(self, rgb: [u8; 3]) -> Style {
        let plain = Self { ink: None, band: None, ..self };
        match plain.depth {
            ColorDepth::None => Style::new(),
            ColorDepth::Sixteen => {
                plain.of_sixteen(Ink::sign(rgb)).map_or_else(Style::new, |c| Style::new().fg(c))
            }
            _ => plain.fading(plain.readable(rgb), 255),
        }
    }

    /// Header and footer.
    #[must_use]
    pub fn frame(self) -> Style {
        match self.depth {
            ColorDepth::None | ColorDepth::Sixteen => Style::new().add_modifier(Modifier::REVERSED),
            _ => {
                let plain = Self { ink: None, band: None, ..self }.upon(self.ground_of(FRAME_PERCENT));
                let text = mix(plain.ground, plain.foreground().rgb, 0xc0);
                let fg = plain.exactly(plain.readable(text));
                Style::new().fg(fg.unwrap_or_default()).bg(plain.exactly(plain.ground).unwrap_or_default())
            }
        }
    }

    /// Text of a colour at an opacity.
    fn blend(self, ink: Ink, alpha: u8) -> Style {
        match self.depth {
            ColorDepth::None | ColorDepth::Sixteen if self.is_reversed => {
                Style::new().add_modifier(Modifier::REVERSED)
            }
            ColorDepth::None => steps(alpha),
            ColorDepth::Sixteen => match self.of_sixteen(ink) {
                // Terminals draw bold text in the bright colour, which cannot be read on a light background.
                Some(colour)
                    if colour != Color::Reset
                        && alpha >= BOLD_FROM
                        && (self.is_light() || self.shows_band()) =>
                {
                    Style::new().fg(colour)
                }
                Some(colour) => steps(alpha).fg(colour),
                None => steps(alpha),
            },
            ColorDepth::Indexed | ColorDepth::True => self.fading(self.readable(ink.rgb), alpha),
        }
    }

    /// A colour blended towards the background, where the terminal has so many.
    fn fading(self, rgb: [u8; 3], alpha: u8) -> Style {
        Style::new().fg(self.exactly(mix(self.behind(), rgb, alpha)).unwrap_or_default())
    }

    /// A colour as it is, where the terminal has so many.
    fn exactly(self, rgb: [u8; 3]) -> Option<Color> {
        match self.depth {
            ColorDepth::None | ColorDepth::Sixteen => None,
            ColorDepth::Indexed => Some(Color::Indexed(nearest_of_256(rgb))),
            ColorDepth::True => Some(Color::Rgb(rgb[0], rgb[1], rgb[2])),
        }
    }

    /// Of sixteen colours the one that means the same and can be read; tints are white, or grey.
    fn of_sixteen(self, ink: Ink) -> Option<Color> {
        if self.shows_band() {
            let bg = self.band?;
            return hue([bg.red, bg.green, bg.blue], LEAST_HUE).map(Hue::upon);
        }
        let hue = if ink.is_sign || !is_tint(ink.rgb) { hue(ink.rgb, LEAST_HUE) } else { None };
        Some(match hue {
            Some(hue) if self.is_light() => hue.on_light(),
            Some(hue) => hue.on_dark(),
            // The terminal's own text.
            None if self.is_light() || self.ink.is_none_or(|own| own != ink) => Color::Reset,
            None if ink.rgb.iter().max() >= Some(&BRIGHT_TINT) => Color::White,
            None => Color::Gray,
        })
    }
}

/// From this opacity on text is bold where it cannot be blended.
const BOLD_FROM: u8 = 170;

/// How bright text is where colours cannot be blended.
fn steps(alpha: u8) -> Style {
    match alpha {
        BOLD_FROM.. => Style::new().add_modifier(Modifier::BOLD),
        85.. => Style::new(),
        _ => Style::new().add_modifier(Modifier::DIM),
    }
}

/// Whether a colour is hardly more than white or grey.
fn is_tint(rgb: [u8; 3]) -> bool {
    let strongest = rgb.iter().copied().max().unwrap_or(0);
    let weakest = rgb.iter().copied().min().unwrap_or(0);
    u16::from(strongest - weakest) * 100 < u16::from(strongest) * TINT_PERCENT
}

/// One of the six that sixteen colours have, in a dark and a bright form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hue {
    Red,
    Yellow,
    Green,
    Cyan,
    Blue,
    Magenta,
}

/// By which channels are strong; none for what is nearly grey.
fn hue([red, green, blue]: [u8; 3], least: u8) -> Option<Hue> {
    let strongest = red.max(green).max(blue);
    let weakest = red.min(green).min(blue);
    if strongest - weakest < least {
        return None;
    }
    let middle = u16::midpoint(strongest.into(), weakest.into());
    let strong = |channel: u8| u16::from(channel) > middle;
    match (strong(red), strong(green), strong(blue)) {
        (true, false, false) => Some(Hue::Red),
        (true, true, false) => Some(Hue::Yellow),
        (false, true, false) => Some(Hue::Green),
        (false, true, true) => Some(Hue::Cyan),
        (false, false, true) => Some(Hue::Blue),
        (true, false, true) => Some(Hue::Magenta),
        _ => None,
    }
}

impl Hue {
    /// In xterm's palette neither blue can be read on black, and the dark red and magenta just not.
    fn on_dark(self) -> Color {
        match self {
            Self::Red => Color::LightRed,
            Self::Yellow => Color::Yellow,
            Self::Green => Color::Green,
            Self::Cyan | Self::Blue => Color::Cyan,
            Self::Magenta => Color::LightMagenta,
        }
    }

    /// Yellow, green and cyan cannot be read on white in either form.
    fn on_light(self) -> Color {
        match self {
            Self::Red => Color::Red,
            Self::Green | Self::Cyan | Self::Blue => Color::Blue,
            Self::Yellow | Self::Magenta => Color::Magenta,
        }
    }

    /// Behind a line.
    fn as_ground(self) -> Color {
        match self {
            Self::Red => Color::Red,
            Self::Yellow => Color::Yellow,
            Self::Green => Color::Green,
            Self::Cyan => Color::Cyan,
            Self::Blue => Color::Blue,
            Self::Magenta => Color::Magenta,
        }
    }

    /// Text upon that.
    fn upon(self) -> Color {
        match self {
            Self::Red | Self::Blue => Color::White,
            _ => Color::Black,
        }
    }
}

/// Values of a channel in xterm's cube.
const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// What a number above 15 stands for.
fn rgb_of_256(index: u8) -> [u8; 3] {
    match index.checked_sub(16) {
        Some(cube @ 0..216) => [cube / 36, cube / 6 % 6, cube % 6].map(|level| LEVELS[usize::from(level)]),
        Some(grey) => [8 + 10 * (grey - 216); 3],
        None => [0; 3],
    }
}

/// xterm's cube of 6×6×6 colours (16–231) or its ramp of 24 greys (232–255), whichever is nearer.
fn nearest_of_256(rgb: [u8; 3]) -> u8 {
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
    use std::path::Path;

    use leco_core::config::Config;
    use leco_core::model::overseer::Overseer;

    use super::*;

    const DEPTHS: [ColorDepth; 4] =
        [ColorDepth::None, ColorDepth::Sixteen, ColorDepth::Indexed, ColorDepth::True];

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

    /// Backgrounds of terminals, as their themes have them, and the two on which it is hardest to read.
    const GROUNDS: [[u8; 3]; 9] = [
        [0; 3],
        [0x1d, 0x1f, 0x21],
        [0x28, 0x2c, 0x34],
        [0, 0x2b, 0x36],
        [0x75; 3],
        [0x77; 3],
        [0xfd, 0xf6, 0xe3],
        [0xee; 3],
        [0xff; 3],
    ];
    /// xterm's.
    const PALETTE: [u32; 16] = [
        0x00_0000, 0xcd_0000, 0x00_cd00, 0xcd_cd00, 0x00_00ee, 0xcd_00cd, 0x00_cdcd, 0xe5_e5e5, 0x7f_7f7f,
        0xff_0000, 0x00_ff00, 0xff_ff00, 0x5c_5cff, 0xff_00ff, 0x00_ffff, 0xff_ffff,
    ];

    /// What a terminal upon a ground draws in a colour: bold may turn one of eight into its bright form.
    fn rgb(colour: Option<Color>, otherwise: [u8; 3], is_bold: bool) -> [u8; 3] {
        let of_sixteen = |at: usize| {
            let [_, rgb @ ..] = PALETTE[if is_bold && at < 8 { at + 8 } else { at }].to_be_bytes();
            rgb
        };
        match colour {
            None | Some(Color::Reset) => otherwise,
            Some(Color::Rgb(red, green, blue)) => [red, green, blue],
            Some(Color::Indexed(index)) => rgb_of_256(index),
            Some(named) => {
                const NAMED: [Color; 16] = [
                    Color::Black,
                    Color::Red,
                    Color::Green,
                    Color::Yellow,
                    Color::Blue,
                    Color::Magenta,
                    Color::Cyan,
                    Color::Gray,
                    Color::DarkGray,
                    Color::LightRed,
                    Color::LightGreen,
                    Color::LightYellow,
                    Color::LightBlue,
                    Color::LightMagenta,
                    Color::LightCyan,
                    Color::White,
                ];
                of_sixteen(NAMED.iter().position(|known| *known == named).unwrap())
            }
        }
    }

    /// The least contrast of a text on what is behind it.
    fn contrast_of(theme: Theme, style: Style) -> f32 {
        let own = if theme.is_light() { [0; 3] } else { [0xe5; 3] };
        let behind = rgb(style.bg, theme.ground, false);
        let is_bold = style.add_modifier.contains(Modifier::BOLD);
        let texts = [rgb(style.fg, own, false), rgb(style.fg, own, is_bold)];
        texts.into_iter().map(|text| contrast(text, behind)).fold(f32::MAX, f32::min)
    }

    /// A peer, and what an event says of how its connection stands.
    type Stand = (&'static str, &'static str);

    const OUT: Stand = ("b.test 1", "");
    const IN: Stand = ("<- b.test 1", r#","dir":"in""#);
    const REFUSED: Stand = ("b.test 1 !refused", r#","state":"refused""#);
    const TIMED_OUT: Stand = ("b.test 1 !timeout", r#","state":"timeout""#);
    const BLOCKED: Stand = ("b.test 1 !blocked", r#","state":"blocked""#);
    const CLOCK: Stand = ("b.test 123/udp", "");

    fn row(who: &str, (peer, fields): Stand, styles: &str, is_first_ever: bool) -> Row {
        let config = Config::parse(styles.as_bytes(), Path::new("widget.ini"));
        assert_eq!(config.diagnostics, []);
        let mut overseer = Overseer::new(config);
        let line = format!("18:32 :: {who} :: prog :: {peer} :: ");
        let event = format!(r#"{{"ns":1,"ns_trx":1,"line":"{line}","new":{is_first_ever}{fields}}}"#);
        overseer.receive(event.as_bytes(), 1);
        let known = overseer.known().next().unwrap();
        overseer.row(&known, 1)
    }

    /// A line of each state, with and without styles: those of the example config, and such as people write.
    fn rows() -> Vec<Row> {
        const STYLES: &str = "[rx-style]\nroot = fg=f2c6a0\nblue = fg=00f\nband = bg=800000\ntint = bg=20304080\n\
                              pale = bg=fff over=state fg=ffd166\n";
        let example = include_str!("../../../widget.ini");
        let mut rows = Vec::new();
        for stand in [OUT, IN, REFUSED, TIMED_OUT, BLOCKED, CLOCK] {
            for who in ["me", "root", "blue", "band", "tint", "pale"] {
                for (styles, is_first_ever) in [(STYLES, false), (STYLES, true), (example, false)] {
                    rows.push(row(who, stand, styles, is_first_ever));
                }
            }
        }
        rows
    }

    #[test]
    fn everything_can_be_read_at_every_depth_on_every_ground() {
        let rows = rows();
        for (depth, ground) in DEPTHS.iter().flat_map(|depth| GROUNDS.map(|ground| (*depth, ground))) {
            // What a terminal has as its own text is known for its own black and white.
            let is_poor = matches!(depth, ColorDepth::None | ColorDepth::Sixteen);
            if is_poor && ground != [0; 3] && ground != [0xff; 3] {
                continue;
            }
            let theme = Theme::new(depth).upon(ground);
            let check = |what: &str, theme: Theme, style: Style| {
                let contrast = contrast_of(theme, style);
                assert!(
                    contrast >= LEAST_CONTRAST,
                    "{what} {style:?} at {depth:?} on {ground:02x?}: {contrast}"
                );
            };
            for (what, style) in [
                ("text", theme.text(255)),
                ("faint", theme.faint(255)),
                ("heading", theme.heading()),
                ("accent", theme.accent()),
                ("received", theme.received()),
                ("sent", theme.sent()),
                ("wrong", theme.wrong()),
                ("frame", theme.frame()),
            ] {
                check(what, theme, style);
            }
            for (theme, ground) in [(theme, Style::new()), (theme.on_selection(), theme.selected())] {
                for row in &rows {
                    let theme = theme.of_row(row);
                    let band = ground.patch(theme.background(255));
                    check(&row.text, theme, band.patch(theme.text(255)));
                    check(&row.text, theme, band.patch(theme.faint(255)));
                    for tag in [row.tag.rgb, [0x80, 0x40, 0xff], [0x20, 0xff, 0x20], [0xff; 3], [0; 3]] {
                        check("tag", theme, band.patch(theme.tag(tag, 255)));
                    }
                }
            }
        }
    }

    #[test]
    fn with_sixteen_colours_a_tint_is_white_and_a_state_keeps_its_hue() {
        let styles =
            "[rx-style]\n:: root :: = fg=f2c6a0\n:: dim :: = fg=9aa5ac\n:: mine :: = fg=00f over=state\n";
        let theme = Theme::new(ColorDepth::Sixteen);
        let colour = |theme: Theme, who: &str, stand: Stand| {
            theme.of_row(&row(who, stand, styles, false)).text(255).fg
        };
        assert_eq!(colour(theme, "me", OUT), Some(Color::Reset));
        assert_eq!(colour(theme, "root", OUT), Some(Color::White));
        assert_eq!(colour(theme, "dim", OUT), Some(Color::Gray));
        assert_eq!(colour(theme, "root", REFUSED), Some(Color::LightRed));
        assert_eq!(colour(theme, "root", IN), Some(Color::Cyan));
        assert_eq!(colour(theme, "mine", REFUSED), Some(Color::Cyan));
        let light = theme.upon([255; 3]);
        assert_eq!(colour(light, "root", OUT), Some(Color::Reset));
        assert_eq!(colour(light, "root", REFUSED), Some(Color::Red));
    }

    #[test]
    fn a_selected_line_has_a_ground_at_every_depth() {
        for depth in DEPTHS {
            for ground in GROUNDS {
                let style = Theme::new(depth).upon(ground).selected();
                assert!(style.bg.is_some() || style.add_modifier.contains(Modifier::REVERSED), "{depth:?}");
                assert_ne!(rgb(style.bg, [1; 3], false), ground, "{depth:?}");
            }
        }
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
        for depth in DEPTHS {
            let theme = Theme::new(depth);
            assert_ne!(theme.text(255), theme.text(100), "{depth:?}");
            assert_ne!(theme.text(100), theme.text(30), "{depth:?}");
        }
    }
}
