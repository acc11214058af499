// SPDX-License-Identifier: GPL-3.0-or-later
//! Why nothing was loaded.

use std::io;

use super::preflight::Missing;
use crate::place::pin_dir::PinError;

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The machine lacks something.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The pin folder cannot be used.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The kernel refused something that LECO cannot do without.
    #[error("the kernel refused {what}: {reason}. Run again with --verbose to see what it said.")]
    Refused {
        /// What was refused.
        what: &'static str,
        /// The refusal.
        reason: String,
    },
    /// What this process may have was used up, whatever the kernel would take.
    #[error("cannot load the programs: {0}")]
    Exhausted(io::Error),
    /// An option the kernel would refuse.
    #[error("{0}")]
    Option(String),
    /// There is no service manager, or it does not take what is to be left with it.
    #[error(
        "cannot leave file descriptors with the service manager: {0}. Without a service manager, name a \
         directory with --pin."
    )]
    Manager(io::Error),
}
