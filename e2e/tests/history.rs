// SPDX-License-Identifier: GPL-3.0-or-later
//! What went over the network before, as it is told to who may read, and as the terminal view shows it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use leco_core::wire::history::StoredHistory;
use leco_e2e::{
    EventPipe, FAR_V4, Kernel, Netns, Peer, Tmux, can_test_the_kernel, can_use_tmux, program, run_to_end,
    wait_for,
};
use leco_os::clock::boot_ns;
use serde_json::{Value, json};

const UID: u32 = 54321;
const GID: u32 = 54322;

/// A pipe with a history, and sockets for members of a group.
struct Stored {
    kernel: Kernel,
    netns: Netns,
    folder: tempfile::TempDir,
}

impl Stored {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { kernel: Kernel::load(&[]), netns: Netns::new(), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it with sockets of these options.
    fn pipe(&self, sockets: &[(&str, &str)]) -> EventPipe {
        let mut command = Command::new(program("leco-event-pipe"));
        command.arg("--pin").arg(self.kernel.pins()).args(["-E", "-c", "conn-traffic-min=0", "-o", "-"]);
        for (name, options) in sockets {
            let output = format!("unix:{}?mode=0660&{options}", self.path(name).display());
            command.args(["-o", &output]);
        }
        let pipe = EventPipe::spawn({
            command.env("LECO_MEMORY", self.path("state/seen.sqlite"));
            command
        });
        for (name, _) in sockets {
            let socket = self.path(name);
            // It is there a moment before anybody can connect.
            wait_for("a socket", || UnixStream::connect(&socket).ok());
            chown(&socket, None, Some(GID)).unwrap();
        }
        pipe
    }

    /// Sends datagrams from a program of this name, and waits until the pipe knows of them.
    fn send(&self, pipe: &EventPipe, name: &str, sizes: &[u64]) {
        let socket = self.netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
        let remote = socket.local_addr().unwrap().to_string();
        let sizes: Vec<String> = sizes.iter().map(u64::to_string).collect();
        let steps = sizes.iter().flat_map(|size| ["send", size]);
        let steps: Vec<&str> = ["udp", &remote].into_iter().chain(steps).collect();
        let peer = Peer::start(&self.netns, UID, name.as_bytes(), &steps);
        let pid = peer.id();
        peer.finish();
        let _ = pipe.latest(pid, &json!({"state": "closed"}));
    }
}

/// Reads a socket to its end as an ordinary user of a group.
fn read_as_member(socket: &Path, gid: u32) -> Output {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={UID}"), &format!("--regid={gid}"), "--clear-groups", "--no-new-privs"]);
    command.args(["nc", "-U"]).arg(socket);
    run_to_end(command)
}

/// A program's name that no other one of this machine has.
fn own(name: &str) -> String {
    format!("h{}{name}", std::process::id())
}

/// Connections and bytes sent of a program.
fn sums(parts: &[StoredHistory], name: &str) -> (u64, u64) {
    let totals = parts.iter().flat_map(|part| &part.totals).filter(|total| total.program == name);
    totals.fold((0, 0), |sums, total| (sums.0 + total.connections, sums.1 + total.tx))
}

#[test]
fn a_member_of_the_group_reads_what_programs_sent() {
    if !can_test_the_kernel() {
        return;
    }
    let stored = Stored::new();
    let [first, second] = ["first", "second"].map(own);
    let chosen = format!("history=24h&live=off&filter=proc:{second}");
    let pipe = stored.pipe(&[("all", "history=24h&live=off"), ("chosen", &chosen)]);
    stored.send(&pipe, &first, &[9, 100]);
    stored.send(&pipe, &first, &[9]);
    stored.send(&pipe, &second, &[1000]);
    let output = read_as_member(&stored.path("all"), GID);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    leco_e2e::validate(
        &String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>(),
    );
    let parts = |output: &Output| -> Vec<StoredHistory> {
        let lines = output.stdout.trim_ascii_end().split(|byte| *byte == b'\n');
        lines.map(|line| StoredHistory::of(line).unwrap()).collect()
    };
    let all = parts(&output);
    assert_eq!((sums(&all, &first), sums(&all, &second)), ((2, 118), (1, 1000)), "{all:#?}");
    assert!(all.last().unwrap().end);
    let chosen = parts(&read_as_member(&stored.path("chosen"), GID));
    assert_eq!((sums(&chosen, &first), sums(&chosen, &second)), ((0, 0), (1, 1000)), "{chosen:#?}");
    // What came after it is in it the next time, and who is not of the group reads nothing.
    stored.send(&pipe, &second, &[5]);
    assert_eq!(sums(&parts(&read_as_member(&stored.path("all"), GID)), &second), (2, 1005));
    let refused = read_as_member(&stored.path("all"), GID + 1);
    assert!(!refused.status.success() && refused.stdout.is_empty());
}

#[test]
fn events_follow_what_is_stored_and_other_readers_see_none_of_it() {
    if !can_test_the_kernel() {
        return;
    }
    let stored = Stored::new();
    let pipe = stored.pipe(&[("live", "history=24h")]);
    let [before, after] = ["before", "after"].map(own);
    stored.send(&pipe, &before, &[7]);
    let socket = UnixStream::connect(stored.path("live")).unwrap();
    let reader = leco_e2e::LineReader::new(socket);
    let events =
        || -> Vec<Value> { reader.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect() };
    wait_for("what is known", || events().iter().any(|event| event["comm"] == before).then_some(()));
    stored.send(&pipe, &after, &[8]);
    wait_for("an event", || events().iter().any(|event| event["comm"] == after).then_some(()));
    let events = events();
    let is_stored: Vec<bool> = events.iter().map(|event| event.get("history").is_some()).collect();
    assert!(is_stored[0] && is_stored.is_sorted_by(|before, after| before >= after), "{events:#?}");
    let first = &events[0];
    let own = first["history"]["totals"].as_array().unwrap().iter().find(|total| total["program"] == before);
    assert!(first.get("clock").is_some() && own.is_some_and(|total| total["tx"] == 7), "{first:#}");
    assert!(pipe.events().iter().all(|event| event.get("history").is_none()));
}

/// One that stores nothing.
fn forgetful_pipe(stored: &Stored, more: &[&str]) -> EventPipe {
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(stored.kernel.pins()).args(["-E", "-c", "memory=off"]).args(more);
    EventPipe::spawn(command)
}

#[test]
fn a_pipe_that_stores_nothing_says_so_and_goes_on() {
    if !can_test_the_kernel() {
        return;
    }
    let stored = Stored::new();
    let pipe = forgetful_pipe(&stored, &["-o", "-?history=8h"]);
    let name = own("memoryless");
    stored.send(&pipe, &name, &[9]);
    let events = pipe.events();
    assert_eq!(
        (&events[0]["history"]["end"], &events[0]["history"]["error"]),
        (&true.into(), &"the pipe stores nothing".into())
    );
    let said = pipe.stderr.lines().join(" ");
    assert!(said.contains("-?history=… has nothing to tell"), "{said}");
}

#[test]
fn what_moved_while_no_pipe_ran_is_in_the_totals_of_the_next_one() {
    if !can_test_the_kernel() {
        return;
    }
    let stored = Stored::new();
    let forgetful = forgetful_pipe(&stored, &[]);
    let name = own("unheard");
    stored.send(&forgetful, &name, &[9, 10]);
    drop(forgetful);
    // Nobody reads events.
    let _pipe = stored.pipe(&[("totals", "history=24h&live=off")]);
    let lines = read_as_member(&stored.path("totals"), GID).stdout;
    let parts: Vec<_> = lines.split(|byte| *byte == b'\n').filter_map(StoredHistory::of).collect();
    assert_eq!(sums(&parts, &name), (1, 19));
}

/// Whether a row of the table says this of a program, whatever space is between.
fn has_row(screen: &str, row: &str) -> bool {
    screen.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(row))
}

#[test]
fn the_view_shows_what_is_stored_and_what_it_saw_and_so_does_a_recording() {
    if !can_test_the_kernel() || !can_use_tmux() {
        return;
    }
    let stored = Stored::new();
    let [before, both, after] = ["before", "both", "after"].map(own);
    let pipe = stored.pipe(&[("live", &format!("history=24h&filter=proc:{}", own("")))]);
    stored.send(&pipe, &before, &[1000, 1000, 1000]);
    stored.send(&pipe, &both, &[1024]);
    let (config, recording) = (stored.path("widget.ini"), stored.path("recording"));
    fs::write(&config, "").unwrap();
    let view = format!("{} {}", program("leco-tui").display(), config.display());
    let socket = stored.path("live");
    let options = format!("--source unix:{} --record {}", socket.display(), recording.display());
    let terminal = Tmux::start(100, 24, &format!("export TZ=UTC LC_ALL=C.UTF-8; {view} {options}"));
    terminal.wait_for("the connections", |screen| screen.contains(&both));
    terminal.type_keys("h");
    terminal.wait_for("what was stored", |screen| {
        has_row(screen, &format!("{before} 0B 2.9K 1 "))
            && has_row(screen, &format!("{both} 0B 1K 1 "))
            && screen.contains("stored by the pipe")
    });
    stored.send(&pipe, &after, &[2048]);
    stored.send(&pipe, &both, &[1024]);
    let is_shown = |screen: &str| {
        has_row(screen, &format!("{before} 0B 2.9K 1 "))
            && has_row(screen, &format!("{both} 0B 2K 2 "))
            && has_row(screen, &format!("{after} 0B 2K 1 "))
    };
    terminal.wait_for("what came since", is_shown);
    // The pipe says the same to who asks now.
    let again = stored.path("again");
    drop(pipe);
    let pipe = stored.pipe(&[("again", "history=24h&live=off")]);
    let lines = read_as_member(&again, GID).stdout;
    let parts: Vec<_> = lines.split(|byte| *byte == b'\n').filter_map(StoredHistory::of).collect();
    let told = [&before, &both, &after].map(|name| sums(&parts, name));
    assert_eq!(told, [(1, 3000), (2, 2048), (1, 2048)]);
    drop(pipe);

    // Into a row, and out of it.
    terminal.type_keys("Enter");
    terminal
        .wait_for("its peers", |screen| screen.contains("24 h by peer") && screen.contains("filter: proc:"));
    terminal.type_keys("Escape");
    terminal.wait_for("all of it", |screen| is_shown(screen) && !screen.contains("filter:"));
    terminal.type_keys("q");
    terminal.wait_for("the list", |screen| screen.contains("q quit"));
    terminal.type_keys("q");

    let terminal = Tmux::start(
        100,
        24,
        &format!("export TZ=UTC LC_ALL=C.UTF-8; {view} --replay {} --speed 50", recording.display()),
    );
    terminal.wait_for("its end", |screen| screen.contains('■'));
    terminal.type_keys("h");
    terminal.wait_for("the same", |screen| is_shown(screen) && screen.contains("stored by the pipe"));
}

#[test]
fn an_accepted_pair_loses_its_mark_and_the_config_says_why() {
    if !can_use_tmux() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (config, events) = (folder.path().join("widget.ini"), folder.path().join("events"));
    fs::write(&config, "[text]\nline-fade-time = 1000\n").unwrap();
    let now = boot_ns();
    let lines = ["curl [cron] :: a.test 443", "curl [cron] :: b.test 443"];
    let lines: Vec<String> = (0..)
        .zip(lines)
        .map(|(at, line)| {
            let line = format!("18:32 :: me :: {line} :: ");
            json!({"ns": now + at, "ns_trx": now + at, "line": line, "new": true}).to_string() + "\n"
        })
        .collect();
    fs::write(&events, lines.concat()).unwrap();
    let view = program("leco-tui");
    let source = format!("file:{}", events.display());
    let command = format!("export LC_ALL=C.UTF-8; {} {} --source {source}", view.display(), config.display());
    let terminal = Tmux::start(120, 12, &command);
    let is_marked = |line: &&str| line.contains("+  18:32");
    let marks = |screen: &str| screen.lines().filter(is_marked).count();
    terminal.wait_for("both marks", |screen| marks(screen) == 2);
    terminal.type_keys("Down");
    terminal.wait_for("what a does", |screen| screen.contains("a accept"));
    terminal.type_keys("a");
    let style = r":: me :: curl( \[[^\]]+\])? ::( .* ::)? a\.test( |$) = new=no";
    terminal.wait_for("what was written", |screen| screen.contains("accepted, in [rx-style] of "));
    assert!(fs::read_to_string(&config).unwrap().ends_with(&format!("\n[rx-style]\n{style}\n")));
    let screen = terminal.wait_for("one mark less", |screen| marks(screen) == 1);
    assert!(screen.lines().any(|line| is_marked(&line) && line.contains("b.test")), "{screen}");
    // On a line without a mark it shows the peer alone, as before.
    terminal.type_keys("a");
    terminal.wait_for("the peer alone", |screen| screen.contains("filter: peer:a.test"));
}
