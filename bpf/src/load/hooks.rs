// SPDX-License-Identifier: GPL-3.0-or-later
//! The eBPF programs behind each level of a feature. What features and levels there are, and what is lost without them,
//! is in `leco_cli::hooks`, since help and man page tell of it, too.

use std::os::fd::{AsRawFd, BorrowedFd};

use leco_cli::hooks::{BYTES, CLOSE, DNS, HELLO, KPROBE, LISTEN, PEER, STATE, TRACEPOINT};
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

/// The programs of each level of each feature, in the order of `FEATURES`: feature, level, and what is loaded for it.
const PROGRAMS: [(&str, &str, &[Program]); 21] = [
    (BYTES, "tp_btf", &[attached("send_length"), attached("recv_length")]),
    (BYTES, TRACEPOINT, &[attached("send_length_tracepoint"), attached("recv_length_tracepoint")]),
    (STATE, "tp_btf", &[attached("set_socket_state")]),
    (STATE, TRACEPOINT, &[attached("set_socket_state_tracepoint")]),
    ("accept", "cgroup", &[cgroup("getpeername4"), cgroup("getpeername6")]),
    (PEER, "cgroup", &[cgroup("sendmsg4"), cgroup("sendmsg6"), cgroup("recvmsg4"), cgroup("recvmsg6")]),
    (PEER, KPROBE, &[attached("udp_sendmsg"), attached("udpv6_sendmsg")]),
    ("raw", KPROBE, &[attached("raw_sendmsg"), attached("ping_v4_sendmsg")]),
    ("raw", "tp_btf", &[attached("raw_received")]),
    ("raw", "cgroup_skb", &[cgroup("raw_egress")]),
    (CLOSE, "cgroup", &[cgroup("sock_release")]),
    (LISTEN, "cgroup", &[cgroup("post_bind4"), cgroup("post_bind6")]),
    // By the hook of `state`.
    (LISTEN, "tcp", &[]),
    ("exit", "tp_btf", &[attached("process_exit")]),
    ("refused", "tp_btf", &[attached("error_report")]),
    ("firewall", "tp_btf", &[attached("dropped")]),
    // By the hook of `bytes`, which finds them in the memory of who received or sent them.
    (DNS, "recv", &[]),
    (HELLO, "send", &[]),
    (
        "live",
        "iter",
        &[
            iterator("live_sockets", "sockets", names::LIVE),
            iterator("pending_sockets", "sockets", names::PENDING),
            iterator("pending_flows", "flows", names::PENDING_FLOWS),
            iterator("listening_sockets", "listening", names::LISTENING),
        ],
    ),
    (
        "live",
        "files",
        &[
            files("live_files", names::LIVE),
            files("pending_files", names::PENDING),
            files("listening_files", names::LISTENING),
        ],
    ),
    ("old", "iter", &[once("old_listeners"), once("old_sockets")]),
];

/// What is loaded for a level of a feature; nothing where the level is none.
pub(crate) fn programs(feature: &str, level: &str) -> &'static [Program] {
    let found = PROGRAMS.iter().find(|(of, at, _)| (*of, *at) == (feature, level));
    found.map_or(&[], |(_, _, programs)| programs)
}

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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use leco_cli::hooks::FEATURES;
    use libbpf_rs::skel::{OpenSkel, SkelBuilder};

    use super::*;

    #[test]
    fn every_level_of_every_feature_has_its_programs() {
        let levels: Vec<_> = FEATURES
            .iter()
            .flat_map(|feature| feature.levels.iter().map(|level| (feature.name, level.name)))
            .collect();
        assert_eq!(PROGRAMS.map(|(feature, level, _)| (feature, level)).as_slice(), levels);
        let names: HashSet<_> =
            PROGRAMS.iter().flat_map(|(.., programs)| programs.iter().map(|program| program.name)).collect();
        let mut storage = std::mem::MaybeUninit::uninit();
        let skeleton = crate::skeleton::LecoSkelBuilder::default().open(&mut storage).unwrap();
        let compiled: HashSet<_> = skeleton
            .open_object()
            .progs()
            .map(|program| program.name().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, compiled.iter().map(String::as_str).collect());
    }
}
