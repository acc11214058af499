// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-relay publish`: from sources to the stream.

use std::collections::HashSet;
use std::env;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, ErrorCode};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use leco_cli::relay::Publish;
use leco_core::source::{SourceSpec, Sources, with_sources};
use leco_os::causes::causes;
use leco_os::sandbox::Sandbox;
use tokio::sync::{Notify, mpsc};

use crate::message::{Maker, Message, TOTALS};
use crate::server::{Change, Changes, Link, streams, with_server};
use crate::spool::Spool;
use crate::waiting::Waiting;
use crate::{Asked, at_signals, block_on, confine, report};

/// Messages on their way.
const IN_FLIGHT: usize = 256;
/// Connections that wait in memory.
const IN_MEMORY: usize = 4096;
/// Messages between the thread that reads and the one that sends.
const READ: usize = 1024;
/// After a refusal nothing is sent for this time.
const PAUSE: Duration = Duration::from_millis(500);
/// Subjects of which it is remembered that they are forbidden.
const FORBIDDEN: usize = 4096;
/// What is lost is said once in this time.
const LOSS: Duration = Duration::from_secs(60);

/// What sources bring.
enum Read {
    Message(Message),
    /// Totals, which are no connection's.
    Totals,
    /// So many lines that were too long to keep.
    Overlong(usize),
    /// Nothing comes after that.
    Failed(io::Error),
}

type Messages = mpsc::Receiver<Read>;

/// A message that was sent, by its connection, and what became of it.
type Sent = Pin<Box<dyn Future<Output = (String, Result<(), PublishError>)>>>;

pub(crate) fn run(options: &Publish) -> anyhow::Result<ExitCode> {
    let Publish { server, source, host, spool, spool_max } = options;
    let spool = spool.clone().or_else(|| env::var_os("STATE_DIRECTORY").map(PathBuf::from));
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let maker = Maker::new(host.as_ref().unwrap_or(&node));
    let spool =
        spool.map(|folder| Spool::open(&folder, *spool_max).map(|spool| (folder, spool))).transpose()?;
    let sandbox = with_server(with_sources(Sandbox::default(), source), server);
    let sandbox = spool.iter().fold(sandbox, |sandbox, (folder, _)| sandbox.writes(folder.join("lock")));
    let link = Link::new(server)?;
    confine(&sandbox);
    let ending = Arc::new(Notify::new());
    let asked = Arc::clone(&ending);
    // It has nothing to open anew, and goes on.
    at_signals(move |what| {
        if what == Asked::End {
            asked.notify_one();
        }
    })?;
    let messages = follow(source, maker)?;
    let can_wait = spool.is_none() || source.iter().all(SourceSpec::is_recording);
    let mut publisher = Publisher {
        can_wait,
        spool: spool.map(|(_, spool)| spool),
        streams: None,
        waiting: Waiting::default(),
        sent: FuturesUnordered::new(),
        pause: None,
        losses: Losses::of("lost"),
        ignored: Losses::of("ignored"),
        forbidden: HashSet::new(),
        refusals: Losses::of("refused"),
        said: String::new(),
        has_failed: false,
    };
    block_on(async {
        let done = publisher.run(link.start(), messages, &ending).await;
        publisher.leave();
        done
    })??;
    Ok(if publisher.has_failed || publisher.refusals.said.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Reads sources in a thread of its own, until all have ended.
fn follow(specs: &[SourceSpec], mut maker: Maker) -> anyhow::Result<Messages> {
    let (sender, receiver) = mpsc::channel(READ);
    let mut sources = Sources::open(specs)?;
    std::thread::spawn(move || {
        let (mut said, mut overlong) = (String::new(), 0);
        // Where nobody takes it, this ends soon.
        let send = |read| drop(sender.blocking_send(read));
        while !sender.is_closed() {
            let state = sources.state();
            if state.overlong > overlong {
                send(Read::Overlong(usize::try_from(state.overlong - overlong).unwrap_or(usize::MAX)));
                overlong = state.overlong;
            }
            if state.has_ended {
                break;
            }
            if said != state.text {
                report(format_args!("{}{}", state.text, state.remedy));
                said = state.text;
            }
            let read = sources.wait(None, |_, line| match maker.make(line) {
                Ok(Some(message)) => send(Read::Message(message)),
                Ok(None) => send(Read::Totals),
                Err(error) => report(error),
            });
            if let Err(error) = read {
                send(Read::Failed(error));
                break;
            }
        }
    });
    Ok(receiver)
}

struct Publisher {
    /// Sources are read no faster than the server takes it: nothing is lost of a recording, and the pipe keeps the latest
    /// event of each connection.
    can_wait: bool,
    spool: Option<Spool>,
    /// While the server is there.
    streams: Option<jetstream::Context>,
    waiting: Waiting,
    sent: FuturesUnordered<Sent>,
    /// Until then nothing is sent.
    pause: Option<Instant>,
    losses: Losses,
    ignored: Losses,
    /// Subjects under which this user may not publish.
    forbidden: HashSet<String>,
    refusals: Losses,
    /// The last refusal, which is said once.
    said: String,
    /// A source could not be read any more.
    has_failed: bool,
}

impl Publisher {
    /// Until all that the sources had has arrived, or the program is asked to end.
    async fn run(
        &mut self,
        mut changes: Changes,
        mut messages: Messages,
        ending: &Notify,
    ) -> anyhow::Result<()> {
        let mut has_ended = false;
        loop {
            self.refill();
            self.send();
            let is_spooled = self.spool.as_ref().is_some_and(Spool::is_in_use);
            if self.waiting.is_empty() && is_spooled && self.streams.is_some() {
                // All that was taken from disk was refused.
                continue;
            }
            // The next publisher sends what waits on disk, once this one is started again.
            let is_kept = self.has_failed && self.spool.is_some();
            if has_ended && (is_kept || (self.waiting.is_empty() && !is_spooled)) {
                return Ok(());
            }
            let pause = self.pause.unwrap_or_else(Instant::now);
            tokio::select! {
                message = messages.recv(), if !has_ended && !self.has_to_wait() => match message {
                    Some(read) => self.receive(read),
                    None => has_ended = true,
                },
                Some((connection, result)) = self.sent.next() => self.settle(&connection, result),
                Some(change) = changes.recv() => match change? {
                    Change::Connected(client) => {
                        self.lose_touch();
                        self.losses.tell();
                        self.refusals.tell();
                        // It may be permitted by now.
                        self.forbidden.clear();
                        self.streams = Some(streams(client));
                    }
                    Change::Lost => {
                        self.streams = None;
                        self.lose_touch();
                    }
                    // What is on its way under it is never acknowledged, and set aside when it is to be sent again.
                    Change::Forbidden(subject) => {
                        if self.forbidden.len() >= FORBIDDEN {
                            self.forbidden.clear();
                        }
                        self.forbidden.insert(subject);
                    }
                },
                () = tokio::time::sleep_until(pause.into()), if self.pause.is_some() => self.pause = None,
                () = ending.notified() => {
                    while let Ok(read) = messages.try_recv() {
                        self.receive(read);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Whether the sources have to wait.
    fn has_to_wait(&self) -> bool {
        let is_away = self.spool.is_some() && self.streams.is_none();
        self.can_wait && (is_away || self.waiting.len() >= IN_MEMORY)
    }

    fn receive(&mut self, read: Read) {
        match read {
            Read::Message(message) => self.take(message),
            Read::Totals => self.ignored.add(1, TOTALS),
            Read::Overlong(lines) => self.losses.add(lines, "longer than 64 KiB"),
            Read::Failed(error) => {
                report(error);
                self.has_failed = true;
            }
        }
    }

    /// Takes a message from a source: behind those on disk, where there are some, or while the server is away.
    fn take(&mut self, message: Message) {
        match &mut self.spool {
            Some(spool) if spool.is_in_use() || self.streams.is_none() => match spool.trim() {
                Ok((lost, were_taken)) => {
                    let lost = lost + if were_taken { self.waiting.clear() } else { 0 };
                    self.losses.add(lost, "the spool is full");
                    if let Err(error) = spool.append(&message) {
                        self.losses.add(1, &format!("cannot write the spool: {error}"));
                    }
                }
                Err(error) => {
                    let reason = format!("the spool is full, and its oldest cannot be removed: {error}");
                    self.losses.add(1, &reason);
                }
            },
            _ => {
                self.waiting.push(message);
                if self.waiting.len() > IN_MEMORY {
                    let kept = self.keep();
                    if !self.spool.as_ref().is_some_and(Spool::is_in_use) {
                        self.waiting.drop_oldest();
                        let reason = kept.err().map_or(String::new(), |error| format!(": {error}"));
                        self.losses.add(1, &format!("cannot write the spool{reason}"));
                    }
                }
            }
        }
    }

    /// Takes messages from disk when all before them have arrived.
    fn refill(&mut self) {
        while self.streams.is_some()
            && self.waiting.is_empty()
            && let Some(spool) = self.spool.as_mut().filter(|spool| spool.is_in_use())
        {
            if let Err(error) = spool.arrived() {
                report(format_args!("cannot remove from the spool what arrived: {error}"));
            }
            match spool.load() {
                Ok(messages) => messages.into_iter().for_each(|message| self.waiting.push(message)),
                Err(error) => {
                    self.losses.add(spool.give_up(), &format!("cannot read the spool: {error}"));
                }
            }
        }
    }

    /// Sends what may be on its way.
    fn send(&mut self) {
        let Some(streams) = self.streams.as_ref().filter(|_| self.pause.is_none()) else { return };
        while self.waiting.sent() < IN_FLIGHT
            && let Some(message) = self.waiting.send()
        {
            if self.forbidden.contains(&message.subject) {
                self.waiting.settle(message.connection());
                let kept = self.spool.as_mut().map(|spool| spool.set_aside(&message));
                let fate = match kept {
                    Some(Ok(Some(path))) => format!("kept in {}", path.display()),
                    Some(Ok(None)) => "lost: too many were kept".to_owned(),
                    Some(Err(error)) => format!("lost: cannot write the spool: {error}"),
                    None => "lost: there is no spool".to_owned(),
                };
                let reason = format!("this user may not publish to {}: {fate}", message.subject);
                self.refusals.add(1, &reason);
                continue;
            }
            let streams = streams.clone();
            self.sent.push(Box::pin(async move {
                let connection = message.connection().to_owned();
                let publish = PublishMessage::build().payload(message.payload.into()).message_id(message.id);
                let result =
                    async { streams.send_publish(message.subject, publish).await?.await.map(|_| ()) };
                (connection, result.await)
            }));
        }
    }

    fn settle(&mut self, connection: &str, result: Result<(), PublishError>) {
        let Err(error) = result else {
            self.waiting.settle(connection);
            self.said.clear();
            return;
        };
        if is_too_large(&error) {
            self.waiting.settle(connection);
            self.losses.add(1, "larger than the server takes");
            return;
        }
        self.waiting.put_back(connection);
        if error.kind() == PublishErrorKind::TimedOut {
            return;
        }
        self.pause = Some(Instant::now() + PAUSE);
        let text = match error.kind() {
            PublishErrorKind::StreamNotFound => "no stream takes the events: run leco-relay setup".to_owned(),
            _ => format!("the server takes nothing: {}", causes(&error)),
        };
        if self.said != text {
            report(&text);
            self.said = text;
        }
    }

    /// What is on its way has to be sent again, and waits on disk.
    fn lose_touch(&mut self) {
        self.sent.clear();
        self.waiting.put_all_back();
        if let Err(error) = self.keep() {
            report(format_args!("cannot write the spool: {error}"));
        }
    }

    /// Writes to disk what waits in memory alone.
    fn keep(&mut self) -> io::Result<()> {
        match self.spool.as_mut().filter(|spool| !spool.is_in_use()) {
            Some(spool) => spool.hold(self.waiting.all()),
            None => Ok(()),
        }
    }

    /// Leaves to the next one what it can, and says what is lost.
    fn leave(&mut self) {
        self.lose_touch();
        if self.spool.is_none() {
            self.losses.add(self.waiting.len(), "there is no spool");
        }
        self.losses.tell();
        self.ignored.tell();
        self.refusals.tell();
    }
}

/// Whether a server that takes others will never take this message.
fn is_too_large(error: &PublishError) -> bool {
    let refusal = std::error::Error::source(error).and_then(|error| error.downcast_ref::<jetstream::Error>());
    error.kind() == PublishErrorKind::MaxPayloadExceeded
        || refusal.is_some_and(|error| error.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)
}

/// Counts what is lost, and says it now and then.
#[derive(Debug)]
struct Losses {
    /// What became of them.
    what: &'static str,
    count: usize,
    reason: String,
    said: Option<Instant>,
}

impl Losses {
    fn of(what: &'static str) -> Self {
        Self { what, count: 0, reason: String::new(), said: None }
    }

    fn add(&mut self, count: usize, reason: &str) {
        if count > 0 {
            self.count += count;
            reason.clone_into(&mut self.reason);
            if self.said.is_none_or(|said| said.elapsed() >= LOSS) {
                self.tell();
            }
        }
    }

    /// Says what was not said yet.
    fn tell(&mut self) {
        if self.count > 0 {
            let Self { what, count, reason, .. } = self;
            report(format_args!("{count} event{} {what}: {reason}", if *count == 1 { "" } else { "s" }));
            (self.count, self.said) = (0, Some(Instant::now()));
        }
    }
}
