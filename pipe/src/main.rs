//! `leco-event-pipe`: kernel events in, JSON lines out, without privileges.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use jiff::tz::TimeZone;
use leco_bpf::cgroup2;
use leco_bpf::pins::PinDir;
use leco_bpf::reader::{Counters, Reader};
use leco_pipe::clock::Now;
use leco_pipe::feed::Feed;
use leco_pipe::labels::Labeler;
use leco_pipe::line::Formatter;
use leco_pipe::outputs::Output;
use leco_pipe::run::Pipe;
use leco_pipe::tunables::{TunableError, Tunables};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

const TUNABLES: &str = "\
Tunables (-c 'key=value …', or LECO_<KEY> in the environment), with their defaults:
  replay-window=4h  replay-skip-dead-pids=0  local-addr-port=0  line-direction=1  cg-label-cut=20
  script-name-cut=16  conn-traffic-min=5120  use-reltime-after=22h30m  cache-cg-paths=4h
  cache-cg-labels=30m  cache-users=4h  cache-conn-ts=1h  cache-pid-cmd=3h  names=replace (or append,
  off)  cache-names=24h  extra-ev-data=0";

/// Writes network connections as JSON lines, one event a line.
///
/// First come the connections known so far, then each new or active one. Needs what leco-ebpf-load pinned,
/// and no privileges besides reading that.
#[derive(Parser)]
#[command(version, after_help = TUNABLES)]
struct Cli {
    /// Write into this fifo, made if it is missing [default: standard output]
    #[arg(short, long, value_name = "PATH")]
    fifo: Option<PathBuf>,
    /// Mode of a fifo that is made
    #[arg(long, value_name = "OCTAL", default_value = "0600", value_parser = parse_mode)]
    fifo_mode: u32,
    /// Folder that was given to leco-ebpf-load
    #[arg(short, long, value_name = "DIR")]
    pin: PathBuf,
    /// Print the connections known so far, and exit
    #[arg(short = 'C', long)]
    dump_cache: bool,
    /// Print what was lost since the programs were loaded, and exit
    #[arg(long)]
    stats: bool,
    /// All fields in the JSON, not only the line
    #[arg(short = 'E', long)]
    extra_ev_data: bool,
    /// Tunables, see below
    #[arg(short, long, value_name = "KEY=VALUE …")]
    conf: Vec<String>,
}

fn parse_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| mode & !0o777 == 0)
        .ok_or_else(|| "expected octal digits like 0600".into())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt().with_writer(io::stderr).with_target(false).without_time().init();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leco-event-pipe: {error:#}");
            ExitCode::from(if error.is::<TunableError>() { 2 } else { 1 })
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    // Variables of other programs may be no UTF-8; those of LECO are.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut tunables = Tunables::load(variables, &cli.conf)?;
    tunables.extra_ev_data |= cli.extra_ev_data;
    let reader = Reader::open(&PinDir::new(&cli.pin)?)?;
    if cli.stats {
        return print_stats(&reader.counters()?);
    }
    let capacity = reader.max_conns();
    let feed = Feed::new(reader, &tunables)?;
    let labeler = Labeler::new(&tunables, cgroup2::root());
    let formatter = Formatter::new(tunables, TimeZone::system());
    if cli.dump_cache {
        return dump(&feed, labeler, &formatter);
    }
    let output = match &cli.fifo {
        Some(path) => Output::fifo(path, cli.fifo_mode, capacity)?,
        None => Output::stdout(capacity).context("cannot open standard output")?,
    };
    let stop = stop_on_signals().context("cannot catch signals")?;
    Pipe::new(feed, labeler, formatter, output).run(&stop)?;
    Ok(())
}

/// One counter a line: its name, the number, and what it counts.
fn print_stats(counters: &Counters) -> anyhow::Result<()> {
    let Counters { stats, capacity, closed, flows } = counters;
    let forgotten = |added: u64, kept: usize| added.saturating_sub(kept as u64);
    let lines = [
        ("ring-dropped", stats.ring_dropped, "announcements that found the ring full"),
        ("sockets-skipped", stats.sockets_skipped, "sockets not counted, for lack of memory"),
        ("closed", *closed as u64, "closed connections remembered"),
        ("closed-evicted", forgotten(stats.closed_added, *closed), "closed connections forgotten"),
        ("flows", *flows as u64, "flows without a socket of their own"),
        ("flows-evicted", forgotten(stats.flows_added, *flows), "of them forgotten"),
        ("max-conns", *capacity as u64, "entries of closed and of flows that fit"),
        ("blocked-skipped", stats.blocked_skipped, "blocked packets from outside, too many to tell"),
        ("dns-skipped", stats.dns_skipped, "answers of name servers left out of a full ring"),
    ];
    let mut out = io::stdout().lock();
    let written =
        lines.iter().try_for_each(|(name, count, what)| writeln!(out, "{name:<16} {count:>12}  {what}"));
    quietly_broken(written)
}

/// A reader that has seen enough is no failure.
fn quietly_broken(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

fn dump(feed: &Feed, mut labeler: Labeler, formatter: &Formatter) -> anyhow::Result<()> {
    let now = Now::read();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = feed.replay(now.boot)?.iter().try_for_each(|conn| {
        let labels = labeler.labels(conn, now.boot);
        out.write_all(&formatter.event(conn, &labels, &now))
    });
    quietly_broken(written.and_then(|()| out.flush()))
}

/// A descriptor that becomes readable on the first of these signals.
fn stop_on_signals() -> io::Result<OwnedFd> {
    let (reader, writer) = io::pipe()?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader.into())
}
