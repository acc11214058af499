// SPDX-License-Identifier: GPL-3.0-or-later
//! Names of hosts: which ones count, and how they are shown.

use std::borrow::Cow;

use idna::AsciiDenyList;
use idna::uts46::{ErrorPolicy, Hyphens, ProcessingSuccess, Uts46};
use unicode_security::{GeneralSecurityProfile, MixedScript};

/// Characters of a name, without the final dot (RFC 1035, 2.3.4).
const MAX_NAME: usize = 253;
/// Characters of each of its labels (ibid.).
const MAX_LABEL: usize = 63;
/// How labels begin that stand for other characters than ASCII's (RFC 5890, 2.3.2.1).
const ENCODED: &str = "xn--";
/// Characters of names that look like some of ASCII (UTS 39, 4: those whose skeleton is ASCII), without capitals. The whole
/// table of what looks alike would be half a megabyte, of which a third is in memory whether it is looked at or not.
const CONFUSABLE: &str = "\
    \u{e6}\u{fe}\u{131}\u{153}\u{192}\u{263}\u{269}\u{28b}\u{2bb}\u{2bc}\u{3b1}\u{3b3}\u{3b9}\u{3bd}\
    \u{3bf}\u{3c1}\u{3c3}\u{3c5}\u{430}\u{431}\u{433}\u{435}\u{43e}\u{440}\u{441}\u{443}\u{445}\
    \u{448}\u{455}\u{456}\u{458}\u{491}\u{4af}\u{4bb}\u{4bd}\u{4cf}\u{4d5}\u{561}\u{563}\u{566}\
    \u{570}\u{575}\u{578}\u{57c}\u{57d}\u{581}\u{582}\u{584}\u{585}\u{586}\u{5d5}\u{5d8}\u{5d9}\
    \u{5df}\u{5e1}\u{5f3}\u{5f4}\u{627}\u{647}\u{660}\u{661}\u{665}\u{667}\u{6be}\u{6c1}\u{6d5}\
    \u{6f0}\u{6f1}\u{6f5}\u{6f7}\u{903}\u{966}\u{969}\u{9e6}\u{9ea}\u{9ed}\u{a83}\u{ae6}\u{ae9}\
    \u{b03}\u{b20}\u{c02}\u{c82}\u{ce6}\u{d02}\u{d1f}\u{d20}\u{d82}\u{e50}\u{ed0}\u{1004}\u{101d}\
    \u{1040}\u{105a}\u{10e7}\u{1200}\u{12d0}\u{17e0}\u{2010}\u{2019}\u{3007}\u{30a0}\u{30ce}\u{4e05}\
    \u{4e2b}\u{4e36}\u{4e3f}";

/// A name in lower case, without the final dot; `None` for one that no host has (RFC 1123, 2.1, and `_` of services).
/// What ends in a number is an address, whatever way it is written (URL Standard, "ends in a number").
#[must_use]
pub fn host_name(name: &str) -> Option<String> {
    let text = name.strip_suffix('.').unwrap_or(name);
    let is_in_names = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(is_in_names);
    let last = text.rsplit('.').next()?;
    (text.len() <= MAX_NAME && text.split('.').all(is_label) && !is_number(last))
        .then(|| text.to_ascii_lowercase())
}

fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    label.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A name for people: labels that are encoded are decoded where nobody can take them for others.
#[must_use]
pub fn shown(name: &str) -> Cow<'_, str> {
    if !name.split('.').any(|label| label.starts_with(ENCODED)) {
        return name.into();
    }
    let is_clear = |label: &[char], _: &[char], _| is_clear(&label.iter().collect::<String>());
    let mut decoded = String::new();
    // What is no valid encoding stands for nothing, nor does a name whose directions would mix (RFC 5893). The function
    // for people, which marks what is wrong, asserts that nothing is if all labels stay as they are.
    let outcome = Uts46::new().process(
        name.as_bytes(),
        AsciiDenyList::EMPTY,
        Hyphens::Allow,
        ErrorPolicy::FailFast,
        is_clear,
        &mut decoded,
        None,
    );
    if let Ok(ProcessingSuccess::WroteToSink) = outcome { decoded.into() } else { name.into() }
}

/// Whether a label is of one script (UTS 39, 5.1), of characters that are in use in names (UTS 39, 3.1), and no look-alike
/// of one in ASCII.
fn is_clear(label: &str) -> bool {
    label.is_single_script()
        && label.chars().all(GeneralSecurityProfile::identifier_allowed)
        && !label.chars().all(|character| character.is_ascii() || CONFUSABLE.contains(character))
}

#[cfg(test)]
mod tests {
    use unicode_security::confusable_detection::skeleton;

    use super::*;

    /// If it is not so any more, Unicode has more of them: write down what the message shows.
    #[test]
    fn confusable_characters_are_those_of_unicode() {
        let is_confusable = |character: &char| {
            character.identifier_allowed()
                && character.to_lowercase().eq([*character])
                && skeleton(character.encode_utf8(&mut [0; 4])).all(|character| character.is_ascii())
        };
        let of_unicode: String = ('\u{80}'..=char::MAX).filter(is_confusable).collect();
        assert_eq!(of_unicode, CONFUSABLE, "{}", of_unicode.escape_unicode());
    }

    #[test]
    fn names_of_hosts_count() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", &label[..61]);
        for (name, expected) in [
            ("WWW.Example.test.", "www.example.test"),
            ("_dmarc.example.test", "_dmarc.example.test"),
            ("a-b", "a-b"),
            ("localhost", "localhost"),
            ("1.example", "1.example"),
            ("8.8.8.8.in-addr.arpa", "8.8.8.8.in-addr.arpa"),
            ("0x7f.test", "0x7f.test"),
            ("0xyz", "0xyz"),
            ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
            (&longest, &longest),
        ] {
            assert_eq!(host_name(name).as_deref(), Some(expected), "{name}");
        }
        let too_long = format!("{longest}a");
        let long_label = format!("{label}a.test");
        for name in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a...",
            "8.8.8.8",
            "8.8.8.8.",
            "1",
            "a.1",
            "127.0.0.0x1",
            "0X7F",
            "0x",
            "::1",
            "[::1]",
            "a b",
            "a\0",
            "\u{1b}[2J",
            "m\u{fc}nchen.de",
            "a/b",
            "a:443",
            &too_long,
            &long_label,
        ] {
            assert_eq!(host_name(name), None, "{name:?}");
        }
    }

    /// Labels as `idna` encodes them, whatever it thinks of their look.
    fn encoded(name: &str) -> String {
        let encoded = idna::domain_to_ascii(name).unwrap();
        assert!(encoded.contains(ENCODED), "{name}");
        encoded
    }

    #[test]
    fn names_of_one_script_are_decoded() {
        for name in [
            "m\u{fc}nchen.de",
            "www.b\u{fc}cher.example",
            "\u{43f}\u{440}\u{438}\u{43c}\u{435}\u{440}.\u{440}\u{444}",
            "\u{3c0}\u{3b1}\u{3c1}\u{3ac}\u{3b4}\u{3b5}\u{3b9}\u{3b3}\u{3bc}\u{3b1}.test",
            "\u{4f8b}\u{5b50}.\u{6d4b}\u{8bd5}",
            // Han, Hiragana and Katakana are written together.
            "\u{65e5}\u{672c}\u{306e}\u{30c9}\u{30e1}\u{30a4}\u{30f3}.jp",
            "\u{30b3}\u{30fc}\u{30d2}\u{30fc}.jp",
            "\u{c608}\u{c2dc}.kr",
            "\u{645}\u{62b}\u{627}\u{644}.\u{625}\u{62e}\u{62a}\u{628}\u{627}\u{631}",
            "\u{5d3}\u{5d5}\u{5d2}\u{5de}\u{5d4}.test",
            "\u{909}\u{926}\u{93e}\u{939}\u{930}\u{923}.test",
            "\u{e15}\u{e31}\u{e27}\u{e2d}\u{e22}\u{e48}\u{e32}\u{e07}.test",
            "\u{43f}\u{440}\u{438}\u{43c}\u{435}\u{440}-1.test",
        ] {
            assert_eq!(shown(&encoded(name)), name);
        }
    }

    #[test]
    fn confusable_names_stay_encoded() {
        for name in [
            // Cyrillic a in a Latin word.
            "\u{430}pple.com",
            // All Cyrillic: a, er, er, palochka, ie.
            "\u{430}\u{440}\u{440}\u{4cf}\u{435}.com",
            // Greek omicron among Latin, and a word of nothing else.
            "g\u{3bf}\u{3bf}gle.com",
            "\u{3bf}\u{3bf}.test",
            // Latin alpha, and i without its dot.
            "\u{251}pple.com",
            "p\u{131}zza.com",
            "\u{3c1}\u{430}.test",
            // Letters that nobody writes with any more.
            "\u{10330}\u{10331}.test",
        ] {
            let encoded = encoded(name);
            assert_eq!(shown(&encoded), encoded, "{name}");
        }
    }

    #[test]
    fn each_label_is_decoded_for_itself() {
        let mixed = encoded("\u{430}\u{440}\u{440}\u{4cf}\u{435}.m\u{fc}nchen.de");
        let (first, _) = mixed.split_once('.').unwrap();
        assert_eq!(shown(&mixed), format!("{first}.m\u{fc}nchen.de"));
    }

    #[test]
    fn what_is_no_encoding_stays_as_it_is() {
        for name in [
            "example.test",
            "_srv.example",
            "xn--",
            "xn---",
            "xn--a",
            "xn--999999999.test",
            "xn--mnchen-3ya_.test",
            // Upper case, a space, a line feed, and what turns the writing round: none can be in a name.
            "xn--Mnchen-3ya",
            "xn--ab-e3b",
            "xn--a-ecp.ru",
            "a.xn--0ca24w-",
        ] {
            let shown = shown(name);
            assert!(shown == name || !shown.chars().any(char::is_control), "{name} {shown:?}");
            assert!(!shown.contains(char::is_whitespace), "{name} {shown:?}");
            assert!(!shown.contains('\u{fffd}'), "{name} {shown:?}");
        }
        for name in ["xn--999999999.test", "aob.xn--inb.2va"] {
            assert_eq!(shown(name), name);
        }
    }
}
