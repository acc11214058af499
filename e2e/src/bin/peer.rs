// SPDX-License-Identifier: GPL-3.0-or-later
//! The process that tests watch: makes exactly the traffic its arguments name, under a name of its own.
//!
//! `leco-e2e-peer NAME STEP…`, where NAME is hexadecimal bytes (empty: keep the name) and the steps are:
//! `tcp ADDR:PORT`, `accept ADDR:PORT` (one connection that comes in there),
//! `udp ADDR:PORT` (connected), `unconnected ADDR:PORT`: the socket that follows use;
//! `bind ADDR:PORT` (UDP, where others may send to),
//! `sctp ADDR:PORT`, `try ADDR:PORT` (a TCP connection that is expected to fail);
//! `send N`, `recv N` (exactly so many bytes), `peek N`, `hold` (until standard input ends),
//! `child STEP…` (a process of its own that inherits the socket), `uring-send N`, `uring-recv N` (over TCP by
//! `io_uring`), `report` (what was counted so far, as JSON on standard output),
//! `rounds ADDR:PORT` (connections of every usual kind to there, as lines of standard input say: `open NAME` makes those
//! of a new round and names the process, `send all` moves bytes over all that are open, `close most` ends most; each is
//! answered by an empty line).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use io_uring::{IoUring, opcode, types};

/// A connection that a firewall swallows is given up after this.
const GIVES_UP: Duration = Duration::from_millis(500);

enum Socket {
    None,
    Tcp(TcpStream),
    Udp(UdpSocket),
    Unconnected(UdpSocket, SocketAddr),
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let name = args.next().context("a name")?;
    set_name(&name)?;
    let mut socket = Socket::None;
    let mut counted = (0, 0);
    while let Some(step) = args.next() {
        let mut operand = || args.next().with_context(|| format!("{step} lacks its operand"));
        match step.as_str() {
            "tcp" => socket = Socket::Tcp(TcpStream::connect(operand()?)?),
            "sctp" => socket = Socket::Tcp(leco_e2e::sctp_connect(operand()?.parse()?)?),
            "accept" => socket = Socket::Tcp(TcpListener::bind(operand()?)?.accept()?.0),
            "try" => ensure!(TcpStream::connect_timeout(&operand()?.parse()?, GIVES_UP).is_err()),
            "udp" => {
                let peer: SocketAddr = operand()?.parse()?;
                let udp = bound_for(peer)?;
                udp.connect(peer)?;
                socket = Socket::Udp(udp);
            }
            "bind" => {
                let here = operand()?.parse()?;
                socket = Socket::Unconnected(UdpSocket::bind(here)?, here);
            }
            "unconnected" => {
                let peer = operand()?.parse()?;
                socket = match socket {
                    // Another peer over the same socket.
                    Socket::Unconnected(udp, _) => Socket::Unconnected(udp, peer),
                    _ => Socket::Unconnected(bound_for(peer)?, peer),
                };
            }
            "uring-send" => counted.1 += uring(&socket, operand()?.parse()?, true)?,
            "uring-recv" => counted.0 += uring(&socket, operand()?.parse()?, false)?,
            "report" => {
                let Socket::Tcp(stream) = &socket else { bail!("only TCP is reported") };
                let peer = stream.peer_addr()?;
                let (rx, tx) = counted;
                let pid = std::process::id();
                println!(
                    "{}",
                    serde_json::json!({"pid": pid, "rx": rx, "tx": tx, "raddr": peer.ip(), "rport": peer.port()})
                );
            }
            "rounds" => rounds(operand()?.parse()?)?,
            "inherited" => socket = Socket::Tcp(inherited()),
            "send" => send(&mut socket, operand()?.parse()?)?,
            "recv" => recv(&mut socket, operand()?.parse()?)?,
            "peek" => {
                let Socket::Tcp(stream) = &socket else { bail!("only TCP is peeked at") };
                ensure!(stream.peek(&mut vec![0; operand()?.parse()?])? > 0);
            }
            "hold" => {
                std::io::stdin().read_to_end(&mut Vec::new())?;
            }
            "child" => {
                let Socket::Tcp(stream) = &socket else { bail!("only a TCP socket is inherited") };
                let status = Command::new(std::env::current_exe()?)
                    .args(["", "inherited"])
                    .args(args.by_ref())
                    .stdin(Stdio::from(OwnedFd::from(stream.try_clone()?)))
                    .status()?;
                ensure!(status.success(), "the child failed");
            }
            other => bail!("no such step: {other}"),
        }
    }
    Ok(())
}

fn rounds(peer: SocketAddr) -> Result<()> {
    const NOBODY: u16 = 9;
    let (mut streams, mut datagrams, mut number) = (Vec::new(), Vec::new(), 0);
    for line in std::io::stdin().lines() {
        match line?.split_once(' ').unwrap_or_default() {
            ("open", name) => {
                rustix::thread::set_name(&std::ffi::CString::new(name)?)?;
                streams = (0..4).map(|_| TcpStream::connect(peer)).collect::<Result<_, _>>()?;
                datagrams = (0..3).map(|_| bound_for(peer)).collect::<Result<_>>()?;
                datagrams.iter().try_for_each(|udp: &UdpSocket| udp.connect(peer))?;
                ensure!(TcpStream::connect((peer.ip(), NOBODY)).is_err());
            }
            ("close", _) => {
                streams.truncate(1);
                datagrams.truncate(1);
            }
            _ => {
                let mut next = || {
                    number = number % 900 + 7;
                    vec![b'x'; number]
                };
                for stream in &mut streams {
                    let mut bytes = next();
                    stream.write_all(&bytes)?;
                    // It comes back.
                    stream.read_exact(&mut bytes)?;
                }
                datagrams.iter().try_for_each(|udp| udp.send(&next()).map(drop))?;
            }
        }
        println!();
    }
    Ok(())
}

/// Standard input is the parent's socket.
#[allow(unsafe_code)]
fn inherited() -> TcpStream {
    const STDIN: RawFd = 0;
    // SAFETY: the parent put its socket there, and nothing else of this process uses standard input. Miri has no
    // such parent.
    TcpStream::from(unsafe { OwnedFd::from_raw_fd(STDIN) })
}

fn bound_for(peer: SocketAddr) -> Result<UdpSocket> {
    Ok(UdpSocket::bind(if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?)
}

fn send(socket: &mut Socket, count: usize) -> Result<()> {
    let bytes = vec![b'x'; count];
    match socket {
        Socket::Tcp(stream) => stream.write_all(&bytes)?,
        Socket::Udp(udp) => ensure!(udp.send(&bytes)? == count),
        Socket::Unconnected(udp, peer) => ensure!(udp.send_to(&bytes, *peer)? == count),
        Socket::None => bail!("no socket to send on"),
    }
    Ok(())
}

fn recv(socket: &mut Socket, count: usize) -> Result<()> {
    let mut bytes = vec![0; count];
    match socket {
        Socket::Tcp(stream) => stream.read_exact(&mut bytes)?,
        Socket::Udp(udp) => ensure!(udp.recv(&mut bytes)? == count),
        Socket::Unconnected(udp, peer) => {
            let (received, from) = udp.recv_from(&mut bytes)?;
            ensure!(received == count && from == *peer, "{received} bytes from {from}");
        }
        Socket::None => bail!("no socket to receive on"),
    }
    Ok(())
}

/// Sends or receives so many bytes; how many the completions said.
#[allow(unsafe_code)]
fn uring(socket: &Socket, count: usize, sends: bool) -> Result<usize> {
    let Socket::Tcp(stream) = socket else { bail!("io_uring is tried over TCP") };
    let fd = types::Fd(stream.as_raw_fd());
    let mut ring = IoUring::new(2)?;
    let mut bytes = vec![b'x'; count];
    let mut done = 0;
    while done < count {
        let rest = &mut bytes[done..];
        let len = u32::try_from(rest.len())?;
        let entry = if sends {
            opcode::Send::new(fd, rest.as_ptr(), len).build()
        } else {
            opcode::Recv::new(fd, rest.as_mut_ptr(), len).build()
        };
        // SAFETY: the buffer lives and is not touched until its completion, which is waited for here. Miri has no
        // io_uring.
        unsafe { ring.submission().push(&entry)? };
        ring.submit_and_wait(1)?;
        let completion = ring.completion().next().context("a completion")?;
        let moved = usize::try_from(completion.result()).context("io_uring failed")?;
        ensure!(moved > 0, "the peer closed too early");
        done += moved;
    }
    Ok(done)
}

fn set_name(hex: &str) -> Result<()> {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16))
        .collect::<Result<_, _>>()?;
    if !bytes.is_empty() {
        rustix::thread::set_name(&std::ffi::CString::new(bytes)?)?;
    }
    Ok(())
}
