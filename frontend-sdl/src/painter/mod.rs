// SPDX-License-Identifier: GPL-3.0-or-later
//! Rows of text on a picture that is kept, so that only what has changed is drawn and shown again. It knows no
//! window and reads no clock.

mod cells;
mod columns;
pub mod effects;
mod emoji;
mod fonts;
mod look;
pub mod pixels;
mod text;

use std::sync::Arc;
use std::time::Duration;

use leco_core::config::{Effect, LineColumns, Settings};
use leco_core::ini::Rgba;
use leco_core::model::overseer::{Frame, Row};
use leco_core::wire::tag::Tag;
use leco_os::clock::BootNs;

use self::columns::{Columns, Places, Widths};
use self::effects::{Stage, Way};
pub use self::fonts::FontError;
use self::fonts::Fonts;
use self::look::Look;
use self::pixels::{Canvas, Ground, Rect, join, pixels, premultiplied};
use self::text::{Ink, TextPicture};

/// While a line comes or goes, so often a frame is wanted; a display may be slower.
const ANIMATION_INTERVAL: Duration = Duration::from_millis(16);
/// The same of what only goes: nobody follows that with their eyes.
const GOING_INTERVAL: Duration = Duration::from_millis(33);
/// A line older than this at its first appearance is no news.
const NEWS: Duration = Duration::from_secs(1);
/// What is fainter than this vanishes without an effect: nobody would see it.
const FAINT: u8 = 8;

/// How many times faster a line leaves when another one waits for its place.
const HURRY: u32 = 2;
/// While all lines are fainter than this times [`GROUND_STEPS`], so is the ground.
const GROUND_STEP: u8 = 8;
const GROUND_STEPS: u8 = 8;

/// Draws frames of the model.
pub struct Painter {
    look: Look,
    fonts: Fonts,
    slots: Vec<Slot>,
    width: i32,
    height: i32,
    /// Nothing of what the canvas holds can be used.
    is_stale: bool,
    has_effects: bool,
    /// Where they are wanted.
    columns: Option<Columns>,
    ground: Ground,
    /// How much of the ground is there, 0-255: none where no line is.
    presence: u8,
    /// When it last took a frame.
    updated: BootNs,
}

/// A slot, what is in it and what was last drawn of it.
#[derive(Default)]
struct Slot {
    line: Option<Line>,
    leaving: Option<Leaving>,
    /// Where on the canvas it was drawn.
    drawn: Rect,
    is_dirty: bool,
}

impl Slot {
    /// The line where it is all there is to draw.
    fn plain_text(&self) -> Option<&Line> {
        let is_plain = |line: &&Line| line.came.is_none() && line.band.is_none();
        self.line.as_ref().filter(is_plain).filter(|_| self.leaving.is_none())
    }
}

/// A line as it is drawn.
struct Line {
    row: Row,
    picture: TextPicture,
    /// What its parts need, where they stand in columns.
    widths: Widths,
    /// Where these are drawn.
    places: Places,
    /// Its picture is not of what it says now.
    is_outdated: bool,
    band: Option<Rgba>,
    /// When it came, where it came with an effect that is not over.
    came: Option<BootNs>,
}

/// A line that goes.
struct Leaving {
    picture: TextPicture,
    alpha: u8,
    since: BootNs,
    /// Another line waits for its place.
    is_hurried: bool,
}

impl Leaving {
    /// How far its effect is.
    fn elapsed(&self, now: BootNs) -> Duration {
        let passed = Duration::from_nanos(now.saturating_sub(self.since));
        if self.is_hurried { passed * HURRY } else { passed }
    }

    /// When its effect is over.
    fn end(&self, effect: Effect) -> BootNs {
        let length = effects::duration(effect, Way::Going) / if self.is_hurried { HURRY } else { 1 };
        self.since.saturating_add(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Painter {
    /// Prepares for a window of this size in pixels, of which `factor` are one pixel of the config. Also
    /// tells what of the settings could not be used.
    pub fn new(
        settings: &Settings,
        width: i32,
        height: i32,
        factor: f32,
    ) -> Result<(Self, Option<String>), FontError> {
        let look = Look::new(settings, factor);
        let (fonts, notice) = Fonts::open(settings.text.font.as_deref(), look.font_height)?;
        let ground = Ground::new(look.background(0));
        let mut painter = Self {
            look,
            fonts,
            slots: Vec::new(),
            width,
            height,
            is_stale: true,
            has_effects: false,
            columns: (settings.text.columns == LineColumns::Auto).then(Columns::default),
            ground,
            presence: 0,
            updated: 0,
        };
        painter.slots.resize_with(painter.rows(), Slot::default);
        Ok((painter, notice))
    }

    /// The canvas is another one, on which nothing is drawn yet, and may have another size.
    pub fn fit(&mut self, width: i32, height: i32) {
        self.is_stale = true;
        if (width, height) != (self.width, self.height) {
            (self.width, self.height) = (width, height);
            // How much of a line fits has changed.
            self.slots.clear();
            self.slots.resize_with(self.rows(), Slot::default);
        }
    }

    /// Whether the background is drawn as opaque, for displays on which nothing can shine through. Tells
    /// whether that is a change.
    pub fn set_opaque(&mut self, is_opaque: bool) -> bool {
        let is_change = self.look.is_opaque != is_opaque;
        self.is_stale |= is_change;
        self.look.is_opaque = is_opaque;
        is_change
    }

    /// Whether more contrast is asked for than the colours of the config have. Tells whether that is a change.
    pub fn set_high_contrast(&mut self, is_high_contrast: bool) -> bool {
        let is_change = self.look.is_high_contrast != is_high_contrast;
        if is_change {
            self.look.is_high_contrast = is_high_contrast;
            self.is_stale = true;
            for line in self.slots.iter_mut().filter_map(|slot| slot.line.as_mut()) {
                line.is_outdated = true;
            }
        }
        is_change
    }

    /// Whether lines come and go with their effects.
    pub fn set_effects(&mut self, has_effects: bool) {
        self.has_effects = has_effects;
    }

    /// Slots that fit.
    #[must_use]
    pub fn rows(&self) -> usize {
        let room = self.height - 2 * self.look.pad_y;
        usize::try_from(room / self.look.step).unwrap_or(0)
    }

    /// Time until the next step of an effect, if one is not over.
    #[must_use]
    pub fn next_step(&self, now: BootNs) -> Option<Duration> {
        let since = Duration::from_nanos(now.saturating_sub(self.updated));
        let are_moving = self.columns.as_ref().is_some_and(Columns::is_moving);
        let columns = are_moving.then(|| ANIMATION_INTERVAL.saturating_sub(since));
        let slots = self.slots.iter().filter_map(|slot| {
            let going = slot.leaving.as_ref().map(|_| GOING_INTERVAL.saturating_sub(since));
            let came = slot.line.as_ref().and_then(|line| line.came);
            let coming = came.map(|came| {
                let begins = Duration::from_nanos(came.saturating_sub(now));
                begins.max(ANIMATION_INTERVAL.saturating_sub(since))
            });
            going.into_iter().chain(coming).min()
        });
        slots.chain(columns).min()
    }

    /// Takes a frame of the model.
    pub fn update(&mut self, frame: &Frame, now: BootNs) {
        self.updated = now;
        for index in 0..self.slots.len() {
            let row = frame.rows.get(index).and_then(Option::as_ref).filter(|row| row.alpha > 0);
            let mut slot = std::mem::take(&mut self.slots[index]);
            self.update_slot(&mut slot, row, now);
            self.slots[index] = slot;
        }
        self.update_columns(now);
        self.draw_lines();
        self.update_presence();
    }

    /// Brings the columns in line with what stands in them.
    fn update_columns(&mut self, now: BootNs) {
        let Some(columns) = &mut self.columns else { return };
        let widths = self.slots.iter().filter_map(|slot| Some(slot.line.as_ref()?.widths));
        let room = self.width - 2 * self.look.pad_x;
        if columns.update(widths, room, self.fonts.height(), self.has_effects, now) {
            for line in self.slots.iter_mut().filter_map(|slot| slot.line.as_mut()) {
                line.is_outdated |= columns.places().of(&line.widths) != line.places;
            }
        }
    }

    /// Draws the lines that say something else than before, or stand elsewhere.
    fn draw_lines(&mut self) {
        for slot in &mut self.slots {
            let Some(line) = slot.line.as_mut().filter(|line| line.is_outdated) else { continue };
            line.is_outdated = false;
            slot.is_dirty = true;
            let (look, row) = (&self.look, &line.row);
            let fg = look.text_rgba(row);
            let ink = Ink {
                fg,
                faint: look.faint(fg),
                tag: look.tag_rgb(row.tag.rgb),
                first_ever: row.is_first_ever.then(|| look.new_rgba()),
                is_bold: row.style.is_bold == Some(true),
                outline: row.style.outline.map(|outline| look.scaled(outline)).or(look.outline),
                shadows: &look.shadows,
            };
            let width = self.width - 2 * look.pad_x;
            let places = self.columns.as_ref().map(Columns::places);
            line.places = places.map_or_else(Places::default, |places| places.of(&line.widths));
            line.picture = text::draw(&mut self.fonts, &row.tag.text, &row.text, &ink, width, places);
        }
    }

    /// The ground goes with the last line, in few steps: each draws the whole window.
    fn update_presence(&mut self) {
        let lines = self.slots.iter().filter_map(|slot| Some(slot.line.as_ref()?.row.alpha));
        let going = self.slots.iter().filter_map(|slot| Some(slot.leaving.as_ref()?.alpha));
        let most = lines.chain(going).max().unwrap_or(0);
        // The faintest line has the whole contrast that it can have.
        let is_whole = most > 0 && self.look.is_high_contrast;
        let step = if is_whole { GROUND_STEPS } else { most.div_ceil(GROUND_STEP).min(GROUND_STEPS) };
        let presence = u8::try_from(255 * u32::from(step) / u32::from(GROUND_STEPS)).unwrap_or(u8::MAX);
        self.is_stale |= presence != self.presence;
        self.presence = presence;
    }

    fn update_slot(&mut self, slot: &mut Slot, row: Option<&Row>, now: BootNs) {
        let is_same = match (&slot.line, row) {
            (Some(line), Some(row)) => line.row.id == row.id,
            (None, None) => true,
            _ => false,
        };
        let mut came = (!is_same && row.is_some_and(|row| row.age < NEWS)).then_some(now);
        if !is_same {
            // In a burst there is no time for effects.
            let is_burst = slot.line.as_ref().is_some_and(|line| line.came.is_some_and(|came| came <= now));
            self.take_line_away(slot, now);
            if row.is_some() {
                let after = self.coming_after(slot, now);
                let has_effect = self.has_effects && self.look.effect_new != Effect::None;
                came = after.or(came.filter(|_| has_effect && !is_burst));
            }
        }
        if let Some(row) = row {
            self.put_line(slot, row, came);
        }
        self.end_effects(slot, now);
    }

    /// Lets the line of a slot go.
    fn take_line_away(&self, slot: &mut Slot, now: BootNs) {
        slot.is_dirty = true;
        let Some(gone) = slot.line.take().filter(|_| self.has_effects) else { return };
        let is_still_coming = gone.came.is_some();
        if self.look.effect_gone == Effect::None || gone.row.alpha < FAINT || is_still_coming {
            return;
        }
        let Line { picture, row, .. } = gone;
        slot.leaving = Some(Leaving { picture, alpha: row.alpha, since: now, is_hurried: false });
    }

    /// When a line begins to come into a slot whose former line goes or was still coming; none for at once.
    fn coming_after(&self, slot: &mut Slot, now: BootNs) -> Option<BootNs> {
        let leaving = slot.leaving.as_mut()?;
        leaving.is_hurried = true;
        Some(leaving.end(self.look.effect_gone)).filter(|end| *end > now)
    }

    /// Puts a line into a slot that is empty or has an earlier state of it; with when it came, where that is news.
    fn put_line(&mut self, slot: &mut Slot, row: &Row, came: Option<BootNs>) {
        if let Some(line) = slot.line.as_mut().filter(|line| looks_alike(&line.row, row)) {
            slot.is_dirty |= line.row.alpha != row.alpha;
            line.row.alpha = row.alpha;
            return;
        }
        let came = slot.line.take().map_or(came, |line| line.came);
        slot.is_dirty = true;
        slot.line = Some(self.new_line(row, came));
    }

    /// Ends effects whose time is over; what has one is drawn again.
    fn end_effects(&self, slot: &mut Slot, now: BootNs) {
        if let Some(line) = &mut slot.line
            && let Some(came) = line.came
        {
            slot.is_dirty = true;
            let length = effects::duration(self.look.effect_new, Way::Coming);
            let has_ended = now >= came && Duration::from_nanos(now - came) >= length;
            line.came = (!has_ended).then_some(came);
        }
        if let Some(leaving) = &slot.leaving {
            slot.is_dirty = true;
            if now >= leaving.end(self.look.effect_gone) {
                slot.leaving = None;
            }
        }
    }

    /// A line of which nothing is drawn yet.
    fn new_line(&mut self, row: &Row, came: Option<BootNs>) -> Line {
        let widths = if self.columns.is_some() {
            let is_bold = row.style.is_bold == Some(true);
            cells::measure(&mut self.fonts, &row.tag.text, &row.text, row.is_first_ever, is_bold)
        } else {
            Widths::default()
        };
        let picture = TextPicture::default();
        Line {
            row: row.clone(),
            picture,
            widths,
            places: Places::default(),
            is_outdated: true,
            band: row.style.bg,
            came,
        }
    }

    /// Draws what has changed, and what else the canvas does not hold; returns where something has changed.
    pub fn paint(&mut self, canvas: &mut Canvas<'_>, stale: &[Rect], now: BootNs) -> Vec<Rect> {
        let is_stale = std::mem::take(&mut self.is_stale);
        let mut damage = if is_stale { vec![canvas.bounds()] } else { Vec::new() };
        for index in 0..self.slots.len() {
            if std::mem::take(&mut self.slots[index].is_dirty) || is_stale {
                let area = self.extent(index, now).intersection(canvas.bounds());
                let drawn = std::mem::replace(&mut self.slots[index].drawn, area);
                join(&mut damage, drawn.union(area).intersection(canvas.bounds()));
            }
        }
        if damage.is_empty() {
            return damage;
        }
        let background = self.look.background(self.presence);
        if self.ground.pixel() != background {
            self.ground = Ground::new(background);
        }
        let mut areas = damage.clone();
        for area in stale {
            join(&mut areas, area.intersection(canvas.bounds()));
        }
        for area in areas {
            self.paint_area(canvas, area, now);
        }
        damage
    }

    fn paint_area(&self, canvas: &mut Canvas<'_>, area: Rect, now: BootNs) {
        let is_here = |slot: &&Slot| !slot.drawn.intersection(area).is_empty();
        let mut here = self.slots.iter().enumerate().filter(|(_, slot)| is_here(slot));
        // Most often one line has faded a little.
        if let (Some((index, slot)), None) = (here.next(), here.next())
            && let Some(text) = slot.plain_text()
        {
            let (x, y) = self.origin(index);
            let picture = &text.picture.picture;
            canvas.draw_on(
                &self.ground,
                picture,
                x + text.picture.x,
                y + text.picture.y,
                text.row.alpha,
                area,
            );
            return;
        }
        canvas.fill(area, self.ground.pixel());
        for (index, _) in self.slots.iter().enumerate().filter(|(_, slot)| is_here(slot)) {
            self.draw_slot(index, canvas, area, now);
        }
    }

    /// Where the text of a slot begins.
    fn origin(&self, index: usize) -> (i32, i32) {
        let centred = (self.look.step - self.fonts.height()).div_euclid(2);
        (self.look.pad_x, self.look.pad_y + pixels(index) * self.look.step + centred)
    }

    /// The band across the window that is a slot's own.
    fn band(&self, index: usize) -> Rect {
        Rect {
            x: 0,
            y: self.look.pad_y + pixels(index) * self.look.step,
            width: self.width,
            height: self.look.step,
        }
    }

    /// Where a slot is drawn now.
    fn extent(&self, index: usize, now: BootNs) -> Rect {
        let slot = &self.slots[index];
        let (x, y) = self.origin(index);
        let place = |text: &TextPicture, stage: Stage| {
            let reach = if stage.haze > 0 || stage.shine > 0.0 { pixels(self.reach()) } else { 0 };
            let bounds = text.picture.bounds();
            if bounds.is_empty() {
                return bounds;
            }
            let around = Rect {
                x: -reach,
                y: -reach,
                width: bounds.width + 2 * reach,
                height: bounds.height + 2 * reach,
            };
            around.moved(x + text.x + stage.shift, y + text.y)
        };
        let mut area = Rect::default();
        if let Some(leaving) = &slot.leaving {
            area = area.union(place(&leaving.picture, self.stage_of_leaving(leaving, now)));
        }
        if let Some(line) = &slot.line {
            area = area.union(place(&line.picture, self.stage_of_line(line, now)));
            if line.band.is_some() {
                area = area.union(self.band(index));
            }
        }
        area
    }

    fn reach(&self) -> usize {
        effects::reach(self.look.factor)
    }

    fn stage_of_line(&self, line: &Line, now: BootNs) -> Stage {
        if line.came.is_some_and(|came| came > now) {
            return Stage { opacity: 0.0, ..Stage::PLAIN };
        }
        line.came
            .and_then(|came| {
                let elapsed = Duration::from_nanos(now.saturating_sub(came));
                effects::stage(self.look.effect_new, Way::Coming, elapsed, self.look.factor)
            })
            .unwrap_or(Stage::PLAIN)
    }

    fn stage_of_leaving(&self, leaving: &Leaving, now: BootNs) -> Stage {
        effects::stage(self.look.effect_gone, Way::Going, leaving.elapsed(now), self.look.factor)
            .unwrap_or(Stage { opacity: 0.0, ..Stage::PLAIN })
    }

    fn draw_slot(&self, index: usize, canvas: &mut Canvas<'_>, clip: Rect, now: BootNs) {
        let slot = &self.slots[index];
        if let Some(leaving) = &slot.leaving {
            let stage = self.stage_of_leaving(leaving, now);
            self.draw_text(index, &leaving.picture, leaving.alpha, stage, canvas, clip);
        }
        if let Some(line) = &slot.line {
            let stage = self.stage_of_line(line, now);
            if let Some(band) = line.band {
                let alpha = effects::dimmed(line.row.alpha, stage.opacity);
                let pixel = pixels::scale(premultiplied(band), alpha.into());
                canvas.tint(self.band(index).intersection(clip), pixel);
            }
            self.draw_text(index, &line.picture, line.row.alpha, stage, canvas, clip);
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn draw_text(
        &self,
        index: usize,
        text: &TextPicture,
        alpha: u8,
        stage: Stage,
        canvas: &mut Canvas<'_>,
        clip: Rect,
    ) {
        let (x, y) = self.origin(index);
        let (x, y) = (x + text.x + stage.shift, y + text.y);
        let alpha = effects::dimmed(alpha, stage.opacity);
        let reach = self.reach();
        let around = pixels(reach);
        if stage.haze > 0 {
            let hazy = effects::blurred(&text.picture, stage.haze.min(reach / 2), reach);
            canvas.draw(&hazy, x - around, y - around, alpha, clip);
        } else if stage.shine > 0.0 {
            let shining = effects::shining(&text.picture, stage.shine, reach / 2, reach);
            canvas.draw(&shining, x - around, y - around, alpha, clip);
        } else {
            canvas.draw(&text.picture, x, y, alpha, clip);
        }
    }
}

/// Whether two rows have the same picture.
fn looks_alike(a: &Row, b: &Row) -> bool {
    let same_tag = |a: &Arc<Tag>, b: &Arc<Tag>| Arc::ptr_eq(a, b) || a == b;
    a.id == b.id
        && a.text == b.text
        && same_tag(&a.tag, &b.tag)
        && a.style == b.style
        && a.state == b.state
        && a.is_first_ever == b.is_first_ever
}
