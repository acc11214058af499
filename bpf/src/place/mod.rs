// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the loader leaves maps and links for the pipe: pins on bpffs, or a service manager's store of descriptors.

pub(crate) mod above;
pub mod bpffs;
pub(crate) mod changes;
pub(crate) mod fd_store;
pub(crate) mod lock;
pub mod names;
pub mod pin_dir;
pub(crate) mod reader_lock;
