// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-tui` as one of the programs of a terminal: job control, what it asks of the terminal, what comes from it, and
//! terminals that can do less.

#![allow(clippy::unwrap_used)]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use leco_e2e::{Tmux, can_use_tmux, program, wait_for};
use leco_os::clock::boot_ns;
use rustix::process::{Pid, Signal, kill_process};

/// A shell with job control, without what a user has configured. It runs until the server ends.
const SHELL: &str = "PS1='$ ' TERM=screen-256color bash --norc --noprofile -i";

/// Events to be read again and again.
struct Events {
    folder: tempfile::TempDir,
}

impl Events {
    fn new(lines: &[&str]) -> Self {
        let this = Self { folder: tempfile::tempdir().unwrap() };
        for line in lines {
            this.append(line);
        }
        this
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("events")
    }

    fn append(&self, line: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path()).unwrap();
        let ns = boot_ns();
        let event = serde_json::json!({"ns": ns, "ns_trx": ns, "line": line, "rx": 5000, "tx": 70_000});
        writeln!(file, "{event}").unwrap();
    }

    fn command(&self) -> String {
        format!("{} -s file:{}", program("leco-tui").display(), self.path().display())
    }
}

fn one() -> Events {
    Events::new(&["18:32 :: me :: proc-01 :: 192.0.2.1 443 :: v 5K / 70K ^"])
}

fn shows(screen: &str) -> bool {
    screen.contains("proc-01") && screen.contains("? help")
}

/// Whether the terminal is set as `stty` names it.
fn is_set(settings: &str, wanted: &[&str]) -> bool {
    let words = settings.split([' ', ';', '\n']).collect::<Vec<_>>();
    wanted.iter().all(|word| words.contains(word))
}

/// Whether everything that the view changes is as the shell wants it. The shell itself asks for bracketed paste.
fn is_restored(terminal: &Tmux) -> bool {
    let settings = terminal.stty();
    terminal.alternate_and_cursor() == (false, true)
        && !terminal.wants_mouse()
        && is_set(&settings, &["isig", "-noflsh"])
        && settings.contains("intr = ^C")
}

fn is_taken(terminal: &Tmux) -> bool {
    let settings = terminal.stty();
    terminal.alternate_and_cursor() == (true, false)
        && terminal.has("mouse_button_flag")
        && is_set(&settings, &["isig", "-icanon", "-echo"])
        && settings.contains("intr = <undef>")
}

fn wait_until_taken(terminal: &Tmux, what: &str) {
    terminal.wait_for(what, shows);
    wait_for("the modes of the view", || is_taken(terminal).then_some(()));
}

/// Waits until the process was stopped by a signal (`proc_pid_stat(5)`).
fn wait_until_stopped(process: Pid) {
    wait_for("it to stop", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
        stat.rsplit_once(") ")?.1.starts_with('T').then_some(())
    });
}

/// A shell at its prompt.
fn shell(columns: u16, rows: u16) -> Tmux {
    let terminal = Tmux::start(columns, rows, SHELL);
    terminal.wait_for("the prompt", |screen| screen.starts_with("$ ") || screen.starts_with('$'));
    terminal
}

fn enter(terminal: &Tmux, command: &str) {
    terminal.type_text(command);
    terminal.type_keys("Enter");
}

#[test]
fn the_stop_key_gives_the_terminal_back_and_fg_takes_it_whole() {
    if !can_use_tmux() {
        return;
    }
    let events = one();
    let terminal = shell(100, 12);
    enter(&terminal, &events.command());
    wait_until_taken(&terminal, "the view");
    for (columns, rows) in [(80, 15), (100, 9)] {
        terminal.type_keys("C-z");
        terminal.wait_for("the shell", |screen| screen.contains("Stopped"));
        assert!(is_restored(&terminal), "{}", terminal.stty());
        assert!(!shows(&terminal.screen()));
        terminal.resize(columns, rows);
        enter(&terminal, "clear; fg");
        wait_until_taken(&terminal, "the view again");
        let footer = |screen: &str| {
            screen.lines().nth(usize::from(rows) - 1).is_some_and(|line| line.contains("q quit"))
        };
        terminal.wait_for("its size", footer);
    }
    // In what is typed, too.
    terminal.type_keys("f");
    terminal.type_text("proc:proc");
    terminal.wait_for("the filter", |screen| screen.contains("filter  proc:proc"));
    terminal.type_keys("C-z");
    terminal.wait_for("the shell", |screen| screen.contains("Stopped"));
    enter(&terminal, "clear; fg");
    terminal.wait_for("the filter again", |screen| screen.contains("filter  proc:proc"));
    terminal.type_keys("C-c");
    terminal.wait_for("the shell", |screen| !screen.contains(" filter "));
    wait_for("the modes of the shell", || is_restored(&terminal).then_some(()));
    enter(&terminal, "echo status $?");
    terminal.wait_for("how it ended", |screen| screen.contains("status 0"));
}

#[test]
fn a_job_is_stopped_with_what_feeds_it() {
    if !can_use_tmux() {
        return;
    }
    let events = one();
    let terminal = shell(100, 12);
    let view = program("leco-tui");
    enter(&terminal, &format!("tail -n +1 -f {} | {} -s -", events.path().display(), view.display()));
    wait_until_taken(&terminal, "the view");
    terminal.type_keys("C-z");
    terminal.wait_for("the shell", |screen| screen.contains("Stopped"));
    wait_until_stopped(terminal.process("tail"));
    assert!(is_restored(&terminal));
    enter(&terminal, "clear; fg");
    wait_until_taken(&terminal, "the view again");
    events.append("18:33 :: me :: proc-02 :: 192.0.2.2 443 :: ");
    terminal.wait_for("what came later", |screen| screen.contains("proc-02"));
    terminal.type_keys("q");
    wait_for("the modes of the shell", || is_restored(&terminal).then_some(()));
}

#[test]
fn signals_stop_it_and_in_the_background_it_waits() {
    if !can_use_tmux() {
        return;
    }
    let events = one();
    let terminal = shell(100, 12);
    enter(&terminal, &events.command());
    wait_until_taken(&terminal, "the view");
    let process = terminal.process("leco-tui");
    kill_process(process, Signal::TSTP).unwrap();
    wait_until_stopped(process);
    terminal.wait_for("the shell", |screen| screen.contains("Stopped"));
    wait_for("the modes of the shell", || is_restored(&terminal).then_some(()));
    // The shell has the terminal: whatever lets it go on, it draws nothing.
    enter(&terminal, "clear; bg; until jobs -l | grep 'tty output'; do :; done");
    terminal.wait_for("that it stopped again", |screen| screen.contains("Stopped (tty output)"));
    wait_until_stopped(process);
    assert!(is_restored(&terminal) && !shows(&terminal.screen()), "{}", terminal.screen());
    enter(&terminal, "clear; fg");
    wait_until_taken(&terminal, "the view again");
    // Nobody can give the terminal back before this one.
    kill_process(process, Signal::STOP).unwrap();
    wait_until_stopped(process);
    enter(&terminal, "clear; fg");
    wait_until_taken(&terminal, "the view after SIGSTOP");
    // To go on without having been stopped.
    kill_process(process, Signal::CONT).unwrap();
    terminal.type_keys("?");
    terminal.wait_for("the help", |screen| screen.contains("select a line"));
    terminal.type_keys("C-c");
    wait_for("the modes of the shell", || is_restored(&terminal).then_some(()));
}

#[test]
fn where_nobody_could_let_it_go_on_it_does_not_stop() {
    if !can_use_tmux() {
        return;
    }
    let events = one();
    // A shell without job control, the parent of which is of another session.
    let terminal = Tmux::start(100, 12, &events.command());
    wait_until_taken(&terminal, "the view");
    terminal.type_keys("C-z");
    terminal.type_keys("?");
    terminal.wait_for("the help", |screen| screen.contains("select a line"));
    terminal.type_keys("C-c");
    terminal.wait_for("its end", |screen| screen.contains("exit status 0"));
    assert!(is_restored(&terminal));
}

#[test]
fn in_the_background_it_asks_the_terminal_nothing() {
    if !can_use_tmux() {
        return;
    }
    let events = one();
    let terminal = shell(100, 12);
    let written = events.folder.path().join("written");
    terminal.tap(&written);
    enter(&terminal, &format!("{} &", events.command()));
    let process = terminal.process("leco-tui");
    wait_until_stopped(process);
    enter(&terminal, "echo still mine");
    terminal.wait_for("the shell", |screen| screen.lines().any(|line| line == "still mine"));
    let text = || String::from_utf8_lossy(&std::fs::read(&written).unwrap()).into_owned();
    assert!(!text().contains("\x1b]11;") && !text().contains("\x1b[?1049h"), "{:?}", text());
    enter(&terminal, "clear; fg");
    wait_until_taken(&terminal, "the view");
    assert!(text().contains("\x1b]11;") || text().contains("\x1b[?1049h"));
    terminal.type_keys("q");
    wait_for("the modes of the shell", || is_restored(&terminal).then_some(()));
    // The shell reads its keys as before.
    enter(&terminal, "echo back again");
    terminal.wait_for("the shell", |screen| screen.lines().any(|line| line == "back again"));
}

/// Frames that were drawn, of what a program wrote: each begins with a synchronized update.
fn frames(written: &Path) -> usize {
    let text = String::from_utf8_lossy(&std::fs::read(written).unwrap()).into_owned();
    text.matches("\x1b[?2026h").count()
}

#[test]
fn a_mouse_that_only_moves_costs_no_frame() {
    if !can_use_tmux() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("written");
    let source = format!("file:{}", folder.path().join("none").display());
    std::fs::write(folder.path().join("none"), "").unwrap();
    let terminal = Tmux::start(100, 30, &format!("{} -s {source}", program("leco-tui").display()));
    terminal.wait_for("the empty view", |screen| screen.contains("? help"));
    wait_for("the mouse", || terminal.wants_mouse().then_some(()));
    assert!(!terminal.has("mouse_all_flag"), "motion without a button is not asked for");
    assert!(terminal.has("mouse_button_flag") && terminal.has("mouse_sgr_flag"));
    terminal.tap(&written);
    // The first one is drawn, and known to be, before what is counted.
    terminal.type_keys("?");
    terminal.wait_for("the help", |screen| screen.contains("select a line"));
    wait_for("its frame", || (frames(&written) > 0).then_some(()));
    let before = frames(&written);
    // A terminal that reports it all the same: SGR motion, and releases.
    for at in 1..=100 {
        terminal.type_text(&format!("\x1b[<35;{at};5M\x1b[<0;{at};5m"));
    }
    terminal.type_keys("Escape");
    terminal.wait_for("the empty view again", |screen| screen.contains("? help"));
    wait_for("its frame", || (frames(&written) > before).then_some(()));
    assert_eq!(frames(&written), before + 1);
}

#[test]
fn what_is_pasted_is_no_keys() {
    if !can_use_tmux() {
        return;
    }
    let events = one();
    let terminal = Tmux::start(100, 12, &events.command());
    wait_until_taken(&terminal, "the view");
    terminal.paste("one\nqqq\n");
    terminal.type_keys("f");
    terminal.wait_for("an empty filter", |screen| screen.contains("\n filter\n"));
    terminal.type_text("[]");
    terminal.type_keys("Left");
    terminal.paste("/proc|\tx/\nqqq\n");
    terminal.wait_for("it on one line", |screen| screen.contains(" filter  [/proc| x/ qqq]"));
    terminal.type_text("!");
    terminal.wait_for("the cursor behind it", |screen| screen.contains(" filter  [/proc| x/ qqq!]"));
    terminal.type_keys("Escape");
    terminal.wait_for("the list", shows);
    terminal.type_keys("q");
    terminal.wait_for("its end", |screen| screen.contains("exit status 0"));
}

#[test]
fn a_terminal_that_cannot_move_its_cursor_gets_sentences() {
    if !can_use_tmux() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("written");
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let command = format!("read start; {} --fifo {}", program("leco-tui").display(), fifo.display());
    let terminal = Tmux::start(100, 12, &format!("export TERM=dumb; {command}"));
    terminal.tap(&written);
    terminal.type_keys("Enter");
    let mut writer = OpenOptions::new().write(true).open(&fifo).unwrap();
    let mut send = |ns: u64, line: &str| {
        let at = boot_ns();
        writeln!(writer, "{}", serde_json::json!({"ns": ns, "ns_trx": at, "line": line})).unwrap();
    };
    send(1, "18:32 :: me :: proc-01 :: nas 22 :: ");
    terminal.wait_for("what is known", |screen| screen.contains("1 connection is known."));
    send(2, "18:32 :: me :: größe :: nas 22 :: ");
    send(1, "18:32 :: me :: proc-01 :: nas 22 :: ");
    send(3, "18:32 :: me :: last :: nas 22 :: ");
    let screen =
        terminal.wait_for("the last", |screen| screen.contains("last of me connects to nas on port 22."));
    assert_eq!(screen.matches("größe of me connects").count(), 1, "{screen}");
    assert!(!screen.contains("proc-01"), "{screen}");
    terminal.type_keys("C-c");
    let text = String::from_utf8_lossy(&std::fs::read(&written).unwrap()).into_owned();
    assert!(!text.contains('\x1b'), "{text:?}");

    let command = format!("{} --record {}", program("leco-tui").display(), written.display());
    let terminal = Tmux::start(100, 12, &format!("export TERM=dumb; {command}"));
    let screen = terminal.wait_for("its end", |screen| screen.contains("exit status"));
    assert!(screen.contains("exit status 1") && screen.contains("TERM=dumb"), "{screen}");
}

#[test]
fn a_locale_without_utf8_gets_ascii() {
    if !can_use_tmux() {
        return;
    }
    let events = Events::new(&[
        "18:32 :: me :: proc-01 :: 192.0.2.1 443 :: v 5K / 70K ^",
        "18:33 :: me :: 日本語 :: größe.test 443 :: ",
    ]);
    let written = events.folder.path().join("written");
    let command = format!("read start; export LANG=C.UTF-8 LC_ALL=C; {} --colours 256", events.command());
    let terminal = Tmux::start(110, 24, &command);
    terminal.tap(&written);
    terminal.type_keys("Enter");
    let screen = terminal.wait_for("the view", shows);
    assert!(screen.contains(" ?????? ") && screen.contains(" gr??e.test 443"), "as wide as it is: {screen}");
    terminal.type_keys("Home");
    for (key, shown) in [
        ("Enter", "last seen"),
        ("Escape", "? help"),
        ("r", "hits"),
        ("Escape", "? help"),
        ("?", "select a line"),
        ("Escape", "? help"),
        ("f", "\n filter"),
        ("u", "user:"),
        ("Escape", "? help"),
        ("x", " would"),
    ] {
        terminal.type_keys(key);
        terminal.wait_for(key, |screen| screen.contains(shown));
    }
    terminal.type_keys("C-c");
    terminal.wait_for("its end", |screen| screen.contains("exit status 0"));
    let bytes = std::fs::read(&written).unwrap();
    assert!(bytes.len() > 1000 && bytes.is_ascii(), "{}", String::from_utf8_lossy(&bytes));

    let terminal = Tmux::start(110, 24, &format!("export LC_ALL= LC_CTYPE=C.UTF-8; {}", events.command()));
    let screen = terminal.wait_for("the view", shows);
    assert!(screen.contains("日本語") && screen.contains("größe.test"), "{screen}");
}

/// tmux draws some names wider than they are, and what stood in a cell stays until something is written over it.
#[test]
fn nothing_is_left_of_names_of_which_terminals_disagree_how_wide_they_are() {
    if !can_use_tmux() {
        return;
    }
    let names = [
        "日本",
        "curl",
        "日本語版",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "\u{92c}\u{94d}\u{930}\u{93e}\u{909}\u{91c}\u{93c}\u{930}",
        "ssh",
        "proc-01",
    ];
    let lines = names.map(|name| format!("18:32 :: me :: {name} :: 192.0.2.1 443 :: v 1.2M / 80.5K ^"));
    let events = Events::new(&lines.each_ref().map(String::as_str));
    for locale in ["C", "C.UTF-8"] {
        let command = format!("export LC_ALL={locale}; {}", events.command());
        let terminal = Tmux::start(60, 12, &command);
        let screen = terminal.wait_for("the view", shows);
        assert_eq!(screen.matches("192.0.2.1 443").count(), names.len(), "{screen}");
        assert_eq!(screen.matches(" 1.2M").count(), names.len(), "{screen}");
        for (key, shown) in [
            ("?", "select a line"),
            ("Escape", "? help"),
            ("f", "filter"),
            ("ssh", "1 of 7"),
            ("Enter", "? help"),
        ] {
            terminal.type_keys(key);
            let screen = terminal.wait_for(key, |screen| screen.contains(shown));
            let are_listed = !["select a line", "1 of 7"].contains(&shown) && key != "Enter";
            let is_left = |line: &&str| {
                line.contains("? ?")
                    || line.chars().any(|c| matches!(c, '\u{900}'..='\u{97f}' | '\u{1f000}'..) || c == '日')
            };
            let left: Vec<_> = screen.lines().filter(is_left).collect();
            assert!(are_listed || left.is_empty(), "{locale}, after {key}: {left:?} in\n{screen}");
        }
    }
}

#[test]
fn a_terminal_without_a_size_has_that_of_the_environment() {
    if !can_use_tmux() {
        return;
    }
    let events = one();
    let (columns, rows) = (70, 9);
    let bar = |screen: &str| screen.lines().nth(rows - 1).is_some_and(|line| line.contains("q quit"));
    let command = format!("export COLUMNS={columns} LINES={rows}; stty cols 0 rows 0; {}", events.command());
    let terminal = Tmux::start(100, 30, &command);
    let screen = terminal.wait_for("the view", |screen| shows(screen) && bar(screen));
    assert!(screen.lines().all(|line| line.chars().count() <= columns), "{screen}");
    // As it runs: known, and then not any more.
    let tty = terminal.tty();
    let resize = |columns: &str, rows: &str| {
        assert!(
            Command::new("stty")
                .args(["-F", &tty, "cols", columns, "rows", rows])
                .status()
                .unwrap()
                .success()
        );
    };
    resize("90", "20");
    terminal
        .wait_for("its size", |screen| screen.lines().nth(19).is_some_and(|line| line.contains("q quit")));
    resize("0", "0");
    terminal.wait_for("the assumed size", bar);
    terminal.type_keys("q");
    terminal.wait_for("its end", |screen| screen.contains("exit status 0"));
}
