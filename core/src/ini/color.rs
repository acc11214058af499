// SPDX-License-Identifier: GPL-3.0-or-later
//! Colours as they stand in a config.

/// Red, green, blue, alpha.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rgba {
    /// 0–255.
    pub red: u8,
    /// 0–255.
    pub green: u8,
    /// 0–255.
    pub blue: u8,
    /// Opacity, 0–255.
    pub alpha: u8,
}

impl Rgba {
    /// Opaque black.
    pub const BLACK: Self = Self { red: 0, green: 0, blue: 0, alpha: 255 };

    /// Reads 3, 4, 6 or 8 hexadecimal digits, with or without a `#`: `fff`, `#000c0866`. Without alpha the
    /// colour is opaque; of the short forms each digit counts twice.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text
            .strip_prefix('#')
            .unwrap_or(text)
            .chars()
            .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()?;
        let channels: Vec<u8> = match digits.len() {
            3 | 4 => digits.iter().map(|digit| digit * 17).collect(),
            6 | 8 => digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect(),
            _ => return None,
        };
        let alpha = channels.get(3).copied().unwrap_or(255);
        Some(Self { red: channels[0], green: channels[1], blue: channels[2], alpha })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let rgba = |red, green, blue, alpha| Some(Rgba { red, green, blue, alpha });
        assert_eq!(Rgba::parse("000c0866"), rgba(0, 12, 8, 0x66));
        assert_eq!(Rgba::parse("#FFffFF"), rgba(255, 255, 255, 255));
        assert_eq!(Rgba::parse("f0a"), rgba(255, 0, 0xaa, 255));
        assert_eq!(Rgba::parse("#f0a8"), rgba(255, 0, 0xaa, 0x88));
        for text in ["", "#", "ff", "fffff", "00000g", "0x123456", "+12345", "żół"] {
            assert_eq!(Rgba::parse(text), None, "{text}");
        }
    }
}
