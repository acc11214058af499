// SPDX-License-Identifier: GPL-3.0-or-later
//! The design of the first LECO, which the kernel side is compared with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use libbpf_rs::{Link, MapCore, MapHandle, Object, ObjectBuilder, RingBufferBuilder};

/// How long its reader sleeps where nothing is announced.
const READER_SLEEP: Duration = Duration::from_millis(50);

/// Its programs, attached, and a reader of what they announce.
pub(crate) struct Original {
    links: Vec<Link>,
    _object: Object,
    is_over: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
    reader: Option<JoinHandle<()>>,
}

impl Original {
    pub(crate) fn attach() -> Result<Self> {
        // Plain tracepoints are found in tracefs, which this mounts.
        let _ = leco_e2e::can_test_the_kernel();
        let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/original.bpf.o"));
        let object =
            ObjectBuilder::default().open_memory(bytes)?.load().context("the original's programs")?;
        let ring = object.maps().find(|map| map.name() == "announced").context("the original's ring")?;
        let ring = MapHandle::try_from(&ring)?;
        let (is_over, events) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (ends, counted) = (Arc::clone(&is_over), Arc::clone(&events));
        let reader = std::thread::spawn(move || {
            let mut rings = RingBufferBuilder::new();
            let count = |_: &[u8]| {
                counted.fetch_add(1, Ordering::Relaxed);
                0
            };
            if rings.add(&ring, count).is_ok()
                && let Ok(rings) = rings.build()
            {
                while !ends.load(Ordering::Relaxed) && rings.poll(READER_SLEEP).is_ok() {}
            }
        });
        let links = object.progs_mut().map(|program| program.attach()).collect::<Result<_, _>>()?;
        Ok(Self { links, _object: object, is_over, events, reader: Some(reader) })
    }

    /// What was announced so far.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        self.links.clear();
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
