// SPDX-License-Identifier: GPL-3.0-or-later
//! What the settings say about looks, in pixels of the display.

use leco_core::config::{Effect, LineHeight, Settings, WindowSettings};
use leco_core::ini::{Rgba, contrast, mix};
use leco_core::model::overseer::Row;
use leco_core::style::Outline;
use leco_core::wire::tag::TAG_SHADE;

use super::pixels::{premultiplied, scale};
use super::text::Shadow;

/// Text larger than this is nobody's wish: a glyph's picture would not fit into memory.
const MAX_FONT_HEIGHT: f32 = 512.0;

/// Opacity of what only completes a line beside that of its text.
const FAINT_PERCENT: u32 = 65;

/// Contrast that makes text readable: WCAG 2.2, success criterion 1.4.3.
const LEAST_CONTRAST: f32 = 4.5;

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
    /// The person has asked for more contrast: what can be read is opaque, and so is the ground behind it.
    pub(super) is_high_contrast: bool,
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
            is_high_contrast: false,
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
        let fg = self.window.state_colours().of_line(row.state, &row.style).unwrap_or(self.window.rgba_fg);
        if self.is_high_contrast { Rgba { alpha: 255, ..fg } } else { fg }
    }

    /// The colour of what only completes a line with text of this colour.
    pub(super) fn faint(&self, fg: Rgba) -> Rgba {
        let faded = |percent: u32| Rgba {
            alpha: u8::try_from(u32::from(fg.alpha) * percent / 100).unwrap_or(fg.alpha),
            ..fg
        };
        let is_readable = |rgba: &Rgba| {
            let over = |ground: [u8; 3]| contrast(mix(ground, rgba.rgb(), rgba.alpha), ground);
            self.grounds().into_iter().all(|ground| over(ground) >= LEAST_CONTRAST)
        };
        let from = if self.is_high_contrast { 100 } else { FAINT_PERCENT };
        // Over a ground on which the text itself depends on the picture, no shade is better than another.
        let least = if is_readable(&fg) { fg } else { faded(from) };
        (from..100).step_by(5).map(faded).find(is_readable).unwrap_or(least)
    }

    /// What is behind the text over a black picture and over a white one.
    fn grounds(&self) -> [[u8; 3]; 2] {
        let ground = self.window.rgba_bg;
        [[0; 3], [255; 3]].map(|picture| mix(picture, ground.rgb(), ground.alpha))
    }

    /// The colour in which a line never seen before is marked.
    pub(super) fn new_rgba(&self) -> Rgba {
        self.window.rgba_new
    }

    /// A tag's own colour, muted: beside the text it only tells lines apart. It can be read over any picture.
    pub(super) fn tag_rgb(&self, tag: [u8; 3]) -> [u8; 3] {
        let text = self.window.rgba_fg.rgb();
        if self.is_high_contrast {
            return text;
        }
        let grounds = self.grounds();
        let shades = (0..=TAG_SHADE).rev().map(|shade| mix(text, tag, shade));
        let is_readable =
            |rgb: &[u8; 3]| grounds.iter().all(|ground| contrast(*rgb, *ground) >= LEAST_CONTRAST);
        shades.step_by(8).find(is_readable).unwrap_or(text)
    }

    /// What is behind the lines, where it is there to such a part (0-255).
    pub(super) fn background(&self, presence: u8) -> u32 {
        let opaque = Rgba { alpha: 255, ..self.window.rgba_bg };
        if self.is_opaque {
            return premultiplied(opaque);
        }
        let background = if self.is_high_contrast { opaque } else { self.window.rgba_bg };
        scale(premultiplied(background), presence.into())
    }
}

/// A shadow further away than this is no shadow. Pixels.
const MAX_SHADOW: i32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dim_can_be_read_where_text_can() {
        let look = Look::new(&Settings::default(), 1.0);
        let states = look.window.state_colours();
        for fg in [look.window.rgba_fg, states.incoming, states.refused, states.blocked] {
            let faint = look.faint(fg);
            for ground in look.grounds() {
                let seen = contrast(mix(ground, faint.rgb(), faint.alpha), ground);
                assert!(seen >= LEAST_CONTRAST, "{fg:?} on {ground:?}: {seen}");
            }
        }
        assert!(look.faint(look.window.rgba_fg).alpha < 200, "and is dimmer than the text");
        let dark = Rgba { red: 20, green: 20, blue: 20, alpha: 255 };
        assert!(look.faint(dark).alpha < 200, "what cannot be read at all is dimmed as ever");
    }
}
