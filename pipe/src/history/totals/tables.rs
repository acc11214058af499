// SPDX-License-Identifier: GPL-3.0-or-later
//! The tables that keep totals.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use leco_os::time_zone::{start_of_day, start_of_hour};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::packed::{Packed, Unpacked};
use super::reading::{FAILURES_OF, add_failures, sums_of};
use super::{Flow, TotalsBatch, number_of};
use crate::history::by_flow::DENSE;

/// Connections of which it is saved how much was counted, for the next pipe of the same boot: what a pipe that was killed had
/// not forgotten yet is bounded by it.
const COUNTED_ROWS: i64 = 65_536;
/// Hours become days after so many days.
const HOURLY_DAYS: i64 = 7;
/// Where the file is too large, so much of a part goes at once, in percent: not at every write.
const SPARE_PERCENT: i64 = 5;

/// What is packed of hours, as SQL names it.
const PACKED_HOURS: &str = "packed WHERE is_day = 0";

pub(in crate::history) const TABLES: &str = "\
CREATE TABLE IF NOT EXISTS flow (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL UNIQUE, program TEXT NOT NULL, \
 unit TEXT NOT NULL, uid INTEGER NOT NULL, direction INTEGER NOT NULL, protocol INTEGER NOT NULL, \
 port INTEGER NOT NULL, peer TEXT NOT NULL); \
CREATE TABLE IF NOT EXISTS hours (start INTEGER NOT NULL, flow INTEGER NOT NULL, connections INTEGER NOT NULL, \
 rx INTEGER NOT NULL, tx INTEGER NOT NULL, PRIMARY KEY (start, flow)) WITHOUT ROWID; \
CREATE TABLE IF NOT EXISTS packed (is_day INTEGER NOT NULL, start INTEGER NOT NULL, flow INTEGER NOT NULL, \
 totals BLOB NOT NULL, PRIMARY KEY (is_day, start, flow)) WITHOUT ROWID; \
CREATE TABLE IF NOT EXISTS failures (start INTEGER NOT NULL, flow INTEGER NOT NULL, state INTEGER NOT NULL, \
 connections INTEGER NOT NULL, PRIMARY KEY (start, flow, state)) WITHOUT ROWID; \
CREATE TABLE IF NOT EXISTS counted (boot TEXT NOT NULL, ns INTEGER NOT NULL, rx INTEGER NOT NULL, \
 tx INTEGER NOT NULL, state INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (boot, ns)) WITHOUT ROWID";

/// How long and how much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Days.
    pub days: i64,
    /// Bytes that totals take of the file.
    pub bytes: u64,
}

/// Adds a batch.
pub(in crate::history) fn write(
    transaction: &Transaction<'_>,
    boot: &str,
    batch: &TotalsBatch,
    now: i64,
) -> rusqlite::Result<()> {
    let mut find = transaction.prepare("SELECT id FROM flow WHERE hash = ?1")?;
    let mut insert = transaction.prepare(
        "INSERT INTO flow (hash, program, unit, uid, direction, protocol, port, peer) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING id",
    )?;
    let mut add = transaction.prepare(
        "INSERT INTO hours VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET \
         connections = connections + excluded.connections, rx = rx + excluded.rx, tx = tx + excluded.tx",
    )?;
    let mut fail = transaction.prepare(
        "INSERT INTO failures VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET \
         connections = connections + excluded.connections",
    )?;
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    for ((hour, flow), sums) in &batch.sums {
        let hash = flow.hash().cast_signed();
        let known: Option<i64> = find.query_row([hash], |row| row.get(0)).optional()?;
        let id = if let Some(id) = known {
            id
        } else {
            let Flow { program, unit, uid, direction, protocol, port, peer } = flow;
            let direction = number_of(*direction);
            let row = params![hash, program, unit, uid, direction, protocol, port, peer];
            insert.query_row(row, |row| row.get(0))?
        };
        add.execute(params![hour, id, number(sums.connections), number(sums.rx), number(sums.tx)])?;
        for (kind, count) in (1_u8..).zip(sums.failures).filter(|(_, count)| *count > 0) {
            fail.execute(params![hour, id, kind, number(count)])?;
        }
    }
    let mut forget = transaction.prepare("DELETE FROM counted WHERE boot = ?1 AND ns = ?2")?;
    for ns in &batch.forgotten {
        forget.execute(params![boot, ns.cast_signed()])?;
    }
    let mut keep = transaction.prepare("INSERT OR REPLACE INTO counted VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for (ns, counted) in &batch.counted {
        let (rx, tx) = (number(counted.rx), number(counted.tx));
        keep.execute(params![boot, ns.cast_signed(), rx, tx, counted.state(), now])?;
    }
    Ok(())
}

/// Packs hours that are over, makes hours days, and forgets what is too old or too much.
pub(in crate::history) fn tidy(
    connection: &mut Connection,
    boot: &str,
    now: i64,
    zone: &TimeZone,
    limits: Limits,
) -> rusqlite::Result<()> {
    // An hour at a time, so that nothing has to be sorted, and little is in memory.
    let this_hour = start_of_hour(now, zone);
    while let Some(oldest) = oldest(connection, "hours")?.filter(|oldest| *oldest < this_hour) {
        let transaction = connection.transaction()?;
        take_rows(&transaction, "hours", oldest)?.add_to(&transaction, false, oldest)?;
        transaction.commit()?;
    }
    let hourly_from = start_of_day(now, -HOURLY_DAYS, zone);
    while let Some(oldest) = oldest(connection, PACKED_HOURS)?.filter(|oldest| *oldest < hourly_from) {
        let transaction = connection.transaction()?;
        let hour = Packed::take(&transaction, false, oldest)?;
        hour.add_to(&transaction, true, start_of_day(oldest, 0, zone))?;
        transaction.commit()?;
    }
    let transaction = connection.transaction()?;
    forget_before(&transaction, start_of_day(now, -limits.days, zone))?;
    transaction.execute("DELETE FROM counted WHERE boot <> ?1", [boot])?;
    let rows: i64 = transaction.query_row("SELECT count(*) FROM counted", [], |row| row.get(0))?;
    if rows > COUNTED_ROWS {
        transaction.execute(
            "DELETE FROM counted WHERE (boot, ns) IN (SELECT boot, ns FROM counted ORDER BY last LIMIT ?1)",
            [rows - COUNTED_ROWS],
        )?;
    }
    forget_flows(&transaction)?;
    transaction.commit()
}

/// Packs what an earlier version kept in a row each, day after day: it may be ended meanwhile.
pub(in crate::history) fn pack_days(connection: &mut Connection) -> rusqlite::Result<()> {
    if !has_table(connection, "days")? {
        return Ok(());
    }
    while let Some(oldest) = oldest(connection, "days")? {
        let transaction = connection.transaction()?;
        take_rows(&transaction, "days", oldest)?.add_to(&transaction, true, oldest)?;
        transaction.commit()?;
    }
    connection.execute_batch("DROP TABLE days")
}

pub(in crate::history) fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) > 0 FROM sqlite_schema WHERE name = ?1", [name], |row| row.get(0))
}

/// When the first of these begins.
fn oldest(connection: &Connection, of: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row(&format!("SELECT min(start) FROM {of}"), [], |row| row.get(0))
}

/// When the first hour begins of which totals are kept, in seconds since 1970.
pub(in crate::history) fn first_hour(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    Ok(oldest(connection, "hours")?.into_iter().chain(oldest(connection, PACKED_HOURS)?).min())
}

/// Takes rows of one hour or day out of a table, and of the failures that begin with it.
fn take_rows(transaction: &Transaction<'_>, table: &str, start: i64) -> rusqlite::Result<Packed> {
    let mut packed = Packed::default();
    let mut query = transaction
        .prepare(&format!("SELECT flow, connections, rx, tx FROM {table} WHERE start = ?1 ORDER BY flow"))?;
    let mut failed = transaction.prepare(FAILURES_OF)?;
    let mut rows = query.query([start])?;
    while let Some(row) = rows.next()? {
        let flow = row.get(0)?;
        let mut sums = sums_of(row, 1)?;
        add_failures(&mut failed, start, flow, &mut sums)?;
        packed.push(flow, &sums);
    }
    for table in [table, "failures"] {
        transaction.execute(&format!("DELETE FROM {table} WHERE start = ?1"), [start])?;
    }
    Ok(packed)
}

fn forget_before(transaction: &Transaction<'_>, start: i64) -> rusqlite::Result<()> {
    for table in ["hours", "packed", "failures"] {
        transaction.execute(&format!("DELETE FROM {table} WHERE start < ?1"), [start])?;
    }
    Ok(())
}

/// Whether what is packed can be read.
pub(in crate::history) fn check(connection: &Connection) -> rusqlite::Result<()> {
    each_packed(connection, |_| ())
}

/// The flow of each total that is packed.
fn each_packed(connection: &Connection, mut each: impl FnMut(i64)) -> rusqlite::Result<()> {
    let mut query = connection.prepare("SELECT flow, totals FROM packed")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        for total in Unpacked::of(row, 0)? {
            each(total?.0);
        }
    }
    Ok(())
}

/// Forgets flows of which nothing is left.
fn forget_flows(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut used = Ids::default();
    let mut query = transaction.prepare("SELECT flow FROM hours")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        used.insert(row.get(0)?);
    }
    each_packed(transaction, |flow| used.insert(flow))?;
    let mut query = transaction.prepare("SELECT id FROM flow")?;
    let mut rows = query.query([])?;
    let mut unused = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        if !used.contains(id) {
            unused.push(id);
        }
    }
    let mut forget = transaction.prepare("DELETE FROM flow WHERE id = ?1")?;
    for id in unused {
        forget.execute([id])?;
    }
    Ok(())
}

/// Ids of flows, which a file numbers from 1: a bit each. What stands in a file is anything, so others are looked up.
#[derive(Default)]
struct Ids {
    bits: Vec<u64>,
    others: BTreeSet<i64>,
}

impl Ids {
    fn insert(&mut self, id: i64) {
        let Some((word, bit)) = place_of(id) else {
            self.others.insert(id);
            return;
        };
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= bit;
    }

    fn contains(&self, id: i64) -> bool {
        match place_of(id) {
            Some((word, bit)) => self.bits.get(word).is_some_and(|bits| bits & bit != 0),
            None => self.others.contains(&id),
        }
    }
}

/// In which word it is, and its bit.
fn place_of(id: i64) -> Option<(usize, u64)> {
    let id = usize::try_from(id).ok().filter(|id| *id < DENSE)?;
    Some((id / 64, 1 << (id % 64)))
}

/// The begin of the hour in which a moment is, or of its day where hours have become days: totals are of whole ones.
#[must_use]
pub fn start_of_total(second: i64, now: i64, zone: &TimeZone) -> i64 {
    if second < start_of_day(now, -HOURLY_DAYS, zone) {
        start_of_day(second, 0, zone)
    } else {
        start_of_hour(second, zone)
    }
}

/// Bytes of the file that hold something.
fn used(connection: &Connection) -> rusqlite::Result<i64> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}

/// Bytes of what is no total: who talked to whom, names, and how much was counted of each connection. That is bounded by
/// numbers of rows.
pub(super) fn used_by_others(connection: &Connection) -> rusqlite::Result<i64> {
    // In this order only the pages of those tables are visited.
    let sizes = "SELECT coalesce(sum(pgsize), 0) FROM sqlite_schema AS known CROSS JOIN dbstat ON dbstat.name = known.name \
                 WHERE aggregate = 1 AND tbl_name NOT IN ('flow', 'hours', 'packed', 'failures')";
    connection.query_row(sizes, [], |row| row.get(0))
}

/// Forgets the oldest until totals are within their bounds again. Pages that become free are used again: the file does not
/// grow. `others` is what the rest took when it was last measured, which visits all of it.
pub(in crate::history) fn bound(
    connection: &mut Connection,
    limits: Limits,
    others: &mut i64,
) -> rusqlite::Result<()> {
    let most = i64::try_from(limits.bytes).unwrap_or(i64::MAX);
    if used(connection)? - *others <= most {
        return Ok(());
    }
    *others = used_by_others(connection)?;
    if used(connection)? - *others <= most {
        return Ok(());
    }
    let wanted = most - most / 100 * SPARE_PERCENT;
    while used(connection)? - *others > wanted {
        let transaction = connection.transaction()?;
        let oldest = oldest(&transaction, "hours")?.into_iter().chain(oldest(&transaction, "packed")?).min();
        let Some(oldest) = oldest else { return Ok(()) };
        forget_before(&transaction, oldest + 1)?;
        forget_flows(&transaction)?;
        transaction.commit()?;
    }
    Ok(())
}
