// SPDX-License-Identifier: GPL-3.0-or-later
//! Pictures of colour fonts that are PNG images (CBDT and sbix tables), which `FreeType` reads only where it was
//! built with libpng, and in one size only.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use png::Transformations;
use ttf_parser::{Face, RasterImageFormat};

use super::pixels::{Pixmap, scale};

/// Pictures that are kept; of more the older ones are read anew.
const MAX_KEPT: usize = 64;
/// A picture larger than this is no glyph: bytes of pixels.
const MAX_PICTURE_BYTES: usize = 4 << 20;

/// A font file of pictures, each made as high as a line of text.
pub(crate) struct EmojiFont {
    file: PathBuf,
    height: usize,
    kept: HashMap<char, Option<Pixmap>>,
}

impl EmojiFont {
    pub(crate) fn new(file: &Path, height: usize) -> Self {
        Self { file: file.to_owned(), height, kept: HashMap::new() }
    }

    /// The picture of a grapheme, which is that of its first character.
    pub(crate) fn picture(&mut self, grapheme: &str) -> Option<&Pixmap> {
        let character = grapheme.chars().next()?;
        if self.kept.len() >= MAX_KEPT && !self.kept.contains_key(&character) {
            self.kept.clear();
        }
        let Self { file, height, kept } = self;
        kept.entry(character).or_insert_with(|| read_picture(file, character, *height)).as_ref()
    }
}

/// The file is large and needed seldom: it is read for one picture and let go.
fn read_picture(file: &Path, character: char, height: usize) -> Option<Pixmap> {
    let bytes = std::fs::read(file).ok()?;
    let face = Face::parse(&bytes, 0).ok()?;
    let glyph = face.glyph_index(character)?;
    let image = face.glyph_raster_image(glyph, u16::try_from(height).unwrap_or(u16::MAX))?;
    if image.format != RasterImageFormat::PNG {
        return None;
    }
    let picture = decode(image.data)?;
    let width = (picture.width() * height).div_ceil(picture.height().max(1)).max(1);
    Some(picture.shrunk_to(width, height))
}

fn decode(data: &[u8]) -> Option<Pixmap> {
    let limits = png::Limits { bytes: MAX_PICTURE_BYTES };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(data), limits);
    decoder.set_transformations(Transformations::normalize_to_color8() | Transformations::ALPHA);
    let mut reader = decoder.read_info().ok()?;
    let mut buffer = vec![0; reader.output_buffer_size().filter(|size| *size <= MAX_PICTURE_BYTES)?];
    let info = reader.next_frame(&mut buffer).ok()?;
    let mut picture = Pixmap::new(usize::try_from(info.width).ok()?, usize::try_from(info.height).ok()?);
    let rgba = |bytes: &[u8]| match *bytes {
        [grey, alpha] => (u32::from_be_bytes([255, grey, grey, grey]), alpha),
        [red, green, blue, alpha] => (u32::from_be_bytes([255, red, green, blue]), alpha),
        _ => (0, 0),
    };
    for (pixel, bytes) in picture.pixels_mut().iter_mut().zip(buffer.chunks(info.color_type.samples())) {
        let (opaque, alpha) = rgba(bytes);
        *pixel = scale(opaque, alpha.into());
    }
    Some(picture)
}
