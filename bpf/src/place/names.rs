// SPDX-License-Identifier: GPL-3.0-or-later
//! What maps and iterators are called, pinned or passed.

/// Map of connections whose socket is gone.
pub const CLOSED: &str = "closed";
/// Map of what has no socket of its own: processes and peers of shared sockets, and dropped packets.
pub const FLOWS: &str = "flows";
/// Map of what processes run.
pub const PROGRAMS: &str = "programs";
/// Ring of announcements.
pub const EVENTS: &str = "events";
/// Counters of what was lost.
pub const STATS: &str = "stats";

/// Folder of the maps, which a reader of the ring keeps locked.
pub const MAPS: &str = "maps";

/// Iterator over every live connection.
pub const LIVE: &str = "sockets";
/// Iterator over the bytes of sockets that were not announced yet.
pub const PENDING: &str = "pending";
/// Iterator over who listens.
pub const LISTENING: &str = "listening";
/// The same as [`PENDING`] of flows.
pub const PENDING_FLOWS: &str = "pending_flows";
