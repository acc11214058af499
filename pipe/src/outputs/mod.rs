// SPDX-License-Identifier: GPL-3.0-or-later
//! Receivers of events, each with a queue of its own, so that none can hurt another.

mod clock;
mod counts;
mod exact;
mod queue;
mod reader;
mod spec;
mod stored;
mod targets;
mod token;
mod warn_once;
mod writer;

use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use leco_bpf::PassedFds;
use leco_bpf::read::record::Conn;
use leco_core::source::recording::RecordError;
use leco_os::causes::sentence;
use leco_os::clock::BootNs;
use leco_os::limits;
use rustix::event::PollFlags;

pub use self::clock::ClockField;
use self::reader::{QueueLimits, Reader};
pub use self::spec::{Destination, OutputError, OutputSpec, Selection, Share};
use self::stored::Stored;
pub use self::stored::{PageWish, StoredWish};
pub use self::token::TokenError;
use crate::clock::Now;
use crate::enrich::labels::Labels;
use crate::history::pages::Page;
pub use crate::outputs::targets::fifo::FifoError;
use crate::outputs::targets::fifo::FifoOutput;
use crate::outputs::targets::listener::Listener;
pub use crate::outputs::targets::listener::{ListenError, MAX_READERS};
use crate::outputs::targets::metrics::Metrics;
pub use crate::outputs::targets::metrics::MetricsError;
use crate::outputs::targets::recording::Recording;
use crate::outputs::targets::stdout::Stdout;
pub use crate::outputs::targets::udp::MAX_DATAGRAM;
use crate::outputs::targets::udp::UdpOutput;
use crate::render::line::Machine;
use crate::source::kernel_events::Losses;

/// Why an output cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Standard output.
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
    /// A fifo.
    #[error(transparent)]
    Fifo(#[from] FifoError),
    /// A listening socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Datagrams.
    #[error("cannot send to {0}: {1}")]
    Udp(std::net::SocketAddr, io::Error),
    /// A recording.
    #[error(transparent)]
    File(#[from] RecordError),
    /// Metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A socket that was not passed.
    #[error("no socket named {0} was passed by the service manager: name it in FileDescriptorName=")]
    NotPassed(String),
    /// One reader gets each event once.
    #[error("standard output is given twice")]
    TwoStdouts,
}

#[derive(Debug)]
enum Target {
    Stdout(Stdout),
    Fifo(Box<FifoOutput>),
    Listener(Listener),
    Udp(UdpOutput),
    Recording(Recording),
    Metrics(Box<Metrics>),
}

/// One way out, and who reads there.
#[derive(Debug)]
struct Output {
    selection: Selection,
    target: Target,
}

/// Every way out.
#[derive(Debug, Default)]
pub struct Outputs {
    all: Vec<Output>,
    clock: ClockField,
    /// Pages that were ever asked for.
    pages: u64,
}

impl Outputs {
    /// Opens all of them; queues hold so many connections. Sockets that the service manager passed are taken
    /// from `passed` by their names.
    pub fn open(specs: &[OutputSpec], capacity: usize, passed: &mut PassedFds) -> Result<Self, OpenError> {
        let stdouts = specs.iter().filter(|spec| spec.destination == Destination::Stdout);
        if stdouts.count() > 1 {
            return Err(OpenError::TwoStdouts);
        }
        let outputs = specs.iter().map(|spec| Output::open(spec, capacity, passed));
        let outputs: Vec<_> = outputs.collect::<Result<_, _>>()?;
        Ok(Self { all: outputs.into_iter().flatten().collect(), clock: ClockField::default(), pages: 0 })
    }

    /// From now on readers are told how the clocks of this machine go.
    pub fn tell_clock(&mut self, now: &Now, machine: &Machine) {
        self.clock = ClockField::new(now, machine);
    }

    /// Reads the clocks anew.
    pub fn set_clock(&mut self, now: &Now) {
        self.clock.set(now);
    }

    /// Descriptors to wait for, and what for.
    pub fn poll(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        self.all.iter().flat_map(Output::poll).collect()
    }

    /// Follows what happened to readers: what became ready of the descriptors of [`Self::poll`], in their order.
    pub fn look(&mut self, ready: &[PollFlags], now: BootNs) {
        let mut ready = ready.iter().copied();
        for output in &mut self.all {
            output.look(&mut ready, now);
        }
    }

    /// When to call [`Self::keep_time`] although nothing is ready.
    pub fn due(&mut self) -> Option<BootNs> {
        let mut due = None;
        for output in &mut self.all {
            output.each_reader(|reader| due = due.into_iter().chain(reader.queue.due()).min());
            let own = match &output.target {
                Target::Listener(listener) => listener.due(),
                Target::Metrics(metrics) => Some(metrics.due()),
                _ => None,
            };
            due = due.into_iter().chain(own).min();
        }
        due
    }

    /// Does what a moment asks for: lets held events go and slow readers' time run out.
    pub fn keep_time(&mut self, now: BootNs) {
        for output in &mut self.all {
            output.each_reader(|reader| reader.queue.release(now));
            match &mut output.target {
                Target::Listener(listener) => listener.expire(now),
                Target::Metrics(metrics) => metrics.keep_time(now),
                _ => {}
            }
        }
    }

    /// Lets all go at once that is held back, and holds back nothing from now on: call it before the last
    /// [`Self::flush`].
    pub fn release_all(&mut self) {
        self.each_reader(|_, reader| reader.queue.release_all());
    }

    fn metrics(&mut self) -> impl Iterator<Item = &mut Metrics> {
        self.all.iter_mut().filter_map(|output| match &mut output.target {
            Target::Metrics(metrics) => Some(&mut **metrics),
            _ => None,
        })
    }

    /// Whether anything is counted.
    pub fn counts(&mut self) -> bool {
        self.metrics().next().is_some()
    }

    /// Counts what is known of a connection now.
    pub fn count(&mut self, conn: &Conn, labels: &Labels) {
        self.metrics().for_each(|metrics| metrics.counts.see(conn, &labels.who));
    }

    /// Counts what was lost so far.
    pub fn count_losses(&mut self, losses: &Losses) {
        self.metrics().for_each(|metrics| metrics.counts.lose(losses));
    }

    /// Writes what was counted, however long ago that was done last.
    pub fn write_counts(&mut self) {
        self.metrics().for_each(Metrics::write);
    }

    /// Whether a reader waits to be told everything that is known.
    pub fn wants_replay(&mut self) -> bool {
        self.any_reader(|reader| reader.wants_replay)
    }

    /// From now on [`Self::push_old`] goes to those who want it.
    pub fn begin_replay(&mut self) {
        self.each_reader(|_, reader| reader.set_replayed_to(true));
    }

    /// Everything that is known was told.
    pub fn end_replay(&mut self) {
        self.each_reader(|_, reader| reader.set_replayed_to(false));
    }

    /// Pages of what is stored that receivers want now, each once.
    pub fn page_wishes(&mut self) -> Vec<PageWish> {
        let mut wishes = Vec::new();
        for Output { selection, target } in &mut self.all {
            target.each_reader(|reader| {
                let (Stored::Wanted(from), Some(StoredWish { since, .. })) =
                    (&mut reader.stored, reader.wish)
                else {
                    return;
                };
                self.pages += 1;
                let filter = selection.filter.as_ref().map(spec::Filter::query);
                wishes.push(PageWish { receiver: self.pages, since, filter, from: from.take() });
                reader.stored = Stored::Asked(self.pages);
            });
        }
        wishes
    }

    /// Hands a page to who waits for it, if he still does.
    pub(crate) fn take_page(&mut self, receiver: u64, page: Page) {
        let mut page = Some(page);
        self.each_reader(|_, reader| reader.stored.take(receiver, &mut page));
    }

    /// Whether a receiver waits for a page to be asked for.
    pub fn wants_page(&mut self) -> bool {
        self.any_reader(|reader| matches!(reader.stored, Stored::Wanted(_)))
    }

    /// Whether anybody would get an event now.
    pub fn has_reader(&mut self) -> bool {
        self.any_reader(|_| true)
    }

    /// Queues an event of the connection `ns` for everybody. One that is open is kept for a receiver that stalls, however
    /// many others ended meanwhile.
    pub fn push(&mut self, ns: BootNs, line: &str, event: &Rc<[u8]>, is_open: bool, now: BootNs) {
        self.push_to(|_| true, ns, line, event, is_open, now);
    }

    /// Queues an event that only those do not know who are told everything.
    pub fn push_old(&mut self, ns: BootNs, line: &str, event: &Rc<[u8]>, is_open: bool, now: BootNs) {
        self.push_to(Reader::is_replayed_to, ns, line, event, is_open, now);
    }

    fn push_to(
        &mut self,
        to: fn(&Reader) -> bool,
        ns: BootNs,
        line: &str,
        event: &Rc<[u8]>,
        is_open: bool,
        now: BootNs,
    ) {
        for output in &mut self.all {
            if output.selection.holds(ns, line, event) {
                output.each_reader(|reader| {
                    if to(reader) {
                        reader.push(ns, event, is_open, now);
                    }
                });
            }
        }
    }

    /// Writes what the receivers take; `false` when none is left that could ever take anything.
    pub fn flush(&mut self) -> io::Result<bool> {
        let mut failed = None;
        let clock = &self.clock;
        self.all.retain_mut(|output| match output.flush(clock) {
            Ok(goes_on) => goes_on,
            Err(error) => {
                failed = Some(error);
                false
            }
        });
        match failed {
            Some(error) if self.all.is_empty() => Err(error),
            Some(error) => {
                let error = limits::explain(error);
                tracing::warn!("cannot write to standard output: {error}. The other outputs continue.");
                Ok(true)
            }
            None => Ok(!self.all.is_empty()),
        }
    }

    /// Whether every reader has everything that it takes now.
    pub fn is_flushed(&mut self) -> bool {
        !self.any_reader(|reader| !reader.is_done())
    }

    /// Opens anew what may lead elsewhere now: files that were moved away, sockets and fifos that were removed,
    /// tokens that were changed. Readers of sockets stay.
    pub fn reopen(&mut self) {
        for output in &mut self.all {
            let result = match &mut output.target {
                Target::Stdout(_) | Target::Udp(_) | Target::Metrics(_) => Ok(()),
                Target::Fifo(fifo) => {
                    fifo.reattach();
                    Ok(())
                }
                Target::Listener(listener) => listener.reopen().map_err(|error| error.to_string()),
                Target::Recording(recording) => recording.reopen().map_err(|error| error.to_string()),
            };
            if let Err(error) = result {
                let error = limits::name_in(error);
                tracing::warn!("{} Outputs that are open stay open.", sentence(&error));
            }
        }
    }

    fn any_reader(&mut self, holds: impl Fn(&Reader) -> bool) -> bool {
        let mut any = false;
        self.each_reader(|_, reader| any |= holds(reader));
        any
    }

    fn each_reader(&mut self, mut act: impl FnMut(&Selection, &mut Reader)) {
        for output in &mut self.all {
            let Output { selection, target } = output;
            target.each_reader(|reader| act(selection, reader));
        }
    }
}

impl Output {
    /// One for each of the sockets that were passed by a name, else one.
    fn open(spec: &OutputSpec, capacity: usize, passed: &mut PassedFds) -> Result<Vec<Self>, OpenError> {
        let OutputSpec { rate_limit, stored, .. } = *spec;
        let limits = QueueLimits { connections: capacity, rate_limit, stored };
        let target = match &spec.destination {
            Destination::Stdout => Target::Stdout(Stdout::open(limits).map_err(OpenError::Stdout)?),
            Destination::Fifo { path, mode } => {
                Target::Fifo(Box::new(FifoOutput::open(path, *mode, limits)?))
            }
            Destination::Unix { path, mode, allow } => {
                Target::Listener(Listener::unix(path, *mode, allow.clone(), limits)?)
            }
            Destination::Tcp { address, token_file } => {
                Target::Listener(Listener::tcp(*address, token_file.clone(), limits)?)
            }
            Destination::Udp(address) => Target::Udp(
                UdpOutput::open(*address, limits).map_err(|error| OpenError::Udp(*address, error))?,
            ),
            Destination::File(path) => Target::Recording(Recording::open(path, limits)?),
            Destination::Metrics { path, every } => Target::Metrics(Box::new(Metrics::open(path, *every)?)),
            Destination::Passed(name) => {
                let sockets = passed.remove(name).ok_or_else(|| OpenError::NotPassed(name.clone()))?;
                let listeners = sockets.into_iter().map(|socket| {
                    let target = Target::Listener(Listener::passed(name, socket, limits)?);
                    Ok(Self { selection: spec.selection.clone(), target })
                });
                return listeners.collect();
            }
        };
        Ok(vec![Self { selection: spec.selection.clone(), target }])
    }

    fn poll(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        match &self.target {
            Target::Stdout(stdout) => stdout.poll().into_iter().collect(),
            Target::Fifo(fifo) => fifo.poll().collect(),
            Target::Listener(listener) => listener.poll().collect(),
            Target::Udp(udp) => udp.poll().into_iter().collect(),
            Target::Recording(_) | Target::Metrics(_) => Vec::new(),
        }
    }

    fn look(&mut self, ready: &mut impl Iterator<Item = PollFlags>, now: BootNs) {
        let descriptors = self.poll().len();
        let mut ready = ready.by_ref().take(descriptors);
        match &mut self.target {
            Target::Stdout(stdout) => {
                stdout.look(ready.next().unwrap_or(PollFlags::empty()));
            }
            Target::Fifo(fifo) => {
                // The first tells that it was opened, closed or replaced, the second that it is writable.
                let (changed, writable) = (ready.next(), ready.next());
                if fifo.is_polling()
                    || changed.is_some_and(|ready| !ready.is_empty())
                    || writable.is_some_and(|ready| !ready.is_empty())
                {
                    fifo.look(writable.unwrap_or(PollFlags::empty()));
                }
            }
            Target::Listener(listener) => listener.look(&mut ready, now),
            Target::Udp(udp) => {
                if ready.next().is_some_and(|ready| !ready.is_empty()) {
                    udp.look();
                }
            }
            Target::Recording(_) | Target::Metrics(_) => {}
        }
        ready.for_each(drop);
    }

    fn each_reader(&mut self, act: impl FnMut(&mut Reader)) {
        self.target.each_reader(act);
    }

    fn flush(&mut self, clock: &ClockField) -> io::Result<bool> {
        match &mut self.target {
            Target::Stdout(stdout) => return stdout.flush(clock),
            Target::Fifo(fifo) => fifo.flush(clock),
            Target::Listener(listener) => listener.flush(clock),
            Target::Udp(udp) => udp.flush(clock),
            Target::Recording(recording) => recording.flush(clock),
            Target::Metrics(_) => {}
        }
        Ok(true)
    }
}

impl Target {
    fn each_reader(&mut self, mut act: impl FnMut(&mut Reader)) {
        match self {
            Self::Stdout(stdout) => act(&mut stdout.reader),
            Self::Fifo(fifo) if fifo.has_reader() => act(&mut fifo.reader),
            Self::Fifo(_) | Self::Metrics(_) => {}
            Self::Listener(listener) => listener.readers().for_each(act),
            Self::Udp(udp) => act(&mut udp.reader),
            Self::Recording(recording) => act(&mut recording.reader),
        }
    }
}
