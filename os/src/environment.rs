// SPDX-License-Identifier: GPL-3.0-or-later
//! Directories that a person's environment names, as the XDG Base Directory Specification has it: an empty variable
//! counts as unset, a relative path as invalid.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The directory that a variable names, where it names one.
#[must_use]
pub fn folder(name: &str) -> Option<PathBuf> {
    folder_in(|name| env::var_os(name), name)
}

/// The same of other variables than those of this process.
#[must_use]
pub fn folder_in(variable: impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Which of these variables are ignored, and why: to be said once, at the start.
#[must_use]
pub fn ignored(names: &[&str]) -> Vec<String> {
    let value = |name: &&str| env::var_os(name).filter(|value| !value.is_empty());
    let relative = |name: &&&str| value(name).is_some() && folder(name).is_none();
    let told = |name: &&str| {
        let value = value(name).unwrap_or_default();
        let value = crate::clean::clean(&value.to_string_lossy()).into_owned();
        format!("{name}={value} is not an absolute path: ignored")
    };
    names.iter().filter(relative).map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_unset_and_relative_is_invalid() {
        let of = |value: Option<&str>| folder_in(|_| value.map(Into::into), "XDG_CONFIG_HOME");
        for none in [None, Some(""), Some("conf"), Some("./conf"), Some("~/conf")] {
            assert_eq!(of(none), None, "{none:?}");
        }
        assert_eq!(of(Some("/home/x/.config")), Some("/home/x/.config".into()));
    }
}
