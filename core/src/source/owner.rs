// SPDX-License-Identifier: GPL-3.0-or-later
//! Whose a source is: what another user may have written is not shown unless that is asked for.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Uid, User};

/// Users as whom the units run a pipe; besides them `leco-UID` for the user with that number.
const SERVICE_USERS: [&str; 2] = ["leco", "leco-pipe"];

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

    /// Whether what was opened may be read. To be asked of what is open: a path may lead elsewhere at any moment.
    pub fn check(self, opened: &Metadata) -> Result<(), OwnerError> {
        let kind = opened.file_type();
        let holds_bytes = kind.is_file() || std::os::unix::fs::FileTypeExt::is_fifo(&kind);
        if self == Self::Known && holds_bytes && opened.mode() & 0o002 != 0 {
            return Err(OwnerError::Writable);
        }
        self.check_user(opened.uid())
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
