// SPDX-License-Identifier: GPL-3.0-or-later
//! SCTP, which the standard library has no sockets for: one association behaves like a stream.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, connect, ipproto, listen, socket};

fn sctp_socket() -> io::Result<std::os::fd::OwnedFd> {
    Ok(socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::SCTP))?)
}

/// A listener at an address and port.
pub fn sctp_listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = sctp_socket()?;
    bind(&socket, &address)?;
    listen(&socket, 1)?;
    Ok(socket.into())
}

/// An association with a listener.
pub fn sctp_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = sctp_socket()?;
    connect(&socket, &address)?;
    Ok(socket.into())
}
