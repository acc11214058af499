// SPDX-License-Identifier: GPL-3.0-or-later
//! Which name a connection has that its process sent itself: real programs, and no name server that could be asked.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

use leco_bpf::place::pin_dir::PinDir;
use leco_bpf::read::reader::Reader;
use leco_bpf::read::record::Conn;
use leco_bpf::read::stream::Stream;
use leco_e2e::desktop::can_use;
use leco_e2e::vm::find_program;
use leco_e2e::{
    DEADLINE, EventPipe, FAR_V4, FAR_V6, Kernel, Netns, Peer, Side, can_test_the_kernel, program, skip,
    wait_for, wait_or_explain,
};
use rustix::process::{Pid, Signal};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::Value;

/// A server that reads what comes, answers with this, and hangs up when its client does.
fn listen(netns: &Netns, answer: &'static [u8]) -> SocketAddr {
    let listener = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(DEADLINE));
                let mut buffer = vec![0; 65536];
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

/// A server that reads until its clients hang up.
fn swallow(netns: &Netns) -> SocketAddr {
    let listener = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(DEADLINE));
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            });
        }
    });
    address
}

/// A pipe, its programs, and a network in which no name server is reachable.
struct Scene {
    pipe: EventPipe,
    kernel: Kernel,
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
        Self { pipe, kernel, netns: Netns::new() }
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

/// By `GnuTLS`.
const WGET: &str = "
echo \"$0 wget.example\" >/tmp/hosts.$$ && mount --bind /tmp/hosts.$$ /etc/hosts && rm /tmp/hosts.$$
exec wget -q --tries=1 --no-check-certificate https://wget.example:$1/
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
            // By Go.
            ("hey", vec!["-n", "1", "-c", "1", "-h2", "-host", "hey.example", &url(&ip)], Some("h2")),
            // It knows no name that is not looked up.
            ("unshare", vec!["-m", "sh", "-c", WGET, &ip, &port], None),
        ] {
            if program == "node" && find_program(program).is_none() {
                println!("there is no {program} here");
                continue;
            }
            if program == "hey"
                && find_program(program).is_none()
                && !skip("hey is missing: run script/bootstrap test")
            {
                continue;
            }
            let event = scene.run(address.port(), program, &arguments);
            let name = format!("{}.example", if program == "unshare" { "wget" } else { program });
            assert_eq!(names(&event), [Some(&*name), Some("hello"), alpn], "{options:?} {event}");
            let line = event["line"].as_str().unwrap();
            assert!(line.contains(&format!(" :: {name} {port} ")), "{line}");
        }
    }
}

#[test]
fn rustls_sends_the_name() {
    if !can_test_the_kernel() {
        return;
    }
    let scene = Scene::new(&[]);
    let address = listen(&scene.netns, b"");
    let mut config =
        ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = "rustls.example".try_into().unwrap();
    let mut client = ClientConnection::new(config.into(), name).unwrap();
    let mut stream = scene.netns.at_near_end(|| TcpStream::connect(address).unwrap());
    let port = stream.local_addr().unwrap().port();
    client.write_tls(&mut stream).unwrap();
    let event = scene.latest(address.port(), |event| event["lport"] == port && !event["name"].is_null());
    assert_eq!(names(&event), [Some("rustls.example"), Some("hello"), Some("h2")], "{event}");
}

/// A browser that looks up nothing and opens one page, over QUIC if that is wanted.
struct Browser {
    child: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn chromium(netns: &Netns, address: SocketAddr, name: &str, over_quic: bool) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = netns.near_command("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.arg(format!("--host-resolver-rules=MAP * {}", address.ip()));
        if over_quic {
            command.arg("--enable-quic").arg(format!("--origin-to-force-quic-on={name}:{}", address.port()));
        }
        command.arg(format!("https://{name}:{}/", address.port()));
        Self::open(command, profile)
    }

    fn firefox(netns: &Netns, address: SocketAddr, name: &str, over_quic: bool) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (ip, port) = (address.ip(), address.port());
        let mut settings = format!("user_pref('network.dns.forceResolve', '{ip}');\n");
        if over_quic {
            let pref = "network.http.http3.alt-svc-mapping-for-testing";
            settings += &format!("user_pref('{pref}', '{name};h3=:{port}');\n");
        }
        std::fs::write(profile.path().join("user.js"), settings).unwrap();
        let mut command = netns.near_command("firefox-esr");
        command.args(["--headless", "--no-remote", "--profile"]).arg(profile.path());
        command.arg(format!("https://{name}:{port}/"));
        Self::open(command, profile)
    }

    fn open(mut command: Command, profile: tempfile::TempDir) -> Self {
        command.env("HOME", profile.path()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap(), _profile: profile }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // With all its processes.
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

#[test]
fn a_browser_is_named_by_what_it_sends() {
    if !can_test_the_kernel() || !can_use(&["chromium"]) {
        return;
    }
    let scene = Scene::new(&[]);
    let tcp = listen(&scene.netns, b"");
    let udp = scene.netns.at_far_end(|| UdpSocket::bind((FAR_V4, 443)).unwrap());
    let udp_address = udp.local_addr().unwrap();
    for (address, name, over_quic) in [(tcp, "tls.example", false), (udp_address, "quic.example", true)] {
        let _browser = Browser::chromium(&scene.netns, address, name, over_quic);
        let event = scene.latest(address.port(), |event| event["name"] == name);
        // It sends the extension with nothing in it, and nobody was asked whose address it is.
        assert_eq!(event["name_src"], "ech", "{event}");
        let port = address.port();
        let shown = if over_quic { format!(":: ~{name} {port}/udp") } else { format!(":: ~{name} {port}") };
        assert!(event["line"].as_str().unwrap().contains(&shown), "{event}");
    }
}

/// Too large to be installed for this alone.
#[test]
fn firefox_is_named_by_what_it_sends() {
    if !can_test_the_kernel() {
        return;
    }
    if find_program("firefox-esr").is_none() {
        println!("there is no firefox-esr here");
        return;
    }
    let scene = Scene::new(&[]);
    let tcp = listen(&scene.netns, b"");
    let udp = scene.netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let udp_address = udp.local_addr().unwrap();
    for (address, name, over_quic) in [(tcp, "tls.example", false), (udp_address, "quic.example", true)] {
        let _browser = Browser::firefox(&scene.netns, address, name, over_quic);
        let event = scene
            .latest(address.port(), |event| event["name"] == name && (event["proto"] == "udp") == over_quic);
        assert_eq!(event["name_src"], "ech", "{event}");
    }
}

/// Begins a connection over QUIC; nobody answers.
const AIOQUIC: &str = "
import asyncio, sys
from aioquic.asyncio.client import connect
from aioquic.quic.configuration import QuicConfiguration
async def main():
    settings = QuicConfiguration(is_client=True, alpn_protocols=['h3'], server_name=sys.argv[3],
        original_version=int(sys.argv[4], 16), supported_versions=[int(sys.argv[4], 16)])
    async with connect(sys.argv[1], int(sys.argv[2]), configuration=settings): pass
asyncio.run(main())
";

#[test]
fn both_versions_of_quic_name_their_peer() {
    let modules = program("leco-event-pipe").parent().unwrap().join("../tools/aioquic");
    let has_aioquic = modules.exists() || skip("aioquic is missing: run script/bootstrap test");
    if !can_test_the_kernel() || !has_aioquic {
        return;
    }
    for options in [&[][..], &["--hook", "peer=off"]] {
        let scene = Scene::new(options);
        let server = scene.netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
        let address = server.local_addr().unwrap();
        for (version, name) in [("00000001", "one.example"), ("6b3343cf", "two.example")] {
            let mut command = scene.netns.near_command("python3");
            command.args([
                "-c",
                AIOQUIC,
                &address.ip().to_string(),
                &address.port().to_string(),
                name,
                version,
            ]);
            let mut child = command.env("PYTHONPATH", &modules).stderr(Stdio::null()).spawn().unwrap();
            let pid = child.id();
            let event = wait_or_explain(
                || format!("{name} among {:#?}", scene.pipe.events()),
                || scene.pipe.events().into_iter().find(|event| event["pid"] == pid && event["name"] == name),
            );
            assert_eq!(names(&event), [Some(name), Some("quic"), Some("h3")], "{event}");
            child.kill().unwrap();
            child.wait().unwrap();
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
    let (http, socks) = (&b"HTTP/1.1 502 no\r\n\r\n"[..], &b"\x05\x00"[..]);
    for (scheme, answer, host, target) in [
        ("http", http, "behind.example", "behind.example"),
        ("socks5h", socks, "behind.example", "behind.example"),
        ("http", http, "10.0.0.5", "10.0.0.5"),
        ("socks5", socks, "10.0.0.5", "10.0.0.5"),
        ("http", http, "[2001:db8::5]", "2001:db8::5"),
        ("socks5", socks, "[2001:db8::5]", "2001:db8::5"),
    ] {
        let address = listen(&scene.netns, answer);
        let (ip, port) = (address.ip(), address.port());
        let proxy = format!("{scheme}://{address}");
        let event = scene.run(port, "curl", &["-sk", "-x", &proxy, &format!("https://{host}:8443/")]);
        assert_eq!(names(&event), [Some(target), Some("proxy"), None], "{event}");
        assert_eq!(event["target_port"], 8443);
        let line = event["line"].as_str().unwrap();
        assert!(line.contains(&format!(" :: {target} 8443 via {ip} {port} ")), "{line}");
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

/// Sends hellos of its own making, each over a connection of its own whose port it prints.
const CRAFTED: &str = r#"
import ctypes, socket, struct, sys
HOST, PORT = sys.argv[1], int(sys.argv[2])
def ext(kind, body, size=None): return struct.pack("!HH", kind, len(body) if size is None else size) + body
def sni(name, size=None):
    entry = b"\0" + struct.pack("!H", len(name) if size is None else size) + name
    return ext(0, struct.pack("!H", len(entry)) + entry)
def hello(*extensions, session=b"s" * 32, size=None):
    all_of_them = b"".join(extensions)
    body = b"\3\3" + b"r" * 32 + bytes([len(session)]) + session + b"\0\2\x13\1" + b"\1\0"
    body += struct.pack("!H", len(all_of_them) if size is None else size) + all_of_them
    return b"\x16\3\1" + struct.pack("!H", 4 + len(body)) + b"\1\0" + struct.pack("!H", len(body)) + body
def filler(size): return ext(21, b"x" * size)
def connect():
    s = socket.create_connection((HOST, PORT))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s
def in_pieces(data, size): return [data[at:at + size] for at in range(0, len(data), size)]
def writes(*parts):
    s = connect()
    try:
        for part in parts: s.send(part)
    except OSError: pass # the server hung up
    return s
def gathered(*parts):
    s = connect()
    s.sendmsg(list(parts))
    return s
def fast_open(data):
    s = socket.socket()
    s.sendto(data, socket.MSG_FASTOPEN, (HOST, PORT))
    return s
class Header(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_int), ("iov", ctypes.c_void_p), ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_size_t), ("len", ctypes.c_size_t)]
class Buffer(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
def sendmmsg(*parts):
    s = connect()
    places = [ctypes.create_string_buffer(part, len(part)) for part in parts]
    buffers = [Buffer(ctypes.addressof(place), len(place)) for place in places]
    headers = (Header * len(parts))(*(Header(iov=ctypes.addressof(buffer), iovlen=1) for buffer in buffers))
    assert ctypes.CDLL(None).sendmmsg(s.fileno(), headers, len(parts), 0) == len(parts)
    return s
plain = hello(filler(40), sni(b"right.example"), filler(9))
late = hello(filler(1900), ext(16, b"\0\3\2h2"), sni(b"right.example"))
for label, s in eval(sys.argv[3]):
    print(s.getsockname()[1], label, flush=True)
"#;

/// Each of these, and the name that it gives.
const CASES: &str = r#"[
    *((f"right.example gathered in pieces of {size}", gathered(*in_pieces(plain, size))) for size in (30, 41, 64, 77)),
    ("right.example gathered", gathered(plain[:5], plain[5:9], plain[9:])),
    ("right.example gathered, empty ones between", gathered(plain[:1], b"", plain[1:3], b"", plain[3:])),
    *((f"right.example cut at {at}", writes(plain[:at], plain[at:])) for at in range(1, len(plain))),
    *((f"right.example late in the hello and cut at {at}", writes(late[:at], late[at:])) for at in range(40, len(late), 200)),
    *((f"right.example cut at {at} and at {at + 20}", writes(plain[:at], plain[at:at + 20], plain[at + 20:]))
        for at in (1, 2, 5, 6, 44, 80, len(plain) - 21)),
    ("right.example cut, in the second send and the third", writes(b"EHLO x\r\n", plain[:100], plain[100:])),
    ("right.example cut behind the name, and in 40 writes", writes(plain[:-8], *in_pieces(plain[-8:], 1))),
    ("right.example in the second send", writes(b"EHLO x\r\n", plain)),
    ("right.example in the third send", writes(b"EHLO x\r\n", b"STARTTLS\r\n", plain)),
    ("right.example late in the hello", writes(late)),
    ("right.example of two hellos, the first", writes(plain, hello(sni(b"wrong.example")))),
    ("right.example by fast open", fast_open(plain)),
    ("right.example by sendmmsg", sendmmsg(plain)),
    ("right.example with data behind it", writes(plain + b"x" * 100000)),
    ("right.example with a long session id", writes(hello(sni(b"right.example"), session=b"s" * 255))),
    ("- in the fourth send", writes(b"a", b"b", b"c", plain)),
    ("- in 40 writes", writes(*in_pieces(plain, len(plain) // 40 + 1))),
    ("- no name", writes(hello(filler(10)))),
    ("- an empty name", writes(hello(sni(b"")))),
    ("- two names", writes(hello(sni(b"wrong.example"), sni(b"wrong.example")))),
    ("- two names, cut between", writes(hello(sni(b"wrong.example"), filler(9), sni(b"wrong.example"))[:-20],
        hello(sni(b"wrong.example"), filler(9), sni(b"wrong.example"))[-20:])),
    ("- two names in one list", writes(hello(ext(0, b"\0\x20" + 2 * b"\0\0\rwrong.example")))),
    ("- a record that says it is shorter", writes(plain[:3] + struct.pack("!H", len(plain) - 9) + plain[5:])),
    ("- a message that says it is shorter", writes(plain[:8] + bytes([plain[8] - 4]) + plain[9:])),
    ("- a lie behind the name", writes(hello(sni(b"wrong.example"), ext(21, b"x", size=60000)))),
    ("- what the second of two messages would be", (sendmmsg(plain[:50], plain[50:]))),
    ("- nothing but extensions, 64 KiB", writes(hello(*(filler(4090) for _ in range(15))) + b"x" * 4000)),
    ("- a name behind 64 extensions", writes(hello(*(filler(1) for _ in range(64)), sni(b"wrong.example")))),
    ("- a name that says it is longer", writes(hello(sni(b"wrong.example", size=200)))),
    ("- a name that says it is 64 KiB", writes(hello(sni(b"wrong.example", size=0xffff)))),
    ("- an extension that says it is longer", writes(hello(ext(21, b"x", size=60000), sni(b"wrong.example")))),
    ("- extensions that say they are shorter", writes(hello(filler(20), sni(b"wrong.example"), size=20))),
    ("- NUL", writes(hello(sni(b"wro\0ng.example")))),
    ("- a space", writes(hello(sni(b"wro ng.example")))),
    ("- an escape sequence", writes(hello(sni(b"\x1b[31mwrong.example")))),
    ("- no UTF-8", writes(hello(sni(b"\xff\xfe.example")))),
    ("- 255 bytes", writes(hello(sni(b"a" * 255)))),
    ("- an address", writes(hello(sni(b"10.1.2.3")))),
    ("- another record", writes(b"\x17\3\3" + plain[3:])),
    ("- another message", writes(plain[:5] + b"\2" + plain[6:])),
    ("- CONNECT without an end", writes(b"CONNECT " + b"a" * 5000)),
    ("- CONNECT without a port", writes(b"CONNECT wrong.example HTTP/1.1\r\n\r\n")),
    ("- SOCKS that says it is longer", writes(b"\5\1\0", b"\5\1\0\3\xffwrong.example\1\xbb")),
    ("1.2.3.4 by SOCKS, and a hello to what is behind it", writes(b"\5\1\0", b"\5\1\0\1\1\2\3\4\1\xbb", plain)),
    ("fd83::5 by SOCKS", writes(b"\5\1\0", b"\5\1\0\4\xfd\x83" + b"\0" * 13 + b"\5\1\xbb")),
    ("- SOCKS to half an address", writes(b"\5\1\0", b"\5\1\0\1\1\2", plain)),
    ("- CONNECT to port 0", writes(b"CONNECT wrong.example:0 HTTP/1.1\r\n\r\n")),
    ("- SOCKS that binds", writes(b"\5\1\0", b"\5\2\0\3\rwrong.example\1\xbb")),
]"#;

#[test]
fn no_hello_gives_a_wrong_name() {
    if !can_test_the_kernel() {
        return;
    }
    let scene = Scene::new(&[]);
    let address = swallow(&scene.netns);
    let mut command = scene.netns.near_command("python3");
    command.args(["-c", CRAFTED, &address.ip().to_string(), &address.port().to_string(), CASES]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(output.lines().count() > CASES.lines().count());
    let mut wrong = Vec::new();
    for line in output.lines() {
        let (port, case) = line.split_once(' ').unwrap();
        let port: u16 = port.parse().unwrap();
        let expected = case.split(' ').next().filter(|name| *name != "-");
        let ended = |event: &Value| !["open", "connecting"].contains(&event["state"].as_str().unwrap());
        let event = scene.latest(address.port(), |event| event["lport"] == port && ended(event));
        if event["name"].as_str() != expected {
            wrong.push(format!("{case}: {event}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Sends a hello and stays, until its standard input ends.
const STAYING: &str = "
import socket, ssl, sys
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
tls.check_hostname = False
sent = ssl.MemoryBIO()
hello = tls.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=sys.argv[3])
try: hello.do_handshake()
except ssl.SSLWantReadError: pass
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.send(sent.read())
sys.stdin.read()
";

/// A pipe that remembers.
fn remembering(kernel: &Kernel, memory: &Path) -> EventPipe {
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins()).args(["-E", "-c", "conn-traffic-min=0"]);
    EventPipe::spawn({
        command.env("LECO_MEMORY", memory);
        command
    })
}

#[test]
fn a_later_pipe_knows_the_names_of_an_earlier_one() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), tempfile::tempdir().unwrap());
    let memory = folder.path().join("memory");
    let address = listen(&netns, b" ");
    let mut pipe = remembering(&kernel, &memory);
    let mut command = netns.near_command("python3");
    command.args(["-c", STAYING, &address.ip().to_string(), &address.port().to_string(), "kept.example"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let of_child = |pipe: &EventPipe| {
        let events = pipe.events().into_iter();
        events.filter(|event| event["pid"] == child.id()).collect::<Vec<_>>()
    };
    let is_named = |event: &Value| names(event)[..2] == [Some("kept.example"), Some("hello")];
    wait_for("the name", || of_child(&pipe).iter().any(is_named).then_some(()));
    pipe.signal(Signal::TERM);
    pipe.wait();
    let later = remembering(&kernel, &memory);
    let replayed = wait_for("the connection", || of_child(&later).into_iter().next());
    assert!(is_named(&replayed), "{replayed}");
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// Connects and sends nothing.
const NAMELESS: &str = "
import socket, sys
open('/proc/self/comm', 'w').write('nameless')
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sys.stdin.read()
";

/// It is new by the name that its process sends, not by its address before, and only once.
#[test]
fn what_is_new_is_decided_when_the_name_is_known() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), tempfile::tempdir().unwrap());
    let pipe = remembering(&kernel, &folder.path().join("memory"));
    let address = listen(&netns, b"");
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let mut news = Vec::new();
    for name in ["one.example", "two.example", "one.example"] {
        let mut command = netns.near_command("python3");
        let mut child = command.args(["-c", PYTHON, &ip, &port, name]).spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let of_child = || -> Vec<Value> {
            pipe.events().into_iter().filter(|event| event["pid"] == pid && event["dir"] == "out").collect()
        };
        wait_for("its end", || {
            of_child()
                .iter()
                .any(|event| !["open", "connecting"].contains(&event["state"].as_str().unwrap()))
                .then_some(())
        });
        let events = of_child();
        assert!(events.iter().all(|event| event["new"].is_null() || event["name"] == name), "{events:#?}");
        news.push(events.last().unwrap()["new"] == true);
    }
    assert_eq!(news, [true, true, false]);
    // One that sends no name is new by its address, a little later. Others have had to do with that, under other names.
    let (mut child, stdin) = nameless(&netns, address);
    let pid = child.id();
    let new = wait_or_explain(
        || format!("the word that {pid} is new among {:#?}", pipe.events()),
        || pipe.events().into_iter().find(|event| event["pid"] == pid && event["new"] == true),
    );
    assert!(["open", "connecting"].contains(&new["state"].as_str().unwrap()), "{new}");
    drop(stdin);
    child.wait().unwrap();
}

fn nameless(netns: &Netns, address: SocketAddr) -> (Child, ChildStdin) {
    let mut command = netns.near_command("python3");
    command.args(["-c", NAMELESS, &address.ip().to_string(), &address.port().to_string()]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    (child, stdin)
}

/// Nothing more can be known of it: it is new with the first word of it.
#[test]
fn nothing_is_waited_for_where_no_names_are_read() {
    if !can_test_the_kernel() {
        return;
    }
    for options in [&["--no-hello"][..], &["--hook", "hello=off"]] {
        let (kernel, netns, folder) = (Kernel::load(options), Netns::new(), tempfile::tempdir().unwrap());
        let pipe = remembering(&kernel, &folder.path().join("memory"));
        let (mut child, stdin) = nameless(&netns, swallow(&netns));
        let pid = child.id();
        let first = wait_or_explain(
            || format!("{pid} among {:#?}", pipe.events()),
            || pipe.events().into_iter().find(|event| event["pid"] == pid),
        );
        assert_eq!(first["new"], true, "{options:?} {first}");
        drop(stdin);
        child.wait().unwrap();
    }
}

/// What was undecided when the pipe ended is not new to the next one.
#[test]
fn a_pipe_that_ends_remembers_what_it_had_not_decided() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), tempfile::tempdir().unwrap());
    let memory = folder.path().join("memory");
    let address = swallow(&netns);
    let mut pipe = remembering(&kernel, &memory);
    let (mut child, stdin) = nameless(&netns, address);
    let pid = child.id();
    wait_for("the connection", || pipe.events().iter().any(|event| event["pid"] == pid).then_some(()));
    pipe.signal(Signal::TERM);
    pipe.wait();
    drop(stdin);
    child.wait().unwrap();
    let later = remembering(&kernel, &memory);
    let (mut child, stdin) = nameless(&netns, address);
    let pid = child.id();
    drop(stdin);
    child.wait().unwrap();
    wait_or_explain(
        || format!("the end of {pid} among {:#?}", later.events()),
        || {
            let mut events = later.events().into_iter();
            events.find(|event| event["pid"] == pid && event["state"] == "closed")
        },
    );
    let new = |event: &Value| event["new"] == true && event["rport"] == address.port();
    assert!(!later.events().iter().any(new), "{:#?}", later.events());
}

/// Receives a response over TCP and another by multicast DNS, and connects to what each named.
const RESOLVING: &str = "
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
server = socket.create_connection((host, 53))
server.recv(2)
# Into several buffers.
server.recvmsg_into([bytearray(7), bytearray(20), bytearray(4096)])
multicast = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
multicast.connect((host, 5353))
multicast.send(b'x')
multicast.recv(4096)
multicast.recv(4096)
for target in sys.argv[3:]: socket.create_connection((target, port))
";

/// A response that gives a name one address (RFC 1035, 4.1), with a question or without.
fn response(name: &str, address: Ipv4Addr, has_question: bool) -> Vec<u8> {
    let labels =
        name.split('.').flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
    let name: Vec<u8> = labels.chain([0]).collect();
    let question = if has_question { [&name[..], &[0, 1, 0, 1]].concat() } else { Vec::new() };
    let mut message = vec![0, 0, 0x84, 0, 0, u8::from(has_question), 0, 1, 0, 0, 0, 0];
    message.extend(question);
    message.extend([&name[..], &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4], &address.octets()].concat());
    message
}

#[test]
fn responses_over_tcp_and_by_multicast_name_as_others_do() {
    if !can_test_the_kernel() {
        return;
    }
    let scene = Scene::new(&[]);
    let targets = [1, 2, 3].map(|host| Ipv4Addr::new(10, 83, 2, host));
    for target in targets {
        let mut command = scene.netns.command(Side::Far, "ip");
        assert!(
            command
                .args(["address", "add", &format!("{target}/32"), "dev", "lo"])
                .status()
                .unwrap()
                .success()
        );
        let mut command = scene.netns.near_command("ip");
        let route = ["route", "add", &target.to_string(), "via", &FAR_V4.to_string()];
        assert!(command.args(route).status().unwrap().success());
    }
    let (tcp, udp, listener) = scene.netns.at_far_end(|| {
        (
            TcpListener::bind((FAR_V4, 53)).unwrap(),
            UdpSocket::bind((FAR_V4, 5353)).unwrap(),
            TcpListener::bind("0.0.0.0:0").unwrap(),
        )
    });
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut client, _) = tcp.accept().unwrap();
        let message = response("tcp.example", targets[0], true);
        client.write_all(&u16::try_from(message.len()).unwrap().to_be_bytes()).unwrap();
        client.write_all(&message).unwrap();
        let (_, client) = udp.recv_from(&mut [0; 16]).unwrap();
        udp.send_to(&response("printer.local", targets[1], false), client).unwrap();
        udp.send_to(&response("bank.example", targets[2], true), client).unwrap();
    });
    let [one, two, three] = targets.map(|target| target.to_string());
    let mut command = scene.netns.near_command("python3");
    command.args(["-c", RESOLVING, &FAR_V4.to_string(), &port.to_string(), &one, &two, &three]);
    assert!(command.status().unwrap().success());
    // A host that answers by multicast names no more than its own domain.
    let expected = [(one, Some("tcp.example")), (two, Some("printer.local")), (three, None)];
    for (target, name) in expected {
        let event = scene.latest(port, |event| event["raddr"] == target);
        assert_eq!(names(&event)[..2], [name, name.map(|_| "dns")], "{event}");
    }
}

fn counter(kernel: &Kernel, name: &str) -> u64 {
    let mut command = Command::new(program("leco-event-pipe"));
    let output = command.arg("--pin").arg(kernel.pins()).arg("--stats").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What `io_uring` sends lies in memory that no call names.
#[test]
fn what_cannot_be_read_is_counted() {
    if !can_test_the_kernel() {
        return;
    }
    let scene = Scene::new(&[]);
    let address = listen(&scene.netns, b"");
    let before = counter(&scene.kernel, "hellos-skipped");
    let peer = Peer::start(&scene.netns, 0, b"ring", &["tcp", &address.to_string(), "uring-send", "100"]);
    let pid = peer.id();
    let event = scene.latest(address.port(), |event| event["pid"] == pid && event["tx"] == 100);
    assert_eq!(names(&event), [None; 3], "{event}");
    assert_eq!(counter(&scene.kernel, "hellos-skipped"), before + 1);
    peer.finish();
}

/// Datagrams that begin like QUIC and cannot be opened, each over a socket of its own.
const FLOOD: &str = r#"
import os, socket, sys, time
for number in range(int(sys.argv[3])):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((sys.argv[1], int(sys.argv[2])))
    s.send(b"\xc0\0\0\0\1\x08" + os.urandom(8) + b"\0\0\x44\x82" + os.urandom(1180))
    time.sleep(0.001)
"#;

#[test]
fn a_flood_of_datagrams_names_nothing_and_loses_no_connection() {
    const DATAGRAMS: usize = 3000;
    if !can_test_the_kernel() {
        return;
    }
    let scene = Scene::new(&[]);
    let server = scene.netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let port = server.local_addr().unwrap().port();
    let mut command = scene.netns.near_command("python3");
    command.args(["-c", FLOOD, &FAR_V4.to_string(), &port.to_string(), &DATAGRAMS.to_string()]);
    assert!(command.status().unwrap().success());
    let flood =
        || -> Vec<Value> { scene.pipe.events().into_iter().filter(|event| event["rport"] == port).collect() };
    let told = || flood().iter().map(|event| event["ns"].as_u64()).collect::<HashSet<_>>().len();
    wait_or_explain(
        || format!("{DATAGRAMS} connections, not {}", told()),
        || (told() == DATAGRAMS).then_some(()),
    );
    assert!(flood().iter().all(|event| names(event) == [None; 3]));
    assert_eq!(counter(&scene.kernel, "ring-dropped"), 0);
}

/// Of the buffers that are looked at the first are short, so that what is copied is as long as other records are: as
/// a connection of root, written by anybody.
const FORGED: &str = r#"
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
for size in (16, 104, 288, 536):
    head = b"\xc0\0\0\0\1" + b"\2" * 27
    body = (head + b"\2" * size)[:size]
    parts = [body[at:at + (size + 7) // 8] for at in range(0, size, (size + 7) // 8)]
    parts += [b""] * (8 - len(parts)) + [b"x" * 1300]
    t = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    t.connect((sys.argv[1], int(sys.argv[2])))
    t.sendmsg(parts)
"#;

#[test]
fn what_a_process_sends_is_never_taken_for_another_record() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let reader = Stream::new(Reader::open(&PinDir::new(kernel.pins()).unwrap()).unwrap()).unwrap();
    let netns = Netns::new();
    let server = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let port = server.local_addr().unwrap().port();
    let mut command = netns.near_command("python3");
    command.args(["-c", FORGED, &FAR_V4.to_string(), &port.to_string()]);
    assert!(command.status().unwrap().success());
    let drained = reader.drain().unwrap();
    let whole = drained.conns.iter().filter(|conn| conn.remote_port == port && conn.tx >= 1300);
    assert_eq!(whole.map(|conn| conn.ns).collect::<HashSet<_>>().len(), 4);
    let is_forged = |conn: &Conn| conn.pid == 0x0202_0202 || conn.ns == 0x0202_0202_0202_0202;
    assert!(!drained.conns.iter().any(is_forged), "{:?}", drained.conns);
    assert!(drained.endings.is_empty() && drained.answers.is_empty() && drained.names.is_empty());
    assert_eq!((drained.malformed, drained.datagrams), (0, Vec::new()));
}

/// Sends to two peers by one call, over a socket that is connected to none: each gets two datagrams of its own.
const ADDRESSED: &str = r#"
import ctypes, socket, struct, sys
class Header(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_int), ("iov", ctypes.c_void_p), ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_size_t), ("len", ctypes.c_size_t)]
class Buffer(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
ports = [int(port) for port in sys.argv[2:]]
kept, headers = [], []
for number in range(4):
    port = ports[number % 2]
    data = b"\xc0\0\0\0\1" + struct.pack("!HB", port, number) + b"\0" * 1200
    place = socket.inet_pton(family, sys.argv[1])
    name = struct.pack("=H", family) + struct.pack("!H", port)
    name += b"\0" * 4 + place + b"\0" * 4 if family == socket.AF_INET6 else place + b"\0" * 8
    data, name = (ctypes.create_string_buffer(part, len(part)) for part in (data, name))
    buffer = Buffer(ctypes.addressof(data), len(data))
    kept += [data, name, buffer]
    headers.append(Header(name=ctypes.addressof(name), namelen=len(name), iov=ctypes.addressof(buffer), iovlen=1))
assert ctypes.CDLL(None).sendmmsg(s.fileno(), (Header * 4)(*headers), 4, 0) == 4
"#;

#[test]
fn each_of_several_messages_is_for_its_own_peer() {
    if !can_test_the_kernel() {
        return;
    }
    for host in [FAR_V4.to_string(), FAR_V6.to_string(), format!("::ffff:{FAR_V4}")] {
        let kernel = Kernel::load(&[]);
        let reader = Stream::new(Reader::open(&PinDir::new(kernel.pins()).unwrap()).unwrap()).unwrap();
        let netns = Netns::new();
        let bind = || netns.at_far_end(|| UdpSocket::bind(("::", 0)).unwrap());
        let servers = [bind(), bind()];
        let ports = servers.each_ref().map(|server| server.local_addr().unwrap().port());
        let mut command = netns.near_command("python3");
        command.args(["-c", ADDRESSED, &host]).args(ports.map(|port| port.to_string()));
        assert!(command.status().unwrap().success());
        let drained = reader.drain().unwrap();
        for (index, port) in (0..).zip(ports) {
            let to_it = |ns: u64| drained.conns.iter().any(|conn| conn.remote_port == port && conn.ns == ns);
            let datagrams = drained.datagrams.iter().filter(|datagram| to_it(datagram.conn_ns));
            let found: HashSet<&[u8]> = datagrams.map(|datagram| &datagram.payload[5..8]).collect();
            let sent = [index, index + 2].map(|number| [&port.to_be_bytes()[..], &[number]].concat());
            assert_eq!(found, sent.iter().map(Vec::as_slice).collect(), "{host} {:?}", drained.conns);
        }
    }
}
