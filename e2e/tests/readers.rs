// SPDX-License-Identifier: GPL-3.0-or-later
//! Who may read a ring, and who only looks.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};

use leco_e2e::{
    DEADLINE, EventPipe, FAR_V4, Kernel, Loader, Netns, Peer, ServiceManager, can_test_the_kernel, program,
    program_for_everybody, run_to_end, wait_for,
};
use rustix::process::Signal;
use serde_json::json;

const UID: u32 = 54321;
const CONNECTIONS: usize = 100;

/// A pipe that is to end by itself, run by a command.
fn ends(mut command: Command, pins: &Path, arguments: &[&str]) -> Output {
    command.arg("--pin").arg(pins).args(arguments).env("LECO_MEMORY", "off");
    run_to_end(command)
}

fn run_pipe(pins: &Path, arguments: &[&str]) -> Output {
    ends(Command::new(program("leco-event-pipe")), pins, arguments)
}

/// Makes connections that this process opens and closes; returns their local ports.
fn connections() -> HashSet<u64> {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap();
    let connect = |_| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        socket.send(b"x").unwrap();
        u64::from(socket.local_addr().unwrap().port())
    };
    (0..CONNECTIONS).map(connect).collect()
}

/// Waits until a pipe has told that all of these closed.
fn tells_all(pipe: &EventPipe, ports: &HashSet<u64>) {
    let mut missing = ports.clone();
    wait_for("every connection", || {
        for event in pipe.events() {
            if event["pid"] == std::process::id() && event["state"] == "closed" {
                missing.remove(&event["lport"].as_u64().unwrap_or_default());
            }
        }
        missing.is_empty().then_some(())
    });
}

/// Waits until a pipe reads the ring: what was made before it could tell is replayed by it.
fn reads(pipe: &EventPipe) {
    let netns = Netns::new();
    let (pid, port) = send(&netns, 5);
    let _ = pipe.latest(pid, &json!({"rport": port, "tx": 5}));
}

fn send(netns: &Netns, size: usize) -> (u32, u16) {
    let socket = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let remote = socket.local_addr().unwrap();
    let steps = ["udp", &remote.to_string(), "send", &size.to_string()];
    let peer = Peer::start(netns, UID, b"leco-peer", &steps);
    let pid = peer.id();
    peer.finish();
    (pid, remote.port())
}

fn refused(output: &Output, holder: u32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("process {holder} (leco-event-pipe) already reads them")), "{said}");
    said
}

#[test]
fn a_new_reader_is_told_of_what_is_open_however_much_has_ended() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&["--max-conns", "64"]);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let open = UdpSocket::bind("127.0.0.1:0").unwrap();
    open.connect(peer.local_addr().unwrap()).unwrap();
    open.send(b"x").unwrap();
    assert!(connections().len() > 64);
    let pipe = EventPipe::start(kernel.pins(), &[]);
    let port = open.local_addr().unwrap().port();
    let _ = pipe.latest(std::process::id(), &json!({"lport": port, "state": "open"}));
}

#[test]
fn a_second_reader_is_refused_and_told_what_to_use_instead() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), tempfile::tempdir().unwrap());
    let socket = format!("unix:{}", folder.path().join("socket").display());
    let pipe = EventPipe::start(kernel.pins(), &["-o", "-", "-o", &format!("{socket}?mode=0660")]);
    reads(&pipe);
    let said = refused(&run_pipe(kernel.pins(), &[]), pipe.id());
    assert!(said.trim_end().ends_with(&format!("leco-tui --source {socket}")), "{said}");
    // Another network namespace is no way around it.
    let elsewhere = netns.near_command(program("leco-event-pipe"));
    refused(&ends(elsewhere, kernel.pins(), &[]), pipe.id());
    // Where its process cannot be seen, there is still the reason.
    let mut hidden = Command::new("unshare");
    hidden.args(["--pid", "--fork", "--mount-proc"]).arg(program("leco-event-pipe"));
    let hidden = ends(hidden, kernel.pins(), &[]);
    let said = String::from_utf8_lossy(&hidden.stderr).into_owned();
    assert!(!hidden.status.success() && said.contains("another process already reads them"), "{said}");

    tells_all(&pipe, &connections());
    let stream = UnixStream::connect(folder.path().join("socket")).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(&format!("\"pid\":{},", std::process::id()))));
}

#[test]
fn who_takes_the_place_of_a_killed_reader_has_it_at_once() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let mut pipe = EventPipe::start(kernel.pins(), &[]);
    for _ in 0..5 {
        reads(&pipe);
        pipe.signal(Signal::KILL);
        // Nobody waits for the old one to be gone.
        let next = EventPipe::start(kernel.pins(), &[]);
        tells_all(&next, &connections());
        pipe = next;
    }
}

/// `-C`, `--stats` and `--seen` leave the ring to its reader, and what is pending.
#[test]
fn who_only_looks_changes_nothing_for_the_reader() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let looks = || {
        for arguments in [&["-C", "-E"][..], &["--stats"]] {
            let output = run_pipe(kernel.pins(), arguments);
            assert!(output.status.success(), "{output:?}");
        }
        let mut seen = Command::new(program("leco-event-pipe"));
        // There may be nothing to list.
        let _ = seen.arg("--seen").output().unwrap();
    };
    looks();
    let pipe = EventPipe::start(kernel.pins(), &[]);
    reads(&pipe);
    // Nothing is read while it stands still, so a look that took something would take it from here.
    pipe.signal(Signal::STOP);
    let ports = connections();
    looks();
    pipe.signal(Signal::CONT);
    tells_all(&pipe, &ports);
}

/// Bytes that are held back until the interval is over are told although somebody saw them before.
#[test]
fn who_only_looks_leaves_what_is_pending_to_the_reader() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns) = (Kernel::load(&["--update-interval", "2s"]), Netns::new());
    let pipe = EventPipe::start(kernel.pins(), &[]);
    reads(&pipe);
    let socket = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let remote = socket.local_addr().unwrap();
    let (first, second) = (remote.to_string(), "20".to_owned());
    let steps = ["udp", &first, "send", "10", "send", &second, "hold"];
    let peer = Peer::start(&netns, UID, b"leco-held", &steps);
    let pid = peer.id();
    wait_for("both datagrams", || {
        let dump = run_pipe(kernel.pins(), &["-C", "-E", "-c", "conn-traffic-min=0"]);
        let dump = String::from_utf8(dump.stdout).unwrap();
        dump.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .any(|event| event["pid"] == pid && event["tx"] == 30)
            .then_some(())
    });
    let _ = pipe.latest(pid, &json!({"tx": 30, "rport": remote.port()}));
    peer.finish();
}

#[test]
fn counts_are_of_what_is_really_remembered() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&["--max-conns", "16384"]);
    let counters = || {
        let output = run_pipe(kernel.pins(), &["--stats"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let count = |name: &str| {
            let line = text.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
        };
        (count("closed"), count("closed-evicted"), count("max-conns"))
    };
    // Others on this machine have connections, too, but not thousands in a moment.
    let (before, evicted, capacity) = counters();
    assert!(before < 4096, "{before} closed connections right after the load");
    assert_eq!((evicted, capacity), (0, 16384));
    connections();
    let (after, evicted, _) = counters();
    assert!(after >= before + CONNECTIONS && after < 8192, "{before} before, {after} after");
    assert_eq!(evicted, 0);
}

/// By the folder or by descriptors: it is the same ring.
#[test]
fn pinned_and_passed_readers_exclude_each_other() {
    if !can_test_the_kernel() {
        return;
    }
    let loader = Loader::default();
    let mut manager = ServiceManager::default();
    let pins = loader.pins().to_str().unwrap().to_owned();
    manager.load(&["--pin", &pins, "--pin-fdstore"]);
    let (_folder, for_everybody) = program_for_everybody("leco-event-pipe");
    // As under systemd: a user without rights, who cannot reach the folder.
    let passed = |manager: &ServiceManager| {
        let (mut command, fds) = manager.main_command(Path::new("setpriv"));
        command.args(["--reuid=54321", "--regid=54321", "--clear-groups", "--inh-caps=-all", "--"]);
        command.arg("sh").args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh"]).arg(&for_everybody);
        command.args(["-E", "-c", "conn-traffic-min=0"]);
        let pipe = EventPipe::spawn(command);
        drop(fds);
        pipe
    };
    for _ in 0..2 {
        let mut first = passed(&manager);
        reads(&first);
        refused(&run_pipe(loader.pins(), &[]), first.id());
        tells_all(&first, &connections());
        first.signal(Signal::KILL);
        first.wait();

        // The service manager keeps what it passed; that reads nothing.
        let mut second = EventPipe::start(loader.pins(), &[]);
        reads(&second);
        let mut third = passed(&manager);
        assert!(!third.wait().success());
        let said = third.stderr.lines().join("\n");
        assert!(
            said.contains(&format!("process {} (leco-event-pipe) already reads them", second.id())),
            "{said}"
        );
        second.signal(Signal::TERM);
        second.wait();
    }

    // New pins in their place, or none: a passed reader sees it as a pinned one does.
    let mut old = passed(&manager);
    reads(&old);
    assert!(loader.run(&["--update-interval", "1s"]).status.success());
    assert!(!old.wait().success());
    let said = old.stderr.lines().join("\n");
    assert!(said.contains("were unloaded or replaced"), "{said}");
    let new = EventPipe::start(loader.pins(), &[]);
    tells_all(&new, &connections());
}

/// Pins that are replaced have the same ring: the reader of the old ones leaves before the new ones have one.
#[test]
fn an_upgrade_passes_the_right_to_read_on() {
    if !can_test_the_kernel() {
        return;
    }
    let loader = Loader::default();
    assert!(loader.run(&["--update-interval", "2s"]).status.success());
    let mut pipe = EventPipe::start(loader.pins(), &[]);
    for interval in ["1s", "2s", "1s"] {
        reads(&pipe);
        assert!(loader.run(&["--update-interval", interval]).status.success());
        let new = EventPipe::start(loader.pins(), &[]);
        assert!(!pipe.wait().success(), "the old pins are gone");
        tells_all(&new, &connections());
        refused(&run_pipe(loader.pins(), &[]), new.id());
        pipe = new;
    }
    // One that does not leave is not waited for without end.
    reads(&pipe);
    pipe.signal(Signal::STOP);
    assert!(loader.run(&["--update-interval", "3s"]).status.success());
    let new = EventPipe::start(loader.pins(), &[]);
    pipe.signal(Signal::CONT);
    assert!(!pipe.wait().success());
    tells_all(&new, &connections());
}
