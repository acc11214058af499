// SPDX-License-Identifier: GPL-3.0-or-later
//! What programs say is never worth what they do: standard streams that are broken, full, closed or a terminal that is
//! gone change nothing but that nothing is said. And terminals of sizes that nobody has.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use leco_e2e::desktop::{XServer, can_use};
use leco_e2e::{
    EventPipe, FAR_V4, Kernel, Loader, Netns, Peer, can_test_the_kernel, program, wait_for, wait_or_explain,
};
use leco_os::clock::boot_ns;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A stream that takes or gives nothing, or does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// As a test usually has it: an empty input, an output that is read.
    Usual,
    /// A pipe whose reader has left: `| true`.
    Broken,
    /// A full disk: `>/dev/full`.
    Full,
    /// Not open at all: `>&-`.
    Closed,
    /// A terminal whose window was closed.
    GoneTerminal,
}

impl Stream {
    fn output(self) -> Stdio {
        match self {
            Self::Usual | Self::Closed => Stdio::piped(),
            Self::Broken => std::io::pipe().unwrap().1.into(),
            Self::Full => OpenOptions::new().write(true).open("/dev/full").unwrap().into(),
            Self::GoneTerminal => gone_terminal().into(),
        }
    }

    fn input(self) -> Stdio {
        if self == Self::GoneTerminal { gone_terminal().into() } else { Stdio::null() }
    }
}

/// A way to run a command: its standard input, output and error.
type Streams = [Stream; 3];

/// Every way in which one of the streams is disturbed, or all of them in the same way.
fn few_disturbances() -> Vec<Streams> {
    use Stream::{Broken, Closed, Full, GoneTerminal, Usual};
    let mut all = vec![[Closed, Usual, Usual], [Usual, Full, Broken], [Usual, Broken, Full]];
    for kind in [Broken, Full, Closed, GoneTerminal] {
        all.extend([[Usual, kind, Usual], [Usual, Usual, kind], [Usual, kind, kind], [kind; 3]]);
    }
    all
}

/// Every combination.
fn all_disturbances() -> Vec<Streams> {
    use Stream::{Broken, Closed, Full, GoneTerminal, Usual};
    let outputs = [Usual, Broken, Full, Closed, GoneTerminal];
    let inputs = [Usual, Closed, GoneTerminal].into_iter();
    inputs.flat_map(|a| outputs.into_iter().flat_map(move |b| outputs.map(|c| [a, b, c]))).collect()
}

/// A command that a shell runs in its place, with closed streams closed.
fn disturbed(command: &[String], streams: Streams) -> Command {
    let mut script = "exec \"$@\"".to_owned();
    for (stream, close) in streams.iter().zip([" <&-", " >&-", " 2>&-"]) {
        if *stream == Stream::Closed {
            script += close;
        }
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh"]).args(command);
    shell.stdin(streams[0].input()).stdout(streams[1].output()).stderr(streams[2].output());
    // Neither display nor memory nor pins of whoever runs the tests.
    shell.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").env("LECO_MEMORY", "off");
    shell
}

fn command(name: &str, arguments: &[&str]) -> Vec<String> {
    let program = program(name).display().to_string();
    std::iter::once(program).chain(arguments.iter().map(|&argument| argument.to_owned())).collect()
}

/// Runs a command in each of these ways: it must end as it does undisturbed. A command that is run for its `data` may
/// fail where they cannot be written, and says so where it can; that nobody wants them is no failure.
fn ends_the_same(command: &[String], is_data: bool, ways: &[Streams]) {
    let undisturbed = disturbed(command, [Stream::Usual; 3]).output().unwrap();
    let expected = undisturbed.status;
    assert!(expected.code().is_some_and(|code| code != 101), "{command:?}: {undisturbed:?}");
    for &streams in ways {
        let output = disturbed(command, streams).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{command:?} {streams:?}: {said}");
        let is_lost = is_data && matches!(streams[1], Stream::Full | Stream::Closed | Stream::GoneTerminal);
        if is_lost {
            assert_eq!(output.status.code(), Some(1), "{command:?} {streams:?}: {said}");
            assert!(
                streams[2] != Stream::Usual || said.contains("cannot write to standard output"),
                "{command:?} {streams:?}: {said:?}"
            );
        } else {
            assert_eq!(output.status, expected, "{command:?} {streams:?}: {said}");
        }
    }
}

fn event(ns: u64, line: &str) -> String {
    serde_json::json!({"ns": ns, "ns_trx": ns, "line": line}).to_string() + "\n"
}

#[test]
fn a_command_ends_the_same_whoever_listens() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("good.ini"), "[window]\n").unwrap();
    fs::write(path("bad.ini"), "[window]\nno-such-setting = 1\n").unwrap();
    fs::write(path("events"), event(boot_ns(), "18:32 :: me :: curl :: 192.0.2.1 443 :: ")).unwrap();
    let ways = all_disturbances();
    let mut words = Vec::new();
    for name in
        ["leco-ebpf-load", "leco-event-pipe", "leco-tui", "leco-sdl-widget", "leco-notify", "leco-relay"]
    {
        for option in ["--help", "-h", "--version"] {
            ends_the_same(&command(name, &[option]), true, &few_disturbances());
        }
        words.push(command(name, &["--no-such-option"]));
    }
    words.push(command("leco-ebpf-load", &["--pin", &path("no-bpffs")]));
    words.push(command("leco-ebpf-load", &["--group", "no-such-group", "--pin", "/sys/fs/bpf/leco-no"]));
    words.push(command("leco-event-pipe", &["--pin", &path("no-pins")]));
    words.push(command("leco-event-pipe", &["--output", "no-such-output:"]));
    words.push(command("leco-event-pipe", &["--conf", "no-such-setting=1"]));
    for name in ["leco-tui", "leco-sdl-widget"] {
        words.push(command(name, &[&path("no.ini"), "--check-config"]));
        words.push(command(name, &[&path("good.ini"), "--check-config"]));
        words.push(command(name, &[&path("bad.ini"), "--check-config"]));
        // Neither a terminal nor a display.
        words.push(command(name, &[&path("bad.ini")]));
    }
    words.push(command("leco-tui", &["--once", "--wait", "0", "--fifo", &path("fifo")]));
    for command in words {
        ends_the_same(&command, false, &ways);
    }
    let (bad, events) = (path("bad.ini"), format!("file:{}", path("events")));
    for data in [
        command("leco-tui", &[&bad, "--once", "--source", &events]),
        command("leco-tui", &[&bad, "--once", "--json", "--source", &events]),
        command("leco-tui", &[&bad, "--rx-test", "18:32 :: me :: curl :: 192.0.2.1 443 :: "]),
        command("leco-tui", &["--rx-test", "a line", "--json"]),
        command("leco-sdl-widget", &["--rx-test", "a line"]),
        command("leco-notify", &["--rx-test", "a line"]),
    ] {
        ends_the_same(&data, true, &few_disturbances());
    }
}

/// Waits for a pipe that waits for events: it catches SIGHUP last.
fn wait_until_it_listens(pid: u32) {
    wait_for("the pipe", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim();
        (u64::from_str_radix(caught, 16).ok()? & 1 != 0).then_some(())
    });
}

#[test]
fn a_load_is_whole_whoever_listens() {
    if !can_test_the_kernel() {
        return;
    }
    for streams in few_disturbances() {
        let loader = Loader::default();
        let pins = loader.pins().display().to_string();
        let run = |arguments: &[&str]| {
            let arguments: Vec<_> = ["--pin", &pins].into_iter().chain(arguments.iter().copied()).collect();
            let output = disturbed(&command("leco-ebpf-load", &arguments), streams).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{streams:?} {arguments:?}: {output:?}");
        };
        let is_loaded = || {
            let mut stats = Command::new(program("leco-event-pipe"));
            stats.args(["--stats", "--pin", &pins]).output().unwrap().status.success()
        };
        run(&["-v"]);
        assert!(is_loaded(), "{streams:?}");
        // It is there; then another one takes its place, whose hooks say what is lost without them.
        run(&[]);
        run(&["--update-interval", "1s", "--no-dns"]);
        assert!(is_loaded(), "{streams:?}");
        run(&["--unload"]);
        assert!(!loader.pins().exists(), "{streams:?}");
    }
}

#[test]
fn what_is_asked_of_the_kernel_side_ends_the_same_whoever_listens() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let pins = kernel.pins().display().to_string();
    let ways = few_disturbances();
    ends_the_same(&command("leco-ebpf-load", &["--check"]), true, &ways);
    let worst = [Stream::Broken, Stream::Full, Stream::Closed, Stream::GoneTerminal].map(|kind| [kind; 3]);
    ends_the_same(&command("leco-ebpf-load", &["--check", "--json"]), true, &worst);
    ends_the_same(&command("leco-ebpf-load", &["--check", "-v"]), true, &worst);
    let netns = Netns::new();
    let peer = Peer::start(&netns, 54321, b"leco-peer", &["udp", &format!("{FAR_V4}:9"), "send", "9"]);
    peer.finish();
    ends_the_same(&command("leco-event-pipe", &["--stats", "--pin", &pins]), true, &ways);
    ends_the_same(
        &command("leco-event-pipe", &["-C", "-c", "conn-traffic-min=0", "--pin", &pins]),
        true,
        &ways,
    );
    // A second reader is refused by words.
    let reader = EventPipe::start(kernel.pins(), &[]);
    wait_until_it_listens(reader.id());
    ends_the_same(&command("leco-event-pipe", &["--pin", &pins]), false, &ways);
}

#[test]
fn a_pipe_goes_on_without_its_log() {
    if !can_test_the_kernel() {
        return;
    }
    for stream in [Stream::Full, Stream::Broken, Stream::Closed, Stream::GoneTerminal] {
        let kernel = Kernel::load(&[]);
        let folder = tempfile::tempdir().unwrap();
        let (fifo, memory) = (folder.path().join("fifo"), folder.path().join("memory"));
        let memory_option = format!("memory={}", memory.display());
        let arguments = command(
            "leco-event-pipe",
            &[
                "-E",
                "-c",
                "conn-traffic-min=0",
                "-c",
                &memory_option,
                "--pin",
                kernel.pins().to_str().unwrap(),
            ],
        );
        let arguments: Vec<_> =
            arguments.into_iter().chain(["--fifo".into(), fifo.display().to_string()]).collect();
        let mut log = disturbed(&arguments, [Stream::Closed, Stream::Closed, stream]);
        // It warns of this one at its start.
        let mut pipe = log.env("TZ", "No/Such-Zone").env_remove("LECO_MEMORY").spawn().unwrap();
        wait_for("the fifo", || {
            assert_eq!(pipe.try_wait().unwrap(), None, "{stream:?}");
            fifo.exists().then_some(())
        });
        let reader = leco_e2e::LineReader::new(File::open(&fifo).unwrap());
        let netns = Netns::new();
        let peer = Peer::start(&netns, 54321, b"leco-peer", &["udp", &format!("{FAR_V4}:9"), "send", "9"]);
        peer.finish();
        wait_or_explain(
            || format!("an event, {stream:?}: {:#?}", reader.lines()),
            || reader.lines().iter().any(|line| line.contains("leco-peer")).then_some(()),
        );
        // What it opened first is no standard stream, to which others would write.
        for number in [0, 1] {
            let target = fs::read_link(format!("/proc/{}/fd/{number}", pipe.id())).unwrap();
            assert_eq!(target, Path::new("/dev/null"), "{number} {stream:?}");
        }
        kill_process(Pid::from_child(&pipe), Signal::TERM).unwrap();
        let status = wait_for("its end", || pipe.try_wait().unwrap());
        assert!(status.success(), "{stream:?}: {status}");
        assert!(fs::read(&memory).unwrap().starts_with(b"SQLite format 3\0"), "{stream:?}");
    }
}

/// A terminal that the test is.
struct Pty {
    ours: File,
    theirs: File,
    written: Vec<u8>,
}

impl Pty {
    fn new(columns: u16, rows: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let mut options = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            options.read(true).write(true),
            rustix::fs::OFlags::NOCTTY.bits().cast_signed(),
        );
        let theirs = options.open(name.to_str().unwrap()).unwrap();
        let this = Self { ours: ours.into(), theirs, written: Vec::new() };
        this.resize(columns, rows);
        this
    }

    fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.ours, size).unwrap();
    }

    /// Starts a command whose controlling terminal it is, with SIGHUP ignored or not.
    fn start(&self, command: &[String], ignores_hup: bool) -> Child {
        let signal = if ignores_hup { "--ignore-signal=HUP" } else { "--default-signal=HUP" };
        let mut started = Command::new("setsid");
        started.args(["--ctty", "env", signal]).args(command);
        started.env("TERM", "xterm-256color").env("LECO_MEMORY", "off").env_remove("NO_COLOR");
        started.env_remove("COLUMNS").env_remove("LINES");
        let theirs = || self.theirs.try_clone().unwrap();
        started.stdin(theirs()).stdout(theirs()).stderr(theirs());
        started.spawn().unwrap()
    }

    /// Takes what was written so far.
    fn read(&mut self) -> &[u8] {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = self.ours.read(&mut buffer) {
            self.written.extend(&buffer[..count]);
        }
        &self.written
    }

    /// Waits until a text was written.
    fn wait_for(&mut self, text: &str) {
        let text = text.as_bytes();
        wait_for("a text", || self.read().windows(text.len()).any(|part| part == text).then_some(()));
    }

    fn type_text(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).unwrap();
    }
}

/// The rows of a large screen on which this was written.
fn screen(written: &[u8]) -> Vec<String> {
    let (rows, columns) = (NonZero::new(60).unwrap(), NonZero::new(200).unwrap());
    let mut parser = vt100::Parser::new(rows, columns, 0);
    parser.process(written);
    parser.screen().rows(0, columns.get()).collect()
}

/// The end of a terminal that a program has, whose other end is closed.
fn gone_terminal() -> File {
    let Pty { ours, theirs, .. } = Pty::new(80, 24);
    drop(ours);
    theirs
}

/// How a process ends, which is to be soon: neither asleep for ever nor busy with nothing.
fn soon_ended(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    let status = wait_for("the end of a program", || {
        let status = child.try_wait().unwrap();
        if status.is_none() && start.elapsed() > Duration::from_secs(10) {
            let state = fs::read_to_string(format!("/proc/{}/stat", child.id()));
            let _ = child.kill();
            panic!("it does not end: {state:?}");
        }
        status
    });
    assert!(start.elapsed() < Duration::from_secs(2), "only after {:?}", start.elapsed());
    status
}

#[test]
fn a_program_whose_terminal_goes_ends_soon_and_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo").display().to_string();
    for ignores_hup in [false, true] {
        for is_busy in [false, true] {
            let mut terminal = Pty::new(80, 24);
            let socket = folder.path().join(format!("socket-{ignores_hup}-{is_busy}"));
            let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            let source = format!("unix:{}", socket.display());
            let mut view = terminal.start(&command("leco-tui", &["--source", &source]), ignores_hup);
            let (mut events, _) = listener.accept().unwrap();
            terminal.wait_for("q quit");
            // It draws while the terminal goes: its end is found by a write.
            let writer = std::thread::spawn(move || {
                let line =
                    |number| event(boot_ns(), &format!("18:32 :: me :: proc-{number} :: 192.0.2.1 443 :: "));
                let mut numbers = 0..;
                while is_busy && events.write_all(line(numbers.next().unwrap()).as_bytes()).is_ok() {}
                events
            });
            if is_busy {
                terminal.wait_for("proc-");
            }
            drop(terminal);
            let status = soon_ended(&mut view);
            assert_eq!(status.code(), Some(0), "ignored {ignores_hup}, busy {is_busy}: {status}");
            drop(writer.join().unwrap());
        }
        let mut terminal = Pty::new(80, 24);
        let mut debug = terminal.start(&command("leco-tui", &["--debug", "--fifo", &fifo]), ignores_hup);
        terminal.wait_for("waiting for");
        drop(terminal);
        let status = soon_ended(&mut debug);
        assert_eq!(
            (status.code(), status.signal()),
            if ignores_hup { (Some(0), None) } else { (None, Some(1)) }
        );
    }
}

#[test]
fn a_pipe_whose_terminal_or_reader_goes_ends_soon_and_quietly() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let pipe = command("leco-event-pipe", &["--pin", kernel.pins().to_str().unwrap()]);
    for ignores_hup in [false, true] {
        let terminal = Pty::new(80, 24);
        let mut child = terminal.start(&pipe, ignores_hup);
        wait_until_it_listens(child.id());
        drop(terminal);
        assert_eq!(soon_ended(&mut child).code(), Some(0), "ignored: {ignores_hup}");
    }
    // Nothing is written meanwhile.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut quiet = Command::new(&pipe[0]);
    quiet.args(&pipe[1..]).arg("--output=-?filter=/no-such-thing/").env("LECO_MEMORY", "off");
    let mut child = quiet.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    drop(quiet);
    wait_until_it_listens(child.id());
    drop(reader);
    assert_eq!(soon_ended(&mut child).code(), Some(0));
}

#[test]
fn an_overlay_outlives_the_terminal_that_it_ignores_and_ends_with_its_display() {
    if !can_use(&["Xvfb"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("widget.ini");
    fs::write(&config, "[window]\n").unwrap();
    let fifo = folder.path().join("fifo");
    let overlay = |server: &XServer| {
        let name = command("leco-sdl-widget", &[]).remove(0);
        let fifo = format!("--fifo={}", fifo.display());
        let display = format!("DISPLAY={}", server.display);
        vec![
            "env".into(),
            "-u".into(),
            "WAYLAND_DISPLAY".into(),
            display,
            name,
            fifo,
            config.display().to_string(),
        ]
    };
    let is_shown = |server: &XServer| {
        wait_for("the overlay", || server.windows().iter().any(|(_, title)| title == "LECO").then_some(()));
    };
    let mut server = XServer::start();
    let mut terminal = Pty::new(80, 24);
    let mut child = terminal.start(&overlay(&server), false);
    terminal.wait_for("waiting for");
    is_shown(&server);
    drop(terminal);
    assert_eq!(soon_ended(&mut child).code(), Some(0), "asked to end by SIGHUP");

    let mut terminal = Pty::new(80, 24);
    let mut child = terminal.start(&overlay(&server), true);
    terminal.wait_for("waiting for");
    is_shown(&server);
    drop(terminal);
    // It has something to say, to nobody: a bad config does not count, a good one with another title does.
    fs::write(&config, "[window]\nno-such-setting = 1\n").unwrap();
    fs::write(&config, "[window]\ntitle = still here\n").unwrap();
    wait_for("the changed overlay", || {
        assert_eq!(child.try_wait().unwrap(), None, "it stays");
        server.windows().iter().any(|(_, title)| title == "still here").then_some(())
    });
    server.stop();
    assert_eq!(soon_ended(&mut child).code(), Some(1));
}

/// Memory that a process had at most, in KiB.
fn peak(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok()).unwrap()
}

#[test]
fn a_terminal_without_a_size_has_the_one_that_is_told() {
    for (variables, columns, rows) in [
        (vec![], 80, 24),
        (vec!["TERM=no-such-terminal"], 80, 24),
        (vec!["COLUMNS=132", "LINES=43"], 132, 43),
        (vec!["COLUMNS=0", "LINES=x"], 80, 24),
        (vec!["COLUMNS=100"], 100, 24),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo").display().to_string();
        let mut terminal = Pty::new(0, 0);
        let view = command("leco-tui", &["--theme", "dark", "--fifo", &fifo]);
        let set = ["env".to_owned()].into_iter().chain(variables.iter().map(|&set| set.to_owned()));
        let mut child = terminal.start(&set.chain(view).collect::<Vec<_>>(), false);
        wait_or_explain(
            || format!("{variables:?}: {columns}×{rows}"),
            || {
                let screen = screen(terminal.read());
                let footer = screen.iter().position(|row| row.contains("q quit"));
                let width = screen[0].chars().count();
                // The header's last column is a space.
                (footer == Some(rows - 1) && (columns - 1..=columns).contains(&width)).then_some(())
            },
        );
        terminal.type_text("q");
        assert_eq!(soon_ended(&mut child).code(), Some(0));
    }
}

#[test]
fn a_terminal_of_any_size_is_drawn_on_and_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo").display().to_string();
    let mut terminal = Pty::new(u16::MAX, u16::MAX);
    let view = command("leco-tui", &["--theme", "dark", "--fifo", &fifo]);
    let mut child = terminal.start(&view, false);
    terminal.wait_for("q quit");
    let sizes = [(0, 0), (u16::MAX, u16::MAX), (1, u16::MAX), (u16::MAX, 1), (0, u16::MAX), (1, 1), (80, 24)];
    for turn in 0..20 {
        for (columns, rows) in sizes {
            terminal.resize(columns, rows);
            terminal.read();
            assert_eq!(child.try_wait().unwrap(), None, "turn {turn}: {columns}×{rows}");
        }
    }
    // What came before is of other sizes.
    wait_for("the usual size", || {
        let cleared = terminal.read().windows(4).rposition(|part| part == b"\x1b[2J")?;
        let rows = screen(&terminal.written[cleared..]);
        rows.iter().position(|row| row.contains("q quit")).filter(|&row| row == 23)
    });
    let peak = peak(&child);
    assert!(peak < 200 << 10, "{peak} KiB");
    terminal.type_text("q");
    let status = wait_for("its end", || {
        terminal.read();
        child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));
    let mut escaped = String::new();
    for byte in terminal.read().iter().rev().take(64).rev() {
        write!(escaped, "{}", byte.escape_ascii()).unwrap();
    }
    assert!(escaped.contains("\\x1b[?1049l"), "{escaped}");
}
