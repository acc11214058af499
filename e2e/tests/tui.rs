//! `leco-tui` on a real terminal, from a fifo as a pipe writes it and from the kernel.

#![allow(clippy::unwrap_used)]

use std::fs::OpenOptions;
use std::io::Write;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use leco_core::clock::boot_ns;
use leco_e2e::{EventPipe, FAR_V4, Kernel, Netns, Peer, Tmux, can_test_the_kernel, can_use_tmux, program};
use rustix::process::{Signal, kill_process};

const UID: u32 = 54321;

/// A fifo whose writer the test is.
struct Writer {
    folder: tempfile::TempDir,
}

impl Writer {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.path().join("fifo")).status().unwrap();
        assert!(made.success());
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("fifo")
    }

    /// Writes one event per line of text; waits for a reader.
    fn write(&self, lines: &[String]) {
        let mut fifo = OpenOptions::new().write(true).open(self.path()).unwrap();
        for (index, line) in (0..).zip(lines) {
            let ns = boot_ns() + index;
            fifo.write_all(event(ns, line).as_bytes()).unwrap();
        }
    }
}

fn event(ns: u64, line: &str) -> String {
    serde_json::json!({"ns": ns, "ns_trx": ns, "line": line}).to_string() + "\n"
}

fn tui(fifo: &Path, more: &str) -> String {
    format!("echo before; {} --fifo {} {more}", program("leco-tui").display(), fifo.display())
}

fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("18:32 :: me :: proc-{number:02} :: 192.0.2.{number} 443 :: ")).collect()
}

fn is_restored(terminal: &Tmux) -> bool {
    let settings = terminal.stty();
    let cooked = |flag: &str| settings.split_whitespace().any(|word| word == flag);
    terminal.alternate_and_cursor() == (false, true) && cooked("icanon") && cooked("echo")
}

#[test]
fn a_refused_connection_is_red_where_there_are_sixteen_colours() {
    if !can_test_the_kernel() || !can_use_tmux() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    // As a user starts it: without the details that tests look at.
    let mut pipe = std::process::Command::new(program("leco-event-pipe"));
    pipe.arg("--pin").arg(kernel.pins()).arg("--fifo").arg(&fifo);
    let _pipe = EventPipe::spawn(pipe);
    let terminal = Tmux::start(100, 12, &format!("export TERM=screen COLORTERM=; {}", tui(&fifo, "")));
    terminal.wait_for("the empty view", |screen| screen.contains("q quit"));
    let refused = format!("{FAR_V4}:9");
    let peer = Peer::start(&netns, UID, b"leco-peer", &["try", &refused]);
    terminal.wait_for("the refusal", |screen| screen.contains("9 !refused"));
    peer.finish();
    let screen = terminal.coloured_screen();
    let line = screen.lines().find(|line| line.contains("!refused")).unwrap();
    let (before, _) = line.split_once("9 !refused").unwrap();
    let last_colour = before.rsplit_once('\x1b').unwrap().1;
    assert!(last_colour.starts_with("[38;5;1m"), "{line:?}");
}

#[test]
fn a_real_connection_is_on_the_screen_and_q_leaves() {
    if !can_test_the_kernel() || !can_use_tmux() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let _pipe = EventPipe::start(kernel.pins(), &["--fifo", fifo.to_str().unwrap()]);
    let terminal = Tmux::start(100, 12, &tui(&fifo, ""));
    terminal.wait_for("the empty view", |screen| screen.contains("q quit"));
    assert_eq!(terminal.alternate_and_cursor(), (true, false));

    let socket = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let remote = socket.local_addr().unwrap();
    let peer = Peer::start(&netns, UID, b"leco-peer", &["udp", &remote.to_string(), "send", "9"]);
    let wanted = format!("leco-peer  {} {}/udp", remote.ip(), remote.port());
    let screen = terminal.wait_for("the connection", |screen| screen.contains(&wanted));
    let row = screen.lines().find(|line| line.contains(&wanted)).unwrap();
    assert!(row.contains(&format!("  {UID}  ")) && row.starts_with(" #"), "{row:?}");
    peer.finish();

    terminal.type_keys("q");
    let screen = terminal.wait_for("its end", |screen| screen.contains("exit status"));
    assert!(screen.starts_with("before\nexit status 0\n"), "{screen}");
    assert!(is_restored(&terminal));
}

#[test]
fn every_size_is_filled() {
    if !can_use_tmux() {
        return;
    }
    let writer = Writer::new();
    let terminal = Tmux::start(60, 12, &tui(&writer.path(), ""));
    writer.write(&numbered(30));
    let rows = |screen: &str| screen.lines().filter(|line| line.contains("  18:32  me  ")).count();
    terminal.wait_for("ten lines", |screen| rows(screen) == 10);
    for (columns, height, lines) in [(80, 25, 23), (40, 6, 5), (20, 3, 2), (5, 2, 0), (60, 12, 10)] {
        terminal.resize(columns, height);
        if lines > 0 {
            let screen = terminal.wait_for("a full screen", |screen| rows(screen) == lines);
            assert!(screen.lines().all(|line| line.chars().count() <= columns.into()), "{screen}");
        }
    }
    let screen = terminal.screen();
    assert!(screen.contains("proc-30"), "the latest are shown:\n{screen}");
}

#[test]
fn a_waiting_view_says_for_what_and_goes_on_when_it_comes() {
    if !can_use_tmux() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let terminal = Tmux::start(120, 8, &tui(&fifo, ""));
    let waiting = format!("waiting for {} (start leco-event-pipe, or: script/run)", fifo.display());
    terminal.wait_for("what it waits for", |screen| screen.contains(&waiting));
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    terminal.wait_for("the fifo", |screen| screen.contains("no connections yet"));
    let mut writer = OpenOptions::new().write(true).open(&fifo).unwrap();
    writer.write_all(b"garbage\n\n").unwrap();
    writer.write_all(event(boot_ns(), "18:32 :: me :: a\u{1b}[31m :: 192.0.2.1 1 :: ").as_bytes()).unwrap();
    let screen = terminal.wait_for("the event", |screen| screen.contains("192.0.2.1 1"));
    assert!(screen.contains("1 malformed") && screen.contains("a\u{fffd}[31m"), "{screen}");
}

#[test]
fn a_changed_config_takes_effect_at_once_and_a_bad_one_is_told() {
    if !can_use_tmux() {
        return;
    }
    let writer = Writer::new();
    let config = writer.folder.path().join("widget.ini");
    std::fs::write(&config, "[rx-proc]\nproc = first\n").unwrap();
    let terminal = Tmux::start(110, 10, &tui(&writer.path(), config.to_str().unwrap()));
    writer.write(&numbered(1));
    terminal.wait_for("the line as the config has it", |screen| screen.contains("first-01"));
    std::fs::write(&config, "[rx-proc]\n(proc = second\n").unwrap();
    let screen = terminal.wait_for("what is wrong", |screen| screen.contains("this group is never closed"));
    assert!(screen.contains("first-01") && screen.contains("widget.ini:2:1:"), "{screen}");
    let beside = config.with_extension("new");
    std::fs::write(&beside, "[rx-proc]\nproc = third\n").unwrap();
    std::fs::rename(&beside, &config).unwrap();
    let screen = terminal.wait_for("the line as it is now", |screen| screen.contains("third-01"));
    assert!(screen.contains("the changed config is in effect"), "{screen}");
}

#[test]
fn signals_and_panics_give_the_terminal_back() {
    if !can_use_tmux() {
        return;
    }
    let writer = Writer::new();
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let terminal = Tmux::start(80, 10, &tui(&writer.path(), ""));
        terminal.wait_for("the view", |screen| screen.contains("q quit"));
        kill_process(terminal.process("leco-tui"), signal).unwrap();
        let screen = terminal.wait_for("its end", |screen| screen.contains("exit status"));
        assert!(screen.starts_with("before\nexit status 0\n"), "{signal:?}: {screen}");
        assert!(is_restored(&terminal), "{signal:?}");
    }
    // Only debug builds know this variable.
    let terminal = Tmux::start(80, 10, &format!("export LECO_TUI_PANIC=source; {}", tui(&writer.path(), "")));
    let screen = terminal.wait_for("its end", |screen| screen.contains("exit status"));
    assert!(screen.contains("exit status 1") && screen.contains("it panicked: asked to panic"), "{screen}");
    assert!(is_restored(&terminal));
}
