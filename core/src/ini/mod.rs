// SPDX-License-Identifier: GPL-3.0-or-later
//! The ini file: entries with their places, colours, and what is wrong with either.

mod color;
mod diagnostic;
mod reader;

pub use self::color::{Rgba, contrast, mix};
pub(crate) use self::diagnostic::Fault;
pub use self::diagnostic::{Diagnostic, Rendering};
pub use self::reader::{Entry, Header, Ini, Malformed, REGEX_SECTIONS};
pub(crate) use self::reader::{header, is_space, split_rule};
