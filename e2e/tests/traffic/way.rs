// SPDX-License-Identifier: GPL-3.0-or-later
//! How TCP does, and by which interface connections leave.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};

use leco_e2e::{FAR_V4, Peer, Running, Side, can_test_the_kernel, run_to_end, wait_or_explain};
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
