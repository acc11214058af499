// SPDX-License-Identifier: GPL-3.0-or-later
//! How a pair is listed.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use leco_core::wire::details::ConnectionDetails;
use leco_core::wire::event::Direction;
use leco_os::clean::clean;
use nix::unistd::{Uid, User};

use crate::history::Pair;

/// `FIRST  LAST  USER :: PROGRAM :: [<- ]PEER`, with local times.
#[must_use]
pub fn line(pair: &Pair, zone: &TimeZone) -> String {
    let time = |second| match Timestamp::from_second(second) {
        Ok(time) => zone.to_datetime(time).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => "-".to_owned(),
    };
    let user = user_name(pair.uid);
    let mark = if pair.is_incoming { "<- " } else { "" };
    let (first, last) = (time(pair.first), time(pair.last));
    // The file is a file: anything may stand in it.
    clean(&format!("{first}  {last}  {user} :: {} :: {mark}{}", pair.program, pair.peer)).into_owned()
}

/// What a filter may ask for.
#[must_use]
pub fn details(pair: &Pair) -> ConnectionDetails {
    ConnectionDetails {
        user: user_name(pair.uid),
        uid: Some(pair.uid),
        process: pair.program.clone(),
        peers: vec![pair.peer.clone()],
        direction: match pair.is_incoming {
            true => Direction::In,
            // No name of a peer has a space.
            false if pair.peer.starts_with("listening ") => Direction::Listen,
            false => Direction::Out,
        },
        ..ConnectionDetails::default()
    }
}

/// Name of a user, else the number.
pub(super) fn user_name(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

/// The same as an object on one line, times in seconds since 1970.
#[must_use]
pub fn json(pair: &Pair) -> String {
    serde_json::to_string(pair).unwrap_or_default()
}
