// SPDX-License-Identifier: GPL-3.0-or-later
//! Names of connections, for the next pipe of the same boot: what named them cannot be heard again.

use std::net::IpAddr;

use leco_bpf::read::record::Conn;
use leco_os::clock::BootNs;
use rusqlite::{Connection, Transaction, params};

use crate::enrich::labels::{Labels, NameSource};

/// Connections whose names are kept; of more, those that were told least recently go.
pub const NAME_ROWS: usize = 10_000;
/// In seconds: afterwards they go in any case.
const NAME_LIFETIME: i64 = 24 * 3600;

pub(super) const NAMES: &str = "CREATE TABLE names (boot TEXT NOT NULL, ns INTEGER NOT NULL, address TEXT NOT NULL, \
     name TEXT NOT NULL, source TEXT NOT NULL, port INTEGER, alpn TEXT, last INTEGER NOT NULL, \
     PRIMARY KEY (boot, ns, address)) WITHOUT ROWID";

/// The name that a connection had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptName {
    /// Its begin on the boot clock.
    pub ns: BootNs,
    /// Its peer.
    pub address: IpAddr,
    /// The name.
    pub name: String,
    /// Who said so.
    pub source: NameSource,
    /// The port of the target behind a proxy.
    pub port: Option<u16>,
    /// The first protocol that its process offered in a hello.
    pub alpn: Option<String>,
    /// When it was told last, in seconds since 1970.
    pub last: i64,
}

impl KeptName {
    /// What a connection is called; `None` where that is nothing, or can be asked for again.
    pub(super) fn of(conn: &Conn, labels: &Labels, last: i64) -> Option<Self> {
        let name = labels.name.as_ref().filter(|name| name.source != NameSource::Reverse)?;
        Some(Self {
            ns: conn.ns,
            address: conn.remote.to_canonical(),
            name: name.text.to_string(),
            source: name.source,
            port: labels.proxied.as_ref().map(|proxied| proxied.port),
            alpn: labels.alpn.as_deref().map(str::to_owned),
            last,
        })
    }
}

/// Writes names of connections of a boot, and forgets what is too old or too many.
pub(super) fn write(transaction: &Transaction<'_>, boot: &str, names: &[KeptName]) -> rusqlite::Result<()> {
    let mut insert =
        transaction.prepare("INSERT OR REPLACE INTO names VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    for KeptName { ns, address, name, source, port, alpn, last } in names {
        let ns = ns.cast_signed();
        insert.execute(params![boot, ns, address.to_string(), name, source.word(), port, alpn, last])?;
    }
    let Some(latest) = names.iter().map(|name| name.last).max() else { return Ok(()) };
    transaction.execute("DELETE FROM names WHERE last < ?1", [latest - NAME_LIFETIME])?;
    let rows: i64 = transaction.query_row("SELECT count(*) FROM names", [], |row| row.get(0))?;
    let excess = rows - i64::try_from(NAME_ROWS).unwrap_or(i64::MAX);
    if excess > 0 {
        transaction.execute(
            "DELETE FROM names WHERE (boot, ns, address) IN (SELECT boot, ns, address FROM names ORDER BY last LIMIT ?1)",
            [excess],
        )?;
    }
    Ok(())
}

/// Forgets names that were told last before a moment, in seconds since 1970.
pub(super) fn forget(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM names WHERE last < ?1", [now - NAME_LIFETIME]).map(drop)
}

/// Names of connections of a boot, the one that was told last at the end. What makes no sense is left out.
pub(super) fn read(connection: &Connection, boot: &str) -> rusqlite::Result<Vec<KeptName>> {
    let mut query = connection.prepare(
        "SELECT ns, address, name, source, port, alpn, last FROM names WHERE boot = ?1 ORDER BY last",
    )?;
    let names = query.query_map([boot], |row| {
        let address: String = row.get(1)?;
        let source: String = row.get(3)?;
        let (Ok(address), Some(source)) = (address.parse(), NameSource::from_word(&source)) else {
            return Ok(None);
        };
        Ok(Some(KeptName {
            ns: row.get::<_, i64>(0)?.cast_unsigned(),
            address,
            name: row.get(2)?,
            source,
            port: row.get(4)?,
            alpn: row.get(5)?,
            last: row.get(6)?,
        }))
    })?;
    names.filter_map(Result::transpose).collect()
}
