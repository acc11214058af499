// SPDX-License-Identifier: GPL-3.0-or-later
//! Programs that do nothing, and those that do the least that knowing every socket and counting its bytes takes.

use std::fs::File;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use leco_bpf::load::cgroup2;
use libbpf_rs::{Link, Object, ObjectBuilder};

/// What names of programs that do nothing begin with.
pub(crate) const PREFIX: &str = "empty_";
/// Programs that do nothing where bytes are counted.
const COUNTING: [&str; 2] = ["empty_send", "empty_recv"];
/// Those that find a socket's storage and add to it.
const LEAST_COUNTING: [&str; 2] = ["least_send", "least_recv"];
/// What does nothing where the least is done.
const INSTEAD: [&str; 3] = ["empty_send", "empty_recv", "empty_state"];

/// Such programs, attached until this is dropped.
pub(crate) struct Empty {
    _links: Vec<Link>,
    _object: Object,
}

impl Empty {
    /// Those that do nothing, where LECO's count bytes.
    pub(crate) fn where_bytes_are_counted() -> Result<Self> {
        Self::attach(|name| COUNTING.contains(&name))
    }

    /// Those that do nothing, at every hook of LECO's that this traffic meets.
    pub(crate) fn at_every_hook() -> Result<Self> {
        Self::attach(|name| name.starts_with(PREFIX))
    }

    /// Those that do the least that counting takes.
    pub(crate) fn counting() -> Result<Self> {
        Self::attach(|name| LEAST_COUNTING.contains(&name))
    }

    /// The same and a storage for every socket, and what does nothing at all other hooks.
    pub(crate) fn knowing_every_socket() -> Result<Self> {
        Self::attach(|name| !INSTEAD.contains(&name))
    }

    fn attach(is_wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/empty.bpf.o"));
        let mut object = ObjectBuilder::default().open_memory(bytes)?;
        for mut program in object.progs_mut() {
            let is_wanted = program.name().to_str().is_some_and(&is_wanted);
            program.set_autoload(is_wanted);
        }
        let object = object.load().context("the empty programs")?;
        let cgroup = File::open(cgroup2::root().context("no cgroup2 is mounted")?)?;
        let links = object.progs_mut().filter(|program| program.name().to_str().is_some_and(&is_wanted));
        let links = links.map(|program| {
            if program.section().as_encoded_bytes().starts_with(b"cgroup/") {
                program.attach_cgroup(cgroup.as_raw_fd())
            } else {
                program.attach()
            }
        });
        let links = links.collect::<Result<_, _>>()?;
        Ok(Self { _links: links, _object: object })
    }
}
