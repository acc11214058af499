// SPDX-License-Identifier: GPL-3.0-or-later
//! What can be asked of what the pipe has saved.

use std::time::Duration;

use clap::ValueEnum;
use leco_core::text::parse_duration;

/// By what totals are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum By {
    /// Script or process.
    #[default]
    Program,
    /// Unit or container.
    Unit,
    /// User.
    User,
    /// Name, operator or network of the other end.
    Peer,
    /// Port of the service.
    Port,
    /// Machine: a pipe has one, a view may have many.
    #[value(skip)]
    Host,
    /// Hour; after a week a day, without a time.
    Hour,
    /// Day.
    Day,
}

impl By {
    /// Whether rows follow each other in time: all of them are wanted then.
    #[must_use]
    pub fn is_time(self) -> bool {
        matches!(self, Self::Hour | Self::Day)
    }

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Unit => "unit",
            Self::User => "user",
            Self::Peer => "peer",
            Self::Port => "port",
            Self::Host => "host",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// A moment as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So long before now.
    Ago(Duration),
    /// The begin of the day so many days before today.
    Days(i64),
    /// The begin of a day: year, month, day.
    Date(i16, i8, i8),
}

/// Reads `8h`, `today`, `yesterday` or `2026-11-20`.
pub fn parse_moment(text: &str) -> Result<Moment, &'static str> {
    match text {
        "today" => return Ok(Moment::Days(0)),
        "yesterday" => return Ok(Moment::Days(1)),
        _ => {}
    }
    parse_duration(text)
        .map(Moment::Ago)
        .ok()
        .or_else(|| parse_date(text))
        .ok_or("expected a time ago like 8h or 7d, today, yesterday, or a day like 2026-11-20")
}

fn parse_date(text: &str) -> Option<Moment> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some() || ![year, month, day].into_iter().all(is_number) || year.len() != 4 {
        return None;
    }
    let (year, month, day) = (year.parse().ok()?, month.parse::<i8>().ok()?, day.parse::<i8>().ok()?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i8::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=days).contains(&day).then_some(Moment::Date(year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        assert_eq!(parse_moment("8h"), Ok(Moment::Ago(Duration::from_hours(8))));
        assert_eq!(parse_moment("yesterday"), Ok(Moment::Days(1)));
        assert_eq!(parse_moment("2024-02-29"), Ok(Moment::Date(2024, 2, 29)));
        for wrong in [
            "",
            "tomorrow",
            "2026-02-29",
            "2026-13-01",
            "2026-11-00",
            "26-11-20",
            "2026-11-20-1",
            "2026-+1-02",
        ] {
            assert!(parse_moment(wrong).is_err(), "{wrong}");
        }
    }
}
