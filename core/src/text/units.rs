// SPDX-License-Identifier: GPL-3.0-or-later
//! In which units amounts are shown.

use std::borrow::Cow;
use std::fmt::{self, Display};

use super::{Cells, bytes, parse_bytes};

/// What amounts of traffic are counted in where they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Units {
    /// Bytes in powers of 1024: `1.5M`.
    #[default]
    Bytes,
    /// Bits in powers of 1000: `12Mb`.
    Bits,
}

impl Units {
    /// Every name.
    pub const NAMES: &[&str] = &["bytes", "bits"];

    /// By its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "bytes" => Some(Self::Bytes),
            "bits" => Some(Self::Bits),
            _ => None,
        }
    }

    /// So many bytes.
    #[must_use]
    pub fn amount(self, count: u64) -> impl Display {
        fmt::from_fn(move |f| match self {
            Self::Bytes => bytes(count).fmt(f),
            Self::Bits => bits(count).fmt(f),
        })
    }

    /// A line whose last part tells amounts in bytes, in these units.
    #[must_use]
    pub fn of_line(self, line: &str) -> Cow<'_, str> {
        let amounts = || {
            let [received, sent] = Cells::amounts(line)?;
            let of = |at: &std::ops::Range<usize>| parse_bytes(line.get(at.clone())?);
            Some(((of(&received)?, of(&sent)?), received, sent))
        };
        match amounts().filter(|_| self == Self::Bits) {
            Some(((rx, tx), received, sent)) => format!(
                "{}{}{}{}{}",
                &line[..received.start],
                bits(rx),
                &line[received.end..sent.start],
                bits(tx),
                &line[sent.end..]
            )
            .into(),
            None => line.into(),
        }
    }
}

/// Bits of so many bytes, with a decimal below 10 where it is not 0: `464b`, `8.2kb`, `12Mb`. Lines tell bytes to two
/// digits at least, so that more would be made up.
fn bits(count: u64) -> impl Display {
    const UNITS: [&str; 7] = ["b", "kb", "Mb", "Gb", "Tb", "Pb", "Eb"];
    fmt::from_fn(move |f| {
        let bits = u128::from(count) * 8;
        let mut unit = bits.checked_ilog10().unwrap_or(0) / 3;
        let rounded = |parts: u128, unit| {
            let divisor = 1000_u128.pow(unit);
            (bits * parts + divisor / 2) / divisor
        };
        if rounded(1, unit) >= 1000 {
            unit += 1;
        }
        let (whole, tenths, name) = (rounded(1, unit), rounded(10, unit), UNITS[unit as usize]);
        match (tenths / 10, tenths % 10) {
            (ones @ 0..10, tenth @ 1..) => write!(f, "{ones}.{tenth}{name}"),
            _ => write!(f, "{whole}{name}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_in_thousands() {
        let told = |count| Units::Bits.amount(count).to_string();
        for (count, expected) in [
            (0, "0b"),
            (58, "464b"),
            (124, "992b"),
            (125, "1kb"),
            (1024, "8.2kb"),
            (1249, "10kb"),
            (124_937, "999kb"),
            (124_938, "1Mb"),
            (1_500_000, "12Mb"),
            (1 << 40, "8.8Tb"),
            (u64::MAX, "148Eb"),
        ] {
            assert_eq!(told(count), expected, "{count}");
        }
        assert_eq!(Units::Bytes.amount(1536).to_string(), "1.5K");
    }

    #[test]
    fn amounts_of_a_line_change_and_nothing_else() {
        let line = "18:32 :: me :: 5K [1M / 2M] :: nas 22 :: v 1.2M / 58B ^";
        assert_eq!(Units::Bytes.of_line(line), line);
        assert_eq!(Units::Bits.of_line(line), "18:32 :: me :: 5K [1M / 2M] :: nas 22 :: v 10Mb / 464b ^");
        assert_eq!(Units::Bits.of_line("ssh :: nas :: ↓ 1K  ↑ 2K"), "ssh :: nas :: ↓ 8.2kb  ↑ 16kb");
        for other in [
            "",
            "a",
            "a :: b",
            "me :: ssh :: nas 22 :: ",
            "v 1K / 2K",
            "a :: v 1 / 2 ^",
            "a :: v 99999999999E / 1B ^",
        ] {
            assert_eq!(Units::Bits.of_line(other), other);
        }
    }

    #[test]
    fn columns_find_bits() {
        let line = Units::Bits.of_line("18:32 :: me :: ssh :: nas 22 :: v 1.2M / 58B ^").into_owned();
        let cells = Cells::of(&line).unwrap();
        assert_eq!((cells.peer, cells.received, cells.sent), ("nas", "10Mb", "464b"));
    }
}
