// SPDX-License-Identifier: GPL-3.0-or-later
//! The pipe with receivers, a service manager, containers, a resolver and a memory, all of them real.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use leco_e2e::{
    EventPipe, FAR_V4, Kernel, LineReader, NameServer, Netns, Peer, can_test_the_kernel, program, wait_for,
    wait_or_explain,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;
use serde_json::{Value, json};

const UID: u32 = 54321;

/// A process that sends a datagram from the near end, and to which port.
fn send(netns: &Netns, name: &[u8]) -> (u32, u16) {
    let socket = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let remote: SocketAddr = socket.local_addr().unwrap();
    let peer = Peer::start(netns, UID, name, &["udp", &remote.to_string(), "send", "9"]);
    let pid = peer.id();
    peer.finish();
    (pid, remote.port())
}

fn connect(socket: &Path) -> LineReader {
    let what = || format!("a socket at {}", socket.display());
    LineReader::new(wait_or_explain(what, || UnixStream::connect(socket).ok()))
}

/// The event of this port, once it was read.
fn of_port(reader: &LineReader, port: u16) -> Value {
    wait_or_explain(
        || format!("port {port} in {:#?}", reader.lines()),
        || {
            let lines = reader.lines();
            let mut events = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
            events.rfind(|event| event["rport"] == port)
        },
    )
}

fn holds_port(reader: &LineReader, port: u16) -> bool {
    reader.lines().iter().any(|line| line.contains(&format!("\"rport\":{port},")))
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// An output or source there.
    fn spec(&self, kind: &str, name: &str) -> String {
        format!("{kind}:{}", self.path(name).display())
    }
}

#[test]
fn every_receiver_gets_what_it_asked_for() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), Folder::new());
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let free_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outputs = [
        folder.spec("unix", "all"),
        folder.spec("unix", "chosen") + "?filter=/ chosen / -/ other /",
        folder.spec("unix", "first") + "?share=1/2",
        folder.spec("unix", "second") + "?share=2/2",
        format!("tcp:{free_port}"),
        format!("udp:{}", datagrams.local_addr().unwrap()),
    ];
    let mut arguments: Vec<&str> = outputs.iter().flat_map(|output| ["-o", output]).collect();
    let recording = folder.path("recording");
    arguments.extend(["--record", recording.to_str().unwrap()]);
    let mut pipe = EventPipe::start(kernel.pins(), &arguments);
    let [all, chosen, first, second] =
        ["all", "chosen", "first", "second"].map(|name| connect(&folder.path(name)));
    let mut view = Command::new(program("leco-tui"));
    view.args(["-d", "--source", &format!("tcp:{free_port}")]).env("LECO_CONFIG", "");
    let mut view = view.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let shown = LineReader::new(view.stdout.take().unwrap());

    let (_, chosen_port) = send(&netns, b"chosen");
    let others: Vec<u16> = (0..20).map(|_| send(&netns, b"other").1).collect();
    let last = *others.last().unwrap();
    for port in others.iter().chain([&chosen_port]) {
        let _ = of_port(&all, *port);
        wait_for("its share", || (holds_port(&first, *port) || holds_port(&second, *port)).then_some(()));
        assert!(!(holds_port(&first, *port) && holds_port(&second, *port)), "{port} in both shares");
    }
    let _ = of_port(&chosen, chosen_port);
    assert!(!holds_port(&chosen, last));
    wait_for("it to be shown over TCP", || {
        shown.lines().iter().any(|line| line.contains(&format!(" {last}/udp "))).then_some(())
    });
    let mut datagram = [0; 2000];
    while !String::from_utf8_lossy(&datagram).contains(&format!("\"rport\":{last},")) {
        datagrams.set_read_timeout(Some(leco_e2e::DEADLINE)).unwrap();
        assert!(datagrams.recv(&mut datagram).unwrap() <= 1400);
    }
    view.kill().unwrap();
    view.wait().unwrap();

    // Rotated as logs are.
    wait_for("the recording", || fs::read_to_string(&recording).unwrap().contains("other").then_some(()));
    fs::rename(&recording, folder.path("old")).unwrap();
    pipe.signal(Signal::HUP);
    let (_, port) = send(&netns, b"later");
    wait_for("the new recording", || fs::read_to_string(&recording).ok()?.contains("later").then_some(()));
    assert!(!fs::read_to_string(folder.path("old")).unwrap().contains("later"));
    let _ = of_port(&all, port);

    // What a recording holds, a view shows.
    let mut replay = Command::new(program("leco-tui"));
    replay.args(["--once", "--source", &folder.spec("file", "old")]);
    let replayed = String::from_utf8(replay.output().unwrap().stdout).unwrap();
    assert!(replayed.contains(&format!(" {last}/udp ")), "{replayed}");

    pipe.signal(Signal::TERM);
    assert!(pipe.wait().success());
    for name in ["all", "chosen", "first", "second"] {
        assert!(!folder.path(name).exists(), "the socket {name} stays behind");
    }
}

#[test]
fn a_stalled_reader_is_told_the_end_of_it_all_and_ends_nothing() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&["--update-interval", "0"]), Netns::new(), Folder::new());
    let mut pipe = EventPipe::start(kernel.pins(), &["-o", &folder.spec("unix", "socket")]);
    let healthy = connect(&folder.path("socket"));
    let stalled = UnixStream::connect(folder.path("socket")).unwrap();
    let killed = UnixStream::connect(folder.path("socket")).unwrap();
    // More than a socket's buffer holds, of one connection.
    let socket = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let remote = socket.local_addr().unwrap();
    let address = remote.to_string();
    let mut steps = vec!["udp", &address];
    steps.extend(["send", "10"].repeat(2000));
    Peer::start(&netns, UID, b"busy", &steps).finish();
    drop(killed);
    let (_, last) = send(&netns, b"last");
    let truth = wait_for("the last bytes", || {
        Some(of_port(&healthy, remote.port())).filter(|event| event["tx"] == 20_000)
    });
    let _ = of_port(&healthy, last);
    // What is queued is still sent when it is asked to end; whoever does not listen holds it up for a second at most.
    let unread = UnixStream::connect(folder.path("socket")).unwrap();
    pipe.signal(Signal::TERM);
    let stalled = LineReader::new(stalled);
    assert!(pipe.wait().success());
    let told = wait_for("the truth", || {
        Some(of_port(&stalled, remote.port())).filter(|event| event["tx"] == 20_000)
    });
    assert_eq!(told["line"], truth["line"]);
    assert_eq!(of_port(&stalled, last)["tx"], 9);
    drop(unread);
}

#[test]
fn a_reader_stays_where_another_leaves_while_outputs_are_reopened() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), Folder::new());
    let [fifo, socket] = ["fifo", "socket"].map(|name| folder.path(name));
    let outputs = [format!("fifo:{}", fifo.display()), format!("unix:{}", socket.display())];
    let pipe = EventPipe::start(kernel.pins(), &["-o", "-", "-o", &outputs[0], "-o", &outputs[1]]);
    let leaving = wait_for("a socket", || UnixStream::connect(&socket).ok());
    let staying = connect(&socket);
    let reader = LineReader::new(fs::File::open(&fifo).unwrap());
    let (_, port) = send(&netns, b"before");
    of_port(&staying, port);
    of_port(&reader, port);
    // All of it is found at once.
    pipe.signal(Signal::STOP);
    fs::remove_file(&fifo).unwrap();
    drop(leaving);
    pipe.signal(Signal::HUP);
    pipe.signal(Signal::CONT);
    wait_for("another fifo", || fs::metadata(&fifo).ok());
    let (_, port) = send(&netns, b"after");
    of_port(&staying, port);
}

/// What systemd does for a service with a socket: passes it, hears that it is ready, and that it lives.
#[test]
fn a_service_manager_passes_a_socket_and_is_told_how_the_pipe_is_doing() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), Folder::new());
    let listener = UnixListener::bind(folder.path("socket")).unwrap();
    let notify = UnixDatagram::bind(folder.path("notify")).unwrap();
    notify.set_read_timeout(Some(leco_e2e::DEADLINE)).unwrap();
    let heard = || {
        let mut message = [0; 4096];
        let size = notify.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..size]).trim().to_owned()
    };
    let start = || {
        let mut command = Command::new("sh");
        // Standard input becomes the first descriptor that is passed (sd_listen_fds(3)).
        let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$@\"";
        command.args(["-c", script, "sh"]).arg(program("leco-event-pipe"));
        command.arg("--pin").arg(kernel.pins()).args(["-E", "-o", "fd:leco"]);
        command.envs([("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "leco"), ("WATCHDOG_USEC", "200000")]);
        command.env("NOTIFY_SOCKET", folder.path("notify")).env("LECO_MEMORY", "off");
        command.stdin(OwnedFd::from(listener.try_clone().unwrap())).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    for _ in 0..2 {
        // A reader that comes while the service is down waits at the socket, which stays.
        let reader = connect(&folder.path("socket"));
        let mut pipe = start();
        assert_eq!(heard(), "READY=1");
        let (_, port) = send(&netns, b"passed");
        let _ = of_port(&reader, port);
        for _ in 0..3 {
            assert_eq!(heard(), "WATCHDOG=1");
        }
        let pid = rustix::process::Pid::from_child(&pipe);
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        assert!(pipe.wait().unwrap().success());
        while heard() != "STOPPING=1" {}
    }
}

#[test]
fn a_container_keeps_its_name_after_its_end() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), Folder::new());
    let root = leco_bpf::load::cgroup2::root().unwrap();
    let slice = root.join(format!("leco-test-{}.slice", std::process::id()));
    let id = "0123456789abcdef".repeat(4);
    let container = slice.join(format!("docker-{id}.scope"));
    let pipe = EventPipe::start(kernel.pins(), &["-o", &folder.spec("unix", "socket")]);
    let first = connect(&folder.path("socket"));
    // Made after the pipe began, as most containers are.
    fs::create_dir_all(&container).unwrap();
    let socket = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let remote = socket.local_addr().unwrap();
    let peer = Peer::start(&netns, UID, b"inside", &["hold", "udp", &remote.to_string(), "send", "9"]);
    fs::write(container.join("cgroup.procs"), peer.id().to_string()).unwrap();
    peer.finish();
    wait_for("the container to be empty", || fs::remove_dir(&container).ok());
    fs::remove_dir(&slice).unwrap();
    let _ = of_port(&first, remote.port());
    let later = connect(&folder.path("socket"));
    let event = of_port(&later, remote.port());
    assert_eq!(event["container"], "docker:0123456789ab");
    assert_eq!(event["unit"], format!("docker-{id}.scope"));
    let line = event["line"].as_str().unwrap();
    assert!(line.contains(" :: inside [docker-0123456789ab+] :: "), "{line}");
    drop(pipe);
}

/// Starts a pipe that remembers in this file.
fn remembering(kernel: &Kernel, memory: &Path) -> EventPipe {
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins()).arg("-E").env("LECO_MEMORY", memory).env("LECO_LEARN", "off");
    EventPipe::spawn(command)
}

fn seen(memory: &Path, options: &[&str]) -> String {
    let mut command = Command::new(program("leco-event-pipe"));
    let output = command.arg("--seen").args(options).env("LECO_MEMORY", memory).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_was_seen_is_known_after_a_kill() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), Folder::new());
    let memory = folder.path("state/seen.sqlite");
    let mut pipe = remembering(&kernel, &memory);
    let (pid, port) = send(&netns, b"familiar");
    assert_eq!(pipe.latest(pid, &json!({"rport": port}))["new"], true);
    wait_for("it to be written", || seen(&memory, &[]).contains("familiar").then_some(()));
    pipe.signal(Signal::KILL);
    pipe.wait();

    let pipe = remembering(&kernel, &memory);
    let (pid, port) = send(&netns, b"familiar");
    assert_eq!(pipe.latest(pid, &json!({"rport": port})).get("new"), None);
    let (pid, port) = send(&netns, b"stranger");
    assert_eq!(pipe.latest(pid, &json!({"rport": port}))["new"], true);
    wait_for("it to be written", || seen(&memory, &[]).contains("stranger").then_some(()));
    let listed = seen(&memory, &["--json", "--filter", "/stranger/", "--since", "1h"]);
    let pair: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&pair["program"], &pair["uid"], &pair["peer"]),
        (&"stranger".into(), &UID.into(), &"10.83.1.0/24".into())
    );
}

#[test]
fn a_pipe_that_ends_saves_what_was_seen_and_sends_what_was_held_back() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), Folder::new());
    let memory = folder.path("state/seen.sqlite");
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins()).env("LECO_MEMORY", &memory).env("LECO_LEARN", "off");
    let mut pipe = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(pipe.stdout.take().unwrap()).lines();
    let (_, port) = send(&netns, b"read");
    assert!(reader.any(|line| line.unwrap().contains(&format!(" {port}/udp"))));
    drop(reader);
    let ended = wait_for("the pipe to end without a reader", || pipe.try_wait().unwrap());
    assert!(ended.success() && seen(&memory, &[]).contains(":: read ::"), "{ended} {}", seen(&memory, &[]));

    let recording = folder.path("held.jsonl");
    let output = format!("file:{}?rate-limit=1h", recording.display());
    let mut pipe = EventPipe::start(kernel.pins(), &["-o", "-", "-o", &output]);
    let (pid, _) = send(&netns, b"held");
    let last = pipe.latest(pid, &json!({"state": "closed"}));
    pipe.signal(Signal::TERM);
    pipe.wait();
    let lines = fs::read_to_string(recording).unwrap();
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let states: Vec<_> =
        events.filter(|event| event["ns"] == last["ns"]).map(|event| event["state"].clone()).collect();
    assert_eq!(states.last(), Some(&last["state"]), "{states:?}");
}

/// Connections and bytes sent of a program, as they were saved; as the kernel side has them.
fn counted(memory: &Path, program_name: &str) -> Option<(u64, u64)> {
    let mut command = Command::new(program("leco-event-pipe"));
    let filter = format!("proc:{program_name}");
    let command = command.args(["--history", "--json", "--filter", &filter]).env("LECO_MEMORY", memory);
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let row: Value = serde_json::from_str(output.lines().next()?).unwrap();
    assert_eq!((&row["program"], output.lines().count()), (&program_name.into(), 1));
    Some((row["connections"].as_u64()?, row["tx"].as_u64()?))
}

fn counted_by_the_kernel_side(kernel: &Kernel, program_name: &str) -> (u64, u64) {
    let mut command = Command::new(program("leco-event-pipe"));
    let command = command.arg("--pin").arg(kernel.pins()).args(["-C", "-E"]).env("LECO_MEMORY", "off");
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let events = output.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let sent: Vec<u64> = events
        .filter(|event| event["comm"] == program_name)
        .map(|event| event["tx"].as_u64().unwrap())
        .collect();
    (sent.len() as u64, sent.iter().sum())
}

#[test]
fn totals_are_what_the_kernel_side_counted_after_a_kill() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), Folder::new());
    let memory = folder.path("state/seen.sqlite");
    let mut pipe = remembering(&kernel, &memory);
    for _ in 0..3 {
        send(&netns, b"counted");
    }
    let is_counted = |connections: u64| {
        wait_or_explain(
            || format!("{:?}", counted(&memory, "counted")),
            || {
                let kernels = counted_by_the_kernel_side(&kernel, "counted");
                (kernels.0 == connections && counted(&memory, "counted") == Some(kernels)).then_some(())
            },
        );
    };
    is_counted(3);
    send(&netns, b"counted");
    pipe.signal(Signal::KILL);
    pipe.wait();
    send(&netns, b"counted");
    let mut pipe = remembering(&kernel, &memory);
    is_counted(5);
    pipe.signal(Signal::TERM);
    pipe.wait();
    let _pipe = remembering(&kernel, &memory);
    send(&netns, b"counted");
    is_counted(6);
}

#[test]
fn a_full_disk_is_told_once_and_ends_nothing() {
    const COMPLAINT: &str = "database or disk is full. History is saved once this is fixed.";
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), Folder::new());
    mount("tmpfs", folder.0.path(), "tmpfs", MountFlags::empty(), Some(c"size=256k")).unwrap();
    let pipe = remembering(&kernel, &folder.path("seen.sqlite"));
    let (pid, port) = send(&netns, b"first");
    let _ = pipe.latest(pid, &json!({"rport": port}));
    wait_for("a first row", || seen(&folder.path("seen.sqlite"), &[]).contains("first").then_some(()));
    // Whatever still fits is filled.
    let mut filler = fs::File::create(folder.path("filler")).unwrap();
    while filler.write_all(&[0; 512]).is_ok() {}
    for round in 0..2 {
        let names: Vec<String> = (0..50).map(|number| format!("full-{round}-{number}")).collect();
        for name in &names {
            let (pid, port) = send(&netns, name.as_bytes());
            let _ = pipe.latest(pid, &json!({"rport": port, "new": true}));
        }
        wait_or_explain(
            || format!("a complaint: {:?}", pipe.stderr.lines()),
            || pipe.stderr.lines().iter().any(|line| line.contains(COMPLAINT)).then_some(()),
        );
    }
    drop(filler);
    fs::remove_file(folder.path("filler")).unwrap();
    let (pid, port) = send(&netns, b"after");
    let _ = pipe.latest(pid, &json!({"rport": port}));
    // What there was no room for is saved as well.
    let saved = ["first", "full-0-0", "full-1-49", "after"];
    wait_for("it to go on", || {
        let seen = seen(&folder.path("seen.sqlite"), &[]);
        saved.iter().all(|name| seen.contains(name)).then_some(())
    });
    let said = pipe.stderr.lines();
    assert_eq!(said.iter().filter(|line| line.contains(COMPLAINT)).count(), 1, "{said:#?}");
    drop(pipe);
    unmount(folder.0.path(), UnmountFlags::empty()).unwrap();
}

#[test]
fn the_systems_resolver_is_asked_once_for_an_address_and_that_is_not_shown() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns) = (Kernel::load(&[]), Netns::new());
    let server = NameServer::start(&netns, &[&format!("--host-record=far.test,{FAR_V4}")]);
    let mut command = netns.near_command("unshare");
    let script = format!("{} && exec \"$@\"", server.as_resolver());
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins()).args(["-E", "-c", "reverse-dns=1"]);
    let pipe = EventPipe::spawn(command);
    for _ in 0..3 {
        let (pid, port) = send(&netns, b"nameless");
        let event = pipe.latest(pid, &json!({"rport": port, "name_src": "reverse"}));
        assert_eq!(event["name"], "far.test");
    }
    // Its peer, the name server, has an address without a name, which is asked for as well.
    let asked = server.queries();
    let of_far: Vec<_> = asked.iter().filter(|line| line.contains(" 2.1.83.10.in-addr.arpa ")).collect();
    assert_eq!(of_far.len(), 1, "{asked:#?}");
    assert!(asked.iter().all(|line| line.contains("query[PTR] ")), "{asked:#?}");
    // Nor would anybody want to see what came of it.
    assert!(pipe.events().iter().all(|event| event["pid"] != pipe.id()), "{:#?}", pipe.events());
}

/// A reader may say what it likes, nobody is waited for, and what is in the way is named.
#[test]
fn garbage_from_readers_and_files_in_the_way() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), Folder::new());
    let pipe = EventPipe::start(kernel.pins(), &["-o", &folder.spec("unix", "socket")]);
    let good = connect(&folder.path("socket"));
    let mut bad = UnixStream::connect(folder.path("socket")).unwrap();
    bad.set_nonblocking(true).unwrap();
    // Until nobody takes more of it: nothing here reads it.
    while bad.write_all(&[0xff; 4096]).is_ok() {}
    let (_, port) = send(&netns, b"fine");
    let _ = of_port(&good, port);
    bad.set_nonblocking(false).unwrap();
    let mut lines = BufReader::new(bad).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(&format!("\"rport\":{port},"))));
    drop(pipe);

    fs::write(folder.path("file"), "precious").unwrap();
    fs::set_permissions(folder.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (output, words) in [
        (folder.spec("unix", "file"), ", not a socket"),
        (folder.spec("unix", "none/socket"), "No such file or directory"),
        ("tcp:0.0.0.0:0".into(), "token-file"),
        ("fd:leco".into(), "no socket named leco was passed"),
        ("http:x".into(), "unknown kind http"),
    ] {
        let mut command = Command::new(program("leco-event-pipe"));
        let output = command.arg("--pin").arg(kernel.pins()).args(["-o", &output]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{said}");
    }
    assert_eq!(fs::read_to_string(folder.path("file")).unwrap(), "precious");
}

/// Whoever can change a recording's folder cannot lead the pipe out of it, not even one of root's.
#[test]
fn the_pipe_gives_up_what_it_does_not_need() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns) = (Kernel::load(&[]), Netns::new());
    for sandbox in [true, false] {
        let folder = Folder::new();
        let (mine, others) = (folder.path("mine"), folder.path("others"));
        fs::create_dir(&mine).unwrap();
        fs::create_dir(&others).unwrap();
        let (recording, secret) = (mine.join("events"), others.join("secret"));
        fs::write(&secret, "").unwrap();
        let output = format!("file:{}", recording.display());
        let conf = format!("sandbox={} memory=off", u8::from(sandbox));
        let pipe = EventPipe::start(kernel.pins(), &["-o", "-", "-o", &output, "-c", &conf]);
        let holds = |file: &Path, port: u16| {
            fs::read_to_string(file).unwrap_or_default().contains(&format!("\"rport\":{port},"))
        };
        let (pid, port) = send(&netns, b"leco-one");
        let _ = pipe.latest(pid, &json!({"rport": port}));
        wait_for("the recording", || holds(&recording, port).then_some(()));
        let status = fs::read_to_string(format!("/proc/{}/status", pipe.id())).unwrap();
        assert_eq!(status.contains("\nSeccomp:\t2\n") && status.contains("\nNoNewPrivs:\t1\n"), sandbox);

        fs::remove_file(&recording).unwrap();
        std::os::unix::fs::symlink(&secret, &recording).unwrap();
        pipe.signal(Signal::HUP);
        let (pid, port) = send(&netns, b"leco-two");
        let _ = pipe.latest(pid, &json!({"rport": port}));
        fs::remove_file(&recording).unwrap();
        pipe.signal(Signal::HUP);
        // What opens the file anew has dealt with everything before.
        wait_for("a recording", || recording.exists().then_some(()));
        assert_ne!(holds(&secret, port), sandbox, "the pipe wrote where it was led to");
        let (_, port) = send(&netns, b"leco-three");
        wait_for("the recording to go on", || holds(&recording, port).then_some(()));
    }
}
