// SPDX-License-Identifier: GPL-3.0-or-later
//! What LECO's views cost beside other programs that show what a network does, at several rates.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use leco_e2e::desktop::XServer;
use leco_e2e::{FAR_V4, Kernel, Netns, Side, Terminal, program};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::machine::yardstick;
use crate::process::{self, Watched};
use crate::receivers::{Served, lines_of_a_connection};
use crate::report::Report;
use crate::traffic::Traffic;
use crate::{COLUMNS, ROWS};

const RATES: [u32; 4] = [0, 2, 200, 5000];
/// Connections of which each has a port of its own, how long each lasts and how soon the next one comes.
const COUNTED: u16 = 200;
const FIRST_PORT: u16 = 20_000;
const LASTS: Duration = Duration::from_millis(100);
const NEXT: Duration = Duration::from_millis(50);
/// After the last of them.
const SHOWS: Duration = Duration::from_secs(3);
/// At each rate: before it is measured, and how long it is.
const SETTLES: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);
const STARTS: Duration = Duration::from_secs(20);
/// They list processes, or no more than how many connections there are.
const LIST_NO_CONNECTIONS: [&str; 2] = ["nethogs", "conky"];
/// Of the wire's addresses (`Netns`), the device on which they are.
const DEVICE: &str = "wire";
const CONKY: &str = "conky.config = { own_window = true, own_window_type = 'desktop', own_window_argb_visual = true, \
    double_buffer = true, use_xft = true, font = 'DejaVu Sans:size=10', update_interval = 1, out_to_x = true, \
    minimum_width = 400, minimum_height = 200 }\nconky.text = [[\n$time\n$cpu% $loadavg\n$mem / $memmax\n\
    ${downspeed wire} ${upspeed wire}\n${tcp_portmon 1 65535 count} ${tcp_portmon 1 65535 rhost 0}\n]]\n";

/// Where all of it takes place.
struct Stage {
    netns: Netns,
    server: XServer,
    folder: tempfile::TempDir,
}

/// A view that runs.
struct View {
    /// All that it takes, without the kernel side.
    processes: Vec<Watched>,
    terminal: Option<Terminal>,
    starts: Duration,
    _kernel: Option<Kernel>,
}

/// How a view is started.
type Start<'a> = Box<dyn Fn(&Stage) -> Result<View> + 'a>;

/// All of them at all rates, one after the other.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let lines_each = count_lines()?;
    report.note(&format!(
        "Each view alone, at a rate of events as LECO's pipe tells them: {lines_each:.1} of each connection that a \
         program makes, sends a byte over and closes, from one network namespace into another. nethogs, bandwhich, \
         rustnet-monitor and netwatch-tui capture at the wire between them. conky looks once a second, whatever the rate, \
         and names no process. CPU is that of the processes: neither what LECO's programs cost those who send \
         (see Kernel), nor what capturing costs the kernel. LECO's include its pipe, and its pipe sees \
         the whole machine. Of {COUNTED} connections, 20 a second, that last {} ms each, those are shown whose port was \
         at any time on the screen with which a program starts.",
        LASTS.as_millis()
    ));
    let stage =
        Stage { netns: Netns::new(), server: XServer::start_composed(), folder: tempfile::tempdir()? };
    for (name, start) in subjects() {
        if let Err(error) = measure_one(name, &start, &stage, lines_each, report) {
            let error = format!("{error:#}");
            report.note(&format!("Not measured: {name}: {}", error.lines().next().unwrap_or_default()));
            ensure!(!name.starts_with("leco"), "{name}: {error}");
        }
    }
    let start = Instant::now();
    let kernel = Kernel::load(&[]);
    report.tell("leco-ebpf-load: loading everything", start.elapsed().as_secs_f64() * 1000.0, "ms");
    drop(kernel);
    Ok(())
}

/// The views, by name.
fn subjects() -> [(&'static str, Start<'static>); 7] {
    let at_wire = |program: &'static str, arguments: &'static [&'static str]| -> Start<'static> {
        Box::new(move |stage| {
            let built = yardstick(program);
            let program = if program == "nethogs" { program.into() } else { built };
            ensure!(
                can_run(&program),
                "it is not here: script/bench --report installs it where it can be built"
            );
            let mut command = stage.netns.near_command(program);
            command.args(arguments).env("HOME", stage.folder.path());
            in_terminal(command, Vec::new(), None)
        })
    };
    [
        ("leco-tui with its pipe", Box::new(start_tui)),
        ("leco-sdl-widget with its pipe", Box::new(start_overlay)),
        ("conky", Box::new(start_conky)),
        ("nethogs", at_wire("nethogs", &["-d", "1", DEVICE])),
        ("bandwhich", at_wire("bandwhich", &["-n", "-i", DEVICE])),
        ("rustnet-monitor", at_wire("rustnet", &["-i", DEVICE])),
        ("netwatch-tui", at_wire("netwatch", &[])),
    ]
}

/// Whether there is such a program.
fn can_run(program: &Path) -> bool {
    let mut command = Command::new(program);
    let spawned = command.arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    spawned.is_ok()
}

/// Lines of a short connection.
fn count_lines() -> Result<f64> {
    let served = Served::start()?;
    let lines = Arc::new(AtomicU64::new(0));
    let (counted, stream) = (Arc::clone(&lines), BufReader::new(UnixStream::connect(&served.socket)?));
    thread::spawn(move || {
        for _ in stream.lines().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    lines_of_a_connection(&lines)
}

fn measure_one(
    name: &str,
    start: &Start<'_>,
    stage: &Stage,
    lines_each: f64,
    report: &mut Report,
) -> Result<()> {
    let mut view = start(stage)?;
    report.tell(&format!("{name}: start to the first picture"), view.starts.as_secs_f64() * 1000.0, "ms");
    // Some list what came first, and keep it.
    if !LIST_NO_CONNECTIONS.contains(&name)
        && let Some(terminal) = &mut view.terminal
    {
        let shown = count_shown(terminal, stage)?;
        report.tell(&format!("{name}: connections shown, of {COUNTED}"), shown as f64, "");
    }
    for rate in RATES {
        let mut traffic = None;
        if rate > 0 {
            let listener = stage.netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)))?;
            let from = stage.netns.path(Side::Near);
            traffic = Some(Traffic::start(listener, f64::from(rate) / lines_each, Some(from))?);
        }
        view.pass(report.scaled(SETTLES, SETTLES / 5))?;
        let made = traffic.as_ref().map_or(0, Traffic::made);
        let (cpu, woken, begin) = (view.sum(process::on_cpu)?, view.sum(process::sleeps)?, Instant::now());
        view.pass(report.scaled(MEASURED, MEASURED / 8))?;
        let elapsed = begin.elapsed();
        if let Some(traffic) = &traffic {
            let reached = (traffic.made() - made) as f64 * lines_each / elapsed.as_secs_f64();
            if rate >= 100 && reached < f64::from(rate) * 0.9 {
                report.note(&format!(
                    "{name}: instead of {rate} events/s there were {reached:.0}: this machine is too slow."
                ));
            }
        }
        let cpu = view.sum(process::on_cpu)?.saturating_sub(cpu) as f64 / elapsed.as_nanos() as f64 * 100.0;
        let woken = view.sum(process::sleeps)?.saturating_sub(woken) as f64 / elapsed.as_secs_f64();
        let memory = view.sum(process::proportional)?;
        for (title, unit, value) in [
            ("CPU of views", "% of one CPU", cpu),
            ("Wakeups of views", "per second", woken),
            ("Memory of views", "PSS in MB", memory),
        ] {
            report.point(title, ("events/s", unit), name, f64::from(rate), value);
        }
    }
    Ok(())
}

/// How many of some connections are on the screen at any time.
fn count_shown(terminal: &mut Terminal, stage: &Stage) -> Result<usize> {
    let ports = FIRST_PORT..FIRST_PORT + COUNTED;
    let listeners = ports.clone().map(|port| stage.netns.at_far_end(|| TcpListener::bind((FAR_V4, port))));
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    let from = File::open(stage.netns.path(Side::Near))?;
    let maker = thread::spawn(move || -> Result<()> {
        move_into_link_name_space(from.as_fd(), Some(LinkNameSpaceType::Network))?;
        let mut open = VecDeque::new();
        for listener in listeners {
            open.push_back((Instant::now(), TcpStream::connect(listener.local_addr()?)?, listener));
            open.retain(|(begin, ..)| begin.elapsed() < LASTS);
            thread::sleep(NEXT);
        }
        thread::sleep(LASTS);
        Ok(())
    });
    let mut shown = BTreeSet::new();
    let mut look = |terminal: &Terminal| {
        let screen = terminal.screen();
        let numbers = screen.split(|letter: char| !letter.is_ascii_digit());
        shown.extend(numbers.filter_map(|number| number.parse().ok()).filter(|port| ports.contains(port)));
    };
    while !maker.is_finished() {
        terminal.watch(NEXT, &mut look)?;
    }
    maker.join().map_err(|_| anyhow::anyhow!("no connections could be made"))??;
    terminal.watch(SHOWS, &mut look)?;
    Ok(shown.len())
}

impl View {
    /// Lets it run.
    fn pass(&mut self, time: Duration) -> Result<()> {
        match &mut self.terminal {
            Some(terminal) => terminal.drain(time)?,
            None => thread::sleep(time),
        }
        self.processes.iter_mut().try_for_each(Watched::check)
    }

    /// Of all of its processes; what those took that end meanwhile is not counted.
    fn sum<T: std::iter::Sum>(&self, of: impl Fn(u32) -> Result<T>) -> Result<T> {
        let families = self.processes.iter().map(|process| process::family(process.id()));
        let families = families.collect::<Result<Vec<_>>>()?;
        let each = families.into_iter().flatten().map(|process| process::unless_ended(of(process)));
        each.filter_map(Result::transpose).sum()
    }
}

/// A program in a terminal: its first picture has a letter in it.
fn in_terminal(command: Command, mut others: Vec<Watched>, kernel: Option<Kernel>) -> Result<View> {
    let mut terminal = Terminal::open(COLUMNS, ROWS)?;
    let start = Instant::now();
    let mut command = command;
    command.env("TERM", "xterm-256color").env("COLORTERM", "truecolor");
    others.push(Watched::start(&mut terminal.attach(command)?)?);
    let seen = terminal.wait_until("a picture", |screen| screen.contains(char::is_alphabetic))?;
    Ok(View { processes: others, terminal: Some(terminal), starts: seen - start, _kernel: kernel })
}

/// A program on a desktop: its first picture is its window.
fn on_desktop(
    stage: &Stage,
    mut command: Command,
    mut others: Vec<Watched>,
    kernel: Option<Kernel>,
) -> Result<View> {
    let before = stage.server.shown_windows();
    command.env("DISPLAY", &stage.server.display).env_remove("WAYLAND_DISPLAY");
    command.env("DBUS_SESSION_BUS_ADDRESS", "disabled:");
    let start = Instant::now();
    let process = Watched::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    others.push(process);
    while stage.server.shown_windows().iter().all(|window| before.contains(window)) {
        ensure!(start.elapsed() < STARTS, "it shows no window");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(View { processes: others, terminal: None, starts: start.elapsed(), _kernel: kernel })
}

/// A pipe that serves this socket.
fn start_pipe(kernel: &Kernel, socket: &Path) -> Result<Watched> {
    let mut pipe = Command::new(program("leco-event-pipe"));
    pipe.arg("--pin").arg(kernel.pins()).arg("-o").arg(format!("unix:{}", socket.display()));
    pipe.env("LECO_MEMORY", "off").stdin(Stdio::null());
    let pipe = Watched::start(&mut pipe)?;
    let start = Instant::now();
    while UnixStream::connect(socket).is_err() {
        ensure!(start.elapsed() < STARTS, "the pipe does not serve {}", socket.display());
        thread::sleep(Duration::from_millis(1));
    }
    Ok(pipe)
}

/// A view of LECO's, its kernel side, its pipe, and the command that starts it.
fn prepare(stage: &Stage, name: &str) -> Result<(Kernel, Watched, Command)> {
    let (config, socket) = (stage.folder.path().join("widget.ini"), stage.folder.path().join(name));
    fs::write(&config, "").with_context(|| config.display().to_string())?;
    let kernel = Kernel::load(&[]);
    let pipe = start_pipe(&kernel, &socket)?;
    let mut command = Command::new(program(name));
    command.arg(config).arg("--source").arg(format!("unix:{}", socket.display()));
    Ok((kernel, pipe, command))
}

fn start_tui(stage: &Stage) -> Result<View> {
    let (kernel, pipe, mut command) = prepare(stage, "leco-tui")?;
    command.args(["--theme", "dark"]);
    in_terminal(command, vec![pipe], Some(kernel))
}

fn start_overlay(stage: &Stage) -> Result<View> {
    let (kernel, pipe, command) = prepare(stage, "leco-sdl-widget")?;
    on_desktop(stage, command, vec![pipe], Some(kernel))
}

fn start_conky(stage: &Stage) -> Result<View> {
    let config = stage.folder.path().join("conky.conf");
    fs::write(&config, CONKY)?;
    let mut command = stage.netns.near_command("conky");
    command.arg("-c").arg(config);
    on_desktop(stage, command, Vec::new(), None)
}
