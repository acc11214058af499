// SPDX-License-Identifier: GPL-3.0-or-later
//! What the kernel side knows, read by the unprivileged pipe.

mod errors;
mod location;
pub mod messages;
pub mod program;
pub mod reader;
pub mod record;
pub mod stream;

pub use self::errors::ReadError;
