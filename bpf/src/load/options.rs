// SPDX-License-Identifier: GPL-3.0-or-later
//! What can be chosen at load.

use std::path::PathBuf;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use super::errors::LoadError;
use crate::build_id;
use crate::load::plan::Forced;

/// What can be chosen at load.
#[derive(Debug, Clone)]
pub struct Options {
    /// A connection is announced at most once in this time.
    pub update_interval: Duration,
    /// Entries of each of the maps `closed` and `flows`, above which the least recently used go.
    pub max_conns: u32,
    /// Bytes of the ring: a power of two, at least a page.
    pub ring_size: u32,
    /// Group that may read the pins.
    pub group: Option<u32>,
    /// Levels that are not chosen by what the kernel takes.
    pub forced: Vec<Forced>,
    /// A file with the types that the programs are fitted to, instead of the running kernel's own.
    pub btf: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            update_interval: Duration::from_secs(3),
            max_conns: 8192,
            ring_size: 256 * 1024,
            group: None,
            forced: Vec::new(),
            btf: None,
        }
    }
}

/// Version of the programs with these options, as it stands in the names of the links.
#[must_use]
pub fn version(options: &Options) -> String {
    format!("{}-{:08x}", build_id(), hash(options.canonical().as_bytes()) & 0xffff_ffff)
}

/// For names that another build has to find again: the same in every build, whatever its compiler, on every machine.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    SipHasher13::new().hash(bytes)
}

impl Options {
    /// All of them as a text.
    fn canonical(&self) -> String {
        let Self { update_interval, max_conns, ring_size, group, forced, btf } = self;
        let forced: Vec<String> = forced.iter().map(ToString::to_string).collect();
        format!(
            "interval={} conns={max_conns} ring={ring_size} group={group:?} hooks={} btf={btf:?}",
            update_interval.as_nanos(),
            forced.join(",")
        )
    }

    /// Refuses what the kernel would refuse with fewer words.
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let page = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
        if !self.ring_size.is_power_of_two() || self.ring_size < page {
            return Err(LoadError::Option(format!(
                "--ring-size {}: the kernel takes a power of two of at least {page} bytes",
                self.ring_size
            )));
        }
        if self.max_conns == 0 {
            return Err(LoadError::Option("--max-conns 0: at least one connection must fit".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other builds must come to the same: these numbers stay whatever changes here.
    #[test]
    fn a_version_does_not_depend_on_the_compiler() {
        assert_eq!(hash(b""), 0xd1fb_a762_150c_532c);
        let options = Options::default();
        assert_eq!(
            options.canonical(),
            "interval=3000000000 conns=8192 ring=262144 group=None hooks= btf=None"
        );
        let with = |change: &dyn Fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            version(&options)
        };
        let versions = [
            version(&options),
            with(&|options| options.update_interval = Duration::from_millis(1)),
            with(&|options| options.max_conns = 1),
            with(&|options| options.ring_size = 4096),
            with(&|options| options.group = Some(0)),
            with(&|options| options.forced = vec![Forced::no_dns()]),
            with(&|options| options.btf = Some("/x".into())),
        ];
        for (at, version) in versions.iter().enumerate() {
            assert!(!versions[at + 1..].contains(version), "{versions:?}");
        }
    }
}
