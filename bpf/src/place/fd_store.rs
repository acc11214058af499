// SPDX-License-Identifier: GPL-3.0-or-later
//! What the loader leaves with the service manager, and the pipe gets from it: descriptors by names, as
//! `sd_pid_notify_with_fds(3)` and `sd_listen_fds(3)` have it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sd_notify::NotifyState;

use crate::place::names;
use crate::{PassedFds, build_id};

/// Every link that keeps a program attached, under one name.
const LINKS: &str = "links";
/// What is passed; before its name stands `leco-`, after it `@` and the version.
pub(crate) const PARTS: [&str; 11] = [
    names::CLOSED,
    names::FLOWS,
    names::PROGRAMS,
    names::STATS,
    names::EVENTS,
    names::LIVE,
    names::PENDING,
    names::PENDING_FLOWS,
    names::LISTENING,
    names::MAPS,
    LINKS,
];
const PREFIX: &str = "leco-";
/// The service manager reads what it was told in less time.
const BARRIER_SECONDS: i64 = 5;
/// `SCM_MAX_FD` of the kernel's net/scm.h: descriptors in one message.
const MESSAGE_FDS: usize = 253;

/// Descriptors for one name.
pub(crate) type Part<'f> = (&'static str, Vec<BorrowedFd<'f>>);

pub(crate) const fn links(fds: Vec<BorrowedFd<'_>>) -> Part<'_> {
    (LINKS, fds)
}

fn name(part: &str, version: &str) -> String {
    format!("{PREFIX}{part}@{version}")
}

/// Whether there is a service manager to leave descriptors with.
pub(crate) fn has_manager() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Leaves descriptors with the service manager, in place of those of the same names.
pub(crate) fn store(version: &str, parts: &[Part<'_>]) -> io::Result<()> {
    remove(version)?;
    for (part, fds) in parts {
        let name = name(part, version);
        for fds in fds.chunks(MESSAGE_FDS) {
            let state = [
                NotifyState::FdStore,
                // Maps and links cannot be polled.
                NotifyState::Custom("FDPOLL=0"),
                NotifyState::FdName(&name),
            ];
            sd_notify::notify_with_fds(&state, fds)?;
        }
    }
    settle()
}

/// Makes the service manager close what these versions left with it, and waits until it knows.
pub(crate) fn forget(versions: &[String]) -> io::Result<()> {
    versions.iter().try_for_each(|version| remove(version))?;
    settle()
}

/// Makes the service manager close what a version left with it.
pub(crate) fn remove(version: &str) -> io::Result<()> {
    for part in PARTS {
        sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name(part, version))])?;
    }
    Ok(())
}

/// Waits until the service manager has read everything: it asks who sent it, which it cannot when the sender is gone.
fn settle() -> io::Result<()> {
    let (reader, writer) = io::pipe()?;
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[writer.as_fd()])?;
    drop(writer);
    let timeout = Timespec { tv_sec: BARRIER_SECONDS, tv_nsec: 0 };
    let mut closed = [PollFd::new(&reader, PollFlags::empty())];
    match poll(&mut closed, Some(&timeout))? {
        0 => Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer")),
        _ => Ok(()),
    }
}

/// What one loader left with the service manager.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) version: String,
    fds: HashMap<&'static str, OwnedFd>,
}

impl Passed {
    /// Takes them from all that was passed. Of several versions that of this build, else any.
    pub(crate) fn take(passed: &mut PassedFds) -> Option<Self> {
        let mut found: Vec<Self> = Vec::new();
        let names: Vec<String> = passed.keys().filter(|name| name.starts_with(PREFIX)).cloned().collect();
        for name in names {
            let Some((part, version)) = name[PREFIX.len()..].split_once('@') else { continue };
            let Some(part) = PARTS.iter().find(|known| **known == part) else { continue };
            let Some(fd) = passed.remove(&name).and_then(|mut fds| fds.pop()) else { continue };
            let there = found.iter_mut().find(|other| other.version == version);
            match there {
                Some(there) => drop(there.fds.insert(part, fd)),
                None => {
                    found.push(Self { version: version.to_owned(), fds: HashMap::from([(*part, fd)]) });
                }
            }
        }
        let ours = found.iter().position(|one| one.version.starts_with(&build_id()));
        ours.or_else(|| found.len().checked_sub(1)).map(|at| found.swap_remove(at))
    }

    /// Takes one of them; those that nobody takes are closed, which changes nothing: the service manager has its own.
    pub(crate) fn part(&mut self, part: &'static str) -> Option<OwnedFd> {
        self.fds.remove(part)
    }
}
