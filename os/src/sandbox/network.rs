// SPDX-License-Identifier: GPL-3.0-or-later
//! Which sockets a sandbox leaves.

/// What sockets of a network a program makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// None.
    #[default]
    None,
    /// UDP.
    Udp,
    /// UDP and TCP: names are asked for over both, and over unix sockets.
    All,
}

/// What sockets a program makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sockets {
    pub(super) network: Network,
    pub(super) unix: bool,
}
