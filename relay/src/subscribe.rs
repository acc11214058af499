// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-relay subscribe`: from the stream to outputs that frontends read.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::datetime::from_nanos;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::jetstream::context::Context;
use futures_util::StreamExt;
use leco_cli::relay::Subscribe;
use leco_os::bell::Bell;
use leco_os::causes::causes;
use leco_os::clock::{Now, boot_ns};
use leco_os::sandbox::{Network, Sandbox};
use leco_pipe::outputs::{OutputSpec, Outputs};
use leco_pipe::systemd::passed_descriptors;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::fmt::writer::MakeWriterExt;

use crate::message::{ROOT, TOTALS, token};
use crate::seen::{CONNECTIONS, Refusal, Seen};
use crate::server::{Change, Changes, Link, streams, with_server};
use crate::{Asked, at_signals, block_on, confine, report};

/// Events between the thread that receives and the one that hands on.
const RECEIVED: usize = 1024;
/// Messages that a server sends without being asked again.
const BATCH: usize = 500;
/// A server that says nothing for twice this time is asked again.
const HEARTBEAT: Duration = Duration::from_secs(14);
/// The server keeps a place in the stream for this time.
const PLACE: Duration = Duration::from_secs(60);
/// After a failure nothing is asked for this time.
const PAUSE: Duration = Duration::from_millis(500);
/// At the end readers have this time to take what is left.
const FLUSH_NS: u64 = 800_000_000;

/// Publishers that are complained of.
const SAID: usize = 64;

/// What the thread that receives has to tell.
enum Received {
    Event {
        host: String,
        payload: Vec<u8>,
        at: i64,
    },
    /// All that was in the stream was told.
    CaughtUp,
    Failed(anyhow::Error),
}

pub(crate) fn run(options: &Subscribe) -> anyhow::Result<ExitCode> {
    let specs = options.output.iter().map(|text| {
        let spec = OutputSpec::parse(text)?;
        options.filter.as_ref().map_or(Ok(spec.clone()), |filter| spec.filtered(filter))
    });
    let specs: Vec<_> = specs.collect::<Result<_, _>>()?;
    OutputSpec::refuse_same_places(&specs)?;
    OutputSpec::refuse_what_events_lack(&specs)?;
    // Outputs say here what they say in the pipe; what the client of the server says, this program says itself.
    let log = tracing_subscriber::fmt().with_target(false).without_time().log_internal_errors(false);
    let stderr = io::stderr.with_filter(|event| event.target().starts_with("leco_"));
    log.with_ansi(io::stderr().is_terminal()).with_writer(stderr).init();
    let outputs = Outputs::open(&specs, CONNECTIONS, &mut passed_descriptors()?)?;
    let link = Link::new(&options.server)?;
    let sandbox = with_server(Sandbox::default().with_network(Network::All), &options.server);
    let sandbox = specs.iter().filter_map(OutputSpec::reads).fold(sandbox, Sandbox::reads);
    confine(&specs.iter().filter_map(OutputSpec::writes).fold(sandbox, Sandbox::writes));
    let bell = Bell::new()?;
    let wishes = Arc::new(Wishes::default());
    let (asked, ring) = (Arc::clone(&wishes), bell.clone());
    at_signals(move |what| {
        let wish = if what == Asked::End { &asked.end } else { &asked.reopen };
        wish.store(true, Ordering::Relaxed);
        ring.ring();
    })?;
    let (sender, receiver) = sync_channel(RECEIVED);
    let sender = Sender { sender, bell: bell.clone() };
    let place = Place {
        stream: options.stream.clone(),
        subject: format!(
            "{ROOT}.{}.*",
            if options.host.contains('*') { "*".to_owned() } else { token(&options.host) }
        ),
        since: options.since,
        after: None,
        has_caught_up: false,
    };
    thread::spawn(move || {
        let failed = block_on(follow(link, place, &sender)).flatten().err();
        let failed = failed.unwrap_or_else(|| anyhow::anyhow!("the connection is lost"));
        sender.send(Received::Failed(failed));
    });
    let seen = Seen::new(options.since);
    let mut hub =
        Hub { outputs, seen, host: options.host.clone(), is_caught_up: false, ignored: HashSet::new() };
    hub.run(&receiver, &bell, &wishes)?;
    Ok(ExitCode::SUCCESS)
}

/// What signals ask of the thread that hands on.
#[derive(Default)]
struct Wishes {
    end: AtomicBool,
    reopen: AtomicBool,
}

struct Sender {
    sender: SyncSender<Received>,
    bell: Bell,
}

impl Sender {
    fn send(&self, what: Received) {
        // Where nobody takes it, the program ends.
        let _ = self.sender.send(what);
        self.bell.ring();
    }
}

/// Outputs, and what their readers are told.
struct Hub {
    outputs: Outputs,
    seen: Seen,
    /// Pattern of machines.
    host: String,
    is_caught_up: bool,
    /// What was said of publishers.
    ignored: HashSet<String>,
}

impl Hub {
    /// Until it is asked to end, or nobody reads any more.
    fn run(&mut self, received: &Receiver<Received>, bell: &Bell, wishes: &Wishes) -> anyhow::Result<()> {
        let done = self.hand_on(received, bell, wishes);
        done.and(self.finish(bell))
    }

    fn hand_on(&mut self, received: &Receiver<Received>, bell: &Bell, wishes: &Wishes) -> anyhow::Result<()> {
        while !wishes.end.load(Ordering::Relaxed) {
            if wishes.reopen.swap(false, Ordering::Relaxed) {
                self.outputs.reopen();
            }
            let is_more_to_come = self.take(received)?;
            if self.is_caught_up && self.outputs.wants_replay() {
                let now = boot_ns();
                self.outputs.begin_replay();
                for heard in self.seen.all() {
                    self.outputs.push_old(heard.key, &heard.line, &heard.event, heard.is_open, now);
                }
                self.outputs.end_replay();
            }
            if !self.outputs.flush().context("cannot write")? {
                break;
            }
            let due = self.outputs.due().map(|due| due.saturating_sub(boot_ns()));
            self.wait(bell, if is_more_to_come { Some(0) } else { due })?;
        }
        Ok(())
    }

    /// Waits a moment for readers that take what is left.
    fn finish(&mut self, bell: &Bell) -> anyhow::Result<()> {
        self.outputs.release_all();
        let end = boot_ns() + FLUSH_NS;
        while self.outputs.flush().context("cannot write")? && !self.outputs.is_flushed() {
            let left = end.saturating_sub(boot_ns());
            if left == 0 {
                break;
            }
            self.wait(bell, Some(left))?;
        }
        Ok(())
    }

    /// Takes what was received; whether there may be more.
    fn take(&mut self, received: &Receiver<Received>) -> anyhow::Result<bool> {
        for _ in 0..RECEIVED {
            match received.try_recv() {
                Ok(Received::Event { host, payload, at }) => self.hear(&host, &payload, at),
                Ok(Received::CaughtUp) => self.is_caught_up = true,
                Ok(Received::Failed(error)) => return Err(error),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(false),
            }
        }
        Ok(true)
    }

    fn hear(&mut self, host: &str, payload: &[u8], at: i64) {
        if !matches(&self.host, host) {
            return;
        }
        match self.seen.hear(host, payload, at) {
            // Before that a connection's last event is not known.
            Ok(heard) if self.is_caught_up => {
                self.outputs.push(heard.key, &heard.line, &heard.event, heard.is_open, boot_ns());
            }
            Ok(_) | Err(Refusal::Double) => {}
            Err(Refusal::Malformed) => self.say_ignored(host, "malformed"),
            Err(Refusal::Totals) => self.say_ignored(host, TOTALS),
            Err(Refusal::Foreign) => self.say_ignored(host, "events of another machine"),
        }
    }

    /// Says it once of each machine.
    fn say_ignored(&mut self, host: &str, reason: &str) {
        let said = format!("ignored what {host} publishes: {reason}");
        if self.ignored.len() < SAID && self.ignored.insert(said.clone()) {
            report(said);
        }
    }

    /// For so many ns at most.
    fn wait(&mut self, bell: &Bell, time: Option<u64>) -> io::Result<()> {
        let time = time.and_then(|time| Timespec::try_from(Duration::from_nanos(time)).ok());
        let ready: Vec<PollFlags> = {
            let mut fds = vec![PollFd::new(bell, PollFlags::IN)];
            fds.extend(self.outputs.poll().into_iter().map(|(fd, wish)| PollFd::from_borrowed_fd(fd, wish)));
            match poll(&mut fds, time.as_ref()) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            fds.iter().map(PollFd::revents).collect()
        };
        bell.silence();
        let now = boot_ns();
        self.outputs.look(&ready[1..], now);
        self.outputs.keep_time(now);
        Ok(())
    }
}

/// Whether a name is as a pattern has it, in which `*` stands for any characters. Both as in subjects.
fn matches(pattern: &str, host: &str) -> bool {
    let parts: Vec<String> =
        pattern.split('*').map(|part| if part.is_empty() { String::new() } else { token(part) }).collect();
    let [first, middle @ .., last] = parts.as_slice() else {
        return parts.first().is_some_and(|only| only == host);
    };
    let Some(rest) = host.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()))
    else {
        return false;
    };
    let found = middle.iter().try_fold(rest, |rest, part| Some(rest.split_once(part.as_str())?.1));
    found.is_some()
}

/// Where in the stream the next event is.
struct Place {
    stream: String,
    subject: String,
    since: Duration,
    /// The last event that was received.
    after: Option<u64>,
    has_caught_up: bool,
}

/// Receives events until the connection is refused.
async fn follow(link: Link, mut place: Place, sender: &Sender) -> anyhow::Result<()> {
    let mut changes = link.start();
    let mut streams = connected(&mut changes).await?;
    let mut said = String::new();
    loop {
        let reading = async {
            let error = place.read(&streams, sender).await;
            let text = causes(&*error);
            if said != text {
                report(&text);
                said = text;
            }
            tokio::time::sleep(PAUSE).await;
        };
        tokio::select! {
            () = reading => {}
            change = changes.recv() => match change.context("the connection is lost")?? {
                Change::Connected(client) => streams = self::streams(client),
                Change::Lost => streams = connected(&mut changes).await?,
                // It publishes no events.
                Change::Forbidden(_) => {}
            }
        }
    }
}

async fn connected(changes: &mut Changes) -> anyhow::Result<Context> {
    loop {
        if let Change::Connected(client) = changes.recv().await.context("the connection is lost")?? {
            return Ok(streams(client));
        }
    }
}

impl Place {
    /// Receives until that fails, or an event is missing.
    async fn read(&mut self, streams: &Context, sender: &Sender) -> anyhow::Error {
        self.try_read(streams, sender)
            .await
            .err()
            .unwrap_or_else(|| anyhow::anyhow!("the server ends the stream"))
    }

    async fn try_read(&mut self, streams: &Context, sender: &Sender) -> anyhow::Result<()> {
        let name = &self.stream;
        let stream = streams.get_stream(name).await.with_context(|| format!("cannot read stream {name}"))?;
        // One that was made anew begins to count anew.
        self.after = self.after.filter(|after| *after <= stream.cached_info().state.last_sequence);
        let since = Now::read().wall.saturating_sub(i64::try_from(self.since.as_nanos()).unwrap_or(i64::MAX));
        let deliver_policy = match self.after {
            Some(after) => DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
            None => DeliverPolicy::ByStartTime {
                start_time: from_nanos(since.max(0).into()).map_err(anyhow::Error::from_boxed)?,
            },
        };
        let config = Config {
            // With a name the request's subject has the filter, by which the server can permit it.
            name: Some(format!("leco-relay-{:016x}", RandomState::new().hash_one(name))),
            deliver_policy,
            ack_policy: AckPolicy::None,
            filter_subject: self.subject.clone(),
            inactive_threshold: PLACE,
            memory_storage: true,
            num_replicas: 1,
            ..Config::default()
        };
        let consumer =
            stream.create_consumer(config).await.with_context(|| format!("cannot read stream {name}"))?;
        if consumer.cached_info().num_pending == 0 {
            self.catch_up(sender);
        }
        let builder = consumer.stream().max_messages_per_batch(BATCH).heartbeat(HEARTBEAT);
        let mut messages = builder.messages().await.context("cannot read the stream")?;
        let mut expected = 1;
        while let Some(message) = messages.next().await {
            let message = message.context("cannot read the stream")?;
            let info = message.info().map_err(anyhow::Error::from_boxed)?;
            // What this program was too slow for is asked for again.
            anyhow::ensure!(info.consumer_sequence == expected, "an event is missing: reading it again");
            expected += 1;
            let (sequence, is_last) = (info.stream_sequence, info.pending == 0);
            let at = i64::try_from(info.published.unix_timestamp_nanos()).unwrap_or(i64::MAX);
            let host = message.subject.split('.').nth(1).unwrap_or_default().to_owned();
            sender.send(Received::Event { host, payload: message.payload.to_vec(), at });
            self.after = Some(sequence);
            if is_last {
                self.catch_up(sender);
            }
        }
        Ok(())
    }

    fn catch_up(&mut self, sender: &Sender) {
        if !std::mem::replace(&mut self.has_caught_up, true) {
            sender.send(Received::CaughtUp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_holds_for_whole_names() {
        for (pattern, host, holds) in [
            ("*", "web1", true),
            ("web1", "web1", true),
            ("web1", "web10", false),
            ("web*", "web10", true),
            ("*.lan", "nas_lan", true),
            ("w*b*1", "web1", true),
            ("w*x*1", "web1", false),
            ("web1*1", "web1", false),
            ("", "web1", false),
        ] {
            assert_eq!(matches(pattern, host), holds, "{pattern} {host}");
        }
    }
}
