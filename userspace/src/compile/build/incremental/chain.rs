//! The NSEC3 chain: which of its records change, which names' proofs depend on these, and the index with them.

use std::collections::{BTreeMap, HashMap};

use xdp_common::image::Address;
use xdp_common::image::chain::{MAX_SCAN, PAGE_LEN};

use super::changes::covered;
use super::input::Change;
use super::merged::MergedChain;
use crate::compile::error::WholeReason;
use crate::compile::hashes::{
    HashEntry, HashIndex, RootHead, hash_key, hash_prefix, is_filled, range_octets,
    reference_octets,
};
use crate::dnssec::denial::{Hash, Nsec3, read_hash_owner, write_hash_owner};
use crate::zone::name::{self, canonical_order, is_at_or_below};
use crate::zone::{Owner, Rrset, Rtype};

/// The most names below one whose proofs change that are looked at for such as have the same proofs.
const MAX_DEPENDENTS: usize = 4096;

//--- What changes

impl<'a> Change<'a, '_> {
    /// Writes the records of the chain that come or are others; what goes is in it as 0.
    pub(super) fn changed_chain(&mut self) -> Result<MergedChain<'a>, WholeReason> {
        let root = self.zone_record().map_or(0, |zone| zone.chain());
        let older = HashIndex::new(self.input.memory, root);
        let mut edits = Vec::new();
        for (wire, [was_removed, is_added]) in self.changed_nsec3() {
            let hash = read_hash_owner(wire)
                .filter(|_| name::parent(wire) == Some(self.context.apex))
                .ok_or(WholeReason::Denial)?;
            let key = hash_key(&hash);
            let is = self.nsec3_at(wire);
            let was = older.and_then(|older| older.matching(key));
            if was.is_some() != (was_removed || (is.is_some() && !is_added)) {
                return Err(WholeReason::OtherVersion);
            }
            let piece = match is {
                None => 0,
                Some((owner, rrset)) => {
                    let octets = self.context.denial_piece(&owner, rrset);
                    if was.is_some_and(|was| self.slab.holds(was, &octets)) {
                        continue;
                    }
                    self.writer.place(&octets)
                }
            };
            self.compiled.unused.extend(was);
            if (was, piece) != (None, 0) {
                edits.push((key, piece));
            }
        }
        edits.sort_unstable();
        if edits.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(WholeReason::OtherVersion);
        }
        Ok(MergedChain { older, edits })
    }

    /// The owners of NSEC3 records of the chain that change or whose signatures do; of each, whether the record that it
    /// had is removed, and whether one is added.
    fn changed_nsec3(&self) -> HashMap<&'a [u8], [bool; 2]> {
        let (difference, nsec3) = (self.input.difference, self.context.nsec3);
        let removed = difference.removed().iter().map(|record| (record, 0));
        let added = difference.added().iter().map(|record| (record, 1));
        let mut owners: HashMap<&[u8], [bool; 2]> = HashMap::new();
        for (record, side) in removed.chain(added) {
            if covered(&record) != Rtype::NSEC3 {
                continue;
            }
            let sides = owners.entry(record.owner).or_default();
            let parsed = Nsec3::parse(record.rdata).filter(|_| record.rtype == Rtype::NSEC3);
            sides[side] |= parsed.is_some_and(|parsed| nsec3.are_of(&parsed));
        }
        owners
    }

    /// The NSEC3 RRset of an owner in the version to be, if it is of the chain.
    fn nsec3_at(&self, wire: &[u8]) -> Option<(Owner<'a>, Rrset<'a>)> {
        let owner = self.input.new.find(wire)?;
        let rrset = owner.rrset(Rtype::NSEC3)?;
        let mut records = rrset.rdatas().filter_map(Nsec3::parse);
        records.any(|record| self.context.nsec3.are_of(&record)).then_some((owner, rrset))
    }

    /// The names whose proofs may depend on what changes of the chain: those whose hash, or that of the wildcard below them,
    /// is at or behind a changed record and before the next one, and those that have the proofs of one of these.
    pub(super) fn names_of(&self, chain: &MergedChain<'a>) -> Result<Vec<&'a [u8]>, WholeReason> {
        let older = MergedChain { older: chain.older, edits: Vec::new() };
        let mut names = Vec::new();
        for &(key, piece) in &chain.edits {
            // What is behind a record that goes is before the next one of those that were; another one that comes between is
            // changed, too.
            let chain = if piece == 0 { &older } else { chain };
            let from = hash_prefix(key);
            match chain.next(Some(key)) {
                Some(next) => self.add_names(from, hash_prefix(next), &mut names),
                None => {
                    let first = chain.next(None).map_or(u32::MAX, hash_prefix);
                    self.add_names(from, u32::MAX, &mut names);
                    self.add_names(0, first, &mut names);
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        if self.input.older.dependents > 0 {
            let mut below = Vec::new();
            names.iter().try_for_each(|wire| self.add_dependents(wire, &mut below))?;
            names.append(&mut below);
        }
        Ok(names)
    }

    /// Adds the names of which a hash starts with one of these.
    fn add_names(&self, first: u32, last: u32, names: &mut Vec<&'a [u8]>) {
        let by_hash = &self.input.older.by_hash;
        let from = by_hash.search(|one| one.cmp(&(first, 0))).unwrap_or_else(|place| place);
        let found = by_hash.from(from).take_while(|(prefix, _)| *prefix <= last);
        names.extend(found.map(|(_, node)| self.slab.name_of(*node)));
    }

    /// Adds the names below one that have the proofs of a name above.
    fn add_dependents(&self, wire: &[u8], names: &mut Vec<&'a [u8]>) -> Result<(), WholeReason> {
        let nodes = &self.input.older.nodes;
        let place = nodes.search(|&node| canonical_order(self.slab.name_of(node), wire));
        let below = nodes
            .from(place.unwrap_or_else(|place| place))
            .map(|node| (*node, self.slab.name_of(*node)));
        let below = below.take_while(|(_, name)| is_at_or_below(name, wire));
        for (number, (node, name)) in below.enumerate() {
            if number > MAX_DEPENDENTS {
                return Err(WholeReason::Denial);
            }
            // Where this one had no record or will have none, those with the apex' proofs are meant, too.
            if self.slab.is_without_nsec3(node)
                && (wire != self.context.apex || self.slab.is_dependent(node))
            {
                names.push(name);
            }
        }
        Ok(())
    }

    //--- What names say

    /// The record that matches a hash in the version to be.
    pub(super) fn matching(&self, hash: &Hash) -> Option<Address> {
        let piece = self.chain.matching(hash_key(hash))?;
        // The index has but a part of a hash.
        let mut owner = Vec::new();
        write_hash_owner(hash, self.context.apex, &mut owner);
        self.nsec3_at(&owner).map(|_| piece)
    }

    /// The record before a hash that none matches, the last being before the first.
    pub(super) fn covering(&self, hash: &Hash) -> Address {
        self.chain.covering(hash_key(hash))
    }

    //--- The index

    /// The root of the index with what changes; its ranges and pages are written as far as they do.
    pub(super) fn chain_root(&mut self) -> Result<Address, WholeReason> {
        let root = self.zone_record().map_or(0, |zone| zone.chain());
        let Some(older) = self.chain.older.filter(|_| !self.chain.edits.is_empty()) else {
            return Ok(root);
        };
        let count = self.count(older)?;
        let ranges = self.changed_ranges(older)?;
        let mut pages: BTreeMap<u32, Vec<(u32, Address)>> = BTreeMap::new();
        for (&number, entries) in &ranges {
            let before = last_before(older, &ranges, number).ok_or(WholeReason::OtherVersion)?;
            let address = self.writer.place(&range_octets(before, entries));
            self.compiled.unused.extend(older.range_address(number));
            pages.entry(number / PAGE_LEN as u32).or_default().push((number, address));
        }
        let mut references = older.pages().ok_or(WholeReason::OtherVersion)?;
        for (page, changed) in pages {
            let first = page * PAGE_LEN as u32;
            let mut ranges = older.ranges_of(page).ok_or(WholeReason::OtherVersion)?;
            for (number, address) in changed {
                *ranges.get_mut((number - first) as usize).ok_or(WholeReason::OtherVersion)? =
                    address;
            }
            let page = references.get_mut(page as usize).ok_or(WholeReason::OtherVersion)?;
            self.compiled.unused.push(*page);
            *page = self.writer.place(&reference_octets(ranges.into_iter()));
        }
        let apex = self.context.nsec3.hash(self.context.apex);
        let head =
            RootHead { count, apex_match: self.matching(&apex).unwrap_or(0), ..older.head() };
        let octets = [&head.octets()[..], &reference_octets(references.into_iter())].concat();
        self.compiled.unused.push(root);
        Ok(self.writer.place(&octets))
    }

    /// How many records the chain will have, if the ranges are right for so many.
    fn count(&self, older: HashIndex<'_>) -> Result<u32, WholeReason> {
        let mut count = older.count;
        for (key, piece) in &self.chain.edits {
            let was = u32::from(older.matching(*key).is_some());
            count = (count + u32::from(*piece != 0)).saturating_sub(was);
        }
        if count == 0 || !is_filled(count as usize, older.bits) {
            return Err(WholeReason::Denial);
        }
        Ok(count)
    }

    /// The ranges that are written, and their entries: those in which something changes, and those behind them as far as
    /// the last record before them is another.
    fn changed_ranges(
        &self,
        older: HashIndex<'_>,
    ) -> Result<BTreeMap<u32, Vec<HashEntry>>, WholeReason> {
        let entries_of = |number: u32| {
            let range = older.range(number).ok_or(WholeReason::OtherVersion)?;
            Ok::<_, WholeReason>((range.last(), range.entries().collect::<Vec<_>>()))
        };
        let mut ranges = BTreeMap::new();
        let number_of = |(key, _): &HashEntry| older.number(*key);
        for edits in self.chain.edits.chunk_by(|a, b| number_of(a) == number_of(b)) {
            let number = number_of(&edits[0]);
            let (_, mut entries) = entries_of(number)?;
            entries.retain(|(key, _)| edits.binary_search_by_key(key, |(key, _)| *key).is_err());
            entries.extend(edits.iter().filter(|(_, piece)| *piece != 0));
            entries.sort_unstable();
            if entries.len() >= MAX_SCAN - 1 {
                return Err(WholeReason::Denial);
            }
            ranges.insert(number, entries);
        }
        let edited: Vec<u32> = ranges.keys().copied().collect();
        for number in edited {
            let (last, _) = entries_of(number)?;
            if ranges[&number].last().is_some_and(|(_, piece)| *piece == last) {
                continue;
            }
            let behind = number + 1..older.range_count();
            for behind in behind.chain(0..=number) {
                let known = ranges.get(&behind).map(Vec::is_empty);
                let is_empty = match known {
                    Some(is_empty) => is_empty,
                    None => {
                        let (_, entries) = entries_of(behind)?;
                        ranges.entry(behind).or_insert(entries).is_empty()
                    }
                };
                if !is_empty {
                    break;
                }
            }
        }
        Ok(ranges)
    }
}

/// The last record before a range, of all if there is none, given the ranges that are others.
fn last_before(
    older: HashIndex<'_>,
    ranges: &BTreeMap<u32, Vec<HashEntry>>,
    number: u32,
) -> Option<Address> {
    let before = (0..number).rev().chain((number..older.range_count()).rev());
    for before in before {
        let Some(entries) = ranges.get(&before) else {
            // What comes before one that stays is what came before it.
            return older.range(before).map(|range| range.last());
        };
        if let Some((_, piece)) = entries.last() {
            return Some(*piece);
        }
    }
    None
}
