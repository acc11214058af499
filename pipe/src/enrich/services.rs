// SPDX-License-Identifier: GPL-3.0-or-later
//! What ports are called: the machine's own list, `services(5)`.

use std::path::Path;

use leco_core::text::Protocol;
use leco_os::files::read_file;

/// Where the list is.
const LIST: &str = "/etc/services";
/// A list larger than this is not read: bytes. The largest that distributions have is not yet 1 MiB.
const MAX_LIST: u64 = 4 << 20;

/// Names of ports.
#[derive(Debug, Default)]
pub(crate) struct Services {
    names: String,
    /// In the order of port and protocol, each with the place of its name.
    ports: Vec<(u16, bool, std::ops::Range<u32>)>,
}

impl Services {
    /// Those of this machine; none where they cannot be read.
    pub(crate) fn of_this_machine() -> Self {
        let list = read_file(Path::new(LIST), MAX_LIST).map(|(bytes, _)| bytes).unwrap_or_default();
        Self::read(&String::from_utf8_lossy(&list))
    }

    /// Reads lines of `NAME PORT/PROTOCOL [ALIAS …] [# …]`. Of several names of a port the first counts.
    fn read(list: &str) -> Self {
        let mut services = Self::default();
        for line in list.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let (Some(name), Some((port, protocol))) =
                (words.next(), words.next().and_then(|at| at.split_once('/')))
            else {
                continue;
            };
            let is_udp = protocol == "udp";
            let start = services.names.len();
            // Names have letters, digits and dashes (RFC 6335, 5.1), those of old lists a few more.
            let is_name = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_graphic());
            if let (true, true, Ok(port), Ok(start), Ok(end)) = (
                is_name,
                is_udp || protocol == "tcp",
                port.parse(),
                u32::try_from(start),
                u32::try_from(start + name.len()),
            ) {
                services.names.push_str(name);
                services.ports.push((port, is_udp, start..end));
            }
        }
        services.names.shrink_to_fit();
        services.ports.sort_by_key(|(port, is_udp, _)| (*port, *is_udp));
        services.ports.dedup_by_key(|(port, is_udp, _)| (*port, *is_udp));
        services.ports.shrink_to_fit();
        services
    }

    /// What a port is called.
    pub(crate) fn name(&self, port: u16, protocol: Protocol) -> Option<&str> {
        let is_udp = match protocol {
            Protocol::Tcp => false,
            Protocol::Udp => true,
            Protocol::Other(_) => return None,
        };
        let at =
            self.ports.binary_search_by_key(&(port, is_udp), |(port, is_udp, _)| (*port, *is_udp)).ok()?;
        let place = &self.ports.get(at)?.2;
        self.names.get(usize::try_from(place.start).ok()?..usize::try_from(place.end).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_the_first_name_that_the_list_gives_them() {
        let list = "# comment\nssh\t22/tcp # SSH\nhttps 443/tcp\nhttps 443/udp\nwww 80/tcp http\nhttp 80/tcp\n\
            domain 53/udp\nx 70000/tcp\nodd\nsctp-only 9/sctp\nevil\u{1b}[2J 7/tcp\n  \nlast 65535/tcp";
        let services = Services::read(list);
        let name = |port, protocol| services.name(port, protocol);
        assert_eq!(name(22, Protocol::Tcp), Some("ssh"));
        assert_eq!(name(443, Protocol::Udp), Some("https"));
        assert_eq!(name(80, Protocol::Tcp), Some("www"));
        assert_eq!(name(65535, Protocol::Tcp), Some("last"));
        for (port, protocol) in [
            (53, Protocol::Tcp),
            (22, Protocol::Udp),
            (7, Protocol::Tcp),
            (9, Protocol::Other(132)),
            (0, Protocol::Tcp),
        ] {
            assert_eq!(name(port, protocol), None, "{port}");
        }
        assert_eq!(Services::read("").name(22, Protocol::Tcp), None);
    }
}
