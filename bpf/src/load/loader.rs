// SPDX-License-Identifier: GPL-3.0-or-later
//! Loads the programs, attaches each by itself, and pins maps and links.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use leco_os::limits;
use libbpf_rs::libbpf_sys::BPF_F_RDONLY;
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{Iter, Link, MapCore, MapHandle, OpenObject};
use rustix::fs::CWD;
use rustix::io::Errno;

use super::mounting::lock_mounted;
use super::update_interval::{jiffies, jiffy_ns, set_interval};
use crate::load::errors::LoadError;
use crate::load::hooks::{Attach, Program, Targets};
use crate::load::options::{Options, version};
use crate::load::plan::{Choice, Plan};
use crate::load::{cgroup2, preflight};
use crate::map::{io_error, read_only_map};
use crate::place::bpffs::{BPFFS, is_bpffs};
use crate::place::fd_store::Part;
use crate::place::lock::lock;
use crate::place::pin_dir::{PinDir, PinError};
use crate::place::reader_lock::open_folder;
use crate::place::{fd_store, names};
use crate::read::record::LISTEN_WAIT;
use crate::skeleton::{LecoSkel, LecoSkelBuilder, OpenLecoSkel};
use crate::upgrade::takeover::Takeover;

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
        /// What each feature is done by.
        choices: Vec<Choice>,
        /// Whether bpffs had to be mounted.
        mounted_bpffs: bool,
        /// Folders above the pins that were closed to the group and can now be passed.
        opened: Vec<PathBuf>,
        /// Maps whose content the new programs could not take over from those they replaced.
        forgotten: Vec<&'static str>,
    },
}

/// Loads the programs and pins them, unless the same ones with the same options are there already.
pub fn load(dir: &PinDir, options: &Options) -> Result<Loaded, LoadError> {
    check(options)?;
    let (_lock, mounted_bpffs) = lock_mounted()?;
    dir.refuse_untrusted()?;
    let version = version(options);
    let replaced = dir.versions()?;
    let instance = format!("pins {}", dir.path().display());
    if replaced == [version.as_str()] {
        // A loader that was killed may have left others to take their place.
        if dir.remove_staged()? {
            Takeover::of(&version, instance).let_old_count(true)?;
        }
        return Ok(Loaded::Already { version });
    }
    dir.refuse_foreign()?;

    let (staged, mut above) = dir.stage(&version)?;
    let mut takeover = Takeover::of(&version, instance);
    let done = load_best(options, Some(&mut takeover), &mut |attached, takeover| {
        fill(&staged, options, &version, attached.links, attached.skel)?;
        takeover.map_or(Ok(()), |takeover| takeover.switch(attached.skel, options))
    })
    .and_then(|choices| {
        let opened = if options.group.is_some() { dir.open_the_way(&mut above)? } else { Vec::new() };
        above.note(&staged, &version)?;
        dir.replace_with(&staged)?;
        Ok((choices, opened))
    });
    let (choices, opened) = done.inspect_err(|_| {
        // Half of the programs must not go on counting; the failure itself is what a person has to know.
        let _ = staged.remove();
        let _ = takeover.let_old_count(true);
    })?;
    Ok(Loaded::New { version, replaced, choices, mounted_bpffs, opened, forgotten: takeover.forgotten })
}

/// Loads the programs and leaves them with the service manager, unless the same ones with the same options are
/// there already. They stay as long as it keeps their descriptors.
pub fn load_into_store(options: &Options) -> Result<Loaded, LoadError> {
    if !fd_store::has_manager() {
        return Err(LoadError::Manager(io::Error::other("there is none: NOTIFY_SOCKET is not set")));
    }
    check(options)?;
    let _lock = lock()?;
    let version = version(options);
    let mut takeover = Takeover::of(&version, instance());
    let replaced: Vec<String> = takeover.split().1.map(|old| old.identity.version.clone()).collect();
    if let (Some(there), others) = takeover.split() {
        // A loader that was killed may not have come to this.
        for other in others {
            other.count(false).map_err(|error| broken(&error))?;
        }
        there.count(true).map_err(|error| broken(&error))?;
        fd_store::forget(&replaced).map_err(LoadError::Manager)?;
        return Ok(Loaded::Already { version });
    }
    let done = load_best(options, Some(&mut takeover), &mut |attached, takeover| {
        leave(&version, &attached.links, attached.skel)?;
        takeover.map_or(Ok(()), |takeover| takeover.switch(attached.skel, options))
    });
    let choices = done.inspect_err(|_| {
        let _ = fd_store::remove(&version);
        let _ = takeover.let_old_count(true);
    })?;
    fd_store::forget(&replaced).map_err(LoadError::Manager)?;
    let forgotten = takeover.forgotten;
    Ok(Loaded::New { version, replaced, choices, mounted_bpffs: false, opened: Vec::new(), forgotten })
}

/// Leaves what is pinned with the service manager, too, for a pipe that cannot reach the pins.
pub fn store_pinned(dir: &PinDir, version: &str, replaced: &[String]) -> Result<(), LoadError> {
    let open_map = |name| {
        let path = dir.map(name);
        let flags = if name == names::EVENTS { 0 } else { BPF_F_RDONLY };
        MapHandle::from_pinned_path_with_file_flags(&path, flags)
            .map_err(|error| PinError::io("open", &path)(io_error(&error)))
    };
    let maps = [names::CLOSED, names::FLOWS, names::PROGRAMS, names::STATS, names::EVENTS];
    let maps =
        maps.into_iter().map(|name| Ok((name, open_map(name)?))).collect::<Result<Vec<_>, PinError>>()?;
    let iterators = [names::LIVE, names::PENDING, names::PENDING_FLOWS, names::LISTENING].into_iter();
    // One that the kernel refused has no pin.
    let iterators = iterators.filter_map(|name| Some((name, Link::open(dir.iterator(name)).ok()?)));
    let iterators: Vec<_> = iterators.collect();
    let mut parts: Vec<Part<'_>> = Vec::new();
    parts.extend(maps.iter().map(|(name, map)| (*name, vec![map.as_fd()])));
    parts.extend(iterators.iter().map(|(name, link)| (*name, vec![link.as_fd()])));
    let folder = open_folder(CWD, &dir.maps()).map_err(PinError::io("open", &dir.maps()))?;
    parts.push((names::MAPS, vec![folder.as_fd()]));
    fd_store::store(version, &parts).map_err(LoadError::Manager)?;
    fd_store::forget(replaced).map_err(LoadError::Manager)
}

/// Whose programs these are: those of the unit that this command is part of, else of its service manager.
fn instance() -> String {
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let parts =
        cgroups.lines().filter_map(|line| line.rsplit_once(':')).flat_map(|(_, path)| path.rsplit('/'));
    let unit = parts.into_iter().find(|part| part.ends_with(".service"));
    let manager = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
    format!("store {}", unit.unwrap_or(&manager))
}

/// Leaves everything with the service manager.
fn leave(version: &str, links: &[AttachedLink], skel: &LecoSkel<'_>) -> Result<(), LoadError> {
    let maps = &skel.maps;
    let id = |map: &dyn Fn() -> libbpf_rs::Result<libbpf_rs::MapInfo>| map().map(|info| info.info.id);
    let mut read_only = Vec::new();
    for (name, id) in [
        (names::CLOSED, id(&|| maps.closed.info())),
        (names::FLOWS, id(&|| maps.flows.info())),
        (names::PROGRAMS, id(&|| maps.programs.info())),
        (names::STATS, id(&|| maps.stats.info())),
    ] {
        let id = id.map_err(|error| broken(&error))?;
        read_only.push((name, read_only_map(id).map_err(LoadError::Manager)?));
    }
    let mut parts: Vec<Part<'_>> = vec![(names::EVENTS, vec![maps.events.as_fd()])];
    parts.extend(read_only.iter().map(|(name, map)| (*name, vec![map.as_fd()])));
    let mut attached = Vec::new();
    for (program, link) in links {
        match program.attach {
            Attach::Iterator { pin, .. } => parts.push((pin, vec![link.as_fd()])),
            Attach::Section | Attach::Cgroup => attached.push(link.as_fd()),
            Attach::Once => {}
        }
    }
    parts.push(fd_store::links(attached));
    fd_store::store(version, &parts).map_err(LoadError::Manager)
}

/// Finds out what the kernel takes, by loading and attaching everything for a moment; nothing of it stays.
pub fn try_out(options: &Options) -> Result<Vec<Choice>, LoadError> {
    check(options)?;
    load_best(options, None, &mut |_, _| Ok(()))
}

/// A program, and what keeps it attached.
type AttachedLink = (&'static Program, Link);

/// Programs in the kernel, all attached.
struct Attached<'s, 'obj> {
    skel: &'s mut LecoSkel<'obj>,
    links: Vec<AttachedLink>,
}

/// What is to be done with them.
type Then<'t> = &'t mut dyn FnMut(Attached<'_, '_>, Option<&Takeover>) -> Result<(), LoadError>;

/// Why a level is not the one.
enum Failure {
    /// Another try with the plan as it has become.
    Again,
    /// For good.
    Final(LoadError),
}

impl<E: Into<LoadError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}

/// Loads and attaches the best level of every feature that the kernel takes, and does something with them.
fn load_best(
    options: &Options,
    mut takeover: Option<&mut Takeover>,
    then: Then<'_>,
) -> Result<Vec<Choice>, LoadError> {
    let mut plan = Plan::new(&options.forced);
    loop {
        match load_plan(&mut plan, options, takeover.as_deref_mut(), then) {
            Ok(()) => return Ok(plan.choices().to_vec()),
            Err(Failure::Again) => {}
            Err(Failure::Final(error)) => return Err(error),
        }
    }
}

fn load_plan(
    plan: &mut Plan,
    options: &Options,
    takeover: Option<&mut Takeover>,
    then: Then<'_>,
) -> Result<(), Failure> {
    let mut storage = MaybeUninit::uninit();
    let mut skel =
        open(&mut storage, options, plan, &|name| plan.has_program(name)).map_err(|error| broken(&error))?;
    let takeover = match takeover {
        Some(takeover) => {
            takeover.prepare(&mut skel, plan)?;
            Some(&*takeover)
        }
        None => None,
    };
    let mut skel = match skel.load() {
        Ok(skel) => skel,
        Err(error) => {
            demote_refused(plan, options, &error)?;
            return Err(Failure::Again);
        }
    };
    if takeover.is_none_or(|takeover| takeover.loaded.is_empty()) {
        set_interval(&skel, options)?;
    }
    match attach(&skel, plan) {
        Ok(links) => Ok(then(Attached { skel: &mut skel, links }, takeover)?),
        Err((choice, reason)) => {
            demote(plan, choice, reason)?;
            Err(Failure::Again)
        }
    }
}

/// Finds out which programs the kernel refused, each by itself.
fn demote_refused(plan: &mut Plan, options: &Options, error: &libbpf_rs::Error) -> Result<(), LoadError> {
    let mut refused: Vec<(usize, String)> = Vec::new();
    for (choice, program) in plan.programs() {
        if refused.iter().any(|(known, _)| *known == choice) {
            continue;
        }
        let mut storage = MaybeUninit::uninit();
        let alone = open(&mut storage, options, plan, &|name| name == program.name).and_then(OpenSkel::load);
        if let Err(error) = alone {
            // Another level would need as much.
            if let Some(error) = exhausted(&error) {
                return Err(LoadError::Exhausted(error));
            }
            refused.push((choice, format!("{error:#}")));
        }
    }
    if refused.is_empty() {
        return Err(broken(error));
    }
    refused.into_iter().try_for_each(|(choice, reason)| demote(plan, choice, reason))
}

fn demote(plan: &mut Plan, choice: usize, reason: String) -> Result<(), LoadError> {
    plan.demote(choice, reason).map_err(|(what, reason)| LoadError::Refused { what, reason })
}

/// Attaches every program; fails with the choice whose program the kernel refused to attach.
fn attach(skel: &LecoSkel<'_>, plan: &Plan) -> Result<Vec<AttachedLink>, (usize, String)> {
    let cgroup = cgroup2::root().and_then(|root| File::open(root).ok());
    let object = skel.object();
    let maps: Vec<_> = object.maps().collect();
    let map = |name: &str| maps.iter().find(|map| map.name() == name).map(|map| map.as_fd());
    let targets = Targets { cgroup: cgroup.as_ref().map(AsFd::as_fd), map: &map };
    let mut links = Vec::new();
    for (choice, spec) in plan.programs() {
        let program = object.progs_mut().find(|program| program.name() == spec.name);
        let program = program.ok_or_else(|| (choice, "not supported on this architecture".to_owned()))?;
        let link = spec.attach(&program, &targets).map_err(|reason| (choice, reason))?;
        if matches!(spec.attach, Attach::Once) {
            run_once(&link).map_err(|error| (choice, error.to_string()))?;
        }
        links.push((spec, link));
    }
    Ok(links)
}

/// Pins everything in an empty folder.
fn fill(
    staged: &PinDir,
    options: &Options,
    version: &str,
    links: Vec<AttachedLink>,
    skel: &mut LecoSkel<'_>,
) -> Result<(), LoadError> {
    for (program, link) in links {
        match program.attach {
            Attach::Iterator { pin, .. } => pin_link(link, &staged.iterator(pin))?,
            Attach::Section | Attach::Cgroup => {
                pin_link(link, &staged.links().join(format!("{}@{version}", program.name)))?;
            }
            Attach::Once => {}
        }
    }
    let maps = &mut skel.maps;
    for (map, name) in [
        (&mut maps.closed, names::CLOSED),
        (&mut maps.flows, names::FLOWS),
        (&mut maps.programs, names::PROGRAMS),
        (&mut maps.events, names::EVENTS),
        (&mut maps.stats, names::STATS),
    ] {
        let path = staged.map(name);
        map.pin(&path).map_err(|error| PinError::io("pin", &path)(io_error(&error)))?;
    }
    staged.share_with(options.group)?;
    Ok(())
}

/// Lets an iterator visit everything it goes through.
fn run_once(link: &Link) -> io::Result<()> {
    let mut iterator = Iter::new(link).map_err(|error| io_error(&error))?;
    io::copy(&mut iterator, &mut io::sink()).map(drop)
}

/// Removes the pins, which unloads the programs as soon as no pipe holds them open any more.
pub fn unload(dir: &PinDir) -> Result<(), LoadError> {
    if is_bpffs(BPFFS.as_ref()) {
        let _lock = lock()?;
        dir.refuse_untrusted()?;
        dir.remove_all()?;
    }
    Ok(())
}

/// Everything that can be known before the kernel is asked.
fn check(options: &Options) -> Result<(), LoadError> {
    options.check()?;
    preflight::privileges()?;
    preflight::kernel()?;
    preflight::btf()?;
    preflight::descriptors()?;
    Ok(())
}

fn broken(error: &libbpf_rs::Error) -> LoadError {
    if let Some(error) = exhausted(error) {
        return LoadError::Exhausted(error);
    }
    LoadError::Refused { what: "the programs", reason: format!("{error:#}") }
}

/// Whether something failed for want of memory or descriptors, and which limit that is.
fn exhausted(error: &libbpf_rs::Error) -> Option<io::Error> {
    // libbpf-rs hands out no numbers, but says them as std does.
    let text = format!("{error:#}");
    let code = text.split_once("(os error ").and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
    let is_memory = error.kind() == libbpf_rs::ErrorKind::OutOfMemory;
    let code = code.or(is_memory.then_some(Errno::NOMEM.raw_os_error()));
    limits::named(&io::Error::from_raw_os_error(code?))
}

/// Opens the object with the programs that are wanted.
fn open<'obj>(
    storage: &'obj mut MaybeUninit<OpenObject>,
    options: &Options,
    plan: &Plan,
    wants: &dyn Fn(&str) -> bool,
) -> libbpf_rs::Result<OpenLecoSkel<'obj>> {
    let mut builder = LecoSkelBuilder::default();
    if let Some(btf) = &options.btf {
        builder.obj_builder.btf_custom_path(btf)?;
    }
    let mut skel = builder.open(storage)?;
    if let Some(rodata) = skel.maps.rodata_data.as_deref_mut() {
        rodata.update_interval_jiffies = jiffies(options.update_interval);
        rodata.jiffy_ns = jiffy_ns();
        rodata.ring_size = options.ring_size.into();
        rodata.closed_slots = options.max_conns;
        rodata.has_release = plan.has_release();
        rodata.copies_answers = plan.copies_answers();
        rodata.reads_hellos = plan.reads_hellos();
        rodata.tells_listeners = plan.tells_listeners();
        rodata.listen_wait_jiffies = jiffies(LISTEN_WAIT);
        rodata.keyed_by_pointer = plan.is_keyed_by_pointer();
        rodata.peers_by_probe = plan.has_peers_by_probe();
        rodata.peers_by_hook = plan.has_peers_by_hook();
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

fn pin_link(mut link: Link, path: &Path) -> Result<(), PinError> {
    link.pin(path).map_err(|error| PinError::io("pin", path)(io_error(&error)))
}
