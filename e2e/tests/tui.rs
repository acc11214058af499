// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-tui` on a real terminal, from a fifo as a pipe writes it and from the kernel.

#![allow(clippy::unwrap_used)]

use std::fs::OpenOptions;
use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use leco_e2e::{EventPipe, FAR_V4, Kernel, Netns, Peer, Tmux, can_test_the_kernel, can_use_tmux, program};
use leco_os::clock::boot_ns;
use rustix::process::{Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

const UID: u32 = 54321;

/// A fifo whose writer the test is.
struct Writer {
    folder: tempfile::TempDir,
}

impl Writer {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("mkfifo").arg(folder.path().join("fifo")).status().unwrap();
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
    terminal.alternate_and_cursor() == (false, true)
        && !terminal.wants_mouse()
        && cooked("icanon")
        && cooked("echo")
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
    let mut pipe = Command::new(program("leco-event-pipe"));
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
    assert!(last_colour.starts_with("[38;5;9m"), "{line:?}");
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
    let rows = |screen: &str| screen.lines().filter(|line| line.contains("192.0.2.")).count();
    terminal.wait_for("nine lines below the heading", |screen| rows(screen) == 9);
    for (columns, height, lines) in [(80, 25, 22), (40, 6, 5), (20, 3, 2), (5, 2, 0), (60, 12, 9)] {
        terminal.resize(columns, height);
        if lines > 0 {
            let screen = terminal.wait_for("a full screen", |screen| rows(screen) == lines);
            assert!(screen.lines().all(|line| line.chars().count() <= columns.into()), "{screen}");
        }
    }
    let screen = terminal.screen();
    assert!(screen.contains("192.0.2.30 443"), "the latest are shown:\n{screen}");
}

#[test]
fn a_waiting_view_says_for_what_and_goes_on_when_it_comes() {
    if !can_use_tmux() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let terminal = Tmux::start(120, 8, &tui(&fifo, ""));
    let waiting =
        format!("waiting for {} (start leco-event-pipe, or where LECO is installed: ", fifo.display());
    terminal.wait_for("what it waits for", |screen| screen.contains(&waiting));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
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
    assert!(screen.contains("reloaded the config"), "{screen}");
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

#[test]
fn lines_are_searched_filtered_and_frozen() {
    if !can_use_tmux() {
        return;
    }
    let writer = Writer::new();
    let terminal = Tmux::start(100, 12, &tui(&writer.path(), ""));
    writer.write(&numbered(60));
    terminal.wait_for("lines", |screen| screen.contains("proc-60"));
    assert!(terminal.wants_mouse());
    // All that is known can be scrolled through, not only what is in a slot.
    terminal.type_keys("PageDown");
    terminal.type_keys("End");
    terminal.wait_for("the oldest", |screen| screen.contains(">#") && screen.contains("proc-01 "));
    terminal.type_keys("Escape");
    terminal
        .wait_for("the slots", |screen| screen.contains("sort (fixed)") || !screen.contains("by last seen"));

    terminal.type_keys("f");
    terminal.type_text("peer:192.0.2.7");
    terminal.wait_for("one line", |screen| screen.contains("proc-07") && !screen.contains("proc-60"));
    terminal.type_text(" prot:");
    terminal.wait_for("the fault", |screen| screen.contains("there is no field prot"));
    for _ in 0..5 {
        terminal.type_keys("BSpace");
    }
    terminal.type_text("po");
    terminal.type_keys("Tab");
    terminal.type_text("443");
    terminal.type_keys("Enter");
    let screen = terminal.wait_for("the filter", |screen| {
        screen.contains("filter: peer:192.0.2.7 port:443") && screen.contains("1 of 60 lines")
    });
    assert!(screen.contains("proc-07") && !screen.contains("proc-08"), "{screen}");
    terminal.type_keys("Escape");
    terminal.wait_for("all", |screen| screen.contains("proc-60"));

    terminal.type_keys("Space");
    terminal.wait_for("that it is frozen", |screen| screen.contains("FROZEN"));
    let unseen: Vec<String> =
        (61..=63).map(|number| format!("18:32 :: me :: proc-{number} :: 192.0.2.{number} 443 :: ")).collect();
    writer.write(&unseen);
    let screen = terminal.wait_for("what is new", |screen| screen.contains(", 3 new"));
    assert!(!screen.contains("proc-63"), "{screen}");
    terminal.type_keys("Space");
    terminal.wait_for("it to go on", |screen| screen.contains("proc-63") && !screen.contains("FROZEN"));

    terminal.type_keys("/");
    terminal.type_text("PROC-62");
    let selected =
        |screen: &str| screen.lines().any(|line| line.starts_with('>') && line.contains("proc-62"));
    terminal.wait_for("what was looked for", selected);
    terminal.type_keys("Enter");
    terminal.type_keys("Enter");
    let screen = terminal.wait_for("the details", |screen| screen.contains("last seen"));
    assert!(screen.contains("peer             192.0.2.62"), "{screen}");
    for (columns, rows) in [(20, 3), (1, 1), (120, 40), (80, 24), (30, 7)].into_iter().cycle().take(60) {
        terminal.resize(columns, rows);
    }
    terminal.resize(100, 12);
    terminal.wait_for("the details again", |screen| screen.contains("peer             192.0.2.62"));
    // The first one closes the details.
    terminal.type_keys("q");
    terminal.wait_for("the list", |screen| !screen.contains("last seen"));
    terminal.type_keys("q");
    terminal.wait_for("its end", |screen| screen.contains("exit status 0"));
    assert!(is_restored(&terminal));
}

#[test]
fn a_rule_is_tried_copied_and_kept() {
    if !can_use_tmux() {
        return;
    }
    let writer = Writer::new();
    let config = writer.folder.path().join("widget.ini");
    std::fs::write(&config, "[rx-proc]\nme = you\n").unwrap();
    let terminal = Tmux::start(120, 30, &tui(&writer.path(), &config.display().to_string()));
    terminal.allow_clipboard();
    writer.write(&numbered(5));
    terminal.wait_for("lines", |screen| screen.contains("proc-05"));
    terminal.type_keys("Home");
    terminal.wait_for("a selection", |screen| {
        screen.lines().any(|line| line.starts_with('>') && line.contains("proc-01"))
    });
    terminal.type_keys("x");
    let screen = terminal.wait_for("the trial", |screen| screen.contains("would hide 1 line"));
    assert!(screen.contains(r"[rx-group]  :: proc\-01 :: 192\.0\.2\.1 443 :: ="), "{screen}");
    for _ in 0..60 {
        terminal.type_keys("BSpace");
    }
    terminal.type_text("(proc");
    terminal.wait_for("its fault", |screen| screen.contains("not work: "));
    for _ in 0..5 {
        terminal.type_keys("BSpace");
    }
    terminal.type_text("proc-0[1-3] =");
    terminal.wait_for("what it does", |screen| screen.contains("would hide 3 lines"));
    terminal.type_keys("Enter");
    terminal.wait_for("that it is copied", |_| terminal.clipboard() == "[rx-group]\nproc-0[1-3] =\n");
    terminal.type_keys("C-s");
    terminal.wait_for("the question", |screen| screen.contains("append this rule to"));
    terminal.type_keys("y");
    let screen = terminal
        .wait_for("it to take effect", |screen| !screen.contains("proc-01") && screen.contains("proc-04"));
    assert!(!screen.contains("proc-03"), "{screen}");
    assert_eq!(
        std::fs::read_to_string(&config).unwrap(),
        "[rx-proc]\nme = you\n\n[rx-group]\nproc-0[1-3] =\n"
    );
    terminal.type_keys("r");
    terminal.wait_for("the rules", |screen| screen.contains("hits") && screen.contains("proc-0[1-3]"));
}

#[test]
fn events_come_from_standard_input_and_recordings_with_keys_from_the_terminal() {
    if !can_use_tmux() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (events, recording) = (folder.path().join("events"), folder.path().join("recording"));
    let second = 1_000_000_000;
    let lines: String = (0..4)
        .map(|at| {
            event(
                boot_ns() + at * 4 * second,
                &format!("18:3{at} :: me :: proc-{at} :: 192.0.2.{at} 443 :: "),
            )
        })
        .collect();
    std::fs::write(&events, lines).unwrap();
    let program = program("leco-tui");
    let command =
        format!("cat {} | {} -s - --record {}", events.display(), program.display(), recording.display());
    let terminal = Tmux::start(100, 12, &command);
    terminal.wait_for("the lines", |screen| screen.contains("proc-3"));
    terminal.type_keys("q");
    terminal.wait_for("its end", |screen| screen.contains("exit status 0"));
    assert_eq!(std::fs::read_to_string(&recording).unwrap(), std::fs::read_to_string(&events).unwrap());

    let terminal =
        Tmux::start(100, 12, &format!("{} --replay {} --speed 0.1", program.display(), recording.display()));
    terminal
        .wait_for("the first line", |screen| screen.contains("proc-0") && screen.contains("▶ 0:00 / 0:12 "));
    assert!(!terminal.screen().contains("proc-1"));
    // Whatever is open.
    terminal.type_keys("Enter");
    terminal.wait_for("the details", |screen| screen.contains("last seen"));
    terminal.type_keys("Space");
    terminal.type_keys("Escape");
    terminal.wait_for("it to stand still", |screen| screen.contains("‖ 0:0"));
    terminal.type_keys("Right");
    terminal.wait_for("later lines", |screen| screen.contains("proc-2") && screen.contains("/ 0:12"));
    terminal.type_keys("Left");
    terminal.wait_for("earlier lines", |screen| screen.contains("proc-0") && !screen.contains("proc-2"));
    terminal.type_keys("q");
    terminal.wait_for("its end", |screen| screen.contains("exit status 0"));
    assert!(is_restored(&terminal));
}

#[test]
fn no_escape_sequence_of_an_event_reaches_the_terminal() {
    if !can_use_tmux() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (events, written) = (folder.path().join("events"), folder.path().join("written"));
    let evil = "\u{1b}]0;pwned\u{7}\u{9b}31m\u{1b}[2J\r\n\u{202e}";
    let mut fields = serde_json::Map::new();
    for field in ["user", "comm", "script", "cg", "unit", "container", "name", "host", "state", "dir", evil] {
        fields.insert(field.into(), evil.into());
    }
    for (field, number) in [("ns", boot_ns()), ("ns_trx", boot_ns()), ("rx", 7), ("tx", 7)] {
        fields.insert(field.into(), number.into());
    }
    fields.insert(
        "line".into(),
        format!("18:32 :: {evil} :: evil {evil} [{evil}] :: {evil} 443 !{evil} :: v {evil}").into(),
    );
    std::fs::write(&events, serde_json::Value::Object(fields).to_string() + "\n").unwrap();
    let command = format!("read start; {} -s file:{}", program("leco-tui").display(), events.display());
    let terminal = Tmux::start(120, 40, &command);
    terminal.tap(&written);
    terminal.type_keys("Enter");
    terminal.wait_for("the line", |screen| screen.contains("evil"));
    for key in ["j", "Enter", "Escape", "x", "Escape", "e", "Escape", "r", "Escape"] {
        terminal.type_keys(key);
    }
    terminal.type_keys("f");
    terminal.type_text("evil");
    terminal.wait_for("the filter", |screen| screen.contains("1 of 1"));
    terminal.type_keys("C-c");
    terminal.wait_for("its end", |screen| screen.contains("exit status 0"));
    let bytes = std::fs::read(&written).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    // Before that it asks for the background itself.
    let (_, text) = text.split_once("\u{1b}[?1049h").unwrap();
    assert!(text.contains("pwned"), "it was drawn: {text}");
    assert!(!text.contains("\u{1b}]0;") && !text.contains('\u{7}') && !text.contains('\u{9b}'), "{text:?}");
    assert!(!text.contains('\u{202e}'));
}

#[test]
fn a_gigabyte_without_a_newline_is_passed_over() {
    const GIGABYTE: u64 = 1_000_000_000;
    let mut command = Command::new(program("leco-tui"));
    command.args(["--source", "-", "--once", "--wait", "60"]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let block = vec![b'x'; 1 << 20];
    let mut left = GIGABYTE;
    while left > 0 {
        let part = left.min(block.len() as u64);
        stdin.write_all(&block[..usize::try_from(part).unwrap()]).unwrap();
        left -= part;
    }
    stdin.write_all(format!("\n{}", event(boot_ns(), "after it")).as_bytes()).unwrap();
    drop(stdin);
    let peak = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let peak = peak
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "after it\n");
    assert!(peak.is_none_or(|kib| kib < 64 << 10), "{peak:?} KiB");
}

#[test]
fn a_terminal_that_stops_reading_costs_no_memory_and_holds_up_no_signal() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let size = Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&theirs, size).unwrap();
    let mut command = Command::new(program("leco-tui"));
    command.args([
        "--theme",
        "dark",
        "--source",
        &format!("unix:{}", folder.path().join("socket").display()),
    ]);
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(Stdio::null());
    let mut view = command.env("TERM", "xterm-256color").spawn().unwrap();
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_write_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
    // Nobody reads what is drawn: at last nobody takes events either.
    let mut sent = 0_u64;
    while sent < 1_000_000 {
        let line = format!("18:32 :: me :: proc-{sent} :: 192.0.2.1 443 :: ");
        if socket.write_all(event(boot_ns(), &line).as_bytes()).is_err() {
            break;
        }
        sent += 1;
    }
    assert!((100..1_000_000).contains(&sent), "{sent} events were taken");
    let status = std::fs::read_to_string(format!("/proc/{}/status", view.id())).unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    let peak: u64 = peak.unwrap();
    assert!(peak < 64 << 10, "{peak} KiB");
    kill_process(rustix::process::Pid::from_child(&view), Signal::TERM).unwrap();
    leco_e2e::wait_for("its end", || view.try_wait().unwrap());
}
