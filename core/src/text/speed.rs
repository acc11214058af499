// SPDX-License-Identifier: GPL-3.0-or-later
//! How fast a recording is played.

/// Slowest and fastest, as factors.
pub const SPEEDS: (f64, f64) = (1.0 / 16.0, 1024.0);

/// Reads how many times as fast a recording is played.
pub fn parse_speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed| (SPEEDS.0..=SPEEDS.1).contains(speed));
    speed.ok_or_else(|| format!("expected a number from {} to {}", SPEEDS.0, SPEEDS.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_number_that_can_be_played() {
        for refused in ["nan", "-1", "0", "inf", "1e9", "0.01", "", "fast", "1x"] {
            assert_eq!(
                parse_speed(refused).unwrap_err(),
                "expected a number from 0.0625 to 1024",
                "{refused}"
            );
        }
        assert_eq!((parse_speed("0.1"), parse_speed("1024")), (Ok(0.1), Ok(1024.0)));
    }
}
