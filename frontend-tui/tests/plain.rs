// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-tui` without a terminal: `--once`, `-d`, `-r`, and what it says of wrong usage.

#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use leco_os::clock::boot_ns;

const LINE: &str = "18:32 :: myuser :: drill [tmux-spawn-822f3728+] :: 10.2.0.1 53/udp :: v 58B / 26B ^";
const CONFIG: &str = "[rx-group]\ndropme =\n[rx-proc]\n^(\\s*\\S+ ::) myuser :: = $1\n\\ 53/udp :: = \\ DNS ::\n\
                      \\ \\[tmux-spawn-\\S+\\] :: = \\ [tmux] ::\nbulk (\\S+) = g`bulk $1\n";

struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("widget.ini"), CONFIG).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leco-tui"));
        command.current_dir(&self.folder).args(arguments).stdin(Stdio::null());
        command.env_remove("XDG_CONFIG_HOME").env("HOME", self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn make_fifo(&self) {
        assert!(Command::new("mkfifo").arg(self.path("fifo")).status().unwrap().success());
    }
}

fn event(ns: u64, line: &str) -> String {
    serde_json::json!({"ns": ns, "ns_trx": ns, "line": line}).to_string() + "\n"
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_line_is_explained_step_by_step() {
    let stage = Stage::set();
    let output = stage.run(&["widget.ini", "-r", LINE]);
    assert!(output.status.success());
    insta::assert_snapshot!(text(&output.stdout));
    let output = stage.run(&["widget.ini", "-r", "dropme :: x"]);
    insta::assert_snapshot!(text(&output.stdout));
    let output = stage.run(&["widget.ini", "-r", "18:32 :: bulk rsync :: 192.0.2.1 873 :: "]);
    insta::assert_snapshot!(text(&output.stdout));
}

#[test]
fn once_prints_what_is_known_and_ends() {
    let stage = Stage::set();
    stage.make_fifo();
    let child = stage.command(&["widget.ini", "-f", "fifo", "--once", "--wait", "20"]);
    let mut child = { child }.stdout(Stdio::piped()).spawn().unwrap();
    let mut fifo = OpenOptions::new().write(true).open(stage.path("fifo")).unwrap();
    let now = boot_ns();
    for (ns, line) in
        [(now, LINE), (now + 1, "dropme :: x"), (now + 2, "a :: b"), (now, "the same, reworded")]
    {
        fifo.write_all(event(ns, line).as_bytes()).unwrap();
    }
    let mut printed = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut printed).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(printed, "a :: b\nthe same, reworded\n");
}

#[test]
fn once_waits_for_each_of_its_sources_and_names_those_that_never_came() {
    let stage = Stage::set();
    let listener = UnixListener::bind(stage.path("late")).unwrap();
    fs::write(stage.path("recording"), event(1, "from the :: recording")).unwrap();
    let sources = ["-s", "file:recording", "-s", "unix:late", "--once", "--wait", "20"];
    let child = stage.command(&sources).stdout(Stdio::piped()).spawn().unwrap();
    let mut stream = listener.accept().unwrap().0;
    // As a source over a slow line: longer than the silence that ends a replay.
    std::thread::sleep(Duration::from_millis(600));
    stream.write_all(event(2, "late :: one").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "from the :: recording\nlate :: one\n");

    let sources = ["-s", "file:recording", "-s", "unix:never", "--once", "--wait", "0.05"];
    let output = stage.run(&sources);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "from the :: recording\n");
    let told = text(&output.stderr);
    // It is being connected to, or was in vain.
    let is_named = told.starts_with("leco-tui: nothing came in time: ") && told.ends_with(" never\n");
    assert!(is_named, "{told}");
}

#[test]
fn once_says_how_many_lines_were_no_events() {
    let stage = Stage::set();
    let long = "x".repeat(70_000);
    for (name, content, told) in [
        ("none", "", ""),
        ("one", "garbage\n\n", "1 line was not understood: "),
        (
            "some",
            &*format!("[]\n{}{long}\n{{}}\n", event(1, "a :: b")),
            "3 lines were not understood (1 longer than 64 KiB): ",
        ),
    ] {
        fs::write(stage.path(name), content).unwrap();
        for format in [None, Some("--json")] {
            let source = format!("file:{name}");
            let arguments = ["-s", &source, "--once"].into_iter().chain(format);
            let output = stage.run(&arguments.collect::<Vec<_>>());
            assert!(output.status.success());
            let expected = if told.is_empty() {
                String::new()
            } else {
                format!("leco-tui: {told}expected JSON lines as leco-event-pipe writes them\n")
            };
            assert_eq!(text(&output.stderr), expected);
            assert_eq!(text(&output.stdout).lines().count(), usize::from(name == "some"));
            if name == "some" {
                for way in ["--once", "-d"] {
                    let output = stage.run(&["--replay", name, way]);
                    assert!(output.status.success());
                    assert!(text(&output.stderr).contains(expected.trim_end()), "{way}: {output:?}");
                }
            }
        }
    }
}

#[test]
fn once_says_what_it_waited_for_in_vain() {
    let stage = Stage::set();
    let output = stage.run(&["-f", "fifo", "--once", "--wait", "0.05"]);
    assert_eq!(output.status.code(), Some(1));
    let user = rustix::process::getuid().as_raw();
    let remedy =
        format!("start leco-event-pipe, or where LECO is installed: sudo systemctl start leco@{user}");
    assert_eq!(text(&output.stderr), format!("leco-tui: waiting for fifo ({remedy})\n"));
}

#[test]
fn debug_prints_raw_events_and_what_became_of_them() {
    let stage = Stage::set();
    stage.make_fifo();
    let mut child =
        stage.command(&["widget.ini", "-f", "fifo", "-d"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut fifo = OpenOptions::new().write(true).open(stage.path("fifo")).unwrap();
    for line in [
        event(1, "a :: 53/udp :: b"),
        event(1, "a :: 53/udp :: b"),
        event(2, "dropme"),
        event(3, "bulk x\u{1b}[2J"),
        "{\"ns\":\n".into(),
    ] {
        fifo.write_all(line.as_bytes()).unwrap();
    }
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let printed: Vec<String> = lines.take(10).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    insta::assert_snapshot!(printed.join("\n"));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let stage = Stage::set();
    let output = stage.run(&["none.ini"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("leco-tui: cannot read the config none.ini: "));
    let output = stage.run(&["--nonsense"]);
    assert_eq!(output.status.code(), Some(2));
    let output = stage.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "leco-tui: not a terminal: use --once, --follow or --debug for plain lines\n"
    );
    fs::write(stage.path("bad.ini"), "[text]\nline-fade-curve = 1\n[rx-proc]\n(a = b\n").unwrap();
    let output = stage.run(&["bad.ini", "-r", "x"]);
    assert!(output.status.success(), "a fault in a config stops nothing");
    assert!(text(&output.stderr).contains("bad.ini:2:") && text(&output.stderr).contains("bad.ini:4:"));
}

#[test]
fn the_config_can_be_checked() {
    let stage = Stage::set();
    let output = stage.run(&["widget.ini", "--check-config"]);
    assert!(output.status.success() && output.stderr.is_empty());
    fs::write(stage.path("bad.ini"), "[text]\nfont-heigth = 3\n[rx-proc]\n^(\\s*\\S+ :: myuser :: = $1\n")
        .unwrap();
    let output = stage.run(&["bad.ini", "--check-config"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr));
}

#[test]
fn an_explanation_can_be_json() {
    let stage = Stage::set();
    let output = stage.run(&["widget.ini", "--json", "-r", LINE]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["line"], "18:32 :: drill [tmux] :: 10.2.0.1 DNS :: v 58B / 26B ^");
    assert_eq!(json["steps"][1]["rule_line"], 5);
    let matched = &json["steps"][1]["matched"][0];
    let span = |key: &str| usize::try_from(matched[key].as_u64().unwrap()).unwrap();
    assert_eq!(&json["steps"][0]["result"].as_str().unwrap()[span("start")..span("end")], " 53/udp ::");
    assert_eq!(json["changed"], true);
}
