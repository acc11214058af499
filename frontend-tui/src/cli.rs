// SPDX-License-Identifier: GPL-3.0-or-later
//! Command-line options of `leco-tui`: a field for each, so they are not split.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Parser};
use leco_core::config::{TerminalColours, TerminalTheme};
use leco_core::matching::Filter;
use leco_core::source::SourceSpec;
use leco_core::text::{parse_duration, parse_speed};

/// Shows network connections as lines that appear, are updated, and fade.
///
/// Events come through a fifo from leco-event-pipe; rules in the config rename, hide and group lines.
#[derive(Parser)]
#[allow(clippy::struct_excessive_bools)]
#[command(name = "leco-tui", version, group = ArgGroup::new("script").args(["once", "rx_test"]))]
pub(crate) struct Cli {
    /// Settings and rules [default: leco/widget.ini in the config directory, if it exists]
    pub(crate) config: Option<PathBuf>,
    /// Read events from here: fifo:PATH, unix:PATH, tcp:HOST:PORT, udp:ADDRESS:PORT, `file:PATH` or `-`;
    /// may be given several times. With ?owner=any after it, a path may belong to any user [default:
    /// leco.fifo in the runtime directory]
    #[arg(short, long, value_name = "SOURCE", allow_hyphen_values = true, value_parser = SourceSpec::parse, conflicts_with_all = ["rx_test", "check_config"])]
    pub(crate) source: Vec<SourceSpec>,
    /// The same as --source fifo:PATH
    #[arg(short, long, value_name = "PATH", conflicts_with_all = ["rx_test", "check_config"])]
    pub(crate) fifo: Option<PathBuf>,
    /// Show only lines that match this regex, written like the key of a rule
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true, value_parser = Filter::parse, conflicts_with_all = ["rx_test", "check_config"])]
    pub(crate) filter: Option<Filter>,
    /// Also append every event to this file, which must be new, empty or a recording
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "once", "debug", "rx_test", "check_config"])]
    pub(crate) record: Option<PathBuf>,
    /// Play a recording instead: space pauses, the arrow keys seek, + and - change the speed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source", "fifo", "rx_test", "check_config"])]
    pub(crate) replay: Option<PathBuf>,
    /// With --replay: speed factor [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_speed, requires = "replay", conflicts_with_all = ["once", "debug"])]
    pub(crate) speed: Option<f64>,
    /// Background of the terminal [default: theme of the config, which asks the terminal]
    #[arg(long, value_name = "auto|dark|light", value_parser = named(TerminalTheme::parse, TerminalTheme::NAMES), conflicts_with_all = ["once", "debug", "rx_test", "check_config"])]
    pub(crate) theme: Option<TerminalTheme>,
    /// Number of colours that the terminal has [default: colours of the config, which looks at COLORTERM
    /// and terminfo]
    #[arg(long, value_name = "auto|none|16|256|true", value_parser = named(TerminalColours::parse, TerminalColours::NAMES), conflicts_with_all = ["once", "debug", "rx_test", "check_config"])]
    pub(crate) colours: Option<TerminalColours>,
    /// Show what the rules make of a line, and exit
    #[arg(short, long, value_name = "LINE", allow_hyphen_values = true, conflicts_with_all = ["once", "debug", "check_config"])]
    pub(crate) rx_test: Option<String>,
    /// With --rx-test or --once: as JSON, for scripts
    #[arg(long, requires = "script")]
    pub(crate) json: bool,
    /// Report problems in the config, and exit: 1 if there are any
    #[arg(long, conflicts_with_all = ["once", "debug"])]
    pub(crate) check_config: bool,
    /// Print raw events and what the rules make of them, as plain lines
    #[arg(short, long, conflicts_with = "once")]
    pub(crate) debug: bool,
    /// Print the known lines, and exit
    #[arg(long)]
    pub(crate) once: bool,
    /// With --once: maximum time to wait for them
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_duration, requires = "once", conflicts_with = "replay")]
    pub(crate) wait: Duration,
}

/// Reads a value that has a name.
fn named<T: Clone + Send + Sync + 'static>(
    parse: fn(&str) -> Option<T>,
    names: &'static [&str],
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| parse(text).ok_or_else(|| format!("expected {}", names.join(", ")))
}
