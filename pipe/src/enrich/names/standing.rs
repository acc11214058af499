// SPDX-License-Identifier: GPL-3.0-or-later
//! A process among others.

use std::rc::Rc;

use crate::enrich::process::Process;

/// In which surroundings a process runs. Root in a container is nobody outside of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The machine itself.
    Host,
    /// A container, as `KIND:NAME`.
    Container(Rc<str>),
    /// Its cgroup is not known.
    Unknown,
}

/// A process among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Where it runs.
    pub(crate) place: Place,
    /// Itself and the processes that started it, the nearest first; empty where it is gone.
    pub(crate) line: Rc<[Process]>,
}
