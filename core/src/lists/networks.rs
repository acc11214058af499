// SPDX-License-Identifier: GPL-3.0-or-later
//! A set of networks: 17 bytes each.

use std::net::IpAddr;

/// A network by its first address and the length of its prefix, bits of the address from the left: of both families the
/// same.
pub(super) type Network = (u128, u8);

/// The address, leftmost bit first, and its length.
pub(super) fn bits(address: IpAddr) -> Network {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// The part of an address that a prefix of a length has.
pub(super) fn prefix(address: u128, length: u8) -> u128 {
    address & u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0)
}

/// Networks of one family, of which none contains another.
#[derive(Debug, Default)]
pub(super) struct Networks {
    firsts: Vec<u128>,
    lengths: Vec<u8>,
}

impl Networks {
    pub(super) fn new(mut networks: Vec<Network>) -> Self {
        // Of those that begin at the same address the larger one comes first.
        networks.sort_unstable();
        let mut last: Option<Network> = None;
        networks.retain(|&(first, length)| {
            let is_within = last.is_some_and(|(outer, by)| prefix(first, by) == outer);
            if !is_within {
                last = Some((first, length));
            }
            !is_within
        });
        let (firsts, lengths) = networks.into_iter().unzip();
        let mut this = Self { firsts, lengths };
        this.firsts.shrink_to_fit();
        this.lengths.shrink_to_fit();
        this
    }

    pub(super) fn has(&self, address: u128) -> bool {
        let after = self.firsts.partition_point(|first| *first <= address);
        let last = after.checked_sub(1).and_then(|at| self.firsts.get(at).zip(self.lengths.get(at)));
        last.is_some_and(|(first, length)| prefix(address, *length) == *first)
    }

    pub(super) fn len(&self) -> usize {
        self.firsts.len()
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.firsts.capacity() * size_of::<u128>() + self.lengths.capacity()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_in_the_set_if_it_is_in_a_network(
            // Few enough bits that networks meet.
            networks in proptest::collection::vec((0..16_u128, 0..=4_u8), 0..8),
            address in 0..16_u128,
        ) {
            let networks: Vec<Network> =
                networks.into_iter().map(|(first, length)| (prefix(first << 124, length), length)).collect();
            let address = address << 124;
            let is_in = networks.iter().any(|(first, length)| prefix(address, *length) == *first);
            prop_assert_eq!(Networks::new(networks).has(address), is_in);
        }
    }
}
