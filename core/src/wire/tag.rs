// SPDX-License-Identifier: GPL-3.0-or-later
//! The short coloured tag by which an eye tells one connection from another.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leco_os::clock::BootNs;
use siphasher::sip::SipHasher24;

/// Key of the hash: tags look the same in every frontend, the original's included.
const KEY: &[u8; 16] = b"leco-sdl-widget1";
/// Perceived brightness (0–255) that a tag has at least, to be readable on a dark background.
const MIN_BRIGHTNESS: u32 = 140;

/// How much of its own colour a tag has beside that of the text, of 255: it tells lines apart and says no more.
pub const TAG_SHADE: u8 = 112;

/// A tag's text and colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// As configured, such as `#k3F`.
    pub text: String,
    /// Red, green, blue.
    pub rgb: [u8; 3],
}

impl Tag {
    /// SipHash-2-4 of the decimal `ns`, 8 bytes little-endian, URL-safe base64: the first `chars` of it
    /// stand for `$1` in `format`, its first three bytes are the colour. The `host` stands before it.
    #[must_use]
    pub fn new(ns: BootNs, chars: usize, format: &str, host: Option<&str>) -> Self {
        Self::of(&ns.to_string(), chars, format, host)
    }

    /// The same of a connection of another machine or boot, whose clock may have said the same.
    #[must_use]
    pub fn of_boot(boot: &str, ns: BootNs, chars: usize, format: &str, host: Option<&str>) -> Self {
        Self::of(&format!("{boot}-{ns}"), chars, format, host)
    }

    /// A symbol that a style has for such lines; it has no colour of its own.
    #[must_use]
    pub fn icon(icon: &str, host: Option<&str>) -> Self {
        Self { text: host.unwrap_or_default().to_owned() + icon, rgb: [0xff; 3] }
    }

    fn of(identity: &str, chars: usize, format: &str, host: Option<&str>) -> Self {
        let hash = SipHasher24::new_with_key(KEY).hash(identity.as_bytes()).to_le_bytes();
        let encoded = URL_SAFE_NO_PAD.encode(hash);
        let mut text = host.unwrap_or_default().to_owned();
        if chars > 0 {
            text += &format.replace("$1", &encoded[..chars.min(encoded.len())]);
        }
        Self { text, rgb: lift([hash[0], hash[1], hash[2]]) }
    }
}

/// Mixes white into a colour until it is bright enough (weights of ITU-R BT.601).
fn lift(rgb: [u8; 3]) -> [u8; 3] {
    let [red, green, blue] = rgb.map(u32::from);
    let brightness = (299 * red + 587 * green + 114 * blue) / 1000;
    if brightness >= MIN_BRIGHTNESS {
        return rgb;
    }
    let missing = MIN_BRIGHTNESS - brightness;
    rgb.map(|channel| {
        let lifted = u32::from(channel) + (255 - u32::from(channel)) * missing / (255 - brightness);
        u8::try_from(lifted).unwrap_or(u8::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_same_for_the_same_connection() {
        let tag = Tag::new(123_456_789, 3, "#$1", None);
        assert_eq!(tag, Tag::new(123_456_789, 3, "#$1", None));
        assert_eq!(tag.text.chars().count(), 4);
        assert_ne!(tag.text, Tag::new(123_456_790, 3, "#$1", None).text);
        assert_eq!(Tag::new(1, 0, "#$1", None).text, "");
        let other = Tag::of_boot("a", 123_456_789, 3, "#$1", None);
        assert!(other != tag && other != Tag::of_boot("b", 123_456_789, 3, "#$1", None));
    }

    #[test]
    fn dark_colours_become_readable() {
        for rgb in [[0, 0, 0], [0, 0, 255], [90, 20, 20], [255, 255, 255]] {
            let [red, green, blue] = lift(rgb).map(u32::from);
            assert!((299 * red + 587 * green + 114 * blue) / 1000 + 2 >= MIN_BRIGHTNESS, "{rgb:?}");
        }
    }
}
