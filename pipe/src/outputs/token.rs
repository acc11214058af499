// SPDX-License-Identifier: GPL-3.0-or-later
//! What a reader from another machine has to say before it is told anything.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use leco_core::source::Owner;
use leco_os::clock::BootNs;
use leco_os::files::read_file;

/// Bytes that a token may have.
const MAX_TOKEN: usize = 1024;
/// A shorter one can be guessed.
const MIN_TOKEN: usize = 16;
/// A reader has so long to say it.
const PATIENCE_NS: u64 = 10_000_000_000;

/// A secret that both ends know.
pub(crate) struct Token(Vec<u8>);

/// Why a file holds no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read, or is no ordinary file.
    #[error("cannot read the token in {0}: {1}")]
    Read(PathBuf, io::Error),
    /// Another user, who is not root, can read and change it.
    #[error(
        "{0} belongs to user {1}, who can read and change the token: name a file of this user or of root"
    )]
    Owner(PathBuf, u32),
    /// Others can read it, too.
    #[error("{0} can be read by other users: chmod 600 {0}")]
    Open(PathBuf),
    /// It is not one.
    #[error("{0} contains no token: expected one line of {MIN_TOKEN} to {MAX_TOKEN} characters")]
    Unusable(PathBuf),
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// The first line of a file that nobody else can read.
    pub(crate) fn read(path: &Path) -> Result<Self, TokenError> {
        let read = read_file(path, MAX_TOKEN as u64 + 2);
        let (bytes, opened) = read.map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => TokenError::Unusable(path.to_owned()),
            _ => TokenError::Read(path.to_owned(), error),
        })?;
        if Owner::Known.check_user(opened.uid()).is_err() {
            return Err(TokenError::Owner(path.to_owned(), opened.uid()));
        }
        if opened.mode() & 0o077 != 0 {
            return Err(TokenError::Open(path.to_owned()));
        }
        let token = bytes.trim_ascii();
        if !(MIN_TOKEN..=MAX_TOKEN).contains(&token.len()) || token.contains(&b'\n') {
            return Err(TokenError::Unusable(path.to_owned()));
        }
        Ok(Self(token.to_owned()))
    }

    /// Takes the same time wherever the first difference is.
    fn equals(&self, other: &[u8]) -> bool {
        let differences = self.0.iter().zip(other).fold(0, |differences, (a, b)| differences | (a ^ b));
        std::hint::black_box(differences) == 0 && self.0.len() == other.len()
    }
}

/// A reader who has not said it yet.
#[derive(Debug)]
pub(crate) struct Handshake {
    heard: Vec<u8>,
    due: BootNs,
}

impl Handshake {
    pub(crate) fn begin(now: BootNs) -> Self {
        Self { heard: Vec::new(), due: now.saturating_add(PATIENCE_NS) }
    }

    /// When it should have been said.
    pub(crate) fn due(&self) -> BootNs {
        self.due
    }

    /// Whether the reader is let in; `None` while its line has no end.
    pub(crate) fn hear(&mut self, bytes: &[u8], token: &Token) -> Option<bool> {
        self.heard.extend_from_slice(bytes);
        match self.heard.iter().position(|&byte| byte == b'\n') {
            Some(end) => Some(token.equals(self.heard[..end].trim_ascii())),
            None => (self.heard.len() > MAX_TOKEN + 2).then_some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_comes_in_pieces_and_must_be_the_same() {
        let token = Token(b"correct horse battery".to_vec());
        let mut handshake = Handshake::begin(0);
        assert_eq!(handshake.hear(b"correct horse", &token), None);
        assert_eq!(handshake.hear(b" battery\r\nmore", &token), Some(true));
        for wrong in [&b"correct horse batterz\n"[..], b"\n", b"correct horse battery staple\n", b"correct\n"]
        {
            assert_eq!(Handshake::begin(0).hear(wrong, &token), Some(false));
        }
        assert_eq!(Handshake::begin(0).hear(&[b'x'; 5000], &token), Some(false), "no end of it");
    }

    #[test]
    fn a_file_that_others_read_holds_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let with = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Token::read(&path)
        };
        assert!(with("0123456789abcdef\n", 0o600).is_ok());
        assert!(matches!(with("0123456789abcdef\n", 0o644), Err(TokenError::Open(_))));
        for unusable in ["short\n", "0123456789abcdef\n0123456789abcdef\n", &"x".repeat(2000)] {
            assert!(matches!(with(unusable, 0o600), Err(TokenError::Unusable(_))), "{unusable}");
        }
    }

    #[test]
    fn what_is_no_file_is_named_and_nobody_is_told_to_change_it() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (path, kind) in [
            (at("fifo"), "it is a fifo"),
            (at("socket"), "it is a socket"),
            (at("."), "it is a directory"),
            ("/dev/null".into(), "it is a device"),
            ("/dev/zero".into(), "it is a device"),
        ] {
            let error = Token::read(&path).unwrap_err().to_string();
            assert!(error.contains(kind) && !error.contains("chmod") && !error.contains("remove"), "{error}");
        }
    }

    #[test]
    fn a_token_of_another_user_is_no_secret() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "0123456789abcdef\n").unwrap();
        // Whose it is matters more than who else reads it: only its owner can mend that.
        std::os::unix::fs::chown(&path, Some(54321), None).unwrap();
        let error = Token::read(&path).unwrap_err();
        assert!(matches!(error, TokenError::Owner(_, 54321)), "{error}");
        assert!(!error.to_string().contains("chmod"), "{error}");
    }
}
