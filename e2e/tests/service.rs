// SPDX-License-Identifier: GPL-3.0-or-later
//! Loader and pipe under a service manager, and what becomes of connections when programs are replaced.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use leco_e2e::{
    EventPipe, FAR_V4, Loader, Netns, Peer, ServiceManager, can_test_the_kernel, program, wait_for,
};
use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};
use rustix::process::Signal;
use serde_json::{Value, json};

const UID: u32 = 54321;

/// Sends a datagram to the far end; returns the process and the port.
fn send(netns: &Netns, size: usize) -> (u32, u16) {
    let socket = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let remote: SocketAddr = socket.local_addr().unwrap();
    let peer =
        Peer::start(netns, UID, b"leco-peer", &["udp", &remote.to_string(), "send", &size.to_string()]);
    let pid = peer.id();
    peer.finish();
    (pid, remote.port())
}

/// A TCP connection that sends so much, waits, and sends as much as that again; everything is read at the far end.
fn long_lived(netns: &Netns, size: usize) -> Peer {
    let listener = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let remote = listener.local_addr().unwrap().to_string();
    thread::spawn(move || std::io::copy(&mut listener.accept().unwrap().0, &mut std::io::sink()));
    let size = size.to_string();
    Peer::start(netns, UID, b"leco-long", &["tcp", &remote, "send", &size, "hold", "send", &size])
}

/// Starts the pipe as the service's main command.
fn start_pipe(manager: &mut ServiceManager) -> EventPipe {
    let (mut command, passed) = manager.main_command(&program("leco-event-pipe"));
    command.args(["-E", "-c", "conn-traffic-min=0"]);
    let pipe = EventPipe::spawn(command);
    drop(passed);
    manager.wait_until_told("READY=1");
    pipe
}

/// Ids of the programs that fill the maps that are kept: others load the same ones at the same time.
fn programs_of(manager: &ServiceManager) -> Vec<u32> {
    let map_of = |fd: &OwnedFd| -> Option<u32> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
        info.lines().find_map(|line| line.strip_prefix("map_id:"))?.trim().parse().ok()
    };
    let maps: Vec<_> = manager.store.iter().filter_map(|(_, fd)| map_of(fd)).collect();
    let all = ProgInfoIter::with_query_opts(ProgInfoQueryOptions::default().include_map_ids(true));
    let ids =
        all.filter(|program| program.map_ids.iter().any(|id| maps.contains(id))).map(|program| program.id);
    let ids: Vec<_> = ids.collect();
    assert!(ids.len() > 5, "{ids:?}");
    ids
}

fn wait_until_gone(programs: &[u32]) {
    wait_for("the programs to go", || {
        ProgInfoIter::default().all(|program| !programs.contains(&program.id)).then_some(())
    });
}

fn has(events: &[Value], pid: u32, fields: &Value) -> bool {
    let wanted = fields.as_object().unwrap();
    events.iter().any(|event| event["pid"] == pid && wanted.iter().all(|(key, value)| event[key] == *value))
}

#[test]
fn no_connection_is_lost_over_twenty_restarts() {
    if !can_test_the_kernel() {
        return;
    }
    let netns = Netns::new();
    let mut manager = ServiceManager::default();
    assert!(manager.load(&[]).contains(" is loaded with the service manager"));
    let stored = manager.store.len();
    let held = long_lived(&netns, 7000);
    let mut made = Vec::new();
    let mut told: Vec<Value> = Vec::new();
    for restart in 0..20_usize {
        // While nobody reads.
        made.push((send(&netns, 100 + restart), 100 + restart));
        if restart > 0 {
            assert!(manager.load(&[]).contains(" is already loaded with the service manager"));
        }
        assert_eq!(manager.store.len(), stored);
        let mut pipe = start_pipe(&mut manager);
        made.push((send(&netns, 200 + restart), 200 + restart));
        let ((pid, port), size) = *made.last().unwrap();
        if restart % 2 == 0 {
            let _ = pipe.latest(pid, &json!({"rport": port, "tx": size}));
            pipe.signal(Signal::TERM);
        } else {
            // What it had not told yet, its successor tells.
            pipe.signal(Signal::KILL);
        }
        pipe.wait();
        told.extend(pipe.events());
    }
    let pipe = start_pipe(&mut manager);
    let held_pid = held.id();
    let _ = pipe.latest(held_pid, &json!({"tx": 7000}));
    held.finish();
    let _ = pipe.latest(held_pid, &json!({"tx": 14000, "state": "closed"}));
    told.extend(pipe.events());
    let lost: Vec<_> = made
        .iter()
        .filter(|((pid, port), size)| {
            !has(&told, *pid, &json!({"rport": port, "tx": size, "state": "closed"}))
        })
        .collect();
    assert!(lost.is_empty(), "{lost:?}");

    // Stopped, the service manager closes what it kept, and nothing is left.
    drop(pipe);
    let programs = programs_of(&manager);
    manager.store.clear();
    wait_until_gone(&programs);
}

#[test]
fn an_upgrade_takes_over_what_was_known() {
    if !can_test_the_kernel() {
        return;
    }
    let netns = Netns::new();
    let mut manager = ServiceManager::default();
    let first = manager.load(&[]);
    let old = programs_of(&manager);
    let mut pipe = start_pipe(&mut manager);
    let held = long_lived(&netns, 5000);
    let (gone, port) = send(&netns, 11);
    let before = pipe.latest(held.id(), &json!({"tx": 5000}));
    let closed = pipe.latest(gone, &json!({"rport": port, "state": "closed"}));
    pipe.signal(Signal::TERM);
    pipe.wait();

    // Other options make another version.
    let version = first.split_whitespace().next().unwrap();
    let upgrade = manager.load(&["--update-interval", "1s"]);
    assert!(
        upgrade.contains(&format!("replaced {version}\n")) && !upgrade.contains("forgotten"),
        "{upgrade}"
    );
    assert!(manager.store.iter().all(|(name, _)| !name.ends_with(version)), "{:?}", manager.store);
    wait_until_gone(&old);
    let pipe = start_pipe(&mut manager);
    let after = pipe.latest(held.id(), &json!({"tx": 5000}));
    assert_eq!((&after["ns"], &after["rx"]), (&before["ns"], &before["rx"]));
    assert_eq!(pipe.latest(gone, &json!({"rport": port}))["line"], closed["line"]);
    let pid = held.id();
    held.finish();
    assert_eq!(pipe.latest(pid, &json!({"tx": 10000, "state": "closed"}))["ns"], before["ns"]);
    drop(pipe);

    // A map of another size cannot be taken over, and that is said.
    let smaller = manager.load(&["--max-conns", "100"]);
    assert!(smaller.contains("were discarded: flows, closed\n"), "{smaller}");
    let pipe = start_pipe(&mut manager);
    let (pid, port) = send(&netns, 12);
    let _ = pipe.latest(pid, &json!({"rport": port, "tx": 12}));
    assert!(!has(&pipe.events(), gone, &json!({})));
}

/// Pinned programs are replaced while a process goes on to send: nothing is counted twice, and nearly nothing lost.
#[test]
fn bytes_are_counted_by_one_version_at_a_time() {
    const ROUNDS: u64 = 8;
    const SIZE: usize = 1000;
    if !can_test_the_kernel() {
        return;
    }
    let loader = Loader::default();
    assert!(loader.run(&[]).status.success());
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(peer.local_addr().unwrap()).unwrap();
    let (begun, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                sent += socket.send(&[0; SIZE]).unwrap_or(0);
                begun.store(true, Ordering::Relaxed);
            }
            sent
        });
        wait_for("the first datagram", || begun.load(Ordering::Relaxed).then_some(()));
        for round in 0..ROUNDS {
            let interval = format!("{}s", 1 + round % 2);
            // So that no other process has its processor in between.
            let mut command = Command::new("nice");
            command.args(["-n", "-20"]).arg(program("leco-ebpf-load")).arg("--pin").arg(loader.pins());
            let output = command.args(["--update-interval", &interval]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && !said.contains("forgotten"), "{output:?}");
        }
        stop.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    let local = socket.local_addr().unwrap().port();
    drop(socket);
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(loader.pins()).args(["-E", "-c", "conn-traffic-min=0"]);
    let pipe = EventPipe::spawn(command);
    let closed = pipe.latest(std::process::id(), &json!({"lport": local, "state": "closed"}));
    let counted = usize::try_from(closed["tx"].as_u64().unwrap()).unwrap();
    println!(
        "{} of {} datagrams were not counted, over {ROUNDS} upgrades",
        (sent - counted) / SIZE,
        sent / SIZE
    );
    assert!(counted <= sent, "{counted} bytes counted of {sent}");
    // One that is on its way during each of two writes to memory.
    assert!(sent - counted <= 100 * SIZE * usize::try_from(ROUNDS).unwrap(), "{counted} bytes of {sent}");
}

/// Pins for whoever reads by them, descriptors for a pipe that cannot reach the folder.
#[test]
fn what_is_pinned_can_be_passed_as_well() {
    if !can_test_the_kernel() {
        return;
    }
    let (netns, loader) = (Netns::new(), Loader::default());
    let mut manager = ServiceManager::default();
    let pins = loader.pins().to_str().unwrap().to_owned();
    let options = ["--pin", &pins, "--pin-fdstore"];
    assert!(manager.load(&options).contains(" is loaded at "));
    let stored = manager.store.len();
    assert!(stored >= 4 && manager.store.iter().all(|(name, _)| name.starts_with("leco-")));
    for restart in 0..2 {
        let pipe = start_pipe(&mut manager);
        let (pid, port) = send(&netns, 300 + restart);
        let _ = pipe.latest(pid, &json!({"rport": port, "tx": 300 + restart}));
        drop(pipe);
        assert!(manager.load(&options).contains(" is already loaded at "));
        assert_eq!(manager.store.len(), stored);
    }
    // Another version takes the place of the descriptors, too.
    let upgrade = [&options[..], &["--update-interval", "1s"]].concat();
    assert!(manager.load(&upgrade).contains("replaced v"));
    assert_eq!(manager.store.len(), stored);
    let pipe = start_pipe(&mut manager);
    let (pid, port) = send(&netns, 400);
    let _ = pipe.latest(pid, &json!({"rport": port, "tx": 400}));
}
