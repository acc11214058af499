// SPDX-License-Identifier: GPL-3.0-or-later
//! Receivers of every kind, on real sockets, fifos and files.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use leco_pipe::outputs::{MAX_DATAGRAM, OpenError, OutputSpec, Outputs};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const DEADLINE: Duration = Duration::from_secs(20);
const SECOND: u64 = 1_000_000_000;

fn open(specs: &[&str]) -> Result<Outputs, OpenError> {
    let specs: Vec<_> = specs.iter().map(|text| OutputSpec::parse(text).unwrap()).collect();
    Outputs::open(&specs, 10_000, &mut HashMap::new())
}

/// One turn of the pipe's loop.
fn turn(outputs: &mut Outputs, now: u64) {
    let ready: Vec<PollFlags> = {
        let mut fds: Vec<_> =
            outputs.poll().into_iter().map(|(fd, wish)| PollFd::from_borrowed_fd(fd, wish)).collect();
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 })).unwrap();
        fds.iter().map(PollFd::revents).collect()
    };
    outputs.look(&ready, now);
    outputs.keep_time(now);
    outputs.begin_replay();
    outputs.end_replay();
    outputs.flush().unwrap();
}

/// What ends a pipe.
fn finish(outputs: &mut Outputs) {
    outputs.release_all();
    turn_until(outputs, "the end", Outputs::is_flushed);
}

fn turn_until(outputs: &mut Outputs, what: &str, mut done: impl FnMut(&mut Outputs) -> bool) {
    let start = Instant::now();
    while !done(outputs) {
        assert!(start.elapsed() < DEADLINE, "{what}");
        turn(outputs, SECOND);
    }
}

fn push(outputs: &mut Outputs, ns: u64, line: &str) {
    let event = format!("{{\"ns\":{ns},\"ns_trx\":{ns},\"line\":\"{line}\"}}\n");
    outputs.push(ns, line, &Rc::from(event.as_bytes()), false, SECOND);
}

/// Lines of this reader until one holds `last`.
fn lines_until(reader: impl Read, last: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(reader).lines() {
        lines.push(line.unwrap());
        if lines.last().unwrap().contains(last) {
            return lines;
        }
    }
    panic!("it ended before {last}: {lines:?}");
}

fn unix(path: &Path, options: &str) -> String {
    format!("unix:{}{options}", path.display())
}

#[test]
fn readers_of_a_socket_get_what_they_chose() {
    let dir = tempfile::tempdir().unwrap();
    let (all, chosen) = (dir.path().join("all"), dir.path().join("chosen"));
    let mut outputs = open(&[&unix(&all, ""), &unix(&chosen, "?filter=-/noise/")]).unwrap();
    assert_eq!(fs::metadata(&all).unwrap().permissions().mode() & 0o777, 0o600);
    let readers = [&all, &all, &chosen].map(|path| UnixStream::connect(path).unwrap());
    turn_until(&mut outputs, "readers", Outputs::has_reader);
    turn(&mut outputs, SECOND);
    for (ns, line) in [(1, "noise"), (2, "signal"), (3, "end")] {
        push(&mut outputs, ns, line);
    }
    turn(&mut outputs, SECOND);
    let counts = readers.map(|reader| lines_until(reader, "end").len());
    assert_eq!(counts, [3, 3, 2]);
    drop(outputs);
    assert!(!all.exists() && !chosen.exists(), "the sockets are left behind");
}

#[test]
fn what_a_rate_limit_holds_back_is_sent_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recording");
    let mut outputs = open(&[&format!("file:{}?rate-limit=1h", path.display())]).unwrap();
    for line in ["first", "second", "end"] {
        push(&mut outputs, 1, line);
        turn(&mut outputs, SECOND);
    }
    assert!(!outputs.is_flushed());
    finish(&mut outputs);
    let lines = fs::read_to_string(&path).unwrap();
    assert_eq!(["first", "second", "end"].map(|line| lines.contains(line)), [true, false, true], "{lines}");
}

#[test]
fn a_stalled_reader_gets_the_truth_of_every_connection_and_others_do_not_notice() {
    const CONNECTIONS: u64 = 2000;
    const ROUNDS: u64 = 50;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let mut outputs = open(&[&unix(&path, "")]).unwrap();
    let (stalled, lively, garbage) = (
        UnixStream::connect(&path).unwrap(),
        UnixStream::connect(&path).unwrap(),
        UnixStream::connect(&path).unwrap(),
    );
    lively.set_nonblocking(true).unwrap();
    turn_until(&mut outputs, "readers", Outputs::has_reader);
    garbage.set_nonblocking(true).unwrap();
    while (&garbage).write(&[0xff; 4096]).is_ok() {}
    let mut received = Vec::new();
    for round in 0..ROUNDS {
        for ns in 0..CONNECTIONS {
            push(&mut outputs, ns, &format!("{ns} in round {round}."));
        }
        turn_until(&mut outputs, "the lively one", |_| {
            let _ = (&lively).read_to_end(&mut received);
            let end = format!("{} in round {round}.", CONNECTIONS - 1);
            received.windows(end.len()).rev().take(200).any(|window| window == end.as_bytes())
        });
    }
    let lines = received.lines().count() as u64;
    assert_eq!(lines, CONNECTIONS * ROUNDS, "the lively one missed something");
    drop(garbage);
    let reader = std::thread::spawn(move || {
        let mut latest = HashMap::new();
        let mut lines = 0;
        for line in BufReader::new(stalled).lines() {
            let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            latest.insert(event["ns"].as_u64().unwrap(), event["line"].as_str().unwrap().to_owned());
            lines += 1;
            if event["line"] == "end" {
                break;
            }
        }
        (latest, lines)
    });
    push(&mut outputs, CONNECTIONS, "end");
    turn_until(&mut outputs, "the stalled one", |_| reader.is_finished());
    let (latest, lines) = reader.join().unwrap();
    for ns in 0..CONNECTIONS {
        assert_eq!(latest[&ns], format!("{ns} in round {}.", ROUNDS - 1));
    }
    // What the socket's buffer took before it was full is old.
    assert!(lines < CONNECTIONS * ROUNDS / 10, "{lines} lines: old ones were kept");
}

#[test]
fn a_fifo_is_followed_and_nothing_else_taken_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    fs::write(&file, "precious").unwrap();
    symlink(&file, &link).unwrap();
    for (path, what) in [(&file, "a file"), (&link, "a symbolic link")] {
        let error = open(&[&format!("fifo:{}", path.display())]).unwrap_err().to_string();
        assert!(error.contains(&format!("is {what}, not a fifo")), "{error}");
    }
    let error = open(&[&unix(&file, "")]).unwrap_err().to_string();
    assert!(error.contains(", not a socket"), "{error}");
    let error = open(&[&unix(&link, "")]).unwrap_err().to_string();
    assert!(error.contains(", not a socket"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_socket_that_nobody_serves_is_replaced_and_one_in_use_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let other = UnixListener::bind(&path).unwrap();
    let error = open(&[&unix(&path, "")]).unwrap_err().to_string();
    assert!(error.contains("is served by another process"), "{error}");
    drop(other);
    let mut outputs = open(&[&unix(&path, "?mode=0666")]).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    // Somebody cleans up: after SIGHUP it can be reached again.
    fs::remove_file(&path).unwrap();
    outputs.reopen();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn users_that_are_not_allowed_are_sent_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let own = rustix::process::getuid().as_raw();
    let mut outputs = open(&[&unix(&path, &format!("?allow={}", own + 1))]).unwrap();
    let mut reader = UnixStream::connect(&path).unwrap();
    reader.set_nonblocking(true).unwrap();
    turn_until(&mut outputs, "the end", |_| matches!(reader.read(&mut [0; 8]), Ok(0)));
    assert!(!outputs.has_reader());
}

#[test]
fn other_machines_need_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "open sesame, open sesame\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for everybody in [format!("tcp:0.0.0.0:{port}"), format!("tcp:[::]:{port}")] {
        let error = open(&[&everybody]).unwrap_err().to_string();
        assert!(error.contains("token-file"), "{error}");
    }
    let mut outputs = open(&[&format!("tcp:0.0.0.0:{port}?token-file={}", token.display())]).unwrap();
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut silent, mut wrong, mut right) = (connect(), connect(), connect());
    wrong.write_all(b"open barley, open barley\n").unwrap();
    wrong.set_nonblocking(true).unwrap();
    turn_until(
        &mut outputs,
        "the wrong one to be sent away",
        |_| !matches!(wrong.read(&mut [0; 8]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
    );
    assert!(!outputs.has_reader());
    right.write_all(b"open sesame, ").unwrap();
    right.write_all(b"open sesame\n").unwrap();
    turn_until(&mut outputs, "the right one", Outputs::has_reader);
    push(&mut outputs, 1, "secret");
    turn(&mut outputs, SECOND);
    assert_eq!(lines_until(right, "secret").len(), 1);
    let due = outputs.due().unwrap();
    turn(&mut outputs, due);
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut told = String::new();
    silent.read_to_string(&mut told).unwrap();
    assert_eq!(told, "", "the silent one was told something");
}

#[test]
fn datagrams_go_one_by_one_whether_anybody_listens() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = receiver.local_addr().unwrap();
    receiver.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut outputs = open(&[&format!("udp:{address}")]).unwrap();
    push(&mut outputs, 1, "one");
    push(&mut outputs, 2, &"long ".repeat(1000));
    turn(&mut outputs, SECOND);
    let mut buffer = [0; 9000];
    for part in ["one", "long"] {
        let count = receiver.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..count]).unwrap();
        assert!(count <= MAX_DATAGRAM && text.contains(part) && text.ends_with('\n'), "{text}");
    }
    drop(receiver);
    for ns in 3..6 {
        push(&mut outputs, ns, "nobody");
        turn(&mut outputs, SECOND);
    }
    let again = UdpSocket::bind(address).unwrap();
    again.set_read_timeout(Some(DEADLINE)).unwrap();
    push(&mut outputs, 9, "again");
    turn(&mut outputs, SECOND);
    let count = again.recv(&mut buffer).unwrap();
    assert!(std::str::from_utf8(&buffer[..count]).unwrap().contains("again"));
}

#[test]
fn a_recording_grows_by_whole_events_and_follows_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let (path, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
    let mut outputs = open(&[&format!("file:{}", path.display())]).unwrap();
    push(&mut outputs, 1, "one");
    turn(&mut outputs, SECOND);
    fs::rename(&path, &rotated).unwrap();
    outputs.reopen();
    push(&mut outputs, 2, "two");
    turn(&mut outputs, SECOND);
    assert!(fs::read_to_string(&rotated).unwrap().contains("one"));
    let now = fs::read_to_string(&path).unwrap();
    assert!(now.contains("two") && !now.contains("one"), "{now}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let two = open(&[&format!("file:{}", path.display())]).unwrap_err().to_string();
    assert!(two.contains("is already being recorded to") && two.contains(path.to_str().unwrap()), "{two}");
    let error = open(&["file:/dev/null"]).unwrap_err().to_string();
    assert!(error.contains("/dev/null is a device, not an ordinary file"), "{error}");
}

#[test]
fn metrics_replace_nothing_but_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let opened = |path: &Path| open(&[&format!("metrics:{}", path.display())]);
    let refused = |path: &Path| opened(path).unwrap_err().to_string();
    assert!(refused(&at("none/leco.prom")).contains("none is not a directory: create it"));
    fs::write(at("file"), "").unwrap();
    assert!(refused(&at("file/leco.prom")).contains("file is not a directory"));
    fs::write(at("other.prom"), "# HELP node_x x\n").unwrap();
    fs::create_dir(at("directory.prom")).unwrap();
    fs::write(at("target"), "").unwrap();
    symlink(at("target"), at("link.prom")).unwrap();
    for name in ["other.prom", "directory.prom", "link.prom"] {
        assert!(refused(&at(name)).contains("is not a file with metrics of LECO"), "{name}");
    }
    assert_eq!(fs::read_to_string(at("other.prom")).unwrap(), "# HELP node_x x\n");

    // What was there stays open to who reads it, and what a killed pipe left is no obstacle.
    let path = at("leco.prom");
    fs::write(&path, "").unwrap();
    symlink(at("target"), at(".leco.prom.unfinished")).unwrap();
    let before = fs::File::open(&path).unwrap();
    let mut outputs = opened(&path).unwrap();
    assert!(!outputs.has_reader(), "events need not be written as text");
    turn(&mut outputs, SECOND);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("# TYPE leco_connections_total counter\n"), "{text}");
    assert_eq!((before.metadata().unwrap().len(), fs::metadata(at("target")).unwrap().len()), (0, 0));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);

    // Every 15 s, and not before.
    assert_eq!(outputs.due(), Some(16 * SECOND));
    fs::write(&path, "").unwrap();
    turn(&mut outputs, 16 * SECOND - 1);
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    turn(&mut outputs, 16 * SECOND);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    opened(&path).unwrap();
}
