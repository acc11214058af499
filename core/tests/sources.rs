// SPDX-License-Identifier: GPL-3.0-or-later
//! Sources of every kind, on real sockets and files, several at once.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use leco_core::config::Config;
use leco_core::model::overseer::Overseer;
use leco_core::source::{SourceSpec, Sources};

const DEADLINE: Duration = Duration::from_secs(20);

fn open(specs: &[String]) -> Sources {
    let specs: Vec<_> = specs.iter().map(|text| SourceSpec::parse(text).unwrap()).collect();
    Sources::open(&specs).unwrap()
}

/// Lines with the index and the label of their source, until there are so many.
fn lines(sources: &mut Sources, count: usize) -> Vec<(usize, Option<String>, String)> {
    let start = Instant::now();
    let mut lines = Vec::new();
    while lines.len() < count {
        assert!(start.elapsed() < DEADLINE, "{lines:?} {:?}", sources.state());
        let left = DEADLINE.saturating_sub(start.elapsed());
        sources
            .wait(Some(left), |origin, line| {
                let text = String::from_utf8_lossy(line).into_owned();
                lines.push((origin.index, origin.host.map(ToOwned::to_owned), text));
            })
            .unwrap();
    }
    lines
}

fn texts(sources: &mut Sources, count: usize) -> Vec<String> {
    lines(sources, count).into_iter().map(|(_, _, text)| text).collect()
}

#[test]
fn a_socket_that_goes_is_connected_to_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let mut sources = open(&[format!("unix:{}", path.display())]);
    while !sources.state().text.starts_with("waiting (") {
        sources.wait(Some(DEADLINE), |_, _| ()).unwrap();
    }
    let serve = |text: &str| {
        let listener = UnixListener::bind(&path).unwrap();
        listener.accept().unwrap().0.write_all(text.as_bytes()).unwrap();
        drop(listener);
        fs::remove_file(&path).unwrap();
    };
    std::thread::scope(|scope| {
        scope.spawn(|| serve("one\nhalf of"));
        assert_eq!(texts(&mut sources, 1), ["one"]);
        let again = scope.spawn(|| {
            while path.exists() {
                std::thread::yield_now();
            }
            serve("two\n");
        });
        assert_eq!(texts(&mut sources, 1), ["two"], "what was cut off is no part of it");
        again.join().unwrap();
    });
}

#[test]
fn a_reader_says_its_token_first() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "open sesame\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut sources = open(&[format!("tcp:127.0.0.1:{port}?token-file={}", token.display())]);
    let server = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut said = String::new();
        BufReader::new(&stream).read_line(&mut said).unwrap();
        stream.write_all(b"welcome\n").unwrap();
        said
    });
    assert_eq!(texts(&mut sources, 1), ["welcome"]);
    assert_eq!(server.join().unwrap(), "open sesame\n");
}

#[test]
fn datagrams_are_whole_and_a_recording_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.jsonl");
    fs::write(&path, "one\ntwo without an end").unwrap();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut sources = open(&[format!("udp:127.0.0.1:{port}"), format!("file:{}", path.display())]);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in ["cut off", "whole\n", "two\nlines\n"] {
        sender.send_to(datagram.as_bytes(), ("127.0.0.1", port)).unwrap();
    }
    let mut received = lines(&mut sources, 6);
    received.sort_by_key(|(index, _, _)| *index);
    let (udp, log) = (Some(format!("udp {port}")), Some("log".to_owned()));
    let line = |index, host: &Option<String>, text: &str| (index, host.clone(), text.to_owned());
    assert_eq!(
        received,
        [
            line(0, &udp, "cut off"),
            line(0, &udp, "whole"),
            line(0, &udp, "two"),
            line(0, &udp, "lines"),
            line(1, &log, "one"),
            line(1, &log, "two without an end"),
        ]
    );
    let mut alone = open(&[format!("file:{}", path.display())]);
    assert_eq!(texts(&mut alone, 2).len(), 2);
    assert!(alone.state().has_ended, "{:?}", alone.state());
}

#[test]
fn lines_of_several_machines_have_their_host_and_are_never_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let event = |fields: &str| format!("{{\"ns\":7,\"ns_trx\":7{fields},\"line\":\"18:32 :: me :: x\"}}\n");
    let specs = [("near", ""), ("far", ",\"host\":\"far\\u001b.example\"")].map(|(name, fields)| {
        let path = dir.path().join(name);
        fs::write(&path, event(fields)).unwrap();
        format!("file:{}", path.display())
    });
    let shown = |specs: &[String]| {
        let mut sources = open(specs);
        let mut overseer = Overseer::new(Config::default());
        while !sources.state().has_ended {
            sources
                .wait(Some(DEADLINE), |origin, line| {
                    overseer.receive_from(origin, line, 8);
                })
                .unwrap();
        }
        let rows = &overseer.frame(8, 5).rows;
        let mut tags: Vec<_> = rows.iter().flatten().map(|row| row.tag.text.clone()).collect();
        tags.sort();
        tags
    };
    let both = shown(&specs);
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[0].starts_with("far\u{fffd}.example#") && both[1].starts_with("near#"), "{both:?}");
    let alone = shown(&specs[1..]);
    assert!(alone.len() == 1 && alone[0].starts_with('#'), "{alone:?}");
}

#[test]
fn a_clock_that_began_elsewhere_does_not_age_lines() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut sources = open(&[format!("udp:127.0.0.1:{port}")]);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (ns, ns_trx) in [(1, 5), (2, 1_000_000_000_005_u64)] {
        let event = format!("{{\"ns\":{ns},\"ns_trx\":{ns_trx},\"line\":\"line {ns}\"}}\n");
        sender.send_to(event.as_bytes(), ("127.0.0.1", port)).unwrap();
    }
    let mut overseer = Overseer::new(Config::default());
    let now = 9_000_000_000_000_000;
    let mut received = 0;
    while received < 2 {
        sources
            .wait(Some(DEADLINE), |origin, line| {
                overseer.receive_from(origin, line, now);
                received += 1;
            })
            .unwrap();
    }
    let ages: Vec<_> = overseer.frame(now, 5).rows.iter().flatten().map(|row| row.age).collect();
    assert_eq!(ages[1], Duration::ZERO, "it came just now");
}

#[test]
fn faults_say_what_was_expected() {
    for (text, expected) in [
        ("/run/leco.fifo", "expected fifo:PATH"),
        ("tcp:host", "expected tcp:HOST:PORT"),
        ("tcp:host:99999", "expected tcp:HOST:PORT"),
        ("udp:name:1", "expected udp:ADDRESS:PORT"),
        ("unix:/x?token-file=/y", "token-file= only for tcp:"),
    ] {
        let error = SourceSpec::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(text), "{error}");
    }
}
