// SPDX-License-Identifier: GPL-3.0-or-later
//! A connection to the session bus (D-Bus) that never waits: what is sent is little and goes at once, what comes is
//! taken when it is there. See the D-Bus specification, "Message Protocol".
//!
//! Of zbus only the wire format is used: its connections would bring a thread and an async runtime.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{Endian, to_bytes};
use zbus::{ObjectPath, Signature, Type, Variant};

/// The bus itself, by its name.
pub const BUS: &str = "org.freedesktop.DBus";
/// What is longer is no answer to what is asked here.
const MAX_MESSAGE: usize = 256 * 1024;
/// Kind of a message that answers a call.
pub const RETURN: u8 = 2;
/// Kind of a message that says why a call failed.
pub const ERROR: u8 = 3;
/// Kind of a message that tells what happened.
pub const SIGNAL: u8 = 4;
const CALL: u8 = 1;
/// Before the fields of a header.
const FIXED_HEADER: usize = 16;
/// Numbers of a header's fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// Order of bytes, kind, flags, version, length of the body, serial, fields.
type Header<'h> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Variant<'h>)>);

/// A method by the names of its service, object, interface and itself.
pub type Method<'m> = (&'m str, &'m str, &'m str, &'m str);

/// A header's field as it is sent.
#[derive(Type)]
#[zbus(signature = "v")]
enum Field<'f> {
    Value(Variant<'f>),
    /// The types of several arguments: no type of its own, as a [`Signature`] would be.
    Signature(String),
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Signature(signature) => {
                let mut variant = serializer.serialize_struct("Variant", 2)?;
                variant.serialize_field("signature", &Signature::Signature)?;
                variant.serialize_field("value", signature)?;
                variant.end()
            }
        }
    }
}

/// A header, and the body at its place behind it.
fn joined(header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut message = header.to_vec();
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend_from_slice(body);
    message
}

/// A message that came.
#[derive(Debug)]
pub struct Message {
    /// [`RETURN`], [`ERROR`] or [`SIGNAL`], or what is none of this program's business.
    pub kind: u8,
    /// Name of what happened.
    pub member: String,
    /// Who sent it, by the name that the bus gave it: nobody can choose that.
    pub sender: String,
    /// The serial of the call that this answers; 0: none.
    pub reply_to: u32,
    signature: String,
    body: Data<'static, 'static>,
}

impl Message {
    /// What it says, where that is of this type.
    #[must_use]
    pub fn body<T: DeserializeOwned + Type>(&self) -> Option<T> {
        // The signature of several arguments is that of their structure without its brackets.
        let signature = T::SIGNATURE.to_string_no_parens();
        (self.signature == signature).then(|| self.body.deserialize().ok()).flatten().map(|(body, _)| body)
    }
}

/// A connection.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    received: Vec<u8>,
    serial: u32,
    /// The bus has said that it knows who this is; its messages follow.
    is_accepted: bool,
}

impl Bus {
    /// Connects as the user of this process; what is sent then is read by the bus when it has let it in.
    pub fn open() -> io::Result<Self> {
        let mut result = Err(ErrorKind::NotFound.into());
        for address in addresses() {
            result = address.and_then(|address| {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                connect(&socket, &address)?;
                Ok(UnixStream::from(socket))
            });
            if result.is_ok() {
                break;
            }
        }
        let mut bus = Self { stream: result?, received: Vec::new(), serial: 0, is_accepted: false };
        // Its number's digits as hexadecimal numbers of ASCII: 0 is 30, 1 is 31.
        let user = rustix::process::geteuid().to_string();
        let user: String = user.chars().flat_map(|digit| ['3', digit]).collect();
        bus.send(format!("\0AUTH EXTERNAL {user}\r\nBEGIN\r\n").as_bytes())?;
        bus.call((BUS, "/org/freedesktop/DBus", BUS, "Hello"), &())?;
        Ok(bus)
    }

    /// Calls a method; returns the serial of the call.
    pub fn call<T: Serialize + Type>(&mut self, method: Method<'_>, body: &T) -> io::Result<u32> {
        let (service, path, interface, member) = method;
        let context = Context::new(Endian::Little, 0);
        let body = to_bytes(context, body).map_err(io::Error::other)?;
        let mut fields = vec![
            (PATH, Field::Value(ObjectPath::try_from(path).map_err(io::Error::other)?.into())),
            (INTERFACE, Field::Value(interface.into())),
            (MEMBER, Field::Value(member.into())),
            (DESTINATION, Field::Value(service.into())),
        ];
        let signature = T::SIGNATURE.to_string_no_parens();
        if !signature.is_empty() {
            fields.push((SIGNATURE, Field::Signature(signature)));
        }
        self.serial += 1;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let header = (b'l', CALL, 0_u8, 1_u8, length, self.serial, fields);
        self.send(&joined(&to_bytes(context, &header).map_err(io::Error::other)?, &body))?;
        Ok(self.serial)
    }

    /// A socket takes what is sent here whole, or there is something wrong with its reader.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next message, if it has come. An error is the end of the connection.
    pub fn receive(&mut self) -> io::Result<Option<Message>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.received.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes a message from what was received.
    fn take(&mut self) -> io::Result<Option<Message>> {
        if !self.is_accepted {
            let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") else {
                return if self.received.len() > MAX_MESSAGE { Err(invalid()) } else { Ok(None) };
            };
            if !self.received.starts_with(b"OK ") {
                return Err(ErrorKind::PermissionDenied.into());
            }
            self.received.drain(..end + 2);
            self.is_accepted = true;
        }
        let Some((body_at, end)) = lengths(&self.received)?.filter(|(_, end)| self.received.len() >= *end)
        else {
            return Ok(None);
        };
        let rest = self.received.split_off(end);
        let bytes = std::mem::replace(&mut self.received, rest);
        message(bytes, body_at).map(Some)
    }
}

impl AsFd for Bus {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn invalid() -> io::Error {
    ErrorKind::InvalidData.into()
}

/// The order of bytes that a message has.
fn endian(bytes: &[u8]) -> io::Result<Endian> {
    match bytes.first() {
        Some(b'l') => Ok(Endian::Little),
        Some(b'B') => Ok(Endian::Big),
        _ => Err(invalid()),
    }
}

/// Where the body of a message begins and ends, as soon as that is known.
fn lengths(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(header) = bytes.first_chunk::<FIXED_HEADER>() else { return Ok(None) };
    let endian = endian(bytes)?;
    let number = |at: usize| -> usize {
        let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let number =
            if endian == Endian::Little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
        usize::try_from(number).unwrap_or(usize::MAX)
    };
    let (body, fields) = (number(4), number(12));
    if body > MAX_MESSAGE || fields > MAX_MESSAGE {
        return Err(invalid());
    }
    let body_at = (FIXED_HEADER + fields).next_multiple_of(8);
    Ok(Some((body_at, body_at + body)))
}

/// A message of these bytes.
fn message(mut bytes: Vec<u8>, body_at: usize) -> io::Result<Message> {
    let context = Context::new(endian(&bytes)?, 0);
    let body = Data::new(bytes.split_off(body_at), context);
    let bytes = Data::new(bytes, context);
    let (header, _) = bytes.deserialize::<Header<'_>>().map_err(io::Error::other)?;
    let mut message = Message {
        kind: header.1,
        member: String::new(),
        sender: String::new(),
        reply_to: 0,
        signature: String::new(),
        body,
    };
    for (field, value) in header.6 {
        match (field, value) {
            (MEMBER, Variant::Str(member)) => message.member = member.to_string(),
            (SENDER, Variant::Str(sender)) => message.sender = sender.to_string(),
            (REPLY_SERIAL, Variant::U32(serial)) => message.reply_to = serial,
            (SIGNATURE, Variant::Signature(signature)) => message.signature = signature.to_string_no_parens(),
            _ => {}
        }
    }
    Ok(message)
}

/// Where the session bus may listen.
fn addresses() -> Vec<io::Result<SocketAddrUnix>> {
    match env::var("DBUS_SESSION_BUS_ADDRESS") {
        Ok(list) if !list.is_empty() => list.split(';').map(address).collect(),
        _ => {
            let folder = leco_os::environment::folder("XDG_RUNTIME_DIR");
            folder.iter().map(|folder| Ok(SocketAddrUnix::new(folder.join("bus"))?)).collect()
        }
    }
}

/// A socket's address, of a bus's: `unix:path=/run/user/1000/bus,guid=…`.
fn address(text: &str) -> io::Result<SocketAddrUnix> {
    let unsupported = || io::Error::from(ErrorKind::Unsupported);
    let pairs = text.strip_prefix("unix:").ok_or_else(unsupported)?.split(',');
    for (key, value) in pairs.filter_map(|pair| pair.split_once('=')) {
        let value = unescaped(value).ok_or_else(unsupported)?;
        match key {
            "path" => {
                let path = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(value);
                return Ok(SocketAddrUnix::new(PathBuf::from(path))?);
            }
            "abstract" => return Ok(SocketAddrUnix::new_abstract_name(&value)?),
            _ => {}
        }
    }
    Err(unsupported())
}

/// The bytes that a value of an address stands for: `%` and two hexadecimal digits are one.
fn unescaped(value: &str) -> Option<Vec<u8>> {
    let mut parts = value.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_of_a_bus_are_read() {
        let of = |text: &str| address(text).ok();
        let path = |path: &str| SocketAddrUnix::new(path).ok();
        assert_eq!(of("unix:path=/run/user/1000/bus"), path("/run/user/1000/bus"));
        assert_eq!(of("unix:guid=0123,path=/tmp/a%20b%3b,x=y"), path("/tmp/a b;"));
        assert_eq!(of("unix:abstract=/tmp/dbus-1"), SocketAddrUnix::new_abstract_name(b"/tmp/dbus-1").ok());
        for text in
            ["", "unix:", "tcp:host=localhost,port=1", "autolaunch:", "unix:path=%2", "unix:path=%+1a"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }

    /// A bus that has said and will say this.
    fn said(bytes: &[u8]) -> Bus {
        let (stream, mut other) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        other.write_all(bytes).unwrap();
        Bus { stream, received: Vec::new(), serial: 0, is_accepted: false }
    }

    #[test]
    fn a_message_is_read_whatever_the_order_of_its_bytes() {
        for (mark, endian) in [(b'l', Endian::Little), (b'B', Endian::Big)] {
            let context = Context::new(endian, 0);
            let body = to_bytes(context, &("space", "key", Variant::U32(1))).unwrap();
            let fields = vec![
                (MEMBER, Field::Value("SettingChanged".into())),
                (SIGNATURE, Field::Signature("ssv".into())),
            ];
            let length = u32::try_from(body.len()).unwrap();
            let header = (mark, SIGNAL, 0_u8, 1_u8, length, 7_u32, fields);
            let bytes = joined(&to_bytes(context, &header).unwrap(), &body);
            let mut bus = said(&[b"OK 0123\r\n".as_slice(), &bytes, &bytes[..20]].concat());
            let message = bus.receive().unwrap().unwrap();
            assert_eq!((message.kind, message.member.as_str()), (SIGNAL, "SettingChanged"));
            let body = message.body::<(String, String, zbus::OwnedVariant)>().unwrap();
            assert_eq!((body.0.as_str(), body.1.as_str(), &*body.2), ("space", "key", &Variant::U32(1)));
            assert!(message.body::<String>().is_none());
            // Half a message, and then the bus is gone.
            assert!(bus.receive().is_err());
        }
    }

    #[test]
    fn who_is_refused_or_told_nonsense_has_no_bus() {
        let lengthy = [b"OK 1\r\nl".as_slice(), &[255; 15]].concat();
        for bytes in [b"REJECTED EXTERNAL\r\n".as_slice(), b"OK 1\r\nx23456789abcdefgh", &lengthy] {
            assert!(said(bytes).receive().is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(kind in 0_u8..6, lengths in prop::array::uniform2(0_u32..80), rest in prop::collection::vec(any::<u8>(), 0..160)) {
            let [body, fields] = lengths.map(u32::to_le_bytes);
            let header = [&[b'l', kind, 0, 1], body.as_slice(), &[1, 0, 0, 0], &fields].concat();
            let mut bus = said(&[b"OK 1\r\n".as_slice(), &header, &rest].concat());
            while let Ok(Some(message)) = bus.receive() {
                let _ = message.body::<(String, String, zbus::OwnedVariant)>();
            }
        }
    }
}
