//! Who and whom: users, scripts, cgroups and peers by name, from bounded caches.

pub mod asn;
mod cache;
pub mod cgroup;
mod interpreters;
pub mod labeler;
pub mod labels;
pub mod names;
pub(crate) mod process;
mod script;
mod short_name;
mod workload;
