// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-relay` between machines, over real servers: what is lost, doubled or out of order when servers and relays are
//! killed, and whom the servers refuse.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use leco_e2e::{
    LineReader, NatsServer, Running, boot_clock, nats_servers, program, run_to_end, skip, wait_for,
    wait_or_explain,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// What the manual has as an example of permissions.
const FLEET: &str = include_str!("../../docs/FLEET.md");

fn event(connection: u64, ns_trx: u64, text: &str) -> String {
    let clock =
        json!({"boot": "0f1e2d3c-0000", "host": "web1", "ns": 1, "wall": 1_790_000_000_000_000_000_i64});
    let line = format!("18:32 :: me :: curl [{text}.service] :: a.test 443 :: ");
    let event = json!({"ns": connection, "ns_trx": ns_trx, "line": line, "boot": "0f1e2d3c", "clock": clock});
    event.to_string() + "\n"
}

/// The last event of each connection, and who reads.
type Told = (BTreeMap<u64, String>, Vec<UnixStream>);

/// A source that tells every reader first what it knows, as the pipe does.
#[derive(Clone)]
struct Source {
    path: PathBuf,
    state: Arc<Mutex<Told>>,
}

impl Source {
    fn listen(path: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let source = Self { path, state: Arc::default() };
        let shared = Arc::clone(&source.state);
        thread::spawn(move || {
            while let Ok((mut socket, _)) = listener.accept() {
                let mut state = shared.lock().unwrap();
                let known: String = state.0.values().map(String::as_str).collect();
                // One that left is not there for what comes either.
                let _ = socket.write_all(known.as_bytes());
                state.1.push(socket);
            }
        });
        source
    }

    fn send(&self, connection: u64, ns_trx: u64, text: &str) {
        let line = event(connection, ns_trx, text);
        let mut state = self.state.lock().unwrap();
        state.1.retain_mut(|reader| reader.write_all(line.as_bytes()).is_ok());
        state.0.insert(connection, line);
    }

    /// From now on it tells nobody what was.
    fn forget(&self) {
        self.state.lock().unwrap().0.clear();
    }

    fn readers(&self) -> usize {
        self.state.lock().unwrap().1.len()
    }

    fn spec(&self) -> String {
        format!("unix:{}", self.path.display())
    }
}

/// A running `leco-relay`.
struct Relay {
    child: Running,
    stdout: LineReader,
    stderr: LineReader,
}

impl Relay {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(program("leco-relay"));
        command.args(arguments);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().unwrap());
        let stdout = LineReader::new(child.0.stdout.take().unwrap());
        let stderr = LineReader::new(child.0.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    fn publish(server: &NatsServer, source: &Source, more: &[&str]) -> Self {
        let (url, spec, spool) = (server.url(), source.spec(), server.path("spool"));
        let spool = spool.to_str().unwrap();
        let arguments = ["publish", "--nats", &url, "--source", &spec, "--spool", spool];
        Self::start(&[&arguments, more].concat())
    }

    fn subscribe(server: &NatsServer, more: &[&str]) -> Self {
        Self::start(&[&["subscribe", "--nats", &server.url()], more].concat())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child.0), signal).unwrap();
    }

    fn wait_until_it_says(&self, part: &str) {
        let has_said = || self.stderr.lines().iter().any(|line| line.contains(part)).then_some(());
        wait_or_explain(|| format!("{part}: {:?}", self.stderr.lines()), has_said);
    }

    /// What it handed on: connection and moment.
    fn events(&self) -> Vec<(u64, u64)> {
        moments(&self.stdout.lines())
    }

    /// Waits until it handed on the last of each of these connections.
    fn wait_for_all(&self, last: &BTreeMap<u64, u64>) {
        let missing = || {
            let latest: HashMap<u64, u64> = self.events().into_iter().collect();
            last.iter().filter(|(connection, at)| latest.get(connection) != Some(at)).count()
        };
        let what = || format!("{} of {} connections, {:?}", missing(), last.len(), self.stderr.lines());
        wait_or_explain(what, || (missing() == 0).then_some(()));
    }
}

fn moments(lines: &[String]) -> Vec<(u64, u64)> {
    let events = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.map(|event| (event["ns"].as_u64().unwrap(), event["ns_trx"].as_u64().unwrap())).collect()
}

/// Moments of each connection only grow: so nothing is out of order, and nothing there twice.
fn assert_in_order(events: &[(u64, u64)]) {
    let mut latest = HashMap::new();
    for (connection, at) in events {
        let before = latest.insert(connection, at);
        assert!(before.is_none_or(|before| before < at), "{connection}: {at} after {before:?}");
    }
}

/// Runs it to its end: exit code, and what it said but for how its connection goes.
fn refused(arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let mut command = Command::new(program("leco-relay"));
    command.args(arguments);
    let output = run_to_end(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_news = |line: &&str| !line.contains("reading ") && !line.contains("connected to");
    (output.status.code(), said.lines().filter(is_news).map(ToOwned::to_owned).collect())
}

fn set_up(server: &NatsServer) {
    assert_eq!(refused(&["setup", "--nats", &server.url()]), (Some(0), Vec::new()));
}

/// Numbers that look like chance, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64 (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn nothing_is_lost_or_doubled_whatever_is_killed() {
    let seed =
        std::env::var("LECO_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(boot_clock);
    println!("LECO_TEST_SEED={seed}");
    for path in nats_servers() {
        let mut chance = Chance(seed | 1);
        let mut server = NatsServer::start(&path, "");
        set_up(&server);
        let source = Source::listen(server.path("source.sock"));
        let mut publisher = Relay::publish(&server, &source, &[]);
        let mut subscriber = Relay::subscribe(&server, &[]);
        let (mut last, mut now, mut killed) = (BTreeMap::new(), 0, [0; 3]);
        for round in 0..12 {
            for half in 0..2 {
                for _ in 0..50 {
                    now += 1;
                    // Some are old ones.
                    let connection = round * 20 + chance.below(40);
                    source.send(connection, now, "x");
                    last.insert(connection, now);
                }
                // In the midst of it: some have arrived, others are on their way.
                let latest = || subscriber.events().iter().map(|(_, at)| *at).max();
                if half == 0 {
                    wait_for("some of them", || latest().filter(|latest| *latest > now - 50));
                }
            }
            let which = usize::try_from(chance.below(4)).unwrap();
            match which {
                0 => {
                    server.kill();
                    server.start_again();
                }
                1 => {
                    drop(publisher);
                    publisher = Relay::publish(&server, &source, &[]);
                }
                2 => {
                    assert_in_order(&subscriber.events());
                    subscriber = Relay::subscribe(&server, &[]);
                }
                _ => continue,
            }
            killed[which] += 1;
        }
        println!("killed servers, publishers and subscribers: {killed:?}");
        // The one that must be, whatever chance says.
        server.kill();
        now += 1;
        source.send(1, now, "x");
        last.insert(1, now);
        server.start_again();
        subscriber.wait_for_all(&last);
        assert_in_order(&subscriber.events());
        // Who comes now gets the last of each, once.
        let late = Relay::subscribe(&server, &[]);
        late.wait_for_all(&last);
        assert_eq!(late.events().len(), last.len());
        assert!(publisher.child.0.try_wait().unwrap().is_none(), "{:?}", publisher.stderr.lines());
    }
}

#[test]
fn what_happens_while_the_server_is_away_is_on_disk() {
    for path in nats_servers() {
        let mut server = NatsServer::start(&path, "");
        set_up(&server);
        let source = Source::listen(server.path("source.sock"));
        server.kill();
        let publisher = Relay::publish(&server, &source, &[]);
        wait_for("a reader", || (source.readers() == 1).then_some(()));
        publisher.wait_until_it_says("waiting for");
        let last: BTreeMap<u64, u64> = (0..500).map(|connection| (connection, 7)).collect();
        for connection in last.keys() {
            source.send(*connection, 6, "x");
            source.send(*connection, 7, "x");
        }
        source.forget();
        wait_for("all to be on disk", || (spooled(&server, "spool") == 1000).then_some(()));
        drop(publisher);
        server.start_again();
        let subscriber = Relay::subscribe(&server, &["-o", "-"]);
        let _publisher = Relay::publish(&server, &source, &[]);
        subscriber.wait_for_all(&last);
        assert_in_order(&subscriber.events());
        wait_for("an empty spool", || (spooled(&server, "spool") == 0).then_some(()));
    }
}

/// How many messages are in a spool.
fn spooled(server: &NatsServer, spool: &str) -> usize {
    let files = fs::read_dir(server.path(spool)).unwrap().map(|file| file.unwrap().path());
    files.map(|file| fs::read_to_string(file).unwrap_or_default().lines().count()).sum()
}

#[test]
fn a_spool_that_is_full_loses_the_oldest_and_says_so() {
    let Some(path) = nats_servers().pop() else { return };
    let mut server = NatsServer::start(&path, "");
    set_up(&server);
    let source = Source::listen(server.path("source.sock"));
    let publisher = Relay::publish(&server, &source, &["--spool-max", "1M"]);
    publisher.wait_until_it_says("connected to");
    wait_for("a reader", || (source.readers() == 1).then_some(()));
    server.kill();
    publisher.wait_until_it_says("lost localhost");
    let text = "x".repeat(1000);
    for connection in 0..8000 {
        source.send(connection, 5, &text);
    }
    publisher.wait_until_it_says("lost: the spool is full");
    server.start_again();
    let subscriber = Relay::subscribe(&server, &[]);
    subscriber.wait_for_all(&BTreeMap::from([(7999, 5)]));
    let events = subscriber.events();
    assert_in_order(&events);
    assert!((400..8000).contains(&events.len()), "{}", events.len());
}

#[test]
fn a_disk_that_is_full_keeps_whole_events_alone() {
    let Some(path) = nats_servers().pop() else { return };
    let mut server = NatsServer::start(&path, "");
    set_up(&server);
    server.kill();
    let recording = server.path("events");
    fs::write(&recording, (0..300).map(|connection| event(connection, 5, "x")).collect::<String>()).unwrap();
    // Blocks that a file may have.
    for blocks in [0, 3] {
        let folder = format!("spool{blocks}");
        let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &limited, "sh"]).arg(program("leco-relay")).args(["publish", "--nats"]);
        command.arg(server.url()).arg("--spool").arg(server.path(&folder));
        // A recording alone would wait for the server.
        command.args(["--source", &format!("file:{}", recording.display()), "--source", "udp:127.0.0.1:0"]);
        let publisher = Relay::spawn(command);
        publisher.wait_until_it_says("at the end of");
        publisher.signal(Signal::TERM);
        let lost = || {
            let said = publisher.stderr.lines();
            let counts = said.iter().filter_map(|line| {
                let (before, reason) = line.split_once(" lost: ")?;
                assert!(reason.starts_with("cannot write the spool"), "{line}");
                before.split(' ').nth(1)?.parse::<usize>().ok()
            });
            counts.sum::<usize>()
        };
        let on_disk = || lost() + spooled(&server, &folder) == 300;
        wait_or_explain(|| format!("{:?}", publisher.stderr.lines()), || on_disk().then_some(()));
        let files: Vec<_> = fs::read_dir(server.path(&folder)).unwrap().map(|file| file.unwrap()).collect();
        let texts: String = files.iter().map(|file| fs::read_to_string(file.path()).unwrap()).collect();
        assert_eq!(files.len(), if blocks == 0 { 1 } else { 2 }, "with the lock");
        assert_eq!((texts.is_empty(), texts.ends_with("}\n")), (blocks == 0, blocks > 0), "half an event");
    }
}

#[test]
fn a_spool_that_cannot_be_emptied_is_sent_all_the_same() {
    let Some(path) = nats_servers().pop() else { return };
    let server = NatsServer::start(&path, "");
    set_up(&server);
    let spool = server.path("spool");
    fs::create_dir(&spool).unwrap();
    let all: BTreeMap<u64, u64> = (0..6).map(|connection| (connection, 5)).collect();
    for connection in all.keys() {
        let text = format!("leco.web1.- 0f1e2d3c-{connection}-5-0 {}", event(*connection, 5, "x"));
        fs::write(spool.join(format!("{connection:012}.events")), text).unwrap();
    }
    // What is mounted cannot be removed, not even by root.
    let mounted = "for file in \"$0\"/*; do mount --bind \"$file\" \"$file\"; done; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", mounted]).arg(&spool);
    command.arg(program("leco-relay")).args(["publish", "--nats", &server.url(), "--source", "-"]);
    command.arg("--spool").arg(&spool);
    let output = run_to_end(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("unshare") {
        let _ = skip(&said);
        return;
    }
    assert_eq!(said.matches("cannot remove from the spool what arrived").count(), 6, "{said}");
    assert!(output.status.success() && !said.contains("lost: "), "{said}");
    Relay::subscribe(&server, &[]).wait_for_all(&all);
}

#[test]
fn of_a_connection_only_the_latest_event_waits_for_a_slow_server() {
    let Some(path) = nats_servers().pop() else { return };
    let server = NatsServer::start(&path, "");
    set_up(&server);
    let path = server.path("source.fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut fifo = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let spec = format!("fifo:{}", path.display());
    let _publisher = Relay::start(&["publish", "--nats", &server.url(), "--source", &spec]);
    let subscriber = Relay::subscribe(&server, &[]);
    fifo.write_all(event(1, 1, "x").as_bytes()).unwrap();
    subscriber.wait_for_all(&BTreeMap::from([(1, 1)]));
    server.signal(Signal::STOP);
    for at in 2..=1000 {
        fifo.write_all(event(1, at, "x").as_bytes()).unwrap();
    }
    wait_for("all to be read", || (rustix::io::ioctl_fionread(&fifo).unwrap() == 0).then_some(()));
    server.signal(Signal::CONT);
    subscriber.wait_for_all(&BTreeMap::from([(1, 1000)]));
    let events = subscriber.events();
    assert_in_order(&events);
    assert!(events.len() < 500, "{}", events.len());
}

/// Publishes as any client may, without an id: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.
fn publish_plainly(server: &NatsServer, subject: &str, payloads: &[&str]) {
    let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let mut told = String::from("CONNECT {\"verbose\":false}\r\n");
    for payload in payloads {
        write!(told, "PUB {subject} {}\r\n{payload}\r\n", payload.len()).unwrap();
    }
    socket.write_all((told + "PING\r\n").as_bytes()).unwrap();
    let mut lines = BufReader::new(socket).lines();
    assert!(lines.any(|line| line.unwrap() == "PONG"));
}

#[test]
fn what_is_in_the_stream_twice_or_under_a_foreign_subject_is_dropped() {
    for path in nats_servers() {
        let server = NatsServer::start(&path, "");
        set_up(&server);
        let (first, second) = (event(1, 5, "x"), event(1, 6, "x"));
        let two_lines = event(2, 1, "x").replace(',', ",\n");
        publish_plainly(&server, "leco.web1.x", &[&first, &second, &second, &first]);
        let late = Relay::subscribe(&server, &[]);
        late.wait_for_all(&BTreeMap::from([(1, 6)]));
        publish_plainly(&server, "leco.web1.x", &[&second, &first, "no event", &two_lines]);
        publish_plainly(&server, "leco.db1.x", &[&event(1, 9, "x")]);
        publish_plainly(&server, "leco.web1.x", &[&event(3, 1, "x")]);
        late.wait_for_all(&BTreeMap::from([(3, 1)]));
        assert_eq!(late.events(), [(1, 6), (2, 1), (3, 1)]);
        // A name comes later, and both again.
        let (plain, named) = (event(4, 1, "x"), event(4, 1, "x").replace("a.test", "b.test"));
        for (count, told) in [(4, &plain), (5, &named)] {
            publish_plainly(&server, "leco.web1.x", &[told]);
            wait_for("it", || (late.events().len() == count).then_some(()));
        }
        publish_plainly(&server, "leco.web1.x", &[&plain, &event(5, 1, "x")]);
        late.wait_for_all(&BTreeMap::from([(5, 1)]));
        assert_eq!(late.events()[3..], [(4, 1), (4, 1), (5, 1)]);
        let ignored: Vec<_> =
            late.stderr.lines().into_iter().filter(|line| line.contains("ignored")).collect();
        let expected = [
            "leco-relay: ignored what web1 publishes: malformed",
            "leco-relay: ignored what db1 publishes: events of another machine",
        ];
        assert_eq!(ignored, expected);
    }
}

#[test]
fn one_machine_of_a_stream_speaks_for_no_other() {
    for path in nats_servers() {
        let server = NatsServer::start(&path, "");
        set_up(&server);
        let of = |fields: &str| format!("{{\"ns\":7,\"ns_trx\":9,\"line\":\"a lie\"{fields}}}");
        let clock = r#"{"boot":"11111111-0","host":"db1","ns":1,"wall":1790000000000000000}"#;
        publish_plainly(&server, "leco.db1.-", &[&of(&format!(r#","boot":"11111111","clock":{clock}"#))]);
        let other = clock.replace(r#""host":"db1","#, "");
        let (key, clocked) =
            (of(r#","key":"11111111-7""#), of(&format!(r#","boot":"22222222","clock":{other}"#)));
        publish_plainly(&server, "leco.web1.-", &[&key, &clocked, &of("")]);
        let subscriber = Relay::subscribe(&server, &[]);
        let events = wait_for("two events", || {
            let lines = subscriber.stdout.lines();
            (lines.len() == 2).then_some(lines)
        });
        let events: Vec<Value> = events.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events[0]["clock"]["host"], "db1");
        assert_eq!(events[1]["host"], "web1");
        assert!(events[1]["boot"].as_str().is_some_and(|boot| boot.starts_with('@')), "{events:?}");
        subscriber.wait_until_it_says("ignored what web1 publishes: events of another machine");
    }
}

#[test]
fn subscribers_share_connections_as_their_outputs_say() {
    let Some(path) = nats_servers().pop() else { return };
    let server = NatsServer::start(&path, "");
    set_up(&server);
    let events: Vec<_> = (0..100).map(|connection| event(connection, 5, "x")).collect();
    publish_plainly(&server, "leco.web1.x", &events.iter().map(String::as_str).collect::<Vec<_>>());
    let shares = ["-?share=1/2", "-?share=2/2", "-?share=1/2"];
    let shares = shares.map(|output| Relay::subscribe(&server, &["-o", output]));
    let of = |subscriber: &Relay| subscriber.events().into_iter().map(|(ns, _)| ns).collect::<BTreeSet<_>>();
    let all = || of(&shares[0]).union(&of(&shares[1])).count() == 100 && of(&shares[0]) == of(&shares[2]);
    wait_or_explain(|| format!("{:?}", shares.each_ref().map(of)), || all().then_some(()));
    assert!(of(&shares[0]).is_disjoint(&of(&shares[1])));
}

#[test]
fn a_rotation_of_files_ends_no_relay() {
    let Some(path) = nats_servers().pop() else { return };
    let server = NatsServer::start(&path, "");
    set_up(&server);
    let source = Source::listen(server.path("source.sock"));
    let publisher = Relay::publish(&server, &source, &[]);
    let (folder, away) = (server.path("out"), server.path("away"));
    fs::create_dir(&folder).unwrap();
    let file = folder.join("events");
    let subscriber = Relay::subscribe(&server, &["-o", &format!("file:{}", file.display())]);
    let told = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        moments(&text.lines().map(ToOwned::to_owned).collect::<Vec<_>>())
    };
    source.send(1, 1, "x");
    wait_for("the first", || (told(&file) == [(1, 1)]).then_some(()));
    fs::rename(&file, server.path("old")).unwrap();
    publisher.signal(Signal::HUP);
    subscriber.signal(Signal::HUP);
    wait_for("a new file", || file.exists().then_some(()));
    source.send(2, 1, "x");
    wait_for("the second", || (told(&file) == [(2, 1)]).then_some(()));
    assert_eq!(told(&server.path("old")), [(1, 1)]);
    fs::rename(&folder, &away).unwrap();
    subscriber.signal(Signal::HUP);
    subscriber.wait_until_it_says("Outputs that are open stay open.");
    source.send(3, 1, "x");
    wait_for("the third", || (told(&away.join("events")) == [(2, 1), (3, 1)]).then_some(()));
}

#[test]
fn what_a_rate_limit_holds_back_is_written_at_the_end() {
    let Some(path) = nats_servers().pop() else { return };
    let server = NatsServer::start(&path, "");
    set_up(&server);
    let file = server.path("held");
    let held = format!("file:{}?rate-limit=1m", file.display());
    let mut subscriber = Relay::subscribe(&server, &["-o", "-", "-o", &held]);
    for at in [1, 2] {
        publish_plainly(&server, "leco.web1.x", &[&event(1, at, "x")]);
        subscriber.wait_for_all(&BTreeMap::from([(1, at)]));
    }
    subscriber.signal(Signal::TERM);
    let ended = wait_for("its end", || subscriber.child.0.try_wait().unwrap());
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = text.lines().map(ToOwned::to_owned).collect();
    assert_eq!((moments(&lines), ended.code()), (vec![(1, 1), (1, 2)], Some(0)));
}

#[test]
fn frontends_read_a_subscriber_as_any_other_source() {
    let Some(path) = nats_servers().pop() else { return };
    let server = NatsServer::start(&path, "");
    set_up(&server);
    let source = Source::listen(server.path("source.sock"));
    for connection in 0..5 {
        source.send(connection, 3, if connection == 3 { "three" } else { "other" });
    }
    let _publisher = Relay::publish(&server, &source, &[]);
    let socket = format!("unix:{}", server.path("out.sock").display());
    let relay = Relay::subscribe(&server, &["-o", &socket, "--host", "web*", "--filter", "three"]);
    relay.wait_until_it_says("connected to");
    let shown = wait_for("the line in leco-tui", || {
        let mut view = Command::new(program("leco-tui"));
        view.args(["--source", &socket, "--once", "--wait", "1"]);
        let out = String::from_utf8_lossy(&run_to_end(view).stdout).into_owned();
        out.contains("three.service").then_some(out)
    });
    assert_eq!(shown.lines().count(), 1, "{shown}");
}

#[test]
fn a_server_refuses_in_one_line() {
    let config = FLEET.split("```conf\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    for path in nats_servers() {
        let server = NatsServer::start(&path, config);
        let url = server.url();
        let password = server.path("password");
        fs::write(&password, "change-me\n").unwrap();
        let password = password.to_str().unwrap();
        let user = |name: &str| {
            ["--nats", &url, "--user", name, "--password-file", password].map(ToOwned::to_owned).to_vec()
        };
        let run = |task: &[&str], user: &[String]| {
            let user: Vec<&str> = user.iter().map(String::as_str).collect();
            refused(&[task, &user].concat())
        };
        let admin = user("admin");
        assert_eq!(run(&["setup"], &admin), (Some(0), Vec::new()));
        assert_eq!(run(&["setup", "--check"], &user("reader")), (Some(0), Vec::new()));
        let event = server.path("events");
        let publish = |hosts: &[&str]| {
            let of =
                |(ns, host)| json!({"ns": ns, "ns_trx": 2, "line": "x", "host": host}).to_string() + "\n";
            fs::write(&event, (1..).zip(hosts).map(of).collect::<String>()).unwrap();
            let (file, spool) = (format!("file:{}", event.display()), server.path("spool"));
            let spool = spool.to_str().unwrap();
            run(&["publish", "-s", &file, "--spool", spool], &user("web1"))
        };
        assert_eq!(publish(&["web1"]), (Some(0), Vec::new()));
        // What is in the spool is sent by the next one, and what is forbidden of it keeps nothing else back.
        fs::write(server.path("spool/000000000007.events"), "leco.db1.- x-1-1-0 {\"ns\":1}\n").unwrap();
        let (code, said) = publish(&["db1", "web1", "db1"]);
        let kept = server.path("spool/refused.json");
        let expected = format!("this user may not publish to leco.db1.-: kept in {}", kept.display());
        assert_eq!(code, Some(1), "{said:?}");
        assert!(said.iter().all(|line| line.ends_with(&expected)), "{said:?}");
        assert!(said.len() <= 2, "once at the first, once at the end: {said:?}");
        assert_eq!(fs::read_to_string(&kept).unwrap().lines().count(), 3, "none is lost");
        assert_eq!(spooled(&server, "spool"), 3, "nothing else waits");
        let (code, said) = run(&["subscribe"], &user("web1"));
        assert_eq!((code, said.len()), (Some(1), 1), "{said:?}");
        let (code, said) = run(
            &["subscribe"],
            &[user("reader"), vec!["--inbox".to_owned(), "_INBOX_admin".to_owned()]].concat(),
        );
        assert_eq!((code, said.len()), (Some(1), 1), "{said:?}");
        let reader = user("reader");
        let reader: Vec<&str> = reader.iter().map(String::as_str).collect();
        let reader = Relay::start(&[&["subscribe"], reader.as_slice()].concat());
        reader.wait_for_all(&BTreeMap::from([(1, 2), (2, 2)]));
        fs::write(password, "wrong").unwrap();
        let (code, said) = run(&["subscribe"], &user("reader"));
        let expected = format!("leco-relay: localhost:{} refuses: wrong credentials", server.port);
        assert_eq!((code, said), (Some(1), vec![expected]));
    }
}

#[test]
fn a_stream_that_is_missing_or_has_other_limits_is_told() {
    for path in nats_servers() {
        let server = NatsServer::start(&path, "");
        let url = server.url();
        let missing = "leco-relay: there is no stream LECO: run leco-relay setup without --check".to_owned();
        assert_eq!(refused(&["setup", "--nats", &url, "--check"]), (Some(1), vec![missing]));
        let source = Source::listen(server.path("source.sock"));
        source.send(1, 1, "x");
        let publisher = Relay::publish(&server, &source, &[]);
        publisher.wait_until_it_says("no stream takes the events: run leco-relay setup");
        let subscriber = Relay::subscribe(&server, &[]);
        subscriber.wait_until_it_says("cannot read stream LECO");
        set_up(&server);
        subscriber.wait_for_all(&BTreeMap::from([(1, 1)]));

        let check = |limits: &[&str]| refused(&[&["setup", "--nats", &url, "--check"], limits].concat()).0;
        let limits = ["--max-age", "1h", "--max-bytes", "2M"];
        assert_eq!([check(&[]), check(&limits)], [Some(0), Some(1)]);
        let mut command = Command::new(program("leco-relay"));
        command.args(["setup", "--nats", &url]).args(limits);
        let said = String::from_utf8_lossy(&run_to_end(command).stdout).into_owned();
        assert!(said.contains("stream LECO: max-age: 86400 s, not 3600 s\n"), "{said}");
        assert_eq!([check(&[]), check(&limits)], [Some(1), Some(0)]);
    }
}

#[test]
fn setup_gives_up_where_no_server_answers() {
    // Nobody listens there, or nobody accepts.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for port in [free, silent.local_addr().unwrap().port()] {
        let (code, said) = refused(&["setup", "--nats", &format!("nats://localhost:{port}")]);
        let expected = format!("leco-relay: localhost:{port} does not answer: gave up after 5 s");
        assert_eq!((code, said.last()), (Some(1), Some(&expected)));
    }
}

#[test]
fn a_recording_is_read_no_faster_than_the_server_takes_it() {
    let Some(path) = nats_servers().pop() else { return };
    let server = NatsServer::start(&path, "");
    set_up(&server);
    let (file, url) = (server.path("events"), server.url());
    let last: BTreeMap<u64, u64> = (0..12_000).map(|connection| (connection, 3)).collect();
    fs::write(&file, last.iter().map(|(connection, at)| event(*connection, *at, "x")).collect::<String>())
        .unwrap();
    let source = format!("file:{}", file.display());
    assert_eq!(refused(&["publish", "--nats", &url, "--source", &source]), (Some(0), Vec::new()));
    Relay::subscribe(&server, &[]).wait_for_all(&last);
}

#[test]
fn totals_of_the_time_before_are_no_connection() {
    let Some(path) = nats_servers().pop() else { return };
    let server = NatsServer::start(&path, "");
    set_up(&server);
    let part = r#"{"ns":1,"ns_trx":1,"line":"totals","boot":"0f1e2d3c","history":{"v":1}}"#;
    let (file, url) = (server.path("events"), server.url());
    fs::write(&file, [part, "\n", part, "\n", &event(2, 1, "x")].concat()).unwrap();
    let source = format!("file:{}", file.display());
    let (code, said) = refused(&["publish", "--nats", &url, "--source", &source]);
    let ignored = "leco-relay: 1 event ignored: totals of the time before";
    assert_eq!((code, said), (Some(0), vec![ignored.to_owned(); 2]));
    publish_plainly(&server, "leco.web1.-", &[part, &event(3, 1, "x")]);
    let subscriber = Relay::subscribe(&server, &[]);
    subscriber.wait_for_all(&BTreeMap::from([(3, 1)]));
    assert_eq!(subscriber.events(), [(2, 1), (3, 1)]);
    subscriber.wait_until_it_says("ignored what web1 publishes: totals of the time before");
}

#[test]
fn a_publisher_says_what_it_cannot_read() {
    let Some(path) = nats_servers().pop() else { return };
    let server = NatsServer::start(&path, "");
    set_up(&server);
    let (file, url) = (server.path("events"), server.url());
    let long = event(1, 1, &"x".repeat(1 << 17));
    fs::write(&file, [&long, &long, &event(2, 1, "x")].map(String::as_str).concat()).unwrap();
    let source = format!("file:{}", file.display());
    let (code, said) = refused(&["publish", "--nats", &url, "--source", &source]);
    let lost = said.iter().filter_map(|line| line.strip_suffix(" lost: longer than 64 KiB"));
    let lost: usize = lost.filter_map(|line| line.split(' ').nth(1)?.parse::<usize>().ok()).sum();
    assert_eq!((code, lost), (Some(0), 2), "{said:?}");
    Relay::subscribe(&server, &[]).wait_for_all(&BTreeMap::from([(2, 1)]));
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" </", "sh"]).arg(program("leco-relay"));
    command.args(["publish", "--nats", &url, "--source", "-"]);
    let output = run_to_end(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.to_lowercase().contains("directory"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
}

#[test]
fn an_nkey_lets_in() {
    // The pair of the manual of nats-server.
    let config =
        "authorization { users = [ { nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 } ] }";
    for path in nats_servers() {
        let server = NatsServer::start(&path, config);
        let seed = server.path("seed");
        fs::write(&seed, "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n").unwrap();
        let (url, seed) = (server.url(), seed.to_str().unwrap().to_owned());
        assert_eq!(refused(&["setup", "--nats", &url, "--nkey", &seed]), (Some(0), Vec::new()));
        let (code, said) = refused(&["setup", "--nats", &url]);
        assert_eq!((code, said.len()), (Some(1), 1), "{said:?}");
        for way in ["--creds", "--nkey"] {
            fs::write(&seed, "nonsense").unwrap();
            let (code, said) = refused(&["setup", "--nats", &url, way, &seed]);
            assert_eq!((code, said.len()), (Some(1), 1), "{said:?}");
        }
    }
}

/// A certificate that an authority of its own signs: valid in these years.
fn certificate(folder: &Path, name: &str, years: [u32; 2]) {
    let config = "[ca]\ndefault_ca=own\n[own]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n\
                  policy=any\nx509_extensions=names\n[any]\ncommonName=supplied\n[names]\nsubjectAltName=DNS:localhost\n";
    fs::write(folder.join("ca.conf"), config).unwrap();
    fs::write(folder.join("index"), "").unwrap();
    let openssl = |arguments: String| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(folder);
        let output = run_to_end(command);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    if !folder.join("ca.pem").exists() {
        openssl(format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=own -days 3650"));
    }
    openssl(format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN=localhost"));
    let [from, to] = years.map(|year| format!("{year}0101000000Z"));
    openssl(format!(
        "ca -batch -notext -config ca.conf -cert ca.pem -keyfile ca.key -in {name}.csr -out {name}.pem \
         -startdate {from} -enddate {to}"
    ));
}

#[test]
fn a_certificate_is_checked() {
    if Command::new("openssl").arg("version").output().is_err() {
        let _ = skip("there is no openssl");
        return;
    }
    let Some(path) = nats_servers().pop() else { return };
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "good", [2020, 2045]);
    certificate(folder.path(), "old", [2020, 2021]);
    let authority = folder.path().join("ca.pem");
    let authority = authority.to_str().unwrap();
    let start = |name: &str| {
        let mut config = String::from("tls {\n");
        for (key, ending) in [("cert_file", "pem"), ("key_file", "key")] {
            let file = folder.path().join(format!("{name}.{ending}"));
            writeln!(config, "{key}: \"{}\"", file.display()).unwrap();
        }
        NatsServer::start(&path, &(config + "}\n"))
    };
    let good = start("good");
    let url = good.url().replace("nats:", "tls:");
    assert_eq!(refused(&["setup", "--nats", &url, "--tls-ca", authority]), (Some(0), Vec::new()));
    let old = start("old");
    for (url, arguments, reason) in [
        (&url, &[][..], "UnknownIssuer"),
        (&old.url(), &["--tls-ca", authority][..], "expired"),
        (&good.url().replace("localhost", "127.0.0.1"), &["--tls-ca", authority][..], "not valid for name"),
    ] {
        let (code, said) = refused(&[&["setup", "--nats", url], arguments].concat());
        assert_eq!((code, said.len()), (Some(1), 1), "{said:?}");
        assert!(said[0].contains(reason), "{said:?}");
    }
}
