// SPDX-License-Identifier: GPL-3.0-or-later
//! Limits of a process, named as they are raised.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// An error that came because descriptors, memory or the size of a file were used up, with the name of the limit; nothing for any other.
#[must_use]
pub fn named(error: &io::Error) -> Option<io::Error> {
    let text = match Errno::from_raw_os_error(error.raw_os_error()?) {
        Errno::MFILE => {
            let limit = getrlimit(Resource::Nofile).current;
            let limit = limit.map_or_else(String::new, |most| format!(" is {most}"));
            format!("too few file descriptors (RLIMIT_NOFILE{limit}): raise it by ulimit -n, or LimitNOFILE= of the unit")
        }
        Errno::NFILE => "too few file descriptors on this machine (fs.file-max)".to_owned(),
        Errno::FBIG => {
            "the file may not grow any further (ulimit -f, LimitFSIZE= of the unit, or the file system's limit)".to_owned()
        }
        Errno::NOMEM => {
            "there is not enough memory (ulimit -v, MemoryMax= of the unit, or the machine's)".to_owned()
        }
        _ => return None,
    };
    Some(io::Error::new(error.kind(), text))
}

/// The same error, or the one with the name of its limit.
#[must_use]
pub fn explain(error: io::Error) -> io::Error {
    named(&error).unwrap_or(error)
}

/// The limit, where so many descriptors are not left now: for libraries that say only that something failed.
#[must_use]
pub fn out_of_descriptors(wanted: usize) -> Option<io::Error> {
    let all: Result<Vec<_>, _> = (0..wanted).map(|_| rustix::io::dup(rustix::stdio::stdin())).collect();
    named(&all.err()?.into())
}

/// A text in which an error's own words stand, with the name of the limit in their place.
pub fn name_in(text: String) -> String {
    let limits = [Errno::MFILE, Errno::NFILE, Errno::FBIG, Errno::NOMEM].map(io::Error::from);
    limits.iter().fold(text, |text, error| {
        let words = error.to_string();
        match named(error) {
            Some(named) if text.contains(&words) => text.replace(&words, &named.to_string()),
            _ => text,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named_and_nothing_else_is_touched() {
        let said = |errno: Errno| explain(errno.into()).to_string();
        assert!(said(Errno::MFILE).contains("RLIMIT_NOFILE"), "{}", said(Errno::MFILE));
        assert!(said(Errno::NFILE).contains("fs.file-max"));
        assert!(said(Errno::FBIG).contains("ulimit -f"));
        assert!(said(Errno::NOMEM).contains("memory"));
        assert_eq!(said(Errno::NOENT), io::Error::from(Errno::NOENT).to_string());
        assert!(named(&io::Error::other("x")).is_none());
        let text = format!("cannot open /x: {}", io::Error::from(Errno::NOMEM));
        assert!(name_in(text).starts_with("cannot open /x: there is not enough memory"));
    }
}
