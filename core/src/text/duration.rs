// SPDX-License-Identifier: GPL-3.0-or-later
//! Durations as people write them.

use std::time::Duration;

/// Why a text is not a duration. The message leaves the text out: its caller names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected seconds, [[HH:]MM:]SS, or like 1d8h, 5h30m, 7days")]
pub struct DurationError;

/// Reads seconds (`90`), clock form (`1:30`, `2:03:04`) or units (`1d8h`, `1h5min`, `7days`).
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let trimmed = text.trim();
    let seconds = if trimmed.contains(':') { clock(trimmed) } else { units(trimmed) };
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or(DurationError)
}

fn clock(text: &str) -> Option<f64> {
    let parts: Vec<&str> = text.split(':').collect();
    let well_formed = parts.len() <= 3 && parts.iter().all(|part| !part.is_empty());
    well_formed.then(|| parts.iter().try_fold(0.0, |total, part| Some(total * 60.0 + number(part)?)))?
}

fn units(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (value, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let is_alone = rest.len() == text.len() && tail.is_empty();
        total += number(value)? * unit_seconds(unit, is_alone)?;
        rest = tail.trim_start();
    }
    (!text.is_empty()).then_some(total)
}

/// Plain decimal digits only: the standard parser would also take `inf`, `1e9` and signs.
fn number(text: &str) -> Option<f64> {
    let plain = text.chars().all(|c| c.is_ascii_digit() || c == '.')
        && text.starts_with(|c: char| c.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// A bare number is seconds only if it is all there is: `1h30` would be a guess.
fn unit_seconds(unit: &str, is_alone: bool) -> Option<f64> {
    const HOUR: f64 = 3600.0;
    const DAY: f64 = 24.0 * HOUR;
    Some(match unit.to_ascii_lowercase().as_str() {
        "" if is_alone => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        "w" | "wk" | "wks" | "week" | "weeks" => 7.0 * DAY,
        "mo" | "month" | "months" => 30.5 * DAY,
        "y" | "yr" | "yrs" | "year" | "years" => 365.25 * DAY,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "h", "1h30", "-5", "1x", "1:2:3:4", ":30", "inf", "1e9", "4 h x", "9e99y"] {
            assert_eq!(parse_duration(text), Err(DurationError), "{text}");
        }
        let too_long = "9".repeat(400);
        assert!(parse_duration(&too_long).is_err());
    }

    #[test]
    fn spaces_and_fractions() {
        assert_eq!(parse_duration(" 1h 5 min "), Ok(Duration::from_secs(3900)));
        assert_eq!(parse_duration("0.5"), Ok(Duration::from_millis(500)));
    }
}
