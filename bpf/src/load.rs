//! Loads the programs, attaches each by itself, and pins maps and links.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, ProgramMut};
use rustix::time::{ClockId, clock_getres};

use crate::pins::{self, PinDir, PinError};
use crate::preflight::{self, Missing};
use crate::skeleton::{LecoSkel, LecoSkelBuilder, OpenLecoSkel};
use crate::{build_id, cgroup2};

/// What can be chosen at load.
#[derive(Debug, Clone, Hash)]
pub struct Options {
    /// A connection is announced at most once in this time.
    pub update_interval: Duration,
    /// Entries of the `conns` map, above which the least recently used go.
    pub max_conns: u32,
    /// Bytes of the ring: a power of two, at least a page.
    pub ring_size: u32,
    /// Group that may read the pins.
    pub group: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { update_interval: Duration::from_secs(3), max_conns: 8192, ring_size: 256 * 1024, group: None }
    }
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The machine lacks something.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The pin folder cannot be used.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The kernel refused a program that LECO cannot do without.
    #[error("the kernel refused {hook}: {reason}. Run again with --verbose to see what it said.")]
    Refused {
        /// The hook, as the kernel names it.
        hook: &'static str,
        /// The refusal.
        reason: libbpf_rs::Error,
    },
    /// An option the kernel would refuse.
    #[error("{0}")]
    Option(String),
}

/// What a load did.
#[derive(Debug)]
pub enum Loaded {
    /// These very programs were there already; nothing was touched.
    Already {
        /// Their version.
        version: String,
    },
    /// Loaded and pinned.
    New {
        /// Their version.
        version: String,
        /// Versions of the programs that were replaced.
        replaced: Vec<String>,
        /// Each hook and, where it could not be attached, the reason with what is lost.
        hooks: Vec<Hook>,
        /// Whether bpffs had to be mounted.
        mounted_bpffs: bool,
        /// Folders above the pins that were closed to the group and can now be passed.
        opened: Vec<PathBuf>,
    },
}

/// One hook of the kernel side.
#[derive(Debug, Clone)]
pub struct Hook {
    /// Type and name of the hook.
    pub name: &'static str,
    /// Why it is not attached and what is lost, where it is not.
    pub refused: Option<String>,
}

const REQUIRED: [&str; 2] = ["tp_btf sock_send_length", "tp_btf sock_recv_length"];
const PEERS: [&str; 4] = ["cgroup sendmsg4", "cgroup sendmsg6", "cgroup recvmsg4", "cgroup recvmsg6"];
const PEERS_LOST: &str = "unconnected UDP shows no peer";

/// Version of the programs with these options, as it stands in the names of the links.
#[must_use]
pub fn version(options: &Options) -> String {
    let mut hasher = DefaultHasher::new();
    options.hash(&mut hasher);
    format!("{}-{:08x}", build_id(), hasher.finish() & 0xffff_ffff)
}

/// Loads the programs and pins them, unless the same ones with the same options are there already.
pub fn load(dir: &PinDir, options: &Options) -> Result<Loaded, LoadError> {
    check(options)?;
    preflight::privileges()?;
    preflight::btf()?;
    let mounted_bpffs = preflight::bpffs()?;
    let _lock = pins::lock()?;
    let version = version(options);
    let replaced = dir.versions()?;
    if replaced == [version.as_str()] {
        return Ok(Loaded::Already { version });
    }
    dir.refuse_foreign()?;

    let mut storage = MaybeUninit::uninit();
    let (mut skel, peers_refused) = load_programs(&mut storage, options)?;
    let staged = dir.stage()?;
    let mut hooks = Vec::new();
    let mut links = Vec::new();
    for (hook, program) in
        REQUIRED.into_iter().zip([&mut skel.progs.send_length, &mut skel.progs.recv_length])
    {
        let link = program.attach().map_err(|reason| LoadError::Refused { hook, reason })?;
        links.push(pin_link(link, program, &staged, &version)?);
        hooks.push(Hook { name: hook, refused: None });
    }
    let cgroup = cgroup2::root().and_then(|root| File::open(root).ok());
    let peer_programs = [
        &mut skel.progs.sendmsg4,
        &mut skel.progs.sendmsg6,
        &mut skel.progs.recvmsg4,
        &mut skel.progs.recvmsg6,
    ];
    for (hook, program) in PEERS.into_iter().zip(peer_programs) {
        let attached = match (&peers_refused, &cgroup) {
            (Some(reason), _) => Err(reason.clone()),
            (None, None) => Err("no cgroup2 is mounted".into()),
            (None, Some(cgroup)) => {
                program.attach_cgroup(cgroup.as_raw_fd()).map_err(|error| error.to_string())
            }
        };
        let refused = match attached {
            Ok(link) => {
                links.push(pin_link(link, program, &staged, &version)?);
                None
            }
            Err(reason) => Some(format!("{reason}; {PEERS_LOST}")),
        };
        hooks.push(Hook { name: hook, refused });
    }
    let maps = &mut skel.maps;
    for (map, name) in
        [(&mut maps.conns, pins::CONNS), (&mut maps.events, pins::EVENTS), (&mut maps.stats, pins::STATS)]
    {
        let path = staged.map(name);
        map.pin(&path).map_err(|error| PinError::io("pin", &path)(io_error(&error)))?;
    }
    staged.share_with(options.group)?;
    let opened = if options.group.is_some() { dir.open_the_way()? } else { Vec::new() };
    dir.replace_with(&staged)?;
    Ok(Loaded::New { version, replaced, hooks, mounted_bpffs, opened })
}

/// Removes the pins, which unloads the programs as soon as no pipe holds them open any more.
pub fn unload(dir: &PinDir) -> Result<(), LoadError> {
    if preflight::is_bpffs(preflight::BPFFS.as_ref()) {
        let _lock = pins::lock()?;
        dir.remove()?;
    }
    Ok(())
}

fn check(options: &Options) -> Result<(), LoadError> {
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
    if !options.ring_size.is_power_of_two() || options.ring_size < page {
        return Err(LoadError::Option(format!(
            "--ring-size {}: the kernel takes a power of two of at least {page} bytes",
            options.ring_size
        )));
    }
    if options.max_conns == 0 {
        return Err(LoadError::Option("--max-conns 0: at least one connection must fit".into()));
    }
    Ok(())
}

/// Loads all programs; where the kernel refuses that, those LECO cannot do without, and the reason.
fn load_programs<'obj>(
    storage: &'obj mut MaybeUninit<libbpf_rs::OpenObject>,
    options: &Options,
) -> Result<(LecoSkel<'obj>, Option<String>), LoadError> {
    let mut probe = MaybeUninit::uninit();
    let peers_refused = match open(&mut probe, options).and_then(OpenSkel::load) {
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    let refused = |reason| LoadError::Refused { hook: REQUIRED[0], reason };
    let mut skel = open(storage, options).map_err(refused)?;
    if peers_refused.is_some() {
        for program in [
            &mut skel.progs.sendmsg4,
            &mut skel.progs.sendmsg6,
            &mut skel.progs.recvmsg4,
            &mut skel.progs.recvmsg6,
        ] {
            program.set_autoload(false);
        }
    }
    Ok((skel.load().map_err(refused)?, peers_refused))
}

fn open<'obj>(
    storage: &'obj mut MaybeUninit<libbpf_rs::OpenObject>,
    options: &Options,
) -> libbpf_rs::Result<OpenLecoSkel<'obj>> {
    let mut skel = LecoSkelBuilder::default().open(storage)?;
    if let Some(rodata) = skel.maps.rodata_data.as_deref_mut() {
        rodata.update_interval_jiffies = jiffies(options.update_interval);
    }
    skel.maps.conns.set_max_entries(options.max_conns)?;
    skel.maps.events.set_max_entries(options.ring_size)?;
    Ok(skel)
}

/// The kernel's tick is what its coarse clocks advance by (`TICK_NSEC`), so their resolution tells its
/// length without a look at the kernel's configuration.
fn jiffies(interval: Duration) -> u64 {
    let tick = clock_getres(ClockId::MonotonicCoarse);
    let tick_ns = u128::try_from(tick.tv_sec * 1_000_000_000 + tick.tv_nsec).unwrap_or(0).max(1);
    u64::try_from(interval.as_nanos() / tick_ns).unwrap_or(u64::MAX)
}

fn pin_link(mut link: Link, program: &ProgramMut<'_>, dir: &PinDir, version: &str) -> Result<Link, PinError> {
    let path = dir.links().join(format!("{}@{version}", program.name().to_string_lossy()));
    link.pin(&path).map_err(|error| PinError::io("pin", &path)(io_error(&error)))?;
    Ok(link)
}

fn io_error(error: &libbpf_rs::Error) -> std::io::Error {
    std::io::Error::other(error.to_string())
}
