// SPDX-License-Identifier: GPL-3.0-or-later
//! The thread that writes what was seen.

use std::path::Path;
use std::sync::mpsc::{Sender, SyncSender, sync_channel};
use std::thread;

use leco_os::causes::{causes, sentence};
use leco_os::reclaim::give_back;

use super::Saved;
use crate::history::errors::StoreError;
use crate::history::names::{KeptName, NAME_ROWS};
use crate::history::store::{Pair, SEEN_ROWS, Store};
use crate::history::totals::TotalsBatch;

/// Batches on their way to the disk. Where it does not keep up, they wait.
pub(super) const BATCHES: usize = 4;
/// Totals that could not be written; beyond that they are given up.
pub(super) const MOST_UNWRITTEN: usize = 50_000;

/// What is written at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// They are told by its end.
    pub(super) awaiting: Vec<Sender<()>>,
    pub(super) pairs: Vec<Pair>,
    pub(super) names: Vec<KeptName>,
    pub(super) totals: TotalsBatch,
    /// Seconds since 1970.
    pub(super) now: i64,
}

impl Batch {
    /// Both as one, as far as there is room for what came first.
    pub(super) fn followed_by(mut self, mut later: Self) -> Self {
        later.awaiting.append(&mut self.awaiting);
        if self.pairs.len() < SEEN_ROWS {
            self.pairs.append(&mut later.pairs);
            later.pairs = self.pairs;
        }
        if self.names.len() < NAME_ROWS {
            self.names.append(&mut later.names);
            later.names = self.names;
        }
        if self.totals.len() < MOST_UNWRITTEN {
            later.totals.join(self.totals);
        } else {
            tracing::warn!("{} totals could not be saved for too long and are lost", self.totals.len());
        }
        later
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) batches: SyncSender<Batch>,
    pub(super) thread: thread::JoinHandle<()>,
}

impl Writer {
    /// Writes batches of a boot into a file until no more can come.
    pub(super) fn start(
        path: &Path,
        mut store: Store,
        boot: String,
        saved: &Saved,
    ) -> Result<Self, StoreError> {
        let (limits, zone) = (saved.totals, saved.zone.clone());
        let (batches, to_write) = sync_channel::<Batch>(BATCHES);
        let thread = thread::Builder::new().name("memory".into()).spawn(move || {
            let mut has_failed = false;
            // What could not be written is, once the disk takes it.
            let mut unwritten = Batch::default();
            let mut tidied = None;
            for batch in to_write {
                let mut batch = unwritten.followed_by(batch);
                let now = batch.now;
                let hour = Some(now.div_euclid(3600));
                let written = store
                    .write(&batch.pairs, &boot, &batch.names, (&batch.totals, now))
                    .inspect(|()| {
                        batch = Batch { awaiting: std::mem::take(&mut batch.awaiting), ..Batch::default() }
                    })
                    .and_then(|()| match limits {
                        Some(limits) if tidied != hour => {
                            tidied = hour;
                            store.tidy(&boot, now, &zone, limits)
                        }
                        Some(limits) => store.bound(limits),
                        None => Ok(()),
                    });
                batch.awaiting.clear();
                unwritten = batch;
                match written {
                    Ok(()) if std::mem::take(&mut has_failed) => tracing::info!("history is saved again"),
                    Err(error) if !has_failed => {
                        let error = sentence(&causes(&error));
                        tracing::warn!("{error} History is saved once this is fixed.");
                        has_failed = true;
                    }
                    Ok(()) | Err(_) => {}
                }
                // SQLite is a third of the program, and runs every few seconds at most.
                give_back();
            }
        });
        let thread = thread.map_err(|error| StoreError::Start(path.to_owned(), error))?;
        Ok(Self { batches, thread })
    }
}
