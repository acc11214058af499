// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the pipe reads what the kernel side knows: a pin folder, or descriptors that the service manager passed.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use inotify::WatchMask;
use leco_os::watch::Watcher;
use libbpf_rs::{MapHandle, MapType};
use rustix::fs::{CWD, fstat};
use rustix::io::Errno;

use crate::map::{Layout, io_error};
use crate::place::names;
use crate::place::pin_dir::PinDir;
use crate::place::reader_lock::open_folder;
use crate::read::errors::other_version;
use crate::read::errors::{ReadError, refused};

/// Who passes what has no pins.
pub(crate) const MANAGER: &str = "the service manager";

/// Where everything is read.
pub(crate) enum Place {
    /// In a pin folder.
    Pinned {
        dir: PinDir,
        /// The folder of maps, as it was before anything in it was opened.
        folder: OwnedFd,
    },
    /// By descriptors that the service manager passed.
    Passed {
        iterators: HashMap<&'static str, OwnedFd>,
        events: OwnedFd,
        /// The folder of maps, where they are pinned as well.
        folder: Option<OwnedFd>,
    },
}

impl Place {
    /// A pin folder, before anything in it is opened.
    pub(crate) fn pinned(dir: &PinDir) -> Result<Self, ReadError> {
        let folder = match open_folder(CWD, &dir.maps()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ReadError::NotLoaded(dir.path().display().to_string()));
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(ReadError::Permission(dir.maps().display().to_string()));
            }
            folder => folder.map_err(refused("open", &dir.maps().display().to_string()))?,
        };
        Ok(Self::Pinned { dir: dir.clone(), folder })
    }

    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Pinned { dir, .. } => dir.path().display().to_string(),
            Self::Passed { .. } => MANAGER.to_owned(),
        }
    }

    pub(crate) fn has_iterator(&self, name: &str) -> bool {
        match self {
            Self::Pinned { dir, .. } => dir.iterator(name).exists(),
            Self::Passed { iterators, .. } => iterators.contains_key(name),
        }
    }

    pub(crate) fn folder(&self) -> Option<&OwnedFd> {
        match self {
            Self::Pinned { folder, .. } => Some(folder),
            Self::Passed { folder, .. } => folder.as_ref(),
        }
    }

    /// Becomes readable when the pins go. Nothing where there are none.
    pub(crate) fn watch(&self) -> io::Result<Option<Watcher>> {
        match self {
            Self::Pinned { dir, .. } => watch(&dir.links()).map(Some),
            Self::Passed { folder: Some(folder), .. } => {
                watch(format!("/proc/self/fd/{}", folder.as_raw_fd()).as_ref()).map(Some)
            }
            Self::Passed { folder: None, .. } => Ok(None),
        }
    }

    /// Whether the pins were removed, or others put in their place, since the first of them was opened.
    pub(crate) fn is_gone(&self) -> io::Result<bool> {
        match self {
            Self::Pinned { dir, folder } => {
                let there = match rustix::fs::stat(dir.maps()) {
                    Err(Errno::NOENT) => return Ok(true),
                    there => there?,
                };
                let ours = fstat(folder)?;
                Ok((there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino))
            }
            Self::Passed { folder: Some(folder), .. } => Ok(fstat(folder)?.st_nlink == 0),
            Self::Passed { folder: None, .. } => Ok(false),
        }
    }

    pub(crate) fn ring(&self) -> Result<OwnedFd, ReadError> {
        let ring = match self {
            Self::Pinned { dir, .. } => pinned_map(&dir.map(names::EVENTS), 0),
            Self::Passed { events, .. } => events.try_clone().map_err(refused("open the ring of", MANAGER)),
        }?;
        let there = Layout::of(ring.as_fd()).map_err(refused("inspect", names::EVENTS))?;
        // As many bytes are mapped into memory, twice.
        let max_entries = there.max_entries.checked_next_power_of_two().unwrap_or_default();
        let wanted = Layout { kind: MapType::RingBuf, key_size: 0, value_size: 0, max_entries };
        self.check(names::EVENTS, there, wanted).map(|()| ring)
    }

    /// Refuses a map that is another one than is wanted, or that can hold nothing.
    pub(crate) fn check(&self, name: &str, there: Layout, wanted: Layout) -> Result<(), ReadError> {
        if there == wanted && there.max_entries > 0 {
            return Ok(());
        }
        let advice = "Run leco-ebpf-load again.".to_owned();
        Err(other_version(&self.shown(), &format!("another layout: {name} is {there}"), advice))
    }
}

fn watch(folder: &Path) -> io::Result<Watcher> {
    let mut watcher = Watcher::new()?;
    watcher.add(folder, WatchMask::DELETE | WatchMask::DELETE_SELF)?;
    Ok(watcher)
}

pub(crate) fn pinned_map(path: &Path, flags: u32) -> Result<OwnedFd, ReadError> {
    let shown = path.display().to_string();
    let map = MapHandle::from_pinned_path_with_file_flags(path, flags).map_err(|error| io_error(&error));
    let fd = map.and_then(|map| map.as_fd().try_clone_to_owned());
    fd.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => ReadError::Permission(shown),
        io::ErrorKind::NotFound => ReadError::NotLoaded(shown),
        _ => ReadError::Refused { action: "open", what: shown, source },
    })
}
