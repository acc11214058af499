// SPDX-License-Identifier: GPL-3.0-or-later
//! What does not fit a row of docs/ACCURACY.md: thousands of connections at once, of which every last byte and every
//! end has to be told.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use leco_e2e::{EventPipe, FAR_V4, Kernel, Netns, ServiceManager, can_test_the_kernel, program};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

const CONNECTIONS: usize = 2000;
/// Peers from this port on, where nobody listens.
const FIRST_PORT: u16 = 10_000;
/// So long the last of them may take: several update intervals of 1 s on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(20);

/// Sends so many bytes over each of its connections whenever it reads a number, and says so.
const CONNECTED: &str = r#"
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
kind, host, port, count = getattr(socket, sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
sockets = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
for s in sockets: s.connect((host, port))
print(*(s.getsockname()[1] for s in sockets), flush=True)
for line in sys.stdin:
    for s in sockets: assert s.send(b"x" * int(line)) == int(line)
    print(flush=True)
"#;

/// The same of one socket, with a peer at each of its ports.
const UNCONNECTED: &str = r#"
import socket, sys
_, host, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print(*range(port, port + count), flush=True)
for line in sys.stdin:
    for at in range(port, port + count): s.sendto(b"x" * int(line), (host, at))
    print(flush=True)
"#;

/// A process with many connections.
struct Crowd {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Box<dyn BufRead>,
    /// What tells them apart: the field, and its values.
    key: &'static str,
    ports: Vec<u64>,
    sent: u64,
}

impl Crowd {
    fn start(netns: &Netns, script: &str, kind: &str, port: u16, count: usize) -> Self {
        let mut command = netns.near_command("python3");
        command.args(["-c", script, kind, &FAR_V4.to_string(), &port.to_string(), &count.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let key = if script == UNCONNECTED { "rport" } else { "lport" };
        let mut this =
            Self { child, stdin, stdout: Box::new(BufReader::new(stdout)), key, ports: Vec::new(), sent: 0 };
        this.ports = this.line().split_whitespace().map(|port| port.parse().unwrap()).collect();
        assert_eq!(this.ports.len(), count);
        this
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.stdout.read_line(&mut line).unwrap() > 0, "the process failed");
        line
    }

    /// So many bytes more over each.
    fn send(&mut self, size: u64) {
        writeln!(self.stdin.as_mut().unwrap(), "{size}").unwrap();
        self.line();
        self.sent += size;
    }

    /// Ends it, and with it its connections.
    fn finish(&mut self) {
        self.stdin = None;
        assert!(self.child.wait().unwrap().success());
    }

    /// Those of which the latest event is not this.
    fn wrong(&self, events: &[Value], state: &str) -> Vec<String> {
        let of_this = |event: &&Value| event["pid"] == self.child.id();
        let mut latest: HashMap<u64, &Value> = HashMap::new();
        for event in events.iter().filter(of_this) {
            latest.insert(event[self.key].as_u64().unwrap(), event);
        }
        let is_right = |event: &Value| event["tx"] == self.sent && event["state"] == state;
        let wrong = self.ports.iter().filter(|port| !latest.get(port).is_some_and(|event| is_right(event)));
        wrong
            .map(|port| format!("{} {port}: {}", self.key, latest.get(port).unwrap_or(&&Value::Null)))
            .collect()
    }

    /// Waits until each was told with all its bytes.
    fn all_are_told(&self, pipe: &EventPipe, state: &str, what: &str) {
        let start = Instant::now();
        loop {
            let wrong = self.wrong(&pipe.events(), state);
            if wrong.is_empty() {
                return;
            }
            let count = wrong.len();
            assert!(
                start.elapsed() < DEADLINE,
                "{what}: {count} were not told: {:#?}",
                &wrong[..count.min(3)]
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Descriptors for the far ends of all connections, which are in this process.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = (2 * CONNECTIONS + 1000) as u64;
    let maximum = limit.maximum.map(|most| most.max(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap();
}

/// A pipe as the service's main command, with what the service manager keeps.
fn passed() -> (ServiceManager, EventPipe) {
    let mut manager = ServiceManager::default();
    manager.load(&["--update-interval", "1s"]);
    let (mut command, passed) = manager.main_command(&program("leco-event-pipe"));
    command.args(["-E", "-c", "conn-traffic-min=0"]);
    let pipe = EventPipe::spawn(command);
    drop(passed);
    manager.wait_until_told("READY=1");
    (manager, pipe)
}

/// Rounds of bytes that no announcement follows: only the pipe's look tells them.
fn every_last_byte_is_told(crowd: &mut Crowd, pipe: &EventPipe, what: &str) {
    for round in 1..=3 {
        crowd.send(10);
        // Within the update interval of the ones before, so these are pending.
        crowd.send(round);
        crowd.all_are_told(pipe, "open", &format!("{what}, round {round}"));
    }
    crowd.finish();
    crowd.all_are_told(pipe, "closed", &format!("{what}, closed"));
}

fn tcp(netns: &Netns) -> Crowd {
    raise_limit();
    let listener = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    // Kept until all are there; what is sent stays unread.
    thread::spawn(move || {
        let accepted: Vec<_> = listener.incoming().take(CONNECTIONS).collect();
        for stream in accepted.into_iter().flatten() {
            let _ = std::io::copy(&mut &stream, &mut std::io::sink());
        }
    });
    Crowd::start(netns, CONNECTED, "SOCK_STREAM", port, CONNECTIONS)
}

#[test]
fn last_bytes_of_2000_connections_are_told_by_passed_descriptors() {
    if !can_test_the_kernel() {
        return;
    }
    let netns = Netns::new();
    let (_manager, pipe) = passed();
    every_last_byte_is_told(&mut tcp(&netns), &pipe, "TCP, by passed descriptors");
}

#[test]
fn last_bytes_of_2000_connections_are_told_by_pins() {
    if !can_test_the_kernel() {
        return;
    }
    let netns = Netns::new();
    let kernel = Kernel::load(&["--update-interval", "1s"]);
    let pipe = EventPipe::start(kernel.pins(), &[]);
    every_last_byte_is_told(&mut tcp(&netns), &pipe, "TCP, by pins");
}

#[test]
fn last_bytes_of_2000_connected_datagram_sockets_are_told_by_passed_descriptors() {
    if !can_test_the_kernel() {
        return;
    }
    let netns = Netns::new();
    let (_manager, pipe) = passed();
    let far = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let port = far.local_addr().unwrap().port();
    let mut crowd = Crowd::start(&netns, CONNECTED, "SOCK_DGRAM", port, CONNECTIONS);
    every_last_byte_is_told(&mut crowd, &pipe, "UDP, by passed descriptors");
}

#[test]
fn last_bytes_and_ends_of_2000_peers_of_a_socket_are_told_by_passed_descriptors() {
    if !can_test_the_kernel() {
        return;
    }
    let netns = Netns::new();
    let (_manager, pipe) = passed();
    let mut crowd = Crowd::start(&netns, UNCONNECTED, "", FIRST_PORT, CONNECTIONS);
    every_last_byte_is_told(&mut crowd, &pipe, "peers, by passed descriptors");
}

/// One announcement says that a socket is gone, however many peers it had, and whoever comes later knows, too.
#[test]
fn all_4000_peers_of_a_socket_end_with_it() {
    const PEERS: usize = 4000;
    if !can_test_the_kernel() {
        return;
    }
    let netns = Netns::new();
    let kernel = Kernel::load(&["--update-interval", "1s"]);
    let pipe = EventPipe::start(kernel.pins(), &[]);
    let mut crowd = Crowd::start(&netns, UNCONNECTED, "", FIRST_PORT, PEERS);
    crowd.send(3);
    crowd.all_are_told(&pipe, "open", "while the socket is there");
    crowd.send(4);
    crowd.finish();
    crowd.all_are_told(&pipe, "closed", "when the socket is gone");
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins()).args(["-E", "-C", "-c", "conn-traffic-min=0"]);
    let output = command.output().unwrap();
    let known = String::from_utf8(output.stdout).unwrap();
    let known: Vec<Value> = known.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let wrong = crowd.wrong(&known, "closed");
    assert!(wrong.is_empty(), "{} by -C: {:#?}", wrong.len(), &wrong[..wrong.len().min(3)]);
}
