// SPDX-License-Identifier: GPL-3.0-or-later
//! Totals as the tables have them, read.

use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use super::packed::Unpacked;
use super::tables::has_table;
use super::{Flow, FlowRef, Sums, direction_of};
use crate::history::pages::Place;

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
    (first, last): (i64, i64),
    mut each: impl FnMut(i64, &str),
) -> rusqlite::Result<()> {
    let column = match column {
        Column::Program => "program",
        Column::Unit => "unit",
        Column::Peer => "peer",
    };
    let mut query =
        connection.prepare(&format!("SELECT id, {column} FROM flow WHERE id BETWEEN ?1 AND ?2"))?;
    let mut rows = query.query([first, last])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?, row.get_ref(1)?.as_str()?);
    }
    Ok(())
}

/// Flows whose ids are wanted.
pub(in crate::history) fn flows(
    connection: &Connection,
    (first, last): (i64, i64),
    is_wanted: impl Fn(i64) -> bool,
    mut each: impl FnMut(i64, &FlowRef<'_>),
) -> rusqlite::Result<()> {
    let mut query = connection.prepare(
        "SELECT id, program, unit, uid, direction, protocol, port, peer FROM flow WHERE id BETWEEN ?1 AND ?2",
    )?;
    let mut rows = query.query([first, last])?;
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        if is_wanted(id) {
            each(id, &flow_of(row, 1)?);
        }
    }
    Ok(())
}

/// A flow whose columns begin with this one.
fn flow_of<'r>(row: &'r Row<'_>, first: usize) -> rusqlite::Result<FlowRef<'r>> {
    let text = |at| Ok::<_, rusqlite::Error>(row.get_ref(at)?.as_str()?);
    Ok(FlowRef {
        program: text(first)?,
        unit: text(first + 1)?,
        uid: row.get(first + 2)?,
        direction: direction_of(row.get(first + 3)?),
        protocol: row.get(first + 4)?,
        port: row.get(first + 5)?,
        peer: text(first + 6)?,
    })
}

/// Connections and bytes, whose columns begin with this one.
pub(super) fn sums_of(row: &Row<'_>, first: usize) -> rusqlite::Result<Sums> {
    let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
    Ok(Sums {
        connections: number(first)?,
        rx: number(first + 1)?,
        tx: number(first + 2)?,
        ..Sums::default()
    })
}

pub(super) const FAILURES_OF: &str = "SELECT state, connections FROM failures WHERE start = ?1 AND flow = ?2";

pub(super) fn add_failures(
    failed: &mut Statement<'_>,
    start: i64,
    flow: i64,
    sums: &mut Sums,
) -> rusqlite::Result<()> {
    let mut rows = failed.query([start, flow])?;
    while let Some(row) = rows.next()? {
        sums.add(&failures_of(row, 0)?);
    }
    Ok(())
}

pub(super) fn failures_of(row: &Row<'_>, state: usize) -> rusqlite::Result<Sums> {
    let mut sums = Sums::default();
    let kind = row.get::<_, i64>(state)?.checked_sub(1).and_then(|kind| usize::try_from(kind).ok());
    if let Some(count) = kind.and_then(|kind| sums.failures.get_mut(kind)) {
        *count = row.get::<_, i64>(state + 1)?.cast_unsigned();
    }
    Ok(sums)
}

/// So many totals behind one, the latest first: their number bounds what is read at once. A flow that is not in the file is
/// none.
pub(in crate::history) fn read_before(
    connection: &Connection,
    place: &Place,
    since: i64,
    most: usize,
) -> rusqlite::Result<Vec<(Total, Option<Flow>)>> {
    let from = if place.is_day { since } else { since.max(place.hours_from) };
    let mut found = packed_before(connection, place, from, most)?;
    if !place.is_day {
        found.extend(rows_before(connection, place, from, most)?);
    }
    found.sort_unstable_by_key(|(start, flow, _)| std::cmp::Reverse((*start, *flow)));
    // What was counted of an hour after it was packed stands beside that.
    found.dedup_by(|(start, flow, more), (to_start, to_flow, sums)| {
        let is_same = (*start, *flow) == (*to_start, *to_flow);
        if is_same {
            sums.add(more);
        }
        is_same
    });
    found.truncate(most);
    let mut query = connection
        .prepare("SELECT program, unit, uid, direction, protocol, port, peer FROM flow WHERE id = ?1")?;
    let mut with_flow = |(start, flow, sums)| {
        let total = Total { start, is_day: place.is_day, flow, sums };
        Ok((total, query.query_row([flow], |row| Ok(Flow::from(flow_of(row, 0)?))).optional()?))
    };
    found.into_iter().map(&mut with_flow).collect()
}

type Found = Vec<(i64, i64, Sums)>;

fn packed_before(connection: &Connection, place: &Place, from: i64, most: usize) -> rusqlite::Result<Found> {
    let mut query = connection.prepare(
        "SELECT start, flow, totals FROM packed WHERE is_day = ?1 AND (start, flow) < (?2, ?3) AND start >= ?4 \
         ORDER BY start DESC, flow DESC",
    )?;
    let mut rows = query.query(params![place.is_day, place.start, place.flow, from])?;
    let mut found = Vec::new();
    while found.len() < most
        && let Some(row) = rows.next()?
    {
        let start = row.get(0)?;
        let mut chunk = Vec::new();
        for total in Unpacked::of(row, 1)? {
            let (flow, sums) = total?;
            if (start, flow) >= (place.start, place.flow) {
                break;
            }
            chunk.push((start, flow, sums));
        }
        let last = chunk.len().saturating_sub(most);
        found.extend(chunk.drain(last..));
    }
    Ok(found)
}

fn rows_before(connection: &Connection, place: &Place, from: i64, most: usize) -> rusqlite::Result<Found> {
    let mut query = connection.prepare(
        "SELECT start, flow, connections, rx, tx FROM hours WHERE (start, flow) < (?1, ?2) AND start >= ?3 \
         ORDER BY start DESC, flow DESC LIMIT ?4",
    )?;
    let mut failed = connection.prepare(FAILURES_OF)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut rows = query.query(params![place.start, place.flow, from, most])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (start, flow) = (row.get(0)?, row.get(1)?);
        let mut sums = sums_of(row, 2)?;
        add_failures(&mut failed, start, flow, &mut sums)?;
        found.push((start, flow, sums));
    }
    Ok(found)
}

/// What was counted from one moment until before another.
pub(in crate::history) fn read(
    connection: &Connection,
    (from, until): (i64, i64),
    mut each: impl FnMut(Total),
) -> rusqlite::Result<()> {
    // An earlier version wrote it that has no packed totals.
    if has_table(connection, "packed")? {
        let mut query = connection
            .prepare("SELECT is_day, start, flow, totals FROM packed WHERE start >= ?1 AND start < ?2")?;
        let mut rows = query.query([from, until])?;
        while let Some(row) = rows.next()? {
            let (is_day, start) = (row.get(0)?, row.get(1)?);
            for total in Unpacked::of(row, 2)? {
                let (flow, sums) = total?;
                each(Total { start, is_day, flow, sums });
            }
        }
    }
    for (table, is_day) in [("days", true), ("hours", false)] {
        if !has_table(connection, table)? {
            continue;
        }
        let columns = "start, flow, connections, rx, tx";
        let mut query =
            connection.prepare(&format!("SELECT {columns} FROM {table} WHERE start >= ?1 AND start < ?2"))?;
        let mut rows = query.query([from, until])?;
        while let Some(row) = rows.next()? {
            each(Total { start: row.get(0)?, is_day, flow: row.get(1)?, sums: sums_of(row, 2)? });
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
