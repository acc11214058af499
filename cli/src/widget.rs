// SPDX-License-Identifier: GPL-3.0-or-later
//! Command-line options of `leco-sdl-widget`.

use clap::Parser;

use crate::frontend::{Checks, Input};

/// Shows network connections on the desktop, as lines that appear, are updated, and fade.
///
/// Events come through a fifo from leco-event-pipe; rules in the config rename, hide and group lines.
#[derive(Debug, Parser)]
#[command(name = "leco-sdl-widget", version)]
pub struct Cli {
    /// What is shown, and where it is from.
    #[command(flatten)]
    pub input: Input,
    /// What is printed instead of shown.
    #[command(flatten)]
    pub checks: Checks,
}
