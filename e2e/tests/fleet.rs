// SPDX-License-Identifier: GPL-3.0-or-later
//! Three machines, each with a pipe over the real kernel side and a relay, a server behind wires that are cut, and a
//! terminal view of all: nothing is lost, doubled or out of order, whatever is killed meanwhile.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use leco_e2e::{
    EventPipe, Kernel, LineReader, NatsServer, Random, Running, Terminal, boot_clock, can_test_the_kernel,
    echo, nats_servers, program, run_to_end, screen_differs, wait_for,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

const HOSTS: [&str; 3] = ["web1", "web2", "db1"];
/// How many parts are killed, and how long a wire is cut, unless the environment says otherwise.
const KILLS: u64 = 5;
const CUT: u64 = 5;
/// Connections of a round of each machine.
const EACH: usize = 8;

/// A number that the environment may say.
fn wished(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A hub and a namespace for each host, with a wire between them; all are removed with the test.
struct Wires {
    hub: String,
    hosts: Vec<String>,
}

impl Wires {
    fn new() -> Self {
        let id = std::process::id();
        let this = Self {
            hub: format!("leco-hub-{id}"),
            hosts: HOSTS.iter().map(|host| format!("leco-{host}-{id}")).collect(),
        };
        ip(&format!("netns add {}", this.hub));
        for (number, (host, name)) in this.hosts.iter().zip(HOSTS).enumerate() {
            ip(&format!("netns add {host}"));
            ip(&format!("-n {} link add {name} type veth peer name wire netns {host}", this.hub));
            for (side, device, end) in [(&this.hub, name, 1), (host, "wire", 2)] {
                ip(&format!("-n {side} addr add 10.84.{number}.{end}/24 dev {device}"));
                ip(&format!("-n {side} link set lo up"));
                ip(&format!("-n {side} link set {device} up"));
            }
        }
        this
    }

    /// Cuts the wire of a host, or joins it.
    fn set(&self, host: usize, state: &str) {
        ip(&format!("-n {} link set {} {state}", self.hub, HOSTS[host]));
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for name in self.hosts.iter().chain([&self.hub]) {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn inside(namespace: &str) -> [String; 3] {
    ["nsenter".to_owned(), format!("--net=/run/netns/{namespace}"), "--".to_owned()]
}

fn command(words: &[String], program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(program.as_ref());
    command
}

/// Runs a function on a thread of its own inside a namespace.
fn at<T: Send>(namespace: &str, run: impl FnOnce() -> T + Send) -> T {
    let path = format!("/run/netns/{namespace}");
    thread::scope(|scope| {
        let inside = scope.spawn(move || {
            let file = File::open(path).unwrap();
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            run()
        });
        inside.join().unwrap()
    })
}

/// A machine: its boot and name are its own, its processes talk to each other, so that they do while its wire is cut.
struct Host {
    name: &'static str,
    before: [String; 3],
    server: String,
    folder: PathBuf,
    _pipe: EventPipe,
    _kernel: Kernel,
    /// What the pipe tells a reader that is always there.
    told: LineReader,
    _traffic: Running,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    publisher: Running,
}

impl Host {
    fn start(number: usize, namespace: &str, folder: &Path, port: u16) -> Self {
        let name = HOSTS[number];
        let (before, kernel) = (inside(namespace), Kernel::load(&[]));
        let boot = folder.join(format!("{name}.boot"));
        fs::write(&boot, format!("{number:08x}-0000-4000-8000-000000000000\n")).unwrap();
        let mut pipe = command(&before, "unshare");
        pipe.args(["--uts", "--mount", "--", "sh", "-ec"]).arg(format!(
            "echo {name} >/proc/sys/kernel/hostname; mount --bind '{}' /proc/sys/kernel/random/boot_id; exec \"$@\"",
            boot.display()
        ));
        pipe.arg("sh").arg(program("leco-event-pipe")).arg("--pin").arg(kernel.pins());
        let socket = folder.join(format!("{name}.sock"));
        pipe.args(["-E", "-c", "conn-traffic-min=0", "-o"]);
        pipe.arg(format!("unix:{}?filter=proc:{name}r", socket.display()));
        let pipe = EventPipe::spawn(pipe);
        let told = LineReader::new(wait_for("the pipe", || UnixStream::connect(&socket).ok()));

        let (listener, silent) = at(namespace, || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let silent = UdpSocket::bind(listener.local_addr().unwrap()).unwrap();
            (listener, silent)
        });
        let address = listener.local_addr().unwrap().to_string();
        echo(listener, silent);
        let mut traffic = command(&before, program("leco-e2e-peer"));
        traffic.args(["", "rounds", &address]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut traffic = Running(traffic.spawn().unwrap());
        let (stdin, stdout) = (traffic.0.stdin.take().unwrap(), traffic.0.stdout.take().unwrap());
        let server = format!("nats://10.84.{number}.1:{port}");
        let publisher = publish(&before, &server, folder, name);
        let (folder, stdout) = (folder.to_owned(), BufReader::new(stdout));
        Self {
            name,
            before,
            server,
            folder,
            _pipe: pipe,
            _kernel: kernel,
            told,
            _traffic: traffic,
            stdin,
            stdout,
            publisher,
        }
    }

    /// Connections of every usual kind, some of which end.
    fn make_connections(&mut self, round: u64) {
        for what in [&format!("open {}r{round}x", self.name), "send all", "close most", "send all"] {
            writeln!(self.stdin, "{what}").unwrap();
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "{what} failed");
        }
    }

    fn kill_publisher(&mut self) {
        self.publisher.0.kill().unwrap();
        self.publisher.0.wait().unwrap();
        self.publisher = publish(&self.before, &self.server, &self.folder, self.name);
    }
}

/// It says what it has to say where the test does.
fn publish(before: &[String], server: &str, folder: &Path, name: &str) -> Running {
    let mut relay = command(before, program("leco-relay"));
    relay.args(["publish", "--nats", server, "--source"]);
    relay.arg(format!("unix:{}", folder.join(format!("{name}.sock")).display()));
    relay.arg("--spool").arg(folder.join(name)).stdin(Stdio::null());
    Running(relay.spawn().unwrap())
}

/// A subscriber, for the view and for the test.
struct Subscriber {
    _relay: Running,
    stdout: LineReader,
}

impl Subscriber {
    fn start(hub: &str, server: &NatsServer, socket: Option<&Path>) -> Self {
        let mut relay = command(&inside(hub), program("leco-relay"));
        relay.args(["subscribe", "--nats", &server.url(), "-o", "-"]);
        if let Some(socket) = socket {
            relay.arg("-o").arg(format!("unix:{}", socket.display()));
        }
        let mut relay = Running(relay.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
        Self { stdout: LineReader::new(relay.0.stdout.take().unwrap()), _relay: relay }
    }
}

/// Of a connection: when and what.
type Said = (u64, String);

/// What is looked at again when another reader is told of a connection.
const OF_THE_MOMENT: [&str; 6] = ["clock", "comm_now", "rtt_us", "cwnd", "retrans", "tcp_state"];

/// Everything that was said of each connection of any machine, in its order, without some fields.
fn by_connection(lines: &[String], without: &[&str]) -> BTreeMap<(String, u64), Vec<Said>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for line in lines {
        let mut event: Value = serde_json::from_str(line).unwrap();
        event.as_object_mut().unwrap().retain(|name, _| !without.contains(&name.as_str()));
        let key = (event["boot"].as_str().unwrap().to_owned(), event["ns"].as_u64().unwrap());
        all.entry(key).or_default().push((event["ns_trx"].as_u64().unwrap(), event.to_string()));
    }
    all
}

/// The last that was said of each.
fn latest(lines: &[String]) -> BTreeMap<(String, u64), Said> {
    let all = by_connection(lines, &OF_THE_MOMENT);
    all.into_iter().filter_map(|(key, mut said)| Some((key, said.pop()?))).collect()
}

/// Nothing is there twice, and nothing goes back in time.
fn assert_in_order(lines: &[String]) {
    for ((boot, ns), said) in by_connection(lines, &OF_THE_MOMENT[..1]) {
        for pair in said.windows(2) {
            assert!(pair[0].0 <= pair[1].0 && pair[0] != pair[1], "{boot} {ns}: {pair:#?}");
        }
    }
}

/// Waits until a subscriber says of every connection what the pipes say: so many.
fn wait_until_same(
    hosts: &[Host],
    subscriber: &LineReader,
    count: usize,
    time: Duration,
) -> BTreeMap<(String, u64), Said> {
    let start = Instant::now();
    loop {
        let told: Vec<String> = hosts.iter().flat_map(|host| host.told.lines()).collect();
        let (told, heard) = (latest(&told), latest(&subscriber.lines()));
        let differs = || told.iter().filter(|(key, said)| heard.get(key) != Some(said));
        if told.len() == count && differs().next().is_none() && heard.len() == count {
            return told;
        }
        assert!(
            start.elapsed() < time,
            "{} of {} connections differ, {count} were made, {} are heard: {:#?}",
            differs().count(),
            told.len(),
            heard.len(),
            differs().next().map(|(key, said)| (said, heard.get(key)))
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn three_machines_lose_nothing_whatever_is_killed_or_cut() {
    let servers = nats_servers();
    let (true, Some(oldest)) = (can_test_the_kernel(), servers.first()) else { return };
    let (seed, kills) = (wished("LECO_TEST_SEED", boot_clock()), wished("LECO_TEST_KILLS", KILLS));
    let cut = Duration::from_secs(wished("LECO_TEST_CUT", CUT));
    println!("LECO_TEST_SEED={seed} LECO_TEST_KILLS={kills} LECO_TEST_CUT={}", cut.as_secs());
    let start_time = Instant::now();
    let (wires, folder, mut random) = (Wires::new(), tempfile::tempdir().unwrap(), Random(seed));
    let before = inside(&wires.hub);
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let mut server = NatsServer::start_at(oldest, "", "10.84.0.1".parse().unwrap(), &before);
    let mut setup = command(&inside(&wires.hub), program("leco-relay"));
    setup.args(["setup", "--nats", &server.url()]);
    assert!(run_to_end(setup).status.success());
    let start =
        |(number, namespace): (usize, &String)| Host::start(number, namespace, folder.path(), server.port);
    let mut hosts: Vec<Host> = wires.hosts.iter().enumerate().map(start).collect();
    let socket = folder.path().join("fleet.sock");
    let mut subscriber = Subscriber::start(&wires.hub, &server, Some(&socket));
    let config = folder.path().join("widget.ini");
    fs::write(&config, "").unwrap();
    let mut view = Command::new(program("leco-tui"));
    view.arg(config).arg("--source").arg(format!("unix:{}", socket.display()));
    view.envs([("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8")]).env_remove("NO_COLOR");
    let mut terminal = Terminal::open(180, 50).unwrap();
    let _view = Running(terminal.attach(view).unwrap().spawn().unwrap());

    println!("all run after {:.1?}", start_time.elapsed());
    let (mut round, mut killed) = (0, [0; 3]);
    let mut make_connections = |hosts: &mut [Host], terminal: &mut Terminal| {
        round += 1;
        for host in &mut *hosts {
            host.make_connections(round);
        }
        terminal.drain(Duration::from_millis(200)).unwrap();
        round
    };
    for kill in 0..kills {
        make_connections(&mut hosts, &mut terminal);
        let which = random.below(3);
        killed[usize::try_from(which).unwrap()] += 1;
        match which {
            0 => {
                server.kill();
                make_connections(&mut hosts, &mut terminal);
                // As an upgrade does.
                if kill >= kills / 2 {
                    servers.last().unwrap().clone_into(&mut server.program);
                }
                server.start_again();
            }
            1 => hosts[usize::try_from(random.below(3)).unwrap()].kill_publisher(),
            _ => {
                assert_in_order(&subscriber.stdout.lines());
                drop(subscriber);
                subscriber = Subscriber::start(&wires.hub, &server, Some(&socket));
            }
        }
    }
    println!("killed servers, publishers and subscribers: {killed:?}, after {:.1?}", start_time.elapsed());
    let victim = usize::try_from(random.below(3)).unwrap();
    wires.set(victim, "down");
    let begin = Instant::now();
    let mut last = 0;
    while begin.elapsed() < cut {
        last = make_connections(&mut hosts, &mut terminal);
        terminal.drain(cut / 8).unwrap();
    }
    wires.set(victim, "up");
    let joined = Instant::now();
    let count = usize::try_from(last).unwrap() * HOSTS.len() * EACH;
    let told = wait_until_same(&hosts, &subscriber.stdout, count, Duration::from_secs(30) + cut);
    println!("{} connections, all there {:.1?} after the wire was", told.len(), joined.elapsed());
    assert_in_order(&subscriber.stdout.lines());

    // Who comes now gets the last of each, once.
    let late = Subscriber::start(&wires.hub, &server, None);
    wait_until_same(&hosts, &late.stdout, count, Duration::from_secs(30));
    assert_eq!(late.stdout.lines().len(), told.len());

    // And the screen says what the pipes say.
    for host in &hosts {
        let name = format!("{}r{last}x", host.name);
        terminal.press(format!("fproc:{name} host:{}\r", host.name).as_bytes()).unwrap();
        let events: Vec<Value> = told.values().map(|said| serde_json::from_str(&said.1).unwrap()).collect();
        let events: Vec<Value> = events.into_iter().filter(|event| event["comm"] == name).collect();
        assert_eq!(events.len(), EACH);
        let is_same = |screen: &str| {
            screen.matches(&format!(" {name} ")).count() == EACH
                && screen_differs(screen, &name, &events).is_none()
        };
        terminal.wait_until(&name, is_same).unwrap();
        terminal.press(b"\x1b").unwrap();
        terminal.wait_for("f filter").unwrap();
    }
}
