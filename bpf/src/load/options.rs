// SPDX-License-Identifier: GPL-3.0-or-later
//! What can be chosen at load.

use std::path::PathBuf;
use std::time::Duration;

use leco_cli::hooks::Forced;
use siphasher::sip::SipHasher13;

use super::errors::LoadError;
use crate::build_id;
use crate::read::record::{CLOSED_SIZE, FLOW_KEY_SIZE, FLOW_SIZE};

/// Buckets of a hash map, of 16 bytes each, have to fit in 32 bits, and their number is a power of two
/// (`htab_map_alloc` in the kernel's `kernel/bpf/hashtab.c`).
const MAX_CONNS: u32 = 1 << 27;
/// What the kernel allocates at load for each of `max_conns`: an entry of `closed`, and one of `flows` with its element's
/// header and its bucket. Bytes.
const CONN_BYTES: u64 = (CLOSED_SIZE + FLOW_KEY_SIZE + FLOW_SIZE + 64) as u64;

/// Memory that can be had without swapping, as `/proc/meminfo` tells it (`proc_meminfo(5)`): bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

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
        if let Some(path) = &self.btf
            && std::fs::metadata(path).is_ok_and(|there| !there.is_file())
        {
            return Err(LoadError::Option(format!("--btf {}: not an ordinary file", path.display())));
        }
        if self.max_conns == 0 {
            return Err(LoadError::Option("--max-conns 0: at least one connection must fit".into()));
        }
        // Where it is not told, the kernel has the last word.
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        self.check_memory(available(&meminfo))
    }

    /// Refuses more connections than the kernel takes, or than fit in so many bytes.
    fn check_memory(&self, available: Option<u64>) -> Result<(), LoadError> {
        let wanted = self.max_conns;
        let refuse = |why: String| Err(LoadError::Option(format!("--max-conns {wanted}: {why}")));
        if wanted > MAX_CONNS {
            return refuse(format!("the kernel takes at most {MAX_CONNS}"));
        }
        match available {
            Some(bytes) if u64::from(wanted) * CONN_BYTES > bytes => refuse(format!(
                "that would take about {} MiB of memory, and {} MiB are available, enough for {}",
                (u64::from(wanted) * CONN_BYTES) >> 20,
                bytes >> 20,
                bytes / CONN_BYTES
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn more_connections_than_fit_are_refused_by_number() {
        let refusal = |max_conns, available| {
            let options = Options { max_conns, ..Options::default() };
            options.check_memory(available).err().map(|error| error.to_string())
        };
        assert!(
            refusal(u32::MAX, None)
                .unwrap()
                .contains("--max-conns 4294967295: the kernel takes at most 134217728")
        );
        assert_eq!(refusal(MAX_CONNS, None), None);
        assert_eq!(refusal(8192, Some(64 << 20)), None);
        let said = refusal(1 << 20, Some(CONN_BYTES * 1000)).unwrap();
        assert!(said.contains(&format!("{CONN_BYTES} MiB")) && said.contains("enough for 1000"), "{said}");
        assert_eq!(available("MemTotal:  5 kB\nMemAvailable:     3 kB\n"), Some(3072));
        assert_eq!(available("MemAvailable: x kB\n"), None);
    }

    #[test]
    fn defaults_are_those_of_the_command_line() {
        let cli = leco_cli::loader::Cli::parse_from(["leco-ebpf-load"]);
        let Options { update_interval, max_conns, ring_size, .. } = Options::default();
        assert_eq!(
            (update_interval, max_conns, ring_size),
            (cli.update_interval, cli.max_conns, cli.ring_size)
        );
    }

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
