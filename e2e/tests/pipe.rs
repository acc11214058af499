// SPDX-License-Identifier: GPL-3.0-or-later
//! The pipe as a process: replay, fifo, privileges, and what it says when something is wrong.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use leco_core::source::{Fifo, FifoState};
use leco_e2e::{
    EventPipe, FAR_V4, Kernel, Loader, NameServer, Netns, Peer, can_test_the_kernel, program,
    program_for_everybody, wait_for,
};
use rustix::process::Signal;
use serde_json::{Value, json};

const UID: u32 = 54321;

/// Sends a datagram to the far end; returns the process and the port.
fn make_connection(netns: &Netns) -> (u32, u16) {
    let socket = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let remote: SocketAddr = socket.local_addr().unwrap();
    let peer = Peer::start(netns, UID, b"leco-peer", &["udp", &remote.to_string(), "send", "9"]);
    let pid = peer.id();
    peer.finish();
    (pid, remote.port())
}

/// Reads a fifo until a line has this text.
fn wait_for_line(fifo: &mut Fifo, text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let start = std::time::Instant::now();
    while !lines.iter().any(|line| line.contains(text)) {
        let left = leco_e2e::DEADLINE
            .checked_sub(start.elapsed())
            .unwrap_or_else(|| panic!("no {text}: {lines:#?}"));
        fifo.wait(Some(left), |line| lines.push(String::from_utf8_lossy(line).into_owned())).unwrap();
    }
    lines
}

#[test]
fn a_killed_and_restarted_pipe_replays() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let netns = Netns::new();
    let mut pipe = EventPipe::start(kernel.pins(), &[]);
    let (pid, port) = make_connection(&netns);
    let before = pipe.latest(pid, &json!({"rport": port, "state": "closed"}));
    pipe.signal(Signal::KILL);
    pipe.wait();
    let (later, later_port) = make_connection(&netns);

    let pipe = EventPipe::start(kernel.pins(), &[]);
    let after = pipe.latest(pid, &json!({"rport": port}));
    assert_eq!(
        (&before["ns"], &before["ns_trx"], &before["line"]),
        (&after["ns"], &after["ns_trx"], &after["line"])
    );
    let _ = pipe.latest(later, &json!({"rport": later_port}));
    let order: Vec<u64> = pipe.events().iter().filter_map(|event| event["ns_trx"].as_u64()).collect();
    assert!(order.is_sorted(), "{order:?}");

    let dump = Command::new(program("leco-event-pipe"))
        .arg("-p")
        .arg(kernel.pins())
        .args(["-C", "-E"])
        .output()
        .unwrap();
    assert!(dump.status.success());
    let dumped: Vec<Value> = dump
        .stdout
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    assert!(dumped.iter().any(|event| event["pid"] == pid && event["rport"] == port), "{dumped:#?}");
}

#[test]
fn a_pipe_whose_programs_are_unloaded_says_so() {
    if !can_test_the_kernel() {
        return;
    }
    for options in [&["--unload"][..], &["--update-interval", "1s"]] {
        let loader = Loader::default();
        assert!(loader.run(&[]).status.success());
        let netns = Netns::new();
        let mut pipe = EventPipe::start(loader.pins(), &[]);
        let (pid, port) = make_connection(&netns);
        let _ = pipe.latest(pid, &json!({"rport": port}));
        assert!(loader.run(options).status.success());
        assert_eq!(pipe.wait().code(), Some(1));
        wait_for("its reason", || {
            let said = pipe.stderr.lines().join(" ");
            said.contains("were unloaded or replaced. Start leco-event-pipe again").then_some(())
        });
    }
}

#[test]
fn a_removed_and_remade_fifo_is_found_again() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leco.fifo");
    let mut reader = Fifo::follow(&path).unwrap();
    assert_eq!(reader.state(), &FifoState::Missing);
    let mut pipe = EventPipe::start(kernel.pins(), &["--fifo", path.to_str().unwrap()]);
    let (_, first) = make_connection(&netns);
    wait_for_line(&mut reader, &format!(" {first}/udp "));
    let made = fs::symlink_metadata(&path).unwrap();
    assert_eq!(made.mode() & 0o777, 0o600);

    fs::remove_file(&path).unwrap();
    // The pipe makes it again, and whoever reads the new one is told everything.
    wait_for("a new fifo", || fs::symlink_metadata(&path).ok().filter(|new| new.ino() != made.ino()));
    let (_, second) = make_connection(&netns);
    wait_for_line(&mut reader, &format!(" {second}/udp "));

    // A reader that comes later is told everything, too.
    drop(reader);
    let mut reader = Fifo::follow(&path).unwrap();
    let lines = wait_for_line(&mut reader, &format!(" {second}/udp "));
    assert!(lines.iter().any(|line| line.contains(&format!(" {first}/udp "))), "{lines:#?}");

    pipe.signal(Signal::TERM);
    assert!(pipe.wait().success());
    assert!(!path.exists(), "the pipe removes the fifo it made");
}

#[test]
fn a_fifo_that_was_there_stays_and_a_reader_that_never_reads_hurts_nobody() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&["--update-interval", "0"]);
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leco.fifo");
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let mut pipe = EventPipe::start(kernel.pins(), &["--fifo", path.to_str().unwrap()]);
    let mut stalled = Fifo::follow(&path).unwrap();

    // More events than a pipe's buffer holds, of few connections.
    let socket = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let remote = socket.local_addr().unwrap().to_string();
    let mut steps = vec!["udp", &remote];
    for _ in 0..1000 {
        steps.extend(["send", "10"]);
    }
    let peer = Peer::start(&netns, UID, b"busy", &steps);
    let pid = peer.id();
    peer.finish();
    let lines = wait_for_line(&mut stalled, "v 0B / 9.8K ^");
    let of_the_process = format!("\"pid\":{pid},\"uid\":{UID},\"comm\":\"busy\"");
    assert!(lines.iter().any(|line| line.contains(&of_the_process)), "{lines:#?}");

    pipe.signal(Signal::TERM);
    assert!(pipe.wait().success());
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_fifo(), "it was there before");
}

/// Starts a pipe as an ordinary user of the group.
fn unprivileged(pins: &Path, gid: u32) -> (tempfile::TempDir, Command) {
    let (folder, pipe) = program_for_everybody("leco-event-pipe");
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={UID}"),
        &format!("--regid={gid}"),
        "--clear-groups",
        "--no-new-privs",
        "--",
    ]);
    command.arg(pipe).arg("--pin").arg(pins).args(["-E", "-c", "conn-traffic-min=0"]);
    (folder, command)
}

#[test]
fn runs_unprivileged_when_given_the_pins_by_group() {
    const GID: u32 = 54322;
    if !can_test_the_kernel() {
        return;
    }
    // As systemd mounts it.
    let bpffs = Path::new("/sys/fs/bpf");
    let first = Loader::default();
    assert!(first.run(&[]).status.success());
    let mode = fs::metadata(bpffs).unwrap().permissions();
    fs::set_permissions(bpffs, fs::Permissions::from_mode(0o700)).unwrap();
    let kernel = Kernel::load(&["--group", &GID.to_string()]);
    let netns = Netns::new();
    {
        let (_folder, command) = unprivileged(kernel.pins(), GID);
        let pipe = EventPipe::spawn(command);
        let (pid, port) = make_connection(&netns);
        let _ = pipe.latest(pid, &json!({"rport": port, "tx": 9}));
    }
    let (_folder, mut command) = unprivileged(kernel.pins(), GID + 1);
    let refused = command.output().unwrap();
    // Not before it is unloaded, which takes back what the load opened.
    drop((kernel, first));
    fs::set_permissions(bpffs, mode).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("permission denied. Run leco-ebpf-load with --group"), "{said}");
}

#[test]
fn says_what_is_wrong_and_what_to_do() {
    if !can_test_the_kernel() {
        return;
    }
    let pipe = |arguments: &[&str]| {
        let output = Command::new(program("leco-event-pipe")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = pipe(&["-p", "/sys/fs/bpf/leco-nothing-here"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("nothing is loaded at /sys/fs/bpf/leco-nothing-here. Run: leco-ebpf-load"),
        "{said}"
    );
    let (_, said) = pipe(&["-p", "/tmp"]);
    assert!(said.contains("must be a directory below /sys/fs/bpf"), "{said}");

    let kernel = Kernel::load(&[]);
    let pins = kernel.pins().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let inside = |name: &str| folder.path().join(name);
    fs::write(inside("file"), "precious").unwrap();
    std::os::unix::fs::symlink(inside("file"), inside("link")).unwrap();
    for (name, words) in [
        ("file", "is a file, not a fifo"),
        ("link", "is a symbolic link, not a fifo"),
        ("none/fifo", "cannot watch"),
    ] {
        let (code, said) = pipe(&["-p", pins, "-f", inside(name).to_str().unwrap()]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(fs::read_to_string(inside("file")).unwrap(), "precious");
    let (code, said) = pipe(&["-p", pins, "-c", "cg-labl-cut=1"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("there is no tunable `cg-labl-cut`"), "{said}");

    // Programs of another version.
    let links = kernel.pins().join("links");
    let link = fs::read_dir(&links).unwrap().next().unwrap().unwrap().path();
    fs::rename(&link, links.join("send_length@v0_0_9-00000000-00000000")).unwrap();
    let (code, said) = pipe(&["-p", pins]);
    assert_eq!(code, Some(1));
    assert!(said.contains("are of version v0_0_9-00000000-00000000, and this pipe needs v"), "{said}");
}

#[test]
fn an_unwritable_folder_is_named() {
    const GID: u32 = 54322;
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&["--group", &GID.to_string()]);
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (_program, mut command) = unprivileged(kernel.pins(), GID);
    let output = command.arg("-f").arg(folder.path().join("fifo")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot create the fifo") && said.contains("Permission denied"), "{said}");
}

#[test]
fn a_reader_of_standard_output_that_leaves_ends_the_pipe_quietly() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&["--update-interval", "0"]);
    let netns = Netns::new();
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("-p").arg(kernel.pins()).env("LECO_MEMORY", "off");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    make_connection(&netns);
    let status = wait_for("the pipe to end", || child.try_wait().unwrap());
    let mut said = String::new();
    Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert!(status.success(), "{status} {said}");
    // At its start it says what it gave up.
    assert!(said.lines().all(|line| line.contains("sandbox: ")), "{said}");
}

/// A process that asks a real name server shows the name it asked for; LECO itself asks nobody.
#[test]
fn a_connection_has_the_name_that_its_process_asked_for() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&["--update-interval", "0"]);
    let netns = Netns::new();
    let pipe = EventPipe::start(kernel.pins(), &[]);
    let records = ["--cname=www.example.test,cdn.test", &format!("--host-record=cdn.test,{FAR_V4}")];
    let server = NameServer::start(&netns, &records);

    let listener = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    let url = format!("http://www.example.test:{port}/");
    let script = format!("{} && exec curl -s {url}", server.as_resolver());
    let mut curl = netns.near_command("unshare");
    let mut curl = curl.args(["--mount", "sh", "-c", &script]).stdout(Stdio::null()).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = [0; 1000];
    assert!(stream.read(&mut request).unwrap() > 0);
    stream.write_all(b"HTTP/1.0 204 No Content\r\n\r\n").unwrap();
    drop(stream);
    assert!(curl.wait().unwrap().success());

    let named = json!({"rport": port, "name": "www.example.test", "name_src": "dns", "raddr": FAR_V4});
    let event = pipe.latest(curl.id(), &named);
    let line = event["line"].as_str().unwrap();
    assert!(line.contains(&format!(" :: curl :: www.example.test {port} :: v ")), "{line}");
    let asked = server.queries();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|query| query.contains("] www.example.test from ")), "{asked:#?}");
}
