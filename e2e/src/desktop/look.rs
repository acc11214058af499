// SPDX-License-Identifier: GPL-3.0-or-later
//! What tests of the overlay look for, on whatever desktop.

use std::time::{Duration, Instant};

use leco_core::fade::{Curve, Fade, Points, SplineKind};
use leco_os::clock::boot_ns;
use serde_json::json;

use super::{Compositor, Overlay, Picture, Rgb, XServer, dejavu, screenshot_path};

/// What a person looks at.
pub trait Screen {
    /// What is on it now.
    fn screenshot(&self) -> Picture;
}

impl Screen for XServer {
    fn screenshot(&self) -> Picture {
        Self::screenshot(self)
    }
}

impl Screen for Compositor {
    fn screenshot(&self) -> Picture {
        Self::screenshot(self)
    }
}

/// A config with which nothing fades within a test, and nothing moves; and further lines for its sections.
///
/// # Panics
/// Without the font of the tests.
#[must_use]
pub fn still_config(window: &str, text: &str) -> String {
    let font = dejavu();
    let text_colour = if window.contains("rgba-fg") { "" } else { "rgba-fg = fff\n" };
    format!(
        "[window]\n{text_colour}{window}\n[text]\nfont = {font}\neffects = none\nline-fade-time = 1h\nline-uid-chars = 0\n{text}\n"
    )
}

/// A colour of red, green, blue and alpha over another one.
#[must_use]
pub fn over(above: [u8; 4], below: Rgb) -> Rgb {
    let alpha = f64::from(above[3]) / 255.0;
    let mix = |above: u8, below: u8| f64::from(above) * alpha + f64::from(below) * (1.0 - alpha);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    [0, 1, 2].map(|channel| mix(above[channel], below[channel]).round() as u8)
}

/// Whether no channel differs by more.
#[must_use]
pub fn is_near(a: Rgb, b: Rgb, tolerance: u8) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= tolerance)
}

/// Waits for a screenshot that is as wanted; keeps it either way.
///
/// # Panics
/// When none is by the deadline.
pub fn wait_for_picture(
    screen: &dyn Screen,
    name: &str,
    mut is_wanted: impl FnMut(&Picture) -> bool,
) -> Picture {
    let start = Instant::now();
    loop {
        let picture = screen.screenshot();
        let done = is_wanted(&picture);
        if done || start.elapsed() > crate::DEADLINE {
            picture.save(&screenshot_path(name));
            assert!(done, "not as wanted: {}", screenshot_path(name).display());
            return picture;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asserts that a window of the usual place and size is over bands of these four colours as its background's
/// alpha says.
///
/// # Panics
/// When it is not by the deadline.
pub fn assert_background(screen: &dyn Screen, name: &str, background: [u8; 4], bands: [Rgb; 4]) {
    let wanted = |below| over(background, below);
    wait_for_picture(screen, name, |picture| {
        [(100, bands[0]), (300, bands[1]), (600, bands[2])].iter().all(|&(x, below)| {
            is_near(picture.at(x, 300), wanted(below), 1)
                && picture.at(x, 39) == below
                && is_near(picture.at(x, 40), wanted(below), 1)
                && is_near(picture.at(x, 439), wanted(below), 1)
                && picture.at(x, 440) == below
        }) && picture.at(19, 300) == bands[0]
            && is_near(picture.at(20, 300), wanted(bands[0]), 1)
            && is_near(picture.at(619, 300), wanted(bands[2]), 1)
            && picture.at(620, 300) == bands[2]
    });
}

/// Asserts that lines of five ages have the alpha that a curve gives them, for as long as so many screenshots
/// take. `start` starts the overlay with a config at a place where the screen is black, this far from the left.
///
/// # Panics
/// When they have not.
pub fn assert_fading(screen: &dyn Screen, name: &str, left: usize, start: impl Fn(&str) -> Overlay) {
    const CURVE: &str = "range=0:100 0,100 30,85 50,40 80,30 100,5";
    const FADE_TIME: Duration = Duration::from_secs(75);
    /// Sending, drawing and composing take a moment, too.
    const DELAY_NS: u64 = 100_000_000;
    let window = format!("rgba-bg = 00000000\ninit-offset-left = {left}\ninit-width = 230");
    let text = format!(
        "font-outline = none\nline-height = 30\nline-fade-curve = {CURVE}\nline-fade-time = {}\n",
        FADE_TIME.as_secs()
    );
    let mut overlay = start(&still_config(&window, &text));
    // The oldest first: so they come from a pipe, and so they stand.
    let ages = [60, 40, 25, 12, 0].map(Duration::from_secs);
    let sent = boot_ns();
    for age in ages {
        overlay.send(&format!("x :: {}", "\u{2588}".repeat(10)), age, &json!({}));
    }
    let brightest = |picture: &Picture, row: usize| {
        picture.part(left, 48 + 30 * row, 230, 30).pixels().map(|pixel| pixel[0]).max().unwrap_or(0)
    };
    let points = Points::parse(CURVE).unwrap_or_else(|error| panic!("{error}"));
    let fade = Fade::new(&Curve::new(&points, SplineKind::Cardinal), FADE_TIME);
    wait_for_picture(screen, name, |picture| brightest(picture, 4) > 0);
    for _ in 0..15 {
        let before = boot_ns();
        let picture = screen.screenshot();
        let after = boot_ns();
        for (row, age) in ages.into_iter().enumerate() {
            let age_at_sending = u64::try_from(age.as_nanos()).unwrap_or(0);
            let latest = fade.alpha((before - sent + age_at_sending).saturating_sub(DELAY_NS));
            let earliest = fade.alpha(after - sent + age_at_sending);
            let shown = brightest(&picture, row);
            let allowed = earliest.saturating_sub(2)..=latest.saturating_add(2);
            assert!(allowed.contains(&shown), "row {row}: {shown}, not {allowed:?}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
