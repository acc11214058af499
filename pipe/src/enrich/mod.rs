// SPDX-License-Identifier: GPL-3.0-or-later
//! Who and whom: users, scripts, cgroups and peers by name, from bounded caches.

pub(crate) mod asker;
pub mod asn;
mod cache;
pub mod cgroup;
pub mod country;
pub mod hello;
mod interpreters;
pub mod labeler;
pub mod labels;
pub mod name_services;
pub mod names;
pub(crate) mod peer_names;
pub(crate) mod process;
mod script;
mod script_names;
mod sent_names;
pub(crate) mod services;
mod short_name;
mod users;
mod workload;
