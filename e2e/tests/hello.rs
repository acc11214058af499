// SPDX-License-Identifier: GPL-3.0-or-later
//! Which name a connection has that its process sent itself: real programs, and no name server that could be asked.

#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::thread;

use leco_bpf::place::pin_dir::PinDir;
use leco_bpf::read::reader::Reader;
use leco_bpf::read::record::{NameSource, SentName};
use leco_bpf::read::stream::Stream;
use leco_e2e::{FAR_V4, Kernel, Netns, can_test_the_kernel};

/// A server that reads what comes and hangs up.
fn listen(netns: &Netns) -> SocketAddr {
    let listener = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || stream.read(&mut [0; 65536]));
        }
    });
    address
}

fn stream(kernel: &Kernel) -> Stream {
    Stream::new(Reader::open(&PinDir::new(kernel.pins()).unwrap()).unwrap()).unwrap()
}

fn names_of(netns: &Netns, reader: &Stream, program: &str, arguments: &[&str]) -> Vec<SentName> {
    let mut command = netns.near_command(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap();
    reader.drain().unwrap().names
}

#[test]
fn the_programs_find_the_name_that_a_process_sends() {
    if !can_test_the_kernel() {
        return;
    }
    let (netns, kernel) = (Netns::new(), Kernel::load(&[]));
    let reader = stream(&kernel);
    let address = listen(&netns);
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let python = "import socket, ssl, sys
try: ssl.create_default_context().wrap_socket(socket.create_connection((sys.argv[1], int(sys.argv[2]))), server_hostname='python.example')
except OSError: pass";
    let node = "require('tls').connect({host: process.argv[1], port: +process.argv[2], servername: 'node.example', ALPNProtocols: ['h2']}).on('error', () => {})";
    for (program, arguments, expected) in [
        (
            "openssl",
            vec!["s_client", "-connect", &format!("{ip}:{port}"), "-servername", "openssl.example"],
            "openssl.example",
        ),
        (
            "curl",
            vec![
                "-sk",
                "--max-time",
                "5",
                "--resolve",
                &format!("curl.example:{port}:{ip}"),
                &format!("https://curl.example:{port}/"),
            ],
            "curl.example",
        ),
        ("python3", vec!["-c", python, &ip, &port], "python.example"),
        ("node", vec!["-e", node, &ip, &port], "node.example"),
    ] {
        let names = names_of(&netns, &reader, program, &arguments);
        println!("{program}: {names:?} {:?}", reader.stats().unwrap());
        let tls: Vec<_> = names
            .iter()
            .filter(|name| name.source == NameSource::Tls)
            .map(|name| String::from_utf8_lossy(&name.name).into_owned())
            .collect();
        assert_eq!(tls, [expected], "{program}");
    }
}
