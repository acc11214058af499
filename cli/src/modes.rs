// SPDX-License-Identifier: GPL-3.0-or-later
//! Permissions of fifos and sockets, as octal digits.

/// Reads permissions of a fifo. Who can write to it can forge events, and its reader has to read it.
pub fn parse_fifo_mode(text: &str) -> Result<u32, String> {
    const USUAL: &str = "0600 is usual, and 0640 for a group of readers";
    match parse_mode(text)? {
        mode if mode & 0o002 != 0 => Err(format!("every user could write to it, and forge events: {USUAL}")),
        mode if mode & 0o600 != 0o600 => Err(format!("its owner could not read and write it: {USUAL}")),
        mode => Ok(mode),
    }
}

/// Reads permissions of a socket, to which those connect who may write to it.
pub fn parse_socket_mode(text: &str) -> Result<u32, String> {
    match parse_mode(text)? {
        mode if mode & 0o200 == 0 => Err(
            "its owner could not connect to it: 0600 is usual, 0660 for a group of readers, 0666 for every user".into(),
        ),
        mode => Ok(mode),
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| mode & !0o777 == 0)
        .ok_or_else(|| "expected octal digits like 0600".into())
}
