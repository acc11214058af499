// SPDX-License-Identifier: GPL-3.0-or-later
//! Sizes, ages and addresses as they stand in a line.

use std::fmt::{self, Display};
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
pub fn bytes(count: u64) -> impl Display {
    const UNITS: [&str; 7] = ["B", "K", "M", "G", "T", "P", "E"];
    fmt::from_fn(move |f| {
        let unit = (count.checked_ilog2().unwrap_or(0) as usize / 10).min(UNITS.len() - 1);
        let divisor = 1_u64 << (10 * unit);
        let (whole, rest) = (count / divisor, count % divisor * 10);
        let (tenth, rest) = (rest / divisor, rest % divisor);
        // A half goes to the even tenth.
        let is_up = (rest * 2, tenth % 2) > (divisor, 0);
        let tenths = whole * 10 + tenth + u64::from(is_up);
        write_number(f, tenths / 10)?;
        if !tenths.is_multiple_of(10) {
            f.write_str(".")?;
            write_number(f, tenths % 10)?;
        }
        f.write_str(UNITS[unit])
    })
}

/// Reads a count as [`bytes`] writes it, exact to its decimals, of which there may be more.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let power = ["B", "K", "M", "G", "T", "P", "E"].iter().position(|known| *known == unit)?;
    decimal(number, 1 << (10 * power))
}

/// Reads bytes as people write them: a number, or one with a unit in either case.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    whole_number(text).or_else(|| parse_bytes(&text.to_ascii_uppercase()))
}

/// Digits only: the standard parser also takes a sign.
pub(crate) fn whole_number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))
}

/// Reads a number with or without decimals as so many of what there are `unit` of in one; a rest is left out.
pub(crate) fn decimal(text: &str, unit: u64) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let parts = 10_u128.checked_pow(decimals.len().try_into().ok()?)?;
    let [whole, decimals] =
        [whole, decimals].map(|part| Some(u128::from(whole_number(part)?) * u128::from(unit)));
    u64::try_from(whole? + decimals? / parts).ok()
}

/// Bytes received and sent, as a line of the pipe ends: `v 1.2M / 80.5K ^`.
#[must_use]
pub fn traffic(line: &str) -> Option<(u64, u64)> {
    let (_, traffic) = line.rsplit_once(super::SEPARATOR)?;
    let (rx, tx) = traffic.strip_prefix("v ")?.strip_suffix(" ^")?.split_once(" / ")?;
    Some((parse_bytes(rx)?, parse_bytes(tx)?))
}

/// A line is mostly numbers: without the padding and signs that a formatter minds, it is made in half the time.
fn write_number(f: &mut fmt::Formatter<'_>, number: impl itoa::Integer) -> fmt::Result {
    f.write_str(itoa::Buffer::new().format(number))
}

/// An age as `-` and one unit, right-aligned to five characters: ` -23h`, `  -3d`, ` -2mo`.
#[must_use]
pub fn relative_time(age: Duration) -> impl Display {
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

/// A time in µs as a line tells how long packets take to a peer and back: `1.5ms`, `20ms`.
#[must_use]
pub fn round_trip(us: u64) -> impl Display {
    fmt::from_fn(move |f| match us {
        ..10_000 => write!(f, "{}.{}ms", us / 1000, us % 1000 / 100),
        us => write!(f, "{}ms", us / 1000),
    })
}

/// `ADDR PORT[/PROTO]`.
#[must_use]
pub fn endpoint(remote: IpAddr, port: u16, protocol: Protocol) -> impl Display {
    fmt::from_fn(move |f| {
        address(remote).fmt(f)?;
        port_of(port, protocol).fmt(f)
    })
}

/// An address. An IPv4-mapped one shows as IPv4, the empty IPv6 address as `[::]`, where it would read as a
/// separator.
#[must_use]
pub fn address(address: IpAddr) -> impl Display {
    fmt::from_fn(move |f| match address.to_canonical() {
        IpAddr::V4(v4) => {
            for (index, octet) in v4.octets().into_iter().enumerate() {
                f.write_str(if index > 0 { "." } else { "" })?;
                write_number(f, octet)?;
            }
            Ok(())
        }
        IpAddr::V6(v6) if v6.is_unspecified() => f.write_str("[::]"),
        IpAddr::V6(v6) => v6.fmt(f),
    })
}

/// What stands behind an address: ` PORT[/PROTO]`.
#[must_use]
pub fn port_of(port: u16, protocol: Protocol) -> impl Display {
    fmt::from_fn(move |f| {
        f.write_str(" ")?;
        let (number, suffix) = match protocol {
            Protocol::Tcp => (port, ""),
            Protocol::Udp => (port, "/udp"),
            Protocol::Other(number) => (number, "/x"),
        };
        write_number(f, number)?;
        f.write_str(suffix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_any_number_of_decimals_and_no_sign() {
        for (text, count) in [
            ("58B", 58),
            ("1.5M", 3 << 19),
            ("1.25M", 5 << 18),
            ("1.05G", 1_127_428_915),
            ("0.0009765625M", 1 << 10),
            ("1.5B", 1),
            ("15.999E", 18_445_591_152_204_944_769),
            ("1.0000000000000000000K", 1 << 10),
        ] {
            assert_eq!(parse_bytes(text), Some(count), "{text}");
        }
        for wrong in [
            "", "B", "1", "1.M", ".5M", "+1M", "-1M", "1.+5M", "1.5.5M", "1,5M", "16E", "1e3K", "1 M", "1m",
            "1µ",
        ] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
        let endless = format!("1.{}M", "0".repeat(400));
        assert_eq!(parse_bytes(&endless), None);
        assert_eq!(["500", "1.25m", "2K"].map(parse_size), [Some(500), Some(5 << 18), Some(2048)]);
        assert_eq!(["+500", "", "1.5", "0x1"].map(parse_size), [None; 4]);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_to_a_decimal(count: u64) {
            let text = bytes(count).to_string();
            if let Some(read) = parse_bytes(&text) {
                assert_eq!(bytes(read).to_string(), text, "{count}: {read}");
            } else {
                assert_eq!(text, "16E", "{count}");
            }
        }
    }
}
