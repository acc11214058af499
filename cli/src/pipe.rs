// SPDX-License-Identifier: GPL-3.0-or-later
//! Command-line options of `leco-event-pipe`: a field for each, so they are not split.

use std::path::PathBuf;

use clap::{ArgGroup, Parser};

use crate::frontend::filter_without_names;
use crate::history::{By, Moment, parse_moment};
use crate::modes::parse_fifo_mode;
use crate::tunables::{TUNABLES, Tunable};

const OUTPUTS: &str = "\
Outputs:
  fifo:PATH          a fifo, created if missing (mode=0600)
  unix:PATH          a socket for any number of readers (mode=0600, allow=USER,…)
  tcp:ADDRESS:PORT   the same over TCP; addresses beyond loopback need token-file=PATH
  udp:ADDRESS:PORT   a datagram for each event
  file:PATH          appended to, if new, empty or a recording
  metrics:PATH.prom  counters for Prometheus, in a file for its node_exporter (every=15s)
  fd:NAME            a listening socket passed by the service manager
  -                  standard output
Options follow a ? and are joined by &: filter=FILTER (as in leco-tui(1), without @NAME),
share=I/N (of the connections), rate-limit=DURATION (between two events of a connection),
history=WHEN (each reader that connects is told the totals since then first, as --since has it; not for udp: and
file:), live=off (with history: and nothing else). metrics: counts every connection and takes every= alone.";

/// Outputs, and each tunable with its default.
fn details() -> String {
    let mut text =
        format!("{OUTPUTS}\n\nTunables, as --conf 'KEY=VALUE …' or LECO_<KEY> in the environment:\n");
    for Tunable { key, default, help, .. } in TUNABLES {
        text += &format!("  {:<25}  {help}\n", format!("{key}={default}"));
    }
    text
}

/// Writes network connections as JSON lines, one event per line.
///
/// The connections known so far come first, then each new or active one. Needs read access to what
/// leco-ebpf-load pinned, and no other privileges. One pipe at a time reads it, and any number of programs
/// read what that pipe writes; -C, --stats, --seen and --history work while it runs.
#[derive(Debug, Parser)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[command(name = "leco-event-pipe", version, group = ArgGroup::new("saved").args(["seen", "history"]), after_help = OUTPUTS, after_long_help = details())]
pub struct Cli {
    /// Write events here, see below; may be given several times [default: -]
    #[arg(short, long, value_name = "OUTPUT", allow_hyphen_values = true, conflicts_with_all = ["dump_cache", "stats", "seen", "history"])]
    pub output: Vec<String>,
    /// The same as --output fifo:PATH
    #[arg(short, long, value_name = "PATH", conflicts_with_all = ["dump_cache", "stats", "seen", "history"])]
    pub fifo: Option<PathBuf>,
    /// Mode of the fifo of --fifo, if it is created
    #[arg(long, value_name = "OCTAL", default_value = "0600", value_parser = parse_fifo_mode, requires = "fifo", conflicts_with_all = ["dump_cache", "stats", "seen", "history"])]
    pub fifo_mode: u32,
    /// Also append all events to this file, which must be new, empty or a recording: leco-tui can replay
    /// it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dump_cache", "stats", "seen", "history"])]
    pub record: Option<PathBuf>,
    /// Directory that was given to leco-ebpf-load --pin [default: what the service manager passes]
    #[arg(short, long, value_name = "DIR", conflicts_with_all = ["seen", "history"])]
    pub pin: Option<PathBuf>,
    /// Print the connections known so far, and exit
    #[arg(short = 'C', long, conflicts_with_all = ["stats", "seen", "history"])]
    pub dump_cache: bool,
    /// Print what was lost since the programs were loaded and what the sandbox lacks here, and exit
    #[arg(long, conflicts_with_all = ["seen", "history", "conf"])]
    pub stats: bool,
    /// List which program talked to whom, first and last, and exit
    #[arg(long)]
    pub seen: bool,
    /// Print what went over the network by hour and day, summed by program or as --by says, and exit
    #[arg(long, conflicts_with = "seen")]
    pub history: bool,
    /// With --history: sum by this
    #[arg(
        long,
        value_name = "WHAT",
        value_enum,
        default_value_t,
        requires = "history",
        conflicts_with = "seen"
    )]
    pub by: By,
    /// With --history: rows, the largest first; the others are one row [default: 20 on a terminal, else all; hours and days:
    /// all]
    #[arg(long, value_name = "ROWS", requires = "history", conflicts_with = "seen")]
    pub top: Option<usize>,
    /// With --history: only what was before this
    #[arg(long, value_name = "WHEN", requires = "history", conflicts_with = "seen", value_parser = parse_moment)]
    pub until: Option<Moment>,
    /// With --history: as comma-separated values
    #[arg(long, requires = "history", conflicts_with_all = ["json", "seen"])]
    pub csv: bool,
    /// With --seen or --history: only what this chooses, such as proc:curl or -/example/: see leco-tui(1); user, proc,
    /// peer and dir are known of it, with --history also unit and port
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true, requires = "saved", value_parser = filter_without_names)]
    pub filter: Option<String>,
    /// With --seen or --history: only what was since then: 8h (ago), today, yesterday or 2026-11-20. The hour of that counts
    /// whole, after a week the day [default with --history: 24h]
    #[arg(long, value_name = "WHEN", requires = "saved", value_parser = parse_moment)]
    pub since: Option<Moment>,
    /// With --seen or --history: as JSON, one object per line
    #[arg(long, requires = "saved")]
    pub json: bool,
    /// Write all fields of an event, not only the line
    #[arg(short = 'E', long, conflicts_with_all = ["stats", "seen", "history"])]
    pub extra_ev_data: bool,
    /// Tunables, see below; quote a value with spaces: key='a b'
    #[arg(short, long, value_name = "KEY=VALUE …")]
    pub conf: Vec<String>,
}
