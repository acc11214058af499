// SPDX-License-Identifier: GPL-3.0-or-later
//! A list, read: what is in it.

use std::hash::Hasher;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::Path;

use leco_os::files::open_to_read;
use siphasher::sip::SipHasher13;

use super::entry::{self, Entry, MAX_NAME};
use super::hashes::Hashes;
use super::networks::{Network, Networks, bits};
use crate::ini::{Diagnostic, Fault};

/// A list that is larger is not read: bytes.
pub const MAX_LIST_BYTES: u64 = 64 << 20;
/// What a list has beyond so many entries is skipped.
pub const MAX_LIST_ENTRIES: usize = 2_000_000;
/// A longer line is skipped: bytes.
const MAX_LINE: usize = 4096;
/// Of a list so many lines are named that cannot be used; others are counted.
const MAX_NAMED: usize = 3;

/// Domains, addresses and networks.
#[derive(Debug, Default)]
pub struct List {
    names: Hashes,
    v4: Networks,
    v6: Networks,
    /// Tells its bytes from others.
    content: u64,
}

impl List {
    /// Reads a file, and tells what of it cannot be used.
    pub(crate) fn read(path: &Path) -> io::Result<(Self, Vec<Diagnostic>)> {
        let (file, there) = open_to_read(path)?;
        let too_large = || {
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it is larger than {} MiB", MAX_LIST_BYTES >> 20),
            )
        };
        if there.len() > MAX_LIST_BYTES {
            return Err(too_large());
        }
        let mut bytes = file.take(MAX_LIST_BYTES + 1);
        let (list, diagnostics) = Self::parse(BufReader::with_capacity(64 << 10, &mut bytes), path)?;
        // It may have grown meanwhile.
        if bytes.limit() == 0 {
            return Err(too_large());
        }
        Ok((list, diagnostics))
    }

    /// Reads a list, and tells what of it cannot be used; `file` stands in what is told. Any bytes have a result.
    pub fn parse(mut bytes: impl BufRead, file: &Path) -> io::Result<(Self, Vec<Diagnostic>)> {
        let mut list = Self::default();
        let (mut v4, mut v6): (Vec<Network>, Vec<Network>) = Default::default();
        let mut content = SipHasher13::new();
        let (mut raw, mut faults) = (Vec::new(), Faults::default());
        let (mut entries, mut number) = (0, 0);
        loop {
            raw.clear();
            let length = bytes.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut raw)?;
            if length == 0 {
                break;
            }
            number += 1;
            content.write(&raw);
            let line = String::from_utf8_lossy(&raw);
            let line = line.trim_start_matches('\u{feff}');
            let mut fault = None;
            if length == MAX_LINE && !raw.ends_with(b"\n") {
                content.write_usize(bytes.skip_until(b'\n')?);
                fault = Some(Fault::new(
                    0..1,
                    format!("a line has at most {MAX_LINE} bytes, the line is skipped"),
                ));
            } else if entries >= MAX_LIST_ENTRIES {
                let message = format!("a list has at most {MAX_LIST_ENTRIES} entries, the rest is skipped");
                faults.last =
                    Some(Fault::new(0..line.trim_end().len(), message).in_file(file, line).at_line(number));
                // What comes after it changes nothing.
                break;
            } else {
                let read = entry::read_line(line, |entry| {
                    entries += 1;
                    match entry {
                        Entry::Name(name) => list.names.add(name.as_bytes()),
                        Entry::V4(network) => v4.push(network),
                        Entry::V6(network) => v6.push(network),
                    }
                });
                fault = fault.or(read.err());
            }
            if let Some(fault) = fault {
                faults.take(|| fault.in_file(file, line).at_line(number));
            }
        }
        list.names.seal();
        (list.v4, list.v6) = (Networks::new(v4), Networks::new(v6));
        list.content = content.finish();
        Ok((list, faults.told()))
    }

    /// Whether it has the peer of a connection: a name or one above it, or an address or its network.
    #[must_use]
    pub fn has(&self, peer: &str) -> bool {
        // That a name may be a cover for another one is told by what stands before it.
        let peer = peer.strip_prefix('~').unwrap_or(peer);
        match entry::address(peer) {
            // So stands what is not known.
            Some(address) if address.is_unspecified() => false,
            Some(address) => match address {
                IpAddr::V4(_) => self.v4.has(bits(address).0),
                IpAddr::V6(_) => self.v6.has(bits(address).0),
            },
            None => self.has_name(peer),
        }
    }

    fn has_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut lower = [0; MAX_NAME];
        let Some(lower) = lower.get_mut(..name.len()).filter(|_| self.names.len() > 0) else { return false };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let mut rest = &*lower;
        loop {
            if self.names.has(rest) {
                return true;
            }
            let Some(dot) = rest.iter().position(|byte| *byte == b'.') else { return false };
            rest = &rest[dot + 1..];
        }
    }

    /// Names and networks that it has; of networks within others only these.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len() + self.v4.len() + self.v6.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.names.bytes() + self.v4.bytes() + self.v6.bytes()
    }
}

/// Lists of the same bytes are the same.
impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content
    }
}

/// What is to be told of a list.
#[derive(Default)]
struct Faults {
    named: Vec<Diagnostic>,
    /// Beyond those that are named: the first one, and how many.
    others: Option<(Diagnostic, usize)>,
    last: Option<Diagnostic>,
}

impl Faults {
    fn take(&mut self, fault: impl FnOnce() -> Diagnostic) {
        match &mut self.others {
            Some((_, count)) => *count += 1,
            None if self.named.len() < MAX_NAMED => self.named.push(fault()),
            None => self.others = Some((fault(), 1)),
        }
    }

    fn told(self) -> Vec<Diagnostic> {
        let others = self.others.map(|(mut first, count)| {
            if count > 1 {
                (first.message, first.help) =
                    (format!("this and {} more lines are skipped", count - 1), None);
            }
            first
        });
        self.named.into_iter().chain(others).chain(self.last).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ini::Rendering;

    fn parse(text: &str) -> (List, Vec<Diagnostic>) {
        List::parse(text.as_bytes(), Path::new("list")).unwrap()
    }

    #[track_caller]
    fn list(text: &str) -> List {
        let (list, diagnostics) = parse(text);
        assert_eq!(diagnostics, []);
        list
    }

    #[test]
    fn a_domain_stands_for_itself_and_what_is_below_it() {
        let list = list(
            "\u{feff}Example.ORG\r\n*.ads.test # both\n.track.test.\n\n  # none\nxn--mnchen-3ya.de\n_dmarc.a-b.test",
        );
        for name in [
            "example.org",
            "a.b.EXAMPLE.org",
            "example.org.",
            "~cdn.example.org",
            "ads.test",
            "x.ads.test",
            "track.test",
            "www.XN--MNCHEN-3YA.de",
            "_dmarc.a-b.test",
        ] {
            assert!(list.has(name), "{name}");
        }
        for name in
            ["", ".", "org", "ample.org", "notexample.org", "example.org.test", "münchen.de", "a-b.test"]
        {
            assert!(!list.has(name), "{name}");
        }
        assert!(!list.has(&"a.".repeat(200)) && !list.has(&format!("{}example.org", "a.".repeat(200))));
        assert!(list.has(&format!("{}.example.org", "a.".repeat(120).trim_end_matches('.'))));
        assert!(!list.is_empty() && list.len() == 5);
    }

    #[test]
    fn lines_of_a_hosts_file_are_read() {
        let list = list(
            "127.0.0.1 localhost local\n::1 ip6-localhost\n0.0.0.0 0.0.0.0\n0.0.0.0\tads.test  b.test # c.test\n::1 d.test\n",
        );
        assert_eq!(list.len(), 3);
        assert!(["ads.test", "b.test", "d.test"].into_iter().all(|name| list.has(name)));
        assert!(
            ["127.0.0.1", "::1", "localhost", "x.local", "c.test"].into_iter().all(|name| !list.has(name))
        );
    }

    #[test]
    fn addresses_are_in_their_networks_up_to_the_edges() {
        let (mut in_lists, mut others) = (Vec::new(), Vec::new());
        for (text, inside, outside) in [
            ("192.0.2.1", "192.0.2.1 ::ffff:192.0.2.1", "192.0.2.0 192.0.2.2 ::192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1", "192.0.2.0 192.0.2.2"),
            ("192.0.2.77/31", "192.0.2.76 192.0.2.77", "192.0.2.75 192.0.2.78"),
            ("10.0.0.0/8", "10.0.0.0 10.255.255.255", "9.255.255.255 11.0.0.0 ::a00:1"),
            ("0.0.0.0/0", "0.0.0.1 255.255.255.255 ::ffff:1.2.3.4", "0.0.0.0 ::1 ff02::1"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("::ffff:192.0.2.0/120", "192.0.2.0 192.0.2.255", "192.0.1.255 192.0.3.0"),
            ("::ffff:0:0/96", "0.0.0.1 255.255.255.255", "::1 ::fffe:1.2.3.4"),
            ("2001:db8::1/128", "2001:db8::1 2001:DB8::1", "2001:db8:: 2001:db8::2"),
            (
                "2001:db8::/32",
                "2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                "2001:db7:ffff:: 2001:db9::",
            ),
            ("::/0", "::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fe80::1%eth0", ":: 1.2.3.4 ::ffff:1.2.3.4"),
        ] {
            let list = list(text);
            in_lists.extend(inside.split(' ').filter(|peer| !list.has(peer)).map(|peer| (text, peer)));
            others.extend(outside.split(' ').filter(|peer| list.has(peer)).map(|peer| (text, peer)));
        }
        assert_eq!((in_lists, others), (vec![], vec![]));
    }

    #[test]
    fn what_cannot_be_used_is_named_a_few_times_and_counted_and_the_rest_counts() {
        let (list, told) = parse(
            "a.test\n||ads.test^\nmünchen.de\na.test b.test\n1.2.3\n1.2.3.4/33\n::/129\n1.2.3.4/+8\na..b\n1.2.3.4 b.test -/-\nc.test",
        );
        let shown: Vec<_> = told.iter().map(|fault| fault.render(Rendering::Plain)).collect();
        insta::assert_snapshot!(shown.join("\n"));
        assert!(["a.test", "b.test", "c.test"].into_iter().all(|name| list.has(name)) && list.len() == 3);
    }

    #[test]
    fn lines_and_entries_have_limits() {
        let (list, told) = parse(&format!("{} b.test\nc.test\n", "a".repeat(3 * MAX_LINE)));
        assert_eq!((list.len(), told.len(), told[0].line), (1, 1, 1), "{told:?}");
        let lines = "1.1.1.1\n".repeat(MAX_LIST_ENTRIES) + "a.test\nb.test\n";
        let (list, told) = parse(&lines);
        assert_eq!((list.len(), told.len(), told[0].line), (1, 1, MAX_LIST_ENTRIES + 1), "{told:?}");
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large");
        std::fs::File::create(&large).unwrap().set_len(MAX_LIST_BYTES + 1).unwrap();
        assert_eq!(List::read(&large).unwrap_err().to_string(), "it is larger than 64 MiB");
        assert!(List::read(Path::new("/dev/zero")).is_err() && List::read(folder.path()).is_err());
    }

    #[test]
    fn an_entry_takes_few_bytes() {
        let names: Vec<_> = (0..100_000).map(|number| format!("host{number}.test")).collect();
        let networks: Vec<_> = (0..100_000)
            .map(|number| format!("2001:db8::{:x}:{:x}", number >> 16, number & 0xffff))
            .collect();
        let (names, networks) = (list(&names.join("\n")), list(&networks.join("\n")));
        assert!(
            names.bytes() < 900_000 && networks.bytes() < 1_800_000,
            "{} {}",
            names.bytes(),
            networks.bytes()
        );
        assert!((0..100_000).all(|number| names.has(&format!("www.host{number}.test"))));
        assert!((100_000..200_000).all(|number| !names.has(&format!("host{number}.test"))));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), peer in ".{0,40}") {
            let (list, _) = List::parse(&bytes[..], Path::new("list")).unwrap();
            let _ = list.has(&peer);
        }

        #[test]
        fn what_a_line_says_is_in_the_list(line in "[a-c0-2.:/*x_ -]{0,16}") {
            let (list, faults) = parse(&line);
            if faults.is_empty() && !line.contains(['/', '*']) && line.split_whitespace().count() == 1 {
                let is_known = !line.trim().trim_start_matches('.').starts_with("0.0.0.0");
                prop_assert!(list.has(line.trim().trim_start_matches('.')) || !is_known || line.trim().parse::<IpAddr>().is_ok_and(|there| there.is_unspecified()), "{}", line);
            }
        }
    }
}
