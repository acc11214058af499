// SPDX-License-Identifier: GPL-3.0-or-later
//! Lists by the names that a config gives them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::list::List;
use crate::ini::{Diagnostic, Entry, Fault, Ini};
use crate::text::expand;

/// So many lists a config may have.
const MAX_LISTS: usize = 32;

/// The lists of a config, in its order. To clone them copies no list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lists {
    all: Vec<Named>,
}

#[derive(Debug, Clone)]
struct Named {
    name: String,
    path: PathBuf,
    list: Arc<List>,
    /// Its file could be read.
    is_read: bool,
    /// What told that from others before it was read.
    stamp: Option<Stamp>,
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        let Self { name, path, list, is_read, stamp: _ } = self;
        (name, path, list, is_read) == (&other.name, &other.path, &other.list, &other.is_read)
    }
}

/// Device, inode, size, and when it was changed, in s and ns.
pub(crate) type Stamp = (u64, u64, u64, i64, i64);

/// What tells one state of the file at a path from others; none where there is none.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let there = fs::metadata(path).ok()?;
    Some((there.dev(), there.ino(), there.size(), there.ctime(), there.ctime_nsec()))
}

/// Where the lists come from that a config names.
#[derive(Clone, Copy)]
pub(crate) enum ListsFrom<'l> {
    /// From their files; where one cannot be read, it stays what it was among these.
    Files(&'l Lists),
    /// From these, by their paths; others have nothing in them.
    Known(&'l Lists),
}

/// Lists of a config, and what could not be used.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) lists: Lists,
    /// What is wrong with the config.
    pub(crate) faults: Vec<Fault>,
    /// Files that cannot be read, by their places in the config.
    pub(crate) unread: Vec<Fault>,
    /// What is wrong within files.
    pub(crate) skipped: Vec<Diagnostic>,
}

impl Lists {
    /// Those of a config that stands in a file, in whose directory relative paths begin.
    pub(crate) fn load(ini: &Ini, file: &Path, from: ListsFrom<'_>) -> Loaded {
        let mut loaded = Loaded::default();
        for entry in ini.entries.iter().filter(|entry| entry.section == "lists") {
            if let Err(fault) = loaded.take(entry, file, from) {
                loaded.faults.push(fault);
            }
        }
        loaded
    }

    /// The list of a name, or what there is instead.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<List>, String> {
        if let Some(named) = self.all.iter().find(|named| named.name.eq_ignore_ascii_case(name)) {
            return Ok(Arc::clone(&named.list));
        }
        let known: Vec<&str> = self.names().collect();
        Err(match known.as_slice() {
            [] => format!("there is no list {name}: none is named in [lists] of a config here"),
            known => format!("there is no list {name}; there are {}", known.join(", ")),
        })
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|named| named.name.as_str())
    }

    /// Their files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.all.iter().map(|named| named.path.as_path())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether each file is still the one that was read.
    pub(crate) fn are_current(&self) -> bool {
        self.all.iter().all(|named| named.stamp == stamp(&named.path))
    }

    /// Lists by name and content.
    #[cfg(test)]
    pub(crate) fn of(lists: &[(&str, &str)]) -> Self {
        let named = |(name, text): &(&str, &str)| Named {
            name: (*name).into(),
            path: PathBuf::from(name),
            list: Arc::new(List::parse(text.as_bytes(), Path::new(name)).expect("it is in memory").0),
            is_read: true,
            stamp: None,
        };
        Self { all: lists.iter().map(named).collect() }
    }

    fn at(&self, path: &Path) -> Arc<List> {
        let there = self.all.iter().find(|named| named.path == path);
        there.map(|named| Arc::clone(&named.list)).unwrap_or_default()
    }
}

impl Loaded {
    fn take(&mut self, entry: &Entry, file: &Path, from: ListsFrom<'_>) -> Result<(), Fault> {
        let name = &entry.key;
        if self.lists.names().any(|known| known.eq_ignore_ascii_case(name)) {
            let message = format!("a list before this one is called {name}, so this one is never used");
            return Err(
                Fault::new(entry.key_span(), message).with_help("give it another name, or take one out")
            );
        }
        if name.contains('"') {
            return Err(Fault::new(entry.key_span(), "the name of a list contains no quotes"));
        }
        if entry.value.is_empty() {
            return Err(Fault::new(entry.key_span(), format!("{name} = : expected the path of a file")));
        }
        if self.lists.all.len() >= MAX_LISTS {
            return Err(Fault::new(entry.key_span(), format!("there are at most {MAX_LISTS} lists"))
                .with_help("put several into one file"));
        }
        let path = file.parent().unwrap_or(Path::new("")).join(expand(&entry.value));
        let path = std::path::absolute(&path).unwrap_or(path);
        let stamp = stamp(&path);
        let (list, is_read) = match from {
            ListsFrom::Known(lists) => (lists.at(&path), true),
            ListsFrom::Files(before) => match List::read(&path) {
                Ok((list, skipped)) => {
                    self.skipped.extend(skipped);
                    let known = before.at(&path);
                    (if *known == list { known } else { Arc::new(list) }, true)
                }
                Err(error) => {
                    let kept = before.at(&path);
                    let mut message = format!("cannot read the list {}: {error}", path.display());
                    if error.kind() == ErrorKind::PermissionDenied {
                        // Once it runs, a frontend has given up all directories but those that it knew.
                        message += "; if its directory is new in the config, restart this program";
                    }
                    if !kept.is_empty() {
                        message += "; it stays what it was";
                    }
                    self.unread.push(Fault::new(entry.value_span(None), message));
                    (kept, false)
                }
            },
        };
        self.lists.all.push(Named { name: name.clone(), path, list, is_read, stamp });
        Ok(())
    }
}

/// A name as filters and rules have it: with quotes or without.
pub(crate) fn unquoted(name: &str) -> &str {
    name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn faults_of_lists_are_named_where_they_are_and_the_rest_counts() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("ads"), "ads.test\nno domain\n").unwrap();
        fs::write(
            at("w.ini"),
            "[lists]\nads = ads\nADS = other\nnone = /no/such/list\nempty =\na\"b = ads\n\
             [filters]\nbad = list:ads\nlost = list:adds\n[rx-style]\nlist:none = fg=fff\nlist:lost = fg=fff\n\
             [rx-proc]\nlist:ads = x\n!list:ads && list:ADS && /a/ = b\n",
        )
        .unwrap();
        let config = Config::read(&at("w.ini")).unwrap();
        let base = format!("{}/", folder.path().display());
        let told: Vec<_> =
            config.all_diagnostics().map(|fault| fault.to_string().replace(&base, "")).collect();
        assert_eq!(
            told,
            [
                "w.ini:3:1: a list before this one is called ADS, so this one is never used",
                "w.ini:5:1: empty = : expected the path of a file",
                "w.ini:6:1: the name of a list contains no quotes",
                "w.ini:9:8: there is no list adds; there are ads, none",
                "w.ini:12:1: there is no list lost; there are ads, none, the rule is skipped",
                "w.ini:14:1: only negated regexes and lists leave nothing to replace, the rule is skipped",
                "w.ini:15:14: this chain asks for one list with and without !, so it never holds, the rule is skipped",
                "w.ini:4:8: cannot read the list /no/such/list: No such file or directory (os error 2)",
                "ads:2:4: one entry a line, the line is skipped",
            ]
        );
        let lists = &config.names.lists;
        assert!(lists.find("Ads").unwrap().has("x.ads.test") && lists.find("none").unwrap().is_empty());
        assert_eq!(lists.paths().collect::<Vec<_>>(), [at("ads"), "/no/such/list".into()]);
    }
}
