// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-event-pipe`: kernel events in, JSON lines out, without privileges.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

use std::io::{self, IsTerminal, Write};
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use leco_bpf::PassedFds;
use leco_bpf::load::cgroup2;
use leco_bpf::place::pin_dir::PinDir;
use leco_bpf::read::reader::{Counters, Reader};
use leco_bpf::read::record::Conn;
use leco_bpf::read::stream::Stream;
use leco_cli::history::Moment;
use leco_cli::pipe::Cli;
use leco_cli::tunables::{MemoryPlace, TunableError, Tunables};
use leco_core::query::Query;
use leco_core::wire::event::ConnectionState;
use leco_core::wire::history::HISTORY_FIELDS;
use leco_os::causes::{causes, sentence};
use leco_os::clock::boot_ns;
use leco_os::sandbox::{Confinement, Network, Sandbox};
use leco_os::{environment, limits, say, start, time_zone};
use leco_pipe::clock::Now;
use leco_pipe::enrich::labeler::Labeler;
use leco_pipe::enrich::name_services;
use leco_pipe::event_loop::Pipe;
use leco_pipe::history;
use leco_pipe::history::question::{Question, second_of};
use leco_pipe::history::totals::start_of_total;
use leco_pipe::history::{KeptName, Limits, Memory, Saved, Store, seen};
use leco_pipe::outputs::{ClockField, Destination, OutputError, OutputSpec, Outputs};
use leco_pipe::render::line::{Formatter, Machine};
use leco_pipe::source::kernel_events::{KernelEvents, Replay};
use leco_pipe::source::listeners::Listeners;
use leco_pipe::systemd::{Signals, Watchdog, passed_descriptors};

/// Descriptors that are needed once outputs are open: for signals, the history, what is followed and what is looked up.
const NEEDED_DESCRIPTORS: usize = 16;

/// Seconds.
const DAY: i64 = 24 * 3600;
/// Of a longer time most of the history's file is read.
const LONG: i64 = 3 * DAY;
/// More than that scrolls away.
const ROWS_ON_A_TERMINAL: usize = 20;

fn main() -> ExitCode {
    start::outlive_file_size_limit();
    let cli: Cli = match leco_cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    // What its log does not take, such as a full disk, would else be told by a macro that panics.
    let log = tracing_subscriber::fmt().with_writer(io::stderr).log_internal_errors(false);
    log.with_ansi(io::stderr().is_terminal()).with_target(false).without_time().init();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::err(format_args!("leco-event-pipe: {}", causes(&*error)));
            ExitCode::from(if error.is::<TunableError>() || error.is::<OutputError>() { 2 } else { 1 })
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let mut passed = passed_descriptors().context("cannot take what the service manager passed")?;
    let specs = outputs(cli)?;
    let tunables = tunables(cli)?;
    if let Some(path) = memory_path(&tunables.memory)
        && let Some(output) = OutputSpec::at(&specs, &path)
    {
        anyhow::bail!(
            "memory={} leads to the same place as {}: name another path",
            path.display(),
            output.destination
        );
    }
    if cli.seen || cli.history {
        return print_saved(cli, &tunables);
    }
    let reader = match cli.pin.as_deref() {
        Some(pins) => Reader::open(&PinDir::new(pins)?)?,
        None => Reader::from_passed(&mut passed)?,
    };
    if cli.stats {
        let confinement = confine(&[], &tunables);
        return print_stats(&reader.counters()?, confinement.as_ref());
    }
    if cli.dump_cache {
        return print_known(&reader, tunables);
    }
    // Who only looks, as above, neither needs the right to read the ring nor takes it from somebody.
    serve(Stream::new(reader)?, &specs, tunables, passed)
}

/// What is tuned on the command line and in the environment.
fn tunables(cli: &Cli) -> Result<Tunables, TunableError> {
    // Variables of other programs may be no UTF-8; those of LECO are.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut tunables = Tunables::load(variables, &cli.conf)?;
    tunables.extra_ev_data |= cli.extra_ev_data;
    if tunables.memory == MemoryPlace::StateDirectory {
        for notice in environment::ignored(&["XDG_STATE_HOME", "HOME"]) {
            tracing::warn!("{notice}");
        }
    }
    Ok(tunables)
}

/// Writes events until it is asked to end.
fn serve(
    stream: Stream,
    specs: &[OutputSpec],
    tunables: Tunables,
    mut passed: PassedFds,
) -> anyhow::Result<()> {
    let capacity = stream.max_conns();
    let outputs = Outputs::open(specs, capacity, &mut passed)?;
    if let Some(output) = specs.iter().find(|output| output.stored.is_some())
        && (tunables.memory == MemoryPlace::Off || tunables.history.is_zero())
    {
        tracing::warn!(
            "{}?history=… has nothing to tell: nothing is stored (memory=off or history=0)",
            output.destination
        );
    }
    for name in passed.keys() {
        tracing::warn!("the passed descriptor {name} is not used; if it is a socket, add --output fd:{name}");
    }
    // Said once and for all: each of the parts that follow would go on with less, and for another reason.
    if let Some(limit) = limits::out_of_descriptors(NEEDED_DESCRIPTORS) {
        return Err(anyhow::Error::new(limit).context("cannot start"));
    }
    let zone = time_zone();
    // Before there is another thread: each has its own.
    match confine(specs, &tunables) {
        Some(confinement) if confinement.is_whole() => tracing::info!("{confinement}"),
        Some(confinement) => tracing::warn!("{confinement}"),
        None => tracing::info!("sandbox: turned off (sandbox=0)"),
    }
    let programs = stream.programs()?;
    let kernel_events = KernelEvents::new(stream, &tunables)?;
    let labeler = Labeler::new(&tunables, cgroup_root())?.with_connections(2 * capacity);
    let mut labeler = labeler.with_programs(programs);
    let machine = Machine::this();
    let memory = remember(&tunables, &machine.boot_id, &zone, capacity).map(|(memory, names)| {
        labeler.restore(names);
        memory
    });
    let formatter = Formatter::new(tunables, zone, machine);
    let signals = Signals::catch().context("cannot catch signals")?;
    let watchdog = Watchdog::ready(boot_ns());
    Pipe { kernel_events, labeler, memory, formatter, outputs, watchdog }.run(&signals)?;
    Ok(())
}

/// Where cgroups are found, and a word about those that are not.
fn cgroup_root() -> Option<PathBuf> {
    match cgroup2::find_root() {
        Ok(Some(root)) => {
            if !cgroup2::is_whole(&root) {
                tracing::warn!(
                    "in a cgroup namespace: what runs outside of {} has no unit or container. Start it outside of \
                     the namespace.",
                    root.display()
                );
            }
            return Some(root);
        }
        Ok(None) => tracing::warn!("no cgroup2 hierarchy is mounted: units and containers are unknown"),
        Err(error) => {
            let error = sentence(&limits::explain(error).to_string());
            tracing::warn!("cannot read /proc/self/mountinfo: {error} Units and containers are unknown.");
        }
    }
    None
}

/// Times are shown in it. One that is not known is told.
fn time_zone() -> TimeZone {
    time_zone::local().unwrap_or_else(|error| {
        tracing::warn!("{error}");
        TimeZone::UTC
    })
}

/// Gives up what is not needed to read the kernel's side, to name what is read, and to write it, unless that is not
/// wanted.
fn confine(specs: &[OutputSpec], tunables: &Tunables) -> Option<Confinement> {
    if !tunables.sandbox {
        return None;
    }
    let network = if tunables.reverse_dns { Network::All } else { Network::None };
    let mut sandbox = Sandbox::default().with_maps().with_processes().with_network(network);
    let serves = specs.iter().any(|spec| matches!(spec.destination, Destination::Unix { .. }));
    if serves || std::env::var_os("NOTIFY_SOCKET").is_some() || name_services::are_asked_for_users() {
        sandbox = sandbox.with_unix_sockets();
    }
    let databases = [&tunables.asn_db, &tunables.geo_db].into_iter().filter_map(Option::as_deref);
    for path in databases.chain(specs.iter().filter_map(OutputSpec::reads)) {
        sandbox = sandbox.reads(path);
    }
    let memory = memory_path(&tunables.memory);
    for path in memory.as_deref().into_iter().chain(specs.iter().filter_map(OutputSpec::writes)) {
        sandbox = sandbox.writes(path);
    }
    Some(sandbox.enter())
}

/// Opens the memory of who talked to whom. Without it the pipe goes on: nothing is then known to be new.
fn remember(
    tunables: &Tunables,
    boot: &str,
    zone: &TimeZone,
    ended: usize,
) -> Option<(Memory, Vec<KeptName>)> {
    if tunables.memory == MemoryPlace::Off {
        return None;
    }
    let Some(path) = memory_path(&tunables.memory) else {
        tracing::info!("no state directory: history is not saved (memory=PATH names a file)");
        return None;
    };
    let days = tunables.history.as_secs().div_ceil(24 * 3600);
    let limits = Limits { days: i64::try_from(days).unwrap_or(i64::MAX), bytes: tunables.history_max };
    let totals = (!tunables.history.is_zero()).then_some(limits);
    let saved = Saved { totals, zone: zone.clone(), learn: tunables.learn, ended };
    match Memory::open(&path, boot, &saved) {
        Ok(opened) => Some(opened),
        Err(error) => {
            tracing::warn!("{} History is not saved.", sentence(&causes(&error)));
            None
        }
    }
}

fn memory_path(place: &MemoryPlace) -> Option<PathBuf> {
    match place {
        MemoryPlace::Off => None,
        MemoryPlace::File(path) => Some(path.clone()),
        MemoryPlace::StateDirectory => history::default_path(|name| std::env::var_os(name)),
    }
}

/// Lists what was seen, one pair a line, or sums up what was counted.
fn print_saved(cli: &Cli, tunables: &Tunables) -> anyhow::Result<()> {
    anyhow::ensure!(
        tunables.memory != MemoryPlace::Off,
        "no history is saved (memory=off): name a file from before with --conf memory=PATH"
    );
    let path = memory_path(&tunables.memory);
    let path = path.context("no state directory: name the file with --conf memory=PATH")?;
    let filter = Query::parse(cli.filter.as_deref().unwrap_or_default())?;
    let (known, words): (&[&str], _) = if cli.history {
        (&HISTORY_FIELDS, "user, proc, unit, peer, port and dir")
    } else {
        (&["user", "comm", "raddr", "dir"], "user, proc, peer and dir")
    };
    anyhow::ensure!(
        !filter.asks_beyond(known),
        "the filter asks for what was not saved: write words, {words}"
    );
    anyhow::ensure!(
        cli.top.is_none() || !cli.by.is_time(),
        "--top chooses the largest rows, and with --by {} all are printed: leave it out",
        cli.by.word()
    );
    let now = Timestamp::now().as_second();
    let zone = time_zone();
    let second = |moment: &Moment| second_of(moment, now, &zone);
    let since = cli.since.as_ref().map(second);
    anyhow::ensure!(
        path.try_exists().unwrap_or(true),
        "no history yet: {} does not exist (name that of the service with --conf memory=PATH)",
        path.display()
    );
    if cli.history {
        let since = start_of_total(since.unwrap_or(now - DAY), now, &zone);
        let range = (since, cli.until.as_ref().map_or(i64::MAX, second));
        anyhow::ensure!(range.0 < range.1, "--until is not after --since");
        if range.1.min(now) - since > LONG {
            Store::read_ahead(&path);
        }
        let store = Store::open_to_ask(&path)?;
        anyhow::ensure!(
            store.has_totals()?,
            "no totals yet: {} is of an older version of LECO",
            path.display()
        );
        let is_terminal = io::stdout().is_terminal();
        let top = cli.top.or((is_terminal && !cli.json && !cli.csv).then_some(ROWS_ON_A_TERMINAL));
        let answer = Question { by: cli.by, range, filter: &filter, top, zone: &zone }.answer(&store)?;
        // Who reads slowly must not keep the file from being written.
        drop(store);
        // To give back the memory of very many rows takes longer than to end.
        let answer = ManuallyDrop::new(answer);
        return print(|out| match cli {
            Cli { json: true, .. } => answer.json(cli.by, out),
            Cli { csv: true, .. } => answer.csv(cli.by, out),
            _ => answer.table(cli.by, is_terminal, out),
        });
    }
    let since = since.unwrap_or(i64::MIN);
    let pairs = Store::open_to_read(&path)?.pairs()?;
    print(|out| {
        pairs.iter().filter(|pair| pair.last >= since).try_for_each(|pair| {
            let line = seen::line(pair, &zone);
            if !filter.holds(&line, &seen::details(pair), ConnectionState::Ordinary) {
                return Ok(());
            }
            if cli.json { writeln!(out, "{}", seen::json(pair)) } else { writeln!(out, "{line}") }
        })
    })
}

/// What is asked for with --output and its shorter forms; standard output where nothing is.
fn outputs(cli: &Cli) -> Result<Vec<OutputSpec>, OutputError> {
    let mut specs = cli.output.iter().map(|text| OutputSpec::parse(text)).collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = &cli.fifo {
        specs.push(OutputSpec::plain(Destination::Fifo { path: path.clone(), mode: cli.fifo_mode }));
    }
    if specs.is_empty() {
        specs.push(OutputSpec::plain(Destination::Stdout));
    }
    specs.extend(cli.record.clone().map(|path| OutputSpec::plain(Destination::File(path))));
    OutputSpec::refuse_same_places(&specs)?;
    Ok(specs)
}

/// One counter a line: its name, the number, and what it counts.
fn print_stats(counters: &Counters, confinement: Option<&Confinement>) -> anyhow::Result<()> {
    let Counters { stats, capacity, closed, flows } = counters;
    let forgotten = |added: u64, kept: usize| added.saturating_sub(kept as u64);
    let gaps = confinement.map_or(0, |confinement| confinement.gaps().len() as u64);
    let sandbox = confinement.map_or_else(|| "sandbox: turned off".to_owned(), ToString::to_string);
    let lines = [
        ("ring-dropped", stats.ring_dropped, "announcements that found the ring buffer full"),
        ("sockets-skipped", stats.sockets_skipped, "sockets not counted, for lack of memory"),
        ("closed", *closed as u64, "closed connections remembered"),
        ("closed-evicted", forgotten(stats.closed_added, *closed), "closed connections forgotten"),
        ("flows", *flows as u64, "flows without a socket of their own"),
        ("flows-evicted", forgotten(stats.flows_added, *flows), "of them forgotten"),
        ("max-conns", *capacity as u64, "capacity of closed and of flows, in entries"),
        ("blocked-skipped", stats.blocked_skipped, "incoming blocked packets beyond the rate limit"),
        ("dns-skipped", stats.dns_skipped, "DNS responses not copied: ring buffer full, not in memory"),
        ("hellos-skipped", stats.hellos_skipped, "names that programs sent and that could not be read"),
        ("sandbox-gaps", gaps, &sandbox),
    ];
    print(|out| {
        lines.iter().try_for_each(|(name, count, what)| writeln!(out, "{name:<16} {count:>12}  {what}"))
    })
}

/// Writes what was asked for.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    say::asked(write).context("cannot write to standard output")
}

/// Writes the connections known so far.
fn print_known(reader: &Reader, tunables: Tunables) -> anyhow::Result<()> {
    let zone = time_zone();
    // A pipe tells what it could not give up: this ends soon, and is read by programs.
    let _confinement = confine(&[], &tunables);
    let now = Now::read();
    let mut listeners = Listeners::new(&tunables, usize::MAX);
    let conns = Replay::new(&tunables).of(reader, &mut listeners, now.boot)?;
    let labeler = Labeler::new(&tunables, cgroup_root())?.with_all_users();
    let labeler = labeler.with_programs(reader.programs()?);
    let mut formatter = Formatter::new(tunables, zone, Machine::this());
    dump(&conns, labeler, &mut formatter, &now)
}

fn dump(conns: &[Conn], mut labeler: Labeler, formatter: &mut Formatter, now: &Now) -> anyhow::Result<()> {
    let mut clock = Some(ClockField::new(now, formatter.machine()));
    let mut first = Vec::new();
    print(|out| {
        conns.iter().try_for_each(|conn| {
            let labels = labeler.labels(conn, now.boot);
            let json = formatter.event(conn, &labels, now).json;
            let Some(clock) = clock.take() else { return out.write_all(json) };
            clock.add_to(&mut first, json);
            out.write_all(&first)
        })
    })
}
