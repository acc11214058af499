// SPDX-License-Identifier: GPL-3.0-or-later
//! Numbers of connections, compared: `rtt>50ms`, `bytes>=1M`, `age<10s`.

use std::time::Duration;

use crate::text::{decimal, parse_duration, parse_size, whole_number};
use crate::wire::details::ConnectionDetails;

/// Numbers that can be compared, with what they are.
pub const NUMBERS: [(&str, &str); 6] = [
    ("rtt", "round trip of TCP: rtt>50ms"),
    ("retrans", "segments that TCP sent again: retrans>0"),
    ("bytes", "traffic in both directions: bytes>1M"),
    ("rx", "bytes received: rx>=100K"),
    ("tx", "bytes sent"),
    ("age", "time since it began: age<10s"),
];

/// A number and what it has to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Comparison {
    of: Number,
    is_more: bool,
    /// Whether it may be just as much.
    or_equal: bool,
    than: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    /// In µs.
    Rtt,
    Retrans,
    Bytes,
    Received,
    Sent,
    /// In µs.
    Age,
}

impl Comparison {
    /// Reads one; `None` where a text is none, and an error where it is one that means nothing.
    pub(super) fn parse(text: &str) -> Option<Result<Self, String>> {
        let (name, rest) = text.split_at(text.find(['<', '>', '='])?);
        let of = match name {
            "rtt" => Number::Rtt,
            "retrans" => Number::Retrans,
            "bytes" => Number::Bytes,
            "rx" => Number::Received,
            "tx" => Number::Sent,
            "age" => Number::Age,
            _ => return None,
        };
        let (sign, value) = rest.split_at(1);
        if sign == "=" {
            return Some(Err(format!(
                "{name} is seldom just so much: write {name}>{value} or {name}<{value}"
            )));
        }
        let (or_equal, value) = value.strip_prefix('=').map_or((false, value), |value| (true, value));
        let (than, example) = match of {
            Number::Rtt | Number::Age => (microseconds(value), "a duration like 50ms, 10s or 1h"),
            Number::Retrans => (whole_number(value), "a number"),
            Number::Bytes | Number::Received | Number::Sent => {
                (parse_size(value), "bytes like 500, 100K or 1.5M")
            }
        };
        let read = than.map(|than| Self { of, is_more: sign == ">", or_equal, than });
        Some(read.ok_or_else(|| format!("{name} is compared with {example}")))
    }

    /// What is not known is neither more nor less.
    pub(super) fn holds(&self, details: &ConnectionDetails) -> bool {
        let numbers = &details.numbers;
        let number = match self.of {
            Number::Rtt => numbers.rtt_us,
            Number::Retrans => numbers.retrans,
            Number::Bytes => numbers.rx.zip(numbers.tx).map(|(rx, tx)| rx.saturating_add(tx)),
            Number::Received => numbers.rx,
            Number::Sent => numbers.tx,
            Number::Age => return details.age.is_some_and(|age| self.holds_at(age)),
        };
        number.is_some_and(|number| self.is_so(number))
    }

    /// Of an age.
    pub(super) fn holds_at(&self, age: Duration) -> bool {
        self.is_so(u64::try_from(age.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn is_of_age(&self) -> bool {
        self.of == Number::Age
    }

    fn is_so(&self, number: u64) -> bool {
        let is_beyond = if self.is_more { number > self.than } else { number < self.than };
        is_beyond || (self.or_equal && number == self.than)
    }

    /// Fields of events that have a say in it; of traffic a line tells, too.
    pub(super) fn fields(&self) -> &'static [&'static str] {
        match self.of {
            Number::Rtt => &["rtt_us"],
            Number::Retrans => &["retrans"],
            Number::Bytes | Number::Received | Number::Sent | Number::Age => &[],
        }
    }
}

fn microseconds(text: &str) -> Option<u64> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (number, unit) = text.split_at(text.find(|c| !is_number(c)).unwrap_or(text.len()));
    match unit {
        "ms" => decimal(number, 1000),
        "us" | "µs" => decimal(number, 1),
        _ => u64::try_from(parse_duration(text).ok()?.as_micros()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::details::Numbers;

    #[test]
    fn numbers_are_compared_in_their_units() {
        let details = ConnectionDetails {
            numbers: Numbers { rtt_us: Some(50_000), retrans: Some(3), rx: Some(1 << 20), tx: Some(0) },
            age: Some(Duration::from_secs(10)),
            ..ConnectionDetails::default()
        };
        for (text, holds) in [
            ("rtt>50ms", false),
            ("rtt>=50ms", true),
            ("rtt>49999us", true),
            ("rtt<50.1ms", true),
            ("rtt>49.75ms", true),
            ("rtt<1s", true),
            ("retrans>2", true),
            ("retrans<=3", true),
            ("retrans<3", false),
            ("bytes>1M", false),
            ("bytes>=1m", true),
            ("bytes>1023.9K", true),
            ("bytes<1.05M", true),
            ("bytes>0.96M", true),
            ("rx>1000000", true),
            ("tx>0", false),
            ("tx>=0", true),
            ("age<10s", false),
            ("age<=10", true),
            ("age<1:00", true),
            ("age>9999ms", true),
        ] {
            assert_eq!(Comparison::parse(text).unwrap().unwrap().holds(&details), holds, "{text}");
            let nothing = ConnectionDetails::default();
            assert!(!Comparison::parse(text).unwrap().unwrap().holds(&nothing), "{text} of nothing");
        }
    }

    #[test]
    fn other_texts_are_none_and_what_means_nothing_is_named() {
        for other in ["rtt", "a>b", "rtts>1", ">1", "<- ", ""] {
            assert_eq!(Comparison::parse(other), None, "{other}");
        }
        for (text, words) in [
            ("rtt>", "rtt is compared with a duration"),
            ("age<soon", "age is compared with a duration"),
            ("retrans>1K", "with a number"),
            ("retrans>+1", "with a number"),
            ("bytes>+1M", "with bytes like"),
            ("rtt>+1ms", "a duration"),
            ("bytes>much", "with bytes like"),
            ("rtt>99999999999999999999ms", "a duration"),
            ("rtt=80ms", "write rtt>80ms or rtt<80ms"),
        ] {
            assert!(Comparison::parse(text).unwrap().unwrap_err().contains(words), "{text}");
        }
    }
}
