//! SCTP, which the standard library has no sockets for: one association behaves like a stream.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;

use rustix::net::{AddressFamily, Protocol, SocketType, bind, connect, listen, socket};

fn sctp_socket() -> io::Result<std::os::fd::OwnedFd> {
    /// `IPPROTO_SCTP` of uapi linux/in.h.
    const IPPROTO_SCTP: NonZeroU32 = NonZeroU32::new(132).unwrap();
    Ok(socket(AddressFamily::INET, SocketType::STREAM, Some(Protocol::from_raw(IPPROTO_SCTP)))?)
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
