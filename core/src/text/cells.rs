// SPDX-License-Identifier: GPL-3.0-or-later
//! What a line says, taken apart into what stands in columns.

use std::net::IpAddr;
use std::ops::Range;

use super::SEPARATOR;

/// What stands before a peer.
const BEFORE_PEER: [&str; 2] = ["<- ", "listening "];

/// Parts of a line as the pipe writes them. What rules took away is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cells<'l> {
    /// `18:34`, `-3d`
    pub time: &'l str,
    /// Name or number.
    pub user: &'l str,
    /// Process or script.
    pub process: &'l str,
    /// Unit or container, in its brackets.
    pub unit: &'l str,
    /// This end of the connection, where the line tells it.
    pub local: &'l str,
    /// Name or address of the other end, with `<- ` before it where that opened the connection; of who listens the address
    /// of this one, with `listening ` before it.
    pub peer: &'l str,
    /// What follows it: address, port, proxy, with the space before them.
    pub port: &'l str,
    /// How it failed, with the space before it.
    pub state: &'l str,
    /// What the line says of its bytes, as `v 1.2M / 80.5K ^`, or what rules made of that.
    pub traffic: &'l str,
    /// Bytes received, as `1.2M`.
    pub received: &'l str,
    /// Bytes sent.
    pub sent: &'l str,
}

impl<'l> Cells<'l> {
    /// Reads `[TIME :: ][USER :: ]PROCESS[ [UNIT]] :: [LOCAL :: ][<- ]PEER PORT[/PROTO][ !STATE][ :: TRAFFIC]`; `None`
    /// for a line whose parts rules have merged into fewer, which flows.
    #[must_use]
    pub fn of(line: &'l str) -> Option<Self> {
        let parts: Vec<&str> = line.split(SEPARATOR).collect();
        let mut parts = parts.as_slice();
        let mut cells = Self::default();
        if let Some((time, rest)) = parts.split_first().filter(|(time, _)| is_time(time)) {
            cells.time = time.trim();
            parts = rest;
        }
        if let Some((last, rest)) = parts.split_last()
            && let Some([received, sent]) = traffic(last)
        {
            cells.traffic = last;
            (cells.received, cells.sent) = (&last[received], &last[sent]);
            parts = rest;
        }
        let (peer, before) = parts.split_last()?;
        let process;
        (cells.user, process, cells.local) = match before {
            [process] => ("", *process, ""),
            [user, process] => (*user, *process, ""),
            [user, process, local] => (*user, *process, *local),
            _ => return None,
        };
        (cells.process, cells.unit) = match process.rfind(" [").filter(|_| process.ends_with(']')) {
            Some(at) => (&process[..at], &process[at + 1..]),
            None => (process, ""),
        };
        let name = before_peer(peer);
        let host = peer[name..].find(' ').map_or(peer.len(), |at| name + at);
        let (host, after) = peer.split_at(host);
        (cells.port, cells.state) = after.split_at(after.rfind(" !").unwrap_or(after.len()));
        cells.peer = host;
        Some(cells)
    }

    /// What stands before the peer, and its name or address.
    #[must_use]
    pub fn peer_parts(&self) -> (&'l str, &'l str) {
        self.peer.split_at(before_peer(self.peer))
    }

    /// Whether the peer is an address rather than a name.
    #[must_use]
    pub fn has_address(&self) -> bool {
        is_address(self.peer_parts().1)
    }

    /// Where the two amounts stand that a line tells in its last part, received and sent.
    #[must_use]
    pub fn amounts(line: &str) -> Option<[Range<usize>; 2]> {
        let (_, last) = line.rsplit_once(SEPARATOR)?;
        let amounts = traffic(last).filter(|_| !last.is_empty())?;
        let before = line.len() - last.len();
        Some(amounts.map(|at| at.start + before..at.end + before))
    }
}

fn before_peer(peer: &str) -> usize {
    BEFORE_PEER.iter().find(|before| peer.starts_with(**before)).map_or(0, |before| before.len())
}

/// Whether this is an address, in brackets or not, with its scope or without.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let text = text.trim_matches(['[', ']', '(', ')']);
    text.split('%').next().is_some_and(|address| address.parse::<IpAddr>().is_ok())
}

/// `18:34`, `18:34:05`, `11-28 18:34`, `  -3d`: what no user, process or peer looks like.
fn is_time(part: &str) -> bool {
    let part = part.trim();
    let is_clock =
        part.contains(':') && part.bytes().all(|byte| byte.is_ascii_digit() || b" :-".contains(&byte));
    let is_age = part.strip_prefix('-').is_some_and(|age| {
        age.len() <= 5
            && age.starts_with(|c: char| c.is_ascii_digit())
            && age
                .trim_start_matches(|c: char| c.is_ascii_digit())
                .bytes()
                .all(|byte| byte.is_ascii_lowercase())
    });
    is_clock || is_age
}

/// Where the two amounts of `v 1.2M / 80.5K ^` stand, of what rules made of it, such as `↓ 1.2M  ↑ 80.5K`, or of nothing.
fn traffic(part: &str) -> Option<[Range<usize>; 2]> {
    if part.is_empty() {
        return Some([0..0, 0..0]);
    }
    let mut amounts = Vec::new();
    for word in part.split_whitespace() {
        let is_mark = word == "v" || !word.contains(|c: char| c.is_alphanumeric());
        if is_amount(word) {
            let at = word.as_ptr() as usize - part.as_ptr() as usize;
            amounts.push(at..at + word.len());
        } else if !is_mark {
            return None;
        }
    }
    amounts.try_into().ok()
}

/// `80.5K`, `912B`, in bits `644kb`
fn is_amount(word: &str) -> bool {
    let number = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &word[number.len()..];
    let is_unit = unit.bytes().all(|byte| byte.is_ascii_uppercase()) || unit.ends_with('b');
    is_unit
        && number.starts_with(|c: char| c.is_ascii_digit())
        && (1..=2).contains(&unit.len())
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && number.matches('.').count() < 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_pipe_falls_apart() {
        let line = "18:34 :: me :: firefox [app-firefox] :: <- example.org (192.0.2.1) 443/udp !reset :: v 1.2M / 80.5K ^";
        assert_eq!(
            Cells::of(line),
            Some(Cells {
                time: "18:34",
                user: "me",
                process: "firefox",
                unit: "[app-firefox]",
                local: "",
                peer: "<- example.org",
                port: " (192.0.2.1) 443/udp",
                state: " !reset",
                traffic: "v 1.2M / 80.5K ^",
                received: "1.2M",
                sent: "80.5K",
            })
        );
    }

    #[test]
    fn what_rules_took_away_is_empty() {
        let cells = |line| Cells::of(line).map(|cells| (cells.time, cells.user, cells.process, cells.peer));
        assert_eq!(cells("18:34 :: ssh :: nas 22 :: "), Some(("18:34", "", "ssh", "nas")));
        assert_eq!(cells("me :: ssh :: nas 22"), Some(("", "me", "ssh", "nas")));
        assert_eq!(
            cells(" -2mo :: me :: ssh :: 10.0.0.1 4000 :: nas 22 :: "),
            Some(("-2mo", "me", "ssh", "nas"))
        );
        assert_eq!(
            cells("1000 :: ssh :: nas 22 :: "),
            Some(("", "1000", "ssh", "nas")),
            "a user without a name"
        );
        assert_eq!(cells("merged by a rule"), None);
        let listener = Cells::of("18:34 :: me :: nc :: listening [::] 8080/udp !closed :: ").unwrap();
        assert_eq!(
            (listener.peer, listener.port, listener.state),
            ("listening [::]", " 8080/udp", " !closed")
        );
        assert_eq!(cells("18:34 :: merged :: v 1B / 2B ^"), None);
        let arrows = Cells::of("18:34 :: me :: nc :: nas 22 :: ↓ 1.2M  ↑ 80.5K").unwrap();
        assert_eq!((arrows.peer, arrows.received, arrows.sent), ("nas", "1.2M", "80.5K"));
        assert_eq!(cells("me :: nc :: 10.0.0.1 22"), Some(("", "me", "nc", "10.0.0.1")), "no amounts");
        for odd in
            ["", " :: ", " ::  :: ", "a :: b :: c :: d :: e :: f :: g", "- :: -x :: <- ", "[ :: ]", "v  / ^"]
        {
            let _ = Cells::of(odd);
        }
    }
}
