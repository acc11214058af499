// SPDX-License-Identifier: GPL-3.0-or-later
//! Who operates a network: autonomous systems, from a database on this machine.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use leco_os::clean::{clean, clean_bytes};
use leco_os::clock::BootNs;
use leco_os::files::read_file;
use maxminddb::geoip2;

use crate::enrich::cache::TimedCache;
use crate::enrich::country::Country;

/// Addresses whose system is remembered.
pub const ASN_ENTRIES: usize = 4096;
/// A database larger than this is not read: bytes. The largest that are offered have about 100 MiB.
pub(super) const MAX_DATABASE: u64 = 256 << 20;
/// The database does not change while it is open.
const LIFETIME: Duration = Duration::MAX;
/// First bytes of the part that only the binary format has (the metadata of `MaxMind` DB file format 2.0).
const MMDB_MARK: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// An autonomous system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutonomousSystem {
    /// Its number.
    pub number: u32,
    /// Who operates it.
    pub organization: Rc<str>,
}

/// What is known of the network of an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Located {
    /// The system that announces it.
    pub system: Option<Rc<AutonomousSystem>>,
    /// Where it is, as far as this database says so.
    pub country: Option<Country>,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AsnError {
    /// It cannot be read.
    #[error("asn-db={0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// It is not one.
    #[error("asn-db={0}: {1}. Expected an mmdb file, or lines of START END NUMBER COUNTRY NAME with tabs.")]
    Format(PathBuf, String),
}

enum Database {
    Mmdb(maxminddb::Reader<Vec<u8>>),
    Ranges(Vec<Range>),
}

/// Addresses from the first to the last, IPv4 as mapped into IPv6.
struct Range {
    first: u128,
    last: u128,
    system: Rc<AutonomousSystem>,
    country: Option<Country>,
}

/// Finds systems by address.
pub struct Asns {
    database: Database,
    known: TimedCache<IpAddr, Located>,
}

impl std::fmt::Debug for Asns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asns")
    }
}

impl Asns {
    /// Reads a database into memory: an mmdb with `autonomous_system_number` and `_organization`, or the
    /// tab-separated table of iptoasn.com.
    pub fn open(path: &Path) -> Result<Self, AsnError> {
        let read = read_file(path, MAX_DATABASE);
        let (bytes, _) = read.map_err(|error| AsnError::Read(path.to_owned(), error))?;
        let format = |error: String| AsnError::Format(path.to_owned(), error);
        // The mark stands near the end; a table has none anywhere.
        let is_mmdb = bytes.windows(MMDB_MARK.len()).rev().take(128 << 10).any(|window| window == MMDB_MARK);
        let database = if is_mmdb {
            let reader = maxminddb::Reader::from_source(bytes).map_err(|error| format(error.to_string()))?;
            Database::Mmdb(reader)
        } else {
            Database::Ranges(ranges(&bytes).map_err(format)?)
        };
        Ok(Self { database, known: TimedCache::new(ASN_ENTRIES, LIFETIME) })
    }

    /// The system that announces an address, and its country.
    pub fn find(&mut self, address: IpAddr, now: BootNs) -> Located {
        let address = address.to_canonical();
        if let Some(known) = self.known.get(&address, now) {
            return known.clone();
        }
        let found = match &self.database {
            Database::Mmdb(reader) => Located { system: in_mmdb(reader, address), country: None },
            Database::Ranges(ranges) => in_ranges(ranges, address).unwrap_or_default(),
        };
        self.known.insert(address, found.clone(), now);
        found
    }
}

fn in_mmdb(reader: &maxminddb::Reader<Vec<u8>>, address: IpAddr) -> Option<Rc<AutonomousSystem>> {
    let asn: geoip2::Asn<'_> = reader.lookup(address).ok()?.decode().ok()??;
    let organization = asn.autonomous_system_organization.unwrap_or_default();
    Some(Rc::new(AutonomousSystem {
        number: asn.autonomous_system_number?,
        organization: clean(organization).into(),
    }))
}

fn in_ranges(ranges: &[Range], address: IpAddr) -> Option<Located> {
    let address = number(address);
    let after = ranges.partition_point(|range| range.first <= address);
    let range = ranges.get(after.checked_sub(1)?)?;
    (address <= range.last)
        .then(|| Located { system: Some(Rc::clone(&range.system)), country: range.country })
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
    .to_bits()
}

/// Reads `START END NUMBER COUNTRY NAME` lines; number 0 stands for what nobody announces.
fn ranges(bytes: &[u8]) -> Result<Vec<Range>, String> {
    let mut ranges = Vec::new();
    let mut systems: HashMap<u32, Rc<AutonomousSystem>> = HashMap::new();
    for (at, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b'\t').collect();
        let text = |at: usize| std::str::from_utf8(fields.get(at)?).ok();
        let address = |at: usize| Some(number(text(at)?.parse().ok()?));
        let read = || Some((address(0)?, address(1)?, text(2)?.parse().ok()?));
        let (first, last, system): (u128, u128, u32) =
            read().ok_or_else(|| format!("line {}: {}", at + 1, clean_bytes(&line[..line.len().min(80)])))?;
        if system > 0 && first <= last {
            let organization = clean_bytes(fields.get(4).copied().unwrap_or_default());
            let system = systems.entry(system).or_insert_with(|| {
                Rc::new(AutonomousSystem { number: system, organization: organization.into() })
            });
            let country = fields.get(3).and_then(|country| Country::parse(country));
            ranges.push(Range { first, last, system: Rc::clone(system), country });
        }
    }
    if ranges.is_empty() {
        return Err("it is empty".into());
    }
    ranges.sort_unstable_by_key(|range| range.first);
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const TABLE: &str = "192.0.2.0\t192.0.2.127\t64496\tDE\tEXAMPLE-ONE\n\
        192.0.2.128\t192.0.2.255\t0\tNone\tNot routed\r\n\
        2001:db8::\t2001:db8:0:ffff:ffff:ffff:ffff:ffff\t64497\tZZ\tTwo\u{1b}[2J :: x\n";

    fn table(text: &[u8]) -> Result<Asns, AsnError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("asn.tsv");
        fs::write(&path, text).unwrap();
        Asns::open(&path)
    }

    #[test]
    fn a_table_is_read_and_asked() {
        let mut asns = table(TABLE.as_bytes()).unwrap();
        let mut number =
            |address: &str| asns.find(address.parse().unwrap(), 0).system.map(|system| system.number);
        assert_eq!(number("192.0.2.1"), Some(64496));
        assert_eq!(number("::ffff:192.0.2.127"), Some(64496));
        assert_eq!(number("192.0.2.128"), None);
        assert_eq!(number("198.51.100.1"), None);
        assert_eq!(number("2001:db8::1"), Some(64497));
        let one = asns.find("192.0.2.1".parse().unwrap(), 0);
        assert_eq!(one.country, Country::parse(b"DE"));
        let two = asns.find("2001:db8::1".parse().unwrap(), 0);
        assert_eq!(two.country, None, "ZZ is none");
        let two = two.system.unwrap();
        assert!(!two.organization.contains('\u{1b}'), "{two:?}");
    }

    #[test]
    fn what_is_no_database_is_told_with_its_line() {
        for (text, told) in [
            (&b""[..], "it is empty"),
            (b"192.0.2.0\t192.0.2.1\t1\tZZ\tOK\nnonsense\x1b\n", "line 2: nonsense\u{fffd}"),
            (b"\xab\xcd\xefMaxMind.com", "mmdb"),
        ] {
            let error = table(text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        assert!(matches!(Asns::open(Path::new("/nonexistent")), Err(AsnError::Read(..))));
    }

    #[test]
    fn what_has_no_end_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let large = dir.path().join("large");
        fs::File::create(&large).unwrap().set_len(MAX_DATABASE + 1).unwrap();
        for (path, told) in [
            (Path::new("/dev/zero"), "it is a device"),
            (dir.path(), "it is a directory"),
            (&large, "256 MiB"),
        ] {
            let error = Asns::open(path).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
