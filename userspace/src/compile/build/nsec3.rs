//! Proofs with NSEC3 (RFC 5155), and the index in which they are searched.

use xdp_common::image::chain;
use xdp_common::image::node::flag;
use xdp_common::image::zone::denial;
use xdp_common::image::{Address, MAX_SCAN};

use super::records::{key_of, push_entry, put32};
use super::state::{Build, HashedName};
use crate::compile::error::CompileError;
use crate::compile::memory::ENTRY_LEN;
use crate::compile::names;
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
        let hashes: Vec<(Hash, Option<Hash>)> = names
            .par_iter()
            .map(|existing| {
                // Only what can be a closest encloser needs the wildcard's.
                let mut wildcard = b"\x01*".to_vec();
                wildcard.extend_from_slice(existing.wire);
                let fits = wildcard.len() <= name::MAX_NAME_LEN && !existing.is_cut;
                let wildcard = fits.then(|| nsec3.hash(&wildcard));
                (nsec3.hash(existing.wire), wildcard)
            })
            .collect();
        for place in 0..self.nodes.len() {
            // The closest name at or above it that has an NSEC3, and the one below that on the way.
            let (mut provable, mut next_closer) = (place, None);
            let matched = loop {
                if let Some(matched) = self.matching(&hashes[provable].0) {
                    break matched;
                }
                if provable == 0 {
                    break 0;
                }
                next_closer = Some(provable);
                provable = self.names[provable].parent;
            };
            let cover = next_closer.map_or(0, |below| self.covering(&hashes[below].0));
            let wildcard = hashes[provable].1.map_or(0, |hash| self.covering(&hash));
            let node = &mut self.nodes[place];
            node.proofs = [matched, if cover == matched { 0 } else { cover }];
            node.encloser_match = matched;
            node.wildcard_cover = wildcard;
            if next_closer.is_some() {
                node.flags |= flag::NO_NSEC3;
                node.first_cover = cover;
            }
        }
    }

    /// Writes the NSEC3 index and its directory; returns the address of the index.
    pub(super) fn hash_index(&mut self) -> Result<Address, CompileError> {
        if self.context.denial_said() != denial::NSEC3 {
            return Ok(0);
        }
        // Four entries a bucket on average; more bits if one of them is crowded.
        let mut bits = (self.hashed.len() / 4).max(2).ilog2();
        let directory = loop {
            let mut starts = vec![0u32; (1 << bits) + 1];
            for hashed in &self.hashed {
                starts[(hash_key(&hashed.hash).0 >> (64 - bits)) as usize + 1] += 1;
            }
            if starts.iter().all(|&count| (count as usize) < MAX_SCAN - 1) {
                let mut sum = 0;
                for start in &mut starts {
                    sum += *start;
                    *start = sum;
                }
                starts.pop();
                break starts;
            }
            bits += 1;
            if bits > 28 {
                return Err(CompileError::CrowdedHashes);
            }
        };
        // A reader takes sixteen octets at a time.
        let mut octets: Vec<u8> = directory.iter().flat_map(|start| start.to_le_bytes()).collect();
        octets.resize(octets.len() + ENTRY_LEN, 0);
        let directory = self.place(&octets, self.older.directory());
        let mut index = vec![0; chain::at::ENTRIES];
        put32(&mut index, chain::at::COUNT, self.hashed.len() as u32);
        put32(&mut index, chain::at::DIRECTORY, directory);
        index[chain::at::SHIFT] = (64 - bits) as u8;
        let Parameters { iterations, salt } = self.context.nsec3;
        index[chain::at::ITERATIONS..chain::at::ITERATIONS + 2]
            .copy_from_slice(&iterations.to_le_bytes());
        if !salt.is_empty() {
            index[chain::at::SALT_LEN] = salt.len() as u8;
            let place = self.place(salt, self.older.salt());
            put32(&mut index, chain::at::SALT, place);
        }
        index.reserve(self.hashed.len() * ENTRY_LEN);
        for hashed in &self.hashed {
            push_entry(&mut index, hash_key(&hashed.hash), hashed.piece);
        }
        Ok(self.place(&index, self.older.chain_address()))
    }
}

/// The start of a hash, as the index has it.
pub(super) fn hash_key(hash: &Hash) -> (u64, u32) {
    let mut first = [0; 12];
    first.copy_from_slice(&hash[..12]);
    key_of(&first)
}
