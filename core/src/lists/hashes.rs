// SPDX-License-Identifier: GPL-3.0-or-later
//! A set of names of which only hashes are kept: 8.5 bytes each.

use std::hash::{BuildHasher, RandomState};

/// Of one bucket so many hashes are looked through, in the mean at most.
const PER_BUCKET: usize = 8;

/// Names by their 64-bit hashes, whose key is another one in each process: a name that is not there is taken for one of n
/// that are with a probability of n / 2⁶⁴, and nobody can choose such a name.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    key: RandomState,
    sorted: Vec<u64>,
    /// Where those begin whose uppermost bits are this index; as the last one, where all end.
    starts: Vec<u32>,
    /// How far right the uppermost bits are.
    shift: u32,
}

impl Hashes {
    /// Adds a name; it is found after [`Self::seal`].
    pub(super) fn add(&mut self, name: &[u8]) {
        self.sorted.push(self.key.hash_one(name));
    }

    /// Ends adding.
    pub(super) fn seal(&mut self) {
        self.sorted.sort_unstable();
        self.sorted.dedup();
        self.sorted.shrink_to_fit();
        let buckets = self.sorted.len().div_ceil(PER_BUCKET).next_power_of_two().max(2);
        self.shift = u64::BITS - buckets.trailing_zeros();
        let mut end = 0;
        self.starts = (0..=buckets as u64)
            .map(|bucket| {
                let rest = &self.sorted[end..];
                end += rest.iter().take_while(|hash| **hash >> self.shift < bucket).count();
                u32::try_from(end).unwrap_or(u32::MAX)
            })
            .collect();
    }

    pub(super) fn has(&self, name: &[u8]) -> bool {
        let hash = self.key.hash_one(name);
        let bucket = usize::try_from(hash >> self.shift).unwrap_or(usize::MAX);
        let bounds = self.starts.get(bucket..).and_then(<[u32]>::first_chunk);
        let Some(&[start, end]) = bounds else { return false };
        let bucket = self.sorted.get(start as usize..end as usize);
        bucket.is_some_and(|bucket| bucket.binary_search(&hash).is_ok())
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.sorted.capacity() * size_of::<u64>() + self.starts.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_and_nothing_else() {
        assert!(!Hashes::default().has(b"") && !Hashes::default().has(b"a"));
        for count in [0, 1, 2, 15, 16, 17, 5000] {
            let mut hashes = Hashes::default();
            for number in (0..count).chain(0..count) {
                hashes.add(format!("{number}").as_bytes());
            }
            hashes.seal();
            assert_eq!(hashes.len(), count);
            for number in 0..2 * count {
                assert_eq!(hashes.has(format!("{number}").as_bytes()), number < count, "{number} of {count}");
            }
        }
    }
}
