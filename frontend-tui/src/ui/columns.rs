// SPDX-License-Identifier: GPL-3.0-or-later
//! Columns in which lines stand: which there are room for, and how wide each is.

use std::borrow::Cow;

use crate::model::widest::Column::{Chart, Local, Peer, Process, Rate, Received, Sent, Time, Unit, User};
use crate::model::widest::{Column, Widest};
use crate::ui::shorten;
use crate::width::Width;
use leco_core::text::{Cells, Units};

/// Cells between two columns.
const GAP: usize = 2;
/// Cells before the tag and after it: the mark of the selected line; those of what is new and what has ended.
const LEAD: usize = 4;
/// A name keeps so many cells.
pub(crate) const LEAST_NAME: usize = 5;
/// Below this width of the screen nothing is as wide as it should be.
const NARROW: usize = 60;
/// Cells of a peer on a narrow screen; else its share of the width, in percent.
const NARROW_PEER: usize = 12;
const PEER_PERCENT: usize = 35;
/// A process has this part of the width, within bounds.
const PROCESS_PART: usize = 7;
const LEAST_PROCESS: usize = 6;
const MOST_PROCESS: usize = 12;
/// What stands in place of a port that has no room.
const NO_PORT: &str = " …";
const LEAST_USER: usize = 8;
const LEAST_UNIT: usize = 12;

/// What is wanted beside the lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Cells of a small chart.
    pub chart: usize,
    /// The list is sorted by rate: it is seen whatever else goes.
    pub by_rate: bool,
    /// What amounts are shown in.
    pub units: Units,
}

/// Widths of the columns, in cells; 0 for one that is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    tag: usize,
    widths: [usize; Column::ALL.len()],
    /// All together, with what is before them.
    width: usize,
    /// What amounts are shown in.
    pub units: Units,
    /// What stands above what is before the peer.
    pub local: &'static str,
}

impl Columns {
    /// Fits columns to what lines need within a width. What matters most gets its room first: peer, process, bytes, rate,
    /// time, user, unit, tag. Where bytes find no room, names are shorter, and a state has room over the bytes of its line;
    /// else nothing that matters less is there. An address has room as a whole wherever the width allows: in its column, where process and
    /// bytes find room beside it, else over what follows it.
    #[must_use]
    pub fn fit(widest: &Widest, wanted: Wanted, width: usize) -> Self {
        let natural = |column| match column {
            Chart if widest.has_columns() => wanted.chart,
            column => widest.of(column),
        };
        // How it went says more than how much it was.
        let least_peer = if widest.state > 0 { LEAST_NAME + widest.state } else { 0 };
        let room = width.saturating_sub(LEAD);
        let beside = |column| natural(column).min(least(column, width)) + GAP;
        let process = beside(Process);
        let numbers = if wanted.by_rate { beside(Rate) } else { beside(Received) + beside(Sent) };
        let in_column = [widest.address_and_port, widest.address, 0];
        let in_column =
            in_column.into_iter().find(|address| address + process + numbers <= room).unwrap_or(0);
        // What stands before an address leaves it room, if the process at least is there.
        let most_before = room.checked_sub(widest.address).filter(|rest| *rest >= process);
        let most_before = most_before.unwrap_or(room);
        let least = |column: Column| match natural(column) {
            0 => 0,
            natural if column == Peer => {
                let least = least(column, width).max(least_peer).max(in_column);
                natural.min(least.min(room.max(1))) + GAP
            }
            natural => natural.min(least(column, width)) + GAP,
        };
        let order: [&[Column]; 9] = if wanted.by_rate {
            [&[Peer], &[Rate], &[Process], &[Received, Sent], &[Time], &[User], &[Unit], &[Local], &[Chart]]
        } else {
            [&[Peer], &[Process], &[Received, Sent], &[Rate], &[Time], &[User], &[Unit], &[Local], &[Chart]]
        };
        let before_time = if wanted.by_rate { 4 } else { 3 };
        let needed: usize = order[..before_time].iter().copied().flatten().map(|column| least(*column)).sum();
        let over = (LEAD + needed).saturating_sub(width + GAP);
        let shorter = least(Peer).saturating_sub(GAP + LEAST_NAME.max(in_column));
        let least = |column| least(column) - if column == Peer && over <= shorter { over } else { 0 };
        let has_bytes = natural(Received) + natural(Sent) > 0;
        let local = if widest.has_local_address { Local.heading().0 } else { "about" };
        let widths = [0; Column::ALL.len()];
        let mut columns = Self { tag: 0, widths, width: LEAD, units: wanted.units, local };
        for (index, group) in order.into_iter().enumerate() {
            if index >= before_time && has_bytes && columns.of(Received).or(columns.of(Sent)).is_none() {
                break;
            }
            // A tag tells lines apart, which a chart does not.
            if group == [Chart]
                && columns.width + widest.tag <= width
                && (columns.of(Time).is_some() || natural(Time) == 0)
                && columns.before_peer() + widest.tag <= most_before
            {
                columns.tag = widest.tag;
                columns.width += widest.tag;
            }
            // A rate without the bytes that it is of says less than another column.
            let is_worth = group != [Rate] || wanted.by_rate || columns.of(Received).is_some();
            // The gap behind the last one may be cut.
            let needed: usize = group.iter().map(|column| least(*column)).sum();
            let before = if group[0] < Peer { needed } else { 0 };
            if needed > 0
                && is_worth
                && columns.width + needed <= width + GAP
                && columns.before_peer() + before <= most_before
            {
                for column in group {
                    columns.widths[*column as usize] = least(*column).saturating_sub(GAP);
                }
                columns.width += needed;
            }
        }
        if columns.widths[Peer as usize] == 0 {
            // However narrow it is.
            let room = (width + GAP).saturating_sub(columns.width + GAP);
            columns.widths[Peer as usize] = natural(Peer).min(room);
            columns.width += room.min(natural(Peer)) + GAP;
        }
        for column in [Peer, Process, User, Unit, Local] {
            let have = columns.widths[column as usize];
            let mut room = (width + GAP).saturating_sub(columns.width);
            if column < Peer {
                room = room.min(most_before.saturating_sub(columns.before_peer()));
            }
            if have > 0 {
                let more = natural(column).saturating_sub(have).min(room);
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

    /// Cells between the marks and the peer.
    fn before_peer(&self) -> usize {
        let columns = self.widths[..Peer as usize].iter().filter(|width| **width > 0);
        self.tag + columns.map(|width| width + GAP).sum::<usize>()
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

/// So many cells of a column are worth more than another column, at a width of the screen.
fn least(column: Column, width: usize) -> usize {
    match column {
        Peer if width < NARROW => width.saturating_sub(LEAD).clamp(1, NARROW_PEER),
        Peer => width * PEER_PERCENT / 100,
        Process => (width / PROCESS_PART).clamp(LEAST_PROCESS, MOST_PROCESS),
        User => LEAST_USER,
        Unit => LEAST_UNIT,
        // An end and numbers are there as a whole.
        Local | Time | Received | Sent | Rate | Chart => usize::MAX,
    }
}

/// What of the peer, its port and its state fits: a name gives way first, then the port as a whole, then an address, then
/// the state. A port that gave way leaves a sign, where that fits.
#[must_use]
pub fn peer_within<'l>(cells: &Cells<'l>, width: usize) -> (Cow<'l, str>, &'l str, &'l str) {
    let (before, name) = cells.peer_parts();
    let is_address = cells.has_address();
    let whole = cells.peer.width();
    let cut = whole.min(LEAST_NAME);
    let least = if is_address { whole } else { cut };
    let kept = [
        (cells.port, cells.state, least),
        (NO_PORT, cells.state, least),
        // An address says more than that it had a port.
        ("", cells.state, least),
        ("", cells.state, cut),
        (cells.port, "", least),
        ("", "", 0),
    ];
    let fits = |(port, state, name): &(&str, &str, usize)| port.width() + state.width() + name <= width;
    let (port, state, _) = kept.into_iter().find(fits).unwrap_or_default();
    let room = width.saturating_sub(port.width() + state.width());
    let peer = match room.checked_sub(name.width() + 1) {
        _ if whole <= room => cells.peer.into(),
        _ if !is_address => shorten::middle(cells.peer, room),
        // What listens is still told from what connects.
        Some(left @ 2..) if before.len() > left => {
            format!("{} {name}", shorten::end(before.trim_end(), left)).into()
        }
        _ => shorten::address(cells.peer, room),
    };
    (peer, port, state)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 3] = [
        "18:34 :: me :: firefox [app-firefox] :: example.org 443 :: v 1.2M / 80.5K ^",
        "18:33 :: nobody :: a-long-name-of-a-process [system-getty] :: a.very.long.name.of.a.peer.example.org 65535/udp !refused :: ",
        "merged",
    ];

    fn widest(lines: &[&str]) -> Widest {
        let mut widest = Widest { tag: 3, ..Widest::default() };
        for cells in lines.iter().copied().filter_map(Cells::of) {
            widest.take_cells(&cells, 0);
        }
        widest
    }

    fn fit(width: usize, by_rate: bool) -> Columns {
        Columns::fit(&widest(&LINES), Wanted { chart: 8, by_rate, ..Wanted::default() }, width)
    }

    #[test]
    fn columns_go_by_importance() {
        let shown = |width| fit(width, false).shown().map(|(column, ..)| column).collect::<Vec<_>>();
        assert_eq!(shown(200), [Time, User, Process, Unit, Peer, Received, Sent, Rate, Chart]);
        assert_eq!(shown(120), [Time, User, Process, Unit, Peer, Received, Sent, Rate]);
        assert_eq!(shown(80), [Time, Process, Peer, Received, Sent, Rate]);
        assert_eq!(shown(60), [Time, Process, Peer, Received, Sent]);
        assert_eq!(shown(40), [Process, Peer, Received, Sent], "bytes go before the time");
        assert_eq!(shown(30), [Process, Peer], "nothing takes the room that bytes needed");
        let short = "18:34 :: me :: ssh :: nas.example.org 22 :: v 12.4K / 878.9K ^";
        let columns = Columns::fit(&widest(&[short]), Wanted { chart: 8, ..Wanted::default() }, 40);
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
        assert_eq!([8, 7, 6].map(within), ["exa…rg …", "ex…rg …", "exa…rg"]);
        assert_eq!(within(0), "");
        let failed = Cells::of(LINES[1]).unwrap();
        let (peer, port, state) = peer_within(&failed, 16);
        assert_eq!((&*peer, port, state), ("a.…rg", " …", " !refused"));
    }

    #[test]
    fn an_address_is_whole_or_ends_after_a_number() {
        let within = |peer: &str, width| {
            let line = format!("18:34 :: me :: nc :: {peer} :: ");
            let (peer, port, state) = peer_within(&Cells::of(&line).unwrap(), width);
            format!("{peer}{port}{state}")
        };
        let incoming = "<- 192.0.2.10 443";
        assert_eq!(
            [17, 16, 15, 14].map(|width| within(incoming, width)),
            ["<- 192.0.2.10 443", "<- 192.0.2.10 …", "<- 192.0.2.10 …", "<- 192.0.2.10"]
        );
        assert_eq!([12, 10, 5].map(|width| within(incoming, width)), ["<- 192.0.2.…", "<- 192.0.…", "<- …"]);
        let failed = "2001:db8::10 443 !refused";
        assert_eq!(
            [25, 21, 16].map(|width| within(failed, width)),
            ["2001:db8::10 443 !refused", "2001:db8::10 !refused", "2001:… !refused"]
        );
        let listening = "listening [::] 8080";
        assert_eq!(
            [19, 15, 14, 9, 7].map(|width| within(listening, width)),
            ["listening [::] 8080", "listening [::]", "listening [::]", "lis… [::]", "l… [::]"]
        );
    }
}
