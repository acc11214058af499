// SPDX-License-Identifier: GPL-3.0-or-later
//! Command-line options of `leco-sdl-widget`.

use std::path::PathBuf;

use clap::Parser;
use leco_core::matching::Filter;
use leco_core::source::SourceSpec;

/// Shows network connections on the desktop, as lines that appear, are updated, and fade.
///
/// Events come through a fifo from leco-event-pipe; rules in the config rename, hide and group lines.
#[derive(Parser)]
#[command(name = "leco-sdl-widget", version)]
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
    /// Show what the rules make of a line, and exit
    #[arg(short, long, value_name = "LINE", allow_hyphen_values = true, conflicts_with_all = ["debug", "check_config"])]
    pub(crate) rx_test: Option<String>,
    /// Report problems in the config, and exit: 1 if there are any
    #[arg(long, conflicts_with = "debug")]
    pub(crate) check_config: bool,
    /// Print raw events and what the rules make of them, as plain lines
    #[arg(short, long)]
    pub(crate) debug: bool,
}
