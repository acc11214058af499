// SPDX-License-Identifier: GPL-3.0-or-later
//! Who listens, by real programs: as `ss -lntup` has it, from the first moment until the last socket is gone.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use leco_e2e::{EventPipe, Kernel, Netns, can_test_the_kernel, program, wait_for, wait_or_explain};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// What the scripts below have in common: each says when it is ready, and goes on with each line that it reads.
const PRELUDE: &str = r"
import os, signal, sys
from socket import *
def tell(*words): print(*words, flush=True)
def wait(): return sys.stdin.readline() or os._exit(0)
def tcp(host, port, family=AF_INET, reuse=False):
    s = socket(family, SOCK_STREAM)
    s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    if reuse: s.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
    s.bind((host, port))
    s.listen()
    return s
def udp(host, port, family=AF_INET):
    s = socket(family, SOCK_DGRAM)
    s.bind((host, port))
    return s
";

/// A Python script.
struct Script {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Script {
    fn start(netns: &Netns, script: &str) -> Self {
        let mut command = netns.near_command("python3");
        command.args(["-c", &format!("{PRELUDE}\n{script}")]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it says next.
    fn told(&mut self) -> String {
        let mut line = String::new();
        assert!(self.stdout.read_line(&mut line).unwrap() > 0, "the script failed");
        line.trim().to_owned()
    }

    /// Lets it go on, until it says something.
    fn go_on(&mut self) -> String {
        writeln!(self.stdin.as_mut().unwrap()).unwrap();
        self.told()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Stage {
    netns: Netns,
    pipe: EventPipe,
    kernel: Kernel,
}

impl Stage {
    fn set() -> Self {
        Self::with(&[], &[])
    }

    fn with(loader: &[&str], pipe: &[&str]) -> Self {
        let kernel = Kernel::load(loader);
        let pipe = EventPipe::start(kernel.pins(), pipe);
        Self { netns: Netns::new(), pipe, kernel }
    }

    fn script(&self, script: &str) -> Script {
        Script::start(&self.netns, script)
    }

    /// The event that says so, once there is one.
    fn listens(&self, pid: u32, proto: &str, address: &str, port: u16) -> Value {
        let fields =
            json!({"dir": "listen", "state": "listening", "proto": proto, "laddr": address, "lport": port});
        self.pipe.latest(pid, &fields)
    }

    fn ends(&self, listening: &Value) -> Value {
        let pid = listening["pid"].as_u64().unwrap().try_into().unwrap();
        self.pipe.latest(pid, &json!({"ns": listening["ns"], "dir": "listen", "state": "closed"}))
    }

    /// What was told of a process as a listener.
    fn told_of(&self, pid: u32) -> Vec<Value> {
        let events = self.pipe.events().into_iter();
        events.filter(|event| event["pid"] == pid && event["dir"] == "listen").collect()
    }

    /// Waits until whatever was bound until now would have been told: something that is bound after it is.
    fn let_time_pass(&self, port: u16) {
        let mut later = self.script(&format!("s = udp('', {port}); tell(); wait()"));
        later.told();
        self.listens(later.id(), "udp", "0.0.0.0", port);
    }

    /// What `-C` says goes on.
    fn known(&self) -> Vec<Value> {
        let mut command = Command::new(program("leco-event-pipe"));
        command.arg("--pin").arg(self.kernel.pins()).args(["-E", "-C"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let known = String::from_utf8(output.stdout).unwrap();
        let known = known.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        known.filter(|event| event["dir"] == "listen").collect()
    }
}

#[test]
fn a_listener_is_a_line_that_ends_with_it() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::set();
    let mut tcp = stage.script("s = tcp('', 8080); tell(); wait(); s.close(); tell(); wait()");
    tcp.told();
    let event = stage.listens(tcp.id(), "tcp", "0.0.0.0", 8080);
    let line = event["line"].as_str().unwrap();
    assert!(line.contains(" :: python3") && line.ends_with(" :: listening 0.0.0.0 8080 :: "), "{line}");
    assert_eq!((&event["rport"], &event["rx"], &event["tx"]), (&json!(0), &json!(0), &json!(0)));
    tcp.go_on();
    let line = stage.ends(&event)["line"].to_string();
    assert!(line.contains(" :: listening 0.0.0.0 8080 !closed :: "), "{line}");

    let mut udp = stage.script("s = udp('', 5354); t = tcp('', 8081); tell(); wait()");
    udp.told();
    let datagrams = stage.listens(udp.id(), "udp", "0.0.0.0", 5354);
    let line = datagrams["line"].as_str().unwrap();
    assert!(line.ends_with(" :: listening 0.0.0.0 5354/udp :: "), "{line}");
    let stream = stage.listens(udp.id(), "tcp", "0.0.0.0", 8081);
    udp.kill();
    stage.ends(&datagrams);
    stage.ends(&stream);
}

#[test]
fn what_real_servers_do_is_told_as_ss_tells_it() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::set();
    let mut others = stage.script(
        "kept = [tcp('', 7001), tcp('::', 7002, AF_INET6), udp('::', 7003, AF_INET6), udp('10.83.1.1', 7004),\n\
         tcp('10.83.1.1', 7005), tcp('fd83::1', 7006, AF_INET6), tcp('::ffff:10.83.1.1', 7007, AF_INET6)]\n\
         anywhere = socket(AF_INET, SOCK_STREAM)\n\
         anywhere.listen()\n\
         tell(anywhere.getsockname()[1]); wait()",
    );
    others.told();
    let in_netns = |program: &str, arguments: &[&str]| {
        let mut command = stage.netns.near_command(program);
        let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null());
        leco_e2e::Running(command.stderr(Stdio::null()).spawn().unwrap())
    };
    let _http = in_netns("python3", &["-m", "http.server", "8000"]);
    let _netcat = in_netns("nc", &["-u", "-l", "-p", "7010"]);
    let what_ss_says = || {
        let output = stage.netns.near_command("ss").args(["-H", "-lntup"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(listed).collect::<BTreeSet<_>>()
    };
    let expected = wait_or_explain(
        || format!("all of them: {:?}", what_ss_says()),
        || Some(what_ss_says()).filter(|listeners| listeners.len() == 10),
    );
    // Others of the machine are in another network.
    let pids: BTreeSet<u64> = expected.iter().map(|(.., pid)| *pid).collect();
    let told = |events: Vec<Value>| -> BTreeSet<(String, String, u64, u64)> {
        let mut told = BTreeSet::new();
        for event in events.iter().filter(|event| event["dir"] == "listen") {
            let text = |field: &str| event[field].as_str().unwrap().to_owned();
            let number = |field: &str| event[field].as_u64().unwrap();
            let listener = (text("proto"), text("laddr"), number("lport"), number("pid"));
            match &*text("state") {
                "listening" if pids.contains(&listener.3) => told.insert(listener),
                _ => told.remove(&listener),
            };
        }
        told
    };
    wait_or_explain(
        || format!("{expected:#?} in {:#?}", told(stage.pipe.events())),
        || (told(stage.pipe.events()) == expected).then_some(()),
    );
    assert_eq!(told(stage.known()), expected, "by -C");
}

/// Protocol, address, port and process of a line of `ss`.
fn listed(line: &str) -> (String, String, u64, u64) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = words[4].rsplit_once(':').unwrap();
    let address = match address.trim_matches(['[', ']']) {
        "*" => "::",
        address => address.strip_prefix("::ffff:").unwrap_or(address),
    };
    let pid = line.split("pid=").nth(1).unwrap().split(',').next().unwrap();
    (words[0].to_owned(), address.to_owned(), port.parse().unwrap(), pid.parse().unwrap())
}

#[test]
fn sockets_of_a_process_at_one_port_are_one_line_and_those_of_others_are_not() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::set();
    let mut workers = stage.script(
        "s = [tcp('', 8080, reuse=True) for _ in range(3)]\n\
         pid = os.fork()\n\
         if not pid:\n\
         \x20   for one in s: one.close()\n\
         \x20   own = tcp('', 8080, reuse=True)\n\
         \x20   tell(os.getpid()); signal.pause()\n\
         for _ in range(3):\n\
         \x20   wait(); s.pop(0).close(); tell()\n\
         wait()",
    );
    let other: u32 = workers.told().parse().unwrap();
    let event = stage.listens(workers.id(), "tcp", "0.0.0.0", 8080);
    let of_other = stage.listens(other, "tcp", "0.0.0.0", 8080);
    for _ in 0..2 {
        workers.go_on();
    }
    assert_eq!(stage.known().iter().filter(|one| one["pid"] == workers.id()).count(), 1, "one is left");
    let listed = stage.known().into_iter().find(|one| one["pid"] == workers.id()).unwrap();
    assert_eq!((&listed["ns"], &listed["state"]), (&event["ns"], &json!("listening")));
    let mut before = stage.told_of(workers.id());
    before.dedup();
    assert_eq!(before.len(), 1, "{before:#?}");
    workers.go_on();
    stage.ends(&event);
    let _ = kill_process(Pid::from_raw(other.try_into().unwrap()).unwrap(), Signal::KILL);
    stage.ends(&of_other);
}

#[test]
fn a_listener_ends_with_the_last_process_that_has_it() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::set();
    let mut daemon = stage.script(
        "s = tcp('', 8080)\n\
         pid = os.fork()\n\
         if not pid: tell(os.getpid()); wait()\n\
         os.waitpid(pid, 0)",
    );
    let child: u32 = daemon.told().parse().unwrap();
    let event = stage.listens(daemon.id(), "tcp", "0.0.0.0", 8080);
    daemon.kill();
    stage.let_time_pass(9001);
    let listed = stage.known().into_iter().find(|one| one["ns"] == event["ns"]);
    assert_eq!(listed.unwrap()["state"], "listening", "the child has it");
    kill_process(Pid::from_raw(child.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    stage.ends(&event);

    // As a service manager passes a socket: its own, and then the program's that was executed.
    let mut manager = stage.script(
        "s = tcp('', 8081); s.set_inheritable(True)\n\
         tell(); wait()\n\
         os.execvp('sleep', ['sleep', '1000'])",
    );
    manager.told();
    let event = stage.listens(manager.id(), "tcp", "0.0.0.0", 8081);
    writeln!(manager.stdin.as_mut().unwrap()).unwrap();
    let comm = format!("/proc/{}/comm", manager.id());
    wait_for("the program", || (std::fs::read_to_string(&comm).ok()? == "sleep\n").then_some(()));
    let listed = stage.known().into_iter().find(|one| one["ns"] == event["ns"]).unwrap();
    assert_eq!((&listed["state"], &listed["comm_now"]), (&json!("listening"), &json!("sleep")));
    manager.kill();
    stage.ends(&event);
}

#[test]
fn clients_with_ports_do_not_listen_but_who_receives_first_does() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::set();
    let mut clients = stage.script(
        "a = socket(AF_INET, SOCK_DGRAM); a.sendto(b'x', ('10.83.1.2', 9))\n\
         b = udp('', 0); b.sendto(b'x', ('10.83.1.2', 9))\n\
         c = udp('', 7020); c.connect(('10.83.1.2', 9)); c.send(b'x')\n\
         d = udp('', 7021); d.sendto(b'x', ('10.83.1.2', 9)); d.close()\n\
         e = socket(AF_INET, SOCK_STREAM); e.bind(('', 7022))\n\
         f = udp('', 0)\n\
         tell(); wait()\n\
         g = udp('', 0); port = g.getsockname()[1]\n\
         b.sendto(b'x', ('10.83.1.1', port)); g.recv(9)\n\
         tell(port); wait()\n\
         g.connect(('10.83.1.1', b.getsockname()[1])); g.send(b'x')\n\
         tell(); wait()",
    );
    clients.told();
    stage.let_time_pass(9001);
    assert_eq!(stage.told_of(clients.id()), [Value::Null; 0]);
    let port: u16 = clients.go_on().parse().unwrap();
    let event = stage.listens(clients.id(), "udp", "0.0.0.0", port);
    clients.go_on();
    stage.ends(&event);
}

#[test]
fn those_older_than_the_programs_and_the_pipe_are_known() {
    if !can_test_the_kernel() {
        return;
    }
    let netns = Netns::new();
    let mut old = Script::start(
        &netns,
        "kept = [tcp('', 7001), udp('', 7002), udp('', 0), tcp('::', 7003, AF_INET6), tcp('127.0.0.1', 7004)]\n\
         client = socket(AF_INET, SOCK_DGRAM); client.sendto(b'x', ('10.83.1.2', 9))\n\
         tell(); wait(); kept[0].close(); tell(); wait()",
    );
    old.told();
    let kernel = Kernel::load(&[]);
    let pipe = EventPipe::start(kernel.pins(), &[]);
    let mut stage = Stage { netns, pipe, kernel };
    let first = stage.listens(old.id(), "tcp", "0.0.0.0", 7001);
    let second = stage.listens(old.id(), "udp", "0.0.0.0", 7002);
    stage.listens(old.id(), "tcp", "::", 7003);
    stage.let_time_pass(9001);
    assert_eq!(stage.told_of(old.id()).len(), 3, "{:#?}", stage.told_of(old.id()));

    // A pipe that starts later tells the same, of those that have ended meanwhile, too.
    old.go_on();
    stage.ends(&first);
    stage.pipe = EventPipe::start(stage.kernel.pins(), &["-c", "replay-skip-dead-pids=1"]);
    assert_eq!(stage.listens(old.id(), "udp", "0.0.0.0", 7002)["ns"], second["ns"]);
    stage.ends(&first);
    old.kill();
    stage.ends(&second);
}

#[test]
fn on_loopback_they_are_quiet_unless_asked_for() {
    if !can_test_the_kernel() {
        return;
    }
    let all = [7001, 7002, 7003, 7004, 7005, 7006];
    for (shown, ports) in [("external", &all[4..]), ("all", &all), ("off", &[])] {
        let stage = Stage::with(&[], &["-c", &format!("listeners={shown}")]);
        let mut script = stage.script(
            "kept = [tcp('127.0.0.1', 7001), udp('127.0.0.9', 7002), tcp('::1', 7003, AF_INET6)]\n\
             kept += [udp('::1', 7004, AF_INET6), udp('', 7005), tcp('', 7006)]\n\
             call = socket(AF_INET, SOCK_STREAM); call.connect(('10.83.1.1', 7006))\n\
             tell(); wait()",
        );
        script.told();
        let _ = stage.pipe.latest(script.id(), &json!({"dir": "out", "rport": 7006}));
        let told = || -> BTreeSet<u64> {
            stage.told_of(script.id()).iter().map(|event| event["lport"].as_u64().unwrap()).collect()
        };
        let expected: BTreeSet<u64> = ports.iter().copied().collect();
        wait_or_explain(|| format!("{shown}: {:?}", told()), || (told() == expected).then_some(()));
    }
}

#[test]
fn the_first_ever_is_marked_once() {
    if !can_test_the_kernel() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let memory = format!("memory={}", folder.path().join("seen.sqlite").display());
    let mut stage = Stage::with(&[], &["-c", &memory]);
    let script = "s = tcp('', 8080); t = udp('', 8080); tell(); wait()";
    let is_new = |stage: &Stage| {
        let mut running = stage.script(script);
        running.told();
        let events = ["tcp", "udp"].map(|proto| stage.listens(running.id(), proto, "0.0.0.0", 8080));
        events.map(|event| event["new"] == true)
    };
    assert_eq!(is_new(&stage), [true, true]);
    assert_eq!(is_new(&stage), [false, false], "again");
    stage.pipe.signal(Signal::TERM);
    stage.pipe.wait();
    stage.pipe = EventPipe::start(stage.kernel.pins(), &["-c", &memory]);
    assert_eq!(is_new(&stage), [false, false], "after a restart");
    let output = Command::new(program("leco-event-pipe")).args(["--seen", "-c", &memory]).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    for peer in [":: listening 8080\n", ":: listening 8080/udp\n"] {
        assert!(listed.contains(peer), "{listed}");
    }
}
