// SPDX-License-Identifier: GPL-3.0-or-later
//! The tables that keep totals.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use leco_os::time_zone::{start_of_day, start_of_hour};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{Counted, Flow, Sums, TotalsBatch, direction_of, number_of};
use crate::history::pages::Place;

/// Connections of which it is saved how much was counted, for the next pipe of the same boot.
const COUNTED_ROWS: i64 = 65_536;
/// Hours become days after so many days.
const HOURLY_DAYS: i64 = 7;
/// Where the file is too large, so much of a part goes at once, in percent: not at every write.
const SPARE_PERCENT: i64 = 5;

pub(in crate::history) const TABLES: &str = "\
CREATE TABLE IF NOT EXISTS flow (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL UNIQUE, program TEXT NOT NULL, \
 unit TEXT NOT NULL, uid INTEGER NOT NULL, direction INTEGER NOT NULL, protocol INTEGER NOT NULL, \
 port INTEGER NOT NULL, peer TEXT NOT NULL); \
CREATE TABLE IF NOT EXISTS hours (start INTEGER NOT NULL, flow INTEGER NOT NULL, connections INTEGER NOT NULL, \
 rx INTEGER NOT NULL, tx INTEGER NOT NULL, PRIMARY KEY (start, flow)) WITHOUT ROWID; \
CREATE TABLE IF NOT EXISTS days (start INTEGER NOT NULL, flow INTEGER NOT NULL, connections INTEGER NOT NULL, \
 rx INTEGER NOT NULL, tx INTEGER NOT NULL, PRIMARY KEY (start, flow)) WITHOUT ROWID; \
CREATE TABLE IF NOT EXISTS failures (start INTEGER NOT NULL, flow INTEGER NOT NULL, state INTEGER NOT NULL, \
 connections INTEGER NOT NULL, PRIMARY KEY (start, flow, state)) WITHOUT ROWID; \
CREATE TABLE IF NOT EXISTS counted (boot TEXT NOT NULL, ns INTEGER NOT NULL, rx INTEGER NOT NULL, \
 tx INTEGER NOT NULL, state INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (boot, ns)) WITHOUT ROWID";

/// How long and how much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Days.
    pub days: i64,
    /// Bytes of the file.
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
    let mut keep = transaction.prepare("INSERT OR REPLACE INTO counted VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for (ns, Counted { rx, tx, failure }) in &batch.counted {
        keep.execute(params![boot, ns.cast_signed(), number(*rx), number(*tx), failure, now])?;
    }
    Ok(())
}

/// Makes hours days, and forgets what is too old or too much.
pub(in crate::history) fn tidy(
    connection: &mut Connection,
    boot: &str,
    now: i64,
    zone: &TimeZone,
    limits: Limits,
) -> rusqlite::Result<()> {
    let hourly_from = start_of_day(now, -HOURLY_DAYS, zone);
    loop {
        let oldest: Option<i64> =
            connection.query_row("SELECT min(start) FROM hours", [], |row| row.get(0))?;
        let Some(oldest) = oldest.filter(|oldest| *oldest < hourly_from) else { break };
        let day = start_of_day(oldest, 0, zone);
        // An hour at a time, so that nothing has to be sorted.
        let transaction = connection.transaction()?;
        transaction.execute(
            "INSERT INTO days SELECT ?1, flow, connections, rx, tx FROM hours WHERE start = ?2 ON CONFLICT DO UPDATE \
             SET connections = connections + excluded.connections, rx = rx + excluded.rx, tx = tx + excluded.tx",
            [day, oldest],
        )?;
        transaction.execute("DELETE FROM hours WHERE start = ?1", [oldest])?;
        // A day of failures begins when its first hour does.
        if oldest != day {
            transaction.execute(
                "INSERT INTO failures SELECT ?1, flow, state, connections FROM failures WHERE start = ?2 \
                 ON CONFLICT DO UPDATE SET connections = connections + excluded.connections",
                [day, oldest],
            )?;
            transaction.execute("DELETE FROM failures WHERE start = ?1", [oldest])?;
        }
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
    transaction.commit()?;
    bound(connection, limits)
}

fn forget_before(transaction: &Transaction<'_>, start: i64) -> rusqlite::Result<()> {
    for table in ["hours", "days", "failures"] {
        transaction.execute(&format!("DELETE FROM {table} WHERE start < ?1"), [start])?;
    }
    Ok(())
}

/// Forgets flows of which nothing is left.
fn forget_flows(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    // SQLite would sort all of both.
    let mut used = BTreeSet::new();
    for table in ["hours", "days"] {
        let mut query = transaction.prepare(&format!("SELECT flow FROM {table}"))?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            used.insert(row.get::<_, i64>(0)?);
        }
    }
    let mut query = transaction.prepare("SELECT id FROM flow")?;
    let all = query.query_map([], |row| row.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut forget = transaction.prepare("DELETE FROM flow WHERE id = ?1")?;
    for id in all.into_iter().filter(|id| !used.contains(id)) {
        forget.execute([id])?;
    }
    Ok(())
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

/// Forgets the oldest until the file is within its bounds again. Pages that become free are used again: it does not grow.
pub(in crate::history) fn bound(connection: &mut Connection, limits: Limits) -> rusqlite::Result<()> {
    let most = i64::try_from(limits.bytes).unwrap_or(i64::MAX);
    if used(connection)? <= most {
        return Ok(());
    }
    let wanted = most - most / 100 * SPARE_PERCENT;
    while used(connection)? > wanted {
        let transaction = connection.transaction()?;
        let oldest = |table: &str| {
            let oldest = format!("SELECT min(start) FROM {table}");
            transaction.query_row(&oldest, [], |row| row.get::<_, Option<i64>>(0))
        };
        let Some(oldest) = oldest("days")?.into_iter().chain(oldest("hours")?).min() else { return Ok(()) };
        forget_before(&transaction, oldest + 1)?;
        forget_flows(&transaction)?;
        transaction.commit()?;
    }
    Ok(())
}

/// A row of what was counted: when it begins, in seconds since 1970, whether it is a day rather than an hour, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// Seconds since 1970.
    pub start: i64,
    /// A day in the zone of the pipe that wrote it; else an hour.
    pub is_day: bool,
    /// Id of its flow in this file.
    pub flow: i64,
    /// What was counted.
    pub sums: Sums,
}

/// A text by which flows are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Script or process name.
    Program,
    /// Unit or container.
    Unit,
    /// Name of the peer.
    Peer,
}

/// One text of each flow: of many flows the rest would take most of the time.
pub(in crate::history) fn labels(
    connection: &Connection,
    column: Column,
    mut each: impl FnMut(i64, &str),
) -> rusqlite::Result<()> {
    let column = match column {
        Column::Program => "program",
        Column::Unit => "unit",
        Column::Peer => "peer",
    };
    let mut query = connection.prepare(&format!("SELECT id, {column} FROM flow"))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?, row.get_ref(1)?.as_str()?);
    }
    Ok(())
}

/// Flows whose ids are wanted.
pub(in crate::history) fn flows(
    connection: &Connection,
    is_wanted: impl Fn(i64) -> bool,
    mut each: impl FnMut(i64, Flow),
) -> rusqlite::Result<()> {
    let mut query =
        connection.prepare("SELECT id, program, unit, uid, direction, protocol, port, peer FROM flow")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        if is_wanted(id) {
            each(id, flow_of(row, 1)?);
        }
    }
    Ok(())
}

/// A flow whose columns begin with this one.
fn flow_of(row: &Row<'_>, first: usize) -> rusqlite::Result<Flow> {
    Ok(Flow {
        program: row.get(first)?,
        unit: row.get(first + 1)?,
        uid: row.get(first + 2)?,
        direction: direction_of(row.get(first + 3)?),
        protocol: row.get(first + 4)?,
        port: row.get(first + 5)?,
        peer: row.get(first + 6)?,
    })
}

fn failures_of(row: &Row<'_>, state: usize) -> rusqlite::Result<Sums> {
    let mut sums = Sums::default();
    let kind = row.get::<_, i64>(state)?.checked_sub(1).and_then(|kind| usize::try_from(kind).ok());
    if let Some(count) = kind.and_then(|kind| sums.failures.get_mut(kind)) {
        *count = row.get::<_, i64>(state + 1)?.cast_unsigned();
    }
    Ok(sums)
}

/// So many totals behind one, the latest first: their number bounds what is read at once.
pub(in crate::history) fn read_before(
    connection: &Connection,
    place: &Place,
    since: i64,
    most: usize,
) -> rusqlite::Result<Vec<(Total, Flow)>> {
    let (table, from) = if place.is_day { ("days", i64::MIN) } else { ("hours", place.hours_from) };
    let mut query = connection.prepare(&format!(
        "SELECT start, flow, connections, rx, tx, program, unit, uid, direction, protocol, port, peer \
         FROM {table} CROSS JOIN flow ON flow.id = flow WHERE (start, flow) < (?1, ?2) AND start >= ?3 \
         ORDER BY start DESC, flow DESC LIMIT ?4"
    ))?;
    let mut failed =
        connection.prepare("SELECT state, connections FROM failures WHERE start = ?1 AND flow = ?2")?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut rows = query.query(params![place.start, place.flow, since.max(from), most])?;
    let mut totals = Vec::new();
    while let Some(row) = rows.next()? {
        let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let mut sums = Sums { connections: number(2)?, rx: number(3)?, tx: number(4)?, ..Sums::default() };
        let (start, flow) = (row.get(0)?, row.get(1)?);
        let mut failures = failed.query(params![start, flow])?;
        while let Some(row) = failures.next()? {
            sums.add(&failures_of(row, 0)?);
        }
        totals.push((Total { start, is_day: place.is_day, flow, sums }, flow_of(row, 5)?));
    }
    Ok(totals)
}

/// What was counted from one moment until before another, the oldest first.
pub(in crate::history) fn read(
    connection: &Connection,
    (from, until): (i64, i64),
    mut each: impl FnMut(Total),
) -> rusqlite::Result<()> {
    for (table, is_day) in [("days", true), ("hours", false)] {
        let columns = "start, flow, connections, rx, tx";
        let mut query =
            connection.prepare(&format!("SELECT {columns} FROM {table} WHERE start >= ?1 AND start < ?2"))?;
        let mut rows = query.query([from, until])?;
        while let Some(row) = rows.next()? {
            let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            let sums = Sums { connections: number(2)?, rx: number(3)?, tx: number(4)?, ..Sums::default() };
            each(Total { start: row.get(0)?, is_day, flow: row.get(1)?, sums });
        }
    }
    let mut query = connection
        .prepare("SELECT start, flow, state, connections FROM failures WHERE start >= ?1 AND start < ?2")?;
    let mut rows = query.query([from, until])?;
    while let Some(row) = rows.next()? {
        let sums = failures_of(row, 2)?;
        each(Total { start: row.get(0)?, is_day: false, flow: row.get(1)?, sums });
    }
    Ok(())
}
