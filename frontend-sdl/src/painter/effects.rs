// SPDX-License-Identifier: GPL-3.0-or-later
//! How lines come and go.

use std::time::Duration;

use leco_core::config::Effect;

use super::pixels::{Pixmap, over, scale};

/// A new line is at its place and full brightness after this.
const COMING: Duration = Duration::from_millis(150);
/// A line is gone after this.
const GOING: Duration = Duration::from_millis(300);
/// A shine lasts longer: the line itself is there at once.
const GLOWING: Duration = Duration::from_millis(600);
/// Pixels from which a line slides in, and to which it slides out, at scale 1.
const SLIDE: f32 = 12.0;
/// Radius of the haze and the shine in pixels at scale 1.
const BLUR: f32 = 5.0;

/// Whether a line comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is new.
    Coming,
    /// Its slot is taken, or it has ended.
    Going,
}

/// What an effect does to a line at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// Pixels to the right.
    pub shift: i32,
    /// Opacity beside that of the line, 0.0–1.0.
    pub opacity: f32,
    /// Radius of a haze in which the line is, in pixels.
    pub haze: usize,
    /// Strength of the shine around it, 0.0–1.0.
    pub shine: f32,
}

impl Stage {
    /// A line as it is.
    pub const PLAIN: Self = Self { shift: 0, opacity: 1.0, haze: 0, shine: 0.0 };
}

/// How long an effect takes.
#[must_use]
pub fn duration(effect: Effect, way: Way) -> Duration {
    match (effect, way) {
        (Effect::None, _) => Duration::ZERO,
        (Effect::Glow, Way::Coming) => GLOWING,
        (_, Way::Coming) => COMING,
        (_, Way::Going) => GOING,
    }
}

/// What an effect does after a time; `None` when it is over.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn stage(effect: Effect, way: Way, elapsed: Duration, factor: f32) -> Option<Stage> {
    let total = duration(effect, way);
    if elapsed >= total {
        return None;
    }
    let progress = elapsed.as_secs_f32() / total.as_secs_f32();
    // 1.0 is the line as it is. Quick at first, then gentle (a cubic ease-out).
    let there = match way {
        Way::Coming => 1.0 - (1.0 - progress).powi(3),
        Way::Going => (1.0 - progress).powi(3),
    };
    let away = 1.0 - there;
    let side = if way == Way::Coming { 1.0 } else { -1.0 };
    let plain = Stage { opacity: there, ..Stage::PLAIN };
    Some(match effect {
        Effect::None => return None,
        Effect::Slide => Stage { shift: (side * SLIDE * factor * away).round() as i32, ..plain },
        Effect::Blur => Stage { haze: (BLUR * factor * away).round() as usize, ..plain },
        Effect::Glow if way == Way::Coming => Stage { opacity: 1.0, shine: 1.0 - progress, ..plain },
        Effect::Glow => Stage { shine: there, ..plain },
    })
}

/// Pixels that a haze or a shine reaches over the picture on each side.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn reach(factor: f32) -> usize {
    (BLUR * factor).ceil() as usize * 2
}

/// A picture in a haze: blurred twice by a box of this radius (which comes near to a Gauss curve), and larger
/// by [`reach`] on each side.
#[must_use]
pub fn blurred(picture: &Pixmap, radius: usize, reach: usize) -> Pixmap {
    let mut from = Pixmap::new(picture.width() + 2 * reach, picture.height() + 2 * reach);
    for (to, row) in from.rows_mut().skip(reach).zip(picture.rows()) {
        to[reach..reach + row.len()].copy_from_slice(row);
    }
    for _ in 0..2 {
        from = transposed(&blurred_rows(&from, radius));
        from = transposed(&blurred_rows(&from, radius));
    }
    from
}

/// A picture with a shine of its own colours around it, larger by [`reach`] on each side.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn shining(picture: &Pixmap, strength: f32, radius: usize, reach: usize) -> Pixmap {
    let mut shine = blurred(picture, radius.max(1), reach);
    // A haze spreads the light of thin glyphs; so much more makes it bright again.
    let gain = (strength * 3.0 * 255.0) as u32;
    for pixel in shine.pixels_mut() {
        let brightest = (*pixel >> 24).max(1);
        let factor = gain.min(255 * 255 / brightest);
        let channels = pixel.to_be_bytes().map(|channel| u32::from(channel) * factor / 255);
        *pixel = channels.iter().fold(0, |pixel, channel| pixel << 8 | (*channel).min(255));
    }
    for (below, row) in shine.rows_mut().skip(reach).zip(picture.rows()) {
        for (below, above) in below[reach..].iter_mut().zip(row) {
            *below = over(*above, *below);
        }
    }
    shine
}

fn blurred_rows(picture: &Pixmap, radius: usize) -> Pixmap {
    let mut blurred = Pixmap::new(picture.width(), picture.height());
    let size = u32::try_from(2 * radius + 1).unwrap_or(u32::MAX);
    for (to, from) in blurred.rows_mut().zip(picture.rows()) {
        let mut sums = [0_u32; 4];
        let add = |sums: &mut [u32; 4], pixel: Option<&u32>, sign: bool| {
            let channels = pixel.map_or([0; 4], |pixel| pixel.to_be_bytes());
            for (sum, channel) in sums.iter_mut().zip(channels) {
                *sum = if sign { *sum + u32::from(channel) } else { *sum - u32::from(channel) };
            }
        };
        for pixel in from.iter().take(radius) {
            add(&mut sums, Some(pixel), true);
        }
        for (at, pixel) in to.iter_mut().enumerate() {
            add(&mut sums, from.get(at + radius), true);
            *pixel = sums.iter().fold(0, |pixel, sum| (pixel << 8) | (sum / size));
            add(&mut sums, at.checked_sub(radius).and_then(|before| from.get(before)), false);
        }
    }
    blurred
}

fn transposed(picture: &Pixmap) -> Pixmap {
    let mut turned = Pixmap::new(picture.height(), picture.width());
    let height = picture.height();
    let pixels = turned.pixels_mut();
    for (y, row) in picture.rows().enumerate() {
        for (x, pixel) in row.iter().enumerate() {
            pixels[x * height + y] = *pixel;
        }
    }
    turned
}

/// A picture at an opacity of 0.0–1.0 beside that of its line.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn dimmed(alpha: u8, opacity: f32) -> u8 {
    scale(alpha.into(), (opacity.clamp(0.0, 1.0) * 255.0).round() as u32) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFECTS: [Effect; 3] = [Effect::Slide, Effect::Glow, Effect::Blur];

    #[test]
    fn every_effect_ends_and_leads_to_the_line_as_it_is_or_away_from_it() {
        for effect in EFFECTS {
            for way in [Way::Coming, Way::Going] {
                let total = duration(effect, way);
                assert!(stage(effect, way, total, 1.0).is_none());
                let last = stage(effect, way, total.mul_f32(0.9999), 1.0).unwrap();
                let expected = if way == Way::Coming { 1.0 } else { 0.0 };
                assert!((last.opacity - expected).abs() < 0.01, "{effect:?} {way:?} {last:?}");
            }
        }
        assert!(stage(Effect::None, Way::Coming, Duration::ZERO, 1.0).is_none());
        let start = stage(Effect::Slide, Way::Coming, Duration::ZERO, 2.0).unwrap();
        assert_eq!((start.shift, start.opacity), (24, 0.0));
    }

    #[test]
    fn a_haze_spreads_light_and_adds_none() {
        let mut picture = Pixmap::new(9, 9);
        picture.pixels_mut()[40] = u32::MAX;
        let sum = |picture: &Pixmap| picture.rows().flatten().map(|pixel| pixel >> 24).sum::<u32>();
        let hazy = blurred(&picture, 1, 10);
        assert_eq!((hazy.width(), hazy.height()), (29, 29));
        assert!(sum(&hazy) <= 255 && sum(&hazy) > 150, "{}", sum(&hazy));
        let column = |x: usize| hazy.rows().nth(14).unwrap()[x] >> 24;
        assert!(column(14) < 64 && column(13) == column(15) && column(13) > 0 && column(10) == 0);
        let shine = shining(&picture, 1.0, 1, 10);
        assert_eq!(shine.rows().nth(14).unwrap()[14], u32::MAX);
        for pixel in shine.rows().flatten() {
            let [alpha, channels @ ..] = pixel.to_be_bytes();
            assert!(channels.iter().all(|channel| *channel <= alpha));
        }
    }
}
