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

impl Place {
    /// Of a process whose cgroup is known, or not, and its container.
    pub(crate) fn of(is_known: bool, container: Option<&Rc<str>>) -> Self {
        match container {
            Some(container) => Self::Container(Rc::clone(container)),
            None if is_known => Self::Host,
            None => Self::Unknown,
        }
    }
}

/// A process among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Where it runs.
    pub(crate) place: Place,
    /// Itself and the processes that started it, the nearest first; empty where it is gone.
    pub(crate) line: Rc<[Process]>,
}
