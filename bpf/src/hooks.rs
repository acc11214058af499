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
const CLOSED: Option<&str> = Some("the last bytes of a closed connection come late or not at all");
const TRAILING: Option<&str> = Some("the last bytes before a silence come with the next ones");

/// Every program, those first without which there is nothing to show.
pub(crate) const HOOKS: [HookSpec; 9] = [
    hook("send_length", "tp_btf sock_send_length", Attach::Tracepoint, None),
    hook("recv_length", "tp_btf sock_recv_length", Attach::Tracepoint, None),
    hook("sendmsg4", "cgroup sendmsg4", Attach::Cgroup, PEER),
    hook("sendmsg6", "cgroup sendmsg6", Attach::Cgroup, PEER),
    hook("recvmsg4", "cgroup recvmsg4", Attach::Cgroup, PEER),
    hook("recvmsg6", "cgroup recvmsg6", Attach::Cgroup, PEER),
    hook("sock_release", "cgroup sock_release", Attach::Cgroup, CLOSED),
    hook(
        "pending_sockets",
        "iter bpf_sk_storage_map",
        Attach::Iterator { map: "sockets", pin: pins::SOCKETS },
        TRAILING,
    ),
    hook("pending_flows", "iter bpf_map_elem", Attach::Iterator { map: "conns", pin: pins::FLOWS }, TRAILING),
];

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
            Attach::Tracepoint => program.attach(),
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
