// SPDX-License-Identifier: GPL-3.0-or-later
//! Lists of domains, addresses and networks that files have, by the names that a config gives them (`[lists]`).

mod entry;
mod hashes;
mod list;
mod named;
mod networks;

pub use self::list::{List, MAX_LIST_BYTES, MAX_LIST_ENTRIES};
pub use self::named::Lists;
pub(crate) use self::named::{ListsFrom, Loaded, Stamp, stamp, unquoted};
