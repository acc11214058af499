// SPDX-License-Identifier: GPL-3.0-or-later
//! Words of lines and values of events as a byte or a few: those that several lines have are kept once.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::bytes::{Reader, Writer, put_number};
use super::interner::Interner;

/// Most words that are kept once: so many can be named in two bytes.
const MAX_WORDS: usize = 128 + 32 * 256;
/// The longest word that is kept once, in bytes; names of all fields of an event are one.
const MAX_WORD: usize = 512;
/// Words of a line that can be named by their place.
pub(super) const MAX_LOCALS: usize = 32;
/// Places for words that one line had so far, and how many words with the same lowest bits in their hashes each has.
const SEEN: usize = 1024;
const WAYS: usize = 4;

// What the first byte of a word says. Below `WORD` it is the number of a word that is kept.
/// With the next byte, the number of a word that is kept, from 128 on.
const WORD: u8 = 128;
/// The place of a word in the line.
const LOCAL: u8 = 160;
/// The length of the text that follows.
const TEXT: u8 = 192;
/// A longer text, after its length.
const LONG_TEXT: u8 = 223;
/// How many bytes, less one, the number that follows has.
const NUMBER: u8 = 224;
const V4: u8 = 232;
const V6: u8 = 233;
/// Of JSON that is neither a number nor a text: the number of a word that is kept.
const RAW_WORD: u8 = 234;
/// The same, after its length.
const RAW: u8 = 235;
const NS: u8 = 236;
const NS_TRX: u8 = 237;
const RX: u8 = 238;
const TX: u8 = 239;
/// The next word, a hyphen and `ns`.
const KEY: u8 = 240;
/// The line as it was received.
const LINE: u8 = 241;
/// A label after its length, and the rest of the name as the next word.
const LABEL: u8 = 242;

/// A word as it is written, or its first part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'t> {
    Word(u32),
    Local(usize),
    Text(&'t str),
    Number(u64),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    RawWord(u32),
    Raw(&'t str),
    Ns,
    NsTrx,
    Rx,
    Tx,
    Key,
    Line,
    Label(&'t str),
}

/// What is in the event and known besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) ns: u64,
    pub(super) ns_trx: u64,
    pub(super) rx: u64,
    pub(super) tx: u64,
}

/// The words of a line that is being written.
#[derive(Debug, Default)]
pub(super) struct Locals<'l>(Vec<&'l str>);

impl<'l> Locals<'l> {
    fn find(&self, word: &str) -> Option<u8> {
        let at = self.0.iter().position(|known| *known == word)?;
        u8::try_from(at).ok()
    }

    fn push(&mut self, word: &'l str) {
        if self.0.len() < MAX_LOCALS {
            self.0.push(word);
        }
    }
}

/// Words that several lines have.
#[derive(Debug)]
pub(super) struct Words {
    kept: Interner<Box<str>>,
    /// Of words that one line had, by their hash: another part of that, and of the line's.
    seen: Box<[[u32; WAYS]]>,
    /// Bytes of those that are kept.
    bytes: usize,
}

impl Default for Words {
    fn default() -> Self {
        Self { kept: Interner::default(), seen: vec![[0; WAYS]; SEEN].into(), bytes: 0 }
    }
}

impl Words {
    /// Bytes that they take, roughly.
    pub(super) fn bytes(&self) -> usize {
        /// Number, length, count and place in the hash.
        const EACH: usize = 64;
        self.bytes + self.kept.len() * EACH
    }

    /// Puts the words of a line.
    pub(super) fn put_line<'l>(&mut self, out: &mut Writer, line: &'l str, locals: &mut Locals<'l>, of: u64) {
        put_number(out, line.split(' ').count() as u64);
        for word in line.split(' ') {
            self.put_word(out, word, locals, of);
            locals.push(word);
        }
    }

    /// Puts a word of a line, by whose begin it is known whether another line has it, too.
    pub(super) fn put_word(&mut self, out: &mut Writer, word: &str, locals: &Locals<'_>, of: u64) {
        let named = self.name(word, of, locals);
        match named {
            Some(Token::Word(id)) => put_word_id(out, id),
            Some(Token::Local(at)) => out.push(LOCAL + u8::try_from(at).unwrap_or_default()),
            _ => self.put_new(out, word, of),
        }
    }

    /// Puts the value of a field, as it stands in JSON.
    pub(super) fn put_value(
        &mut self,
        out: &mut Writer,
        value: &str,
        (line, locals): (&str, &Locals<'_>),
        of: Known,
    ) {
        if let Some(number) = whole_number(value) {
            return put_whole_number(out, number, of);
        }
        let text = value.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        match text.filter(|text| !text.contains('\\')) {
            Some(text) if text == line => out.push(LINE),
            Some(text) => {
                let key = text.rsplit_once('-').filter(|(_, ns)| whole_number(ns) == Some(of.ns));
                if let Some((boot, _)) = key {
                    out.push(KEY);
                    return self.put_word(out, boot, locals, of.ns);
                }
                self.put_word(out, text, locals, of.ns);
            }
            None => {
                if let Some(Token::Word(id)) = self.name(value, of.ns, &Locals::default()) {
                    out.push(RAW_WORD);
                    put_number(out, id.into());
                } else {
                    out.push(RAW);
                    super::bytes::put_text(out, value);
                }
            }
        }
    }

    /// What stands for a word, where that is kept or the line has it already. A word that another line had is kept
    /// from now on.
    fn name(&mut self, word: &str, of: u64, locals: &Locals<'_>) -> Option<Token<'static>> {
        if word.is_empty() || word.len() > MAX_WORD {
            return None;
        }
        if let Some(id) = self.kept.find(word) {
            self.kept.hold_again(id);
            return Some(Token::Word(id));
        }
        if let Some(at) = locals.find(word) {
            return Some(Token::Local(at.into()));
        }
        if self.kept.len() < MAX_WORDS && self.was_seen(word, of) {
            self.bytes += word.len();
            return Some(Token::Word(self.kept.hold(word, |word| word.into())));
        }
        None
    }

    /// Whether another line had it, as far as that is remembered.
    fn was_seen(&mut self, word: &str, of: u64) -> bool {
        let hash = self.kept.hash(word);
        let [line, ..] = (of.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48).to_le_bytes();
        let other_bits = (hash >> 40) as u32 & 0xff_ffff;
        let place = &mut self.seen[usize::try_from(hash % SEEN as u64).unwrap_or_default()];
        if let Some(known) = place.iter().find(|known| **known >> 8 == other_bits) {
            return known.to_le_bytes()[0] != line;
        }
        place.rotate_right(1);
        place[0] = other_bits << 8 | u32::from(line);
        false
    }

    /// Puts a word that no other line has.
    fn put_new(&mut self, out: &mut Writer, word: &str, of: u64) {
        if let Some(address) = canonical::<Ipv4Addr>(word, '.') {
            out.push(V4);
            out.extend(address.octets());
        } else if let Some(address) = canonical::<Ipv6Addr>(word, ':') {
            out.push(V6);
            out.extend(address.octets());
        } else if let Some((label, length, id)) = self.name_of_rest(word, of) {
            out.extend([LABEL, length]);
            out.extend_from_slice(label.as_bytes());
            put_word_id(out, id);
        } else {
            put_text(out, word);
        }
    }

    /// Of a name such as `cdn7.example.org`, its first label and the length of that, where others end as it does.
    fn name_of_rest<'w>(&mut self, word: &'w str, of: u64) -> Option<(&'w str, u8, u32)> {
        let (label, rest) = word.split_at(word.find('.').filter(|at| *at > 0)?);
        let length = u8::try_from(label.len()).ok()?;
        match self.name(rest, of, &Locals::default())? {
            Token::Word(id) => Some((label, length, id)),
            _ => None,
        }
    }

    /// Gives up the words of something that was written.
    pub(super) fn release(&mut self, token: Token<'_>) {
        if let Token::Word(id) | Token::RawWord(id) = token
            && let Some(word) = self.kept.release(id)
        {
            self.bytes -= word.len();
        }
    }

    pub(super) fn get(&self, id: u32) -> &str {
        self.kept.get(id).map_or("", |word| word)
    }

    /// Reads a line's words and joins them, and notes where each is in all that was read so.
    pub(super) fn read_line(
        &self,
        reader: &mut Reader<'_>,
        out: &mut String,
        locals: &mut Vec<Range<usize>>,
    ) {
        for number in 0..reader.count() {
            if number > 0 {
                out.push(' ');
            }
            let start = out.len();
            self.read_word(reader, out, locals);
            if locals.len() < MAX_LOCALS {
                locals.push(start..out.len());
            }
        }
    }

    /// Reads a word.
    pub(super) fn read_word(&self, reader: &mut Reader<'_>, out: &mut String, locals: &[Range<usize>]) {
        loop {
            match token(reader) {
                Token::Word(id) => out.push_str(self.get(id)),
                Token::Local(at) => {
                    let word = locals.get(at).and_then(|span| out.get(span.clone())).unwrap_or_default();
                    let word = word.to_owned();
                    out.push_str(&word);
                }
                Token::Text(text) => out.push_str(text),
                Token::V4(address) => *out += &address.to_string(),
                Token::V6(address) => *out += &address.to_string(),
                Token::Label(label) => {
                    out.push_str(label);
                    continue;
                }
                // Values of events alone have these.
                Token::Number(_)
                | Token::RawWord(_)
                | Token::Raw(_)
                | Token::Ns
                | Token::NsTrx
                | Token::Rx
                | Token::Tx
                | Token::Key
                | Token::Line => {}
            }
            return;
        }
    }

    /// Reads the value of a field, as it stands in JSON, given what was read of the lines.
    pub(super) fn read_value(
        &self,
        reader: &mut Reader<'_>,
        out: &mut String,
        (line, lines, locals): (&str, &str, &[Range<usize>]),
        known: Known,
    ) {
        let mut digits = itoa::Buffer::new();
        let mut number = |out: &mut String, number: u64| out.push_str(digits.format(number));
        let mut end = String::new();
        let mut is_text = false;
        loop {
            let token = token(reader);
            let begins_text = matches!(
                token,
                Token::Word(_)
                    | Token::Local(_)
                    | Token::Text(_)
                    | Token::V4(_)
                    | Token::V6(_)
                    | Token::Label(_)
                    | Token::Key
                    | Token::Line
            );
            if begins_text && !std::mem::replace(&mut is_text, true) {
                out.push('"');
            }
            match token {
                Token::Word(id) | Token::RawWord(id) => out.push_str(self.get(id)),
                Token::Local(at) => {
                    out.push_str(locals.get(at).and_then(|span| lines.get(span.clone())).unwrap_or_default());
                }
                Token::Text(text) => out.push_str(text),
                Token::V4(address) => *out += &address.to_string(),
                Token::V6(address) => *out += &address.to_string(),
                Token::Line => out.push_str(line),
                Token::Number(value) => number(out, value),
                Token::Raw(value) => out.push_str(value),
                Token::Ns => number(out, known.ns),
                Token::NsTrx => number(out, known.ns_trx),
                Token::Rx => number(out, known.rx),
                Token::Tx => number(out, known.tx),
                Token::Key => {
                    end.push('-');
                    number(&mut end, known.ns);
                    continue;
                }
                Token::Label(label) => {
                    out.push_str(label);
                    continue;
                }
            }
            break;
        }
        out.push_str(&end);
        if is_text {
            out.push('"');
        }
    }
}

fn put_word_id(out: &mut Writer, id: u32) {
    match id.checked_sub(WORD.into()) {
        None => out.push(id.to_le_bytes()[0]),
        Some(id) => {
            let [low, high, ..] = id.to_le_bytes();
            out.extend([WORD + high, low]);
        }
    }
}

fn put_text(out: &mut Writer, text: &str) {
    if let Some(length) = u8::try_from(text.len()).ok().filter(|length| *length < LONG_TEXT - TEXT) {
        out.push(TEXT + length);
        out.extend_from_slice(text.as_bytes());
    } else {
        out.push(LONG_TEXT);
        super::bytes::put_text(out, text);
    }
}

fn put_whole_number(out: &mut Writer, number: u64, of: Known) {
    let known = [(NS, of.ns), (NS_TRX, of.ns_trx), (RX, of.rx), (TX, of.tx)];
    if let Some((code, _)) = known.iter().find(|(_, known)| *known == number && number > 0xff) {
        return out.push(*code);
    }
    let unused = usize::try_from(number.leading_zeros() / 8).unwrap_or(0).min(7);
    out.push(NUMBER + u8::try_from(7 - unused).unwrap_or(7));
    out.extend_from_slice(&number.to_le_bytes()[..8 - unused]);
}

/// Reads a word, or its first part.
pub(super) fn token<'r>(reader: &mut Reader<'r>) -> Token<'r> {
    match reader.byte() {
        id @ 0..WORD => Token::Word(id.into()),
        high @ WORD..LOCAL => {
            let id = u32::from(high - WORD) << 8 | u32::from(reader.byte());
            Token::Word(id + u32::from(WORD))
        }
        at @ LOCAL..TEXT => Token::Local((at - LOCAL).into()),
        length @ TEXT..LONG_TEXT => Token::Text(reader.text_of((length - TEXT).into())),
        LONG_TEXT => Token::Text(reader.text()),
        length @ NUMBER..V4 => {
            let mut bytes = [0; 8];
            let read = reader.bytes(usize::from(length - NUMBER) + 1);
            bytes[..read.len()].copy_from_slice(read);
            Token::Number(u64::from_le_bytes(bytes))
        }
        V4 => Token::V4(<[u8; 4]>::try_from(reader.bytes(4)).unwrap_or_default().into()),
        V6 => Token::V6(<[u8; 16]>::try_from(reader.bytes(16)).unwrap_or_default().into()),
        RAW_WORD => Token::RawWord(u32::try_from(reader.number()).unwrap_or_default()),
        NS => Token::Ns,
        NS_TRX => Token::NsTrx,
        RX => Token::Rx,
        TX => Token::Tx,
        KEY => Token::Key,
        LINE => Token::Line,
        LABEL => {
            let length = reader.byte();
            Token::Label(reader.text_of(length.into()))
        }
        RAW.. => Token::Raw(reader.text()),
    }
}

/// A number as JSON and we write it.
fn whole_number(text: &str) -> Option<u64> {
    let is_usual = text.bytes().all(|byte| byte.is_ascii_digit()) && (!text.starts_with('0') || text == "0");
    text.parse().ok().filter(|_| is_usual)
}

/// An address that is written as we write it.
fn canonical<A: std::str::FromStr + ToString>(text: &str, mark: char) -> Option<A> {
    if text.len() < 7 || !text.contains(mark) {
        return None;
    }
    text.parse::<A>().ok().filter(|address| address.to_string() == text)
}
