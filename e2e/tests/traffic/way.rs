// SPDX-License-Identifier: GPL-3.0-or-later
//! How TCP does, by which interface connections leave, and what their processes run.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};

use leco_e2e::vm::which;
use leco_e2e::{FAR_V4, Peer, Running, Side, can_test_the_kernel, program, run_to_end, wait_or_explain};
use serde_json::{Value, json};

use crate::{Stage, UID, serve_tcp};

const LINK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traffic/link.py");
/// Addresses of the slow link's ends.
const NEAR: &str = "10.84.0.1";
const FAR: &str = "10.84.0.2";

/// A link by tun devices between the ends of a stage, until it is dropped.
fn link(stage: &Stage, delay: &str, loss: &str) -> Running {
    let mut command = Command::new("python3");
    command.arg(LINK).args([Side::Near, Side::Far].map(|side| stage.netns.path(side)));
    command.args(["tun7", delay, loss]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut link = Running(command.spawn().unwrap());
    let mut said = String::new();
    BufReader::new(link.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "up\n");
    for (side, own, other) in [(Side::Near, NEAR, FAR), (Side::Far, FAR, NEAR)] {
        ip(stage, side, &["address", "add", own, "peer", other, "dev", "tun7"]);
        ip(stage, side, &["link", "set", "tun7", "up"]);
    }
    link
}

fn ip(stage: &Stage, side: Side, arguments: &[&str]) {
    let mut command = stage.netns.command(side, "ip");
    command.args(arguments);
    let output = run_to_end(command);
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
}

/// What `ss` says of the connection to a port: a value behind a colon.
fn ss(stage: &Stage, port: u16, name: &str) -> Option<String> {
    let mut command = stage.netns.command(Side::Near, "ss");
    command.args(["-tinH", "dport", "=", &format!(":{port}")]);
    let output = String::from_utf8(run_to_end(command).stdout).unwrap();
    let start = format!("{name}:");
    let mut words = output.split_ascii_whitespace();
    words.find_map(|word| word.strip_prefix(&start)).map(ToOwned::to_owned)
}

/// Whether a number is as `ss` has it, within a tenth.
fn is_near(told: &Value, known: f64) -> bool {
    told.as_f64().is_some_and(|told| (told - known).abs() <= known / 10.0)
}

#[test]
fn how_tcp_does_is_what_ss_says() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::set();
    let _link = link(&stage, "0.02", "20");
    let address: SocketAddr = format!("{FAR}:8080").parse().unwrap();
    let listener = stage.netns.at_far_end(|| TcpListener::bind(address).unwrap());
    let peer = stage.peer(&["tcp", &address.to_string(), "send", "200000", "recv", "1", "hold"]);
    let _stream = serve_tcp(&listener, 200_000, 1);
    let event = stage.expect(peer.id(), "tcp", address, 1, 200_000);
    assert_eq!((&event["iface"], &event["tcp_state"]), (&json!("tun7"), &json!("established")));
    let number = |name| ss(&stage, 8080, name).unwrap_or_else(|| panic!("ss says nothing of {name}"));
    // `rtt:AVERAGE/VARIANCE` in ms, `retrans:NOW/EVER`.
    let rtt: f64 = number("rtt").split('/').next().unwrap().parse().unwrap();
    let retrans: f64 = number("retrans").split('/').nth(1).unwrap().parse().unwrap();
    assert!(rtt > 39.0 && retrans > 0.0, "the link is neither slow nor lossy: {rtt} {retrans}");
    assert!(is_near(&event["rtt_us"], rtt * 1000.0), "{rtt} {event}");
    assert!(is_near(&event["retrans"], retrans), "{retrans} {event}");
    assert!(is_near(&event["cwnd"], number("cwnd").parse().unwrap()), "{event}");
    peer.finish();
    let closed =
        stage.pipe.latest(event["pid"].as_u64().unwrap().try_into().unwrap(), &json!({"state": "closed"}));
    assert!(is_near(&closed["retrans"], retrans), "{closed}");
    assert_eq!(closed.get("tcp_state"), None, "{closed}");
}

#[test]
fn the_interface_is_that_of_the_route_which_the_connection_takes() {
    const BEHIND: &str = "10.85.0.2";
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::set();
    let _link = link(&stage, "0", "0");
    ip(&stage, Side::Far, &["address", "add", BEHIND, "dev", "lo"]);
    ip(&stage, Side::Near, &["route", "add", BEHIND, "via", &FAR_V4.to_string()]);
    ip(&stage, Side::Near, &["route", "add", BEHIND, "via", FAR, "dev", "tun7", "table", "77"]);
    // As VPNs do it: who it is decides on the way.
    ip(&stage, Side::Near, &["rule", "add", "uidrange", &format!("{UID}-{UID}"), "lookup", "77"]);
    let (tcp, udp) = stage.netns.at_far_end(|| {
        (TcpListener::bind((BEHIND, 8080)).unwrap(), UdpSocket::bind((BEHIND, 8080)).unwrap())
    });
    let behind = format!("{BEHIND}:8080");
    for (uid, iface) in [(UID, "tun7"), (UID + 1, "wire")] {
        for proto in ["tcp", "udp"] {
            let steps = [proto, &behind, "send", "7", "recv", "1", "hold"];
            let peer = Peer::start(&stage.netns, uid, b"leco-peer", &steps);
            let _stream = if proto == "tcp" {
                Some(serve_tcp(&tcp, 7, 1))
            } else {
                crate::answer_udp(&udp, 1);
                None
            };
            let _ = stage.pipe.latest(peer.id(), &json!({"proto": proto, "rx": 1, "iface": iface}));
            peer.finish();
        }
    }
    // Who comes in is answered by the same way.
    let peer = stage.peer(&["accept", &format!("{NEAR}:8081"), "send", "3", "hold"]);
    let _stream = stage.netns.at_far_end(|| {
        wait_or_explain(|| "the listener".into(), || std::net::TcpStream::connect((NEAR, 8081)).ok())
    });
    let _ = stage.pipe.latest(peer.id(), &json!({"dir": "in", "tx": 3, "iface": "tun7"}));
    peer.finish();
}

/// Everything that a pipe which starts now tells of a process.
fn known_later(stage: &Stage, pid: u32) -> Vec<Value> {
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(stage.kernel.pins()).args(["-E", "-C"]);
    let output = run_to_end(command);
    let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice::<Value>(line).unwrap())
        .filter(|event| event["pid"] == pid)
        .collect()
}

#[test]
fn what_a_process_runs_is_kept_when_it_has_ended() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::set();
    let listener = stage.netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let remote = listener.local_addr().unwrap();
    // Across a mount that only the process sees.
    let script = format!(
        "mount -t tmpfs none /mnt && mkdir /mnt/deep && cp {} /mnt/deep/other && /mnt/deep/other '' tcp {remote} send 7",
        program("leco-e2e-peer").display()
    );
    let mut command = stage.netns.near_command("unshare");
    command.args(["--mount", "--", "sh", "-c", &format!("{script}; true")]);
    let mut child = Running(command.spawn().unwrap());
    let stream = serve_tcp(&listener, 7, 0);
    drop(stream);
    wait_or_explain(|| "the end of the process".into(), || child.0.try_wait().unwrap());
    let is_it = |event: &Value| event["raddr"] == json!(FAR_V4) && event["rport"] == remote.port();
    let first = wait_or_explain(
        || format!("its end in {:#?}", stage.pipe.events()),
        || stage.pipe.events().into_iter().find(|event| is_it(event) && event["state"] == "closed"),
    );
    let pid = first["pid"].as_u64().unwrap().try_into().unwrap();
    for event in known_later(&stage, pid).iter().chain([&first]) {
        assert_eq!(event["exe"], "/mnt/deep/other", "{event}");
        assert_eq!(event["parents"][0], "sh", "{event}");
        assert_eq!(event["parents"].as_array().unwrap().len(), 6.min(depth() + 2), "{event}");
    }
    assert!(!known_later(&stage, pid).is_empty());
}

/// How many processes started this one, and those.
fn depth() -> usize {
    let (mut pid, mut depth) = ("self".to_owned(), 0);
    while pid != "0" {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(1).unwrap().clone_into(&mut pid);
        depth += 1;
    }
    depth - 1
}

#[test]
fn what_a_process_runs_is_that_of_its_connect_when_it_has_executed_something_else() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::set();
    let listener = stage.netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let remote = listener.local_addr().unwrap();
    let script =
        format!("exec 3<>/dev/tcp/{}/{}; echo hello >&3; exec sleep 1000", remote.ip(), remote.port());
    let mut command = stage.netns.near_command("bash");
    let child = Running(command.args(["-c", &script]).spawn().unwrap());
    let _stream = serve_tcp(&listener, 6, 0);
    let pid = child.0.id();
    wait_or_explain(
        || "sleep".into(),
        || {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
            (name == "sleep\n").then_some(())
        },
    );
    let bash = std::fs::canonicalize(which("bash")).unwrap();
    let later = known_later(&stage, pid);
    assert!(!later.is_empty());
    for event in &later {
        assert_eq!((&event["exe"], &event["comm_now"]), (&json!(bash), &json!("sleep")), "{event}");
        assert_eq!(event.get("cmdline"), None, "it is of what it executed since: {event}");
    }
    let event = stage.pipe.latest(pid, &json!({"tx": 6, "exe": bash}));
    assert_eq!(event["comm"], "bash", "{event}");
}

/// Frames of an experimental type (IEEE 802, 88b5) that nobody answers: 5 of 60 bytes out, and what a socket at the other end
/// receives.
const FRAMES: &str = "
import socket, sys
frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
frames.bind((sys.argv[1], 0))
if sys.argv[2] == 'send':
    for _ in range(5):
        frames.send((b'\\xff' * 12 + b'\\x88\\xb5').ljust(60, b'x'))
else:
    print('ready', flush=True)
    for _ in range(5):
        assert len(frames.recv(1500)) == 60
sys.stdin.read()
";

#[test]
fn frames_of_packet_sockets_are_lines_of_their_interface() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::set();
    let run = |side, what| {
        let mut command = stage.netns.command(side, "python3");
        command.args(["-c", FRAMES, "wire", what]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Running(command.spawn().unwrap())
    };
    let mut receiver = run(Side::Far, "recv");
    let mut said = String::new();
    BufReader::new(receiver.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "ready\n");
    let mut sender = run(Side::Near, "send");
    let ended = |child: &mut Running| {
        drop(child.0.stdin.take());
        wait_or_explain(|| "the end of python3".into(), || child.0.try_wait().unwrap());
    };
    for (child, dir, rx, tx) in [(&mut sender, "out", 0, 300), (&mut receiver, "in", 300, 0)] {
        let pid = child.0.id();
        let wanted =
            json!({"proto": "packet", "iface": "wire", "dir": dir, "rx": rx, "tx": tx, "state": "open"});
        let event = stage.pipe.latest(pid, &wanted);
        let line = event["line"].as_str().unwrap();
        assert!(line.contains(" :: packet wire :: v "), "{line}");
        let later = known_later(&stage, pid);
        assert_eq!(later.len(), 1, "{later:?}");
        assert_eq!((&later[0]["state"], &later[0]["tx"]), (&json!("open"), &json!(tx)));
        ended(child);
        let _ = stage.pipe.latest(pid, &json!({"ns": event["ns"], "state": "closed", "rx": rx, "tx": tx}));
    }
}
