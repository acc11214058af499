// SPDX-License-Identifier: GPL-3.0-or-later
//! Files, TCP, signals and abstract sockets that are out of reach in a sandbox (landlock(7)).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    PathFdError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope, make_bitflags,
};

use super::confinement::{Landlock, LostPath};
use super::network::Network;
use crate::limits;

/// What every program reads: libraries, settings of the system, names of users and hosts, and about itself.
pub(super) const OF_THE_SYSTEM: [&str; 17] = [
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/etc",
    "/dev/urandom",
    "/proc/self",
    "/proc/sys",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys",
    "/run/systemd",
    "/run/nscd",
    "/var/lib/sss",
    "/var/db",
    "/nix/store",
    "/gnu/store",
];

/// Files that may be written wherever they may be read.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/tty", "/dev/pts"];

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
const USE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev});
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | RemoveFile | MakeReg | MakeDir | MakeSock | MakeFifo
});
/// What kernels are asked for. An older one does what it can, and [`Landlock`] says what that was.
const WANTED: ABI = ABI::V6;

/// What differs between parts.
#[derive(Debug)]
pub(super) struct Files<'a> {
    pub(super) readable: &'a [PathBuf],
    pub(super) writable: &'a [PathBuf],
    pub(super) runs_programs: bool,
    pub(super) network: Network,
}

impl Files<'_> {
    /// Gives up the others, for this thread and all that it starts. Paths that could not be kept are among what is
    /// returned.
    pub(super) fn keep(&self) -> (Landlock, Vec<LostPath>) {
        let mut lost = Vec::new();
        let landlock = self
            .restrict(&mut lost)
            .unwrap_or_else(|error| Landlock::Failed(limits::name_in(crate::causes::causes(&error))));
        (landlock, lost)
    }

    fn restrict(&self, lost: &mut Vec<LostPath>) -> Result<Landlock, RulesetError> {
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(WANTED))?
            .scope(Scope::from_all(WANTED))?;
        if self.network != Network::All {
            ruleset = ruleset.handle_access(AccessNet::from_all(WANTED))?;
        }
        let system = if self.runs_programs { READ | AccessFs::Execute } else { READ };
        let mut ruleset = ruleset.create()?;
        let named =
            |paths: &[PathBuf], access| paths.iter().map(|path| (path.clone(), access)).collect::<Vec<_>>();
        let kept = OF_THE_SYSTEM.map(|path| (PathBuf::from(path), system)).into_iter();
        let kept = kept.chain(DEVICES.map(|path| (PathBuf::from(path), USE)));
        for (path, access) in kept.chain(named(self.readable, READ)).chain(named(self.writable, WRITE)) {
            ruleset = keep_path(ruleset, &path, access, lost)?;
        }
        let status = ruleset.restrict_self()?;
        Ok(match status.landlock {
            LandlockStatus::NotEnabled => Landlock::TurnedOff,
            LandlockStatus::NotImplemented => Landlock::Missing,
            LandlockStatus::Available { .. } if status.ruleset == RulesetStatus::NotEnforced => {
                Landlock::Failed("it is not enforced".to_owned())
            }
            LandlockStatus::Available { effective_abi, .. } => {
                Landlock::Version((effective_abi.min(WANTED) as i32).cast_unsigned())
            }
        })
    }
}

/// Keeps a path. One that is not there, or out of reach already, needs no word.
fn keep_path(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
    lost: &mut Vec<LostPath>,
) -> Result<RulesetCreated, RulesetError> {
    const UNREACHABLE: [ErrorKind; 3] =
        [ErrorKind::NotFound, ErrorKind::NotADirectory, ErrorKind::PermissionDenied];
    match PathFd::new(path) {
        Ok(place) => {
            let is_file = rustix::fs::fstat(&place)
                .is_ok_and(|stat| !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
            let access = if is_file { access & AccessFs::from_file(WANTED) } else { access };
            ruleset.add_rule(PathBeneath::new(place, access))
        }
        Err(PathFdError::OpenCall { source, .. }) => {
            if !UNREACHABLE.contains(&source.kind()) {
                let reason = limits::explain(source).to_string();
                lost.push(LostPath { path: path.to_owned(), reason });
            }
            Ok(ruleset)
        }
        Err(error) => {
            lost.push(LostPath { path: path.to_owned(), reason: error.to_string() });
            Ok(ruleset)
        }
    }
}
