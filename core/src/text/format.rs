//! Sizes, ages and addresses as they stand in a line.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Linux counts TCP over several paths (RFC 8684) as a protocol of its own (uapi linux/in.h).
const IPPROTO_MPTCP: u16 = 262;

/// Protocol of a connection as its port shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Port without a suffix; TCP over several paths, too.
    Tcp,
    /// Port with `/udp`.
    Udp,
    /// Any other: its number stands in the port's place, with `/x`.
    Other(u16),
}

impl Protocol {
    /// From an `IPPROTO_*` number.
    #[must_use]
    pub fn from_number(number: u16) -> Self {
        match number {
            6 | IPPROTO_MPTCP => Self::Tcp,
            17 => Self::Udp,
            other => Self::Other(other),
        }
    }
}

/// A byte count in powers of 1024 with one decimal, `.0` dropped: `58B`, `1K`, `5.9K`, `1.5M`.
#[must_use]
pub fn bytes(count: u64) -> impl fmt::Display {
    const UNITS: [&str; 4] = ["K", "M", "G", "T"];
    fmt::from_fn(move |f| {
        if count < 1024 {
            return write!(f, "{count}B");
        }
        let mut value = count as f64 / 1024.0;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let tenths = (value * 10.0).round_ties_even();
        if tenths % 10.0 == 0.0 {
            write!(f, "{:.0}{}", tenths / 10.0, UNITS[unit])
        } else {
            write!(f, "{value:.1}{}", UNITS[unit])
        }
    })
}

/// An age as `-` and one unit, right-aligned to five characters: ` -23h`, `  -3d`, ` -2mo`.
#[must_use]
pub fn relative_time(age: Duration) -> impl fmt::Display {
    const DAY: f64 = 86_400.0;
    const UNITS: [(f64, &str); 7] = [
        (365.25 * DAY, "y"),
        (30.5 * DAY, "mo"),
        (7.0 * DAY, "w"),
        (DAY, "d"),
        (3600.0, "h"),
        (60.0, "m"),
        (1.0, "s"),
    ];
    fmt::from_fn(move |f| {
        let seconds = age.as_secs_f64();
        let (length, unit) = UNITS.into_iter().find(|(length, _)| seconds >= *length).unwrap_or((1.0, "s"));
        let count = (seconds / length).round_ties_even();
        write!(f, "{:>5}", format_args!("-{count:.0}{unit}").to_string())
    })
}

/// `ADDR PORT[/PROTO]`.
#[must_use]
pub fn endpoint(remote: IpAddr, port: u16, protocol: Protocol) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "{}{}", address(remote), port_of(port, protocol)))
}

/// An address. An IPv4-mapped one shows as IPv4, the empty IPv6 address as `[::]`, where it would read as a
/// separator.
#[must_use]
pub fn address(address: IpAddr) -> impl fmt::Display {
    fmt::from_fn(move |f| match address.to_canonical() {
        IpAddr::V6(v6) if v6.is_unspecified() => f.write_str("[::]"),
        address => write!(f, "{address}"),
    })
}

/// What stands behind an address: ` PORT[/PROTO]`.
#[must_use]
pub fn port_of(port: u16, protocol: Protocol) -> impl fmt::Display {
    fmt::from_fn(move |f| match protocol {
        Protocol::Tcp => write!(f, " {port}"),
        Protocol::Udp => write!(f, " {port}/udp"),
        Protocol::Other(number) => write!(f, " {number}/x"),
    })
}
