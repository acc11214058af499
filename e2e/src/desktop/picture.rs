// SPDX-License-Identifier: GPL-3.0-or-later
//! What is on a screen.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// A screenshot.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    pixels: Vec<Rgb>,
}

impl Picture {
    /// Made of pixels, row by row.
    ///
    /// # Panics
    /// When there are too few.
    #[must_use]
    pub fn new(width: usize, height: usize, pixels: Vec<Rgb>) -> Self {
        assert_eq!(pixels.len(), width * height);
        Self { width, height, pixels }
    }

    /// Reads a portable pixmap of 8 bits (`P6`).
    #[must_use]
    pub fn from_ppm(bytes: &[u8]) -> Option<Self> {
        let mut at = 0;
        let mut word = || {
            let start = at + bytes[at..].iter().position(|byte| !byte.is_ascii_whitespace())?;
            let end = start + bytes[start..].iter().position(u8::is_ascii_whitespace)?;
            at = end;
            Some(String::from_utf8_lossy(&bytes[start..end]).into_owned())
        };
        let words = [word()?, word()?, word()?, word()?];
        let (width, height) = (words[1].parse().ok()?, words[2].parse().ok()?);
        let pixels: Vec<Rgb> = bytes[at + 1..].as_chunks::<3>().0.to_vec();
        (words[0] == "P6" && words[3] == "255" && pixels.len() == width * height).then_some(Self {
            width,
            height,
            pixels,
        })
    }

    /// A pixel.
    #[must_use]
    pub fn at(&self, x: usize, y: usize) -> Rgb {
        self.pixels[y * self.width + x]
    }

    /// Rows of a part of it.
    #[must_use]
    pub fn part(&self, x: usize, y: usize, width: usize, height: usize) -> Self {
        let rows = (y..y + height).flat_map(|y| &self.pixels[y * self.width + x..][..width]);
        Self { width, height, pixels: rows.copied().collect() }
    }

    /// All pixels, row by row.
    pub fn pixels(&self) -> impl Iterator<Item = Rgb> {
        self.pixels.iter().copied()
    }

    /// Writes it as PNG.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn save(&self, path: &Path) {
        let side = |length: usize| u32::try_from(length).unwrap_or(0);
        let write = || -> anyhow::Result<()> {
            let file = BufWriter::new(File::create(path)?);
            let mut encoder = png::Encoder::new(file, side(self.width), side(self.height));
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_depth(png::BitDepth::Eight);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(self.pixels.as_flattened())?;
            Ok(writer.finish()?)
        };
        write().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
