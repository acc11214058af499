// SPDX-License-Identifier: GPL-3.0-or-later
//! What the kernel side does, by which hooks, what is lost without them, and how one asks for a level of them.

use std::fmt::Write;

/// One way to do what a feature is for.
#[derive(Debug, Clone, Copy)]
pub struct Level {
    /// By what kind of hook; the name that `--hook` takes.
    pub name: &'static str,
    /// The hooks, as the kernel names them.
    pub hooks: &'static str,
    /// What it cannot do that the level before it can.
    pub lost: &'static str,
}

/// Something that the kernel side does by one kind of hook or another.
#[derive(Debug, Clone, Copy)]
pub struct Feature {
    /// The name that `--hook` takes.
    pub name: &'static str,
    /// What it is for, as help and man page have it.
    pub purpose: &'static str,
    /// From the best to the least.
    pub levels: &'static [Level],
    /// What is not shown without it; `None` where nothing would be.
    pub lost: Option<&'static str>,
}

/// A feature's level that does nothing.
pub const OFF: &str = "off";
/// Features that others depend on.
pub const BYTES: &str = "bytes";
/// See [`BYTES`].
pub const STATE: &str = "state";
/// Tells the end of a socket: without it TCP's own state has to.
pub const CLOSE: &str = "close";
/// Who listens.
pub const LISTEN: &str = "listen";
/// Peers of unconnected UDP.
pub const PEER: &str = "peer";
/// Copies answers of name servers.
pub const DNS: &str = "dns";
/// Reads the names that processes send when they connect.
pub const HELLO: &str = "hello";
/// The level that has no storage of sockets.
pub const TRACEPOINT: &str = "tracepoint";
/// The level of [`PEER`] that has none.
pub const KPROBE: &str = "kprobe";

const LENGTHS: &str = "sock_send_length, sock_recv_length";
const SET_STATE: &str = "inet_sock_set_state";

const fn best(name: &'static str, hooks: &'static str) -> Level {
    Level { name, hooks, lost: "" }
}

const fn feature(
    name: &'static str,
    purpose: &'static str,
    levels: &'static [Level],
    lost: &'static str,
) -> Feature {
    Feature { name, purpose, levels, lost: Some(lost) }
}

impl Feature {
    /// What `--hook` takes for it.
    pub fn level_names(&self) -> Vec<&'static str> {
        let off = self.lost.map(|_| OFF);
        self.levels.iter().map(|level| level.name).chain(off).collect()
    }
}

/// Every feature. What is run once comes last, when all others count already.
pub const FEATURES: [Feature; 14] = [
    Feature {
        name: BYTES,
        purpose: "who sent and received how much",
        levels: &[
            best("tp_btf", LENGTHS),
            Level {
                name: TRACEPOINT,
                hooks: LENGTHS,
                lost: "speed (the cost is double), and incoming connections until a process accepts them",
            },
        ],
        lost: None,
    },
    feature(
        STATE,
        "TCP connects, direction, refusals and time-outs",
        &[
            best("tp_btf", SET_STATE),
            Level { name: TRACEPOINT, hooks: SET_STATE, lost: "the same as for bytes" },
        ],
        "connections without traffic, who opened them, who listens, and refusals, time-outs and resets of TCP",
    ),
    feature(
        "accept",
        "which process accepts, before the first bytes",
        &[best("cgroup", "getpeername4/6")],
        "which process accepts: until the first bytes the listener is shown",
    ),
    feature(
        PEER,
        "peers of unconnected UDP",
        &[
            best("cgroup", "sendmsg4/6, recvmsg4/6"),
            Level {
                name: KPROBE,
                hooks: "udp_sendmsg, udpv6_sendmsg",
                lost: "senders of datagrams over unconnected UDP: these count for the peer last sent to",
            },
        ],
        "peers of unconnected UDP",
    ),
    feature(
        "raw",
        "peers of raw and ping sockets over IPv4",
        &[
            best(KPROBE, "raw_sendmsg, ping_v4_sendmsg"),
            Level {
                name: "tp_btf",
                hooks: "consume_skb",
                lost: "peers of raw and ping sockets over IPv4 until they answer; raw=cgroup_skb shows \
                       them, at a cost for every packet sent",
            },
            Level { name: "cgroup_skb", hooks: "egress", lost: "a little speed, for every packet sent" },
        ],
        "peers of raw and ping sockets over IPv4",
    ),
    feature(
        CLOSE,
        "the end of every socket, with its final counts",
        &[best("cgroup", "sock_release")],
        "the close of UDP sockets, and TCP bytes that are read after the peer's close",
    ),
    feature(
        LISTEN,
        "who listens at a port",
        &[
            best("cgroup", "post_bind4/6, those of state"),
            Level { name: "tcp", hooks: "those of state", lost: "UDP ports at which a process waits" },
        ],
        "who listens",
    ),
    feature(
        "exit",
        "the end of a process that shared a socket",
        &[best("tp_btf", "sched_process_exit")],
        "the end of a process's connections over a socket that others still use, until the socket is closed",
    ),
    feature(
        "refused",
        "datagrams that the peer's host refuses",
        &[best("tp_btf", "inet_sk_error_report")],
        "refused datagrams whose process does not ask for the error",
    ),
    feature(
        "firewall",
        "packets that this machine's firewall drops",
        &[best("tp_btf", "kfree_skb")],
        "firewall drops of incoming packets and of TCP; sends that fail are still shown",
    ),
    // By the hook of `bytes`, which finds them in the memory of who received them.
    feature(DNS, "DNS responses", &[best("recv", "those of bytes")], "names of addresses"),
    // The same, in the memory of who sent them.
    feature(
        HELLO,
        "names that programs send: TLS, QUIC, proxies",
        &[best("send", "those of bytes")],
        "names of peers that were asked for over HTTPS or through a proxy, and of those that share an address",
    ),
    feature(
        "live",
        "the last bytes before a silence; open connections for a later pipe",
        &[
            best("iter", "bpf_sk_storage_map, bpf_map_elem"),
            Level {
                name: "files",
                hooks: "task_file",
                lost: "speed where many files are open, sockets that no process holds, and, for a pipe in a PID \
                       namespace, those of other namespaces",
            },
        ],
        "the last bytes before a silence until the next ones, and open connections for a pipe that starts \
         later",
    ),
    feature(
        "old",
        "connections older than the programs",
        &[best("iter", "task_file, once")],
        "connections older than the programs until their next traffic, and which of them are incoming",
    ),
];

/// A feature's name and the level that it shall have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Forced {
    feature: &'static str,
    level: &'static str,
}

impl std::str::FromStr for Forced {
    type Err = String;

    /// `NAME=LEVEL`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, level) = text.split_once('=').ok_or("expected NAME=LEVEL")?;
        let feature = FEATURES.iter().find(|feature| feature.name == name).ok_or_else(|| {
            let names: Vec<_> = FEATURES.iter().map(|feature| feature.name).collect();
            format!("there is no `{name}`, the names are: {}", names.join(" "))
        })?;
        let levels = feature.level_names();
        let level = levels
            .iter()
            .find(|known| **known == level)
            .ok_or_else(|| format!("`{name}` has no level `{level}`, it has: {}", levels.join(" ")))?;
        Ok(Self { feature: feature.name, level })
    }
}

impl std::fmt::Display for Forced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.feature, self.level)
    }
}

impl Forced {
    /// The feature's name.
    #[must_use]
    pub fn feature(&self) -> &'static str {
        self.feature
    }

    /// The level's name.
    #[must_use]
    pub fn level(&self) -> &'static str {
        self.level
    }

    /// Leaves the answers of name servers alone.
    #[must_use]
    pub fn no_dns() -> Self {
        Self { feature: DNS, level: OFF }
    }

    /// Leaves alone what processes send.
    #[must_use]
    pub fn no_hello() -> Self {
        Self { feature: HELLO, level: OFF }
    }
}

/// What `--hook` takes, one feature a line: its name, its levels from the best on, and what it is for.
#[must_use]
pub fn levels() -> String {
    let mut text = String::new();
    for feature in FEATURES {
        let levels = feature.level_names().join(", ");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:<9} {levels:<31}  {}", feature.name, feature.purpose);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_names_are_answered_with_the_right_ones() {
        for (text, named) in
            [("peer", "NAME=LEVEL"), ("peers=off", "bytes state"), ("peer=of", "cgroup kprobe off")]
        {
            let error = text.parse::<Forced>().unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        assert!("bytes=off".parse::<Forced>().is_err(), "nothing would be left");
    }
}
