// SPDX-License-Identifier: GPL-3.0-or-later
//! One line of a list: a domain, an address, a network, or a line of a hosts file.

use std::net::IpAddr;

use super::networks::{Network, bits, prefix};
use crate::ini::Fault;

/// Longest domain, in bytes (RFC 1035, without the dot at its end).
pub(super) const MAX_NAME: usize = 253;
/// Longest part of one between dots.
const MAX_LABEL: usize = 63;

/// What a line may have in a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// In lower case.
    Name(String),
    V4(Network),
    V6(Network),
}

/// Names of this machine that hosts files begin with: they are in no list.
const OF_THIS_MACHINE: [&str; 12] = [
    "localhost",
    "localhost.localdomain",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
    "0.0.0.0",
];

/// Hands out what a line has, up to what cannot be used.
pub(super) fn read_line(line: &str, mut take: impl FnMut(Entry)) -> Result<(), Fault> {
    let content = line.split('#').next().unwrap_or_default();
    let is_hosts = |first: &str| address(first).is_some();
    let mut words =
        content.split_whitespace().map(|word| (word.as_ptr() as usize - line.as_ptr() as usize, word));
    let Some((at, first)) = words.next() else { return Ok(()) };
    let mut words = words.peekable();
    match words.peek() {
        None => take(read(at, first)?),
        Some(_) if is_hosts(first) => {
            for (at, name) in words.filter(|(_, name)| !OF_THIS_MACHINE.contains(name)) {
                take(read(at, name)?);
            }
        }
        Some((second, _)) => {
            let fault =
                Fault::new(*second..content.trim_end().len(), "one entry a line, the line is skipped");
            return Err(fault.with_help("only a line of a hosts file has more: an address, then its names"));
        }
    }
    Ok(())
}

/// An address as people write it; one of IPv4 that is written as one of IPv6 is the former.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    // Most names do not look like one.
    let may_be = text.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':');
    let address = text.split('%').next().filter(|_| may_be)?;
    Some(address.parse::<IpAddr>().ok()?.to_canonical())
}

fn read(at: usize, word: &str) -> Result<Entry, Fault> {
    let fault = |message: &str, help: &str| {
        Err(Fault::new(at..at + word.len(), format!("{message}, the line is skipped")).with_help(help))
    };
    if let Some((first, length)) = word.split_once('/')
        && let Ok(first) = first.parse::<IpAddr>()
    {
        let (_, most) = bits(first);
        let length = length
            .parse()
            .ok()
            .filter(|bits: &u8| *bits <= most && length.bytes().all(|c| c.is_ascii_digit()));
        let Some(length) = length else {
            return fault("this is not the length of a prefix", &format!("write a number from 0 to {most}"));
        };
        // What is wider than all of IPv4 is a network of IPv6.
        let mapped = length.checked_sub(96).filter(|_| first.is_ipv6() && first.to_canonical().is_ipv4());
        return Ok(match mapped {
            Some(length) => of_network(first.to_canonical(), length),
            None => of_network(first, length),
        });
    }
    if let Some(address) = address(word) {
        return Ok(of_network(address, bits(address).1));
    }
    let name = word.strip_prefix("*.").or_else(|| word.strip_prefix('.')).unwrap_or(word);
    let name = name.strip_suffix('.').unwrap_or(name);
    if is_name(name) {
        return Ok(Entry::Name(name.to_ascii_lowercase()));
    }
    if !name.is_ascii() {
        return fault("an international name stands as it is looked up", "write it as xn--…");
    }
    if word.starts_with(['|', '@', '!', '[']) || word.contains('^') {
        return fault("this is a rule of an ad blocker", "take the list as domains or as a hosts file");
    }
    fault(
        "this is neither a domain nor an address nor a network",
        "write example.org, 192.0.2.1, 2001:db8::/32, or a line of a hosts file",
    )
}

fn of_network(first: IpAddr, length: u8) -> Entry {
    let network = (prefix(bits(first).0, length), length);
    if first.is_ipv4() { Entry::V4(network) } else { Entry::V6(network) }
}

/// Whether a host can have it: what ends with a number is an address, or wrong.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= MAX_NAME && name.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}
