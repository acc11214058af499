// SPDX-License-Identifier: GPL-3.0-or-later
//! All parts of LECO as they run together, of which each may be ended, stopped and started again at any moment; and
//! whether the screen says what the maps say.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::desktop::XServer;
use crate::netns::echo;
use crate::rows::{Row, difference};
use crate::{FAR_V4, Loader, Netns, Running, Terminal, program};

/// Size of the terminal: all that a round makes has room.
const SIZE: (u16, u16) = (160, 40);
/// So long may the screen say anything else than the maps.
pub const LATE: Duration = Duration::from_secs(2);
/// Each time so many connections of others are known it may take as long again: a new reader is told all of them first.
const OTHERS: u32 = 2000;
/// Programs that differ in this are of another version: each load replaces the one before.
const INTERVALS: [&str; 2] = ["0.9s", "1s"];

/// A program of LECO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `leco-ebpf-load`, which runs only while it replaces what is loaded.
    Loader,
    /// `leco-event-pipe`.
    Pipe,
    /// `leco-tui`.
    View,
    /// `leco-sdl-widget`.
    Overlay,
}

/// What differs from one such whole to another.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What the connections' process is called, with the number of the round behind it.
    pub name: &'static str,
    /// Options of the loader.
    pub loader: Vec<String>,
    /// Options of the pipe.
    pub pipe: Vec<String>,
    /// What a shell does before it becomes the pipe, such as `ulimit -n 64;`.
    pub before_pipe: String,
    /// Where it remembers who talked to whom; nowhere, if nothing is said.
    pub memory: Option<PathBuf>,
    /// Whether there is an overlay, too.
    pub with_overlay: bool,
    /// How long the screen may say anything else than the maps, if not [`LATE`]: on an emulated machine.
    pub late: Option<Duration>,
}

/// Numbers that look random and are the same each time (`splitmix64`).
#[derive(Debug, Clone, Copy)]
pub struct Random(pub u64);

impl Random {
    /// The next one, below a limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

/// The parts, in the order in which they end.
pub struct Whole {
    traffic: Traffic,
    view: Running,
    terminal: Terminal,
    overlay: Option<Running>,
    server: Option<XServer>,
    pipe: Running,
    loader: Loader,
    wanted: Wanted,
    round: u32,
    loads: usize,
    starts: usize,
    is_filtered: bool,
    /// How often the kernel ended the pipe, for its memory.
    pub ended_for_memory: u32,
    folder: tempfile::TempDir,
}

struct Traffic {
    _process: Running,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pending: usize,
    _netns: Netns,
}

impl Traffic {
    fn start() -> Result<Self> {
        let netns = Netns::new();
        let listener = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)))?;
        let port = listener.local_addr()?.port();
        // Datagrams go to the same port.
        let silent = netns.at_far_end(|| std::net::UdpSocket::bind((FAR_V4, port)))?;
        echo(listener, silent);
        let mut command = netns.near_command(program("leco-e2e-peer"));
        command.args(["", "rounds", &format!("{FAR_V4}:{port}")]);
        let mut process = Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let stdin = process.0.stdin.take().context("no input")?;
        let stdout = BufReader::new(process.0.stdout.take().context("no output")?);
        Ok(Self { _process: process, stdin, stdout, pending: 0, _netns: netns })
    }

    fn ask(&mut self, what: &str) -> Result<()> {
        self.pending += 1;
        Ok(writeln!(self.stdin, "{what}")?)
    }

    fn settle(&mut self) -> Result<()> {
        for _ in 0..std::mem::take(&mut self.pending) {
            let mut line = String::new();
            ensure!(self.stdout.read_line(&mut line)? > 0, "the connections' process failed");
        }
        Ok(())
    }
}

impl Whole {
    /// Starts all of it.
    pub fn start(wanted: Wanted) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("widget.ini"), "")?;
        let loader = Loader::default();
        load(&loader, &wanted, 0)?;
        let pipe = start_pipe(folder.path(), &loader, &wanted)?;
        let server = wanted.with_overlay.then(XServer::start);
        let overlay = server.as_ref().map(|server| start_overlay(folder.path(), server)).transpose()?;
        let (terminal, view) = start_view(folder.path(), 0)?;
        let traffic = Traffic::start()?;
        Ok(Self {
            traffic,
            view,
            terminal,
            overlay,
            server,
            pipe,
            loader,
            wanted,
            round: 0,
            loads: 0,
            starts: 0,
            is_filtered: false,
            ended_for_memory: 0,
            folder,
        })
    }

    /// The process of a part that runs all the time.
    #[must_use]
    pub fn id(&self, part: Part) -> Option<u32> {
        match part {
            Part::Loader => None,
            Part::Pipe => Some(self.pipe.0.id()),
            Part::View => Some(self.view.0.id()),
            Part::Overlay => self.overlay.as_ref().map(|overlay| overlay.0.id()),
        }
    }

    /// Begins a new round of connections, moves bytes over them and ends some, without waiting for that.
    pub fn make_connections(&mut self) -> Result<()> {
        self.round += 1;
        let open = format!("open {}", self.round_name());
        for what in [&open, "send all", "close most", "send all"] {
            self.traffic.ask(what)?;
        }
        Ok(())
    }

    /// Waits until all connections of the round are as they shall be.
    pub fn settle(&mut self) -> Result<()> {
        self.traffic.settle()
    }

    fn round_name(&self) -> String {
        format!("{}{}", self.wanted.name, self.round)
    }

    /// Ends a part at once (`SIGKILL`), or the loader in the midst of a load; starts it again, as a service manager or a
    /// person does.
    pub fn kill(&mut self, part: Part, loader_lives: Duration) -> Result<()> {
        match part {
            Part::Loader => {
                self.loads += 1;
                let mut loading = loader(&self.loader, &self.wanted, self.loads);
                let mut loading = Running(loading.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
                thread::sleep(loader_lives);
                loading.0.kill()?;
                loading.0.wait()?;
                load(&self.loader, &self.wanted, self.loads)
            }
            _ => self.restart(part, Signal::KILL),
        }
    }

    /// Ends a part by a signal, and starts it again.
    pub fn restart(&mut self, part: Part, signal: Signal) -> Result<()> {
        match part {
            Part::Loader => self.reload(),
            Part::Pipe => {
                end(&mut self.pipe.0, signal)?;
                self.pipe = start_pipe(self.folder.path(), &self.loader, &self.wanted)?;
                Ok(())
            }
            Part::View => {
                end(&mut self.view.0, signal)?;
                self.starts += 1;
                self.is_filtered = false;
                (self.terminal, self.view) = start_view(self.folder.path(), self.starts)?;
                Ok(())
            }
            Part::Overlay => {
                let (Some(server), Some(overlay)) = (&self.server, &mut self.overlay) else { return Ok(()) };
                end(&mut overlay.0, signal)?;
                *overlay = start_overlay(self.folder.path(), server)?;
                Ok(())
            }
        }
    }

    /// Replaces what is loaded by another version of it.
    pub fn reload(&mut self) -> Result<()> {
        self.loads += 1;
        load(&self.loader, &self.wanted, self.loads)
    }

    /// Sends a signal to a part.
    pub fn signal(&self, part: Part, signal: Signal) -> Result<()> {
        let id = self.id(part).context("it does not run")?;
        Ok(kill_process(Pid::from_raw(id.cast_signed()).context("no process")?, signal)?)
    }

    /// Writes another config for view and overlay.
    pub fn reconfigure(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.folder.path().join("widget.ini"), text)?)
    }

    /// Changes the size of the terminal, or back where nothing is said.
    pub fn resize(&mut self, size: Option<(u16, u16)>) -> Result<()> {
        let (columns, rows) = size.unwrap_or(SIZE);
        self.terminal.resize(columns, rows)
    }

    /// The socket through which the pipe serves the view and whoever else connects.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The X server of the overlay.
    #[must_use]
    pub fn server(&self) -> Option<&XServer> {
        self.server.as_ref()
    }

    /// Takes what the view draws, for so long.
    pub fn watch(&mut self, time: Duration) -> Result<()> {
        self.terminal.drain(time)
    }

    /// Starts the pipe again where it has ended because its pins were replaced, as a service manager does; anything
    /// else that has ended is a fault.
    pub fn look_after(&mut self) -> Result<()> {
        if let Some(status) = self.pipe.0.try_wait()? {
            let said = self.said();
            // The kernel ends what takes too much memory.
            let is_killed = status.signal() == Some(Signal::KILL.as_raw());
            self.ended_for_memory += u32::from(is_killed);
            let reason = said.lines().rfind(|line| line.starts_with("leco-event-pipe: ")).unwrap_or_default();
            let may_end = is_killed || reason.contains("were unloaded or replaced");
            ensure!(may_end, "the pipe ended with {status}: {said}");
            self.pipe = start_pipe(self.folder.path(), &self.loader, &self.wanted)?;
        }
        if let Some(status) = self.view.0.try_wait()? {
            bail!("the view ended with {status}: {}", self.terminal.screen());
        }
        if let Some(status) = self.overlay.as_mut().map(|overlay| overlay.0.try_wait()).transpose()?.flatten()
        {
            bail!("the overlay ended with {status}: {}", self.said());
        }
        Ok(())
    }

    /// What pipe and overlay complained of.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    /// Waits until the screen says of this round's connections what the maps say; how long that took.
    pub fn agrees(&mut self) -> Result<Duration> {
        self.settle()?;
        let mut late = self.time(Self::filter)?;
        loop {
            self.look_after()?;
            // What asking takes on a busy machine is not the screen's fault.
            let (known, all) = self.known()?;
            let allowed = self.wanted.late.unwrap_or(LATE) * (1 + all / OTHERS);
            late += self.time(|this| this.terminal.drain(Duration::from_millis(20)))?;
            match difference(&self.terminal.screen(), &self.round_name(), &known) {
                None => return Ok(late),
                Some(fault) if late > allowed => bail!(
                    "{fault} after {:.1} s\nthe maps say {known:#?}\nthe screen says\n{}\n{}",
                    late.as_secs_f64(),
                    self.terminal.screen(),
                    self.said()
                ),
                Some(_) => {}
            }
        }
    }

    /// How long this takes, without what pipe and view wait for a processor that others of the machine have.
    fn time(&mut self, act: impl FnOnce(&mut Self) -> Result<()>) -> Result<Duration> {
        let waited = |this: &Self| waited(this.pipe.0.id()) + waited(this.view.0.id());
        let (start, before) = (Instant::now(), waited(self));
        act(self)?;
        Ok(start.elapsed().saturating_sub(waited(self).saturating_sub(before)))
    }

    /// Lets the view show this round alone.
    fn filter(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.is_filtered, true) {
            self.terminal.press(b"\x1b")?;
            self.terminal.wait_for("f filter")?;
        } else {
            self.terminal.wait_for(" leco ")?;
        }
        self.terminal.press(format!("fproc:{}\r", self.round_name()).as_bytes())?;
        // The header has no room for it where it has much to say.
        self.terminal.wait_for("f change")?;
        Ok(())
    }

    /// Rows of this round, as the maps have them, and how many connections these hold.
    fn known(&self) -> Result<(Vec<Row>, u32)> {
        let mut command = Command::new(program("leco-event-pipe"));
        command.arg("--pin").arg(self.loader.pins());
        command.args(["-E", "-C", "-c", "conn-traffic-min=0 memory=off"]);
        let output = command.output()?;
        ensure!(output.status.success(), "-C failed: {output:?}");
        let lines = String::from_utf8(output.stdout)?;
        let events = lines.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        let name = self.round_name();
        let rows = events.iter().filter(|event| event["comm"] == name).map(Row::of);
        let rows = rows.collect::<Option<Vec<_>>>().context("a line without its parts")?;
        Ok((rows, u32::try_from(events.len())?))
    }
}

/// How long the threads of a process waited for a processor (proc(5), `schedstat`).
fn waited(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let waited = tasks.filter_map(|task| {
        let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        schedstat.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Duration::from_nanos(waited.sum())
}

fn end(process: &mut Child, signal: Signal) -> Result<()> {
    kill_process(Pid::from_child(process), signal)?;
    process.wait()?;
    Ok(())
}

fn loader(loader: &Loader, wanted: &Wanted, number: usize) -> Command {
    let hooks = std::env::var("LECO_TEST_HOOKS").unwrap_or_default();
    let mut command = loader.command(&["--update-interval", INTERVALS[number % INTERVALS.len()]]);
    command.args(hooks.split_whitespace().flat_map(|level| ["--hook", level])).args(&wanted.loader);
    command
}

fn load(pins: &Loader, wanted: &Wanted, number: usize) -> Result<()> {
    let output = loader(pins, wanted, number).output()?;
    ensure!(output.status.success(), "the loader failed: {output:?}");
    Ok(())
}

/// Where a part complains.
fn log(folder: &Path) -> Result<File> {
    Ok(OpenOptions::new().append(true).create(true).open(folder.join("said"))?)
}

fn start_pipe(folder: &Path, loader: &Loader, wanted: &Wanted) -> Result<Running> {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{} exec \"$@\"", wanted.before_pipe), "sh"]);
    command.arg(program("leco-event-pipe")).arg("--pin").arg(loader.pins());
    // Name servers of other tests know the same addresses.
    command.args(["-E", "-c", "conn-traffic-min=0 names=off"]).args(&wanted.pipe);
    for (kind, name) in [("unix", "socket"), ("fifo", "fifo"), ("fifo", "fifo-of-overlay")] {
        command.arg("-o").arg(format!("{kind}:{}", folder.join(name).display()));
    }
    let memory = wanted.memory.clone().unwrap_or_else(|| "off".into());
    command.env("LECO_MEMORY", memory).env("LECO_LEARN", "off");
    Ok(Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log(folder)?).spawn()?))
}

/// In turn with a socket and a fifo as its source.
fn start_view(folder: &Path, number: usize) -> Result<(Terminal, Running)> {
    let terminal = Terminal::open(SIZE.0, SIZE.1)?;
    let source = if number.is_multiple_of(2) { "unix:socket" } else { "fifo:fifo" };
    // It is told of sizes if this is its own terminal.
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg(program("leco-tui")).args(["widget.ini", "--source", source]);
    command.current_dir(folder).envs([("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8")]);
    command.env_remove("NO_COLOR");
    let view = Running(terminal.attach(command)?.spawn()?);
    Ok((terminal, view))
}

fn start_overlay(folder: &Path, server: &XServer) -> Result<Running> {
    let mut command = Command::new(program("leco-sdl-widget"));
    command.args(["widget.ini", "--fifo", "fifo-of-overlay"]).current_dir(folder);
    // The settings of the tester's own desktop must not change the result.
    command.envs([("DISPLAY", &*server.display), ("DBUS_SESSION_BUS_ADDRESS", "disabled:")]);
    command.env_remove("WAYLAND_DISPLAY").stdin(Stdio::null()).stdout(Stdio::null());
    Ok(Running(command.stderr(log(folder)?).spawn()?))
}
