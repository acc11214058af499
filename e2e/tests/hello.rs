// SPDX-License-Identifier: GPL-3.0-or-later
//! Which name a connection has that its process sent itself: real programs, and no name server that could be asked.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;

use leco_e2e::{DEADLINE, EventPipe, FAR_V4, Kernel, Netns, can_test_the_kernel, wait_for, wait_or_explain};
use serde_json::Value;

/// A server that reads what comes, answers with this, and hangs up when its client does.
fn listen(netns: &Netns, answer: &'static [u8]) -> SocketAddr {
    let listener = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(DEADLINE));
                let mut buffer = [0; 65536];
                let _ = stream.read(&mut buffer);
                let _ = stream.write_all(answer);
                if !answer.is_empty() {
                    let _ = stream.read(&mut buffer);
                }
            });
        }
    });
    address
}

/// A pipe, its programs, and a network in which no name server is reachable.
struct Scene {
    pipe: EventPipe,
    _kernel: Kernel,
    netns: Netns,
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let kernel = Kernel::load(options);
        let pipe = EventPipe::start(kernel.pins(), &[]);
        wait_for("the pipe's first look", || {
            drop(TcpStream::connect("127.0.0.1:9"));
            (!pipe.stdout.lines().is_empty()).then_some(())
        });
        Self { pipe, _kernel: kernel, netns: Netns::new() }
    }

    /// Runs a program to its end; its connections to a port, as they were told last.
    fn run(&self, port: u16, program: &str, arguments: &[&str]) -> Value {
        let mut command = self.netns.near_command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        self.latest(port, |event| {
            event["pid"] == pid && event["state"] != "open" && event["state"] != "connecting"
        })
    }

    fn latest(&self, port: u16, is_it: impl Fn(&Value) -> bool) -> Value {
        wait_or_explain(
            || format!("an event for port {port} among {:#?}", self.pipe.events()),
            || self.pipe.events().into_iter().rfind(|event| event["rport"] == port && is_it(event)),
        )
    }
}

fn names(event: &Value) -> [Option<&str>; 3] {
    [event["name"].as_str(), event["name_src"].as_str(), event["alpn"].as_str()]
}

const PYTHON: &str = "
import socket, ssl, sys
host, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
try: ssl.create_default_context().wrap_socket(socket.create_connection((host, port)), server_hostname=name)
except OSError: pass
";
const NODE: &str = "
require('tls').connect({host: process.argv[1], port: +process.argv[2], servername: process.argv[3],
    ALPNProtocols: ['h2', 'http/1.1']}).on('error', () => {})
";

#[test]
fn what_real_programs_send_is_the_name() {
    if !can_test_the_kernel() {
        return;
    }
    for options in [&[][..], &["--hook", "bytes=tracepoint"]] {
        let scene = Scene::new(options);
        let address = listen(&scene.netns, b"");
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let target = format!("{ip}:{port}");
        let resolve = |name: &str| format!("{name}:{port}:{ip}");
        let url = |name: &str| format!("https://{name}:{port}/");
        for (program, arguments, alpn) in [
            ("openssl", vec!["s_client", "-connect", &target, "-servername", "openssl.example"], None),
            ("curl", vec!["-sk", "--resolve", &resolve("curl.example"), &url("curl.example")], Some("h2")),
            ("python3", vec!["-c", PYTHON, &ip, &port, "python3.example"], None),
            ("node", vec!["-e", NODE, &ip, &port, "node.example"], Some("h2")),
        ] {
            let event = scene.run(address.port(), program, &arguments);
            let name = format!("{program}.example");
            assert_eq!(names(&event), [Some(&*name), Some("hello"), alpn], "{options:?} {event}");
            let line = event["line"].as_str().unwrap();
            assert!(line.contains(&format!(" :: {name} {port} :: ")), "{line}");
        }
    }
}

#[test]
fn a_hundred_names_on_one_address_are_a_hundred() {
    const MANY: &str = "
import socket, ssl, sys
for number in range(100):
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    print(s.getsockname()[1], f'n{number}.example', flush=True)
    try: ssl.create_default_context().wrap_socket(s, server_hostname=f'n{number}.example')
    except OSError: pass
";
    if !can_test_the_kernel() {
        return;
    }
    let scene = Scene::new(&[]);
    let address = listen(&scene.netns, b"");
    let mut command = scene.netns.near_command("python3");
    command.args(["-c", MANY, &address.ip().to_string(), &address.port().to_string()]);
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert_eq!(output.lines().count(), 100);
    for line in output.lines() {
        let (port, name) = line.split_once(' ').unwrap();
        let port: u16 = port.parse().unwrap();
        scene.latest(address.port(), |event| event["lport"] == port && event["name"] == name);
    }
}

#[test]
fn what_is_behind_a_proxy_is_named() {
    if !can_test_the_kernel() {
        return;
    }
    let scene = Scene::new(&[]);
    for (scheme, answer) in [("http", &b"HTTP/1.1 502 no\r\n\r\n"[..]), ("socks5h", b"\x05\x00")] {
        let address = listen(&scene.netns, answer);
        let (ip, port) = (address.ip(), address.port());
        let proxy = format!("{scheme}://{address}");
        let event = scene.run(port, "curl", &["-sk", "-x", &proxy, "https://behind.example:8443/"]);
        assert_eq!(names(&event), [Some("behind.example"), Some("proxy"), None], "{event}");
        assert_eq!(event["target_port"], 8443);
        let line = event["line"].as_str().unwrap();
        assert!(line.contains(&format!(" :: behind.example 8443 via {ip} {port} :: ")), "{line}");
    }
}

#[test]
fn nothing_is_read_where_that_is_not_wanted() {
    if !can_test_the_kernel() {
        return;
    }
    for options in [["--no-hello", "--no-dns"], ["--hook", "hello=off"]] {
        let scene = Scene::new(&options);
        let address = listen(&scene.netns, b"");
        let arguments = ["-c", PYTHON, &address.ip().to_string(), &address.port().to_string(), "x.example"];
        let event = scene.run(address.port(), "python3", &arguments);
        assert_eq!(names(&event), [None; 3], "{event}");
    }
}
