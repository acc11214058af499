// SPDX-License-Identifier: GPL-3.0-or-later
//! Which of many chains may hold for a line: one pass finds what all of them need.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::chain::Chain;

/// Letters outside ASCII that are another case of letters within.
const FOLDED: [char; 2] = ['\u{17f}', '\u{212a}'];

/// Finds the chains that may hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prefilter {
    needs: Option<AhoCorasick>,
    /// By text that is looked for, the chains that need it.
    owners: Vec<Vec<u32>>,
    /// Chains that have to be tried on each line.
    always: Candidates,
    all: Candidates,
}

/// A set of chains, by their indices.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidates {
    bits: Vec<u64>,
}

impl Candidates {
    fn insert(&mut self, index: usize) {
        let word = index / 64;
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << (index % 64);
    }

    /// The first one from an index on.
    pub(crate) fn next_from(&self, index: usize) -> Option<usize> {
        let mut word = index / 64;
        let mut bits = self.bits.get(word)? & (u64::MAX << (index % 64));
        while bits == 0 {
            word += 1;
            bits = *self.bits.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

impl Prefilter {
    /// Those that any line may need are compiled at once: so no line waits for it.
    pub(crate) fn new<'c>(chains: impl Iterator<Item = &'c Chain>) -> Self {
        let mut filter = Self::default();
        let mut texts: Vec<&str> = Vec::new();
        let mut indices: HashMap<&str, usize> = HashMap::new();
        for (index, chain) in chains.enumerate() {
            filter.all.insert(index);
            let needs = chain.patterns.iter().filter(|pattern| !pattern.negated && !pattern.need.is_empty());
            // Every regex must be found, so one is as good as all: that of the longest texts.
            let best = needs.max_by_key(|pattern| pattern.need.iter().map(String::len).min());
            let Some(pattern) = best else {
                filter.always.insert(index);
                for pattern in &chain.patterns {
                    pattern.prepare();
                }
                continue;
            };
            for text in &pattern.need {
                let place = *indices.entry(text).or_insert_with(|| {
                    texts.push(text);
                    filter.owners.push(Vec::new());
                    texts.len() - 1
                });
                // The rules of a config, at most 4 MiB of text, are fewer.
                filter.owners[place].push(u32::try_from(index).unwrap_or(u32::MAX));
            }
        }
        let mut builder = AhoCorasick::builder();
        builder.ascii_case_insensitive(true).match_kind(MatchKind::Standard);
        builder.kind(Some(AhoCorasickKind::ContiguousNFA));
        match builder.build(&texts) {
            Ok(_) if texts.is_empty() => {}
            Ok(needs) => filter.needs = Some(needs),
            // More than it takes: then every chain is tried.
            Err(_) => filter.always = filter.all.clone(),
        }
        filter
    }

    /// The chains that may hold for a line: no other does.
    pub(crate) fn candidates(&self, line: &str) -> Candidates {
        if !line.is_ascii() && line.contains(FOLDED) {
            return self.all.clone();
        }
        let mut candidates = self.always.clone();
        for found in self.needs.iter().flat_map(|needs| needs.find_overlapping_iter(line)) {
            for owner in &self.owners[found.pattern().as_usize()] {
                candidates.insert(*owner as usize);
            }
        }
        candidates
    }
}
