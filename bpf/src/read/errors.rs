// SPDX-License-Identifier: GPL-3.0-or-later
//! Why the kernel side cannot be read.

use std::io;

use crate::build_id;
use crate::place::pin_dir::PinError;
use crate::place::reader_lock::Holder;

/// Why the kernel side cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The pin folder is not one.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Nothing is loaded there.
    #[error("nothing is loaded at {0}. Run: leco-ebpf-load --pin {0}")]
    NotLoaded(String),
    /// Loaded by another build.
    #[error("the programs at {place} are of version {found}, and this pipe needs {wanted}. {advice}")]
    Version {
        /// The pin folder, or who passed them.
        place: String,
        /// Version found there.
        found: String,
        /// Version of this build.
        wanted: String,
        /// What to do.
        advice: String,
    },
    /// Neither a pin folder nor a service manager says where the programs are.
    #[error(
        "the service manager passed no file descriptors from leco-ebpf-load. Name its directory with --pin \
         DIR, or run leco-ebpf-load first, as the unit leco@.service does."
    )]
    NotPassed,
    /// A pin may not be opened by this user.
    #[error(
        "cannot open {0}: permission denied. Run leco-ebpf-load with --group and a group of this user, or \
         start the pipe as root."
    )]
    Permission(String),
    /// The pins are gone: nothing will come any more.
    #[error("the programs at {0} were unloaded or replaced. Start leco-event-pipe again.")]
    Unloaded(String),
    /// A pin cannot be read or watched.
    #[error("cannot read {0}: {1}")]
    Pinned(String, io::Error),
    /// Another process reads the ring.
    #[error("cannot read the programs at {place}: {holder}")]
    Taken {
        /// The pin folder, or who passed them.
        place: String,
        /// Who reads, and what to use instead.
        holder: Holder,
    },
    /// The kernel refused an operation.
    #[error("cannot {action} {what}: {source}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// On what.
        what: String,
        /// How it was refused.
        source: io::Error,
    },
}

pub(crate) fn refused(action: &'static str, what: &str) -> impl FnOnce(io::Error) -> ReadError {
    let what = what.to_owned();
    move |source| ReadError::Refused { action, what, source }
}

pub(crate) fn other_version(place: &str, found: &str, advice: String) -> ReadError {
    ReadError::Version { place: place.to_owned(), found: found.to_owned(), wanted: build_id(), advice }
}
