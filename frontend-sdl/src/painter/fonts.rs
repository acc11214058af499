// SPDX-License-Identifier: GPL-3.0-or-later
//! Fonts: the one of the config or of the system, and others for characters that it lacks.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use leco_os::clean::clean_bytes;
use sdl3::pixels::Color;
use sdl3::ttf::{Font, FontStyle, Sdl3TtfContext};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthChar;

use super::emoji::EmojiFont;
use super::pixels::{Pixmap, pixels, scale, side};

/// Fonts are sought for so many blocks of characters at most, whatever names processes give themselves.
const MAX_SEARCHES: usize = 64;
/// So many fonts are opened at most beside the first.
const MAX_FALLBACKS: usize = 12;
/// Texts whose widths are kept: most parts of a line stay as they are when it is updated.
const MAX_WIDTHS: usize = 512;
/// Characters of a block, for which one search answers.
const BLOCK_BITS: u32 = 7;
/// Where fonts are on a system without fontconfig.
const FONT_FOLDERS: [&str; 3] = ["/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/X11/fonts"];
/// Of the fonts there, these are taken first.
const USUAL_FONTS: [&str; 4] =
    ["DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Cantarell-Regular.otf"];

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub enum FontError {
    /// No font at all.
    #[error("no font found: install one (such as fonts-dejavu-core), or name a file with [text] font =")]
    NoneFound,
    /// Fonts cannot be used at all.
    #[error("cannot start SDL_ttf: {0}")]
    Library(sdl3::Error),
    /// The system's own font cannot be read.
    #[error("cannot read the font {0}: {1}")]
    Unreadable(PathBuf, String),
}

/// Text in one face.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Bytes of the text.
    pub(crate) range: Range<usize>,
    /// Index of the face.
    pub(crate) face: usize,
}

/// What of a font is drawn: whether it is bold, and the width of an outline in pixels.
type Cut = (bool, u16);

/// A font file, open at the size of the lines.
struct Face {
    file: PathBuf,
    plain: Font<'static>,
    /// The same in other cuts; none where it could not be opened.
    others: Vec<(Cut, Option<Font<'static>>)>,
    /// Pixels from the top of a line to the top of this face, which puts both on one baseline.
    drop: i32,
    /// Where its glyphs are pictures of one size, which are drawn in another way.
    emoji: Option<EmojiFont>,
}

impl Face {
    /// The font of a cut, where there is one.
    fn cut(&self, cut: Cut) -> Option<&Font<'static>> {
        if cut == (false, 0) {
            return Some(&self.plain);
        }
        self.others.iter().find(|(known, _)| *known == cut)?.1.as_ref()
    }
}

/// The fonts in which lines are drawn: the first one, and those for characters that it lacks.
///
/// Each stretch of text is drawn in one face at a time. The fallback fonts of `SDL_ttf` 3.2 would put glyphs of
/// another face on another baseline, and leave bitmaps as large as they are.
pub(crate) struct Fonts {
    faces: Vec<Face>,
    searched: HashSet<u32>,
    /// Text is bold from now on.
    is_bold: bool,
    /// Pixels of the widest digit, plain and bold, once that was asked for.
    digit_widths: [i32; 2],
    /// Pixels of texts in the first face, plain and bold.
    widths: [HashMap<Box<str>, i32>; 2],
    /// Pixels.
    size: f32,
    ttf: Sdl3TtfContext,
}

impl Fonts {
    /// Opens the font of a file, else the system's sans, at a height in pixels. Also tells why the file
    /// could not be used.
    pub(crate) fn open(file: Option<&Path>, size: f32) -> Result<(Self, Option<String>), FontError> {
        let ttf = sdl3::ttf::init().map_err(FontError::Library)?;
        let mut fonts = Self {
            faces: Vec::new(),
            searched: HashSet::new(),
            is_bold: false,
            digit_widths: [0; 2],
            widths: Default::default(),
            size,
            ttf,
        };
        let mut notice = None;
        if let Some(file) = file {
            match fonts.add_face(file.to_owned()) {
                Ok(()) => return Ok((fonts, None)),
                Err(reason) => {
                    notice = Some(format!(
                        "cannot read the font {}: {reason}; the system's is used",
                        file.display()
                    ));
                }
            }
        }
        let file = match_font("sans").or_else(find_font).ok_or(FontError::NoneFound)?;
        fonts.add_face(file.clone()).map_err(|reason| FontError::Unreadable(file, reason))?;
        Ok((fonts, notice))
    }

    fn add_face(&mut self, file: PathBuf) -> Result<(), String> {
        let plain = load(&self.ttf, &file, self.size)?;
        // Bitmaps do not grow with the size that is asked for.
        let is_fixed = !self.faces.is_empty()
            && load(&self.ttf, &file, self.size * 2.0).is_ok_and(|larger| larger.height() == plain.height());
        let first = self.faces.first().map(|face| &face.plain);
        let emoji = first
            .filter(|first| is_fixed && plain.height() > first.height())
            .map(|first| EmojiFont::new(&file, side(first.height())));
        let drop = first.map_or(0, |first| first.ascent() - plain.ascent());
        self.faces.push(Face { file, plain, others: Vec::new(), drop, emoji });
        if self.is_bold {
            self.prepare(0);
        }
        Ok(())
    }

    /// Pixels from the highest to the lowest point of a line.
    #[must_use]
    pub(crate) fn height(&self) -> i32 {
        self.faces[0].plain.height()
    }

    /// Divides a text into stretches of one face; opens other fonts for what no face has so far.
    pub(crate) fn segments(&mut self, text: &str) -> Vec<Segment> {
        if text.is_ascii() {
            return vec![Segment { range: 0..text.len(), face: 0 }];
        }
        let mut segments: Vec<Segment> = Vec::new();
        for (at, grapheme) in text.grapheme_indices(true) {
            let face = self.face_of(grapheme);
            let end = at + grapheme.len();
            match segments.last_mut() {
                Some(last) if last.face == face => last.range.end = end,
                _ => segments.push(Segment { range: at..end, face }),
            }
        }
        segments
    }

    /// The first face that has a character with all that belongs to it.
    fn face_of(&mut self, grapheme: &str) -> usize {
        if grapheme.is_ascii() {
            return 0;
        }
        if let Some(face) = self.known_face_of(grapheme) {
            return face;
        }
        for needed in grapheme.chars().filter(|character| character.width() != Some(0)) {
            let block = u32::from(needed) >> BLOCK_BITS;
            if self.searched.len() < MAX_SEARCHES
                && self.faces.len() <= MAX_FALLBACKS
                && !self.faces.iter().any(|face| face.plain.find_glyph(needed).is_some())
                && self.searched.insert(block)
            {
                let found = match_font(&format!("sans:charset={:x}", u32::from(needed)));
                // fontconfig offers its best even where that lacks the character, too.
                if let Some(file) = found.filter(|file| self.faces.iter().all(|face| face.file != *file)) {
                    // A font that cannot be read leaves the character without a picture.
                    let _ = self.add_face(file);
                }
            }
        }
        let first = grapheme.chars().next();
        self.known_face_of(grapheme).unwrap_or_else(|| {
            let has_first = |face: &Face| first.is_some_and(|first| face.plain.find_glyph(first).is_some());
            self.faces.iter().position(has_first).unwrap_or(0)
        })
    }

    fn known_face_of(&self, grapheme: &str) -> Option<usize> {
        let wants_colour = grapheme.contains(EMOJI_PRESENTATION);
        let has_all = |face: &Face| {
            let mut characters = grapheme.chars().filter(|character| !is_joiner(*character));
            characters.all(|character| face.plain.find_glyph(character).is_some())
        };
        let coloured =
            || self.faces.iter().position(|face| wants_colour && face.emoji.is_some() && has_all(face));
        coloured().or_else(|| self.faces.iter().position(has_all))
    }

    /// Pixels that a text of one face is wide.
    #[must_use]
    pub(crate) fn width(&mut self, text: &str, face: usize) -> i32 {
        if text.is_empty() {
            return 0;
        }
        if face > 0 {
            return self.measured(text, face);
        }
        let weight = usize::from(self.is_bold);
        if let Some(width) = self.widths[weight].get(text) {
            return *width;
        }
        let width = self.measured(text, face);
        let known = &mut self.widths[weight];
        if known.len() >= MAX_WIDTHS {
            known.clear();
        }
        known.insert(text.into(), width);
        width
    }

    fn measured(&mut self, text: &str, face: usize) -> i32 {
        let face = &mut self.faces[face];
        if let Some(emoji) = &mut face.emoji {
            return pixels(width_of_pictures(emoji, text));
        }
        let font = face.cut((self.is_bold, 0)).unwrap_or(&face.plain);
        font.size_of(text).map_or(0, |(width, _)| i32::try_from(width).unwrap_or(i32::MAX))
    }

    /// Pixels of the widest digit.
    #[must_use]
    pub(crate) fn digit_width(&mut self) -> i32 {
        let weight = usize::from(self.is_bold);
        if self.digit_widths[weight] == 0 {
            let digits = (b'0'..=b'9').map(|digit| self.width(&char::from(digit).to_string(), 0));
            self.digit_widths[weight] = digits.max().unwrap_or(0);
        }
        self.digit_widths[weight]
    }

    /// Of which weight text is from now on.
    pub(crate) fn set_bold(&mut self, is_bold: bool) {
        self.is_bold = is_bold;
        if is_bold {
            self.prepare(0);
        }
    }

    /// Makes faces with an outline, which [`Self::render`] then can draw.
    pub(crate) fn prepare(&mut self, outline: u16) {
        let cut = (self.is_bold, outline);
        for face in &mut self.faces {
            if face.emoji.is_some() || cut == (false, 0) || face.others.iter().any(|(known, _)| *known == cut)
            {
                continue;
            }
            let font = load(&self.ttf, &face.file, self.size).ok().map(|mut font| {
                if self.is_bold {
                    font.set_style(FontStyle::BOLD);
                }
                font.set_outline_width(outline);
                font
            });
            face.others.push((cut, font));
        }
    }

    /// Draws a text of one direction and face in an opaque colour, or, widened by an outline, its whole
    /// silhouette, which then begins so many pixels further to the left and the top. Also tells how many
    /// pixels below the top of the line the picture begins.
    #[must_use]
    pub(crate) fn render(
        &mut self,
        text: &str,
        face: usize,
        rgb: [u8; 3],
        outline: Option<u16>,
    ) -> Option<(Pixmap, i32)> {
        let face = &mut self.faces[face];
        if let Some(emoji) = &mut face.emoji {
            // Pictures have their own edges.
            return if outline.is_none() { Some((side_by_side(emoji, text), 0)) } else { None };
        }
        let font = face.cut((self.is_bold, outline.unwrap_or(0)));
        let font = if outline.is_none() { font.unwrap_or(&face.plain) } else { font? };
        let surface = font.render(text).blended(Color::RGB(rgb[0], rgb[1], rgb[2])).ok()?;
        let [width, height, pitch] = [surface.width(), surface.height(), surface.pitch()]
            .map(|side| usize::try_from(side).unwrap_or(0));
        if width == 0 || pitch < width * 4 {
            return None;
        }
        let mut picture = Pixmap::new(width, height);
        surface.with_lock(|bytes| {
            for (row, bytes) in picture.rows_mut().zip(bytes.chunks(pitch)) {
                let (pixels, _) = bytes.as_chunks::<4>();
                for (pixel, bytes) in row.iter_mut().zip(pixels) {
                    let straight = u32::from_ne_bytes(*bytes);
                    *pixel = scale(straight | 0xff00_0000, straight >> 24);
                }
            }
        });
        let around = 2 * outline.map_or(0, i32::from);
        Some((picture, face.drop - overflow_above(&face.plain, text, pixels(height) - around)))
    }
}

/// How far the picture of a text reaches over the top of its font: `SDL_ttf` makes it higher for accents on
/// accents, and does not tell on which side. What single glyphs need is known; the rest is where the accents
/// are.
fn overflow_above(font: &Font<'static>, text: &str, height: i32) -> i32 {
    let overflow = height - font.height();
    if overflow <= 0 {
        return 0;
    }
    let (mut highest, mut lowest, mut above, mut below) = (0, 0, 0, 0);
    for character in text.chars() {
        let Some(glyph) = font.find_glyph_metrics(character) else { continue };
        highest = highest.max(glyph.maxy);
        lowest = lowest.min(glyph.miny);
        if character.width() == Some(0) {
            above += i32::from(glyph.maxy > 0);
            below += i32::from(glyph.maxy <= 0);
        }
    }
    let sure = (highest - font.ascent()).max(0);
    let rest = (overflow - sure - (font.descent() - lowest).max(0)).max(0);
    (sure + rest * above / (above + below).max(1)).min(overflow)
}

/// Asks for the picture of a character that is text otherwise (Unicode's UTS #51).
const EMOJI_PRESENTATION: char = '\u{fe0f}';

/// What joins characters or chooses between their pictures has no glyph of its own.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// Pixels that the pictures of a text are wide.
fn width_of_pictures(emoji: &mut EmojiFont, text: &str) -> usize {
    text.graphemes(true).map(|one| emoji.picture(one).map_or(0, Pixmap::width)).sum()
}

fn side_by_side(emoji: &mut EmojiFont, text: &str) -> Pixmap {
    let height = text.graphemes(true).find_map(|one| emoji.picture(one).map(Pixmap::height)).unwrap_or(0);
    let mut all = Pixmap::new(width_of_pictures(emoji, text), height);
    let clip = all.bounds();
    let mut x = 0;
    for grapheme in text.graphemes(true) {
        if let Some(picture) = emoji.picture(grapheme) {
            all.canvas().draw(picture, x, 0, 255, clip);
            x += pixels(picture.width());
        }
    }
    all
}

fn load(ttf: &Sdl3TtfContext, file: &Path, size: f32) -> Result<Font<'static>, String> {
    // The binding takes no other paths.
    if file.to_str().is_none_or(|path| path.contains('\0')) {
        return Err("its path is not UTF-8".into());
    }
    // SDL says no more than that it could not.
    std::fs::File::open(file).map_err(|error| error.to_string())?;
    ttf.load_font(file, size).map_err(|error| error.to_string())
}

/// The file of the font that fontconfig has for a pattern.
fn match_font(pattern: &str) -> Option<PathBuf> {
    let mut command = Command::new("fc-match");
    command.args(["--format=%{file}", pattern]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    let path = clean_bytes(&output.stdout).trim().to_owned();
    (!path.is_empty()).then(|| path.into())
}

/// Any font there is, the usual ones first.
fn find_font() -> Option<PathBuf> {
    let home = leco_os::environment::folder("HOME").map(|home| home.join(".local/share/fonts"));
    let mut folders: Vec<(PathBuf, u32)> =
        FONT_FOLDERS.iter().map(PathBuf::from).chain(home).map(|folder| (folder, 0)).collect();
    let mut best: Option<(usize, PathBuf)> = None;
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && depth < 4 {
                folders.push((path, depth + 1));
                continue;
            }
            let is_font = path.extension().is_some_and(|extension| extension == "ttf" || extension == "otf");
            let name = entry.file_name();
            let rank = USUAL_FONTS.iter().position(|usual| name == *usual).unwrap_or(USUAL_FONTS.len());
            if is_font && best.as_ref().is_none_or(|(known, _)| rank < *known) {
                best = Some((rank, path));
            }
        }
    }
    best.map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_font_that_cannot_be_read_is_named_and_the_systems_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let broken = folder.path().join("broken.ttf");
        std::fs::write(&broken, "no font").unwrap();
        for file in [broken, folder.path().join("missing.ttf"), folder.path().to_owned()] {
            let (fonts, notice) = Fonts::open(Some(&file), 14.0).unwrap();
            assert!(fonts.height() > 10);
            assert!(notice.unwrap().contains(&file.display().to_string()));
        }
    }

    #[test]
    fn there_is_a_font_without_fontconfig() {
        let file = find_font().unwrap();
        assert!(Fonts::open(Some(&file), 14.0).unwrap().1.is_none());
    }
}
