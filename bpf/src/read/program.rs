// SPDX-License-Identifier: GPL-3.0-or-later
//! What processes run and who started them, as the programs noted it: the layout is `struct program` of `leco.h`.

use crate::map::Map;
use crate::read::record::{Conn, Fields, unpadded};

/// Bytes of a key of `programs`.
pub(crate) const KEY_SIZE: usize = 16;
/// Bytes of a value.
pub(crate) const PROGRAM_SIZE: usize = 488;
const PARENTS: usize = 8;
const PATH: usize = 104;
/// Bytes of a name with its padding.
const NAME: usize = 16;

/// What a process ran and who had started it when it first had to do with a connection. Hostile bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// Path of what it executed, as it sees it; empty where it was not known. It begins with `…/` where it is longer.
    pub exe: Vec<u8>,
    /// Names of the processes that started it, the nearest first.
    pub parents: Vec<Vec<u8>>,
}

impl Program {
    /// Decodes a value; `None` where it has another size or is written right now.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let fields = Fields::of(bytes, PROGRAM_SIZE)?;
        let [is_whole, is_cut, parent_count] = fields.block(4)?;
        if is_whole == 0 {
            return None;
        }
        let path = bytes.get(PATH..)?;
        let path = path.get(..usize::try_from(fields.half(0)?).ok()?).unwrap_or(path);
        let names: Vec<&[u8]> = path.split(|&byte| byte == 0).filter(|name| !name.is_empty()).collect();
        let mut exe = if is_cut == 0 || names.is_empty() { Vec::new() } else { "…".as_bytes().to_vec() };
        for name in names.into_iter().rev() {
            exe.push(b'/');
            exe.extend_from_slice(name);
        }
        let (parents, _) = bytes.get(PARENTS..PATH)?.as_chunks::<NAME>();
        let parents = parents.iter().take(parent_count.into()).map(|name| unpadded(name).to_vec());
        Some(Self { exe, parents: parents.collect() })
    }
}

/// What is known of the processes that had to do with connections lately.
#[derive(Debug)]
pub struct Programs(pub(crate) Map);

impl Programs {
    /// Of the process of a connection; `None` where it is not known any more.
    #[must_use]
    pub fn find(&self, conn: &Conn) -> Option<Program> {
        let mut key = [0; KEY_SIZE];
        key[..8].copy_from_slice(&conn.started.to_ne_bytes());
        key[8..12].copy_from_slice(&conn.pid.to_ne_bytes());
        key[12..14].copy_from_slice(&conn.exec.to_ne_bytes());
        // What cannot be read is not known.
        Program::decode(&self.0.find(&key).ok()??)
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;
    use crate::skeleton::types;

    #[test]
    fn the_layout_is_that_of_the_programs() {
        assert_eq!(size_of::<types::program_key>(), KEY_SIZE);
        assert_eq!(size_of::<types::program>(), PROGRAM_SIZE);
        let keys = [
            offset_of!(types::program_key, started),
            offset_of!(types::program_key, pid),
            offset_of!(types::program_key, exec),
        ];
        assert_eq!(keys, [0, 8, 12]);
        let values = [
            offset_of!(types::program, path_len),
            offset_of!(types::program, is_whole),
            offset_of!(types::program, is_cut),
            offset_of!(types::program, parent_count),
            offset_of!(types::program, parents),
            offset_of!(types::program, path),
        ];
        assert_eq!(values, [0, 4, 5, 6, PARENTS, PATH]);
    }

    fn value(path: &[u8], is_cut: bool, parents: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0; PROGRAM_SIZE];
        bytes[..4].copy_from_slice(&u32::try_from(path.len()).unwrap().to_ne_bytes());
        bytes[4..7].copy_from_slice(&[1, is_cut.into(), u8::try_from(parents.len()).unwrap()]);
        for (number, name) in parents.iter().enumerate() {
            let at = PARENTS + number * NAME;
            bytes[at..at + name.len()].copy_from_slice(name);
        }
        bytes[PATH..PATH + path.len()].copy_from_slice(path);
        bytes
    }

    #[test]
    fn names_of_folders_become_a_path() {
        let program = Program::decode(&value(b"curl\0bin\0usr\0", false, &[b"sh", b"sshd"])).unwrap();
        assert_eq!(program.exe, b"/usr/bin/curl");
        assert_eq!(program.parents, [b"sh".to_vec(), b"sshd".to_vec()]);
        let cut = Program::decode(&value(b"curl\0bin\0", true, &[])).unwrap();
        assert_eq!(cut.exe, "…/bin/curl".as_bytes());
        assert_eq!(Program::decode(&value(b"", true, &[])), Some(Program::default()));
    }

    #[test]
    fn what_is_written_right_now_or_is_none_is_not_known() {
        let mut written = value(b"curl\0", false, &[]);
        written[4] = 0;
        assert_eq!(Program::decode(&written), None);
        assert_eq!(Program::decode(&written[1..]), None);
        // Whatever stands there, nothing is read beyond it.
        assert!(Program::decode(&vec![0xff; PROGRAM_SIZE]).is_some());
    }
}
