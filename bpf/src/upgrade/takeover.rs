// SPDX-License-Identifier: GPL-3.0-or-later
//! How new programs take the place of those of another version.

use std::os::fd::AsFd;

use libbpf_rs::skel::OpenSkel;
use libbpf_rs::{MapCore, MapHandle, OpenMapMut};

use crate::load::errors::LoadError;
use crate::load::options::Options;
use crate::load::plan::Plan;
use crate::load::update_interval::set_interval;
use crate::map::io_error;
use crate::skeleton::types::loaded as State;
use crate::skeleton::{LecoSkel, OpenLecoSkel};
use crate::upgrade::loaded::{Identity, KNOWLEDGE, LoadedPrograms};

/// New programs, and those whose place they take.
#[derive(Debug)]
pub(crate) struct Takeover {
    version: String,
    instance: String,
    /// Those of the same instance, the ones that count first.
    pub(crate) loaded: Vec<LoadedPrograms>,
    /// Maps whose content nobody can take over.
    pub(crate) forgotten: Vec<&'static str>,
}

impl Takeover {
    /// Finds those whose place is to be taken.
    pub(crate) fn of(version: &str, instance: String) -> Self {
        let wanted = Identity { version: version.to_owned(), layout: String::new(), instance };
        let mut loaded = LoadedPrograms::find(&wanted);
        loaded.sort_by_key(|programs| !programs.is_counting().unwrap_or(false));
        let Identity { version, instance, .. } = wanted;
        Self { version, instance, loaded, forgotten: Vec::new() }
    }

    /// Gives programs that are not loaded yet their identity, and the maps of their predecessors.
    pub(crate) fn prepare(&mut self, skel: &mut OpenLecoSkel<'_>, plan: &Plan) -> Result<(), LoadError> {
        // What the keys of some maps are depends on the hooks.
        let layout = format!(
            "{}-{}{}",
            env!("LECO_BPF_LAYOUT_HASH"),
            u8::from(plan.is_keyed_by_pointer()),
            u8::from(plan.has_peers_by_probe())
        );
        let (version, instance) = (self.version.clone(), self.instance.clone());
        let identity = Identity { version, layout, instance };
        if let Some(data) = skel.maps.data_loaded_data.as_deref_mut() {
            data.loaded.is_counting = u32::from(self.loaded.is_empty());
            write_text(&mut data.loaded, &identity);
        }
        self.forgotten.clear();
        let Some(predecessor) = self.loaded.first() else { return Ok(()) };
        for mut map in skel.open_object_mut().maps_mut() {
            let known = map.name().to_string_lossy().into_owned();
            let Some(name) = KNOWLEDGE.into_iter().find(|name| **name == *known) else { continue };
            if !take_over(&mut map, name, predecessor, &identity)? {
                self.forgotten.push(name);
            }
        }
        Ok(())
    }

    /// From now on the new programs count, and the old ones no more. In between is time for nothing but two writes
    /// to memory, and what comes in it is not counted rather than twice.
    pub(crate) fn switch(&self, skel: &mut LecoSkel<'_>, options: &Options) -> Result<(), LoadError> {
        self.let_old_count(false)?;
        // Nobody else changes the counters now.
        set_interval(skel, options)?;
        if let Some(data) = skel.maps.data_loaded_data.as_deref_mut() {
            data.loaded.is_counting = 1;
        }
        Ok(())
    }

    /// Lets the old ones count again, or no more.
    pub(crate) fn let_old_count(&self, counts: bool) -> Result<(), LoadError> {
        self.loaded.iter().try_for_each(|programs| programs.count(counts)).map_err(|error| {
            LoadError::Refused {
                what: "the switch from the previously loaded programs",
                reason: error.to_string(),
            }
        })
    }

    /// Programs of this very version, if they are there already, and others of the instance.
    pub(crate) fn split(&self) -> (Option<&LoadedPrograms>, impl Iterator<Item = &LoadedPrograms>) {
        let is_wanted = |programs: &&LoadedPrograms| programs.identity.version == self.version;
        (self.loaded.iter().find(is_wanted), self.loaded.iter().filter(move |one| !is_wanted(one)))
    }
}

fn write_text(state: &mut State, identity: &Identity) {
    for (to, from) in state.identity.iter_mut().zip(identity.encode()) {
        *to = from.cast_signed();
    }
}

/// Uses a predecessor's map, if it means the same and is of the same size.
fn take_over(
    map: &mut OpenMapMut<'_>,
    name: &str,
    predecessor: &LoadedPrograms,
    identity: &Identity,
) -> Result<bool, LoadError> {
    let Some(id) = predecessor.maps.get(name).filter(|_| predecessor.identity.layout == identity.layout)
    else {
        return Ok(false);
    };
    // It may go at any moment.
    let Ok(old) = MapHandle::from_map_id(*id) else { return Ok(false) };
    let is_same = old.map_type() == map.map_type()
        && (old.key_size(), old.value_size()) == (map.key_size(), map.value_size())
        && old.max_entries() == map.max_entries();
    if is_same {
        map.reuse_fd(old.as_fd()).map_err(|error| LoadError::Refused {
            what: "a map of the previously loaded programs",
            reason: io_error(&error).to_string(),
        })?;
    }
    Ok(is_same)
}
