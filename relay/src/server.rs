// SPDX-License-Identifier: GPL-3.0-or-later
//! The connection to the server: as whom, and what is said of it.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::jetstream;
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr, ServerError};
use leco_cli::relay::Server;
use leco_os::causes::causes;
use leco_os::files::read_file;
use leco_os::sandbox::{Network, Sandbox};
use tokio::sync::mpsc;

use crate::message::{ROOT, token};
use crate::report;

/// A server answers within this time, or counts as away.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);
/// A server that answers none of two pings is lost.
const PING: Duration = Duration::from_secs(30);
/// A lost server is looked for after this time, then up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(100);
/// See [`PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Events of a connection that wait to be told.
const EVENTS: usize = 256;

/// How to connect.
pub(crate) struct Link {
    addresses: Vec<ServerAddr>,
    options: ConnectOptions,
    name: String,
    events: mpsc::Receiver<Event>,
    /// What was said last, so that it is said once.
    said: String,
}

/// What became of the connection.
pub(crate) enum Change {
    /// It is there.
    Connected(Client),
    /// It is lost.
    Lost,
    /// This user may not publish under a subject of events.
    Forbidden(String),
}

/// Every change of a connection; an error where the server will not have this program.
pub(crate) type Changes = mpsc::Receiver<anyhow::Result<Change>>;

/// A sandbox in which a server can be reached.
pub(crate) fn with_server(sandbox: Sandbox, server: &Server) -> Sandbox {
    let Server { creds, nkey, password_file, tls_ca, tls_cert, tls_key, .. } = server;
    let files = [creds, nkey, password_file, tls_ca, tls_cert, tls_key];
    files.into_iter().flatten().fold(sandbox.with_network(Network::All), Sandbox::reads)
}

impl Link {
    /// Reads credentials.
    pub(crate) fn new(server: &Server) -> anyhow::Result<Self> {
        let addresses: Result<Vec<ServerAddr>, _> =
            server.nats.split(',').map(|url| url.trim().parse()).collect();
        // The text may have a password.
        let addresses = addresses.context("--nats: expected nats://HOST:PORT or tls://HOST:PORT")?;
        let (sender, events) = mpsc::channel(EVENTS);
        let mut options = ConnectOptions::new()
            .name("leco-relay")
            .custom_inbox_prefix(inbox(server))
            .ping_interval(PING)
            .request_timeout(Some(ANSWER))
            .reconnect_delay_callback(|attempts| match attempts {
                0 | 1 => Duration::ZERO,
                more => {
                    (PAUSE * 2_u32.pow(u32::try_from(more - 2).unwrap_or(u32::MAX).min(8))).min(LONGEST_PAUSE)
                }
            })
            .event_callback(move |event| {
                let sender = sender.clone();
                async move { drop(sender.send(event).await) }
            });
        if let Some(file) = &server.creds {
            options = options.credentials(&secret(file)?).with_context(|| unusable(file))?;
        } else if let Some(file) = &server.nkey {
            options = options.nkey(secret(file)?);
        } else if let (Some(user), Some(file)) = (&server.user, &server.password_file) {
            options = options.user_and_password(user.clone(), secret(file)?);
        }
        if let Some(file) = &server.tls_ca {
            // It is read anew with each connection: what is wrong with it is told now.
            secret(file)?;
            options = options.add_root_certificates(file.clone());
        }
        if let (Some(certificate), Some(key)) = (&server.tls_cert, &server.tls_key) {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        let name = addresses.iter().map(|one| format!("{}:{}", one.host(), one.port())).collect::<Vec<_>>();
        Ok(Self { addresses, options, name: name.join(", "), events, said: String::new() })
    }

    /// Which server it is.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Connects in the background, and again whenever the connection is lost, and says so.
    pub(crate) fn start(mut self) -> Changes {
        let (sender, changes) = mpsc::channel(EVENTS);
        tokio::spawn(async move {
            if let Err(error) = self.follow(&sender).await {
                // Where nobody listens, all ends.
                let _ = sender.send(Err(error)).await;
            }
        });
        changes
    }

    async fn follow(&mut self, changes: &mpsc::Sender<anyhow::Result<Change>>) -> anyhow::Result<()> {
        let client = self.connect().await?;
        while let Some(event) = self.events.recv().await {
            if let Some(change) = self.change(event, &client)? {
                let _ = changes.send(Ok(change)).await;
            }
        }
        Ok(())
    }

    /// Connects, as soon as the server is there.
    async fn connect(&mut self) -> anyhow::Result<Client> {
        let mut pause = PAUSE;
        loop {
            match self.options.clone().connect(&self.addresses[..]).await {
                Ok(client) => return Ok(client),
                Err(error) if is_final(&error) => bail!("{} refuses: {}", self.name, reason(&error)),
                Err(error) => self.say(format!("waiting for {}: {}", self.name, reason(&error))),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn change(&mut self, event: Event, client: &Client) -> anyhow::Result<Option<Change>> {
        match event {
            Event::Connected => {
                self.say(format!("connected to {}", self.name));
                return Ok(Some(Change::Connected(client.clone())));
            }
            Event::Disconnected => {
                self.say(format!("lost {}", self.name));
                return Ok(Some(Change::Lost));
            }
            Event::ServerError(ServerError::Other(text))
                if text.to_lowercase().contains("permissions violation") =>
            {
                if let Some(subject) = forbidden_subject(&text) {
                    return Ok(Some(Change::Forbidden(subject.to_owned())));
                }
                bail!("{} refuses: {}: let this user do so", self.name, text.trim_matches('\''));
            }
            Event::ServerError(error) => self.say(format!("{}: {error}", self.name)),
            Event::ClientError(error) => {
                let text = error.to_string();
                self.say(format!("waiting for {}: {}", self.name, text.trim_start_matches("nats: ")));
            }
            Event::SlowConsumer(_) | Event::LameDuckMode | Event::Draining | Event::Closed => {}
        }
        Ok(None)
    }

    /// Says something unless it was the last that was said.
    fn say(&mut self, text: String) {
        if self.said != text {
            report(&text);
            self.said = text;
        }
    }
}

/// The subject of events that a server names in its refusal; none where it refuses something without which the relay
/// cannot go on.
fn forbidden_subject(refusal: &str) -> Option<&str> {
    let subject = refusal.split('"').nth(1)?;
    let is_of_events = subject.split_once('.').is_some_and(|(root, _)| root == ROOT);
    (refusal.to_lowercase().contains("publish") && is_of_events).then_some(subject)
}

/// The streams of a server.
pub(crate) fn streams(client: Client) -> jetstream::Context {
    jetstream::ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER).build(client)
}

/// The first words of the subjects of answers.
fn inbox(server: &Server) -> String {
    match (&server.inbox, &server.user) {
        (Some(inbox), _) => inbox.clone(),
        (None, Some(user)) => format!("_INBOX_{}", token(user)),
        (None, None) => "_INBOX".to_owned(),
    }
}

fn unusable(file: &Path) -> String {
    format!("cannot use {}", file.display())
}

/// A short file without its last newline.
fn secret(file: &Path) -> anyhow::Result<String> {
    let (bytes, _) = read_file(file, 1 << 20).with_context(|| unusable(file))?;
    let text = String::from_utf8(bytes).with_context(|| unusable(file))?;
    Ok(text.trim_end().to_owned())
}

/// Whether it is no use to try again.
fn is_final(error: &ConnectError) -> bool {
    use ConnectErrorKind::{Authentication, AuthorizationViolation, ServerParse, Tls};
    matches!(error.kind(), Authentication | AuthorizationViolation | ServerParse | Tls)
        || refused_by_tls(error).is_some()
}

/// The reason where TLS did not like the other end: such errors hold one of rustls.
fn refused_by_tls(error: &ConnectError) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) =
            error.downcast_ref::<io::Error>().filter(|error| error.kind() == io::ErrorKind::InvalidData)
        {
            return Some(error);
        }
        source = error.source();
    }
    None
}

fn reason(error: &ConnectError) -> String {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => "wrong credentials".to_owned(),
        _ => refused_by_tls(error).map_or_else(|| causes(error), |error| format!("TLS: {error}")),
    }
}
