// SPDX-License-Identifier: GPL-3.0-or-later
//! Typed settings; every default stands here, once.

use std::path::PathBuf;
use std::time::Duration;

use crate::fade::{Points, SplineKind};
use crate::ini::Rgba;
use crate::source::{NoRuntimeFolder, SourceSpec, default_fifo};
use crate::style::{LineStyle, Outline};
use crate::text::{Units, parse_flag};
use crate::wire::event::ConnectionState;

/// Everything a config can set besides rules, curves and styles.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// `[window]`
    pub window: WindowSettings,
    /// `[text]`
    pub text: TextSettings,
    /// `[tui]`
    pub tui: TuiSettings,
    /// `[run]`
    pub run: RunSettings,
}

/// `[window]`: the overlay's window. One field for each key of the section, so they are not split.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowSettings {
    /// Title, by which window managers know it.
    pub title: String,
    /// Where on the screen it is.
    pub anchor: Anchor,
    /// Pixels from the left of the screen, or from its right where the anchor is there; below 0 from the other edge.
    pub init_offset_left: i32,
    /// The same from the top, or from the bottom.
    pub init_offset_top: i32,
    /// Pixels.
    pub init_width: u32,
    /// Pixels.
    pub init_height: u32,
    /// Pixels between the left and right edge and the text.
    pub pad_x: u32,
    /// Pixels between the upper and lower edge and the text.
    pub pad_y: u32,
    /// Frames per second at most; 0 is the display's own rate, 0.25 one frame in four seconds.
    pub frames_per_second_max: f64,
    /// Background.
    pub rgba_bg: Rgba,
    /// Text.
    pub rgba_fg: Rgba,
    /// Text of connections that came from outside.
    pub rgba_in: Rgba,
    /// Tag and mark of what was never seen before.
    pub rgba_new: Rgba,
    /// Text of connections that were refused or timed out.
    pub rgba_refused: Rgba,
    /// Text of connections that the firewall stopped.
    pub rgba_blocked: Rgba,
    /// Above or below other windows.
    pub layer: Layer,
    /// Which monitor: its name as the display server tells it, or `primary`; the whole screen without one.
    pub monitor: Option<String>,
    /// Whether clicks go to what is below.
    pub click_through: bool,
    /// What the window is to be.
    pub flags: Vec<WindowFlag>,
    /// Hints for SDL, in the order of the file.
    pub hints: Vec<(WindowHint, String)>,
}

impl Default for WindowSettings {
    fn default() -> Self {
        Self {
            title: "LECO".into(),
            anchor: Anchor::TopLeft,
            init_offset_left: 20,
            init_offset_top: 40,
            init_width: 600,
            init_height: 400,
            pad_x: 8,
            pad_y: 8,
            frames_per_second_max: 0.0,
            rgba_bg: Rgba { red: 0x0d, green: 0x11, blue: 0x17, alpha: 0xcc },
            rgba_fg: Rgba { red: 0xe6, green: 0xed, blue: 0xf3, alpha: 0xff },
            rgba_in: Rgba { red: 0x7e, green: 0xe0, blue: 0xb8, alpha: 0xff },
            rgba_new: Rgba { red: 0xff, green: 0xd8, blue: 0x66, alpha: 0xff },
            rgba_refused: Rgba { red: 0xff, green: 0xb2, blue: 0x6b, alpha: 0xff },
            rgba_blocked: Rgba { red: 0xff, green: 0x94, blue: 0x92, alpha: 0xff },
            layer: Layer::Top,
            monitor: None,
            click_through: true,
            flags: vec![
                WindowFlag::Resizable,
                WindowFlag::NotFocusable,
                WindowFlag::Borderless,
                WindowFlag::Transparent,
                WindowFlag::Utility,
            ],
            hints: Vec::new(),
        }
    }
}

/// Makes an enum of names as they stand in a config.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal, #[$about:meta])* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $(#[$about] $variant,)*
        }

        impl $name {
            /// Every name.
            pub const NAMES: &[&str] = &[$($text),*];

            /// By its name.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

impl WindowSettings {
    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: WindowFlag) -> bool {
        self.flags.contains(&flag)
    }

    /// The value of a hint; of several the last counts.
    #[must_use]
    pub fn hint(&self, hint: WindowHint) -> Option<&str> {
        self.hints.iter().rfind(|(name, _)| *name == hint).map(|(_, value)| value.as_str())
    }

    /// Whether a hint says yes.
    #[must_use]
    pub fn is_on(&self, hint: WindowHint) -> bool {
        self.hint(hint).is_some_and(|value| parse_flag(value).unwrap_or(true))
    }

    /// Colours by which connections differ.
    #[must_use]
    pub fn state_colours(&self) -> StateColours {
        StateColours {
            incoming: self.rgba_in,
            first_ever: self.rgba_new,
            refused: self.rgba_refused,
            blocked: self.rgba_blocked,
        }
    }
}

/// Colours by which connections differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateColours {
    /// It came from outside.
    pub incoming: Rgba,
    /// A program and a peer that were never seen together before.
    pub first_ever: Rgba,
    /// It was refused, broken off, or not answered.
    pub refused: Rgba,
    /// The firewall stopped it.
    pub blocked: Rgba,
}

impl StateColours {
    /// That of a state, where it has one.
    #[must_use]
    pub fn of(&self, state: ConnectionState) -> Option<Rgba> {
        match state {
            ConnectionState::Ordinary => None,
            ConnectionState::Incoming => Some(self.incoming),
            ConnectionState::Refused | ConnectionState::TimedOut => Some(self.refused),
            ConnectionState::Blocked => Some(self.blocked),
        }
    }

    /// That of a line's text, where it has one: of its state, else of its style, which may be over the state.
    #[must_use]
    pub fn of_line(&self, state: ConnectionState, style: &LineStyle) -> Option<Rgba> {
        style.fg.filter(|_| style.is_over_state).or_else(|| self.of(state)).or(style.fg)
    }
}

impl Default for StateColours {
    fn default() -> Self {
        WindowSettings::default().state_colours()
    }
}

named! {
    /// The corner, edge or middle of the screen at which the overlay is.
    Anchor {
        TopLeft = "top-left", /// In the upper left corner.
        Top = "top", /// In the middle of the upper edge.
        TopRight = "top-right", /// In the upper right corner.
        Left = "left", /// In the middle of the left edge.
        Center = "center", /// In the middle.
        Right = "right", /// In the middle of the right edge.
        BottomLeft = "bottom-left", /// In the lower left corner.
        Bottom = "bottom", /// In the middle of the lower edge.
        BottomRight = "bottom-right", /// In the lower right corner.
    }
}

named! {
    /// Where among the windows the overlay is.
    Layer {
        Overlay = "overlay", /// Above everything, full-screen windows and panels included.
        Top = "top", /// Above ordinary windows.
        Bottom = "bottom", /// Below ordinary windows.
        Background = "background", /// On the wallpaper.
    }
}

named! {
    /// How a line comes or goes.
    Effect {
        None = "none", /// At once.
        Slide = "slide", /// From or to the side.
        Glow = "glow", /// In a shine of its colour.
        Blur = "blur", /// Out of or into a haze.
    }
}

named! {
    /// When lines come and go with an effect.
    Effects {
        Auto = "auto", /// While the machine does not run on its battery.
        Always = "always", /// Always.
        None = "none", /// Never.
    }
}

named! {
    /// Whether the parts of the overlay's lines stand in columns.
    LineColumns {
        Auto = "auto", /// Those of lines that have all their parts.
        Off = "off", /// Each line is a text by itself.
    }
}

named! {
    /// A flag of the overlay's window.
    WindowFlag {
        Resizable = "resizable", /// Its size can be changed.
        NotFocusable = "not_focusable", /// It never takes the keyboard.
        Borderless = "borderless", /// Without decorations.
        Transparent = "transparent", /// What is behind it shines through.
        Utility = "utility", /// Not in the taskbar and the window list.
        AlwaysOnTop = "always_on_top", /// Above all other windows.
        Fullscreen = "fullscreen", /// As large as the screen.
        Minimized = "minimized", /// Starts minimized.
        Maximized = "maximized", /// Starts maximized.
    }
}

named! {
    /// A hint for SDL.
    WindowHint {
        OverrideRedirect = "override_redirect", /// The window manager leaves it alone.
        Vsync = "vsync", /// As it always does: waits for the display.
        NoSignalHandlers = "no_signal_handlers", /// As it always does: leaves signals to the program.
        ActivateWhenRaised = "activate_when_raised", /// Take the focus when raised.
        ActivateWhenShown = "activate_when_shown", /// Take the focus when shown.
        DisplayPriority = "display_priority", /// Which display comes first.
        WaylandScaleToDisplay = "wayland_scale_to_display", /// Scale as the display does.
    }
}

/// A shadow behind the text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shadow {
    /// Pixels to the right.
    pub x: f32,
    /// Pixels down.
    pub y: f32,
    /// Colour.
    pub rgba: Rgba,
}

/// Distance from one line to the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LineHeight {
    /// So many times the font's height: `1.5`.
    Times(f32),
    /// So many pixels between lines: `+10`.
    Gap(f32),
    /// So many pixels: `20`.
    Pixels(f32),
}

/// `[text]`: the lines. One field for each key of the section, so they are not split.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSettings {
    /// Font file; the system's sans where there is none.
    pub font: Option<PathBuf>,
    /// Pixels.
    pub font_height: f32,
    /// Shadows, in the order in which they are drawn.
    pub font_shadow: Vec<Shadow>,
    /// Line around the glyphs, where a style does not say otherwise.
    pub font_outline: Option<Outline>,
    /// When lines come and go with an effect.
    pub effects: Effects,
    /// How a new line comes.
    pub effect_new: Effect,
    /// How a line goes whose slot is taken, or that a curve or rule ends at once.
    pub effect_gone: Effect,
    /// Whether parts of lines stand in columns.
    pub columns: LineColumns,
    /// What amounts of traffic are shown in.
    pub units: Units,
    /// Distance of lines.
    pub line_height: LineHeight,
    /// How long a line takes to its end value.
    pub line_fade_time: Duration,
    /// Opacity over that time.
    pub line_fade_curve: Points,
    /// What joins the points of all curves.
    pub line_fade_spline: SplineKind,
    /// How long a connection takes from its first event to the end of its linger curve; zero: there is none.
    pub line_linger_time: Duration,
    /// The most opacity that a connection has which exists for so long.
    pub line_linger_curve: Points,
    /// Characters of a line's tag.
    pub line_uid_chars: usize,
    /// Form of the tag, `$1` being its characters.
    pub line_uid_fmt: String,
}

impl Default for TextSettings {
    fn default() -> Self {
        Self {
            font: None,
            font_height: 14.0,
            font_shadow: Vec::new(),
            font_outline: Some(Outline { pixels: 1, rgba: Rgba { red: 0, green: 0, blue: 0, alpha: 0xb0 } }),
            effects: Effects::Auto,
            effect_new: Effect::Slide,
            effect_gone: Effect::Slide,
            columns: LineColumns::Auto,
            units: Units::Bytes,
            line_height: LineHeight::Times(1.5),
            line_fade_time: Duration::from_mins(1),
            line_fade_curve: Points::default(),
            line_fade_spline: SplineKind::Cardinal,
            line_linger_time: Duration::ZERO,
            line_linger_curve: Points::default(),
            line_uid_chars: 3,
            line_uid_fmt: "#$1".into(),
        }
    }
}

named! {
    /// What a terminal's background is.
    TerminalTheme {
        Auto = "auto", /// As the terminal says.
        Dark = "dark", /// Dark.
        Light = "light", /// Light.
    }
}

named! {
    /// How many colours a terminal has.
    TerminalColours {
        Auto = "auto", /// As the environment says.
        None = "none", /// None: words and dimming only.
        Sixteen = "16", /// The sixteen of every terminal.
        Indexed = "256", /// The 256 of xterm.
        True = "true", /// 24 bits.
    }
}

/// `[tui]`: the view in a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TuiSettings {
    /// What it is drawn upon.
    pub theme: TerminalTheme,
    /// What it is drawn with.
    pub colours: TerminalColours,
    /// Take the mouse: the wheel scrolls, a click selects.
    pub mouse: bool,
    /// Words above the columns.
    pub heading: bool,
    /// Lines that are remembered besides those of open connections.
    pub lines_kept: usize,
}

impl Default for TuiSettings {
    fn default() -> Self {
        Self {
            theme: TerminalTheme::Auto,
            colours: TerminalColours::Auto,
            mouse: true,
            heading: true,
            lines_kept: 10_000,
        }
    }
}

/// `[run]`: where events come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSettings {
    /// Fifo from which events are read, where no source is given; `None`: the one in the user's runtime folder.
    pub fifo: Option<PathBuf>,
    /// Where events are read from.
    pub sources: Vec<SourceSpec>,
    /// Connections (or groups) that the overlay remembers, shown or not.
    pub conn_list_cache: usize,
    /// Print raw events and what became of them.
    pub debug: bool,
}

impl RunSettings {
    /// Where events are read from: the sources, else the fifo, else the one in the user's runtime folder.
    pub fn all_sources(&self) -> Result<Vec<SourceSpec>, NoRuntimeFolder> {
        match &self.fifo {
            _ if !self.sources.is_empty() => Ok(self.sources.clone()),
            Some(fifo) => Ok(vec![SourceSpec::fifo(fifo)]),
            None => default_fifo().map(|fifo| vec![SourceSpec::fifo(&fifo)]),
        }
    }
}

impl Default for RunSettings {
    fn default() -> Self {
        Self { fifo: None, sources: Vec::new(), conn_list_cache: 200, debug: false }
    }
}
