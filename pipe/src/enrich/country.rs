// SPDX-License-Identifier: GPL-3.0-or-later
//! In which country an address is said to be: from a database on this machine.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leco_os::clock::BootNs;
use leco_os::files::read_file;
use serde::Deserialize;

use crate::enrich::asn::MAX_DATABASE;
use crate::enrich::cache::TimedCache;

/// Addresses whose country is remembered.
const ENTRIES: usize = 4096;

/// A country's two letters (ISO 3166-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country([u8; 2]);

impl Country {
    /// Reads it; `None` for what is none, such as the `ZZ` of what is not known.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let letters: [u8; 2] = text.try_into().ok()?;
        (letters.iter().all(u8::is_ascii_uppercase) && letters != *b"ZZ").then_some(Self(letters))
    }

    /// Its letters.
    #[must_use]
    pub fn letters(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CountryError {
    /// It cannot be read.
    #[error("geo-db={0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// It is not one.
    #[error("geo-db={0}: {1}. Expected an mmdb file with countries.")]
    Format(PathBuf, String),
}

/// Of what a database says of an address, the country, as several makers have it.
#[derive(Deserialize)]
struct Entry {
    country: Option<Named>,
    country_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Fields { iso_code: Option<String> },
    Code(String),
}

/// Finds countries by address.
pub struct Countries {
    database: maxminddb::Reader<Vec<u8>>,
    known: TimedCache<IpAddr, Option<Country>>,
}

impl std::fmt::Debug for Countries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Countries")
    }
}

impl Countries {
    /// Reads a database into memory.
    pub fn open(path: &Path) -> Result<Self, CountryError> {
        let read = read_file(path, MAX_DATABASE);
        let (bytes, _) = read.map_err(|error| CountryError::Read(path.to_owned(), error))?;
        let database = maxminddb::Reader::from_source(bytes)
            .map_err(|error| CountryError::Format(path.to_owned(), error.to_string()))?;
        Ok(Self { database, known: TimedCache::new(ENTRIES, Duration::MAX) })
    }

    /// The country of an address.
    pub fn find(&mut self, address: IpAddr, now: BootNs) -> Option<Country> {
        let address = address.to_canonical();
        if let Some(known) = self.known.get(&address, now) {
            return *known;
        }
        let found = self.look_up(address);
        self.known.insert(address, found, now);
        found
    }

    fn look_up(&self, address: IpAddr) -> Option<Country> {
        let entry: Entry = self.database.lookup(address).ok()?.decode().ok()??;
        let named = match entry.country {
            Some(Named::Fields { iso_code: Some(code) } | Named::Code(code)) => {
                Country::parse(code.as_bytes())
            }
            Some(Named::Fields { iso_code: None }) | None => None,
        };
        named.or_else(|| Country::parse(entry.country_code?.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn text(text: &str) -> Vec<u8> {
        let mut bytes = vec![0x40 | u8::try_from(text.len()).unwrap()];
        bytes.extend(text.bytes());
        bytes
    }

    fn map(fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = vec![0xe0 | u8::try_from(fields.len()).unwrap()];
        for (name, value) in fields {
            bytes.extend(text(name));
            bytes.extend(value);
        }
        bytes
    }

    /// As the format's specification (2.0) has it: one node, whose left half has this data.
    fn database(data: &[u8]) -> Vec<u8> {
        let short = |value: u8| vec![0xa1, value];
        let mut bytes = vec![0, 0, 17, 0, 0, 1];
        bytes.extend([0; 16]);
        bytes.extend(data);
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        bytes.extend(map(&[
            ("binary_format_major_version", short(2)),
            ("binary_format_minor_version", short(0)),
            ("build_epoch", vec![1, 2, 1]),
            ("database_type", text("Test")),
            ("description", map(&[])),
            ("ip_version", short(4)),
            ("languages", vec![0, 4]),
            ("node_count", vec![0xc1, 1]),
            ("record_size", short(24)),
        ]));
        bytes
    }

    fn find(data: &[u8], address: &str) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("country.mmdb");
        fs::write(&path, database(data)).unwrap();
        let mut countries = Countries::open(&path).unwrap();
        let found = countries.find(address.parse().unwrap(), 0);
        assert_eq!(countries.find(address.parse().unwrap(), 1), found, "the same when asked again");
        found.map(|country| country.letters().to_owned())
    }

    #[test]
    fn countries_are_found_as_several_makers_have_them() {
        let fields = map(&[("country", map(&[("iso_code", text("DE"))]))]);
        for data in [&fields, &map(&[("country", text("DE"))]), &map(&[("country_code", text("DE"))])] {
            assert_eq!(find(data, "10.1.2.3").as_deref(), Some("DE"));
            assert_eq!(find(data, "::ffff:10.1.2.3").as_deref(), Some("DE"));
            assert_eq!(find(data, "192.0.2.1"), None, "the other half");
            assert_eq!(find(data, "2001:db8::1"), None, "it has no such addresses");
        }
        for none in
            [map(&[]), map(&[("country", map(&[]))]), map(&[("country", text("Germany\x1b"))]), text("DE")]
        {
            assert_eq!(find(&none, "10.1.2.3"), None);
        }
    }

    #[test]
    fn what_is_no_database_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "10.0.0.0\t10.0.0.1\tDE\n").unwrap();
        assert!(Countries::open(&path).unwrap_err().to_string().contains("Expected an mmdb file"));
        assert!(matches!(Countries::open(&dir.path().join("none")), Err(CountryError::Read(..))));
    }

    #[test]
    fn a_country_has_two_letters() {
        assert_eq!(Country::parse(b"DE").unwrap().letters(), "DE");
        for none in [&b""[..], b"ZZ", b"de", b"DEU", b"None", b"\x1b["] {
            assert_eq!(Country::parse(none), None);
        }
    }
}
