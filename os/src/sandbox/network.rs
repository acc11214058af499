// SPDX-License-Identifier: GPL-3.0-or-later
//! Which networks a sandbox leaves.

/// What sockets of a network a program makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// None but unix sockets.
    #[default]
    None,
    /// UDP.
    Udp,
    /// UDP and TCP: names are asked for over both.
    All,
}
