// SPDX-License-Identifier: GPL-3.0-or-later
//! Pins put in place, opened to others and removed, each as a whole.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::above::Above;
use super::bpffs::BPFFS;
use super::names::{CLOSED, EVENTS, FLOWS, LISTENING, LIVE, PENDING, PENDING_FLOWS, PROGRAMS, STATS};
use super::pin_dir::{PinDir, PinError, SEARCH_BY_OTHERS};
use super::reader_lock::Replacement;

impl PinDir {
    /// A new, empty folder beside this one, to be filled and then put in its place, and what was changed above it.
    /// Remains of a loader that was killed are removed first.
    pub(crate) fn stage(&self, version: &str) -> Result<(Self, Above), PinError> {
        let staged = self.staged();
        let mut above = Above::noted(self);
        above.add(&Above::noted(&staged));
        for folder in self.path().ancestors().skip(1).take_while(|folder| !folder.exists()) {
            above.has_made(folder);
        }
        if let Some(parent) = self.path().parent() {
            fs::create_dir_all(parent).map_err(PinError::io("make", parent))?;
        }
        self.refuse_untrusted()?;
        staged.remove()?;
        for folder in [staged.path().to_owned(), staged.maps(), staged.path().join("iter"), staged.links()] {
            fs::create_dir(&folder).map_err(PinError::io("make", &folder))?;
        }
        above.note(&staged, version)?;
        Ok((staged, above))
    }

    /// Removes what a loader that was killed left beside the folder; whether there was anything.
    pub(crate) fn remove_staged(&self) -> Result<bool, PinError> {
        let staged = self.staged();
        let was_there = staged.path().exists();
        staged.remove()?;
        Ok(was_there)
    }

    /// Removes the folder, what a loader that was killed left beside it, and what was made for them above.
    pub(crate) fn remove_all(&self) -> Result<(), PinError> {
        let mut above = Above::noted(self);
        above.add(&Above::noted(&self.staged()));
        self.remove()?;
        self.staged().remove()?;
        above.take_back(self)
    }

    /// Puts a staged folder in this one's place in one step, so that a reader finds the old pins or the
    /// new ones, never some of each; then removes the old ones.
    pub(crate) fn replace_with(&self, staged: &Self) -> Result<(), PinError> {
        if !self.path().exists() {
            return fs::rename(staged.path(), self.path()).map_err(PinError::io("put in place", self.path()));
        }
        let replacement = Replacement::begin(&self.maps(), &staged.maps())
            .map_err(PinError::io("lock the maps of", self.path()))?;
        renameat_with(CWD, staged.path(), CWD, self.path(), RenameFlags::EXCHANGE)
            .map_err(|error| PinError::io("replace", self.path())(error.into()))?;
        staged.remove()?;
        replacement.finish();
        Ok(())
    }

    /// Lets everybody pass through the folders above this one, which systemd mounts for root alone; what
    /// lies in them keeps its own mode. Returns the folders that were changed.
    pub(crate) fn open_the_way(&self, above: &mut Above) -> Result<Vec<PathBuf>, PinError> {
        let mut changed = Vec::new();
        for folder in self.path().ancestors().skip(1).take_while(|folder| folder.starts_with(BPFFS)) {
            let mode = fs::metadata(folder).map_err(PinError::io("inspect", folder))?.permissions().mode();
            if mode & SEARCH_BY_OTHERS == 0 {
                let open = mode | SEARCH_BY_OTHERS;
                fs::set_permissions(folder, fs::Permissions::from_mode(open))
                    .map_err(PinError::io("set the mode of", folder))?;
                above.has_opened(folder, Some(open));
                changed.push(folder.to_owned());
            }
        }
        Ok(changed)
    }

    /// Opens the folder to a group: everything to be found, maps and iterators read, the ring used (a
    /// reader of a ring buffer has to write its position).
    pub(crate) fn share_with(&self, group: Option<u32>) -> Result<(), PinError> {
        let shared = [
            (self.path().to_owned(), 0o750),
            (self.path().join("iter"), 0o750),
            (self.links(), 0o750),
            (self.map(CLOSED), 0o640),
            (self.map(FLOWS), 0o640),
            (self.map(PROGRAMS), 0o640),
            (self.map(STATS), 0o640),
            (self.map(EVENTS), 0o660),
            (self.iterator(LIVE), 0o640),
            (self.iterator(PENDING), 0o640),
            (self.iterator(PENDING_FLOWS), 0o640),
            (self.iterator(LISTENING), 0o640),
        ];
        // An iterator that the kernel refused has no pin.
        for (path, mode) in shared.into_iter().filter(|(path, _)| path.exists()) {
            if let Some(group) = group {
                chown(&path, None, Some(group)).map_err(PinError::io("change the group of", &path))?;
            }
            let mode = if group.is_some() { mode } else { mode & 0o700 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(PinError::io("set the mode of", &path))?;
        }
        // The folder above keeps others out. Who was passed a descriptor of this one opens it anew to lock it.
        let maps = self.maps();
        if let Some(group) = group {
            chown(&maps, None, Some(group)).map_err(PinError::io("change the group of", &maps))?;
        }
        fs::set_permissions(&maps, fs::Permissions::from_mode(0o755))
            .map_err(PinError::io("set the mode of", &maps))
    }
}
