// SPDX-License-Identifier: GPL-3.0-or-later
//! Names of addresses from the system's resolver, asked by a thread of its own.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use leco_os::bell::Bell;
use leco_os::clock::BootNs;

use crate::enrich::asker::Asker;
use crate::enrich::cache::TimedCache;
use crate::enrich::hello::host_name::host_name;

/// Addresses that wait to be asked for; more are left without a name until they come again.
pub const REVERSE_QUEUE: usize = 64;
/// Answers that are remembered.
pub const REVERSE_ENTRIES: usize = 4096;
/// The system's resolver does not tell how long an answer holds: no address is asked for again sooner.
const LIFETIME: Duration = Duration::from_hours(1);

/// Asks the system's resolver, as nsswitch.conf(5) says, and remembers what it answered.
#[derive(Debug)]
pub(crate) struct ReverseDns {
    asker: Asker<IpAddr, Option<String>>,
    /// `None` for what has no name, or has been asked for and not yet answered.
    names: TimedCache<IpAddr, Option<Rc<str>>>,
}

impl ReverseDns {
    pub(crate) fn start() -> io::Result<Self> {
        Self::start_with(|address| dns_lookup::lookup_addr(address).ok())
    }

    fn start_with(ask: impl Fn(&IpAddr) -> Option<String> + Send + Sync + 'static) -> io::Result<Self> {
        let asker = Asker::new("resolver", 1, REVERSE_QUEUE, &Bell::new()?, ask);
        Ok(Self { asker, names: TimedCache::new(REVERSE_ENTRIES, LIFETIME) })
    }

    /// Becomes readable when there are answers.
    pub(crate) fn bell(&self) -> &Bell {
        self.asker.bell()
    }

    /// The name of an address, where it is known; else it is asked for.
    pub(crate) fn name(&mut self, address: IpAddr, now: BootNs) -> Option<Rc<str>> {
        if let Some(known) = self.names.get(&address, now) {
            return known.clone();
        }
        if self.asker.ask(address) {
            self.names.insert(address, None, now);
        }
        None
    }

    /// Takes the answers; the addresses that have a name now.
    pub(crate) fn take_answers(&mut self, now: BootNs) -> Vec<IpAddr> {
        self.asker.bell().silence();
        let mut named = Vec::new();
        while let Some((address, name)) = self.asker.take() {
            // The owner of an address may give it any name.
            if let Some(name) = name.as_deref().and_then(host_name) {
                self.names.insert(address, Some(name.into()), now);
                named.push(address);
            }
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn wait_for_answers(reverse: &mut ReverseDns, wanted: usize) -> Vec<IpAddr> {
        let start = Instant::now();
        let mut named = Vec::new();
        while named.len() < wanted {
            assert!(start.elapsed() < Duration::from_secs(20));
            poll(
                &mut [PollFd::new(reverse.bell(), PollFlags::IN)],
                Some(&Timespec { tv_sec: 1, tv_nsec: 0 }),
            )
            .unwrap();
            named.extend(reverse.take_answers(1));
        }
        named
    }

    #[test]
    fn each_address_is_asked_for_once_and_hostile_names_are_not_taken() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let mut reverse = ReverseDns::start_with(move |address| {
            log.lock().unwrap().push(*address);
            Some(if address.is_ipv6() { "evil\u{1b}[2J :: x".into() } else { "Host.Example.".into() })
        })
        .unwrap();
        let (v4, v6): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        for _ in 0..3 {
            assert_eq!(reverse.name(v6, 0), None);
            assert_eq!(reverse.name(v4, 0), None, "it is only asked for now");
        }
        assert_eq!(wait_for_answers(&mut reverse, 1), [v4]);
        assert_eq!(reverse.name(v4, 2).as_deref(), Some("host.example"));
        assert_eq!(reverse.name(v6, 2), None);
        assert_eq!(*asked.lock().unwrap(), [v6, v4]);
    }

    #[test]
    fn a_resolver_that_hangs_holds_nobody_up() {
        let (_never, held) = std::sync::mpsc::channel::<()>();
        let held = Mutex::new(held);
        let mut reverse = ReverseDns::start_with(move |_| {
            let _ = held.lock().unwrap().recv();
            None
        })
        .unwrap();
        for last in 0..=u8::MAX {
            assert_eq!(reverse.name([192, 0, 2, last].into(), 0), None);
        }
    }
}
