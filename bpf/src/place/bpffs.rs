// SPDX-License-Identifier: GPL-3.0-or-later
//! The bpf filesystem.

use std::path::Path;

/// The only place where pins are made and removed.
pub const BPFFS: &str = "/sys/fs/bpf";

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

/// Whether `path` lies on a bpf filesystem.
#[must_use]
pub(crate) fn is_bpffs(path: &Path) -> bool {
    // The type of f_type differs between architectures; the magic is 32 bits everywhere.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type as u32 == BPF_FS_MAGIC)
}
