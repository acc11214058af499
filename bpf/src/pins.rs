//! The pin folder: `maps/` and `links/` on bpffs, put in place and removed as a whole.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FlockOperation, Mode, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use crate::above::Above;
use crate::options::LoadError;
use crate::preflight::{self, BPFFS};
use crate::reader_lock::Replacement;

/// Map of connections whose socket is gone.
pub const CLOSED: &str = "closed";
/// Map of what has no socket of its own: processes and peers of shared sockets, and dropped packets.
pub const FLOWS: &str = "flows";
/// Ring of announcements.
pub const EVENTS: &str = "events";
/// Counters of what was lost.
pub const STATS: &str = "stats";

/// Folder of the maps, which a reader of the ring keeps locked.
pub const MAPS: &str = "maps";

/// Iterator over every live connection.
pub const LIVE: &str = "sockets";
/// Iterator over the bytes of sockets that were not announced yet.
pub const PENDING: &str = "pending";
/// The same of flows.
pub const PENDING_FLOWS: &str = "pending_flows";

/// Lets everybody pass through a folder.
pub(crate) const SEARCH_BY_OTHERS: u32 = 0o001;

/// Other loaders are done long before.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// Why a pin folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Outside bpffs, or with `..` in it.
    #[error("the pin folder must be a folder below {BPFFS}, without `..`: {0} is not")]
    Outside(PathBuf),
    /// With a name that bpffs does not take.
    #[error("{0}: a bpf filesystem takes no dots in names. Choose a name without one, like {1}")]
    Dots(PathBuf, String),
    /// Holds something that LECO did not make.
    #[error("{0} holds something that is not LECO's ({1}): nothing was touched. Choose another folder.")]
    Foreign(PathBuf, String),
    /// Somebody else could change it at any moment.
    #[error(
        "{0} {1}: whoever that is could make LECO read or remove anything. Remove it, or choose another folder."
    )]
    Untrusted(PathBuf, &'static str),
    /// Another loader, or whoever holds its lock, does not come to an end.
    #[error("another process keeps {BPFFS} locked (flock): end it, or wait until it has ended")]
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
                there => there.map_err(PinError::io("look at", folder))?,
            };
            // Into one like /tmp others may put things, but not touch what root has put there.
            let is_writable = there.mode() & 0o022 != 0;
            let keeps_entries = there.mode() & Mode::SVTX.bits() != 0;
            let fault = match () {
                () if there.is_symlink() => "is a symbolic link",
                () if !there.is_dir() => "is not a folder",
                () if there.uid() != 0 => "does not belong to root",
                () if is_writable && !keeps_entries => "can be changed by others than root",
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

    /// A new, empty folder beside this one, to be filled and then put in its place, and what was changed above it.
    /// Remains of a loader that was killed are removed first.
    pub(crate) fn stage(&self, version: &str) -> Result<(Self, Above), PinError> {
        let staged = self.staged();
        let mut above = Above::noted(self);
        above.add(&Above::noted(&staged));
        for folder in self.path.ancestors().skip(1).take_while(|folder| !folder.exists()) {
            above.has_made(folder);
        }
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent).map_err(PinError::io("make", parent))?;
        }
        self.refuse_untrusted()?;
        staged.remove()?;
        for folder in [staged.path.clone(), staged.maps(), staged.path.join("iter"), staged.links()] {
            fs::create_dir(&folder).map_err(PinError::io("make", &folder))?;
        }
        above.note(&staged, version)?;
        Ok((staged, above))
    }

    /// Removes what a loader that was killed left beside the folder; whether there was anything.
    pub(crate) fn remove_staged(&self) -> Result<bool, PinError> {
        let staged = self.staged();
        let was_there = staged.path.exists();
        staged.remove()?;
        Ok(was_there)
    }

    fn staged(&self) -> Self {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push("-loading");
        Self { path: self.path.with_file_name(name) }
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
        if !self.path.exists() {
            return fs::rename(&staged.path, &self.path).map_err(PinError::io("put in place", &self.path));
        }
        let replacement = Replacement::begin(&self.maps(), &staged.maps())
            .map_err(PinError::io("lock the maps of", &self.path))?;
        renameat_with(CWD, &staged.path, CWD, &self.path, RenameFlags::EXCHANGE)
            .map_err(|error| PinError::io("replace", &self.path)(error.into()))?;
        staged.remove()?;
        replacement.finish();
        Ok(())
    }

    /// Refuses a folder in which something lies that LECO never makes.
    pub(crate) fn refuse_foreign(&self) -> Result<(), PinError> {
        let foreign = |name: String| Err(PinError::Foreign(self.path.clone(), name));
        for folder in entries(&self.path)? {
            let is_ours: fn(&str) -> bool = match folder.as_str() {
                MAPS => |name| [CLOSED, FLOWS, EVENTS, STATS].contains(&name),
                "iter" => |name| [LIVE, PENDING, PENDING_FLOWS].contains(&name),
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

    /// Lets everybody pass through the folders above this one, which systemd mounts for root alone; what
    /// lies in them keeps its own mode. Returns the folders that were changed.
    pub(crate) fn open_the_way(&self, above: &mut Above) -> Result<Vec<PathBuf>, PinError> {
        let mut changed = Vec::new();
        for folder in self.path.ancestors().skip(1).take_while(|folder| folder.starts_with(BPFFS)) {
            let mode = fs::metadata(folder).map_err(PinError::io("look at", folder))?.permissions().mode();
            if mode & SEARCH_BY_OTHERS == 0 {
                fs::set_permissions(folder, fs::Permissions::from_mode(mode | SEARCH_BY_OTHERS))
                    .map_err(PinError::io("set the mode of", folder))?;
                above.has_opened(folder);
                changed.push(folder.to_owned());
            }
        }
        Ok(changed)
    }

    /// Opens the folder to a group: everything to be found, maps and iterators read, the ring used (a
    /// reader of a ring buffer has to write its position).
    pub(crate) fn share_with(&self, group: Option<u32>) -> Result<(), PinError> {
        let shared = [
            (self.path.clone(), 0o750),
            (self.path.join("iter"), 0o750),
            (self.links(), 0o750),
            (self.map(CLOSED), 0o640),
            (self.map(FLOWS), 0o640),
            (self.map(STATS), 0o640),
            (self.map(EVENTS), 0o660),
            (self.iterator(LIVE), 0o640),
            (self.iterator(PENDING), 0o640),
            (self.iterator(PENDING_FLOWS), 0o640),
        ];
        // An iterator that the kernel refused has no pin.
        for (path, mode) in shared.into_iter().filter(|(path, _)| path.exists()) {
            if let Some(group) = group {
                chown(&path, None, Some(group)).map_err(PinError::io("give to the group", &path))?;
            }
            let mode = if group.is_some() { mode } else { mode & 0o700 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(PinError::io("set the mode of", &path))?;
        }
        // The folder above keeps others out. Who was passed a descriptor of this one opens it anew to lock it.
        let maps = self.maps();
        if let Some(group) = group {
            chown(&maps, None, Some(group)).map_err(PinError::io("give to the group", &maps))?;
        }
        fs::set_permissions(&maps, fs::Permissions::from_mode(0o755))
            .map_err(PinError::io("set the mode of", &maps))
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

/// Takes the lock under which pins are made and removed, and keeps it as long as the file lives.
pub(crate) fn lock() -> Result<File, PinError> {
    let root = Path::new(BPFFS);
    // Anybody who may read that folder can lock it: it is not waited for without end.
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        let file = File::open(root).map_err(PinError::io("open", root))?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(LOCK_INTERVAL),
                Err(Errno::WOULDBLOCK) => return Err(PinError::Locked),
                Err(error) => return Err(PinError::io("lock", root)(error.into())),
            }
        }
        // Where another loader mounted a filesystem meanwhile, the next one would not see this lock.
        let there = fs::metadata(root).map_err(PinError::io("look at", root))?;
        let locked = file.metadata().map_err(PinError::io("look at", root))?;
        if (there.dev(), there.ino()) == (locked.dev(), locked.ino()) {
            return Ok(file);
        }
    }
}

/// The same of a bpf filesystem, which is mounted where there is none; whether it was.
pub(crate) fn lock_mounted() -> Result<(File, bool), LoadError> {
    let below = lock()?;
    if !preflight::bpffs()? {
        return Ok((below, false));
    }
    // Those who wait for the lock of what lies below it now will see that there is another.
    Ok((lock()?, true))
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
