// SPDX-License-Identifier: GPL-3.0-or-later
//! Paths as people write them.

use std::path::PathBuf;

use leco_os::environment;

/// Replaces a leading `~/` and `$XDG_RUNTIME_DIR/`.
pub(crate) fn expand(path: &str) -> PathBuf {
    let below = |prefix: &str, variable: &str| {
        let rest = path.strip_prefix(prefix)?;
        Some(environment::folder(variable)?.join(rest))
    };
    below("~/", "HOME")
        .or_else(|| below("$XDG_RUNTIME_DIR/", "XDG_RUNTIME_DIR"))
        .unwrap_or_else(|| path.into())
}
