// SPDX-License-Identifier: GPL-3.0-or-later
//! Whose clock an event's times are on, and what they are on ours.
//!
//! Boot clocks of machines began at different times. An event says by its `boot`, its `key` or the `clock` that it
//! or an earlier event of its stream carries from which machine it is, and since which of its boots; a `clock` also
//! says how that boot clock goes by the wall clock. What says neither is judged by what is plausible.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hashlink::LruCache;
use leco_os::clean::clean;
use leco_os::clock::{BootNs, Now};

use crate::source::Origin;
use crate::wire::event::{Clock, Event};

/// A moment in ns on our boot clock; negative before it began.
pub(crate) type OurNs = i64;

/// A machine since one of its boots.
pub(crate) type MachineId = usize;

/// The pipe replays what is no older than this, unless it is told otherwise: an event of this machine that came
/// without a clock is no older.
const REPLAY_WINDOW: i128 = Duration::from_hours(4).as_nanos().cast_signed();
/// An event may be ahead of the clock that was read when it came, by what reading it took.
const SLACK: i128 = Duration::from_secs(1).as_nanos().cast_signed();
/// Without a clock, times that go back by more than this are those of another boot.
const BOOT_GAP: u64 = 60_000_000_000;
/// Clocks that differ by less are the same: they drift, and are read one after the other.
const SAME: i128 = Duration::from_millis(100).as_nanos().cast_signed();
/// Machines and streams that are remembered; the longest unheard go.
const MAX_MACHINES: usize = 1024;
/// Digits of a boot's id that stand in each event.
const SHORT: usize = 8;

/// What tells a machine and its boot from others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    /// The id of its boot.
    Boot(Arc<str>),
    /// The first digits of it.
    Short(Arc<str>),
    /// It says nothing: all that comes from this source, or this sender to it, is taken for one.
    Unnamed(usize, Option<SocketAddr>),
}

/// One connection to a source, or one sender to it: what comes there without a name is of who gave the last one.
type StreamKey = (usize, u64, Option<SocketAddr>);

#[derive(Debug)]
struct Machine {
    names: Vec<Name>,
    /// Where it is known and not ours.
    boot: Option<Arc<str>>,
    host: Option<Arc<str>>,
    basis: Basis,
    /// Counts how often all that was known of its clock became void.
    epoch: u32,
    /// How far it was behind ours in the epoch before.
    before: i128,
}

/// How its clock is known.
#[derive(Debug, Clone)]
enum Basis {
    /// It is ours.
    Ours,
    /// It said so.
    Reported(Sample),
    /// It did not say.
    Judged(Judged),
}

/// A clock as it was told, and when that was heard on ours.
#[derive(Debug, Clone, Copy)]
struct Sample {
    ns: BootNs,
    wall: i64,
    heard: OurNs,
    /// No other one counts.
    is_final: bool,
}

#[derive(Debug, Clone)]
struct Judged {
    stream: StreamKey,
    newest: BootNs,
    /// An event was in our future: its clock is not ours.
    is_ahead: bool,
    is_plausible: bool,
    /// By how much its clock is behind ours at most.
    behind: i128,
}

/// Says when events were, by the clocks of their machines.
#[derive(Debug)]
pub struct Timeline(Machines);

impl Timeline {
    /// By clocks that are known already.
    #[must_use]
    pub fn new(clocks: Vec<Clock>) -> Self {
        let mut machines = Machines::new(None);
        machines.fix(clocks);
        Self(machines)
    }

    /// When an event was, in ns since 1970, given all that came before it; `None` where its clock is not known.
    pub fn at(&mut self, event: &Event) -> Option<i64> {
        let id = self.0.machine_of(Origin::default(), event, Now::default());
        match self.0.all.peek(&id)?.basis {
            Basis::Reported(sample) => Some(shifted(event.ns_trx, sample.shift(0))),
            Basis::Ours | Basis::Judged(_) => None,
        }
    }
}

/// What an event's times are here.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) machine: MachineId,
    pub(crate) epoch: u32,
    /// Of the connection's first event.
    pub(crate) first: OurNs,
    /// Of its latest.
    pub(crate) updated: OurNs,
    /// Id of the boot, where it is known and not ours.
    pub(crate) boot: Option<Arc<str>>,
    /// Name of the machine, where it is known.
    pub(crate) host: Option<Arc<str>>,
}

impl Placed {
    /// What the machine is called; nothing where that is not known.
    pub(crate) fn host(&self) -> String {
        self.host.as_deref().unwrap_or_default().to_owned()
    }
}

/// Every machine that was heard of.
#[derive(Debug)]
pub(crate) struct Machines {
    ours: Option<Arc<str>>,
    /// Our wall clock minus our boot clock.
    offset: Option<i128>,
    named: HashMap<Name, MachineId>,
    all: LruCache<MachineId, Machine>,
    streams: LruCache<StreamKey, MachineId>,
    next: MachineId,
    fixed: Vec<Clock>,
    /// What was placed before stands elsewhere now.
    is_stale: bool,
}

impl Machines {
    /// On a machine with this boot id, where that is known.
    pub(crate) fn new(ours: Option<&str>) -> Self {
        Self {
            ours: ours.filter(|ours| !ours.is_empty()).map(Arc::from),
            offset: None,
            named: HashMap::new(),
            all: LruCache::new(MAX_MACHINES),
            streams: LruCache::new(MAX_MACHINES),
            next: 0,
            fixed: Vec::new(),
            is_stale: false,
        }
    }

    /// Says once and for all how clocks go: what events say of them does not count any more.
    pub(crate) fn fix(&mut self, clocks: Vec<Clock>) {
        for clock in &clocks {
            let id = self.of_boot(&clock.boot, None, 0);
            let sample = Sample { ns: clock.ns, wall: clock.wall, heard: OurNs::MAX, is_final: true };
            if let Some(machine) = self.all.get_mut(&id) {
                machine.basis = Basis::Reported(sample);
                machine.call(&clock.host);
            }
        }
        self.is_stale = true;
        self.fixed = clocks;
    }

    /// Forgets every machine but what was fixed.
    pub(crate) fn forget(&mut self) {
        let (ours, fixed) = (self.ours.take(), std::mem::take(&mut self.fixed));
        *self = Self { ours, next: self.next, ..Self::new(None) };
        self.fix(fixed);
    }

    /// Notices when our wall clock was set.
    pub(crate) fn keep_time(&mut self, now: Now) {
        let offset = i128::from(now.wall) - i128::from(now.boot);
        if self.offset.is_none_or(|known| (offset - known).abs() > SAME) {
            self.is_stale |= self.offset.is_some();
            self.offset = Some(offset);
        }
    }

    /// Whether what was placed before stands elsewhere since this was asked last: [`Self::again`] says where.
    pub(crate) fn take_stale(&mut self) -> bool {
        std::mem::take(&mut self.is_stale)
    }

    /// Where a time of a machine is now, which was placed before; `None` where no more is known than then.
    pub(crate) fn again(&self, machine: MachineId, epoch: u32, ns: BootNs) -> Option<OurNs> {
        let known = self.all.peek(&machine)?;
        match known.epoch.wrapping_sub(epoch) {
            0 => Some(shifted(ns, known.shift(self.offset.unwrap_or_default()))),
            1 => Some(shifted(ns, known.before)),
            _ => None,
        }
    }

    /// Finds out what an event's times are here.
    pub(crate) fn place(&mut self, origin: Origin<'_>, event: &Event, now: Now) -> Placed {
        self.keep_time(now);
        let offset = self.offset.unwrap_or_default();
        let id = self.machine_of(origin, event, now);
        let Some(machine) = self.all.get_mut(&id) else {
            // It was just looked up, so this cannot be; then its times are taken for ours.
            let (first, updated) = (shifted(event.ns, 0), shifted(event.ns_trx, 0));
            return Placed { machine: id, epoch: 0, first, updated, boot: None, host: None };
        };
        let before = machine.shift(offset);
        if let Basis::Judged(judged) = &mut machine.basis
            && judged.hear((origin.index, origin.stream, origin.sender), event.ns_trx, now)
        {
            machine.epoch = machine.epoch.wrapping_add(1);
            machine.before = before;
        } else {
            self.is_stale |= machine.shift(offset) != before;
        }
        machine.call(&event.host.0);
        let sender = || origin.sender.map(|sender| Arc::from(sender.ip().to_canonical().to_string()));
        let shift = machine.shift(offset);
        let latest = ours(now.boot);
        Placed {
            machine: id,
            epoch: machine.epoch,
            first: shifted(event.ns, shift).min(latest),
            updated: shifted(event.ns_trx, shift).min(latest),
            boot: machine.boot.clone(),
            host: machine.host.clone().or_else(|| origin.host.map(Arc::from)).or_else(sender),
        }
    }

    fn machine_of(&mut self, origin: Origin<'_>, event: &Event, now: Now) -> MachineId {
        let stream = (origin.index, origin.stream, origin.sender);
        let current = self.streams.get(&stream).copied().filter(|id| self.all.contains_key(id));
        if let Some(clock) = event.clock.0.as_deref() {
            let id = self.of_boot(&clock.boot, current, clock.ns);
            self.streams.insert(stream, id);
            self.learn(id, clock, now);
            return id;
        }
        let short = match event.boot.0.as_str() {
            "" => event.key.0.split_once('-').map_or("", |(boot, _)| boot),
            boot => boot,
        };
        if !short.is_empty() {
            let is_of = |machine: &Machine| {
                machine.names.iter().any(|name| matches!(name, Name::Boot(boot) if boot.starts_with(short)))
            };
            return match current.filter(|id| self.all.peek(id).is_some_and(is_of)) {
                Some(id) => id,
                None => self.named(Name::Short(short.into())),
            };
        }
        if let Some(id) = current {
            return id;
        }
        let id = self.named(Name::Unnamed(origin.index, origin.sender));
        self.streams.insert(stream, id);
        id
    }

    /// The machine of a boot. Who was heard before without its whole name, and cannot be another, is it.
    fn of_boot(&mut self, boot: &str, current: Option<MachineId>, ns: BootNs) -> MachineId {
        let full = Name::Boot(boot.into());
        if let Some(id) = self.known(&full) {
            return id;
        }
        let short = Name::Short(boot.chars().take(SHORT).collect::<String>().into());
        let is_unnamed = |machine: &Machine| match &machine.basis {
            Basis::Judged(judged) => judged.newest <= ns,
            Basis::Ours | Basis::Reported(_) => false,
        };
        let was_short = self.known(&short).filter(|id| {
            self.all.peek(id).is_some_and(|it| !it.names.iter().any(|name| matches!(name, Name::Boot(_))))
        });
        let was_unnamed = current.filter(|id| self.all.peek(id).is_some_and(is_unnamed));
        let id = was_short.or(was_unnamed).unwrap_or_else(|| self.add());
        let is_ours = self.ours.as_deref() == Some(boot);
        if let Some(machine) = self.all.get_mut(&id) {
            for name in machine.names.drain(..) {
                self.named.remove(&name);
            }
            machine.names = vec![full, short];
            machine.boot = (!is_ours).then(|| boot.into());
            if is_ours {
                machine.basis = Basis::Ours;
                self.is_stale = true;
            }
            self.named.extend(machine.names.iter().map(|name| (name.clone(), id)));
        }
        id
    }

    fn known(&mut self, name: &Name) -> Option<MachineId> {
        let id = self.named.get(name).copied()?;
        // It was heard of again.
        self.all.get(&id).map(|_| id)
    }

    fn named(&mut self, name: Name) -> MachineId {
        if let Some(id) = self.known(&name) {
            return id;
        }
        let id = self.add();
        let ours = self.ours.as_deref().unwrap_or_default();
        if let Some(machine) = self.all.get_mut(&id) {
            if let Name::Short(short) = &name {
                machine.boot = Some(Arc::clone(short));
                if !short.is_empty() && ours.starts_with(&**short) {
                    (machine.boot, machine.basis) = (None, Basis::Ours);
                }
            }
            machine.names = vec![name.clone()];
            self.named.insert(name, id);
        }
        id
    }

    fn add(&mut self) -> MachineId {
        if self.all.len() == MAX_MACHINES
            && let Some((_, longest_unheard)) = self.all.remove_lru()
        {
            for name in longest_unheard.names {
                self.named.remove(&name);
            }
        }
        let id = self.next;
        self.next += 1;
        let basis = Basis::Judged(Judged::nothing());
        self.all
            .insert(id, Machine { names: Vec::new(), boot: None, host: None, basis, epoch: 0, before: 0 });
        id
    }

    fn learn(&mut self, id: MachineId, clock: &Clock, now: Now) {
        let offset = self.offset.unwrap_or_default();
        let Some(machine) = self.all.get_mut(&id) else { return };
        machine.call(&clock.host);
        let heard = ours(now.boot);
        let new = Sample { ns: clock.ns, wall: clock.wall, heard, is_final: false };
        let takes_it = match &machine.basis {
            Basis::Ours => false,
            Basis::Reported(known) if known.is_final || new.ns < known.ns => false,
            // The same clock, heard with less delay.
            Basis::Reported(known) if (new.offset() - known.offset()).abs() < SAME => {
                new.shift(offset) < known.shift(offset) - SAME
            }
            Basis::Reported(_) | Basis::Judged(_) => true,
        };
        if takes_it {
            machine.basis = Basis::Reported(new);
            self.is_stale = true;
        }
    }
}

impl Machine {
    /// Takes a name that it gave itself.
    fn call(&mut self, host: &str) {
        let host = clean(host);
        if !host.is_empty() && self.host.as_deref() != Some(&*host) {
            self.host = Some(host.into());
        }
    }

    /// How far its clock is behind ours, given how far our boot clock is behind our wall clock.
    fn shift(&self, offset: i128) -> i128 {
        match &self.basis {
            Basis::Ours => 0,
            Basis::Reported(sample) => sample.shift(offset),
            Basis::Judged(judged) if judged.is_plausible => 0,
            Basis::Judged(judged) => judged.behind,
        }
    }
}

impl Sample {
    fn offset(&self) -> i128 {
        i128::from(self.wall) - i128::from(self.ns)
    }

    /// Its wall clock goes as ours does, but nothing was said after it was heard: a clock ahead of ours is set right.
    fn shift(&self, offset: i128) -> i128 {
        (i128::from(self.wall) - offset).min(i128::from(self.heard)) - i128::from(self.ns)
    }
}

impl Judged {
    fn nothing() -> Self {
        Self { stream: (0, 0, None), newest: 0, is_ahead: false, is_plausible: true, behind: 0 }
    }

    /// Takes the time of an event that came now; whether all that was known is void.
    fn hear(&mut self, stream: StreamKey, ns: BootNs, now: Now) -> bool {
        let is_known = self.newest > 0;
        let is_another =
            stream != self.stream || (!self.is_plausible && ns < self.newest.saturating_sub(BOOT_GAP));
        if is_another {
            *self = Self { stream, ..Self::nothing() };
        }
        let (ns, now) = (i128::from(ns), i128::from(now.boot));
        self.behind = if self.newest == 0 { now - ns } else { self.behind.min(now - ns) };
        self.newest = self.newest.max(u64::try_from(ns).unwrap_or(u64::MAX));
        self.is_ahead |= ns > now + SLACK;
        self.is_plausible = !self.is_ahead && i128::from(self.newest) >= now - REPLAY_WINDOW;
        is_another && is_known
    }
}

/// A time of our boot clock as one that may be before it began.
pub(crate) fn ours(ns: BootNs) -> OurNs {
    i64::try_from(ns).unwrap_or(OurNs::MAX)
}

fn shifted(ns: BootNs, shift: i128) -> OurNs {
    let ours = i128::from(ns) + shift;
    i64::try_from(ours).unwrap_or(if ours < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests;
