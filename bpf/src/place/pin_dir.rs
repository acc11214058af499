// SPDX-License-Identifier: GPL-3.0-or-later
//! The pin folder: `maps/` and `links/` on bpffs, put in place and removed as a whole.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Mode;

use super::names::{CLOSED, EVENTS, FLOWS, LISTENING, LIVE, MAPS, PENDING, PENDING_FLOWS, PROGRAMS, STATS};
use crate::place::bpffs::BPFFS;

/// Lets everybody pass through a folder.
pub(crate) const SEARCH_BY_OTHERS: u32 = 0o001;

/// Why a pin folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Outside bpffs, or with `..` in it.
    #[error("the pin directory must be a directory below {BPFFS}, without `..`: {0} is not")]
    Outside(PathBuf),
    /// With a name that bpffs does not take.
    #[error("{0}: a bpf filesystem takes no dots in names. Choose a name without one, like {1}")]
    Dots(PathBuf, String),
    /// Holds something that LECO did not make.
    #[error(
        "{0} contains something that is not LECO's ({1}): nothing was changed. Choose another directory."
    )]
    Foreign(PathBuf, String),
    /// Somebody else could change it at any moment.
    #[error("{0} {1}: another user could make LECO read or remove anything. Choose another directory.")]
    Untrusted(PathBuf, &'static str),
    /// Another process keeps the lock of loaders.
    #[error("another process holds the lock on {BPFFS} (flock): stop it, or wait until it ends")]
    Locked,
    /// The operating system refused a step.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// How it was refused.
        source: io::Error,
    },
}

impl PinError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// A pin folder, known to be below bpffs.
#[derive(Debug, Clone)]
pub struct PinDir {
    path: PathBuf,
}

impl PinDir {
    /// Accepts a folder below `/sys/fs/bpf/` and nothing else, since the loader removes what it replaces.
    pub fn new(path: &Path) -> Result<Self, PinError> {
        let below = path.strip_prefix(BPFFS).map_err(|_| PinError::Outside(path.to_owned()))?;
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || below.as_os_str().is_empty() {
            return Err(PinError::Outside(path.to_owned()));
        }
        if below.as_os_str().as_encoded_bytes().contains(&b'.') {
            let without = below.to_string_lossy().replace('.', "-");
            return Err(PinError::Dots(path.to_owned(), format!("{BPFFS}/{without}")));
        }
        Ok(Self { path: path.to_owned() })
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a folder that anybody but root can replace or put things into, and so everything above it. What only
    /// root can change cannot change between this look and what follows it.
    pub(crate) fn refuse_untrusted(&self) -> Result<(), PinError> {
        let staged = self.staged();
        let above = self.path.ancestors().skip(1).take_while(|folder| folder.starts_with(BPFFS));
        for folder in above.chain([self.path.as_path(), staged.path.as_path()]) {
            let there = match fs::symlink_metadata(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                there => there.map_err(PinError::io("inspect", folder))?,
            };
            // Into one like /tmp others may put things, but not touch what root has put there.
            let is_writable = there.mode() & 0o022 != 0;
            let keeps_entries = there.mode() & Mode::SVTX.bits() != 0;
            let fault = match () {
                () if there.is_symlink() => "is a symbolic link",
                () if !there.is_dir() => "is not a directory",
                () if there.uid() != 0 => "does not belong to root",
                () if is_writable && !keeps_entries => "can be changed by users other than root",
                () => continue,
            };
            return Err(PinError::Untrusted(folder.to_owned(), fault));
        }
        Ok(())
    }

    /// Where a map is pinned.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Where the maps are pinned.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.path.join(MAPS)
    }

    /// Where the links are pinned.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.path.join("links")
    }

    /// Where an iterator is pinned.
    #[must_use]
    pub fn iterator(&self, name: &str) -> PathBuf {
        self.path.join("iter").join(name)
    }

    /// The versions of the links in the folder, without repeats; empty where nothing is loaded.
    pub fn versions(&self) -> Result<Vec<String>, PinError> {
        let links = self.links();
        let mut versions = Vec::new();
        let entries = match fs::read_dir(&links) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(versions),
            entries => entries.map_err(PinError::io("read", &links))?,
        };
        for entry in entries {
            let name = entry.map_err(PinError::io("read", &links))?.file_name();
            if let Some((_, version)) = name.to_string_lossy().split_once('@')
                && !versions.iter().any(|known| known == version)
            {
                versions.push(version.to_owned());
            }
        }
        Ok(versions)
    }

    pub(super) fn staged(&self) -> Self {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push("-loading");
        Self { path: self.path.with_file_name(name) }
    }

    /// Refuses a folder in which something lies that LECO never makes.
    pub(crate) fn refuse_foreign(&self) -> Result<(), PinError> {
        let foreign = |name: String| Err(PinError::Foreign(self.path.clone(), name));
        for folder in entries(&self.path)? {
            let is_ours: fn(&str) -> bool = match folder.as_str() {
                MAPS => |name| [CLOSED, FLOWS, PROGRAMS, EVENTS, STATS].contains(&name),
                "iter" => |name| [LIVE, PENDING, PENDING_FLOWS, LISTENING].contains(&name),
                "links" => |name| name.contains("@v"),
                _ => return foreign(folder),
            };
            if let Some(name) = entries(&self.path.join(&folder))?.into_iter().find(|name| !is_ours(name)) {
                return foreign(format!("{folder}/{name}"));
            }
        }
        Ok(())
    }

    /// Removes the folder and the pins in it, which unloads the programs; a folder that is not there is
    /// fine, one with foreign things in it is refused whole.
    pub fn remove(&self) -> Result<(), PinError> {
        self.refuse_foreign()?;
        if !self.path.exists() {
            return Ok(());
        }
        fs::remove_dir_all(&self.path).map_err(PinError::io("remove", &self.path))
    }
}

/// Names in a folder; none where there is no such folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<String>, PinError> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .and_then(|entries| {
                entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
            })
            .map_err(PinError::io("read", folder)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_below_bpffs_are_accepted() {
        assert!(PinDir::new(Path::new("/sys/fs/bpf/leco")).is_ok());
        assert!(PinDir::new(Path::new("/sys/fs/bpf/a/b")).is_ok());
        for path in ["/sys/fs/bpf", "/sys/fs/bpf/", "/etc", "leco", "/sys/fs/bpf/../../etc", "/sys/fs/bpfx/a"]
        {
            assert!(matches!(PinDir::new(Path::new(path)), Err(PinError::Outside(_))), "{path}");
        }
        let error = PinDir::new(Path::new("/sys/fs/bpf/a.b/c")).unwrap_err().to_string();
        assert!(
            error.ends_with("takes no dots in names. Choose a name without one, like /sys/fs/bpf/a-b/c"),
            "{error}"
        );
    }
}
