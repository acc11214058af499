// SPDX-License-Identifier: GPL-3.0-or-later
//! Kinds of traffic over loopback, and how long each takes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::cpus::Pinned;
use crate::statistics::Estimate;

const ROUND_TRIPS: usize = 10_000;
/// Connections that the traffic of that kind makes.
pub(crate) const CONNECTS: usize = 3_000;
const BULK_BYTES: usize = 1 << 30;
const BULK_WRITE: usize = 64 << 10;
/// Of a turn's traffic.
pub(crate) const PIECES: usize = 20;

/// A kind of traffic, and how much of its throughput has to be left with every hook attached.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Makes so much of it, and says so after each unit.
    run: fn(usize, &mut dyn FnMut()) -> Result<()>,
    /// Units of a turn.
    count: usize,
    pub(crate) least: f64,
}

pub(crate) const TCP: Kind =
    Kind { name: "TCP ping-pong", run: tcp_ping_pong, count: ROUND_TRIPS, least: 0.98 };
pub(crate) const UDP: Kind =
    Kind { name: "UDP sendto/recvfrom", run: udp_ping_pong, count: ROUND_TRIPS, least: 0.95 };
pub(crate) const CONNECT: Kind = Kind { name: "connect/close", run: connects, count: CONNECTS, least: 0.96 };
pub(crate) const BULK: Kind =
    Kind { name: "TCP bulk", run: bulk, count: BULK_BYTES / BULK_WRITE, least: 1.0 };

impl Kind {
    /// Makes a turn's traffic.
    pub(crate) fn run(&self) -> Result<()> {
        let _pinned = Pinned::to_last()?;
        (self.run)(self.count, &mut || ())
    }

    /// Seconds of the median piece, after one that is not counted: what else runs on the machine meets some of them. Each
    /// has sockets of its own, and of each the second half counts: what making and closing them takes is a kind of its own.
    pub(crate) fn time(&self) -> Result<f64> {
        let _pinned = Pinned::to_last()?;
        let of_piece = self.count / PIECES;
        let piece = || -> Result<f64> {
            let (mut units, mut half) = (0, [None; 2]);
            (self.run)(of_piece, &mut || {
                units += 1;
                if units == of_piece / 2 {
                    half[0] = Some(Instant::now());
                } else if units == of_piece {
                    half[1] = Some(Instant::now());
                }
            })?;
            let [Some(begin), Some(end)] = half else { bail!("the traffic is not whole") };
            Ok((end - begin).as_secs_f64())
        };
        piece()?;
        Ok(Estimate::median((0..PIECES).map(|_| piece()).collect::<Result<_>>()?).value)
    }
}

fn tcp_ping_pong(round_trips: usize, done: &mut dyn FnMut()) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let mut byte = [0];
    for _ in 0..round_trips {
        near.write_all(b"x")?;
        far.read_exact(&mut byte)?;
        far.write_all(b"y")?;
        near.read_exact(&mut byte)?;
        done();
    }
    Ok(())
}

/// Sends a datagram there and one back, as often as asked.
pub(crate) fn udp_ping_pong(round_trips: usize, done: &mut dyn FnMut()) -> Result<()> {
    let [near, far] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0"));
    let (near, far) = (near?, far?);
    let (near_address, far_address) = (near.local_addr()?, far.local_addr()?);
    let mut byte = [0];
    for _ in 0..round_trips {
        near.send_to(b"x", far_address)?;
        far.recv_from(&mut byte)?;
        far.send_to(b"y", near_address)?;
        near.recv_from(&mut byte)?;
        done();
    }
    Ok(())
}

fn connects(count: usize, done: &mut dyn FnMut()) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut byte = [0];
    for _ in 0..count {
        let mut near = TcpStream::connect(address)?;
        let (mut far, _) = listener.accept()?;
        near.write_all(b"x")?;
        far.read_exact(&mut byte)?;
        drop((near, far));
        done();
    }
    Ok(())
}

fn bulk(writes: usize, done: &mut dyn FnMut()) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let sender = std::thread::spawn(move || -> Result<()> {
        let _pinned = Pinned::to_others()?;
        let mut near = TcpStream::connect(address)?;
        let bytes = vec![b'x'; BULK_WRITE];
        for _ in 0..writes {
            near.write_all(&bytes)?;
        }
        Ok(())
    });
    let (mut far, _) = listener.accept()?;
    let mut bytes = vec![0; 2 * BULK_WRITE];
    let mut read = 0;
    loop {
        let count = far.read(&mut bytes)?;
        if count == 0 {
            break;
        }
        read += count;
        while read >= BULK_WRITE {
            read -= BULK_WRITE;
            done();
        }
    }
    sender.join().map_err(|_| anyhow::anyhow!("the sender failed"))?
}
