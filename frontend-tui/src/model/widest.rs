// SPDX-License-Identifier: GPL-3.0-or-later
//! How many cells the lines of a list need in each column.

use std::borrow::Cow;

use leco_core::model::overseer::Row;
use leco_core::text::{Cells, Units, is_address};

use crate::width::Width;

/// A column, in the order in which they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// When it was last updated.
    Time,
    /// Who.
    User,
    /// What.
    Process,
    /// As a part of what.
    Unit,
    /// From which address.
    Local,
    /// To whom, how it went.
    Peer,
    /// Bytes received.
    Received,
    /// Bytes sent.
    Sent,
    /// Bytes a second.
    Rate,
    /// Bytes over the latest time.
    Chart,
}

use Column::{Chart, Local, Peer, Process, Rate, Received, Sent, Time, Unit, User};

impl Column {
    /// Every column, from the left.
    pub const ALL: [Self; 10] = [Time, User, Process, Unit, Local, Peer, Received, Sent, Rate, Chart];

    /// What stands above it, and the same where that is wider than the column.
    #[must_use]
    pub fn heading(self) -> (&'static str, &'static str) {
        match self {
            Time => ("time", "time"),
            User => ("user", "user"),
            Process => ("process", "proc"),
            Unit => ("unit", "unit"),
            Local => ("from", "from"),
            Peer => ("peer", "peer"),
            Received => ("received", "recv"),
            Sent => ("sent", "sent"),
            Rate => ("rate", "rate"),
            Chart => ("", ""),
        }
    }

    /// Numbers stand under each other.
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self, Received | Sent | Rate)
    }
}

/// Cells of bytes as in `878.9K`, so that columns do not move while numbers grow.
const BYTES: usize = 6;
/// Cells of a rate, as in `1023.9K/s`.
const RATE: usize = 9;

/// The widest text of each column, within reason: one that is longer does not push the others away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Widest {
    /// Cells of the widest tag.
    pub tag: usize,
    /// Of how connections failed.
    pub state: usize,
    /// Of an address as a peer, and of one with its port.
    pub address: usize,
    /// The same with its port.
    pub address_and_port: usize,
    /// Some line tells this end of its connection before its peer; else what stands there is said about the connection.
    pub has_local_address: bool,
    pub(crate) columns: [usize; Column::ALL.len()],
}

impl Widest {
    /// Takes in a line, whose amounts are shown in these units.
    pub fn take(&mut self, row: &Row, units: Units) {
        self.tag = self.tag.max(row.tag.text.width());
        if let Some(cells) = Cells::of(&row.text) {
            let [received, sent] = amounts(row, &cells, units);
            let cells = Cells { received: &received, sent: &sent, ..cells };
            self.take_cells(&cells, times(row).width());
        }
    }

    /// Takes in what a line says; behind its process so many cells are needed for what stands there besides.
    pub fn take_cells(&mut self, cells: &Cells<'_>, besides: usize) {
        let mut widen = |column: Column, cells: usize, most: usize| {
            let width = &mut self.columns[column as usize];
            if cells > 0 {
                *width = (*width).max(cells.min(most)).max(column.heading().1.len());
            }
        };
        widen(Time, cells.time.width(), 20);
        widen(User, cells.user.width(), 16);
        widen(Process, cells.process.width() + besides, 28);
        widen(Unit, cells.unit.width(), 34);
        widen(Local, cells.local.width(), 46);
        widen(Peer, whole_peer(cells), 64);
        widen(Received, cells.received.width().max(BYTES), 12);
        widen(Sent, cells.sent.width().max(BYTES), 12);
        widen(Rate, RATE, RATE);
        self.has_local_address |= cells.local.split(' ').next().is_some_and(is_address);
        self.state = self.state.max(cells.state.width());
        if cells.has_address() {
            let address = cells.peer.width();
            self.address = self.address.max(address);
            self.address_and_port = self.address_and_port.max(address + cells.port.width());
        }
    }

    /// Cells of a column; 0 where no line has anything in it.
    #[must_use]
    pub fn of(&self, column: Column) -> usize {
        self.columns[column as usize]
    }

    /// Whether any line stands in columns.
    #[must_use]
    pub fn has_columns(&self) -> bool {
        self.of(Rate) > 0
    }
}

/// Cells that all which is said of the peer needs.
pub(crate) fn whole_peer(cells: &Cells<'_>) -> usize {
    [cells.peer, cells.port, cells.state].map(Width::width).iter().sum()
}

/// Bytes received and sent, as a list shows them: of several connections the line has only what the latest one moved.
pub(crate) fn amounts<'r>(row: &Row, cells: &Cells<'r>, units: Units) -> [Cow<'r, str>; 2] {
    let total = row.traffic.total;
    if row.connections > 1 && total.total() > 0 {
        [total.rx, total.tx].map(|count| units.amount(count).to_string().into())
    } else {
        [cells.received, cells.sent].map(Cow::from)
    }
}

/// How many connections rules have made one line, where they have.
pub(crate) fn times(row: &Row) -> String {
    if row.connections > 1 { format!(" ×{}", row.connections) } else { String::new() }
}
