// SPDX-License-Identifier: GPL-3.0-or-later
//! Pictures of premultiplied ARGB pixels, each a native `u32`, and how one is laid over another.

use leco_core::ini::Rgba;

/// A rectangle in pixels; empty where its width or height is not above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rect {
    /// From the left.
    pub x: i32,
    /// From the top.
    pub y: i32,
    /// To the right.
    pub width: i32,
    /// Down.
    pub height: i32,
}

impl Rect {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.width <= 0 || self.height <= 0
    }

    /// What both have in common.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        let x = self.x.max(other.x);
        let y = self.y.max(other.y);
        let right = (self.x.saturating_add(self.width)).min(other.x.saturating_add(other.width));
        let bottom = (self.y.saturating_add(self.height)).min(other.y.saturating_add(other.height));
        Self { x, y, width: (right - x).max(0), height: (bottom - y).max(0) }
    }

    /// The smallest one around both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return if self.is_empty() { other } else { self };
        }
        let x = self.x.min(other.x);
        let y = self.y.min(other.y);
        let right = (self.x + self.width).max(other.x + other.width);
        let bottom = (self.y + self.height).max(other.y + other.height);
        Self { x, y, width: right - x, height: bottom - y }
    }

    /// The same elsewhere.
    #[must_use]
    pub fn moved(self, x: i32, y: i32) -> Self {
        Self { x: self.x.saturating_add(x), y: self.y.saturating_add(y), ..self }
    }
}

/// Multiplies each channel by `factor / 255`, rounded to the nearest (Blinn, "Three Wrongs Make a Right",
/// 1995: exact for all products of two bytes), two channels at a time.
#[must_use]
pub fn scale(pixel: u32, factor: u32) -> u32 {
    const PAIR: u32 = 0x00ff_00ff;
    const HALF: u32 = 0x0080_0080;
    let scale_pair = |pair: u32| {
        let product = pair * factor + HALF;
        ((product + ((product >> 8) & PAIR)) >> 8) & PAIR
    };
    scale_pair(pixel & PAIR) | (scale_pair((pixel >> 8) & PAIR) << 8)
}

/// Lays a pixel over another (Porter and Duff's "over").
#[must_use]
pub fn over(above: u32, below: u32) -> u32 {
    above + scale(below, 255 - (above >> 24))
}

/// A colour as a pixel.
#[must_use]
pub fn premultiplied(rgba: Rgba) -> u32 {
    let opaque = u32::from_be_bytes([255, rgba.red, rgba.green, rgba.blue]);
    scale(opaque, rgba.alpha.into())
}

/// A picture.
#[derive(Debug, Clone, Default)]
pub struct Pixmap {
    width: usize,
    height: usize,
    pixels: Vec<u32>,
}

impl Pixmap {
    /// A transparent one.
    #[must_use]
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![0; width * height] }
    }

    /// Pixels from left to right.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels from top to bottom.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Its rows from top to bottom.
    pub fn rows(&self) -> impl Iterator<Item = &[u32]> {
        self.pixels.chunks_exact(self.width.max(1))
    }

    /// Its rows from top to bottom, to be changed.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u32]> {
        self.pixels.chunks_exact_mut(self.width.max(1))
    }

    /// All pixels, row by row.
    pub fn pixels_mut(&mut self) -> &mut [u32] {
        &mut self.pixels
    }

    /// All of it as a rectangle at the origin.
    #[must_use]
    pub fn bounds(&self) -> Rect {
        Rect { x: 0, y: 0, width: pixels(self.width), height: pixels(self.height) }
    }

    /// A smaller picture, each pixel of which is the mean of those that it stands for.
    #[must_use]
    pub fn shrunk_to(&self, width: usize, height: usize) -> Self {
        let mut small = Self::new(width.min(self.width), height.min(self.height));
        let (width, height) = (small.width, small.height);
        for y in 0..height {
            for x in 0..width {
                let span = |at: usize, of: usize, from: usize| at * from / of..((at + 1) * from).div_ceil(of);
                let (columns, lines) = (span(x, width, self.width), span(y, height, self.height));
                let mut sums = [0_u32; 4];
                let mut count = 0;
                for line in lines {
                    for pixel in &self.pixels[line * self.width..][columns.clone()] {
                        count += 1;
                        for (sum, channel) in sums.iter_mut().zip(pixel.to_be_bytes()) {
                            *sum += u32::from(channel);
                        }
                    }
                }
                small.pixels[y * width + x] = sums.iter().fold(0, |pixel, sum| (pixel << 8) | (sum / count));
            }
        }
        small
    }

    /// To be drawn on.
    pub fn canvas(&mut self) -> Canvas<'_> {
        Canvas { stride: self.width, width: self.width, height: self.height, pixels: &mut self.pixels }
    }
}

/// Adds an area to others; those that overlap become one, so that nothing is drawn twice.
pub fn join(areas: &mut Vec<Rect>, mut area: Rect) {
    if area.is_empty() {
        return;
    }
    while let Some(index) = areas.iter().position(|other| !other.intersection(area).is_empty()) {
        area = area.union(areas.swap_remove(index));
    }
    areas.push(area);
}

/// A count of pixels as a coordinate; one that is larger than any display is cut.
#[must_use]
pub fn pixels(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A coordinate as a count of pixels; one before the first is none.
#[must_use]
pub fn side(length: i32) -> usize {
    usize::try_from(length).unwrap_or(0)
}

/// Pixels of someone else's that are drawn on.
#[derive(Debug)]
pub struct Canvas<'p> {
    pixels: &'p mut [u32],
    width: usize,
    height: usize,
    stride: usize,
}

impl<'p> Canvas<'p> {
    /// Takes pixels whose rows begin `stride` pixels after each other; `None` where they are too few.
    #[must_use]
    pub fn new(pixels: &'p mut [u32], width: usize, height: usize, stride: usize) -> Option<Self> {
        let needed = stride.checked_mul(height)?;
        (width <= stride && pixels.len() >= needed).then_some(Self { pixels, width, height, stride })
    }

    /// All of it.
    #[must_use]
    pub fn bounds(&self) -> Rect {
        Rect { x: 0, y: 0, width: pixels(self.width), height: pixels(self.height) }
    }

    /// The part of each row that is in a rectangle, which must be within the bounds.
    fn rows(&mut self, area: Rect) -> impl Iterator<Item = &mut [u32]> {
        let [x, y, width, height] = [area.x, area.y, area.width, area.height].map(side);
        self.pixels
            .chunks_exact_mut(self.stride.max(1))
            .skip(y)
            .take(height)
            .map(move |row| &mut row[x..x + width])
    }

    /// Replaces what is in a rectangle by one pixel.
    pub fn fill(&mut self, area: Rect, pixel: u32) {
        for row in self.rows(area.intersection(self.bounds())) {
            row.fill(pixel);
        }
    }

    /// Lays one pixel over all that is in a rectangle.
    pub fn tint(&mut self, area: Rect, pixel: u32) {
        for below in self.rows(area.intersection(self.bounds())).flatten() {
            *below = over(pixel, *below);
        }
    }

    /// Lays a picture over the canvas with its upper left corner at `x`, `y`, at an opacity (0–255), where
    /// it is in the rectangle.
    pub fn draw(&mut self, picture: &Pixmap, x: i32, y: i32, alpha: u8, clip: Rect) {
        let area = picture.bounds().moved(x, y).intersection(clip).intersection(self.bounds());
        if area.is_empty() || alpha == 0 {
            return;
        }
        let [left, top, width] = [area.x - x, area.y - y, area.width].map(side);
        let factor = u32::from(alpha);
        for (row, above) in self.rows(area).zip(picture.rows().skip(top)) {
            for (below, &above) in row.iter_mut().zip(&above[left..left + width]) {
                *below = over(scale(above, factor), *below);
            }
        }
    }
}

/// One pixel for a whole background, and what is left of it below each opacity.
#[derive(Debug, Clone)]
pub struct Ground {
    pixel: u32,
    /// By the alpha of what lies over it.
    below: Box<[u32; 256]>,
}

impl Ground {
    /// Prepares a background.
    #[must_use]
    pub fn new(pixel: u32) -> Self {
        let mut below = Box::new([0; 256]);
        for (alpha, left) in (0..=255_u32).zip(below.iter_mut()) {
            *left = scale(pixel, 255 - alpha);
        }
        Self { pixel, below }
    }

    /// The pixel.
    #[must_use]
    pub fn pixel(&self) -> u32 {
        self.pixel
    }
}

impl Canvas<'_> {
    /// Replaces what is in a rectangle by a picture over a background, with its upper left corner at `x`, `y`
    /// and at an opacity (0–255). The same as [`Self::fill`] and then [`Self::draw`], in a third of the time.
    pub fn draw_on(&mut self, ground: &Ground, picture: &Pixmap, x: i32, y: i32, alpha: u8, area: Rect) {
        let area = area.intersection(self.bounds());
        let covered = picture.bounds().moved(x, y).intersection(area);
        if covered != area {
            self.fill(area, ground.pixel);
        }
        if covered.is_empty() {
            return;
        }
        let [left, top, width] = [covered.x - x, covered.y - y, covered.width].map(side);
        for (row, above) in self.rows(covered).zip(picture.rows().skip(top)) {
            scale_row(&above[left..left + width], row, alpha);
            for pixel in row {
                *pixel += ground.below[(*pixel >> 24) as usize];
            }
        }
    }
}

/// Writes pixels at an opacity; byte by byte, so that the compiler can do many at a time.
fn scale_row(from: &[u32], to: &mut [u32], alpha: u8) {
    let factor = u16::from(alpha);
    let (from, to): (&[u8], &mut [u8]) = (bytemuck::cast_slice(from), bytemuck::cast_slice_mut(to));
    for (to, from) in to.iter_mut().zip(from) {
        let product = u16::from(*from) * factor + 128;
        #[allow(clippy::cast_possible_truncation)]
        let rounded = ((product + (product >> 8)) >> 8) as u8;
        *to = rounded;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_is_exact_for_all_pairs_of_bytes() {
        for a in 0..=255_u32 {
            for b in 0..=255_u32 {
                let exact = (a * b * 2 + 255) / 510;
                assert_eq!(scale(a * 0x0101_0101, b), exact * 0x0101_0101, "{a} {b}");
            }
        }
    }

    #[test]
    fn laying_over_never_overflows_a_channel() {
        for alpha in 0..=255 {
            for channel in 0..=255 {
                let pixel = premultiplied(Rgba { red: channel, green: 255, blue: 0, alpha });
                for below in [0, u32::MAX, 0x80ff_ff80 & 0x8080_8080] {
                    let mixed = over(pixel, below);
                    assert!(mixed >> 24 >= (mixed >> 16) & 255 && mixed >> 24 >= (mixed >> 8) & 255);
                }
            }
        }
        assert_eq!(over(premultiplied(Rgba::BLACK), u32::MAX), 0xff00_0000);
    }

    #[test]
    fn drawing_stays_within_picture_clip_and_canvas() {
        let mut picture = Pixmap::new(4, 4);
        picture.pixels_mut().fill(u32::MAX);
        for (x, y) in [(-2, -2), (3, 3), (i32::MIN, 0), (i32::MAX, i32::MAX), (0, 0)] {
            let mut canvas = Pixmap::new(5, 5);
            let clip = Rect { x: 0, y: 0, width: 5, height: 4 };
            canvas.canvas().draw(&picture, x, y, 255, clip);
            let drawn = canvas.rows().flatten().filter(|pixel| **pixel != 0).count();
            let expected = picture.bounds().moved(x, y).intersection(clip);
            assert_eq!(i32::try_from(drawn).unwrap(), expected.width * expected.height, "{x} {y}");
        }
    }

    #[test]
    fn drawing_on_a_background_is_filling_and_drawing() {
        let mut picture = Pixmap::new(16, 16);
        for (index, pixel) in (0_u32..).zip(picture.pixels_mut()) {
            let shade = u8::try_from(index).unwrap();
            *pixel = premultiplied(Rgba { red: shade, green: 255, blue: 255 - shade, alpha: shade });
        }
        let ground = Ground::new(premultiplied(Rgba { red: 10, green: 200, blue: 30, alpha: 0x66 }));
        for alpha in [0, 1, 100, 254, 255] {
            for (x, y) in [(2, 2), (-3, 5), (30, 30)] {
                let (mut once, mut twice) = (Pixmap::new(20, 20), Pixmap::new(20, 20));
                let area = Rect { x: 1, y: 1, width: 18, height: 18 };
                once.canvas().draw_on(&ground, &picture, x, y, alpha, area);
                twice.canvas().fill(area, ground.pixel());
                twice.canvas().draw(&picture, x, y, alpha, area);
                assert!(once.rows().eq(twice.rows()), "{alpha} {x} {y}");
            }
        }
    }

    #[test]
    fn rectangles_meet_and_join() {
        let a = Rect { x: 0, y: 0, width: 10, height: 5 };
        let b = Rect { x: 5, y: 3, width: 10, height: 5 };
        assert_eq!(a.intersection(b), Rect { x: 5, y: 3, width: 5, height: 2 });
        assert_eq!(a.union(b), Rect { x: 0, y: 0, width: 15, height: 8 });
        assert!(a.intersection(b.moved(50, 0)).is_empty());
        assert_eq!(a.union(Rect::default()), a);
    }
}
