// SPDX-License-Identifier: GPL-3.0-or-later
//! Sources without a descriptor to spare. The limit is that of the process: a file of its own, and one test.

#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use leco_core::source::{SourceSpec, Sources};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const DEADLINE: Duration = Duration::from_secs(20);
/// More than the test needs, and few enough to be filled at once.
const LIMIT: u64 = 256;

/// Takes every descriptor that is left.
fn fill(taken: &mut Vec<OwnedFd>) {
    while let Ok(another) = rustix::io::dup(rustix::stdio::stdin()) {
        taken.push(another);
    }
}

fn open(spec: &str) -> Sources {
    Sources::open(&[SourceSpec::parse(spec).unwrap()]).unwrap()
}

fn wait_for(sources: &mut Sources, text: &str) {
    let start = Instant::now();
    let mut seen = false;
    while !seen {
        assert!(start.elapsed() < DEADLINE, "{text}: {:?}", sources.state());
        sources.wait(Some(DEADLINE), |_, line| seen |= line == text.as_bytes()).unwrap();
    }
}

fn socket(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    let mut sources = open(&format!("unix:{}", path.display()));
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"one\n").unwrap();
    wait_for(&mut sources, "one");
    let _taken = lose(&mut sources, server);
    listener.accept().unwrap().0.write_all(b"two\n").unwrap();
    wait_for(&mut sources, "two");
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut sources = open(&format!("fifo:{}", path.display()));
    let write = |text: &str| {
        let mut writer = OpenOptions::new().write(true).open(path).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        writer
    };
    let writer = write("one\n");
    wait_for(&mut sources, "one");
    let mut taken = Vec::new();
    fill(&mut taken);
    drop(writer);
    fill(&mut taken);
    // The hang-up: it is opened anew.
    sources.wait(Some(DEADLINE), |_, _| ()).unwrap();
    assert_eq!(sources.state().text, format!("reading {}", path.display()));
    taken.pop();
    let _writer = write("two\n");
    wait_for(&mut sources, "two");
    drop(taken);
    // Another one in its place, while nobody writes to the one that is open.
    let mut sources = open(&format!("fifo:{}", path.display()));
    let beside = path.with_extension("new");
    mknodat(CWD, &beside, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut taken = Vec::new();
    fill(&mut taken);
    fs::rename(&beside, path).unwrap();
    sources.wait(Some(DEADLINE), |_, _| ()).unwrap();
    taken.pop();
    let _writer = write("three\n");
    wait_for(&mut sources, "three");
}

/// A server that wants a token.
fn token(file: &Path) {
    fs::write(file, "secret").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut sources = open(&format!("tcp:{address}?token-file={}", file.display()));
    let greet = |listener: &TcpListener, text: &[u8]| {
        let (mut server, _) = listener.accept().unwrap();
        let mut token = [0; 7];
        server.read_exact(&mut token).unwrap();
        assert_eq!(&token, b"secret\n");
        server.write_all(text).unwrap();
        server
    };
    let server = greet(&listener, b"one\n");
    wait_for(&mut sources, "one");
    let _taken = lose(&mut sources, server);
    let _server = greet(&listener, b"two\n");
    wait_for(&mut sources, "two");
}

/// Closes a server's end where no descriptor is left but that of the source, and waits until it has connected again. One is
/// left afterwards; the others are taken until what is returned is dropped.
fn lose(sources: &mut Sources, server: impl Into<OwnedFd>) -> Vec<OwnedFd> {
    let mut taken = Vec::new();
    fill(&mut taken);
    // What takes its place is not the view's to use.
    drop(server);
    fill(&mut taken);
    until(sources, false);
    until(sources, true);
    taken.pop();
    taken
}

fn until(sources: &mut Sources, is_reading: bool) {
    let start = Instant::now();
    while sources.state().is_reading != is_reading {
        assert!(start.elapsed() < DEADLINE, "{:?}", sources.state());
        sources.wait(Some(DEADLINE), |_, _| ()).unwrap();
    }
}

#[test]
fn a_source_that_is_lost_comes_back_without_another_descriptor() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(LIMIT), maximum }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    socket(&dir.path().join("socket"));
    fifo(&dir.path().join("fifo"));
    token(&dir.path().join("token"));
    fs::remove_dir_all(dir.path()).unwrap();
}
