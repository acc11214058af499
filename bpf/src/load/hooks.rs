// SPDX-License-Identifier: GPL-3.0-or-later
//! What the kernel side does, by which hooks, and what is lost without them.

use std::os::fd::{AsRawFd, BorrowedFd};

use libbpf_rs::{Link, ProgramMut};

use crate::place::names;

/// How a program is attached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attach {
    /// Where its section says.
    Section,
    /// To the root of the cgroup2 hierarchy.
    Cgroup,
    /// To a map, or to what needs none, to be read through a pin of this name.
    Iterator { map: Option<&'static str>, pin: &'static str },
    /// To the files of all tasks, read once by the loader.
    Once,
}

/// One eBPF program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    /// Its function.
    pub(crate) name: &'static str,
    /// Where it is attached.
    pub(crate) attach: Attach,
}

/// One way to do what a feature is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level {
    /// By what kind of hook; the name that `--hook` takes.
    pub(crate) name: &'static str,
    /// The hooks, as the kernel names them.
    pub(crate) hooks: &'static str,
    pub(crate) programs: &'static [Program],
    /// What it cannot do that the level before it can.
    pub(crate) lost: &'static str,
}

/// Something that the kernel side does by one kind of hook or another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Feature {
    /// The name that `--hook` takes.
    pub(crate) name: &'static str,
    /// What it is for, as help and man page have it.
    pub(crate) purpose: &'static str,
    /// From the best to the least.
    pub(crate) levels: &'static [Level],
    /// What is not shown without it; `None` where nothing would be.
    pub(crate) lost: Option<&'static str>,
}

/// A feature's level that does nothing.
pub(crate) const OFF: &str = "off";
/// Features that others depend on.
pub(crate) const BYTES: &str = "bytes";
/// See [`BYTES`].
pub(crate) const STATE: &str = "state";
/// Tells the end of a socket: without it TCP's own state has to.
pub(crate) const CLOSE: &str = "close";
/// Peers of unconnected UDP.
pub(crate) const PEER: &str = "peer";
/// Copies answers of name servers.
pub(crate) const DNS: &str = "dns";
/// Reads the names that processes send when they connect.
pub(crate) const HELLO: &str = "hello";
/// The level that has no storage of sockets.
pub(crate) const TRACEPOINT: &str = "tracepoint";
/// The level of [`PEER`] that has none.
pub(crate) const KPROBE: &str = "kprobe";

const LENGTHS: &str = "sock_send_length, sock_recv_length";
const SET_STATE: &str = "inet_sock_set_state";

const fn attached(name: &'static str) -> Program {
    Program { name, attach: Attach::Section }
}

const fn cgroup(name: &'static str) -> Program {
    Program { name, attach: Attach::Cgroup }
}

const fn once(name: &'static str) -> Program {
    Program { name, attach: Attach::Once }
}

const fn iterator(name: &'static str, map: &'static str, pin: &'static str) -> Program {
    Program { name, attach: Attach::Iterator { map: Some(map), pin } }
}

const fn files(name: &'static str, pin: &'static str) -> Program {
    Program { name, attach: Attach::Iterator { map: None, pin } }
}

const fn best(name: &'static str, hooks: &'static str, programs: &'static [Program]) -> Level {
    Level { name, hooks, programs, lost: "" }
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
    pub(crate) fn level_names(&self) -> Vec<&'static str> {
        let off = self.lost.map(|_| OFF);
        self.levels.iter().map(|level| level.name).chain(off).collect()
    }
}

/// Every feature. What is run once comes last, when all others count already.
pub(crate) const FEATURES: [Feature; 13] = [
    Feature {
        name: BYTES,
        purpose: "who sent and received how much",
        levels: &[
            best("tp_btf", LENGTHS, &[attached("send_length"), attached("recv_length")]),
            Level {
                name: TRACEPOINT,
                hooks: LENGTHS,
                programs: &[attached("send_length_tracepoint"), attached("recv_length_tracepoint")],
                lost: "speed (the cost is double), and incoming connections until a process accepts them",
            },
        ],
        lost: None,
    },
    feature(
        STATE,
        "TCP connects, direction, refusals and time-outs",
        &[
            best("tp_btf", SET_STATE, &[attached("set_socket_state")]),
            Level {
                name: TRACEPOINT,
                hooks: SET_STATE,
                programs: &[attached("set_socket_state_tracepoint")],
                lost: "the same as for bytes",
            },
        ],
        "connections without traffic, who opened them, and refusals, time-outs and resets of TCP",
    ),
    feature(
        "accept",
        "which process accepts, before the first bytes",
        &[best("cgroup", "getpeername4/6", &[cgroup("getpeername4"), cgroup("getpeername6")])],
        "which process accepts: until the first bytes the listener is shown",
    ),
    feature(
        PEER,
        "peers of unconnected UDP",
        &[
            best(
                "cgroup",
                "sendmsg4/6, recvmsg4/6",
                &[cgroup("sendmsg4"), cgroup("sendmsg6"), cgroup("recvmsg4"), cgroup("recvmsg6")],
            ),
            Level {
                name: KPROBE,
                hooks: "udp_sendmsg, udpv6_sendmsg",
                programs: &[attached("udp_sendmsg"), attached("udpv6_sendmsg")],
                lost: "senders of datagrams over unconnected UDP: these count for the peer last sent to",
            },
        ],
        "peers of unconnected UDP",
    ),
    feature(
        "raw",
        "peers of raw and ping sockets over IPv4",
        &[
            best(
                KPROBE,
                "raw_sendmsg, ping_v4_sendmsg",
                &[attached("raw_sendmsg"), attached("ping_v4_sendmsg")],
            ),
            Level {
                name: "tp_btf",
                hooks: "consume_skb",
                programs: &[attached("raw_received")],
                lost: "peers of raw and ping sockets over IPv4 until they answer; raw=cgroup_skb shows \
                       them, at a cost for every packet sent",
            },
            Level {
                name: "cgroup_skb",
                hooks: "egress",
                programs: &[cgroup("raw_egress")],
                lost: "a little speed, for every packet sent",
            },
        ],
        "peers of raw and ping sockets over IPv4",
    ),
    feature(
        CLOSE,
        "the end of every socket, with its final counts",
        &[best("cgroup", "sock_release", &[cgroup("sock_release")])],
        "the close of UDP sockets, and TCP bytes that are read after the peer's close",
    ),
    feature(
        "exit",
        "the end of a process that shared a socket",
        &[best("tp_btf", "sched_process_exit", &[attached("process_exit")])],
        "the end of a process's connections over a socket that others still use, until the socket is closed",
    ),
    feature(
        "refused",
        "datagrams that the peer's host refuses",
        &[best("tp_btf", "inet_sk_error_report", &[attached("error_report")])],
        "refused datagrams whose process does not ask for the error",
    ),
    feature(
        "firewall",
        "packets that this machine's firewall drops",
        &[best("tp_btf", "kfree_skb", &[attached("dropped")])],
        "firewall drops of incoming packets and of TCP; sends that fail are still shown",
    ),
    // By the hook of `bytes`, which finds them in the memory of who received them.
    feature(DNS, "DNS responses", &[best("recv", "those of bytes", &[])], "names of addresses"),
    // The same, in the memory of who sent them.
    feature(
        HELLO,
        "names that programs send: TLS, QUIC, proxies",
        &[best("send", "those of bytes", &[])],
        "names of peers that were asked for over HTTPS or through a proxy, and of those that share an address",
    ),
    feature(
        "live",
        "the last bytes before a silence; open connections for a later pipe",
        &[
            best(
                "iter",
                "bpf_sk_storage_map, bpf_map_elem",
                &[
                    iterator("live_sockets", "sockets", names::LIVE),
                    iterator("pending_sockets", "sockets", names::PENDING),
                    iterator("pending_flows", "flows", names::PENDING_FLOWS),
                ],
            ),
            Level {
                name: "files",
                hooks: "task_file",
                programs: &[files("live_files", names::LIVE), files("pending_files", names::PENDING)],
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
        &[best("iter", "task_file, once", &[once("old_listeners"), once("old_sockets")])],
        "connections older than the programs until their next traffic, and which of them are incoming",
    ),
];

/// What a program may be attached to.
pub(crate) struct Targets<'t> {
    /// Root of the cgroup2 hierarchy, where one is mounted.
    pub(crate) cgroup: Option<BorrowedFd<'t>>,
    /// Maps by name.
    pub(crate) map: &'t dyn Fn(&str) -> Option<BorrowedFd<'t>>,
}

impl Program {
    /// Attaches it, loaded; the error is for a person.
    pub(crate) fn attach(&self, program: &ProgramMut<'_>, targets: &Targets<'_>) -> Result<Link, String> {
        let link = match self.attach {
            Attach::Section | Attach::Once | Attach::Iterator { map: None, .. } => program.attach(),
            Attach::Cgroup => {
                let cgroup = targets.cgroup.ok_or("no cgroup2 is mounted")?;
                program.attach_cgroup(cgroup.as_raw_fd())
            }
            Attach::Iterator { map: Some(map), .. } => {
                program.attach_iter((targets.map)(map).ok_or_else(|| format!("there is no map {map}"))?)
            }
        };
        link.map_err(|error| format!("{error:#}"))
    }
}
