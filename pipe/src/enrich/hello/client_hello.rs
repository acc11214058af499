// SPDX-License-Identifier: GPL-3.0-or-later
//! A TLS `ClientHello` (RFC 8446, 4.1.2): hostile bytes, read by `tls-parser`.

use tls_parser::{SNIType, TlsExtension, TlsExtensionType};
use tls_parser::{
    parse_tls_extension_alpn_content, parse_tls_extension_sni_content, parse_tls_extension_unknown,
    parse_tls_handshake_client_hello,
};

use crate::enrich::hello::Hello;
use crate::enrich::hello::host_name::host_name;

/// Bytes of a message; those of browsers have about 2,000. A longer one is not read.
pub const MAX_MESSAGE: usize = 16 * 1024;
/// Type and length, before what the message says.
const HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;
/// `encrypted_client_hello` (RFC 9849), which `tls-parser` does not know.
const ENCRYPTED_CLIENT_HELLO: TlsExtensionType = TlsExtensionType(0xfe0d);
/// Characters of a protocol's name; the longest that is registered has 14.
const MAX_ALPN: usize = 32;

/// Bytes of a whole handshake message, by its first ones. `Ok(None)` where these are too few, `Err` where they are the
/// begin of no `ClientHello` that [`parse`] reads.
#[allow(clippy::result_unit_err, reason = "there is nothing to say")]
pub fn message_len(begin: &[u8]) -> Result<Option<usize>, ()> {
    let Some((&kind, rest)) = begin.split_first() else { return Ok(None) };
    if kind != CLIENT_HELLO {
        return Err(());
    }
    let &[high, middle, low, ..] = rest else { return Ok(None) };
    let len = HEADER.saturating_add(u32::from_be_bytes([0, high, middle, low]) as usize);
    if len > MAX_MESSAGE { Err(()) } else { Ok(Some(len)) }
}

/// Reads a handshake message with its header of type and length. `None` where it is no whole `ClientHello`, is longer
/// than [`MAX_MESSAGE`], or has lengths that lie.
#[must_use]
pub fn parse(message: &[u8]) -> Option<Hello> {
    let len = message_len(message).ok()??;
    let (rest, contents) = parse_tls_handshake_client_hello(message.get(HEADER..len)?).ok()?;
    // Extensions whose length is a lie are left over.
    if !rest.is_empty() {
        return None;
    }
    let mut hello = Hello { name: None, alpn: None, has_ech: false };
    let mut names = 0;
    let mut extensions = contents.ext.unwrap_or_default();
    while !extensions.is_empty() {
        let (rest, extension) = parse_tls_extension_unknown(extensions).ok()?;
        extensions = rest;
        let TlsExtension::Unknown(kind, data) = extension else { continue };
        match kind {
            TlsExtensionType::ServerName => {
                names += 1;
                hello.name = server_name(data);
            }
            TlsExtensionType::ApplicationLayerProtocolNegotiation if hello.alpn.is_none() => {
                hello.alpn = first_protocol(data);
            }
            ENCRYPTED_CLIENT_HELLO => hello.has_ech = true,
            _ => {}
        }
    }
    // No extension may be there twice (RFC 8446, 4.2): nobody can say which of the names the server takes.
    if names > 1 {
        hello.name = None;
    }
    Some(hello)
}

/// The one name of a host in the extension `server_name` (RFC 6066, 3).
fn server_name(data: &[u8]) -> Option<Box<str>> {
    let Ok((&[], TlsExtension::SNI(names))) = parse_tls_extension_sni_content(data) else { return None };
    match names[..] {
        [(SNIType::HostName, name)] => Some(host_name(str::from_utf8(name).ok()?)?.into()),
        _ => None,
    }
}

/// The first protocol that can be shown; GREASE (RFC 8701) cannot.
fn first_protocol(data: &[u8]) -> Option<Box<str>> {
    let Ok((&[], TlsExtension::ALPN(protocols))) = parse_tls_extension_alpn_content(data) else {
        return None;
    };
    let is_shown =
        |name: &[u8]| !name.is_empty() && name.len() <= MAX_ALPN && name.iter().all(u8::is_ascii_graphic);
    let name = protocols.into_iter().find(|name| is_shown(name))?;
    Some(str::from_utf8(name).ok()?.into())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::enrich::hello) const SERVER_NAME: u16 = 0;
    pub(in crate::enrich::hello) const ALPN: u16 = 16;
    pub(in crate::enrich::hello) const ECH: u16 = 0xfe0d;

    fn sized16(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    pub(in crate::enrich::hello) fn server_name_of(name: &[u8]) -> (u16, Vec<u8>) {
        (SERVER_NAME, sized16(&[&[0], &sized16(name)[..]].concat()))
    }

    pub(in crate::enrich::hello) fn alpn_of(protocols: &[&[u8]]) -> (u16, Vec<u8>) {
        let list = protocols
            .iter()
            .flat_map(|name| std::iter::once(u8::try_from(name.len()).unwrap()).chain(name.iter().copied()));
        (ALPN, sized16(&list.collect::<Vec<_>>()))
    }

    /// A handshake message with these extensions.
    pub(in crate::enrich::hello) fn hello_of(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(32);
        body.extend([9; 32]);
        body.extend(sized16(&[0x0a, 0x0a, 0x13, 0x01, 0x13, 0x02]));
        body.extend([1, 0]);
        let list: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, data)| [&kind.to_be_bytes()[..], &sized16(data)[..]].concat())
            .collect();
        body.extend(sized16(&list));
        let len = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1, len[1], len[2], len[3]], &body[..]].concat()
    }

    fn name_of(message: &[u8]) -> Option<String> {
        parse(message).and_then(|hello| hello.name).map(String::from)
    }

    #[test]
    fn name_protocol_and_ech_are_read_in_any_order() {
        let extensions = [
            (0x0a0a, vec![]),
            (51, vec![1; 1200]),
            alpn_of(&[b"\x0a\x0a", b"h2", b"http/1.1"]),
            (ECH, vec![0; 200]),
            server_name_of(b"WWW.Example.test"),
            (0x2a2a, vec![0]),
        ];
        let expected =
            Hello { name: Some("www.example.test".into()), alpn: Some("h2".into()), has_ech: true };
        assert_eq!(parse(&hello_of(&extensions)), Some(expected.clone()));
        let reversed: Vec<_> = extensions.into_iter().rev().collect();
        let mut message = hello_of(&reversed);
        message.extend(b"the next message");
        assert_eq!(parse(&message), Some(expected));
    }

    #[test]
    fn a_hello_without_extensions_names_nothing() {
        let nothing = Some(Hello { name: None, alpn: None, has_ech: false });
        assert_eq!(parse(&hello_of(&[])), nothing);
        // Clients of TLS 1.2 may leave out the list as well.
        let mut message = hello_of(&[]);
        message.truncate(message.len() - 2);
        message[3] -= 2;
        assert_eq!(parse(&message), nothing);
    }

    #[test]
    fn names_that_no_host_has_are_none() {
        let long = [b'a'; 255];
        for hostile in [
            &b"a\0.test"[..],
            b"a b.test",
            b"\x1b[2Ja.test",
            b"a\n.test",
            b"8.8.8.8",
            b"::1",
            b"[::1]",
            b"\xff.test",
            "m\u{fc}nchen.test".as_bytes(),
            b"",
            b".",
            b"a..test",
            &long,
        ] {
            let hello = parse(&hello_of(&[server_name_of(hostile), alpn_of(&[b"h2"])])).unwrap();
            assert_eq!(hello.name, None, "{hostile:?}");
            assert_eq!(hello.alpn.as_deref(), Some("h2"));
        }
        assert_eq!(name_of(&hello_of(&[server_name_of(b"a.test.")])).as_deref(), Some("a.test"));
    }

    #[test]
    fn protocols_that_cannot_be_shown_are_left_out() {
        let alpn = |protocols: &[&[u8]]| parse(&hello_of(&[alpn_of(protocols)])).unwrap().alpn;
        assert_eq!(alpn(&[b"\x1b[2J", b"a b", b"\xff", b"", &[b'x'; 33]]), None);
        assert_eq!(alpn(&[&[b'x'; 32]]).as_deref(), Some(&"x".repeat(32)[..]));
    }

    #[test]
    fn two_names_are_none() {
        let (a, b) = (server_name_of(b"a.test"), server_name_of(b"b.test"));
        assert_eq!(name_of(&hello_of(&[a, b])), None);
        let list = [&[0][..], &sized16(b"a.test"), &[0], &sized16(b"b.test")].concat();
        assert_eq!(name_of(&hello_of(&[(SERVER_NAME, sized16(&list))])), None);
        let other_kind = [&[1][..], &sized16(b"a.test")].concat();
        assert_eq!(name_of(&hello_of(&[(SERVER_NAME, sized16(&other_kind))])), None);
    }

    #[test]
    fn lengths_that_lie_name_nothing() {
        let message = hello_of(&[server_name_of(b"a.test")]);
        assert_eq!(name_of(&message).as_deref(), Some("a.test"));
        for cut in 0..message.len() {
            assert_eq!(parse(&message[..cut]), None, "{cut}");
        }
        // Of the message, the session id, the cipher suites, the compression, the extensions and the name.
        let extensions = 4 + 2 + 32 + 1 + 32 + 2 + 6 + 2;
        for at in [1, 2, 3, 38, 71, 72, 79, extensions, extensions + 1, extensions + 4, extensions + 5] {
            for lie in [message[at].wrapping_add(1), message[at].wrapping_sub(1), 0xff] {
                let mut damaged = message.clone();
                damaged[at] = lie;
                assert_eq!(name_of(&damaged), None, "{at} {lie}");
            }
        }
        for at in extensions + 6..extensions + 11 {
            let mut damaged = message.clone();
            damaged[at] ^= 0xff;
            assert_eq!(name_of(&damaged), None, "{at}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_not_read() {
        let many = vec![(0x1234, vec![]); 16_000];
        assert_eq!(parse(&hello_of(&many)), None);
        let fitting = [vec![(0x1234, vec![]); 4_000], vec![server_name_of(b"a.test")]].concat();
        assert_eq!(name_of(&hello_of(&fitting)).as_deref(), Some("a.test"));
    }

    #[test]
    fn what_begins_like_no_hello_is_told_at_once() {
        assert_eq!(message_len(&[]), Ok(None));
        assert_eq!(message_len(&[1, 0, 0]), Ok(None));
        assert_eq!(message_len(&[1, 0, 0x3f, 0xfc]), Ok(Some(MAX_MESSAGE)));
        assert_eq!(message_len(&[1, 0, 0x3f, 0xfd]), Err(()));
        assert_eq!(message_len(&[2]), Err(()));
    }

    proptest! {
        #[test]
        fn no_message_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), keep in any::<bool>()) {
            if keep && bytes.len() >= HEADER {
                let len = u16::try_from(bytes.len() - HEADER).unwrap().to_be_bytes();
                bytes[..HEADER].copy_from_slice(&[1, 0, len[0], len[1]]);
            }
            let _ = parse(&bytes);
        }

        #[test]
        fn no_damage_panics(at in 0..400_usize, byte in any::<u8>()) {
            let mut message = hello_of(&[server_name_of(b"a.test"), alpn_of(&[b"h2", b"h3"]), (ECH, vec![1; 50])]);
            let at = at % message.len();
            message[at] = byte;
            let _ = parse(&message);
        }
    }
}
