//! Proofs with NSEC3 (RFC 5155), and the index in which they are searched.

use xdp_common::image::Address;
use xdp_common::image::chain::PAGE_LEN;
use xdp_common::image::node::flag;
use xdp_common::image::zone::denial;

use super::records::first_label;
use super::state::{Build, HashedName, PlacedNode};
use crate::compile::error::CompileError;
use crate::compile::hashes::{
    HashEntry, RootHead, bits_for, hash_key, hash_prefix, page_count, range_number, range_octets,
    reference_octets,
};
use crate::compile::names;
use crate::compile::sorted::SortedList;
use crate::dnssec::denial::{Hash, Nsec3, Parameters, read_hash_owner};
use crate::zone::{Owner, Rtype, name};

impl<'a> Build<'a, '_, '_> {
    /// Writes the NSEC3 records and sorts them by hash.
    pub(super) fn hashed_names(&mut self) -> Result<(), CompileError> {
        let zone = self.zone;
        let nsec3 = self.context.nsec3;
        let mut owners: Vec<Owner<'a>> = match self.context.is_partial {
            true => {
                let named = self.names.iter();
                named.filter_map(|name| names::nsec3_of(zone, &nsec3, name.wire)).collect()
            }
            false => zone.owners().filter(|owner| owner.rrset(Rtype::NSEC3).is_some()).collect(),
        };
        owners.sort_unstable_by_key(|owner| zone.index_of(owner));
        for owner in owners {
            let Some(rrset) = owner.rrset(Rtype::NSEC3) else { continue };
            // While parameters are changed there is another chain beside.
            let mut records = rrset.rdatas().filter_map(Nsec3::parse);
            if !records.any(|record| nsec3.are_of(&record)) {
                continue;
            }
            let Some(hash) = read_hash_owner(owner.name()) else { continue };
            let piece = self.context.denial_piece(&owner, rrset);
            let older = self.older.hashed(hash_key(&hash));
            let piece = self.place(&piece, older);
            self.hashed.push(HashedName { hash, piece });
        }
        self.hashed.sort_unstable_by_key(|hashed| hashed.hash);
        if self.hashed.is_empty() {
            return Err(CompileError::NoNsec3);
        }
        Ok(())
    }

    pub(super) fn matching(&self, hash: &Hash) -> Option<Address> {
        let found = self.hashed.binary_search_by(|hashed| hashed.hash.cmp(hash)).ok()?;
        Some(self.hashed[found].piece)
    }

    /// The NSEC3 before a hash that none matches, the last being before the first.
    pub(super) fn covering(&self, hash: &Hash) -> Address {
        let after = self.hashed.partition_point(|hashed| hashed.hash <= *hash);
        let before = after.checked_sub(1).unwrap_or(self.hashed.len() - 1);
        self.hashed[before].piece
    }

    pub(super) fn nsec3_proofs(&mut self) {
        use rayon::prelude::*;
        let (names, nsec3) = (&self.names, self.context.nsec3);
        let hashes: Vec<[Option<Hash>; 2]> = names
            .par_iter()
            .map(|existing| hashes_of(&nsec3, existing.wire, existing.is_cut))
            .collect();
        for place in 0..self.nodes.len() {
            // The closest name at or above it that has an NSEC3, and the one below that on the way.
            let (mut provable, mut next_closer) = (place, None);
            let own = |place: usize| hashes[place][0].unwrap_or_default();
            let matched = loop {
                if let Some(matched) = self.matching(&own(provable)) {
                    break matched;
                }
                if provable == 0 {
                    break 0;
                }
                next_closer = Some(provable);
                provable = self.names[provable].parent;
            };
            let proofs = Nsec3Proofs {
                matched,
                is_of_apex: provable == 0,
                cover: next_closer.map(|below| self.covering(&own(below))),
                wildcard_cover: hashes[provable][1].map_or(0, |hash| self.covering(&hash)),
            };
            let existing = &self.names[place];
            self.nodes[place].prove(existing.wire, existing.is_cut, &proofs);
        }
        if !self.context.is_partial {
            let of_place = hashes.iter().zip(0..);
            let prefixes = of_place.flat_map(|(hashes, place)| {
                hashes.iter().flatten().map(move |hash| (hash_prefix(hash_key(hash)), place))
            });
            self.hash_places = prefixes.collect();
        }
    }

    /// Writes the NSEC3 index; returns the address of its root.
    pub(super) fn hash_index(&mut self) -> Result<Address, CompileError> {
        if self.context.denial_said() != denial::NSEC3 {
            return Ok(0);
        }
        let entries = self.hashed.iter().map(|hashed| (hash_key(&hashed.hash), hashed.piece));
        let entries: Vec<HashEntry> = entries.collect();
        let older = self.older.hash_index();
        let bits = bits_for(&entries, older.map(|older| older.bits));
        let bits = bits.ok_or(CompileError::CrowdedHashes)?;
        let older = older.filter(|older| older.bits == bits);
        let mut ranges = Vec::with_capacity(1 << bits);
        let (mut before, mut rest) = (entries.last().map_or(0, |(_, piece)| *piece), &entries[..]);
        for number in 0..1 << bits {
            let is_here = |((high, _), _): &HashEntry| range_number(*high, bits) == number;
            let len = rest.iter().take_while(|entry| is_here(entry)).count();
            let (here, behind) = rest.split_at(len);
            let known = older.and_then(|older| older.range_address(number)).unwrap_or(0);
            ranges.push(self.place(&range_octets(before, here), known));
            before = here.last().map_or(before, |(_, piece)| *piece);
            rest = behind;
        }
        let mut pages = Vec::with_capacity(page_count(bits) as usize);
        for (ranges, number) in ranges.chunks(PAGE_LEN).zip(0..) {
            let known = older.and_then(|older| older.page(number)).unwrap_or(0);
            pages.push(self.place(&reference_octets(ranges.iter().copied()), known));
        }
        let Parameters { iterations, salt } = self.context.nsec3;
        let head = RootHead {
            count: entries.len() as u32,
            apex_match: self.matching(&self.context.nsec3.hash(self.context.apex)).unwrap_or(0),
            bits,
            salt_len: salt.len() as u8,
            iterations,
            salt: if salt.is_empty() { 0 } else { self.place(salt, self.older.salt()) },
        };
        let mut root = head.octets().to_vec();
        root.extend(reference_octets(pages.into_iter()));
        Ok(self.place(&root, self.older.chain_address()))
    }

    /// The nodes that are found by the hashes on which their proofs depend.
    pub(super) fn by_hash(&mut self) -> SortedList<(u32, Address)> {
        use rayon::slice::ParallelSliceMut as _;
        let places = std::mem::take(&mut self.hash_places);
        let by_hash = places.into_iter();
        let by_hash = by_hash.map(|(prefix, place)| (prefix, self.nodes[place as usize].address));
        let mut by_hash: Vec<(u32, Address)> = by_hash.collect();
        by_hash.par_sort_unstable();
        by_hash.dedup();
        SortedList::of(&by_hash)
    }
}

/// The hashes on which the proofs of a name depend: its own, and unless it is a zone cut that of the wildcard below it.
pub(super) fn hashes_of(nsec3: &Parameters<'_>, wire: &[u8], is_cut: bool) -> [Option<Hash>; 2] {
    // Only what can be a closest encloser needs the wildcard's.
    let star = [b"\x01*", wire].concat();
    let has_wildcard = star.len() <= name::MAX_NAME_LEN && !is_cut;
    [Some(nsec3.hash(wire)), has_wildcard.then(|| nsec3.hash(&star))]
}

/// What an NSEC3 chain says of a name.
pub(super) struct Nsec3Proofs {
    /// The record that matches the closest name at or above it that has one.
    pub matched: Address,
    /// Whether that name is the apex.
    pub is_of_apex: bool,
    /// If that is a name above it, what covers the next one on the way down.
    pub cover: Option<Address>,
    /// What covers `*` below that name.
    pub wildcard_cover: Address,
}

impl PlacedNode {
    /// Gives a node its proofs.
    pub(super) fn prove(&mut self, wire: &[u8], is_cut: bool, proofs: &Nsec3Proofs) {
        let &Nsec3Proofs { matched, is_of_apex, cover, wildcard_cover } = proofs;
        if cover.is_some() {
            self.flags |= flag::NO_NSEC3;
        }
        let cover = cover.unwrap_or(0);
        self.proofs = [matched, if cover == matched { 0 } else { cover }];
        if is_cut && self.flags & flag::NO_NSEC3 != 0 {
            // Nothing below it is denied. That of the apex may be of a million delegations, and need not be in each of
            // them; but what a wildcard is asked for comes from the node itself.
            if is_of_apex && first_label(wire) != b"*" {
                self.proofs[0] = 0;
            }
            return;
        }
        self.encloser_match = matched;
        self.wildcard_cover = wildcard_cover;
        self.first_cover = cover;
    }

    /// Whether its proofs are those of another name, and change with these.
    pub(super) fn is_dependent(&self) -> bool {
        self.flags & flag::NO_NSEC3 != 0 && self.proofs[0] != 0
    }
}
