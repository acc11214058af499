// SPDX-License-Identifier: GPL-3.0-or-later
//! What shows the painter's pixels: a window of an X server, a surface of a Wayland compositor.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use leco_core::config::WindowSettings;

use crate::painter::pixels::{Canvas, Rect};

/// What there is to draw on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Pixels of the display.
    pub width: i32,
    /// Pixels of the display.
    pub height: i32,
    /// Pixels of the display for one of the config.
    pub factor: f32,
    /// Changes whenever what was drawn before is lost.
    pub generation: u64,
}

/// Draws on a canvas that still holds what was drawn before, but for some areas, and says what is new since
/// the last call. Where nothing is, nothing is drawn.
pub type Paint<'p> = dyn FnMut(&mut Canvas<'_>, &[Rect]) -> Vec<Rect> + 'p;

/// A place on a display.
pub trait Presenter {
    /// What becomes readable when the display server has sent something.
    fn fds(&self) -> Vec<BorrowedFd<'_>>;

    /// Takes what the display server has sent, without waiting. An error is the end of the display.
    fn dispatch(&mut self) -> anyhow::Result<()>;

    /// What to draw on; `None` while there is nothing, as with all monitors unplugged.
    fn geometry(&self) -> Option<Geometry>;

    /// Whether the display takes a frame now; if not, [`Self::dispatch`] will have something to take when it
    /// does.
    fn is_ready(&self) -> bool;

    /// Shows what is painted.
    fn present(&mut self, paint: &mut Paint<'_>) -> anyhow::Result<()>;

    /// Time from one frame to the next at the display's rate.
    fn frame_interval(&self) -> Duration;

    /// Whether nothing can shine through the window, so that its background must be opaque.
    fn is_opaque(&self) -> bool;

    /// Takes changed settings.
    fn configure(&mut self, settings: &WindowSettings) -> anyhow::Result<()>;

    /// Whether a person closed the window.
    fn is_closed(&self) -> bool;

    /// What a person should be told, once.
    fn take_notice(&mut self) -> Option<String>;
}

/// What to tell of a monitor that is not there.
#[must_use]
pub fn no_monitor(settings: &WindowSettings, known: &[String]) -> String {
    let name = settings.monitor.as_deref().unwrap_or_default();
    format!("there is no monitor {name}, waiting for it (there are: {})", known.join(", "))
}

/// Frames per second where the display does not say.
pub const USUAL_RATE: f64 = 60.0;

/// Time between frames at a rate in frames per second.
#[must_use]
pub fn interval(rate: f64) -> Duration {
    let rate = if rate.is_finite() && rate >= 1.0 { rate } else { USUAL_RATE };
    Duration::from_secs_f64(1.0 / rate)
}
