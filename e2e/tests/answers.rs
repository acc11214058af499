// SPDX-License-Identifier: GPL-3.0-or-later
//! Answers of name servers, by whatever system call a process receives them.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

use leco_bpf::place::pin_dir::PinDir;
use leco_bpf::read::messages::DnsAnswer;
use leco_bpf::read::reader::Reader;
use leco_bpf::read::stream::Stream;
use leco_e2e::{Kernel, Netns, Side, can_test_the_kernel};

/// What the scripts share: a socket with an answer of 100 bytes to receive, from port 53, and C's own calls.
const PRELUDE: &str = r#"
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.bind(("127.0.0.1", 0))
client.connect(server.getsockname())
fd = client.fileno()
def answer(payload):
    server.sendto(payload, client.getsockname())
def message(at, vector, count=1):
    ctypes.memmove(at, struct.pack("PIPQPQi", 0, 0, vector, count, 0, 0, 0), 52)
def vector(at, base, size):
    ctypes.memmove(at, struct.pack("PQ", base, size), 16)
def received(count, wanted=100):
    assert count == wanted, (count, ctypes.get_errno())
buffer = ctypes.create_string_buffer(4096)
address = ctypes.addressof(buffer)
"#;

/// One answer by each call, each with a first byte of its own.
const EACH_CALL: &str = r#"
def by(letter):
    answer(letter + b"x" * 99)
    buffer[:100] = bytes(100)
by(b"a"); received(os.readv(fd, [bytearray(4096)]))
by(b"b"); received(len(os.read(fd, 4096)))
by(b"c"); received(libc.recv(fd, buffer, 4096, 0))
by(b"d"); received(libc.recvfrom(fd, buffer, 4096, 0, None, None))
by(b"e"); received(client.recvmsg_into([bytearray(4096)])[0])
header = ctypes.create_string_buffer(64)
parts = ctypes.create_string_buffer(16)
vector(ctypes.addressof(parts), address, 4096)
message(ctypes.addressof(header), ctypes.addressof(parts))
by(b"f"); received(libc.recvmmsg(fd, header, 1, 0, None), 1)
by(b"g"); received(libc.recv(fd, buffer, 40, 0x20))
"#;

/// Two that the process itself lets go while it receives them: what says where they lie is where they are put.
const NOT_THERE: &str = r#"
header = ctypes.addressof(buffer) + 512
message(header, address)
vector(address, address, 4096)
answer(struct.pack("PQ", 16, 4096) + b"x" * 84)
received(libc.recvmsg(fd, ctypes.c_void_p(header), 0))
parts = ctypes.create_string_buffer(16)
vector(ctypes.addressof(parts), header, 4096)
message(header, ctypes.addressof(parts))
answer(struct.pack("PIPQPQ", 0, 0, 16, 1, 0, 0) + b"x" * 52)
received(libc.recvmsg(fd, ctypes.c_void_p(header), 0))
"#;

/// Runs a script where nobody else is; what was copied, and how many answers were not.
fn copied(script: &str) -> (Vec<DnsAnswer>, u64) {
    let (kernel, netns) = (Kernel::load(&[]), Netns::new());
    let reader = Stream::new(Reader::open(&PinDir::new(kernel.pins()).unwrap()).unwrap()).unwrap();
    let mut command: Command = netns.command(Side::Near, "python3");
    command.args(["-c", &format!("{PRELUDE}{script}")]).stdin(Stdio::null());
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers = reader.drain().unwrap().answers.into_iter().filter(|answer| answer.pid == pid).collect();
    (answers, reader.stats().unwrap().dns_skipped)
}

#[test]
fn every_call_that_receives_an_answer_has_it_copied() {
    if !can_test_the_kernel() {
        return;
    }
    let (answers, skipped) = copied(EACH_CALL);
    let first: String =
        answers.iter().filter_map(|answer| answer.payload.first().copied().map(char::from)).collect();
    assert_eq!(first, "abcdefg");
    let sizes: Vec<_> = answers.iter().map(|answer| answer.payload.len()).collect();
    assert_eq!(sizes, [100, 100, 100, 100, 100, 100, 40], "what lies beside the buffer is not the answer");
    // Of a datagram that was cut, what the process got is all.
    let full: Vec<_> = answers.iter().map(|answer| answer.full_len).collect();
    assert_eq!(full, [100, 100, 100, 100, 100, 100, 40]);
    assert_eq!(skipped, 0);
}

#[test]
fn an_answer_whose_place_is_not_in_memory_is_counted() {
    if !can_test_the_kernel() {
        return;
    }
    let (answers, skipped) = copied(NOT_THERE);
    assert!(answers.is_empty(), "{answers:?}");
    assert_eq!(skipped, 2);
}
