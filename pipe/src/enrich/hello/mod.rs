// SPDX-License-Identifier: GPL-3.0-or-later
//! What a program itself tells in the open when a connection begins: the TLS `ClientHello`, over QUIC as well.
//!
//! Everything here is read from bytes that any program may have written.

pub mod client_hello;
pub mod host_name;
pub mod quic;

/// What a `ClientHello` tells of the peer that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The server name, as [`host_name::host_name`] has it; `None` where there is none, or none that a host can have.
    pub name: Option<Box<str>>,
    /// The protocol that the client prefers (ALPN, RFC 7301): at most 32 printable ASCII characters without spaces.
    pub alpn: Option<Box<str>>,
    /// Whether `encrypted_client_hello` is there, be it GREASE (RFC 9849): then the name may be a cover name.
    pub has_ech: bool,
}
