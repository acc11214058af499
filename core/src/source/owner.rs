// SPDX-License-Identifier: GPL-3.0-or-later
//! Whose a source is: what another user may have written is not shown unless that is asked for.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};

/// Users as whom the units run a pipe; besides them `leco-UID` for the user with that number.
const SERVICE_USERS: [&str; 3] = ["leco", "leco-pipe", "leco-relay"];

/// Whose events are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Owner {
    /// Those of root, of the reader, and of the service.
    #[default]
    Known,
    /// Anybody's.
    Any,
}

/// Why a source is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// Another user made it.
    #[error("refused, it belongs to user {0}: add ?owner=any to its path to trust that user")]
    Owner(String),
    /// A group may write to it, in which there may be others.
    #[error(
        "refused, group {0} may write to it: chmod g-w, or add ?owner=any to its path to trust its members"
    )]
    Group(String),
    /// Everybody may write to it.
    #[error("refused, every user may write to it: chmod o-w, or add ?owner=any to its path")]
    Writable,
}

impl Owner {
    /// Reads the value of `owner=`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text == "any").then_some(Self::Any)
    }

    /// Whether what was opened at a path may be read. To be asked of what is open: a path may lead elsewhere at any moment.
    pub fn check(self, path: &Path, opened: &Metadata) -> Result<(), OwnerError> {
        self.check_user(opened.uid())?;
        let kind = opened.file_type();
        if self == Self::Any || !(kind.is_file() || kind.is_fifo()) {
            return Ok(());
        }
        if opened.mode() & 0o002 != 0 {
            return Err(OwnerError::Writable);
        }
        if opened.mode() & 0o020 != 0 && !is_private(opened.gid()) && !is_kept_in(path, opened) {
            let gid = Gid::from_raw(opened.gid());
            let name =
                Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name);
            return Err(OwnerError::Group(name));
        }
        Ok(())
    }

    /// The same of the user at the other end of a socket.
    pub fn check_user(self, uid: u32) -> Result<(), OwnerError> {
        let reader = Uid::effective();
        if self == Self::Any || uid == 0 || uid == reader.as_raw() {
            return Ok(());
        }
        let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        match name {
            Some(name) if SERVICE_USERS.contains(&name.as_str()) || name == format!("leco-{reader}") => {
                Ok(())
            }
            name => Err(OwnerError::Owner(name.unwrap_or_else(|| uid.to_string()))),
        }
    }
}

/// Whether nobody but root and the reader is in a group: many systems give each user one of the same name, and let it
/// write to what the user makes.
fn is_private(gid: u32) -> bool {
    if gid == 0 {
        return true;
    }
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    let reader = User::from_uid(Uid::effective()).ok().flatten();
    group.zip(reader).is_some_and(|(group, reader)| {
        group.name == reader.name && group.mem.iter().all(|member| *member == reader.name)
    })
}

/// Whether nobody but root and the reader can reach it: the units' fifo is for the group of the service, in the user's
/// own directory.
fn is_kept_in(path: &Path, opened: &Metadata) -> bool {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = std::fs::metadata(directory.unwrap_or(Path::new(".")));
    let is_own = directory
        .is_ok_and(|directory| directory.uid() == Uid::effective().as_raw() && directory.mode() & 0o011 == 0);
    // It is in there itself, not behind a link.
    let is_there = std::fs::symlink_metadata(path)
        .is_ok_and(|there| (there.dev(), there.ino()) == (opened.dev(), opened.ino()));
    is_own && is_there
}
