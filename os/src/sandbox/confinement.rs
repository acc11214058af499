// SPDX-License-Identifier: GPL-3.0-or-later
//! What a program has really given up, which depends on its kernel.

use std::fmt;
use std::path::PathBuf;

use super::privileges::Privileges;

/// The version of Landlock's ABI that has all that is asked for (Linux 6.12).
pub const LANDLOCK_WANTED: u32 = 6;

/// What a program has really given up. The kernel may be one that cannot take everything.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what could not be given up has to be told"]
pub struct Confinement {
    /// What keeps files, signals and abstract sockets away.
    pub landlock: Landlock,
    /// What keeps system calls away, and sockets of kinds that are not needed.
    pub calls: SystemCalls,
    /// What root may do beyond other users.
    pub privileges: Privileges,
    /// Whether it was to keep TCP.
    pub keeps_tcp: bool,
    /// Whether it was to keep unix sockets, by which it could ask another program to do something.
    pub keeps_unix_sockets: bool,
    /// What it was to keep and lost.
    pub lost: Vec<LostPath>,
}

/// How far Landlock holds a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landlock {
    /// By this version of its ABI, at most [`LANDLOCK_WANTED`].
    Version(u32),
    /// The kernel has it, and was started without it.
    TurnedOff,
    /// The kernel does not have it.
    Missing,
    /// It should, and does not, for this reason.
    Failed(String),
}

/// Whether system calls are filtered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemCalls {
    /// They are.
    Filtered,
    /// There is no filter for this kind of processor.
    NoFilterForProcessor,
    /// They should be, and are not, for this reason.
    Failed(String),
}

/// A path that was to be kept, and is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostPath {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// What a program can still do because its kernel does not keep it from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// Use all files of its user (before Linux 5.13, or without Landlock).
    Files,
    /// Truncate all files of its user (before Linux 6.2).
    Truncation,
    /// Use ioctl(2) on devices that it may open, such as terminals (before Linux 6.10).
    DeviceControl,
    /// Make TCP connections: neither Landlock (Linux 6.7) nor a filter of system calls keeps it from that.
    Tcp,
    /// Send signals to other programs of its user (before Linux 6.12).
    Signals,
    /// Connect to abstract unix sockets (before Linux 6.12).
    AbstractSockets,
    /// Make every system call.
    SystemCalls,
    /// Use privileges of root.
    Privileges,
}

impl Landlock {
    /// Version of the ABI, 0 without any.
    #[must_use]
    pub fn version(&self) -> u32 {
        if let Self::Version(version) = self { *version } else { 0 }
    }

    fn shortcoming(&self) -> Option<String> {
        match self {
            Self::Version(version) if *version >= LANDLOCK_WANTED => None,
            Self::Version(version) => Some(format!(
                "this kernel has version {version} of Landlock, Linux 6.12 has version {LANDLOCK_WANTED}"
            )),
            Self::TurnedOff => {
                Some("Landlock is turned off: add landlock to lsm= of the kernel's command line".to_owned())
            }
            Self::Missing => Some("this kernel has no Landlock".to_owned()),
            Self::Failed(reason) => Some(format!("Landlock failed: {reason}")),
        }
    }
}

impl SystemCalls {
    fn shortcoming(&self) -> Option<String> {
        match self {
            Self::Filtered => None,
            Self::NoFilterForProcessor => {
                Some("system calls are not filtered on this architecture".to_owned())
            }
            Self::Failed(reason) => Some(format!("system calls are not filtered: {reason}")),
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "use all files of its user",
            Self::Truncation => "truncate files",
            Self::DeviceControl => "control devices",
            Self::Tcp => "connect over TCP",
            Self::Signals => "send signals",
            Self::AbstractSockets => "connect to abstract sockets",
            Self::SystemCalls => "make every system call",
            Self::Privileges => "use privileges of root",
        })
    }
}

impl Confinement {
    /// What it was to give up and still has.
    #[must_use]
    pub fn gaps(&self) -> Vec<Gap> {
        let version = self.landlock.version();
        let is_filtered = self.calls == SystemCalls::Filtered;
        let gaps = [
            (version < 1, Gap::Files),
            ((1..3).contains(&version), Gap::Truncation),
            ((1..5).contains(&version), Gap::DeviceControl),
            (version < 4 && !is_filtered && !self.keeps_tcp, Gap::Tcp),
            (version < 6, Gap::Signals),
            (version < 6, Gap::AbstractSockets),
            (!is_filtered, Gap::SystemCalls),
            (self.privileges != Privileges::Dropped, Gap::Privileges),
        ];
        gaps.into_iter().filter_map(|(is_open, gap)| is_open.then_some(gap)).collect()
    }

    /// Whether it gave up all that it was to, and kept the rest.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.gaps().is_empty() && self.lost.is_empty()
    }
}

/// One line for a log.
impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gaps = self.gaps();
        let Some((last, before)) = gaps.split_last() else {
            // What keeps a program from its work is not as it should be.
            let how = if self.lost.is_empty() { "complete" } else { "too narrow" };
            write!(f, "sandbox: {how} (Landlock {}, system calls filtered)", self.landlock.version())?;
            self.write_kept(f)?;
            return self.write_lost(f);
        };
        f.write_str("sandbox: incomplete, this program could still ")?;
        for (number, gap) in before.iter().enumerate() {
            write!(f, "{}{gap}", if number > 0 { ", " } else { "" })?;
        }
        write!(f, "{}{last}", if before.is_empty() { "" } else { " and " })?;
        let privileges = match &self.privileges {
            Privileges::Dropped => None,
            Privileges::Failed(reason) => Some(format!("privileges cannot be dropped: {reason}")),
        };
        let reasons = [self.landlock.shortcoming(), self.calls.shortcoming(), privileges];
        let reasons: Vec<_> = reasons.into_iter().flatten().collect();
        write!(f, " ({})", reasons.join("; "))?;
        self.write_kept(f)?;
        self.write_lost(f)
    }
}

impl Confinement {
    fn write_kept(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_filtered = self.calls == SystemCalls::Filtered;
        if self.keeps_unix_sockets && is_filtered { f.write_str("; it needs unix sockets") } else { Ok(()) }
    }

    fn write_lost(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, more)) = self.lost.split_first() else { return Ok(()) };
        let others = match more.len() {
            0 => String::new(),
            1 => " and 1 other path".to_owned(),
            many => format!(" and {many} other paths"),
        };
        write!(
            f,
            "; this program lost access to {}{others}, which it needs: {}",
            first.path.display(),
            first.reason
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(landlock: Landlock, calls: SystemCalls) -> Confinement {
        let privileges = Privileges::Dropped;
        Confinement {
            landlock,
            calls,
            privileges,
            keeps_tcp: false,
            keeps_unix_sockets: false,
            lost: Vec::new(),
        }
    }

    /// What the table of docs/SECURITY.md says.
    #[test]
    fn an_older_kernel_leaves_more() {
        use Gap::{AbstractSockets, DeviceControl, Files, Signals, Truncation};
        let without_6 = [Signals, AbstractSockets];
        for (version, gaps) in [
            (6, vec![]),
            (5, without_6.to_vec()),
            (4, vec![DeviceControl, Signals, AbstractSockets]),
            (3, vec![DeviceControl, Signals, AbstractSockets]),
            (2, vec![Truncation, DeviceControl, Signals, AbstractSockets]),
            (1, vec![Truncation, DeviceControl, Signals, AbstractSockets]),
        ] {
            let confinement = with(Landlock::Version(version), SystemCalls::Filtered);
            assert_eq!(confinement.gaps(), gaps, "Landlock {version}");
            assert_eq!(confinement.is_whole(), version == LANDLOCK_WANTED);
        }
        for landlock in [Landlock::Missing, Landlock::TurnedOff, Landlock::Failed("x".into())] {
            let confinement = with(landlock, SystemCalls::Filtered);
            assert_eq!(confinement.gaps(), [Files, Signals, AbstractSockets]);
        }
    }

    #[test]
    fn tcp_is_kept_away_by_either() {
        let has_tcp = |version, calls, keeps_tcp| {
            let confinement = Confinement { keeps_tcp, ..with(Landlock::Version(version), calls) };
            confinement.gaps().contains(&Gap::Tcp)
        };
        assert!(has_tcp(3, SystemCalls::NoFilterForProcessor, false));
        assert!(!has_tcp(4, SystemCalls::NoFilterForProcessor, false));
        assert!(!has_tcp(3, SystemCalls::Filtered, false));
        // What it is to have is no gap.
        assert!(!has_tcp(3, SystemCalls::NoFilterForProcessor, true));
    }

    #[test]
    fn each_shortcoming_is_told_with_its_reason() {
        let whole = with(Landlock::Version(6), SystemCalls::Filtered);
        assert_eq!(whole.to_string(), "sandbox: complete (Landlock 6, system calls filtered)");
        let needy = Confinement { keeps_unix_sockets: true, ..whole.clone() };
        assert!(needy.is_whole() && needy.to_string().ends_with(" filtered); it needs unix sockets"));
        let root = Confinement { privileges: Privileges::Failed("no".into()), ..whole.clone() };
        assert_eq!(root.gaps(), [Gap::Privileges]);
        assert_eq!(
            root.to_string(),
            "sandbox: incomplete, this program could still use privileges of root (privileges cannot be dropped: no)"
        );
        let older = with(Landlock::Version(3), SystemCalls::Filtered).to_string();
        assert_eq!(
            older,
            "sandbox: incomplete, this program could still control devices, send signals and connect to abstract \
             sockets (this kernel has version 3 of Landlock, Linux 6.12 has version 6)"
        );
        let none = with(Landlock::TurnedOff, SystemCalls::Failed("no memory".into())).to_string();
        assert!(
            none.contains("every system call (Landlock is turned off: add landlock to lsm=")
                && none.ends_with("no memory)"),
            "{none}"
        );
        let lost = |path: &str| LostPath { path: path.into(), reason: "too many open files".into() };
        let lossy = Confinement { lost: vec![lost("/usr"), lost("/etc")], ..whole };
        assert!(!lossy.is_whole());
        let lossy = lossy.to_string();
        assert!(
            lossy.ends_with("lost access to /usr and 1 other path, which it needs: too many open files"),
            "{lossy}"
        );
    }
}
