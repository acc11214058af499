// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-relay setup`: the stream, with its limits.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{Context, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use leco_cli::relay::Setup;
use leco_os::sandbox::Sandbox;
use leco_os::say;

use crate::message::ROOT;
use crate::server::{ANSWER, Change, Changes, Link, streams, with_server};
use crate::{block_on, confine};

/// A double is known as one for this time.
const DOUBLES: Duration = Duration::from_secs(120);

pub(crate) fn run(options: &Setup) -> anyhow::Result<ExitCode> {
    let link = Link::new(&options.server)?;
    confine(&with_server(Sandbox::default(), &options.server));
    let name = link.name().to_owned();
    block_on(async {
        let mut changes = link.start();
        let connected = tokio::time::timeout(ANSWER, async {
            loop {
                if let Change::Connected(client) = next(&mut changes).await? {
                    break anyhow::Ok(client);
                }
            }
        });
        let seconds = ANSWER.as_secs();
        let client =
            connected.await.map_err(|_| anyhow!("{name} does not answer: gave up after {seconds} s"))??;
        // What the server does not permit is told as a change: the answer never comes.
        let refused = async {
            loop {
                if let Err(error) = next(&mut changes).await {
                    break error;
                }
            }
        };
        tokio::select! {
            error = refused => Err(error),
            code = set_up(streams(client), options) => code,
        }
    })?
}

async fn next(changes: &mut Changes) -> anyhow::Result<Change> {
    changes.recv().await.context("the connection is lost")?
}

async fn set_up(streams: Context, options: &Setup) -> anyhow::Result<ExitCode> {
    let wanted = wanted(options);
    let name = &options.stream;
    let there = match streams.get_stream(name).await {
        Ok(stream) => Some(stream.cached_info().config.clone()),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => None,
            _ => return Err(error).context(format!("cannot look at stream {name}")),
        },
    };
    let Some(there) = there else {
        if options.check {
            bail!("there is no stream {name}: run leco-relay setup without --check");
        }
        streams.create_stream(wanted).await.with_context(|| format!("cannot make stream {name}"))?;
        say::out(format_args!("made stream {name}"));
        return Ok(ExitCode::SUCCESS);
    };
    let differences = differences(&there, &wanted);
    for difference in &differences {
        say::out(format_args!("stream {name}: {difference}"));
    }
    if options.check {
        return Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if !differences.is_empty() {
        // What an administrator chose beside stays.
        let config = Config {
            subjects: wanted.subjects,
            max_age: wanted.max_age,
            max_bytes: wanted.max_bytes,
            num_replicas: wanted.num_replicas,
            duplicate_window: wanted.duplicate_window,
            discard: wanted.discard,
            ..there
        };
        streams.update_stream(config).await.with_context(|| format!("cannot change stream {name}"))?;
        say::out(format_args!("stream {name} has these limits now"));
    }
    Ok(ExitCode::SUCCESS)
}

fn wanted(options: &Setup) -> Config {
    Config {
        name: options.stream.clone(),
        description: Some("network connections, from leco-relay".to_owned()),
        subjects: vec![format!("{ROOT}.*.*")],
        max_age: options.max_age,
        max_bytes: i64::try_from(options.max_bytes).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        num_replicas: usize::from(options.replicas),
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        // No longer than events are kept: servers refuse it.
        duplicate_window: DOUBLES.min(options.max_age),
        ..Config::default()
    }
}

/// What a stream has otherwise.
fn differences(there: &Config, wanted: &Config) -> Vec<String> {
    let seconds = |time: Duration| format!("{} s", time.as_secs());
    let bytes = |bytes: i64| if bytes < 0 { "no limit".to_owned() } else { format!("{bytes} bytes") };
    let all = [
        ("subjects", there.subjects.join(" "), wanted.subjects.join(" ")),
        ("max-age", seconds(there.max_age), seconds(wanted.max_age)),
        ("max-bytes", bytes(there.max_bytes), bytes(wanted.max_bytes)),
        ("replicas", there.num_replicas.to_string(), wanted.num_replicas.to_string()),
        ("window of doubles", seconds(there.duplicate_window), seconds(wanted.duplicate_window)),
        ("when full, goes", format!("{:?}", there.discard), format!("{:?}", wanted.discard)),
        ("retention", format!("{:?}", there.retention), format!("{:?}", wanted.retention)),
    ];
    let differs = all.into_iter().filter(|(_, there, wanted)| there != wanted);
    differs.map(|(what, there, wanted)| format!("{what}: {there}, not {wanted}")).collect()
}
