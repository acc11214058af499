// SPDX-License-Identifier: GPL-3.0-or-later
//! Which name a connection has, and whose it is: real processes that ask a real name server.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, Command, Stdio};

use leco_e2e::{
    Cgroup, EventPipe, FAR_V4, Kernel, LineReader, NEAR_V4, NameServer, Netns, Side, can_test_the_kernel,
    program, wait_for,
};
use serde_json::{Value, json};

const UID: u32 = 54321;
const OTHER: u32 = 54322;
/// A user of the system, as resolvers have.
const SYSTEM: u32 = 101;

/// Does what each line of its standard input says, and answers with one line.
const SERVANT: &str = "
import ctypes, os, socket, subprocess, sys
result = None
def ask(name): socket.getaddrinfo(name, None, socket.AF_INET)
def tcp(host):
    s = socket.create_connection((host, PORT))
    s.send(b'x')
    return s, s.getsockname()[1]
def rename(name): ctypes.CDLL(None).prctl(15, name, 0, 0, 0)
PORT = int(sys.argv[1])
for line in sys.stdin:
    exec(line)
    print(result, flush=True)
";

/// A process at the near end whose resolver is a real name server.
struct Servant {
    child: Child,
    stdin: ChildStdin,
    stdout: LineReader,
}

impl Servant {
    fn start(netns: &Netns, server: &NameServer, uid: u32, port: u16) -> Self {
        let mut command = netns.command(Side::Near, "unshare");
        let script = format!("{} && exec \"$@\"", server.as_resolver());
        command.args(["--mount", "sh", "-c", &script, "sh", "setpriv"]);
        command.args([&format!("--reuid={uid}"), &format!("--regid={uid}"), "--clear-groups", "--"]);
        command.args(["/usr/bin/python3", "-c", SERVANT, &port.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), LineReader::new(child.stdout.take().unwrap()));
        let mut servant = Self { child, stdin, stdout };
        servant.run("pass");
        servant
    }

    /// All commands before it replaced themselves by it.
    fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it is done; what `result` is then.
    fn run(&mut self, code: &str) -> String {
        let before = self.stdout.lines().len();
        writeln!(self.stdin, "{code}").unwrap();
        wait_for(code, || {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended at {code}");
            self.stdout.lines().get(before).cloned()
        })
    }

    /// Connects, sends a byte, and keeps it open under this name in the script; the local port.
    fn connect(&mut self, name: &str, host: &str) -> u16 {
        self.run(&format!("{name}, result = tcp('{host}')")).parse().unwrap()
    }
}

impl Drop for Servant {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where everything listens, and what names stand for.
struct Stage {
    kernel: Kernel,
    netns: Netns,
    server: NameServer,
    listener: TcpListener,
}

impl Stage {
    fn new(names: &[(&str, std::net::IpAddr)]) -> Self {
        let (kernel, netns) = (Kernel::load(&["--update-interval", "1s"]), Netns::new());
        let records: Vec<String> =
            names.iter().map(|(name, address)| format!("--host-record={name},{address}")).collect();
        let server = NameServer::start(&netns, &records.iter().map(String::as_str).collect::<Vec<_>>());
        let listener = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
        Self { kernel, netns, server, listener }
    }

    /// A pipe that listens: what is asked from now on is heard.
    fn pipe(&self, arguments: &[&str]) -> EventPipe {
        let pipe = EventPipe::start(self.kernel.pins(), arguments);
        wait_for("the pipe's first event", || {
            self.netns
                .at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap().send_to(b"x", (FAR_V4, 9)).unwrap());
            (!pipe.stdout.lines().is_empty()).then_some(())
        });
        pipe
    }

    fn servant(&self, uid: u32) -> Servant {
        let port = self.listener.local_addr().unwrap().port();
        Servant::start(&self.netns, &self.server, uid, port)
    }
}

/// The latest event of a process's connection.
fn event(pipe: &EventPipe, servant: &Servant, local_port: u16) -> Value {
    pipe.latest(servant.id(), &json!({"lport": local_port}))
}

fn name(event: &Value) -> (Option<&str>, Option<&str>) {
    (event["name"].as_str(), event["name_src"].as_str())
}

#[test]
fn of_two_names_with_one_address_each_connection_keeps_its_own() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::new(&[("a.test", FAR_V4), ("b.test", FAR_V4), ("c.test", FAR_V4)]);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let output = format!("unix:{}", socket.display());
    let mut pipe = stage.pipe(&["-o", &output, "-o", "-"]);
    let mut servant = stage.servant(UID);
    let mut other = stage.servant(UID);
    let first = servant.connect("a", "a.test");
    let by_number = other.connect("a", &FAR_V4.to_string());
    let second = servant.connect("b", "b.test");
    let a_test = (Some("a.test"), Some("dns"));
    let of_user = (Some("a.test"), Some("dns-user"));
    let b_test = (Some("b.test"), Some("dns"));
    assert_eq!(name(&event(&pipe, &servant, first)), a_test);
    assert_eq!(name(&event(&pipe, &other, by_number)), of_user);
    assert_eq!(name(&event(&pipe, &servant, second)), b_test);
    // What comes later says the same.
    servant.run("a.send(b'x'); b.send(b'x')");
    other.run("a.send(b'x')");
    for (servant, port, expected) in
        [(&servant, first, a_test), (&other, by_number, of_user), (&servant, second, b_test)]
    {
        let event = pipe.latest(servant.id(), &json!({"lport": port, "tx": 2}));
        assert_eq!(name(&event), expected, "{event:#}");
        let line = event["line"].as_str().unwrap();
        assert!(line.contains(&format!(" :: {} ", expected.0.unwrap())), "{line}");
    }
    // So does a replay.
    let replayed = LineReader::new(UnixStream::connect(&socket).unwrap());
    for (servant, port, expected) in
        [(&servant, first, a_test), (&other, by_number, of_user), (&servant, second, b_test)]
    {
        let event = wait_for("its replay", || {
            let lines = replayed.lines();
            let mut events = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
            events.find(|event| event["pid"] == servant.id() && event["lport"] == port)
        });
        assert_eq!(name(&event), expected, "{event:#}");
    }
    // A pipe that starts later did not hear what they asked for, and names them by nothing that it hears since.
    pipe.signal(rustix::process::Signal::TERM);
    pipe.wait();
    let pipe = stage.pipe(&[]);
    let _ = event(&pipe, &servant, first);
    let third = servant.connect("c", "c.test");
    assert_eq!(name(&event(&pipe, &servant, third)), (Some("c.test"), Some("dns")));
    servant.run("a.send(b'x'); b.send(b'x')");
    for port in [first, second] {
        let event = pipe.latest(servant.id(), &json!({"lport": port, "tx": 3}));
        assert_eq!(name(&event), (None, None), "{event:#}");
    }
}

#[test]
fn an_answer_that_points_home_names_nothing() {
    if !can_test_the_kernel() {
        return;
    }
    let home = "127.0.0.1".parse().unwrap();
    let stage =
        Stage::new(&[("ads.test", home), ("none.test", "0.0.0.0".parse().unwrap()), ("me.test", NEAR_V4)]);
    let pipe = stage.pipe(&[]);
    let mut servant = stage.servant(UID);
    servant.run("l = socket.create_server(('', 0)); PORT = l.getsockname()[1]");
    for host in ["ads.test", "none.test", "me.test", "127.0.0.1", &NEAR_V4.to_string()] {
        let port = servant.connect("s", host);
        let event = event(&pipe, &servant, port);
        assert_eq!(name(&event), (None, None), "{host}: {event:#}");
    }
    // Nor does the answer name what was sent there before.
    servant.run("u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)");
    servant.run(&format!("u.sendto(b'12345', ('{NEAR_V4}', 9)); ask('me.test'); ask('ads.test')"));
    servant.run(&format!("u.sendto(b'12345', ('{NEAR_V4}', 9))"));
    let event = pipe.latest(servant.id(), &json!({"rport": 9, "tx": 10}));
    assert_eq!(name(&event), (None, None), "{event:#}");
}

#[test]
fn the_helper_of_a_process_and_the_systems_resolver_name_what_others_connect_to() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::new(&[("helped.test", FAR_V4), ("system.test", FAR_V4)]);
    let pipe = stage.pipe(&[]);
    let mut resolver = stage.servant(SYSTEM);
    resolver.run("ask('system.test')");
    let mut other = stage.servant(OTHER);
    let port = other.connect("s", &FAR_V4.to_string());
    assert_eq!(name(&event(&pipe, &other, port)), (Some("system.test"), Some("dns-system")));
    let mut servant = stage.servant(UID);
    servant.run("pid = os.fork() or (ask('helped.test'), os._exit(0)); os.waitpid(pid, 0)");
    let port = servant.connect("s", &FAR_V4.to_string());
    assert_eq!(name(&event(&pipe, &servant, port)), (Some("helped.test"), Some("dns-user")));
    // Another user does not see that.
    let port = other.connect("t", &FAR_V4.to_string());
    assert_eq!(name(&event(&pipe, &other, port)), (Some("system.test"), Some("dns-system")));
}

#[test]
fn root_of_a_container_names_nothing_for_others() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::new(&[("evil.test", FAR_V4)]);
    let pipe = stage.pipe(&[]);
    let id = format!("{:064x}", std::process::id());
    let _container = Cgroup::new(&format!("libpod-{id}.scope"));
    let within = Cgroup::new(&format!("libpod-{id}.scope/container"));
    let mut evil = stage.servant(0);
    fs::write(within.procs(), evil.id().to_string()).unwrap();
    evil.run("ask('evil.test')");
    // One that became root of a user namespace, as anybody may.
    let mut nested = stage.servant(SYSTEM);
    nested.run("result = ctypes.CDLL(None).unshare(0x10000000)");
    nested.run("ask('evil.test')");
    for uid in [0, OTHER] {
        let mut servant = stage.servant(uid);
        let port = servant.connect("s", &FAR_V4.to_string());
        let event = event(&pipe, &servant, port);
        assert_eq!(name(&event), (None, None), "{event:#}");
    }
    let port = evil.connect("s", &FAR_V4.to_string());
    let event = event(&pipe, &evil, port);
    assert_eq!(name(&event), (Some("evil.test"), Some("dns")), "{event:#}");
    assert_eq!(event["container"], format!("podman:{}", &id[..12]));
    let line = event["line"].as_str().unwrap();
    assert!(line.contains(&format!(" [podman-{}] :: ", &id[..12])), "{line}");
}

#[test]
fn a_line_has_the_name_that_its_process_had_and_details_that_of_now() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::new(&[]);
    let pipe = stage.pipe(&[]);
    let mut servant = stage.servant(UID);
    servant.run("rename(b'before')");
    let port = servant.connect("s", &FAR_V4.to_string());
    let event = event(&pipe, &servant, port);
    assert_eq!((&event["comm"], &event["comm_now"]), (&json!("before"), &Value::Null));
    servant.run("rename(b'after')");
    let event = wait_for("its name now", || {
        servant.run("s.send(b'x')");
        pipe.events().into_iter().rfind(|event| event["lport"] == port && !event["comm_now"].is_null())
    });
    assert_eq!((&event["comm"], &event["comm_now"]), (&json!("before"), &json!("after")));
    assert!(event["line"].as_str().unwrap().contains(" :: before"), "{event:#}");
    // Without a name it is known by its number.
    servant.run("rename(b'')");
    let port = servant.connect("t", &FAR_V4.to_string());
    let event = self::event(&pipe, &servant, port);
    let line = event["line"].as_str().unwrap();
    assert!(line.contains(&format!(" :: {UID} :: {}", servant.id())), "{line}");
}

#[test]
fn a_pipe_in_a_cgroup_namespace_says_what_it_cannot_see() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let root = leco_bpf::load::cgroup2::root().unwrap();
    let folder = Cgroup::new(&format!("leco-test-ns-{}", std::process::id()));
    let said = |prepare: &str| {
        let mut command = Command::new("sh");
        let script = format!(
            "echo $$ > {} && exec unshare --cgroup --mount sh -c '{prepare} exec \"$@\"' sh \"$@\"",
            folder.procs().display()
        );
        command.args(["-c", &script, "sh"]).arg(program("leco-event-pipe"));
        command.arg("--pin").arg(kernel.pins()).arg("--dump-cache");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    // The whole hierarchy is still mounted there.
    assert_eq!(said(""), "");
    let hidden = said(&format!("umount -l {root}; mount -t cgroup2 none {root};", root = root.display()));
    assert_eq!(hidden.matches("in a cgroup namespace").count(), 1, "{hidden}");
    let none = said(&format!("umount -l {};", root.display()));
    assert_eq!(none.matches("no cgroup2 hierarchy is mounted").count(), 1, "{none}");
}

/// As `ps` and `ss` show it. Who a program acts as has asked, too.
#[test]
fn the_user_is_the_effective_one() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::new(&[("a.test", FAR_V4)]);
    let pipe = stage.pipe(&[]);
    let mut servant = stage.servant(0);
    servant.run(&format!("os.setresuid({UID}, {OTHER}, 0)"));
    let port = servant.connect("s", "a.test");
    let event = event(&pipe, &servant, port);
    assert_eq!(event["uid"], OTHER, "{event:#}");
    assert_eq!(name(&event), (Some("a.test"), Some("dns")), "{event:#}");
}
