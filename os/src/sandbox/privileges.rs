// SPDX-License-Identifier: GPL-3.0-or-later
//! What root may do beyond other users: a sandbox leaves next to nothing of it (capabilities(7)).

use std::fs;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Paths that a person names may belong to another user, and ports may be low ones.
const KEPT: CapabilitySet =
    CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH).union(CapabilitySet::NET_BIND_SERVICE);

/// Whether a program still has privileges that it does not need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Privileges {
    /// It has none.
    Dropped,
    /// It has them, for this reason.
    Failed(String),
}

impl Privileges {
    /// Drops them, for this thread and all that it starts.
    pub(super) fn drop() -> Self {
        match drop_capabilities() {
            Ok(()) => Self::Dropped,
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

fn drop_capabilities() -> rustix::io::Result<()> {
    let CapabilitySets { effective, permitted, inheritable } = capabilities(None)?;
    let kept = if hides_processes() { KEPT.union(CapabilitySet::SYS_PTRACE) } else { KEPT };
    if !kept.contains(permitted) {
        let sets = CapabilitySets {
            effective: effective & kept,
            permitted: permitted & kept,
            inheritable: inheritable & kept,
        };
        set_capabilities(None, sets)?;
    }
    Ok(())
}

/// Whether processes of other users are seen by this privilege alone (`hidepid=` of proc(5)).
fn hides_processes() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    hides_processes_in(&mounts)
}

fn hides_processes_in(mountinfo: &str) -> bool {
    let is_proc = |line: &&str| line.split(' ').nth(4) == Some("/proc");
    let options = mountinfo.lines().rfind(is_proc).and_then(|line| line.rsplit(' ').next());
    let level = options.and_then(|options| options.split(',').find_map(|one| one.strip_prefix("hidepid=")));
    level.is_some_and(|level| !["0", "off"].contains(&level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_processes_are_known_by_the_mount_that_is_on_top() {
        let plain = "22 60 0:21 / /proc rw,nosuid shared:12 - proc proc rw\n";
        let hidden = "22 60 0:21 / /proc rw,nosuid shared:12 - proc proc rw,gid=4,hidepid=invisible\n";
        let off = "22 60 0:21 / /proc rw - proc proc rw,hidepid=off\n";
        let other = "23 60 0:22 / /mnt/proc rw - proc proc rw,hidepid=2\n";
        assert!(hides_processes_in(hidden) && hides_processes_in(&(plain.to_owned() + hidden)));
        for shown in ["", "\n", plain, off, other, &(hidden.to_owned() + plain)] {
            assert!(!hides_processes_in(shown), "{shown}");
        }
    }
}
