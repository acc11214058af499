// SPDX-License-Identifier: GPL-3.0-or-later
//! The fifo that is read where nobody names one.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where systemd and others make runtime folders of users.
const RUNTIME_FOLDERS: &str = "/run/user";

/// There is no folder that the user alone can write to, so nothing can be trusted that is found in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no runtime directory of yours in which to find leco.fifo: {0}. Name a source (--fifo PATH or --source), \
     or set XDG_RUNTIME_DIR to a directory that only you can write to"
)]
pub struct NoRuntimeFolder(String);

/// `leco.fifo` in the user's runtime folder, in which nobody else can put anything.
pub fn default_fifo() -> Result<PathBuf, NoRuntimeFolder> {
    let uid = rustix::process::geteuid().as_raw();
    let folder = runtime_folder(std::env::var_os("XDG_RUNTIME_DIR"), uid, Path::new(RUNTIME_FOLDERS))?;
    Ok(folder.join("leco.fifo"))
}

/// The folder that the variable names, else the one of this user below `all`.
fn runtime_folder(variable: Option<OsString>, uid: u32, all: &Path) -> Result<PathBuf, NoRuntimeFolder> {
    // As the base directory specification says: empty is unset, and relative is invalid.
    let named = variable.map(PathBuf::from).filter(|path| path.is_absolute());
    let (folder, is_named) = match named {
        Some(folder) => (folder, true),
        None => (all.join(uid.to_string()), false),
    };
    let shown = folder.display();
    let fault = match fs::metadata(&folder) {
        Ok(there) if !there.is_dir() => format!("{shown} is not a directory"),
        Ok(there) if there.uid() != uid && there.uid() != 0 => {
            format!("{shown} belongs to user {}", there.uid())
        }
        Ok(there) if there.mode() & 0o022 != 0 => format!("other users can write to {shown}"),
        Ok(_) => return Ok(folder),
        Err(error) if is_named => format!("{shown}: {error}"),
        Err(error) => format!("XDG_RUNTIME_DIR is not set, and {shown}: {error}"),
    };
    Err(NoRuntimeFolder(fault))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_folder_of_ones_own_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let all = dir.path().join("user");
        let own = all.join(uid.to_string());
        let folder = |variable: Option<&Path>| runtime_folder(variable.map(Into::into), uid, &all);
        let refused = |variable| folder(variable).unwrap_err().to_string();
        assert!(refused(None).contains("XDG_RUNTIME_DIR is not set") && refused(None).contains("--fifo"));
        fs::create_dir_all(&own).unwrap();
        let set_mode = |mode| fs::set_permissions(&own, fs::Permissions::from_mode(mode)).unwrap();
        for (mode, is_taken) in [(0o700, true), (0o755, true), (0o770, false), (0o1777, false)] {
            set_mode(mode);
            for variable in [None, Some(own.as_path()), Some(Path::new("")), Some(Path::new("user"))] {
                assert_eq!(folder(variable).ok(), is_taken.then(|| own.clone()), "{mode:o} {variable:?}");
            }
        }
        set_mode(0o700);
        assert!(refused(Some(Path::new("/tmp"))).contains("other users can write to /tmp"));
        let missing = dir.path().join("none");
        assert!(refused(Some(&missing)).contains("none"));
        if uid == 0 {
            std::os::unix::fs::chown(&own, Some(54321), None).unwrap();
            assert!(refused(None).contains("belongs to user 54321"));
        }
        fs::remove_dir(&own).unwrap();
        fs::write(&own, "").unwrap();
        assert!(refused(None).contains("is not a directory"));
    }
}
