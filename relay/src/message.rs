// SPDX-License-Identifier: GPL-3.0-or-later
//! An event on its way: under which subject, which connection it is of, and by what a double is known.

use std::collections::BTreeMap;
use std::hash::Hasher;

use hashlink::LruCache;
use leco_core::source::MAX_PARTIAL_LINE;
use leco_core::wire::details::ConnectionDetails;
use leco_core::wire::event::{Event, MalformedEvent};
use serde_json::value::RawValue;
use siphasher::sip::SipHasher13;

/// First word of all subjects.
pub(crate) const ROOT: &str = "leco";
/// What events are called that are of no connection.
pub(crate) const TOTALS: &str = "totals of the time before";
/// Machines whose clocks are remembered.
const CLOCKS: usize = 1024;
/// Characters of a subject's token.
const TOKEN: usize = 64;
/// Digits of a boot's id that events have.
const BOOT_DIGITS: usize = 8;

/// An event to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// `leco.HOST.UNIT`.
    pub(crate) subject: String,
    /// `BOOT-NS-NS_TRX-HASH`: the same for the same event, however often it is read.
    pub(crate) id: String,
    /// The event with the clock of its machine.
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// Boot and begin of its connection.
    pub(crate) fn connection(&self) -> &str {
        let mut parts = self.id.rsplitn(3, '-');
        parts.nth(2).unwrap_or(&self.id)
    }
}

/// Makes messages of lines.
#[derive(Debug)]
pub(crate) struct Maker {
    host: String,
    clocks: LruCache<String, (String, String)>,
}

impl Maker {
    /// Events that do not name their machine are of this one.
    pub(crate) fn new(host: &str) -> Self {
        Self { host: host.to_owned(), clocks: LruCache::new(CLOCKS) }
    }

    /// Reads a line; `None` for stored totals, which are of no connection: of their parts the latest alone would arrive. Each
    /// message has the clock of its machine, since a subscriber may start anywhere in the stream.
    pub(crate) fn make(&mut self, line: &[u8]) -> Result<Option<Message>, MalformedEvent> {
        let event = Event::parse(line)?;
        if event.is_history.0 {
            return Ok(None);
        }
        // What names several boots is refused by those who read it.
        let boot = boot_of(&event).ok().flatten();
        if let (Some(boot), Some(clock)) = (boot, &event.clock.0)
            && let Ok(text) = serde_json::to_string(clock)
        {
            self.clocks.insert(boot.to_owned(), (clock.host.clone(), text));
        }
        let clock = boot.and_then(|boot| self.clocks.get(boot));
        let details = ConnectionDetails::of(&event.line, str::from_utf8(line).ok());
        let clock_host = clock.map(|(host, _)| host.as_str());
        let hosts = [details.host.as_str(), clock_host.unwrap_or_default(), &self.host];
        let host = token(hosts.into_iter().find(|host| !host.is_empty()).unwrap_or_default());
        let boot = boot.map_or_else(|| boot_of_host(&host), ToOwned::to_owned);
        let unit = details.units.last().map_or("", String::as_str);
        let hash = hash_of(line);
        Ok(Some(Message {
            subject: format!("{ROOT}.{host}.{}", token(unit)),
            id: format!("{boot}-{}-{}-{hash:016x}", event.ns, event.ns_trx),
            payload: clock
                .filter(|_| event.clock.0.is_none())
                .and_then(|(_, clock)| with_fields(line, &format!("\"clock\":{clock}")))
                .unwrap_or_else(|| line.to_vec()),
        }))
    }
}

/// An event names boots that differ, or what is no id of a boot: readers could take it for one of any machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotOneBoot;

/// First digits of the id of the boot of an event, where it says them: by its clock, `boot` or `key`, of which readers take
/// one.
pub(crate) fn boot_of(event: &Event) -> Result<Option<&str>, NotOneBoot> {
    let clock = event.clock.0.as_ref().map_or("", |clock| &clock.boot);
    let named = [clock, &event.boot.0].into_iter().filter(|boot| !boot.is_empty());
    // A key of another writer may have any form.
    let key = event.key.0.split_once('-').and_then(|(boot, _)| digits(boot));
    named.map(digits).chain(key.map(Some)).try_fold(None, |known, boot| {
        let boot = boot.ok_or(NotOneBoot)?;
        known.is_none_or(|known| known == boot).then_some(Some(boot)).ok_or(NotOneBoot)
    })
}

fn digits(boot: &str) -> Option<&str> {
    boot.get(..BOOT_DIGITS).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What stands for the boot of events that name none, of a machine as in subjects. None can name it by itself.
pub(crate) fn boot_of_host(host: &str) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(host.as_bytes());
    format!("@{:016x}", hasher.finish())
}

/// A word as a token of a subject: NATS has its own meaning for dots, spaces, `*` and `>`.
pub(crate) fn token(word: &str) -> String {
    let is_safe = |char: char| char.is_ascii_alphanumeric() || "-_@:".contains(char);
    let safe: String = word.chars().take(TOKEN).map(|char| if is_safe(char) { char } else { '_' }).collect();
    if safe.is_empty() { "-".to_owned() } else { safe }
}

/// Tells what an event says from what another one of the same moment says, such as one that has a name now. How the clock
/// goes is not part of it.
pub(crate) fn hash_of(line: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(line).unwrap_or_default();
    for (name, value) in fields.iter().filter(|(name, _)| *name != "clock") {
        for part in [name, value.get()] {
            hasher.write(part.as_bytes());
            hasher.write_u8(0xff);
        }
    }
    hasher.finish()
}

/// Adds fields at the end, unless the line would be too long for those who read it.
pub(crate) fn with_fields(line: &[u8], more: &str) -> Option<Vec<u8>> {
    let fields = line.trim_ascii_end().strip_suffix(b"}")?;
    let is_short = fields.len() + more.len() + 3 < MAX_PARTIAL_LINE;
    is_short.then(|| [fields, b",", more.as_bytes(), b"}"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(maker: &mut Maker, line: &str) -> Message {
        maker.make(line.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn subjects_have_only_what_nats_takes() {
        for (word, safe) in
            [("", "-"), ("nginx.service", "nginx_service"), ("a b*>\u{e4}", "a_b___"), ("$JS", "_JS")]
        {
            assert_eq!(token(word), safe);
        }
        assert_eq!(token(&"x".repeat(500)).len(), TOKEN);
    }

    #[test]
    fn every_message_says_how_the_clock_goes() {
        let mut maker = Maker::new("here");
        let clock = r#"{"boot":"0f1e2d3c-aaaa","host":"nas.lan","ns":5,"wall":7}"#;
        let first = format!(r#"{{"ns":1,"ns_trx":2,"line":"a","boot":"0f1e2d3c","clock":{clock}}}"#);
        let message = made(&mut maker, &first);
        assert_eq!(message.subject, "leco.nas_lan.-");
        assert_eq!(message.payload, first.as_bytes());
        assert_eq!(message.connection(), "0f1e2d3c-1");
        let plain = r#"{"ns":3,"ns_trx":4,"line":"b","boot":"0f1e2d3c","unit":"x.service"}"#;
        let later = made(&mut maker, plain);
        assert_eq!(later.subject, "leco.nas_lan.x_service");
        assert_eq!(Event::parse(&later.payload).unwrap().clock.0.unwrap().host, "nas.lan");
        assert!(later.id.starts_with("0f1e2d3c-3-4-"), "{}", later.id);
        // The clock of what may be another machine is not that of what names none.
        made(&mut maker, &first.replace(r#""boot":"0f1e2d3c","#, r#""boot":"other","#));
        let nameless = r#"{"ns":3,"ns_trx":4,"line":"b"}"#;
        let message = made(&mut maker, nameless);
        assert_eq!(
            (message.subject.as_str(), message.payload.as_slice()),
            ("leco.here.-", nameless.as_bytes())
        );
        assert_ne!(message.id, made(&mut Maker::new("there"), nameless).id, "two machines, one stream");
    }

    #[test]
    fn an_event_is_of_one_boot() {
        let clock = |boot| format!(r#""clock":{{"boot":"{boot}","ns":5,"wall":7}}"#);
        let (first, second) = (r#""boot":"11111111""#, r#""key":"22222222-9""#);
        for (fields, boot) in [
            (String::new(), Ok(None)),
            (first.to_owned(), Ok(Some("11111111"))),
            (second.to_owned(), Ok(Some("22222222"))),
            (clock("33333333-4444"), Ok(Some("33333333"))),
            (format!(r#"{first},"key":"11111111-a",{}"#, clock("11111111-4444")), Ok(Some("11111111"))),
            (format!("{first},{second}"), Err(NotOneBoot)),
            (format!("{first},{}", clock("33333333-4444")), Err(NotOneBoot)),
            (format!("{second},{}", clock("33333333-4444")), Err(NotOneBoot)),
            // Readers would take it for any boot that begins so.
            (r#""boot":"1""#.to_owned(), Err(NotOneBoot)),
            (clock("@3333333"), Err(NotOneBoot)),
            (r#""key":"connection-5""#.to_owned(), Ok(None)),
            (format!(r#"{first},"key":"connection-5""#), Ok(Some("11111111"))),
        ] {
            let more = if fields.is_empty() { "" } else { "," };
            let text = format!(r#"{{"ns":1,"ns_trx":2,"line":"a"{more}{fields}}}"#);
            assert_eq!(boot_of(&Event::parse(text.as_bytes()).unwrap()), boot, "{fields}");
        }
    }

    #[test]
    fn the_same_event_has_the_same_id() {
        let clock = r#""clock":{"boot":"x","ns":5,"wall":7}"#;
        let hash = |rest: &str| hash_of(format!(r#"{{"ns":1,"ns_trx":2,"line":"a"{rest}}}"#).as_bytes());
        assert_eq!(hash(""), hash(&format!(",{clock}")));
        assert_ne!(hash(""), hash(r#","name":"a.example""#), "a name that came later");
        assert_eq!(hash(""), 0x6ac9_de7e_96b6_dac6, "in every version: it is what a server compares");
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let long = format!(r#"{{"ns":1,"ns_trx":2,"line":"{}"}}"#, "x".repeat(MAX_PARTIAL_LINE));
        assert_eq!(with_fields(long.as_bytes(), "\"boot\":\"x\""), None);
        for line in ["", "{}", "[1]", "{\"ns\":1"] {
            Maker::new("x").make(line.as_bytes()).unwrap_err();
        }
        let totals = br#"{"ns":1,"ns_trx":1,"line":"a","history":{"v":1,"end":true}}"#;
        assert_eq!(Maker::new("x").make(totals).unwrap(), None);
    }
}
