// SPDX-License-Identifier: GPL-3.0-or-later
//! The bpf filesystem, mounted where it is missing.

use std::fs::File;

use super::errors::LoadError;
use super::preflight;
use crate::place::lock::lock;

/// The same of a bpf filesystem, which is mounted where there is none; whether it was.
pub(crate) fn lock_mounted() -> Result<(File, bool), LoadError> {
    let below = lock()?;
    if !preflight::bpffs()? {
        return Ok((below, false));
    }
    // Those who wait for the lock of what lies below it now will see that there is another.
    Ok((lock()?, true))
}
