// SPDX-License-Identifier: GPL-3.0-or-later
//! Command-line options of `leco-tui`: a field for each, so they are not split.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Parser};
use leco_core::config::{TerminalColours, TerminalTheme};
use leco_core::text::{parse_duration, parse_speed};

use crate::frontend::{Checks, Input};

/// Shows network connections as lines that appear, are updated, and fade.
///
/// Events come through a fifo from leco-event-pipe; rules in the config rename, hide and group lines.
#[derive(Debug, Parser)]
#[command(name = "leco-tui", version, group = ArgGroup::new("script").args(["once", "rx_test"]))]
pub struct Cli {
    /// What is shown, and where it is from.
    #[command(flatten)]
    pub input: Input,
    /// Also append every event to this file, which must be new, empty or a recording
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "once", "debug", "rx_test", "check_config"])]
    pub record: Option<PathBuf>,
    /// Play a recording instead: space pauses, the arrow keys seek, + and - change the speed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source", "fifo", "rx_test", "check_config"])]
    pub replay: Option<PathBuf>,
    /// With --replay: speed factor [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_speed, requires = "replay", conflicts_with_all = ["once", "debug"])]
    pub speed: Option<f64>,
    /// Background of the terminal [default: theme of the config, which asks the terminal]
    #[arg(long, value_name = "auto|dark|light", value_parser = named(TerminalTheme::parse, TerminalTheme::NAMES), conflicts_with_all = ["once", "debug", "rx_test", "check_config"])]
    pub theme: Option<TerminalTheme>,
    /// Number of colours that the terminal has [default: colours of the config, which looks at COLORTERM
    /// and terminfo]
    #[arg(long, value_name = "auto|none|16|256|true", value_parser = named(TerminalColours::parse, TerminalColours::NAMES), conflicts_with_all = ["once", "debug", "rx_test", "check_config"])]
    pub colours: Option<TerminalColours>,
    /// What is printed instead of shown.
    #[command(flatten)]
    pub checks: Checks,
    /// Print the known lines, and exit
    #[arg(long, conflicts_with_all = ["rx_test", "check_config", "debug"])]
    pub once: bool,
    /// With --once: maximum time to wait for them
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_duration, requires = "once", conflicts_with = "replay")]
    pub wait: Duration,
    /// With --rx-test or --once: as JSON, for scripts
    #[arg(long, requires = "script")]
    pub json: bool,
}

/// Reads a value that has a name.
fn named<T: Clone + Send + Sync + 'static>(
    parse: fn(&str) -> Option<T>,
    names: &'static [&str],
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| parse(text).ok_or_else(|| format!("expected {}", names.join(", ")))
}
