// SPDX-License-Identifier: GPL-3.0-or-later
//! Real display servers, each of a test's own: Xvfb with a compositor, sway and weston without a screen.

mod look;
mod overlay;
mod picture;
mod pointer;
mod session_bus;
mod wayland;
mod x;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use look::{Screen, assert_background, assert_fading, is_near, over, still_config, wait_for_picture};
pub use overlay::Overlay;
pub use picture::{Picture, Rgb};
pub use pointer::VirtualPointer;
pub use session_bus::SessionBus;
pub use wayland::{Compositor, SWAY_OUTPUT};
pub use x::{Below, XServer};

use crate::skip;

/// Whether programs are here; if not, says which is missing, and fails where nothing may be skipped.
///
/// # Panics
/// With `LECO_TEST_REQUIRE=all` instead of skipping.
#[must_use]
pub fn can_use(programs: &[&str]) -> bool {
    let folders: Vec<PathBuf> =
        std::env::var_os("PATH").map_or_else(Vec::new, |path| std::env::split_paths(&path).collect());
    let is_here = |program: &&&str| folders.iter().any(|folder| folder.join(program).exists());
    match programs.iter().find(|program| !is_here(program)) {
        None => true,
        Some(missing) => skip(&format!("there is no {missing}")),
    }
}

/// Where screenshots are kept, to be looked at after the test.
///
/// # Panics
/// When the folder cannot be made.
#[must_use]
pub fn screenshot_path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots");
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    folder.join(format!("{name}.png"))
}

/// A font whose glyphs do not change from machine to machine.
///
/// # Panics
/// When fontconfig does not know it.
#[must_use]
pub fn dejavu() -> String {
    let output = Command::new("fc-match").args(["--format=%{file}", "DejaVu Sans:style=Book"]).output();
    let file = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    assert!(file.ends_with("DejaVuSans.ttf"), "fonts-dejavu-core is missing: {file:?}");
    file
}
