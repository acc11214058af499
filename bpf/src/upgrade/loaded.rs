// SPDX-License-Identifier: GPL-3.0-or-later
//! Programs of LECO that are in the kernel already: how those of another version find them, and take their place
//! without losing what they know.
//!
//! Pins would not do: what a service manager keeps has none, and a command before the service's own gets no
//! descriptors from it. So every set of programs carries a text that says what it is, in a map of its own.

use std::collections::{BTreeMap, HashSet};

use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};

use crate::load::options::hash;

/// `LOADED_MAGIC` of leco.h.
const MAGIC: &[u8; 8] = b"LECO\0\0\0\x01";
/// Bytes of `struct loaded`, and where its members stand.
const SIZE: usize = 256;
const IS_COUNTING: usize = 8;
const IDENTITY: usize = 12;
/// Bytes of an instance's name that are kept as they are.
const INSTANCE_LENGTH: usize = 128;
/// Maps in which is what programs know of connections. Not those that only the loader needs.
pub(crate) const KNOWLEDGE: [&str; 9] =
    ["sockets", "listening", "flows", "closed", "programs", "events", "peers", "sharers", "stats"];

/// What a set of programs is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Which build, with which options.
    pub(crate) version: String,
    /// What their maps hold: another's can be taken over where it is the same.
    pub(crate) layout: String,
    /// Whose they are: of several that serve different readers each is replaced by itself.
    pub(crate) instance: String,
}

impl Identity {
    /// As it stands in the map.
    pub(crate) fn encode(&self) -> [u8; SIZE - IDENTITY] {
        let mut bytes = [0; SIZE - IDENTITY];
        let text = format!("{}\n{}\n{}", self.version, self.layout, self.kept_instance());
        // The last byte stays 0.
        for (to, from) in bytes.iter_mut().take(SIZE - IDENTITY - 1).zip(text.bytes()) {
            *to = from;
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let text = bytes.split(|byte| *byte == 0).next()?;
        let mut lines = str::from_utf8(text).ok()?.split('\n');
        let mut line = || lines.next().map(str::to_owned);
        Some(Self { version: line()?, layout: line()?, instance: line()? })
    }

    /// What is kept of a long name must not depend on what stands beside it: its beginning, and a hash of it all.
    fn kept_instance(&self) -> String {
        let mut kept = self.instance.clone();
        if kept.len() > INSTANCE_LENGTH {
            let hash = hash(kept.as_bytes());
            kept.truncate(kept.floor_char_boundary(INSTANCE_LENGTH));
            kept += &format!("#{hash:016x}");
        }
        kept
    }

    /// Whether what a map keeps is of this instance.
    fn is_same_instance(&self, kept: &Self) -> bool {
        self.kept_instance() == kept.instance
    }
}

/// A set of programs in the kernel.
#[derive(Debug)]
pub(crate) struct LoadedPrograms {
    pub(crate) identity: Identity,
    /// Where it stands whether they count.
    state: MapHandle,
    /// Ids of its maps, by name.
    pub(crate) maps: BTreeMap<String, u32>,
}

impl LoadedPrograms {
    /// Those of an instance, found by the maps of programs that root loaded: nobody else could make one that is taken
    /// for them.
    pub(crate) fn find(wanted: &Identity) -> Vec<Self> {
        let mut found: BTreeMap<u32, Self> = BTreeMap::new();
        let mut others: HashSet<u32> = HashSet::new();
        let options = ProgInfoQueryOptions::default().include_map_ids(true);
        for program in ProgInfoIter::with_query_opts(options).filter(|program| program.created_by_uid == 0) {
            let mut owner = None;
            for id in &program.map_ids {
                if !found.contains_key(id)
                    && others.insert(*id)
                    && let Some(programs) = Self::of_map(*id)
                {
                    found.insert(*id, programs);
                }
                owner = owner.or(found.contains_key(id).then_some(*id));
            }
            let Some(programs) = owner.and_then(|id| found.get_mut(&id)) else { continue };
            for id in &program.map_ids {
                if !programs.maps.values().any(|known| known == id)
                    && let Ok(map) = MapHandle::from_map_id(*id)
                {
                    programs.maps.insert(map.name().to_string_lossy().into_owned(), *id);
                }
            }
        }
        found.into_values().filter(|programs| wanted.is_same_instance(&programs.identity)).collect()
    }

    fn of_map(id: u32) -> Option<Self> {
        let state = MapHandle::from_map_id(id).ok()?;
        if state.map_type() != MapType::Array || state.value_size() as usize != SIZE {
            return None;
        }
        let value = state.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY).ok()??;
        let identity = value.starts_with(MAGIC).then(|| Identity::decode(&value[IDENTITY..]))??;
        Some(Self { identity, state, maps: BTreeMap::new() })
    }

    /// Whether they count now.
    pub(crate) fn is_counting(&self) -> libbpf_rs::Result<bool> {
        let value = self.state.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY)?;
        Ok(value.is_some_and(|value| value[IS_COUNTING..IDENTITY].iter().any(|byte| *byte != 0)))
    }

    /// Lets them count, or has them stand still. They see it at their next call.
    pub(crate) fn count(&self, counts: bool) -> libbpf_rs::Result<()> {
        let key = 0_u32.to_ne_bytes();
        let Some(mut value) = self.state.lookup(&key, MapFlags::ANY)? else { return Ok(()) };
        value[IS_COUNTING..IDENTITY].copy_from_slice(&u32::from(counts).to_ne_bytes());
        self.state.update(&key, &value, MapFlags::ANY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_the_map() {
        let identity = |instance: &str| Identity {
            version: "v0_1_0-1234abcd-5678".into(),
            layout: "9".into(),
            instance: instance.into(),
        };
        let short = identity("pins /sys/fs/bpf/leco");
        assert_eq!(Identity::decode(&short.encode()), Some(short.clone()));
        let long = identity(&"x".repeat(1000));
        let kept = Identity::decode(&long.encode()).unwrap();
        assert!(kept.instance.ends_with("x#1b47c0cc4dd21f05"), "other builds find it: {}", kept.instance);
        assert!(long.is_same_instance(&kept) && !short.is_same_instance(&kept));
        assert_eq!(Identity::decode(b"garbage"), None);
    }
}
