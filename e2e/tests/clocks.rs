// SPDX-License-Identifier: GPL-3.0-or-later
//! Times of machines and boots whose clocks began apart, from the pipe to what a person is told; and time zones.

#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use leco_e2e::{
    EventPipe, FAR_V4, Kernel, LineReader, Netns, Peer, Tmux, can_test_the_kernel, can_use_tmux, program,
    wait_for, wait_or_explain,
};
use leco_os::clock::{Now, boot_id, boot_ns};
use rustix::process::Signal;
use serde_json::{Value, json};

const UID: u32 = 54321;
const SECOND: u64 = 1_000_000_000;
const DAYS: u64 = 864_000 * SECOND;

/// A datagram of a process of this name; the port it went to.
fn send(netns: &Netns, name: &str) -> u16 {
    let socket = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let remote: SocketAddr = socket.local_addr().unwrap();
    Peer::start(netns, UID, name.as_bytes(), &["udp", &remote.to_string(), "send", "9"]).finish();
    remote.port()
}

fn events(lines: &[String]) -> Vec<Value> {
    lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Every event that a reader got, once one of them is of this port.
fn until_port(reader: &LineReader, port: u16) -> Vec<Value> {
    let shown = format!(" {port}/udp ");
    wait_or_explain(
        || format!("port {port} in {:#?}", reader.lines()),
        || {
            let lines = reader.lines();
            lines.iter().any(|line| line.contains(&shown)).then(|| events(&lines))
        },
    )
}

/// What an event says of the clocks is what they say here, to a second.
fn is_right(clock: &Value) -> bool {
    let now = Now::read();
    let passed = now.boot.saturating_sub(clock["ns"].as_u64().unwrap());
    let wall = clock["wall"].as_i64().unwrap() + passed.cast_signed();
    clock["boot"] == boot_id() && passed < 60 * SECOND && now.wall.abs_diff(wall) < SECOND
}

fn told(events: &[Value]) -> Vec<bool> {
    events.iter().map(|event| event.get("clock").is_some_and(is_right)).collect()
}

fn is_told_first(events: &[Value]) -> bool {
    let told = told(events);
    told.first() == Some(&true) && told.iter().filter(|told| **told).count() == 1
}

#[test]
fn each_reader_is_told_the_clock_with_its_first_event() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name);
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let outputs = [
        "-".to_owned(),
        format!("unix:{}", path("unix").display()),
        format!("fifo:{}", path("fifo").display()),
        format!("udp:{}", datagrams.local_addr().unwrap()),
        format!("file:{}", path("file").display()),
    ];
    let arguments: Vec<&str> = outputs.iter().flat_map(|output| ["-o", output]).collect();
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins()).args(arguments);
    let pipe = EventPipe::spawn(command);
    let connect = || LineReader::new(wait_for("the socket", || UnixStream::connect(path("unix")).ok()));
    let open = || LineReader::new(wait_for("the fifo", || fs::File::open(path("fifo")).ok()));
    let (first, fifo) = (connect(), open());
    for name in ["one", "two"] {
        let port = send(&netns, name);
        for (name, reader) in [("stdout", &pipe.stdout), ("unix", &first), ("fifo", &fifo)] {
            let events = until_port(reader, port);
            assert!(is_told_first(&events), "{name}: {events:#?}");
            assert!(events.iter().all(|event| boot_id().starts_with(event["boot"].as_str().unwrap())));
        }
    }
    // Who comes later is told, too, and nobody else again.
    let later = connect();
    let port = send(&netns, "three");
    assert!(is_told_first(&until_port(&later, port)) && is_told_first(&until_port(&first, port)));

    let recorded = || {
        events(
            &fs::read_to_string(path("file")).unwrap_or_default().lines().map(Into::into).collect::<Vec<_>>(),
        )
    };
    wait_for("the recording", || (recorded().len() >= 3).then_some(()));
    assert!(is_told_first(&recorded()), "{:#?}", recorded());
    fs::rename(path("file"), path("old")).unwrap();
    pipe.signal(Signal::HUP);
    send(&netns, "four");
    wait_for("the next recording", || (!recorded().is_empty()).then_some(()));
    assert!(is_told_first(&recorded()), "{:#?}", recorded());

    // Each datagram may be the first that somebody hears.
    datagrams.set_read_timeout(Some(leco_e2e::DEADLINE)).unwrap();
    for _ in 0..4 {
        let mut datagram = [0; 2000];
        let size = datagrams.recv(&mut datagram).unwrap();
        let event: Value = serde_json::from_slice(&datagram[..size]).unwrap();
        assert!(is_right(&event["clock"]), "{event}");
    }
    let dump =
        Command::new(program("leco-event-pipe")).arg("--pin").arg(kernel.pins()).arg("-C").output().unwrap();
    let dumped = String::from_utf8(dump.stdout).unwrap();
    assert!(is_told_first(&events(&dumped.lines().map(Into::into).collect::<Vec<_>>())), "{dumped}");
}

/// A command in a time namespace of its own, whose boot clock is ten days ahead.
fn ten_days_ahead(name: &str) -> Command {
    let mut command = Command::new("unshare");
    let offset = (DAYS / SECOND).to_string();
    command.args(["--time", "--boottime", &offset, "--fork", "--kill-child", "--"]).arg(program(name));
    command
}

/// What a view knows, as JSON, of a source.
fn once(mut view: Command, source: &str, stdin: Stdio) -> Child {
    let options = ["--json", "--once", "--wait", "10", "--source", source];
    view.args(options).stdin(stdin).stdout(Stdio::piped()).spawn().unwrap()
}

fn view() -> Command {
    Command::new(program("leco-tui"))
}

fn known(view: Child) -> Vec<Value> {
    let output = view.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_time_namespace_changes_nothing() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), tempfile::tempdir().unwrap());
    for (name, mut command) in
        [("near", Command::new(program("leco-event-pipe"))), ("far", ten_days_ahead("leco-event-pipe"))]
    {
        // Two readers of one ring would share what comes: one after the other.
        let socket = folder.path().join(name);
        command.arg("--pin").arg(kernel.pins()).args(["-E", "-o"]).arg(format!("unix:{}", socket.display()));
        let pipe = EventPipe::spawn(command);
        let reader = LineReader::new(wait_for("the socket", || UnixStream::connect(&socket).ok()));
        let port = send(&netns, name);
        let all = until_port(&reader, port);
        assert!(is_told_first(&all), "{name}: {all:#?}");
        let line = all.last().unwrap()["line"].as_str().unwrap().to_owned();
        assert!(!line.trim_start().starts_with('-'), "it is of today: {line}");
        for (name, view) in [("near", view()), ("far", ten_days_ahead("leco-tui"))] {
            let before = boot_ns();
            let shown = known(once(view, &format!("unix:{}", socket.display()), Stdio::null()));
            let after = boot_ns();
            assert!(!shown.is_empty());
            for line in shown {
                let then = line["ns_trx"].as_u64().unwrap();
                let age = line["age"].as_f64().unwrap();
                // Others make connections meanwhile.
                let since = |moment: u64| moment.saturating_sub(then) as f64 / 1e9;
                let (least, most) = (since(before), since(after));
                assert!(age > least - 1.0 && age < most + 1.0, "{name}: {age} of {least} to {most}");
            }
        }
        drop(pipe);
    }
}

/// Another machine: what the pipe here says, as it would say it there.
struct Host {
    boot: String,
    name: String,
    /// Its boot clock minus ours.
    ahead: i64,
    template: Value,
    is_told: bool,
    /// Whether each event says of which boot it is.
    says_boot: bool,
}

impl Host {
    fn new(template: &Value, number: u32, ahead: i64) -> Self {
        Self {
            boot: format!("{number:08x}-1c1c-4c4c-8c8c-0123456789ab"),
            name: format!("host-{number}"),
            ahead,
            template: template.clone(),
            is_told: false,
            says_boot: true,
        }
    }

    /// An event so many seconds old, of a connection a second older.
    fn event(&mut self, line: &str, age: u64) -> String {
        let now = Now::read();
        let clock = now.boot.checked_add_signed(self.ahead).unwrap();
        let then = clock - age * SECOND;
        let mut event = self.template.clone();
        event["line"] = format!("18:32 :: me :: {line} :: 192.0.2.1 443 :: ").into();
        (event["ns"], event["ns_trx"]) = ((then - SECOND).into(), then.into());
        let fields = event.as_object_mut().unwrap();
        for other in ["clock", "boot", "key", "host"] {
            fields.remove(other);
        }
        if self.says_boot {
            event["boot"] = self.boot[..8].into();
        }
        if !std::mem::replace(&mut self.is_told, true) {
            event["clock"] = json!({"boot": self.boot, "host": self.name, "ns": clock, "wall": now.wall});
        }
        event.to_string() + "\n"
    }
}

/// An event as the pipe writes it.
fn template() -> Value {
    let (kernel, netns) = (Kernel::load(&[]), Netns::new());
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins());
    let pipe = EventPipe::spawn(command);
    let port = send(&netns, "template");
    until_port(&pipe.stdout, port).pop().unwrap()
}

/// Ages as they were told, by process, the oldest first.
fn ages(lines: &[Value]) -> Vec<(String, f64)> {
    let process = |line: &Value| line["line"].as_str().unwrap().split(" :: ").nth(2).unwrap().to_owned();
    lines.iter().map(|line| (process(line), line["age"].as_f64().unwrap())).collect()
}

fn assert_ages(lines: &[Value], truth: &[(&str, u64)], what: &str) {
    let told = ages(lines);
    assert_eq!(told.len(), truth.len(), "{what}: {told:?}");
    for ((name, age), (wanted, truth)) in told.iter().zip(truth) {
        // Between writing and asking some time passes.
        let late = age - *truth as f64;
        assert!(name == wanted && (-0.1..5.0).contains(&late), "{what}: {told:?} for {truth:?}");
    }
    // What was written at once is as old by the same: right to a second.
    let late: Vec<f64> = told.iter().zip(truth).map(|((_, age), (_, truth))| age - *truth as f64).collect();
    let spread =
        late.iter().copied().fold(f64::MIN, f64::max) - late.iter().copied().fold(f64::MAX, f64::min);
    assert!(spread < 1.0, "{what}: {told:?} for {truth:?}");
}

/// Two hosts, one of which is started again between, whose clocks are ten days apart: events for one stream each, and
/// the ages of all of them.
fn hosts(template: &Value) -> ([String; 2], [(&'static str, u64); 6]) {
    let young = |up: u64| -> i64 { up.cast_signed() - boot_ns().cast_signed() };
    let mut old = Host::new(template, 1, DAYS.cast_signed());
    let mut before = Host::new(template, 2, 2 * DAYS.cast_signed());
    let mut after = Host::new(template, 3, young(2000 * SECOND));
    let first = old.event("first", 14_390) + &old.event("second", 3600) + &old.event("third", 30);
    let second = before.event("lost", 7200) + &after.event("start", 1990) + &after.event("now", 0);
    let truth =
        [("first", 14_390), ("lost", 7200), ("second", 3600), ("start", 1990), ("third", 30), ("now", 0)];
    ([first, second], truth)
}

#[test]
fn whatever_brings_them_events_of_other_machines_are_as_old_as_they_are() {
    if !can_test_the_kernel() {
        return;
    }
    let (template, folder) = (template(), tempfile::tempdir().unwrap());
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    for is_joined in [false, true] {
        let ([first, second], truth) = hosts(&template);
        let streams = if is_joined { vec![first + &second] } else { vec![first, second] };
        // On one stream, or on one each.
        let all = streams.concat();
        let mut stdin = once(view(), "-", Stdio::piped());
        stdin.stdin.take().unwrap().write_all(all.as_bytes()).unwrap();
        assert_ages(&known(stdin), &truth, "standard input");

        let mut several = view();
        for (number, stream) in streams.iter().enumerate() {
            let name = path(&format!("file-{number}"));
            fs::write(&name, stream).unwrap();
            several.args(["--source", &format!("file:{}", name.display())]);
        }
        let fifo = path("fifo");
        assert!(fifo.exists() || Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let reading = once(several, &format!("fifo:{}", fifo.display()), Stdio::null());
        let mut writer = OpenOptions::new().write(true).open(&fifo).unwrap();
        writer.write_all(all.as_bytes()).unwrap();
        drop(writer);
        assert_ages(&known(reading), &truth, "files and a fifo, of which each tells the same");

        let socket = path(&format!("socket-{is_joined}"));
        let listener = UnixListener::bind(&socket).unwrap();
        let reading = once(view(), &format!("unix:{}", socket.display()), Stdio::null());
        let mut stream = listener.accept().unwrap().0;
        stream.write_all(all.as_bytes()).unwrap();
        assert_ages(&known(reading), &truth, "a socket");
    }
}

#[test]
fn three_hosts_on_one_port_for_datagrams_are_told_apart() {
    if !can_test_the_kernel() {
        return;
    }
    let template = template();
    for says_boot in [true, false] {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let reading = once(view(), &format!("udp:127.0.0.1:{port}"), Stdio::null());
        let senders: Vec<_> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for sender in &senders {
            sender.connect(("127.0.0.1", port)).unwrap();
        }
        let up = [
            DAYS.cast_signed(),
            30 * DAYS.cast_signed(),
            (90 * SECOND).cast_signed() - boot_ns().cast_signed(),
        ];
        let mut hosts: Vec<_> =
            (1..).zip(up).map(|(number, ahead)| Host::new(&template, number, ahead)).collect();
        for host in &mut hosts {
            host.says_boot = says_boot;
        }
        // It hears as soon as nobody is refused.
        wait_for("it to listen", || {
            senders[0].send(b"\n").ok()?;
            std::thread::yield_now();
            senders[0].send(b"\n").ok()
        });
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        let mut truth = Vec::new();
        for (at, name) in (0..).zip(names) {
            let age = 80 - 10 * at;
            let host = usize::try_from(at % 3).unwrap();
            senders[host].send(hosts[host].event(name, age).as_bytes()).unwrap();
            truth.push((name, age));
        }
        let lines = known(reading);
        assert_ages(&lines, &truth, "datagrams");
        for (at, line) in lines.iter().enumerate() {
            assert_eq!(line["host"], format!("host-{}", at % 3 + 1));
        }
    }
}

#[test]
fn without_clocks_a_younger_machine_is_shown_and_an_older_one_fades() {
    // Nobody knows more of such a stream than that its newest event is from now.
    let event = |ns: u64, name: &str| {
        json!({"ns": ns, "ns_trx": ns, "line": format!("18:32 :: me :: {name} :: 192.0.2.1 443 :: ")})
            .to_string()
            + "\n"
    };
    let now = boot_ns();
    for (what, begin) in [("older", now + DAYS), ("of now", now - 60 * SECOND)] {
        let mut reading = once(view(), "-", Stdio::piped());
        let lines = event(begin, "first")
            + &event(begin + 30 * SECOND, "second")
            + &event(begin + 60 * SECOND, "third");
        reading.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert_ages(&known(reading), &[("first", 60), ("second", 30), ("third", 0)], what);
    }
}

fn replayed(recording: &Path) -> String {
    format!("{} --replay {}", program("leco-tui").display(), recording.display())
}

#[test]
fn the_view_says_how_long_ago_it_was_and_a_recording_is_played_on_one_clock() {
    if !can_test_the_kernel() || !can_use_tmux() {
        return;
    }
    let (template, folder) = (template(), tempfile::tempdir().unwrap());
    let ([first, second], _) = hosts(&template);
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let command = format!("{} --source unix:{}", program("leco-tui").display(), socket.display());
    let terminal = Tmux::start(100, 24, &command);
    let mut stream = listener.accept().unwrap().0;
    stream.write_all((first.clone() + &second).as_bytes()).unwrap();
    terminal.wait_for("the newest", |screen| screen.contains("  now  ") && screen.contains("host-3#"));
    // What has faded is listed, too, in the order in which it was.
    terminal.type_keys("s");
    let screen = terminal.wait_for("the list", |screen| screen.contains("by last seen"));
    let order = ["  now  ", "  third  ", "  start  ", "  second  ", "  lost  ", "  first  "];
    let places: Vec<_> = order.iter().map(|name| screen.find(name)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{screen}");
    for (name, ago) in [("lost", "2h ago"), ("second", "1h ago"), ("start", "33m ago")] {
        terminal.type_keys("/");
        terminal.type_text(name);
        let selected = |screen: &str| screen.lines().any(|line| line.starts_with('>') && line.contains(name));
        terminal.wait_for("what was looked for", selected);
        terminal.type_keys("Enter");
        terminal.type_keys("Enter");
        let told = |screen: &str| {
            let line = screen.lines().find(|line| line.starts_with(" last seen"));
            line.is_some_and(|line| line.contains(ago))
        };
        let screen = terminal.wait_for(ago, told);
        assert!(screen.lines().any(|line| line.contains("first seen") && line.contains(ago)), "{screen}");
        terminal.type_keys("Escape");
        terminal.type_keys("Escape");
    }
    // 14,390 s lie between the first event and the last, by whichever clock they came.
    let recording = folder.path().join("recording");
    fs::write(&recording, first + &second).unwrap();
    let terminal = Tmux::start(100, 12, &replayed(&recording));
    terminal.wait_for("how long it is", |screen| screen.contains(" / 239:50 "));
}

#[test]
fn every_form_of_tz_shows_the_time_that_date_does() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns) = (Kernel::load(&[]), Netns::new());
    let dump = |zone: Option<&str>| {
        let mut command = Command::new(program("leco-event-pipe"));
        command.arg("--pin").arg(kernel.pins()).arg("-C").env("LECO_MEMORY", "off").env_remove("TZ");
        let output = command.envs(zone.map(|zone| ("TZ", zone))).output().unwrap();
        assert!(output.status.success());
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    send(&netns, "zone");
    let first = |text: &str| -> Value { serde_json::from_str(text.lines().next().unwrap()).unwrap() };
    wait_for("an event", || (!dump(None).0.is_empty()).then_some(()));
    let event = first(&dump(None).0);
    let age = event["clock"]["ns"].as_i64().unwrap() - event["ns"].as_i64().unwrap();
    let then =
        format!("@{}", (event["clock"]["wall"].as_i64().unwrap() - age).div_euclid(SECOND.cast_signed()));
    let date = |zone: Option<&str>| {
        let mut command = Command::new("date");
        let output =
            command.args(["-d", &then, "+%H:%M"]).env_remove("TZ").envs(zone.map(|zone| ("TZ", zone)));
        String::from_utf8(output.output().unwrap().stdout).unwrap().trim().to_owned()
    };
    let mut zones =
        vec!["", ":", "UTC", "CET-1CEST,M3.5.0,M10.5.0/3", ":ABC-5:45", "<+0545>-5:45", "EST5EDT", "EST5"];
    if Path::new("/usr/share/zoneinfo/Europe/Paris").exists() {
        zones.extend([
            "Europe/Paris",
            ":Europe/Paris",
            "/usr/share/zoneinfo/Asia/Kathmandu",
            ":/usr/share/zoneinfo/Asia/Tokyo",
        ]);
        zones.extend(["America/St_Johns", "Australia/Lord_Howe", "CET"]);
    }
    for zone in std::iter::once(None).chain(zones.into_iter().map(Some)) {
        let (out, err) = dump(zone);
        let line = first(&out)["line"].as_str().unwrap().to_owned();
        assert!(line.starts_with(&format!("{} :: ", date(zone))), "TZ={zone:?}: {line}, {}", date(zone));
        assert_eq!(err, "");
    }
    let (out, err) = dump(Some("Europe/Pariss"));
    assert!(first(&out)["line"].as_str().unwrap().starts_with(&date(Some("UTC"))));
    assert_eq!(err.matches("TZ=Europe/Pariss is not a known time zone").count(), 1, "{err}");

    // While it runs it cannot read the zone's file any more.
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins()).env("TZ", "Asia/Kathmandu");
    let pipe = EventPipe::spawn(command);
    let port = send(&netns, "zoned");
    let zone =
        if Path::new("/usr/share/zoneinfo/Asia/Kathmandu").exists() { "Asia/Kathmandu" } else { "UTC" };
    let clock = || {
        let output = Command::new("date").arg("+%H:%M").env("TZ", zone).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let before = clock();
    let all = until_port(&pipe.stdout, port);
    let line = all.last().unwrap()["line"].as_str().unwrap().to_owned();
    assert!([before, clock()].iter().any(|time| line.starts_with(&**time)), "{line}");
}
