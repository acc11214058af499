// SPDX-License-Identifier: GPL-3.0-or-later
//! Loading: what the kernel takes, which programs, attached where.

pub mod cgroup2;
pub(crate) mod errors;
pub mod fields;
mod hooks;
mod loader;
mod mounting;
pub(crate) mod options;
pub mod plan;
pub mod preflight;
pub(crate) mod update_interval;

pub use self::errors::LoadError;
pub use self::loader::{Loaded, load, load_into_store, store_pinned, try_out, unload};
pub use self::options::{Options, version};
