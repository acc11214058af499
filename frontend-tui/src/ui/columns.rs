// SPDX-License-Identifier: GPL-3.0-or-later
//! Columns in which lines stand: which there are room for, and how wide each is.

use std::borrow::Cow;

use leco_core::text::Cells;
use unicode_width::UnicodeWidthStr;

use crate::ui::shorten;

/// Cells between two columns.
const GAP: usize = 2;
/// Cells before the tag and after it: the mark of the selected line; those of what is new and what has ended.
const LEAD: usize = 4;
/// Cells of bytes as in `878.9K`, so that columns do not move while numbers grow.
const BYTES: usize = 6;
/// A name keeps so many cells.
const LEAST_NAME: usize = 5;
/// Cells of a rate, as in `1023.9K/s`.
const RATE: usize = 9;

/// A column, in the order in which they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// What the lines on the screen need.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Cells of the widest tag.
    pub tag: usize,
    /// Cells of a small chart.
    pub chart: usize,
    /// The list is sorted by rate: it is seen whatever else goes.
    pub by_rate: bool,
}

/// Widths of the columns, in cells; 0 for one that is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    tag: usize,
    widths: [usize; Column::ALL.len()],
    /// All together, with what is before them.
    width: usize,
}

impl Columns {
    /// Fits columns to what lines say within a width. What matters most gets its room first: peer, process, bytes, rate,
    /// time, user, unit, tag.
    /// Behind the process of a line so many cells are needed for what stands there besides.
    pub fn fit<'l>(lines: impl Iterator<Item = (Cells<'l>, usize)>, wanted: Wanted, width: usize) -> Self {
        let (natural, states) = natural(lines, wanted);
        // How it went says more than how much it was.
        let least_peer = if states > 0 { LEAST_NAME + states } else { 0 };
        let order: [&[Column]; 9] = if wanted.by_rate {
            [&[Peer], &[Rate], &[Process], &[Received, Sent], &[Time], &[User], &[Unit], &[Local], &[Chart]]
        } else {
            [&[Peer], &[Process], &[Received, Sent], &[Rate], &[Time], &[User], &[Unit], &[Local], &[Chart]]
        };
        let mut columns = Self { tag: 0, widths: [0; Column::ALL.len()], width: LEAD };
        for group in order {
            // A tag tells lines apart, which a chart does not.
            if group == [Chart] && columns.width + wanted.tag <= width {
                columns.tag = wanted.tag;
                columns.width += wanted.tag;
            }
            let least = |column: Column| match natural[column as usize] {
                0 => 0,
                natural if column == Peer => {
                    natural.min(least(column, width).max(least_peer).min(width.saturating_sub(LEAD).max(1)))
                        + GAP
                }
                natural => natural.min(least(column, width)) + GAP,
            };
            // A rate without the bytes that it is of says less than another column.
            let is_worth = group != [Rate] || wanted.by_rate || columns.of(Received).is_some();
            // The gap behind the last one may be cut.
            let needed: usize = group.iter().map(|column| least(*column)).sum();
            if needed > 0 && is_worth && columns.width + needed <= width + GAP {
                for column in group {
                    columns.widths[*column as usize] = least(*column).saturating_sub(GAP);
                }
                columns.width += needed;
            }
        }
        if columns.widths[Peer as usize] == 0 {
            // However narrow it is.
            let room = (width + GAP).saturating_sub(columns.width + GAP);
            columns.widths[Peer as usize] = natural[Peer as usize].min(room);
            columns.width += room.min(natural[Peer as usize]) + GAP;
        }
        for column in [Peer, Process, User, Unit, Local] {
            let have = columns.widths[column as usize];
            let room = (width + GAP).saturating_sub(columns.width);
            if have > 0 {
                let more = natural[column as usize].saturating_sub(have).min(room);
                columns.widths[column as usize] += more;
                columns.width += more;
            }
        }
        for column in [Received, Sent] {
            let have = columns.widths[column as usize];
            let room = (width + GAP).saturating_sub(columns.width);
            let more = column.heading().0.len().saturating_sub(have);
            if have > 0 && more <= room {
                columns.widths[column as usize] += more;
                columns.width += more;
            }
        }
        columns
    }

    /// Cells of a column, where it is shown.
    #[must_use]
    pub fn of(&self, column: Column) -> Option<usize> {
        Some(self.widths[column as usize]).filter(|width| *width > 0)
    }

    /// Cells of tags; 0 where they are left out.
    #[must_use]
    pub fn tag(&self) -> usize {
        self.tag
    }

    /// Columns that are shown, from the left, with their widths and the cells that follow them.
    pub fn shown(&self) -> impl Iterator<Item = (Column, usize, usize)> {
        let last = Column::ALL.into_iter().rev().find(|column| self.of(*column).is_some());
        Column::ALL.into_iter().filter_map(move |column| {
            let gap = if Some(column) == last { 0 } else { GAP };
            Some((column, self.of(column)?, gap))
        })
    }
}

/// The widest text of each column, within reason, and the widest state; one that is longer does not push the others away.
fn natural<'l>(
    lines: impl Iterator<Item = (Cells<'l>, usize)>,
    wanted: Wanted,
) -> ([usize; Column::ALL.len()], usize) {
    let mut states = 0;
    let mut natural = [0; Column::ALL.len()];
    let mut widen = |column: Column, cells: usize, most: usize| {
        let width = &mut natural[column as usize];
        *width = (*width).max(cells.min(most));
    };
    for (cells, besides) in lines {
        widen(Time, cells.time.width(), 20);
        widen(User, cells.user.width(), 16);
        widen(Process, cells.process.width() + besides, 28);
        widen(Unit, cells.unit.width(), 34);
        widen(Local, cells.local.width(), 45);
        widen(Peer, cells.peer.width() + cells.port.width() + cells.state.width(), 64);
        states = states.max(cells.state.width());
        widen(Received, cells.received.width().max(BYTES), 12);
        widen(Sent, cells.sent.width().max(BYTES), 12);
        widen(Rate, RATE, RATE);
        widen(Chart, wanted.chart, wanted.chart);
    }
    for column in Column::ALL {
        let width = &mut natural[column as usize];
        if *width > 0 {
            *width = (*width).max(column.heading().1.len());
        }
    }
    (natural, states)
}

/// So many cells of a column are worth more than another column, at a width of the screen.
fn least(column: Column, width: usize) -> usize {
    match column {
        Peer if width < 60 => width.saturating_sub(LEAD).clamp(1, 12),
        Peer => width * 35 / 100,
        Process => (width / 7).clamp(6, 12),
        User => 8,
        Unit => 12,
        Local => 21,
        Time | Received | Sent | Rate | Chart => usize::MAX,
    }
}

/// What of the peer, its port and its state fits: the name gives way first, then the port as a whole, then the state.
#[must_use]
pub fn peer_within<'l>(cells: &Cells<'l>, width: usize) -> (Cow<'l, str>, &'l str, &'l str) {
    let name = cells.peer.width();
    let after = [(cells.port, cells.state), ("", cells.state), (cells.port, ""), ("", "")];
    let fits = |(port, state): &(&str, &str)| port.width() + state.width() + name.min(LEAST_NAME) <= width;
    let (port, state) = after.into_iter().find(fits).unwrap_or_default();
    let room = width.saturating_sub(port.width() + state.width());
    (shorten::middle(cells.peer, room), port, state)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 3] = [
        "18:34 :: me :: firefox [app-firefox] :: example.org 443 :: v 1.2M / 80.5K ^",
        "18:33 :: nobody :: a-long-name-of-a-process [system-getty] :: a.very.long.name.of.a.peer.example.org 65535/udp !refused :: ",
        "merged",
    ];

    fn fit(width: usize, by_rate: bool) -> Columns {
        let wanted = Wanted { tag: 3, chart: 8, by_rate };
        Columns::fit(LINES.into_iter().filter_map(Cells::of).map(|cells| (cells, 0)), wanted, width)
    }

    #[test]
    fn columns_go_by_importance() {
        let shown = |width| fit(width, false).shown().map(|(column, ..)| column).collect::<Vec<_>>();
        assert_eq!(shown(200), [Time, User, Process, Unit, Peer, Received, Sent, Rate, Chart]);
        assert_eq!(shown(120), [Time, User, Process, Unit, Peer, Received, Sent, Rate]);
        assert_eq!(shown(80), [Time, Process, Peer, Received, Sent, Rate]);
        assert_eq!(shown(60), [Time, Process, Peer, Received, Sent]);
        assert_eq!(shown(40), [Time, Process, Peer], "a state goes before bytes");
        let short = Cells::of("18:34 :: me :: ssh :: nas.example.org 22 :: v 12.4K / 878.9K ^").unwrap();
        let wanted = Wanted { tag: 3, chart: 8, by_rate: false };
        let columns = Columns::fit([(short, 0)].into_iter(), wanted, 40);
        let shown_at_40: Vec<_> = columns.shown().map(|(column, ..)| column).collect();
        assert_eq!(shown_at_40, [Process, Peer, Received, Sent]);
        assert_eq!(shown(10), [Peer]);
        let by_rate = fit(80, true).shown().map(|(column, ..)| column).collect::<Vec<_>>();
        assert!(by_rate.contains(&Rate));
        assert_eq!((fit(200, false).tag(), fit(80, false).tag()), (3, 0));
    }

    #[test]
    fn no_line_is_wider_than_the_screen() {
        for width in 0..250 {
            for by_rate in [false, true] {
                let columns = fit(width, by_rate);
                let used: usize = columns.shown().map(|(_, width, gap)| width + gap).sum();
                assert!(used + LEAD + columns.tag() <= width.max(LEAD), "{width}: {columns:?}");
            }
        }
    }

    #[test]
    fn a_peer_gives_way_in_its_middle_and_its_port_as_a_whole() {
        let cells = Cells::of(LINES[0]).unwrap();
        let within = |width| {
            let (peer, port, state) = peer_within(&cells, width);
            format!("{peer}{port}{state}")
        };
        assert_eq!(within(15), "example.org 443");
        assert_eq!(within(12), "exam…org 443");
        assert_eq!(within(9), "ex…rg 443");
        assert_eq!(within(8), "exam…org");
        assert_eq!(within(0), "");
        let failed = Cells::of(LINES[1]).unwrap();
        let (peer, port, state) = peer_within(&failed, 16);
        assert_eq!((&*peer, port, state), ("a.v…org", "", " !refused"));
    }
}
