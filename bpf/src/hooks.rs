//! The programs: where each attaches, and what is lost without it.

use std::os::fd::{AsRawFd, BorrowedFd};

use libbpf_rs::{Link, ProgramMut};

use crate::pins;

/// How a program is attached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attach {
    /// To the tracepoint in its section's name.
    Tracepoint,
    /// To the root of the cgroup2 hierarchy.
    Cgroup,
    /// To a map, to be read through a pin of this name.
    Iterator { map: &'static str, pin: &'static str },
    /// To the files of all tasks, read once by the loader.
    Once,
}

/// A program of the kernel side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HookSpec {
    /// Its function.
    pub(crate) program: &'static str,
    /// Type and name of the hook, for a person.
    pub(crate) name: &'static str,
    pub(crate) attach: Attach,
    /// What is not shown without it; `None` where nothing would be.
    pub(crate) lost: Option<&'static str>,
}

const fn hook(
    program: &'static str,
    name: &'static str,
    attach: Attach,
    lost: Option<&'static str>,
) -> HookSpec {
    HookSpec { program, name, attach, lost }
}

const PEER: Option<&str> = Some("unconnected UDP shows no peer");
const STATE: Option<&str> = Some(
    "connections without traffic, who opened them, and refusals, time-outs and resets of TCP are not shown",
);
const ACCEPT: Option<&str> = Some("an incoming connection is its listener's until its first bytes");
const CLOSED: Option<&str> = Some("the last bytes of a closed connection come late or not at all");
const REFUSED: Option<&str> = Some("a datagram's refusal is shown only if its process asks for it");
const FIREWALL: Option<&str> =
    Some("what the firewall drops is shown only where the send fails: never what comes in, nor TCP");
const DNS: Option<&str> = Some("addresses have no names");
const TRAILING: Option<&str> = Some("the last bytes before a silence come with the next ones");
const LIVE: Option<&str> = Some("a pipe that starts later learns of open connections at their next traffic");
const OLD: Option<&str> =
    Some("connections older than the programs are shown at their next traffic, as outgoing ones");

const fn iterator(map: &'static str, pin: &'static str) -> Attach {
    Attach::Iterator { map, pin }
}

/// Every program, those first without which there is nothing to show. What is run once comes last, when all
/// others count already.
pub(crate) const HOOKS: [HookSpec; 18] = [
    hook("send_length", "tp_btf sock_send_length", Attach::Tracepoint, None),
    hook("recv_length", "tp_btf sock_recv_length", Attach::Tracepoint, None),
    hook("set_socket_state", "tp_btf inet_sock_set_state", Attach::Tracepoint, STATE),
    hook("getpeername4", "cgroup getpeername4", Attach::Cgroup, ACCEPT),
    hook("getpeername6", "cgroup getpeername6", Attach::Cgroup, ACCEPT),
    hook("sendmsg4", "cgroup sendmsg4", Attach::Cgroup, PEER),
    hook("sendmsg6", "cgroup sendmsg6", Attach::Cgroup, PEER),
    hook("recvmsg4", "cgroup recvmsg4", Attach::Cgroup, PEER),
    hook("recvmsg6", "cgroup recvmsg6", Attach::Cgroup, PEER),
    hook(RELEASE, "cgroup sock_release", Attach::Cgroup, CLOSED),
    hook("error_report", "tp_btf inet_sk_error_report", Attach::Tracepoint, REFUSED),
    hook("dropped", "tp_btf kfree_skb", Attach::Tracepoint, FIREWALL),
    hook(ANSWERS, "tp_btf consume_skb", Attach::Tracepoint, DNS),
    hook("live_sockets", "iter bpf_sk_storage_map", iterator("sockets", pins::LIVE), LIVE),
    hook("pending_sockets", "iter bpf_sk_storage_map", iterator("sockets", pins::PENDING), TRAILING),
    hook("pending_flows", "iter bpf_map_elem", iterator("flows", pins::PENDING_FLOWS), TRAILING),
    hook("old_listeners", "iter task_file", Attach::Once, OLD),
    hook("old_sockets", "iter task_file", Attach::Once, OLD),
];

/// Tells the end of a socket: without it TCP's own state has to.
pub(crate) const RELEASE: &str = "sock_release";
/// Copies answers of name servers: can be left out.
pub(crate) const ANSWERS: &str = "received";

/// What a program may be attached to.
pub(crate) struct Targets<'t> {
    /// Root of the cgroup2 hierarchy, where one is mounted.
    pub(crate) cgroup: Option<BorrowedFd<'t>>,
    /// Maps by name.
    pub(crate) map: &'t dyn Fn(&str) -> Option<BorrowedFd<'t>>,
}

impl HookSpec {
    /// Attaches the loaded program; the error is for a person.
    pub(crate) fn attach(&self, program: &ProgramMut<'_>, targets: &Targets<'_>) -> Result<Link, String> {
        let link = match self.attach {
            Attach::Tracepoint | Attach::Once => program.attach(),
            Attach::Cgroup => {
                let cgroup = targets.cgroup.ok_or("no cgroup2 is mounted")?;
                program.attach_cgroup(cgroup.as_raw_fd())
            }
            Attach::Iterator { map, .. } => {
                program.attach_iter((targets.map)(map).ok_or_else(|| format!("there is no map {map}"))?)
            }
        };
        link.map_err(|error| error.to_string())
    }
}
