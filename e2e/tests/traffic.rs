// SPDX-License-Identifier: GPL-3.0-or-later
//! Real traffic through the real kernel: who, where to, and exactly how much.

#![allow(clippy::unwrap_used)]

#[path = "traffic/matrix.rs"]
mod matrix;
#[path = "traffic/way.rs"]
mod way;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use leco_e2e::{
    EventPipe, FAR_V4, FAR_V6, Kernel, NEAR_V4, Netns, Peer, can_test_the_kernel, wait_for, wait_or_explain,
};
use serde_json::{Value, json};

/// A user without a name on any machine.
const UID: u32 = 54321;

/// Everything one test needs: every send and recv is announced.
struct Stage {
    netns: Netns,
    // Dropped before the programs are unloaded.
    pipe: EventPipe,
    kernel: Kernel,
}

impl Stage {
    fn set() -> Self {
        Self::with(&["--update-interval", "0"])
    }

    fn with(options: &[&str]) -> Self {
        let kernel = Kernel::load(options);
        let pipe = EventPipe::start(kernel.pins(), &[]);
        Self { netns: Netns::new(), pipe, kernel }
    }

    /// How open connections are found.
    fn live_level(&self) -> &'static str {
        let pins = self.kernel.pins().join("iter");
        match (pins.join("pending_flows").exists(), pins.join("pending").exists()) {
            (true, _) => "iter",
            (false, true) => "files",
            (false, false) => "off",
        }
    }

    fn peer(&self, steps: &[&str]) -> Peer {
        Peer::start(&self.netns, UID, b"leco-peer", steps)
    }

    /// Waits for the event that has the final counts, and checks everything else about it.
    fn expect(&self, pid: u32, proto: &str, remote: SocketAddr, rx: u64, tx: u64) -> Value {
        let event = self.pipe.latest(
            pid,
            &json!({"raddr": remote.ip(), "rport": remote.port(), "rx": rx, "tx": tx, "proto": proto}),
        );
        assert_eq!(event["uid"], UID, "{event}");
        assert_eq!(event["comm"], "leco-peer", "{event}");
        assert!(event["exe"].as_str().is_some_and(|exe| exe.ends_with("/leco-e2e-peer")), "{event}");
        if proto == "tcp" {
            // Of the tests' pair of devices, or of their tunnels.
            let is_ours = |iface: &str| iface == "wire" || iface.starts_with("tun");
            assert!(event["iface"].as_str().is_some_and(is_ours) && event["rtt_us"].is_u64(), "{event}");
        }
        let port = if proto == "udp" { format!("{}/udp", remote.port()) } else { remote.port().to_string() };
        let line = event["line"].as_str().unwrap();
        assert!(line.contains(&format!(" :: {UID} :: leco-peer :: {} {port} :: v ", remote.ip())), "{line}");
        event
    }
}

/// Takes one connection at the far end: reads and answers. Closed with bytes unread it would be reset.
fn serve_tcp(listener: &TcpListener, read: usize, answer: usize) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut vec![0; read]).unwrap();
    stream.write_all(&vec![b'y'; answer]).unwrap();
    stream
}

/// Whether a feature that a test is about was turned off for this run: then there is nothing to see.
fn is_off(feature: &str) -> bool {
    let hooks = std::env::var("LECO_TEST_HOOKS").unwrap_or_default();
    let is_off = hooks.split_whitespace().any(|hook| hook.strip_suffix("=off") == Some(feature));
    if is_off {
        println!("without {feature} there is nothing to see");
    }
    is_off
}

fn answer_udp(socket: &UdpSocket, answer: usize) {
    let (_, from) = socket.recv_from(&mut [0; 4096]).unwrap();
    socket.send_to(&vec![b'y'; answer], from).unwrap();
}

fn tcp(address: IpAddr) {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::set();
    let listener = stage.netns.at_far_end(|| TcpListener::bind((address, 0)).unwrap());
    let remote = listener.local_addr().unwrap();
    let peer = stage.peer(&[
        "tcp",
        &remote.to_string(),
        "send",
        "70000",
        "peek",
        "100",
        "recv",
        "12345",
        "send",
        "1",
        "hold",
    ]);
    let _stream = serve_tcp(&listener, 70000, 12345);
    let event = stage.expect(peer.id(), "tcp", remote, 12345, 70001);
    let local: IpAddr = event["laddr"].as_str().unwrap().parse().unwrap();
    assert_eq!(local.is_ipv4(), address.is_ipv4());
    assert_ne!(event["lport"], 0);
    peer.finish();
}

#[test]
fn tcp_v4() {
    tcp(FAR_V4);
}

#[test]
fn tcp_v6() {
    tcp(FAR_V6);
}

fn udp(address: IpAddr, kind: &str) {
    if !can_test_the_kernel() || (kind == "unconnected" && is_off("peer")) {
        return;
    }
    let stage = Stage::set();
    let socket = stage.netns.at_far_end(|| UdpSocket::bind((address, 0)).unwrap());
    let remote = socket.local_addr().unwrap();
    let peer = stage.peer(&[kind, &remote.to_string(), "send", "1200", "recv", "300", "send", "7", "hold"]);
    answer_udp(&socket, 300);
    stage.expect(peer.id(), "udp", remote, 300, 1207);
    peer.finish();
}

#[test]
fn udp_connected_v4() {
    udp(FAR_V4, "udp");
}

#[test]
fn udp_connected_v6() {
    udp(FAR_V6, "udp");
}

#[test]
fn udp_unconnected_v4() {
    udp(FAR_V4, "unconnected");
}

#[test]
fn udp_unconnected_v6() {
    udp(FAR_V6, "unconnected");
}

/// Bytes that come right after an announcement are held back; nothing that comes later brings them.
fn last_bytes(kind: &str, options: &[&str], ends: bool) {
    let needed = [if ends { "close" } else { "live" }, if kind == "unconnected" { "peer" } else { "bytes" }];
    if !can_test_the_kernel() || needed.into_iter().any(is_off) {
        return;
    }
    let stage = Stage::with(options);
    let socket = stage.netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let remote = socket.local_addr().unwrap();
    let remote_text = remote.to_string();
    let mut steps = vec![kind, &remote_text, "send", "1000", "send", "200", "send", "30", "send", "4"];
    if !ends {
        steps.push("hold");
    }
    let peer = stage.peer(&steps);
    stage.expect(peer.id(), "udp", remote, 0, 1234);
    peer.finish();
}

#[test]
fn the_last_bytes_before_a_silence_are_told() {
    last_bytes("udp", &["--update-interval", "1s"], false);
}

#[test]
fn the_last_bytes_of_an_unconnected_socket_before_a_silence_are_told() {
    last_bytes("unconnected", &["--update-interval", "1s"], false);
}

#[test]
fn the_last_bytes_before_a_silence_are_told_where_only_files_can_be_gone_through() {
    let options = ["--update-interval", "1s", "--hook", "live=files"];
    last_bytes("udp", &options, false);
    last_bytes("unconnected", &options, false);
}

#[test]
fn the_last_bytes_to_a_second_peer_before_a_silence_are_told_once() {
    if !can_test_the_kernel() || ["live", "peer"].into_iter().any(is_off) {
        return;
    }
    for level in ["iter", "files"] {
        let stage = Stage::with(&["--update-interval", "1s", "--hook", &format!("live={level}")]);
        if stage.live_level() == "off" {
            // Elsewhere it is the best level, and tested as that.
            continue;
        }
        let sockets = stage.netns.at_far_end(|| [0, 1].map(|_| UdpSocket::bind((FAR_V4, 0)).unwrap()));
        let [first, second] = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        let (one, two) = (first.to_string(), second.to_string());
        let steps =
            ["unconnected", &one, "send", "9", "unconnected", &two, "send", "1000", "send", "234", "hold"];
        let peer = stage.peer(&steps);
        stage.expect(peer.id(), "udp", second, 0, 1234);
        // Another look is taken when something else happened.
        let other = stage.peer(&["udp", &one, "send", "5", "send", "6", "hold"]);
        stage.expect(other.id(), "udp", first, 0, 11);
        let told = stage.pipe.events();
        let told = told.iter().filter(|event| event["rport"] == second.port() && event["tx"] == 1234);
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), 1, "{level}: {told:#?}");
        peer.finish();
        other.finish();
    }
}

#[test]
fn a_closed_connection_has_its_final_counts() {
    // So long an interval never ends here: the close itself tells.
    last_bytes("udp", &["--update-interval", "1h"], true);
}

#[test]
fn each_peer_of_an_unconnected_socket_has_a_line_of_its_own() {
    if !can_test_the_kernel() || is_off("peer") {
        return;
    }
    let stage = Stage::set();
    let sockets = stage.netns.at_far_end(|| [0, 1].map(|_| UdpSocket::bind((FAR_V4, 0)).unwrap()));
    let [first, second] = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let peer = stage.peer(&[
        "unconnected",
        &first.to_string(),
        "send",
        "10",
        "recv",
        "20",
        "unconnected",
        &second.to_string(),
        "send",
        "30",
        "recv",
        "40",
        "hold",
    ]);
    answer_udp(&sockets[0], 20);
    answer_udp(&sockets[1], 40);
    let one = stage.expect(peer.id(), "udp", first, 20, 10);
    let other = stage.expect(peer.id(), "udp", second, 40, 30);
    assert_ne!(one["ns"], other["ns"]);
    assert_eq!(one["lport"], other["lport"], "it is one socket");
    peer.finish();
}

#[test]
fn two_processes_that_share_a_socket_are_told_apart() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::set();
    let listener = stage.netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let remote = listener.local_addr().unwrap();
    let peer = stage.peer(&["tcp", &remote.to_string(), "send", "100", "child", "send", "23", "recv", "5"]);
    let parent = peer.id();
    let _stream = serve_tcp(&listener, 123, 5);
    peer.finish();
    let of_parent = stage.expect(parent, "tcp", remote, 0, 100);
    let of_child = wait_for("the child's event", || {
        let to_remote =
            |event: &Value| event["rport"] == remote.port() && event["raddr"] == json!(remote.ip());
        stage
            .pipe
            .events()
            .into_iter()
            .rfind(|event| to_remote(event) && event["pid"] != parent && event["rx"] == 5)
    });
    assert_eq!((&of_child["tx"], &of_child["uid"]), (&json!(23), &json!(UID)), "{of_child}");
    assert_ne!(of_parent["ns"], of_child["ns"]);
}

/// Run where the kernel is known to have SCTP: on those that the matrix boots.
#[test]
fn sctp() {
    if std::env::var_os("LECO_TEST_SCTP").is_none() {
        return;
    }
    let stage = Stage::set();
    let there = SocketAddr::new(FAR_V4, 7001);
    let listener = stage.netns.at_far_end(|| leco_e2e::sctp_listen(there).unwrap());
    let peer = stage.peer(&["sctp", &there.to_string(), "send", "1000", "recv", "200", "hold"]);
    let _stream = serve_tcp(&listener, 1000, 200);
    let event = stage
        .pipe
        .latest(peer.id(), &json!({"proto": "132", "raddr": FAR_V4, "rport": 7001, "rx": 200, "tx": 1000}));
    let line = event["line"].as_str().unwrap();
    assert!(line.contains(&format!(" :: {FAR_V4} 132/x :: v ")), "{line}");
    peer.finish();
}

#[test]
fn an_incoming_connection_belongs_to_who_accepted() {
    if !can_test_the_kernel() || is_off("state") {
        return;
    }
    let stage = Stage::set();
    let here = SocketAddr::new(NEAR_V4, 7000);
    let peer = stage.peer(&["accept", &here.to_string(), "recv", "100", "send", "2000", "hold"]);
    let mut stream =
        stage.netns.at_far_end(|| wait_for("the peer to listen", || TcpStream::connect(here).ok()));
    stream.write_all(&[b'x'; 100]).unwrap();
    stream.read_exact(&mut [0; 2000]).unwrap();
    let event = stage.pipe.latest(
        peer.id(),
        &json!({"dir": "in", "raddr": FAR_V4, "lport": 7000, "rx": 100, "tx": 2000, "state": "open"}),
    );
    let line = event["line"].as_str().unwrap();
    assert!(line.contains(&format!(" :: {UID} :: leco-peer :: <- {FAR_V4} 7000 :: v ")), "{line}");
    peer.finish();
}

/// More about listeners is in listeners.rs, with programs that other kernels are not booted with.
#[test]
fn a_listener_is_told_while_it_is_there() {
    if !can_test_the_kernel() || is_off("listen") || is_off("state") {
        return;
    }
    let stage = Stage::set();
    let here = SocketAddr::new(NEAR_V4, 7000);
    for (step, proto, port) in [("accept", "tcp", "7000"), ("bind", "udp", "7000/udp")] {
        let peer = stage.peer(&[step, &here.to_string(), "hold"]);
        let listening =
            json!({"dir": "listen", "laddr": NEAR_V4, "lport": 7000, "proto": proto, "state": "listening"});
        let event = stage.pipe.latest(peer.id(), &listening);
        let line = event["line"].as_str().unwrap();
        assert!(
            line.ends_with(&format!(" :: {UID} :: leco-peer :: listening {NEAR_V4} {port} :: ")),
            "{line}"
        );
        let pid = peer.id();
        drop(peer);
        let closed = stage.pipe.latest(pid, &json!({"ns": event["ns"], "state": "closed"}));
        let line = closed["line"].as_str().unwrap();
        assert!(line.ends_with(&format!(" :: listening {NEAR_V4} {port} !closed :: ")), "{line}");
    }
}

#[test]
fn a_connection_without_traffic_is_told() {
    if !can_test_the_kernel() || is_off("state") {
        return;
    }
    let stage = Stage::set();
    let listener = stage.netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let remote = listener.local_addr().unwrap();
    let peer = stage.peer(&["tcp", &remote.to_string(), "hold"]);
    let pid = peer.id();
    let _ = stage.pipe.latest(pid, &json!({"dir": "out", "rport": remote.port(), "rx": 0, "tx": 0}));
    peer.finish();
    let _ = stage.pipe.latest(pid, &json!({"rport": remote.port(), "state": "closed"}));
}

#[test]
fn a_refused_connection_is_told() {
    if !can_test_the_kernel() || is_off("state") {
        return;
    }
    let stage = Stage::set();
    let nobody = SocketAddr::new(FAR_V4, 9);
    let peer = stage.peer(&["try", &nobody.to_string()]);
    let event = stage.pipe.latest(peer.id(), &json!({"raddr": FAR_V4, "rport": 9, "state": "refused"}));
    let line = event["line"].as_str().unwrap();
    assert!(line.contains(&format!(" :: {FAR_V4} 9 !refused :: ")), "{line}");
}

#[test]
fn a_connection_that_the_firewall_drops_is_told() {
    if !can_test_the_kernel() || is_off("state") || is_off("firewall") {
        return;
    }
    let stage = Stage::set();
    let rules = "add table inet t; add chain inet t out { type filter hook output priority 0; }; \
                 add rule inet t out tcp dport 9 drop";
    assert!(stage.netns.near_command("nft").arg(rules).status().unwrap().success());
    let swallowed = SocketAddr::new(FAR_V4, 9);
    let peer = stage.peer(&["try", &swallowed.to_string()]);
    let event = stage.pipe.latest(peer.id(), &json!({"raddr": FAR_V4, "rport": 9, "state": "blocked"}));
    let line = event["line"].as_str().unwrap();
    assert!(line.contains(&format!(" :: {FAR_V4} 9 !blocked :: ")), "{line}");
}

#[test]
fn connections_older_than_the_programs_are_told_with_their_bytes() {
    if !can_test_the_kernel() || is_off("old") || is_off("live") {
        return;
    }
    let netns = Netns::new();
    let listener = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let remote = listener.local_addr().unwrap();
    let here = SocketAddr::new(NEAR_V4, 7000);
    let start = |steps: &[&str]| Peer::start(&netns, UID, b"leco-peer", steps);
    let calls = start(&["tcp", &remote.to_string(), "send", "100", "recv", "50", "hold"]);
    let _accepted = serve_tcp(&listener, 100, 50);
    let serves = start(&["accept", &here.to_string(), "recv", "7", "send", "8", "hold"]);
    let mut stream = netns.at_far_end(|| wait_for("the peer to listen", || TcpStream::connect(here).ok()));
    stream.write_all(&[b'x'; 7]).unwrap();
    stream.read_exact(&mut [0; 8]).unwrap();

    let kernel = Kernel::load(&[]);
    let pipe = EventPipe::start(kernel.pins(), &[]);
    let _ = pipe.latest(calls.id(), &json!({"dir": "out", "rport": remote.port(), "rx": 50, "tx": 100}));
    // Its listener is gone: which end called is not to be known.
    let _ = pipe.latest(serves.id(), &json!({"raddr": FAR_V4, "lport": 7000, "rx": 7, "tx": 8}));
    calls.finish();
    serves.finish();
}

#[test]
fn hostile_process_names_are_cleaned() {
    if !can_test_the_kernel() {
        return;
    }
    for (name, shown) in [
        (&b"\x1b[31mred"[..], "\u{fffd}[31mred"),
        (b"two\nlines\r", "two\u{fffd}lines\u{fffd}"),
        (b"bad\xff\xc3utf8", "bad\u{fffd}\u{fffd}utf8"),
        (b"a :: b::c", "a - b-c"),
        (b"\"quoted\\\"", "\"quoted\\\""),
    ] {
        let stage = Stage::set();
        let socket = stage.netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
        let remote = socket.local_addr().unwrap();
        let peer = Peer::start(&stage.netns, UID, name, &["udp", &remote.to_string(), "send", "9"]);
        let pid = peer.id();
        peer.finish();
        let event = stage.pipe.latest(pid, &json!({"rport": remote.port(), "tx": 9}));
        let line = event["line"].as_str().unwrap();
        let expected = format!(":: {UID} :: {shown} :: {} {}/udp :: v 0B / 9B ^", remote.ip(), remote.port());
        assert!(line.ends_with(&expected), "{line:?}, not …{expected:?}");
    }
}

#[test]
fn a_full_ring_loses_no_connection() {
    const CONNECTIONS: u16 = 300;
    if !can_test_the_kernel() || is_off("close") {
        return;
    }
    let kernel = Kernel::load(&["--ring-size", "4096"]);
    let pipe = EventPipe::start(kernel.pins(), &[]);
    let netns = Netns::new();
    let ports: Vec<String> =
        (1..=CONNECTIONS).map(|port| SocketAddr::new(FAR_V4, port).to_string()).collect();
    let mut steps = Vec::new();
    for port in &ports {
        steps.extend(["udp", port.as_str(), "send", "1"]);
    }
    // It reads the ring before it is stopped.
    wait_for("a first event", || {
        Peer::start(&netns, UID, b"first", &["udp", ports[0].as_str(), "send", "1"]).finish();
        (!pipe.events().is_empty()).then_some(())
    });
    pipe.signal(rustix::process::Signal::STOP);
    let peer = Peer::start(&netns, UID, b"many", &steps);
    let pid = peer.id();
    peer.finish();
    pipe.signal(rustix::process::Signal::CONT);
    wait_for("all connections", || {
        let events = pipe.events();
        let mut ports: Vec<_> = events
            .iter()
            .filter(|event| event["pid"] == pid)
            .filter_map(|event| event["rport"].as_u64())
            .collect();
        ports.sort_unstable();
        (ports == (1..=u64::from(CONNECTIONS)).collect::<Vec<_>>()).then_some(())
    });
    let said = || format!("the ring to overflow: {:?}", pipe.stderr.lines());
    wait_or_explain(said, || {
        pipe.stderr.lines().iter().any(|line| line.contains("the ring buffer was full")).then_some(())
    });
}
