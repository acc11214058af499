// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-tui --follow`: lines for bars, scripts and screen readers, as their readers see them; and filters where there
//! is no view.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use leco_core::config::Config;
use leco_core::model::overseer::Overseer;
use leco_tui::model::state::State;
use ratatui::layout::Rect;
use serde_json::{Value, json};

const CURL: &str = "18:32 :: me :: curl :: www.test 443 :: ";
const DEADLINE: Duration = Duration::from_secs(60);

struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn set(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("widget.ini"), config).unwrap();
        let stage = Self { folder };
        stage.make_fifo();
        stage
    }

    fn make_fifo(&self) {
        assert!(Command::new("mkfifo").arg(self.path("fifo")).status().unwrap().success());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leco-tui"));
        command.current_dir(&self.folder).args(["widget.ini"]).args(arguments).stdin(Stdio::null());
        command.env_remove("XDG_CONFIG_HOME").env("HOME", self.folder.path());
        command
    }

    /// What it prints of a file of events, and on standard error.
    fn printed(&self, events: &[Value], arguments: &[&str]) -> (String, String) {
        let text: String = events.iter().map(|event| event.to_string() + "\n").collect();
        fs::write(self.path("events"), text).unwrap();
        let output = self.command(arguments).args(["-s", "file:events"]).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn follow(&self, arguments: &[&str]) -> Followed {
        let mut command = self.command(&["-f", "fifo", "--follow"]);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Followed { child, lines: Some(lines) }
    }

    fn writer(&self) -> File {
        OpenOptions::new().write(true).open(self.path("fifo")).unwrap()
    }
}

struct Followed {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Followed {
    fn next(&mut self) -> String {
        self.lines.as_mut().unwrap().next().expect("a line").unwrap()
    }

    /// The next object of which this holds.
    fn next_where(&mut self, holds: impl Fn(&Value) -> bool) -> Value {
        loop {
            let object: Value = serde_json::from_str(&self.next()).unwrap();
            if holds(&object) {
                return object;
            }
        }
    }

    /// Lines from now on, for which nobody has to wait.
    fn received(&mut self) -> Receiver<String> {
        let (lines, (to, received)) = (self.lines.take().unwrap(), mpsc::channel());
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| to.send(line)));
        received
    }

    /// How often it slept so far.
    fn sleeps(&self) -> String {
        let start = Instant::now();
        let status = loop {
            let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
            if status.contains("State:\tS") {
                break status;
            }
            assert!(start.elapsed() < DEADLINE, "it never sleeps");
            std::thread::sleep(Duration::from_millis(1));
        };
        status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap().to_owned()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn event(ns: u64, line: &str) -> Value {
    json!({"ns": ns, "ns_trx": ns, "line": line})
}

fn send(mut to: &File, event: &Value) {
    to.write_all((event.to_string() + "\n").as_bytes()).unwrap();
}

#[test]
fn lines_say_what_was_asked_for_and_only_what_changed() {
    let stage = Stage::set("[rx-group]\nhidden =\n[rx-proc]\n443 = https\n");
    let events = [
        event(1, CURL),
        json!({"ns": 1, "ns_trx": 2, "line": "18:32 :: me :: curl :: www.test 443 :: v 1.5M / 2K ^"}),
        json!({"ns": 1, "ns_trx": 3, "line": "18:32 :: me :: curl :: www.test 443 :: v 1.5M / 3K ^"}),
        event(4, "hidden"),
        event(5, "18:33 :: root :: sshd [ssh] :: <- 192.0.2.1 22 :: "),
    ];
    for (arguments, printed) in [
        (
            &["--follow", "--format", "{time} {user} {proc} {peer} {rx}"][..],
            "18:32 me curl www.test\n18:32 me curl www.test 1.5M\n18:33 root sshd 192.0.2.1\n",
        ),
        (&["--follow", "--format", "{proc} {unit}", "--filter", "port:22"], "sshd ssh\n"),
        (
            &["--follow", "--filter", "https"],
            "18:32 :: me :: curl :: www.test https ::\n18:32 :: me :: curl :: www.test https :: v 1.5M / 2K ^\n\
          18:32 :: me :: curl :: www.test https :: v 1.5M / 3K ^\n",
        ),
        (
            &["--follow", "--format", "plain"],
            "curl of me connects to www.test on port 443.\n192.0.2.1 connects to sshd of root on port 22.\n",
        ),
    ] {
        assert_eq!(stage.printed(&events, arguments).0, printed, "{arguments:?}");
    }
    let (_, told) = stage.printed(&[], &["--follow", "--format", "{process}"]);
    assert!(told.contains("no field {process}") && told.contains("{time} {user} {proc}"), "{told}");
}

#[test]
fn what_is_known_at_the_start_is_not_printed() {
    let stage = Stage::set("");
    let mut follower = stage.follow(&["--format", "{proc} {rx}"]);
    let pipe = stage.writer();
    send(&pipe, &event(1, CURL));
    let printed = follower.received();
    // What was known is told when events pause, or after two seconds of them.
    let start = Instant::now();
    let first = (2..).find_map(|ns| {
        assert!(start.elapsed() < DEADLINE);
        send(&pipe, &event(ns, &format!("18:33 :: me :: new-{ns} :: nas 22 :: ")));
        printed.recv_timeout(Duration::from_millis(20)).ok()
    });
    assert!(first.unwrap().starts_with("new-"));
    send(&pipe, &json!({"ns": 1, "ns_trx": u32::MAX, "line": CURL.to_owned() + "v 1M / 2K ^"}));
    let changed = printed.iter().find(|line| !line.starts_with("new-"));
    assert_eq!(changed.as_deref(), Some("curl 1M"));
}

/// An event that is no older than now.
fn now(line: &str) -> Value {
    let now = leco_os::clock::Now::read().boot;
    event(now, line)
}

#[test]
fn a_summary_is_rewritten_when_something_changes_and_survives_its_source() {
    let stage = Stage::set("[text]\nline-fade-time = 1h\n");
    fs::remove_file(stage.path("fifo")).unwrap();
    let mut bar = stage.follow(&["--format", "waybar"]);
    assert_eq!(bar.next_where(|_| true)["class"], json!(["waiting"]));
    stage.make_fifo();
    let pipe = stage.writer();
    assert_eq!(bar.next_where(|object| object["alt"] == "quiet")["text"], "no connections");
    let with = |mut event: Value, field: &str, value: Value| {
        event[field] = value;
        event
    };
    let new = "18:32 :: me :: a<b&c :: www.test 443 :: ";
    send(&pipe, &with(now(new), "new", true.into()));
    let object = bar.next_where(|object| object["alt"] == "outgoing");
    assert_eq!(object["text"], "a&lt;b&amp;c → www.test");
    assert_eq!(object["class"], json!(["outgoing", "new"]));
    assert_eq!(object["tooltip"], "18:32 :: me :: a&lt;b&amp;c :: www.test 443 ::");
    let refused = "18:32 :: me :: curl :: nas 80 !refused :: ";
    send(&pipe, &with(now(refused), "state", "refused".into()));
    let object = bar.next_where(|object| object["alt"] == "refused");
    assert_eq!(
        (&object["text"], &object["class"]),
        (&json!("curl → nas refused"), &json!(["refused", "trouble"]))
    );
    assert_eq!(object["tooltip"].as_str().unwrap().lines().count(), 2);
    let mut listener = with(now("18:32 :: root :: nginx :: listening [::] 8080 :: "), "dir", "listen".into());
    for (state, text) in [
        ("listening", "nginx begins to listen on [::] 8080"),
        ("closed", "nginx no longer listens on [::] 8080"),
    ] {
        listener["state"] = state.into();
        send(&pipe, &listener);
        listener["ns_trx"] = (listener["ns_trx"].as_u64().unwrap() + 1).into();
        let object = bar.next_where(|object| object["text"] != "curl → nas refused");
        assert_eq!((&object["text"], &object["class"]), (&json!(text), &json!([state])));
    }
    assert_sleeps(&bar);

    drop(pipe);
    fs::remove_file(stage.path("fifo")).unwrap();
    assert_eq!(bar.next_where(|_| true)["alt"], "waiting");
    stage.make_fifo();
    let pipe = stage.writer();
    send(&pipe, &now(CURL));
    bar.next_where(|object| object["text"] == "curl → www.test");
}

#[test]
fn a_summary_is_quiet_once_the_latest_line_has_faded() {
    let stage = Stage::set("[text]\nline-fade-time = 2s\n");
    let mut bar = stage.follow(&["--format", "waybar"]);
    let pipe = stage.writer();
    // Known at the start, and long faded, but no longer ago than a pipe tells of.
    let then = now(CURL)["ns"].as_u64().unwrap().saturating_sub(60_000_000_000);
    for ns in then + 1..=then + 16 {
        send(&pipe, &event(ns, CURL));
    }
    let object = bar.next_where(|object| object["alt"] != "waiting");
    assert_eq!((&object["alt"], &object["text"]), (&json!("quiet"), &json!("16 connections known")));
    send(&pipe, &now(CURL));
    assert_eq!(bar.next_where(|_| true)["alt"], "outgoing");
    let object = bar.next_where(|_| true);
    assert_eq!((&object["class"], &object["text"]), (&json!(["quiet"]), &json!("17 connections known")));
    assert_sleeps(&bar);
}

/// Nothing comes: it sleeps on.
fn assert_sleeps(bar: &Followed) {
    let before = bar.sleeps();
    let silence = Instant::now();
    while silence.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(bar.sleeps(), before, "it woke up in silence");
    }
}

#[test]
fn it_ends_when_nobody_reads_any_more() {
    let stage = Stage::set("");
    for format in ["waybar", "plain"] {
        let mut bar = stage.follow(&["--format", format]);
        let pipe = stage.writer();
        send(&pipe, &event(1, CURL));
        bar.next();
        bar.lines = None;
        // Without a further event.
        let start = Instant::now();
        let status = loop {
            if let Some(status) = bar.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < DEADLINE, "{format}: it goes on");
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(status.success(), "{format}: {status}");
    }
}

#[test]
fn sentences_say_what_begins_ends_or_goes_wrong() {
    let stage = Stage::set("");
    let mut words = stage.follow(&["--format", "plain"]);
    let pipe = stage.writer();
    send(&pipe, &event(1, CURL));
    assert_eq!(words.next(), "1 connection is known.");
    for (event, said) in [
        (
            event(2, "18:33 :: root :: sshd :: <- 192.0.2.1 22 :: "),
            "192.0.2.1 connects to sshd of root on port 22.",
        ),
        (
            json!({"ns": 1, "ns_trx": 3, "line": "18:32 :: me :: curl :: www.test 443 :: v 1.5M / 58B ^", "state": "closed"}),
            "The connection from curl of me to www.test on port 443 ended; 1.5 megabytes received, 58 bytes sent.",
        ),
    ] {
        send(&pipe, &event);
        assert_eq!(words.next(), said);
    }
}

#[test]
fn a_filter_is_the_same_everywhere_and_follows_the_config() {
    let config = "[filters]\nweb = port:443\nmine = @web user:me\n";
    let stage = Stage::set(config);
    let refused = json!({"ns": 2, "ns_trx": 2, "line": "18:32 :: me :: wget :: nas 80 !refused :: ", "state": "refused"});
    let events = [event(1, CURL), refused, event(3, "18:32 :: you :: w3m :: x 443 :: ")];
    for (filter, lines) in [
        ("@mine", "curl"),
        ("@web", "curl w3m"),
        ("-@web", "wget"),
        ("trouble", "wget"),
        ("open -user:you", "curl"),
    ] {
        for way in ["--once", "--follow"] {
            let (printed, told) = stage.printed(&events, &[way, "--filter", filter]);
            let programs: Vec<_> = printed.lines().map(|line| line.split(" :: ").nth(2).unwrap()).collect();
            assert_eq!(programs.join(" "), lines, "{way} {filter}: {told}");
        }
    }
    for (filter, words) in [
        ("@none", "--filter: there is no saved filter none; there are @web, @mine (character 1, @none)"),
        ("x prt:1", "there is no field prt; fields are user, proc"),
        ("/a/ && /b/", "leave && out"),
    ] {
        let output = stage.command(&["--once", "-s", "file:events", "--filter", filter]).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && told.contains(words), "{filter}: {told}");
    }

    // What a name stands for changes with the config, and what does not hold any more is not known any more.
    let mut follower = stage.follow(&["--format", "{proc}", "--filter", "@web"]);
    let pipe = stage.writer();
    let printed = follower.received();
    let start = Instant::now();
    let mut numbers = (10..).step_by(2);
    // Each is read in its own time: ports alternate until the one that is meant is chosen.
    let mut chooses = |chosen: &str| {
        loop {
            assert!(start.elapsed() < DEADLINE, "{chosen}");
            let ns = numbers.next().unwrap();
            send(&pipe, &event(ns, "18:32 :: me :: old :: x 443 :: "));
            send(&pipe, &event(ns + 1, "18:32 :: me :: new :: x 80 :: "));
            if printed.recv_timeout(Duration::from_millis(20)).is_ok_and(|line| line == chosen) {
                break;
            }
        }
    };
    chooses("old");
    fs::write(stage.path("widget.ini"), "[filters]\nweb = port:80\n").unwrap();
    chooses("new");
}

#[test]
fn lists_beyond_the_config_are_read_again_within_the_sandbox() {
    let lists = tempfile::tempdir().unwrap();
    let list = lists.path().join("ads");
    fs::write(&list, "0.0.0.0 www.test\nno domain\n").unwrap();
    let stage = Stage::set(&format!("[lists]\nads = {}\n[rx-group]\nlist:ads = ads\n", list.display()));
    let events = [event(1, CURL), event(2, "18:32 :: you :: w3m :: x.www.test (192.0.2.1) 443 :: ")];
    let (printed, told) = stage.printed(&events, &["--once", "--filter", "list:ads"]);
    assert_eq!(
        printed, "18:32 :: you :: w3m :: x.www.test (192.0.2.1) 443 :: \n",
        "one line for all of the list"
    );
    assert!(told.contains("ads:2:4: one entry a line, the line is skipped"), "{told}");
    let check = stage.command(&["--check-config"]).output().unwrap();
    assert_eq!(check.status.code(), Some(1));

    let mut follower = stage.follow(&["--format", "{proc}", "--filter", "list:ads"]);
    let pipe = stage.writer();
    let printed = follower.received();
    let start = Instant::now();
    let mut numbers = (10..).step_by(2);
    let mut chooses = |chosen: &str| {
        loop {
            assert!(start.elapsed() < DEADLINE, "{chosen}");
            let ns = numbers.next().unwrap();
            send(&pipe, &event(ns, &format!("18:32 :: me :: old{ns} :: www.test 443 :: ")));
            send(&pipe, &event(ns + 1, &format!("18:32 :: me :: new{ns} :: 192.0.2.7 80 :: ")));
            if printed.recv_timeout(Duration::from_millis(20)).is_ok_and(|line| line.starts_with(chosen)) {
                break;
            }
        }
    };
    chooses("old");
    fs::write(lists.path().join("beside"), "192.0.2.0/24\n").unwrap();
    fs::rename(lists.path().join("beside"), &list).unwrap();
    chooses("new");
}

#[test]
fn the_view_starts_with_a_filter_as_if_it_had_been_typed() {
    let config = |text: &str| Config::parse(text.as_bytes(), Path::new("w.ini"));
    let mut overseer = Overseer::new(config("[filters]\nweb = port:443\n"));
    let mut state = State::new(None);
    state.set_filter("@web", &overseer).unwrap();
    assert_eq!(state.lines.filter, "@web");
    for event in [event(1, CURL), event(2, "18:32 :: me :: w3m :: x 80 :: ")] {
        let _ = overseer.receive(event.to_string().as_bytes(), 3);
    }
    let shown = |state: &mut State, overseer: &mut Overseer| {
        state.list(overseer, (9, Rect::new(0, 0, 80, 9)), 3);
        let rows = state.lines.listed().rows.clone();
        rows.into_iter()
            .flatten()
            .map(|row| row.text.split(" :: ").nth(2).unwrap().to_owned())
            .collect::<String>()
    };
    assert_eq!(shown(&mut state, &mut overseer), "curl");
    overseer.reload(config("[filters]\nweb = port:80\n"));
    state.reloaded(&overseer);
    assert_eq!(shown(&mut state, &mut overseer), "w3m");
    assert!(state.set_filter("prt:1", &overseer).is_err());
}

#[test]
fn a_connection_that_no_longer_matches_is_gone() {
    let stage = Stage::set("[rx-group]\ngrouped = all\n");
    let events = [
        event(1, CURL),
        json!({"ns": 1, "ns_trx": 2, "line": CURL, "state": "closed"}),
        event(3, "18:32 :: me :: grouped :: a 1 :: "),
        event(4, "18:32 :: me :: grouped :: b 1 :: "),
        json!({"ns": 4, "ns_trx": 5, "line": "18:32 :: me :: grouped :: b 1 :: ", "state": "closed"}),
    ];
    let (printed, _) = stage.printed(&events, &["--once", "--filter", "open"]);
    assert_eq!(printed, "18:32 :: me :: grouped :: b 1 :: \n", "the group has another that is open");
}

#[test]
fn without_the_usual_config_the_defaults_count_as_at_the_start() {
    let stage = Stage::set("");
    fs::create_dir_all(stage.path(".config/leco")).unwrap();
    fs::write(stage.path(".config/leco/widget.ini"), "[rx-proc]\ncurl = renamed\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_leco-tui"));
    command.current_dir(&stage.folder).args(["-f", "fifo", "-d"]).env_remove("XDG_CONFIG_HOME");
    command
        .env("HOME", stage.folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.any(|line| line.contains("reading")));
    fs::remove_file(stage.path(".config/leco/widget.ini")).unwrap();
    assert!(told.any(|line| line.contains("no config any more: using the defaults")));
    child.kill().unwrap();
    child.wait().unwrap();
}
