//! Loads the programs, attaches each by itself, and pins maps and links.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{Iter, Link, MapCore, MapFlags, Object, OpenObject, ProgramMut};
use rustix::time::{ClockId, clock_getres};

use crate::hooks::{ANSWERS, Attach, HOOKS, HookSpec, RELEASE, Targets};
use crate::pins::{self, PinDir, PinError};
use crate::preflight::{self, Missing};
use crate::record::Stats;
use crate::skeleton::{LecoSkel, LecoSkelBuilder, OpenLecoSkel};
use crate::{build_id, cgroup2};

/// What can be chosen at load.
#[derive(Debug, Clone, Hash)]
pub struct Options {
    /// A connection is announced at most once in this time.
    pub update_interval: Duration,
    /// Entries of each of the maps `closed` and `flows`, above which the least recently used go.
    pub max_conns: u32,
    /// Bytes of the ring: a power of two, at least a page.
    pub ring_size: u32,
    /// Group that may read the pins.
    pub group: Option<u32>,
    /// Copy the answers of name servers that processes receive.
    pub dns: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            update_interval: Duration::from_secs(3),
            max_conns: 8192,
            ring_size: 256 * 1024,
            group: None,
            dns: true,
        }
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
        reason: String,
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

    let staged = dir.stage()?;
    let done = fill(&staged, options, &version).and_then(|hooks| {
        let opened = if options.group.is_some() { dir.open_the_way()? } else { Vec::new() };
        dir.replace_with(&staged)?;
        Ok((hooks, opened))
    });
    let (hooks, opened) = done.inspect_err(|_| {
        // Half of the programs must not go on counting; the failure itself is what a person has to know.
        let _ = staged.remove();
    })?;
    Ok(Loaded::New { version, replaced, hooks, mounted_bpffs, opened })
}

/// Loads the programs, attaches each by itself, and pins everything in an empty folder.
fn fill(staged: &PinDir, options: &Options, version: &str) -> Result<Vec<Hook>, LoadError> {
    let mut storage = [const { MaybeUninit::uninit() }; 2];
    let (mut skel, mut refused) = load_programs(&mut storage, options)?;
    set_interval(&skel, options)?;
    let cgroup = cgroup2::root().and_then(|root| File::open(root).ok());
    let object = skel.object();
    let maps: Vec<_> = object.maps().collect();
    let map = |name: &str| maps.iter().find(|map| map.name() == name).map(|map| map.as_fd());
    let targets = Targets { cgroup: cgroup.as_ref().map(AsFd::as_fd), map: &map };
    let mut hooks = Vec::new();
    let wanted = HOOKS.iter().filter(|spec| is_wanted(spec.program, options));
    for (spec, program) in wanted.filter_map(|spec| Some((spec, program(object, spec.program)?))) {
        let attached = match refused.remove(spec.program) {
            Some(reason) => Err(reason),
            None => spec.attach(&program, &targets),
        };
        let refused = match (attached, spec.lost) {
            (Ok(link), lost) => match (pin_path(staged, spec, version), lost) {
                (Some(path), _) => {
                    pin_link(link, &path)?;
                    None
                }
                (None, lost) => {
                    run_once(&link).err().map(|error| format!("{error}; {}", lost.unwrap_or_default()))
                }
            },
            (Err(reason), Some(lost)) => Some(format!("{reason}; {lost}")),
            (Err(reason), None) => return Err(LoadError::Refused { hook: spec.name, reason }),
        };
        hooks.push(Hook { name: spec.name, refused });
    }
    drop(maps);
    let maps = &mut skel.maps;
    for (map, name) in [
        (&mut maps.closed, pins::CLOSED),
        (&mut maps.flows, pins::FLOWS),
        (&mut maps.events, pins::EVENTS),
        (&mut maps.stats, pins::STATS),
    ] {
        let path = staged.map(name);
        map.pin(&path).map_err(|error| PinError::io("pin", &path)(io_error(&error)))?;
    }
    staged.share_with(options.group)?;
    Ok(hooks)
}

fn is_wanted(program: &str, options: &Options) -> bool {
    program != ANSWERS || options.dns
}

/// Lets an iterator visit everything it goes through.
fn run_once(link: &Link) -> std::io::Result<()> {
    let mut iterator = Iter::new(link).map_err(|error| io_error(&error))?;
    std::io::copy(&mut iterator, &mut std::io::sink()).map(drop)
}

fn program<'o>(object: &'o Object, name: &str) -> Option<ProgramMut<'o>> {
    object.progs_mut().find(|program| program.name() == name)
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

/// Programs the kernel refused, with the reason.
type Refused = HashMap<&'static str, String>;

/// Loads every program the kernel takes. All at once is tried first: only where that fails each is tried by
/// itself.
fn load_programs<'obj>(
    storage: &'obj mut [MaybeUninit<OpenObject>; 2],
    options: &Options,
) -> Result<(LecoSkel<'obj>, Refused), LoadError> {
    let [first, second] = storage;
    let broken =
        |error: libbpf_rs::Error| LoadError::Refused { hook: "the programs", reason: error.to_string() };
    let wanted = |name: &str| is_wanted(name, options);
    if let Ok(skel) = open(first, options, &wanted).map_err(broken)?.load() {
        return Ok((skel, Refused::new()));
    }
    let mut refused = Refused::new();
    for spec in HOOKS.iter().filter(|spec| wanted(spec.program)) {
        let mut probe = MaybeUninit::uninit();
        if let Err(error) = open(&mut probe, options, &|name| name == spec.program).and_then(OpenSkel::load) {
            refused.insert(spec.program, error.to_string());
        }
    }
    if let Some(spec) = HOOKS.iter().find(|spec| spec.lost.is_none() && refused.contains_key(spec.program)) {
        let reason = refused.remove(spec.program).unwrap_or_default();
        return Err(LoadError::Refused { hook: spec.name, reason });
    }
    let skel = open(second, options, &|name| wanted(name) && !refused.contains_key(name)).map_err(broken)?;
    Ok((skel.load().map_err(broken)?, refused))
}

/// Opens the object with the programs that are wanted.
fn open<'obj>(
    storage: &'obj mut MaybeUninit<OpenObject>,
    options: &Options,
    wants: &dyn Fn(&str) -> bool,
) -> libbpf_rs::Result<OpenLecoSkel<'obj>> {
    let mut skel = LecoSkelBuilder::default().open(storage)?;
    if let Some(rodata) = skel.maps.rodata_data.as_deref_mut() {
        rodata.update_interval_jiffies = jiffies(options.update_interval);
        rodata.jiffy_ns = jiffy_ns();
        rodata.ring_size = options.ring_size.into();
        rodata.closed_slots = options.max_conns;
        rodata.has_release = wants(RELEASE) && cgroup2::root().is_some();
    }
    skel.maps.closed.set_max_entries(options.max_conns)?;
    skel.maps.flows.set_max_entries(options.max_conns)?;
    skel.maps.events.set_max_entries(options.ring_size)?;
    for mut program in skel.open_object_mut().progs_mut() {
        let wanted = wants(&program.name().to_string_lossy());
        program.set_autoload(wanted);
    }
    Ok(skel)
}

/// Tells the reader how long announcements are held back.
fn set_interval(skel: &LecoSkel<'_>, options: &Options) -> Result<(), LoadError> {
    let stats = Stats { update_interval: options.update_interval, ..Stats::default() };
    skel.maps
        .stats
        .update(&0_u32.to_ne_bytes(), &stats.encode(), MapFlags::ANY)
        .map_err(|error| LoadError::Refused { hook: "the map of counters", reason: error.to_string() })
}

/// The kernel's tick is what its coarse clocks advance by (`TICK_NSEC`), so their resolution tells its
/// length without a look at the kernel's configuration.
fn jiffy_ns() -> u64 {
    let tick = clock_getres(ClockId::MonotonicCoarse);
    u64::try_from(tick.tv_sec * 1_000_000_000 + tick.tv_nsec).unwrap_or(0).max(1)
}

fn jiffies(interval: Duration) -> u64 {
    u64::try_from(interval.as_nanos() / u128::from(jiffy_ns())).unwrap_or(u64::MAX)
}

/// Where its link stays; `None` for what is run once.
fn pin_path(dir: &PinDir, spec: &HookSpec, version: &str) -> Option<PathBuf> {
    match spec.attach {
        Attach::Iterator { pin, .. } => Some(dir.iterator(pin)),
        Attach::Tracepoint | Attach::Cgroup => Some(dir.links().join(format!("{}@{version}", spec.program))),
        Attach::Once => None,
    }
}

fn pin_link(mut link: Link, path: &Path) -> Result<(), PinError> {
    link.pin(path).map_err(|error| PinError::io("pin", path)(io_error(&error)))
}

fn io_error(error: &libbpf_rs::Error) -> std::io::Error {
    std::io::Error::other(error.to_string())
}
