// SPDX-License-Identifier: GPL-3.0-or-later
//! What the settings say about looks, in pixels of the display.

use leco_core::config::{Effect, LineHeight, Settings, WindowSettings};
use leco_core::ini::Rgba;
use leco_core::model::overseer::Row;
use leco_core::style::Outline;

use super::pixels::premultiplied;
use super::text::Shadow;

/// Text larger than this is nobody's wish: a glyph's picture would not fit into memory.
const MAX_FONT_HEIGHT: f32 = 512.0;

pub(super) struct Look {
    /// Of the text, in pixels.
    pub(super) font_height: f32,
    pub(super) outline: Option<Outline>,
    pub(super) shadows: Vec<Shadow>,
    pub(super) pad_x: i32,
    pub(super) pad_y: i32,
    /// From one line to the next, at least 1.
    pub(super) step: i32,
    pub(super) effect_new: Effect,
    pub(super) effect_gone: Effect,
    /// Pixels of the display for one of the config.
    pub(super) factor: f32,
    pub(super) is_opaque: bool,
    /// Its colours count, at any factor.
    window: WindowSettings,
}

impl Look {
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn new(settings: &Settings, factor: f32) -> Self {
        let (window, text) = (&settings.window, &settings.text);
        let whole = |length: f32| (length * factor).round() as i32;
        let step = match text.line_height {
            LineHeight::Times(times) => text.font_height * times,
            LineHeight::Gap(gap) => text.font_height + gap,
            LineHeight::Pixels(height) => height,
        };
        let shadow = |shadow: &leco_core::config::Shadow| Shadow {
            x: whole(shadow.x).clamp(-MAX_SHADOW, MAX_SHADOW),
            y: whole(shadow.y).clamp(-MAX_SHADOW, MAX_SHADOW),
            rgba: shadow.rgba,
        };
        let mut look = Self {
            font_height: (text.font_height * factor).min(MAX_FONT_HEIGHT),
            outline: None,
            shadows: text.font_shadow.iter().map(shadow).collect(),
            pad_x: whole(window.pad_x as f32),
            pad_y: whole(window.pad_y as f32),
            step: whole(step).max(1),
            effect_new: text.effect_new,
            effect_gone: text.effect_gone,
            factor,
            is_opaque: false,
            window: window.clone(),
        };
        look.outline = text.font_outline.map(|outline| look.scaled(outline));
        look
    }

    /// An outline in pixels of the display.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn scaled(&self, outline: Outline) -> Outline {
        Outline { pixels: (f32::from(outline.pixels) * self.factor).round() as u8, ..outline }
    }

    /// The colour of a line's text.
    pub(super) fn text_rgba(&self, row: &Row) -> Rgba {
        self.window.state_colours().of_line(row.state, &row.style).unwrap_or(self.window.rgba_fg)
    }

    /// The colour in which a line never seen before is marked.
    pub(super) fn new_rgba(&self) -> Rgba {
        self.window.rgba_new
    }

    pub(super) fn background(&self) -> u32 {
        let alpha = if self.is_opaque { 255 } else { self.window.rgba_bg.alpha };
        premultiplied(Rgba { alpha, ..self.window.rgba_bg })
    }
}

/// A shadow further away than this is no shadow. Pixels.
const MAX_SHADOW: i32 = 256;
