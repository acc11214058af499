// SPDX-License-Identifier: GPL-3.0-or-later
//! The painter's pictures on the display: when they are drawn, and brought in line with its size.

use std::time::{Duration, Instant};

use leco_core::config::Settings;
use leco_core::model::overseer::{Frame, Overseer, Row};
use leco_core::model::traffic::Traffic;
use leco_core::style::LineStyle;
use leco_core::wire::event::ConnectionState;
use leco_core::wire::tag::Tag;
use leco_os::clock::{Now, boot_ns};
use leco_os::reclaim::give_back;

use crate::painter::Painter;
use crate::presenter::{Geometry, Presenter};
use crate::report::report;

/// A line is drawn anew when its opacity is off by more steps (of 1/255) than this, which nobody sees.
const ALPHA_TOLERANCE: u8 = 2;
/// After so many frames the memory that a start or a reload took is given back.
const START_FRAMES: u32 = 2;

/// A display and what is drawn on it.
pub(crate) struct Screen {
    presenter: Box<dyn Presenter>,
    /// None until there is something to draw on.
    painter: Option<Painter>,
    geometry: Option<Geometry>,
    /// Something came that is not on the screen yet.
    is_changed: bool,
    drawn: Option<Instant>,
    /// Frames until the memory of a start is given back: what drawing needs is in use by then.
    frames_of_start: u32,
}

impl Screen {
    pub(crate) fn new(presenter: Box<dyn Presenter>) -> Self {
        Self {
            presenter,
            painter: None,
            geometry: None,
            is_changed: true,
            drawn: None,
            frames_of_start: START_FRAMES,
        }
    }

    pub(crate) fn presenter(&self) -> &dyn Presenter {
        &*self.presenter
    }

    /// Takes what the display server has sent.
    pub(crate) fn dispatch(&mut self) -> anyhow::Result<()> {
        self.presenter.dispatch()
    }

    /// Says what the presenter has to say.
    pub(crate) fn report_notices(&mut self) {
        while let Some(notice) = self.presenter.take_notice() {
            report(notice);
        }
    }

    /// There is something to see that is not on the screen yet.
    pub(crate) fn set_changed(&mut self) {
        self.is_changed = true;
    }

    /// Brings the painter in line with the display, and with the contrast that is asked for.
    pub(crate) fn fit(&mut self, settings: &Settings, is_high_contrast: bool) -> anyhow::Result<()> {
        let geometry = self.presenter.geometry();
        if geometry != self.geometry {
            self.is_changed = true;
            if let Some(geometry) = geometry {
                let is_scaled =
                    self.geometry.is_none_or(|known| (known.factor - geometry.factor).abs() > f32::EPSILON);
                match &mut self.painter {
                    Some(painter) if !is_scaled => painter.fit(geometry.width, geometry.height),
                    _ => self.painter = Some(new_painter(settings, geometry)?),
                }
            }
            self.geometry = geometry;
        }
        if let Some(painter) = &mut self.painter {
            self.is_changed |= painter.set_opaque(self.presenter.is_opaque());
            self.is_changed |= painter.set_high_contrast(is_high_contrast);
        }
        Ok(())
    }

    /// Takes changed settings.
    pub(crate) fn configure(&mut self, settings: &Settings) -> anyhow::Result<()> {
        self.presenter.configure(&settings.window)?;
        self.geometry = self.presenter.geometry();
        if let Some(geometry) = self.geometry {
            match new_painter(settings, geometry) {
                Ok(painter) => self.painter = Some(painter),
                Err(error) => report(format_args!("{error:#}; keeping the previous font")),
            }
        }
        self.frames_of_start = START_FRAMES;
        self.is_changed = true;
        Ok(())
    }

    /// Whether there is anything new to see and the display takes it.
    pub(crate) fn is_due(&self, overseer: &Overseer) -> bool {
        self.time_to_frame(overseer) == Some(Duration::ZERO) && self.presenter.is_ready()
    }

    /// Draws what is to be seen now; before the first event, what is waited for.
    pub(crate) fn draw(
        &mut self,
        overseer: &mut Overseer,
        has_effects: bool,
        waiting: impl FnOnce() -> Option<String>,
    ) -> anyhow::Result<()> {
        let Some(painter) = &mut self.painter else { return Ok(()) };
        painter.set_effects(has_effects);
        let clocks = Now::read();
        let now = clocks.boot;
        overseer.keep_time(clocks);
        let frame = overseer.frame_within(now, painter.rows(), ALPHA_TOLERANCE);
        let notice = if frame.counts.received == 0 { waiting() } else { None };
        match notice {
            Some(notice) => painter.update(&one_line(&notice), now),
            None => painter.update(frame, now),
        }
        self.presenter.present(&mut |canvas, stale| painter.paint(canvas, stale, now))?;
        self.is_changed = false;
        self.drawn = Some(Instant::now());
        if self.frames_of_start > 0 {
            self.frames_of_start -= 1;
            if self.frames_of_start == 0 {
                give_back();
            }
        }
        Ok(())
    }

    /// Time until the next frame should be drawn; `None` while nothing changes.
    pub(crate) fn time_to_frame(&self, overseer: &Overseer) -> Option<Duration> {
        let painter = self.painter.as_ref()?;
        self.geometry?;
        let wanted = if self.is_changed {
            Some(Duration::ZERO)
        } else {
            let now = boot_ns();
            let fades = overseer.next_visible_change(now, ALPHA_TOLERANCE);
            fades.into_iter().chain(painter.next_step(now)).min()
        };
        let since = self.drawn.map_or(Duration::MAX, |drawn| drawn.elapsed());
        let most = overseer.settings().window.frames_per_second_max;
        wanted.map(|wanted| wanted.max(self.frame_interval(most).saturating_sub(since)))
    }

    /// Time from one frame to the next, where so many a second are allowed; 0: as many as the display shows.
    fn frame_interval(&self, most: f64) -> Duration {
        let display = self.presenter.frame_interval();
        if most > 0.0 { display.max(Duration::from_secs_f64(1.0 / most.max(1e-3))) } else { display }
    }
}

fn new_painter(settings: &Settings, geometry: Geometry) -> anyhow::Result<Painter> {
    let (painter, notice) = Painter::new(settings, geometry.width, geometry.height, geometry.factor)?;
    if let Some(notice) = notice {
        report(notice);
    }
    Ok(painter)
}

/// A frame that says something itself.
fn one_line(text: &str) -> Frame {
    let row = Row {
        id: (0, 0),
        text: leco_os::clean::clean(text).into(),
        tag: Tag { text: String::new(), rgb: [0; 3] }.into(),
        alpha: 255,
        state: ConnectionState::Ordinary,
        is_first_ever: false,
        is_closed: false,
        connections: 1,
        style: LineStyle::default(),
        age: Duration::MAX,
        traffic: Traffic::default(),
    };
    Frame { rows: vec![Some(row)], ..Frame::default() }
}
