// SPDX-License-Identifier: GPL-3.0-or-later
//! Colours as they stand in a config, and how well one can be read upon another.

use std::sync::LazyLock;

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

    /// Without its alpha: red, green, blue.
    #[must_use]
    pub fn rgb(self) -> [u8; 3] {
        [self.red, self.green, self.blue]
    }

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

/// So much of 255 of one colour (red, green, blue) over another.
#[must_use]
pub fn mix(below: [u8; 3], above: [u8; 3], alpha: u8) -> [u8; 3] {
    let part = |channel: u8, of: u8| u16::from(channel) * u16::from(of) / 255;
    std::array::from_fn(|at| {
        u8::try_from(part(above[at], alpha) + part(below[at], 255 - alpha)).unwrap_or(u8::MAX)
    })
}

/// Relative luminance of WCAG 2.2.
fn luminance(rgb: [u8; 3]) -> f32 {
    static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
        std::array::from_fn(|channel| {
            let channel = f32::from(u8::try_from(channel).unwrap_or(u8::MAX)) / 255.0;
            if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
        })
    });
    let [red, green, blue] = rgb.map(|channel| LINEAR[usize::from(channel)]);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/// Contrast of WCAG 2.2 between two colours (red, green, blue), from 1 to 21.
#[must_use]
pub fn contrast(a: [u8; 3], b: [u8; 3]) -> f32 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_on_white_has_the_most_contrast() {
        assert!((contrast([0; 3], [255; 3]) - 21.0).abs() < 1e-3);
        assert!((contrast([255; 3], [255; 3]) - 1.0).abs() < 1e-6);
        // WebAIM's example of a grey that just passes on white.
        assert!((contrast([0x76; 3], [255; 3]) - 4.54).abs() < 0.01);
        assert_eq!((mix([0; 3], [255; 3], 255), mix([0; 3], [255; 3], 0)), ([255; 3], [0; 3]));
    }

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
