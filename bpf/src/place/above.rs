// SPDX-License-Identifier: GPL-3.0-or-later
//! What a loader changed above its pins, so that removing them undoes it.
//!
//! It is kept where the pins are, as what a symbolic link among the links leads to: bpffs has no files for a text.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::place::bpffs::BPFFS;
use crate::place::pin_dir::{PinDir, PinError, SEARCH_BY_OTHERS, entries};

/// Its name, before the version: as with the links that everybody takes for LECO's.
const NAME: &str = "above@";
/// Directories below each other in which other pins are looked for.
const MAX_DEPTH: usize = 8;
/// The permissions in a mode.
const MODE: u32 = 0o7777;

/// Directories above pins, each as the number of names from bpffs down to it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Above {
    /// Made for the pins.
    made: Vec<usize>,
    /// Made passable for others, each with the mode that it had afterwards: one that was changed since is not LECO's
    /// to change. Earlier versions noted no mode.
    opened: Vec<(usize, Option<u32>)>,
}

impl Above {
    /// What was noted in a pin folder.
    pub(crate) fn noted(dir: &PinDir) -> Self {
        let names = entries(&dir.links()).unwrap_or_default();
        let notes = names.iter().filter(|name| name.starts_with(NAME));
        notes.filter_map(|name| fs::read_link(dir.links().join(name)).ok()).fold(
            Self::default(),
            |mut all, note| {
                all.add(&Self::decode(&note.to_string_lossy()));
                all
            },
        )
    }

    /// Notes it there, in place of what was noted before.
    pub(crate) fn note(&self, dir: &PinDir, version: &str) -> Result<(), PinError> {
        for name in entries(&dir.links())?.iter().filter(|name| name.starts_with(NAME)) {
            let path = dir.links().join(name);
            fs::remove_file(&path).map_err(PinError::io("remove", &path))?;
        }
        if *self == Self::default() {
            return Ok(());
        }
        let path = dir.links().join(format!("{NAME}{version}"));
        symlink(self.encode(), &path).map_err(PinError::io("make", &path))
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.made.extend(&other.made);
        self.made.sort_unstable();
        self.made.dedup();
        self.opened.extend(&other.opened);
        self.opened.sort_unstable();
        self.opened.dedup();
    }

    pub(crate) fn has_made(&mut self, folder: &Path) {
        self.add(&Self { made: vec![depth(folder)], opened: Vec::new() });
    }

    /// The mode is the one that it has now.
    pub(crate) fn has_opened(&mut self, folder: &Path, mode: Option<u32>) {
        self.add(&Self { made: Vec::new(), opened: vec![(depth(folder), mode.map(|mode| mode & MODE))] });
    }

    /// Takes back what is above a folder whose pins are gone: what it shares with other pins of LECO is theirs to take
    /// back from now on.
    pub(crate) fn take_back(&self, dir: &PinDir) -> Result<(), PinError> {
        let above = |number: &usize| {
            dir.path().ancestors().skip(1).find(|folder| depth(folder) == *number).map(Path::to_owned)
        };
        for folder in self.made.iter().rev().filter_map(above) {
            match fs::remove_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    if let Some(heir) = pins_below(&folder, MAX_DEPTH) {
                        leave_to(&heir, |above| above.has_made(&folder))?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(PinError::io("remove", &folder))?,
            }
        }
        for (folder, left) in
            self.opened.iter().rev().filter_map(|(number, left)| Some((above(number)?, *left)))
        {
            let Ok(there) = fs::symlink_metadata(&folder) else { continue };
            let mode = there.permissions().mode() & MODE;
            if left.is_some_and(|left| left != mode) {
                continue;
            }
            if let Some(heir) = pins_below(&folder, MAX_DEPTH) {
                leave_to(&heir, |above| above.has_opened(&folder, left))?;
                continue;
            }
            let mode = mode & !SEARCH_BY_OTHERS;
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode))
                .map_err(PinError::io("set the mode of", &folder))?;
        }
        Ok(())
    }

    fn encode(&self) -> String {
        let folders = self.made.iter().map(|number| format!("/{number}"));
        let opened = self.opened.iter().map(|(number, mode)| match mode {
            Some(mode) => format!("/{number}:{mode:o}"),
            None => format!("/{number}"),
        });
        format!("made{}/opened{}", folders.collect::<String>(), opened.collect::<String>())
    }

    fn decode(text: &str) -> Self {
        let (mut above, mut is_made) = (Self::default(), false);
        for part in text.split('/') {
            let (number, mode) = part.split_once(':').unwrap_or((part, ""));
            match (part, number.parse()) {
                ("made", _) => is_made = true,
                ("opened", _) => is_made = false,
                (_, Ok(number)) if is_made => above.made.push(number),
                (_, Ok(number)) => above.opened.push((number, u32::from_str_radix(mode, 8).ok())),
                _ => {}
            }
        }
        above
    }
}

/// Names from bpffs down to a folder.
fn depth(folder: &Path) -> usize {
    folder.strip_prefix(BPFFS).map_or(usize::MAX, |below| below.components().count())
}

fn leave_to(heir: &PinDir, change: impl FnOnce(&mut Above)) -> Result<(), PinError> {
    let mut above = Above::noted(heir);
    change(&mut above);
    match heir.versions()?.first() {
        Some(version) => above.note(heir, version),
        None => Ok(()),
    }
}

/// Other pins of LECO below a folder.
fn pins_below(folder: &Path, levels: usize) -> Option<PinDir> {
    let below = || entries(folder).unwrap_or_default().into_iter().map(|name| folder.join(name));
    let is_folder = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|there| there.is_dir());
    below().filter(is_folder).find_map(|path| {
        let dir = PinDir::new(&path).ok()?;
        if !dir.versions().unwrap_or_default().is_empty() && dir.maps().is_dir() {
            return Some(dir);
        }
        pins_below(&path, levels.checked_sub(1)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_survives_and_garbage_is_nothing() {
        let mut above = Above::default();
        above.has_made(Path::new("/sys/fs/bpf/a/b"));
        above.has_made(Path::new("/sys/fs/bpf/a"));
        above.has_opened(Path::new("/sys/fs/bpf"), Some(0o41_701));
        assert_eq!(above.encode(), "made/1/2/opened/0:1701");
        assert_eq!(Above::decode(&above.encode()), above);
        let of_before = Above { made: vec![1], opened: vec![(0, None)] };
        assert_eq!(Above::decode("made/1/opened/0"), of_before);
        assert_eq!(Above::decode(&of_before.encode()), of_before);
        assert_eq!(Above::decode("/../made/x/opened/-1"), Above::default());
    }
}
