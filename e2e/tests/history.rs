// SPDX-License-Identifier: GPL-3.0-or-later
//! What went over the network before, as it is told to who may read, and as the terminal view shows it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use leco_core::wire::history::StoredHistory;
use leco_e2e::{EventPipe, FAR_V4, Kernel, Netns, Peer, can_test_the_kernel, program, run_to_end, wait_for};
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
            wait_for("a socket", || chown(&socket, None, Some(GID)).ok());
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
    let pipe = stored
        .pipe(&[("all", "history=24h&live=off"), ("chosen", "history=24h&live=off&filter=proc:second")]);
    stored.send(&pipe, "first", &[9, 100]);
    stored.send(&pipe, "first", &[9]);
    stored.send(&pipe, "second", &[1000]);
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
    assert_eq!((sums(&all, "first"), sums(&all, "second")), ((2, 118), (1, 1000)), "{all:#?}");
    assert!(all.last().unwrap().end);
    let chosen = parts(&read_as_member(&stored.path("chosen"), GID));
    assert_eq!((sums(&chosen, "first"), sums(&chosen, "second")), ((0, 0), (1, 1000)), "{chosen:#?}");
    // What came after it is in it the next time, and who is not of the group reads nothing.
    stored.send(&pipe, "second", &[5]);
    assert_eq!(sums(&parts(&read_as_member(&stored.path("all"), GID)), "second"), (2, 1005));
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
    stored.send(&pipe, "before", &[7]);
    let socket = std::os::unix::net::UnixStream::connect(stored.path("live")).unwrap();
    let reader = leco_e2e::LineReader::new(socket);
    let events =
        || -> Vec<Value> { reader.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect() };
    wait_for("what is known", || events().iter().any(|event| event["comm"] == "before").then_some(()));
    stored.send(&pipe, "after", &[8]);
    wait_for("an event", || events().iter().any(|event| event["comm"] == "after").then_some(()));
    let events = events();
    let is_stored: Vec<bool> = events.iter().map(|event| event.get("history").is_some()).collect();
    assert!(is_stored[0] && is_stored.is_sorted_by(|before, after| before >= after), "{events:#?}");
    let first = &events[0];
    let own =
        first["history"]["totals"].as_array().unwrap().iter().find(|total| total["program"] == "before");
    assert!(first.get("clock").is_some() && own.is_some_and(|total| total["tx"] == 7), "{first:#}");
    assert!(pipe.events().iter().all(|event| event.get("history").is_none()));
}

#[test]
fn a_pipe_that_stores_nothing_does_not_promise_it() {
    let mut command = Command::new(program("leco-event-pipe"));
    command.args(["-o", "-?history=8h", "-c", "memory=off"]);
    let output = run_to_end(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("-?history=… tells what is stored"), "{said}");
}
