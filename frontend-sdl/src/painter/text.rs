// SPDX-License-Identifier: GPL-3.0-or-later
//! A line of text as a picture: tag, parts in their colours, outline and shadows.

use std::borrow::Cow;
use std::ops::Range;

use leco_core::ini::{Rgba, contrast};
use leco_core::style::Outline;
use leco_core::text::{Cells, Part, SEPARATOR};
use unicode_bidi::{BidiInfo, Level};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthChar;

use super::cells::lay_out_cells;
use super::columns::Places;
use super::fonts::Fonts;
use super::pixels::{Canvas, Pixmap, Rect, pixels, premultiplied, scale, side};

/// Before what was never seen before.
pub(super) const MARK: &str = "+";
const ELLIPSIS: &str = "…";
/// However wide a window is, no more of a line is looked at. Characters.
const MAX_CHARACTERS: usize = 4096;
/// Of the characters without a width that follow each other, such as accents, so many are drawn.
const MAX_MARKS: usize = 3;
/// Space between tag and text, in parts of the font's height.
const TAG_GAP: f32 = 0.45;

/// A shadow in whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shadow {
    /// To the right.
    pub(crate) x: i32,
    /// Down.
    pub(crate) y: i32,
    /// Colour.
    pub(crate) rgba: Rgba,
}

/// How a line is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ink<'a> {
    /// Text.
    pub(crate) fg: Rgba,
    /// What only completes a line.
    pub(crate) faint: Rgba,
    /// Tag.
    pub(crate) tag: [u8; 3],
    /// What a line never seen before is marked with.
    pub(crate) first_ever: Option<Rgba>,
    /// Its weight.
    pub(crate) is_bold: bool,
    /// Around the glyphs.
    pub(crate) outline: Option<Outline>,
    /// Behind everything, in the order in which they are drawn.
    pub(crate) shadows: &'a [Shadow],
}

/// A line, drawn.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextPicture {
    /// Its pixels.
    pub(crate) picture: Pixmap,
    /// Where the picture begins, seen from where the text does.
    pub(crate) x: i32,
    /// See `x`; seen from the top of the font's height.
    pub(crate) y: i32,
}

/// Text of one colour, direction and face, and where it begins.
pub(super) struct Run<'l> {
    pub(super) text: &'l str,
    face: usize,
    x: i32,
    rgba: Rgba,
}

/// Draws a line that is at most `max_width` pixels wide, in columns where there are any; what does not fit ends in an
/// ellipsis.
pub(crate) fn draw(
    fonts: &mut Fonts,
    tag: &str,
    line: &str,
    ink: &Ink<'_>,
    max_width: i32,
    columns: Option<&Places>,
) -> TextPicture {
    let (tag, line) = (bounded(tag), bounded(line));
    fonts.set_bold(ink.is_bold);
    let outline = ink.outline.filter(|outline| outline.pixels > 0);
    #[allow(clippy::cast_possible_truncation)]
    let gap = (fonts.height() as f32 * TAG_GAP) as i32;

    let mut runs = Vec::new();
    let mut end = 0;
    let mut tag_box = None;
    let [red, green, blue] = ink.tag;
    let mut tag_rgba = Rgba { red, green, blue, alpha: 255 };
    if let Some(mark) = ink.first_ever {
        tag_box = Some(premultiplied(mark));
        let white = Rgba { red: 255, green: 255, blue: 255, alpha: 255 };
        let is_dark = contrast(white.rgb(), mark.rgb()) > contrast(Rgba::BLACK.rgb(), mark.rgb());
        tag_rgba = if is_dark { white } else { Rgba::BLACK };
    }
    let mut tag_width = 0;
    if !tag.is_empty() {
        end = lay_out(fonts, &tag, &[(0..tag.len(), tag_rgba)], 0, max_width, &mut runs);
        tag_width = end;
        end += gap;
    }
    if let Some(mark) = ink.first_ever {
        end = columns.map_or(end, |columns| columns.mark.x);
        end = lay_out(fonts, MARK, &[(0..MARK.len(), mark)], end, max_width, &mut runs) + gap;
    }
    end = columns.map_or(end, |columns| columns.flow);
    let flowing;
    let end = if let Some((columns, cells)) = columns.zip(Cells::of(&line)) {
        lay_out_cells(fonts, &cells, (ink.fg, ink.faint), columns, &mut runs).max(end)
    } else {
        flowing = shortened(fonts, &line, max_width - end);
        lay_out(fonts, &flowing, &colours(&flowing, (ink.fg, ink.faint)), end, max_width, &mut runs)
    };
    let tag_box = tag_box.map(|pixel| (Rect { x: 0, y: 0, width: tag_width, height: fonts.height() }, pixel));
    if let Some(outline) = outline {
        fonts.prepare(outline.pixels.into());
    }
    compose(fonts, &runs, end, ink, outline, tag_box)
}

/// A text without more characters, or more marks on one of them, than can be drawn.
pub(super) fn bounded(text: &str) -> String {
    let mut marks = 0;
    let mut characters = text.chars().take(MAX_CHARACTERS);
    let mut is_drawn = |character: char| {
        marks = if character.width() == Some(0) { marks + 1 } else { 0 };
        marks <= MAX_MARKS
    };
    characters.by_ref().filter(|character| *character != '\0' && is_drawn(*character)).collect()
}

/// A line that fits without its unit, user, time, this end or bytes, where it does not with them.
fn shortened<'l>(fonts: &mut Fonts, line: &'l str, room: i32) -> Cow<'l, str> {
    let Some(cells) = Cells::of(line).filter(|_| width(fonts, line) > room) else { return line.into() };
    let mut text = line.to_owned();
    for gone in 1..=5 {
        let kept = |rank: u8, part| if rank > gone { part } else { "" };
        let beside = |part: &str, unit: &str| [part, unit].join(if unit.is_empty() { "" } else { " " });
        let parts = [
            kept(3, cells.time).to_owned(),
            kept(2, cells.user).to_owned(),
            beside(cells.process, kept(1, cells.unit)),
            kept(4, cells.local).to_owned(),
            [cells.peer, cells.port, cells.state].concat(),
            kept(5, cells.traffic).to_owned(),
        ];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        text = parts.join(SEPARATOR);
        if width(fonts, &text) <= room {
            break;
        }
    }
    text.into()
}

/// The parts of a line, each with its colour.
fn colours(line: &str, (fg, faint): (Rgba, Rgba)) -> Vec<(Range<usize>, Rgba)> {
    let mut parts = Vec::new();
    let mut at = 0;
    let mut push = |length: usize, rgba: Rgba| {
        if length > 0 {
            parts.push((at..at + length, rgba));
            at += length;
        }
    };
    for (index, part) in line.split(SEPARATOR).enumerate() {
        if index > 0 {
            push(SEPARATOR.len(), faint);
        }
        let (text, rest) = Part::at(index).split(part);
        push(text.len(), fg);
        push(rest.len(), faint);
    }
    parts
}

/// Places the parts of a text, which cover it, one after the other from `x` on; returns where they end.
pub(super) fn lay_out<'l>(
    fonts: &mut Fonts,
    text: &'l str,
    parts: &[(Range<usize>, Rgba)],
    mut x: i32,
    max_width: i32,
    runs: &mut Vec<Run<'l>>,
) -> i32 {
    let (shown, cut) = fit(fonts, text, parts, max_width - x);
    let mut push = |fonts: &mut Fonts, text: &'l str, face: usize, rgba: Rgba| {
        let width = fonts.width(text, face);
        runs.push(Run { text, face, x, rgba });
        x += width;
    };
    let mut pieces = Vec::new();
    for (range, rgba) in parts {
        let part = &text[range.start.min(shown)..range.end.min(shown)];
        pieces.extend(pieces_of(part).into_iter().map(|(piece, is_rtl)| (piece, is_rtl, *rgba)));
    }
    for (piece, is_rtl, rgba) in pieces {
        let mut segments = fonts.segments(piece);
        if is_rtl {
            segments.reverse();
        }
        for segment in segments {
            push(fonts, &piece[segment.range], segment.face, rgba);
        }
    }
    if let Some(rgba) = cut {
        push(fonts, ELLIPSIS, 0, rgba);
    }
    x
}

pub(super) fn width(fonts: &mut Fonts, text: &str) -> i32 {
    let segments = fonts.segments(text);
    segments.into_iter().map(|segment| fonts.width(&text[segment.range], segment.face)).sum()
}

/// How many bytes of a text fit, and the colour of the ellipsis where these are not all.
fn fit(
    fonts: &mut Fonts,
    text: &str,
    parts: &[(Range<usize>, Rgba)],
    max_width: i32,
) -> (usize, Option<Rgba>) {
    let mut left = max_width;
    let ellipsis = fonts.width(ELLIPSIS, 0);
    // Where to cut, should a later part not fit.
    let mut cut = None;
    for (range, rgba) in parts {
        let part = &text[range.clone()];
        let needed = width(fonts, part);
        if cut.is_none() && needed > left - ellipsis {
            let ends: Vec<usize> =
                part.grapheme_indices(true).map(|(at, grapheme)| at + grapheme.len()).collect();
            let fitting = ends.partition_point(|&end| width(fonts, &part[..end]) <= left - ellipsis);
            let kept = fitting.checked_sub(1).map_or(0, |last| ends[last]);
            cut = Some((leco_core::text::cut(text, range.start + kept), Some(*rgba)));
        }
        if needed > left {
            return cut.filter(|_| ellipsis <= max_width).unwrap_or((0, None));
        }
        left -= needed;
    }
    (text.len(), None)
}

/// The pieces of a part that have one direction, from left to right, and whether each is read from right to
/// left (Unicode's UAX #9). Each part of a line is by itself: an address never changes places with a name.
fn pieces_of(part: &str) -> Vec<(&str, bool)> {
    if part.is_ascii() {
        return if part.is_empty() { Vec::new() } else { vec![(part, false)] };
    }
    let bidi = BidiInfo::new(part, Some(Level::ltr()));
    let mut pieces = Vec::new();
    for paragraph in &bidi.paragraphs {
        let (levels, runs) = bidi.visual_runs(paragraph, paragraph.range.clone());
        pieces.extend(runs.into_iter().map(|run| (&part[run.clone()], levels[run.start].is_rtl())));
    }
    pieces
}

/// How far a line's picture reaches over its text on each side.
fn overhang(outline: Option<Outline>, shadows: &[Shadow]) -> [i32; 4] {
    let around = outline.map_or(0, |outline| i32::from(outline.pixels));
    let reach = |side: fn(&Shadow) -> i32| shadows.iter().map(side).max().unwrap_or(0).max(around);
    [reach(|shadow| -shadow.x), reach(|shadow| -shadow.y), reach(|shadow| shadow.x), reach(|shadow| shadow.y)]
}

/// A run whose glyphs are drawn, and where they begin, seen from the top of the font's height.
struct Fill<'r> {
    run: &'r Run<'r>,
    picture: Pixmap,
    y: i32,
}

/// Lays everything of a line over each other: shadows, outline, the tag's box, glyphs.
fn compose(
    fonts: &mut Fonts,
    runs: &[Run<'_>],
    width: i32,
    ink: &Ink<'_>,
    outline: Option<Outline>,
    tag_box: Option<(Rect, u32)>,
) -> TextPicture {
    let [left, top, right, bottom] = overhang(outline, ink.shadows);
    let fills = filled(fonts, runs);
    // Some glyphs are higher than their font.
    let above = fills.iter().map(|fill| -fill.y).max().unwrap_or(0).max(0);
    let ends = fills.iter().map(|fill| fill.y + pixels(fill.picture.height()));
    let below = ends.max().map_or(0, |end| end - fonts.height()).max(0);
    let (top, bottom) = (top + above, bottom + below);
    let mut picture = Pixmap::new(side(width + left + right), side(fonts.height() + top + bottom));
    let clip = picture.bounds();
    let mut canvas = picture.canvas();
    for shadow in ink.shadows {
        let colour = premultiplied(shadow.rgba);
        for Fill { run, picture, y } in &fills {
            let shade = tinted(picture, colour);
            canvas.draw(&shade, left + run.x + shadow.x, top + y + shadow.y, run.rgba.alpha, clip);
        }
    }
    if let Some(outline) = outline {
        draw_outline(fonts, runs, outline, &mut canvas, (left, top));
    }
    if let Some((area, pixel)) = tag_box {
        canvas.fill(area.moved(left, top), pixel);
    }
    for Fill { run, picture, y } in &fills {
        canvas.draw(picture, left + run.x, top + y, run.rgba.alpha, clip);
    }
    trimmed(&picture, -left, -top)
}

/// The glyphs of each run that has some.
fn filled<'r>(fonts: &mut Fonts, runs: &'r [Run<'_>]) -> Vec<Fill<'r>> {
    let fill = |run: &'r Run<'_>| {
        let rgb = [run.rgba.red, run.rgba.green, run.rgba.blue];
        fonts.render(run.text, run.face, rgb, None).map(|(picture, y)| Fill { run, picture, y })
    };
    runs.iter().filter_map(fill).collect()
}

/// Draws the outline of each run on a canvas, on which the text begins at a place.
fn draw_outline(
    fonts: &mut Fonts,
    runs: &[Run<'_>],
    outline: Outline,
    canvas: &mut Canvas<'_>,
    (left, top): (i32, i32),
) {
    let (colour, pixels, clip) = (premultiplied(outline.rgba), i32::from(outline.pixels), canvas.bounds());
    for run in runs {
        let silhouette = fonts.render(run.text, run.face, [0; 3], Some(outline.pixels.into()));
        if let Some((silhouette, y)) = silhouette {
            let line = tinted(&silhouette, colour);
            // What is faint has a faint outline, but not so faint that it could not be read on white.
            let alpha = u8::midpoint(run.rgba.alpha, 255);
            canvas.draw(&line, left + run.x - pixels, top + y - pixels, alpha, clip);
        }
    }
}

/// A silhouette in another colour.
fn tinted(picture: &Pixmap, colour: u32) -> Pixmap {
    let mut tinted = picture.clone();
    for pixel in tinted.pixels_mut() {
        *pixel = scale(colour, *pixel >> 24);
    }
    tinted
}

/// A picture without the empty rows above and below, which would be laid over the canvas for nothing.
fn trimmed(picture: &Pixmap, x: i32, y: i32) -> TextPicture {
    let is_empty = |row: &[u32]| row.iter().all(|pixel| *pixel == 0);
    let first = picture.rows().position(|row| !is_empty(row));
    let Some(first) = first else { return TextPicture::default() };
    let end =
        picture.rows().enumerate().filter(|(_, row)| !is_empty(row)).last().map_or(0, |(last, _)| last + 1);
    let mut kept = Pixmap::new(picture.width(), end - first);
    for (to, from) in kept.rows_mut().zip(picture.rows().skip(first)) {
        to.copy_from_slice(from);
    }
    TextPicture { picture: kept, x, y: y + pixels(first) }
}
