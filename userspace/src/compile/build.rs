//! A zone compiled: its nodes, pieces and gap indexes written into the slab.
//!
//! Nothing refers to what lies outside the zone's own records, so that a version of a zone is whole in
//! itself: an answer that starts at one of its nodes is right for its serial.

use xdp_common::image::node::{self, flag};
use xdp_common::image::zone::{self as zone_record, denial};
use xdp_common::image::{Address, MAX_SCAN, UNIT};

use super::memory::Memory;
use super::names::{self, ExistingName};
use super::piece::{OwnerName, PieceBuilder};
use super::slab::{Extent, Slab};
use super::{CompileError, node_hash};
use crate::dnssec::any::preferred_type;
use crate::dnssec::denial::{Hash, nsec3_hash, read_hash_owner};
use crate::zone::{Owner, Rrset, Rtype, Zone, name};

/// Octets of an entry of a gap index.
const ENTRY_LEN: usize = 16;

/// Octets of a name from which on an NSEC with its owner name and the next one may not fit the 512
/// octets of a client without EDNS (RFC 1035 section 4.2.1), if the question has the name too.
const LONG_NAME: usize = 128;

/// A zone in the slab.
pub struct CompiledZone {
    /// Its nodes with the hashes of their names, in canonical order.
    pub nodes: Vec<(u64, Address)>,
    /// All that it occupies.
    pub extents: Vec<Extent>,
    /// The most labels of any of its names.
    pub max_labels: u32,
}

/// Writes a zone into the slab. On an error nothing stays taken; if there is no room,
/// [`CompileError::Full`] says how much the zone needs.
pub fn compile(
    zone: &Zone,
    seed: u64,
    slab: &mut Slab,
    memory: &dyn Memory,
) -> Result<CompiledZone, CompileError> {
    let mut writer = Writer { slab, memory, extents: Vec::new(), needed: 0, full: false };
    let result = Build::new(zone, seed, &mut writer).and_then(Build::run);
    let Writer { slab, extents, needed, full, .. } = writer;
    let failed = match result {
        Ok(_) if full => CompileError::Full { octets: needed },
        Ok(compiled) => return Ok(CompiledZone { extents, ..compiled }),
        Err(error) => error,
    };
    for extent in extents {
        slab.give(extent);
    }
    Err(failed)
}

/// Takes extents and writes records. Without room it goes on counting.
struct Writer<'a> {
    slab: &'a mut Slab,
    memory: &'a dyn Memory,
    extents: Vec<Extent>,
    needed: usize,
    full: bool,
}

impl Writer<'_> {
    fn take(&mut self, len: usize) -> Address {
        self.needed += len.next_multiple_of(UNIT);
        if self.full {
            return 0;
        }
        match self.slab.take(len) {
            Some(extent) => {
                self.extents.push(extent);
                extent.address
            }
            None => {
                self.full = true;
                0
            }
        }
    }

    fn write(&self, address: Address, octets: &[u8]) {
        if !self.full {
            self.memory.write(address as usize * UNIT, octets);
        }
    }

    fn place(&mut self, octets: &[u8]) -> Address {
        let address = self.take(octets.len());
        self.write(address, octets);
        address
    }
}

/// What is known of a node before it is written.
#[derive(Clone, Default)]
struct NodeRecord {
    address: Address,
    flags: u16,
    types: Vec<(u16, Address)>,
    otherwise: Address,
    proofs: [Address; 2],
    glue: Address,
    optional_glue: Address,
    target: Option<usize>,
    wildcard: Option<usize>,
    encloser_match: Address,
    wildcard_cover: Address,
    first_cover: Address,
    children: (Address, u32),
    last_cover: Address,
    any: Address,
}

/// An NSEC3 record of the zone.
struct HashedName {
    hash: Hash,
    piece: Address,
}

struct Build<'a, 'w, 'm> {
    zone: &'a Zone,
    apex: &'a [u8],
    seed: u64,
    denial: u8,
    names: Vec<ExistingName<'a>>,
    nodes: Vec<NodeRecord>,
    hashed: Vec<HashedName>,
    writer: &'w mut Writer<'m>,
}

impl<'a, 'w, 'm> Build<'a, 'w, 'm> {
    fn new(zone: &'a Zone, seed: u64, writer: &'w mut Writer<'m>) -> Result<Self, CompileError> {
        let apex = zone.apex().as_wire();
        let at_apex = zone.find(apex).ok_or(CompileError::NoApex)?;
        let denial = if at_apex.rrset(Rtype::NSEC).is_some() {
            denial::NSEC
        } else if let Some(parameters) = at_apex.rrset(Rtype::NSEC3PARAM) {
            check_nsec3_parameters(parameters)?;
            denial::NSEC3
        } else {
            denial::NONE
        };
        let names = names::existing(zone);
        let nodes = vec![NodeRecord::default(); names.len()];
        Ok(Build { zone, apex, seed, denial, names, nodes, hashed: Vec::new(), writer })
    }

    fn run(mut self) -> Result<CompiledZone, CompileError> {
        let zone = self.writer.take(zone_record::LEN);
        if self.denial == denial::NSEC3 {
            self.hashed_names()?;
        }
        for place in 0..self.names.len() {
            self.node(place)?;
        }
        self.resolve_targets();
        match self.denial {
            denial::NSEC => self.nsec_proofs(),
            denial::NSEC3 => self.nsec3_proofs(),
            _ => {}
        }
        self.children();
        let soa = self.negative_soa()?;
        let (index, directory, shift) = self.hash_index()?;

        let mut record = [0u8; zone_record::LEN];
        put32(&mut record, zone_record::at::SOA, soa);
        record[zone_record::at::DENIAL] = self.denial;
        record[zone_record::at::SHIFT] = shift;
        record[zone_record::at::APEX_LEN] = self.apex.len() as u8;
        record[zone_record::at::LABELS] = name::labels(self.apex).count() as u8;
        put32(&mut record, zone_record::at::INDEX, index);
        put32(&mut record, zone_record::at::INDEX_COUNT, self.hashed.len() as u32);
        put32(&mut record, zone_record::at::DIRECTORY, directory);
        put32(&mut record, zone_record::at::SERIAL, self.zone.serial());
        self.writer.write(zone, &record);

        let mut nodes = Vec::with_capacity(self.nodes.len());
        for place in 0..self.nodes.len() {
            nodes.push(self.write_node(place, zone));
        }
        let max_labels = names::max_labels(&self.names);
        Ok(CompiledZone { nodes, extents: Vec::new(), max_labels })
    }

    //--- Nodes and their pieces

    /// Takes room for a node and writes its pieces behind it.
    fn node(&mut self, place: usize) -> Result<(), CompileError> {
        let existing = &self.names[place];
        let (wire, owner, is_cut) = (existing.wire, existing.owner, existing.is_cut);
        let mut record = NodeRecord::default();
        if place == 0 {
            record.flags |= flag::APEX;
        }
        let Some(owner) = owner else {
            record.address = self.take_node(wire, 0);
            self.nodes[place] = record;
            return Ok(());
        };
        let rtypes: Vec<Rtype> = owner
            .rrsets()
            .map(|rrset| rrset.rtype())
            .filter(|&rtype| rtype != Rtype::RRSIG)
            .filter(|&rtype| !is_cut || matches!(rtype, Rtype::DS | Rtype::NSEC))
            .collect();
        if rtypes.len() > node::MAX_TYPES {
            return Err(CompileError::TooManyTypes(wire.into()));
        }
        record.address = self.take_node(wire, rtypes.len());
        for rtype in rtypes {
            let Some(rrset) = owner.rrset(rtype) else { continue };
            let piece = match rtype {
                // One piece serves as the answer to a question for it and as a proof, but what a
                // wildcard answers with is the question's own, and a long name is not said twice.
                Rtype::NSEC => {
                    record.proofs[0] = self.denial_piece(&owner, rrset)?;
                    if first_label(wire) == b"*" || wire.len() > LONG_NAME {
                        self.rrset_piece(&owner, rrset, OwnerName::Context)?
                    } else {
                        record.proofs[0]
                    }
                }
                Rtype::DNAME => {
                    record.flags |= flag::DNAME;
                    self.rrset_piece(&owner, rrset, OwnerName::Suffix(wire.len()))?
                }
                _ => self.rrset_piece(&owner, rrset, OwnerName::Context)?,
            };
            match rtype {
                Rtype::CNAME => {
                    record.flags |= flag::CNAME;
                    record.otherwise = piece;
                }
                Rtype::DNAME => record.otherwise = piece,
                _ => {}
            }
            record.types.push((rtype.0, piece));
        }
        record.any = self.any_piece(&owner, &record.types)?;
        if is_cut {
            record.flags |= flag::CUT;
            record.otherwise = self.referral_piece(&owner)?;
            (record.glue, record.optional_glue) = self.glue_pieces(&owner)?;
        }
        self.nodes[place] = record;
        Ok(())
    }

    fn take_node(&mut self, wire: &[u8], types: usize) -> Address {
        self.writer.take(node_len(wire, types))
    }

    fn place_piece(
        &mut self,
        piece: PieceBuilder<'_>,
        wire: &[u8],
    ) -> Result<Address, CompileError> {
        let record = piece.finish().map_err(|_| CompileError::TooLarge(wire.into()))?;
        Ok(self.writer.place(&record))
    }

    /// An RRset and its signatures.
    fn rrset_piece(
        &mut self,
        owner: &Owner<'a>,
        rrset: Rrset<'a>,
        named: OwnerName<'_>,
    ) -> Result<Address, CompileError> {
        let mut piece = PieceBuilder::new(self.apex);
        add_rrset(&mut piece, owner, rrset, rrset.ttl(), named, named);
        self.place_piece(piece, owner.name())
    }

    /// What is said to ANY (RFC 8482): what stands beside the zone for it, or the RRset that is most likely wanted.
    fn any_piece(
        &mut self,
        owner: &Owner<'a>,
        types: &[(u16, Address)],
    ) -> Result<Address, CompileError> {
        let beside = self.zone.beside().and_then(|beside| beside.find(owner.name()));
        if let Some((beside, hinfo)) = beside.and_then(|at| Some((at, at.rrset(Rtype::HINFO)?))) {
            return self.rrset_piece(&beside, hinfo, OwnerName::Context);
        }
        let preferred = preferred_type(owner);
        let piece = types.iter().find(|(rtype, _)| preferred == Some(Rtype(*rtype)));
        Ok(piece.map_or(0, |(_, piece)| *piece))
    }

    /// An NSEC or NSEC3 with its signatures, its owner name spelled out.
    fn denial_piece(
        &mut self,
        owner: &Owner<'a>,
        rrset: Rrset<'a>,
    ) -> Result<Address, CompileError> {
        let mut piece = PieceBuilder::new(self.apex);
        let spelled = OwnerName::Spelled(owner.name());
        add_rrset(&mut piece, owner, rrset, rrset.ttl(), spelled, OwnerName::First);
        self.place_piece(piece, owner.name())
    }

    /// The SOA as negative answers carry it: with their TTL (RFC 2308 section 3).
    fn negative_soa(&mut self) -> Result<Address, CompileError> {
        let owner = self.zone.find(self.apex).ok_or(CompileError::NoApex)?;
        let soa = owner.rrset(Rtype::SOA).ok_or(CompileError::NoApex)?;
        let mut piece = PieceBuilder::new(self.apex);
        let named = OwnerName::Suffix(self.apex.len());
        add_rrset(&mut piece, &owner, soa, self.zone.negative_ttl(), named, named);
        self.place_piece(piece, self.apex)
    }

    /// The NS RRset of a cut, and with DNSSEC records its DS.
    fn referral_piece(&mut self, owner: &Owner<'a>) -> Result<Address, CompileError> {
        let mut piece = PieceBuilder::new(owner.name());
        let named = OwnerName::Suffix(owner.name().len());
        if let Some(servers) = owner.rrset(Rtype::NS) {
            for rdata in servers.rdatas() {
                piece.record(named, Rtype::NS, servers.ttl(), rdata);
            }
        }
        piece.dnssec_follows();
        if let Some(ds) = owner.rrset(Rtype::DS) {
            add_rrset(&mut piece, owner, ds, ds.ttl(), named, named);
        }
        self.place_piece(piece, owner.name())
    }

    /// The addresses of a cut's name servers: of those at or below the cut, without which it cannot be
    /// reached, and of those below other cuts of the zone (RFC 9471 sections 2 and 3).
    fn glue_pieces(&mut self, cut: &Owner<'a>) -> Result<(Address, Address), CompileError> {
        let mut needed = PieceBuilder::new(cut.name());
        let mut optional = PieceBuilder::new(cut.name());
        let servers = cut.rrset(Rtype::NS);
        for server in servers.iter().flat_map(|servers| servers.rdatas()) {
            let piece = if name::is_at_or_below(server, cut.name()) {
                &mut needed
            } else if self.is_below_a_cut(server) {
                &mut optional
            } else {
                continue;
            };
            let Some(host) = self.zone.find(server) else { continue };
            for rtype in [Rtype::A, Rtype::AAAA] {
                if let Some(addresses) = host.rrset(rtype) {
                    for rdata in addresses.rdatas() {
                        piece.record(OwnerName::Spelled(server), rtype, addresses.ttl(), rdata);
                    }
                }
            }
        }
        let mut placed = [0; 2];
        for (piece, address) in [needed, optional].into_iter().zip(&mut placed) {
            if !piece.is_empty() {
                *address = self.place_piece(piece, cut.name())?;
            }
        }
        Ok((placed[0], placed[1]))
    }

    /// Whether a name of the zone lies at or below one of its cuts.
    fn is_below_a_cut(&self, wire: &[u8]) -> bool {
        let mut up = Some(wire);
        while let Some(ancestor) = up.filter(|ancestor| ancestor.len() > self.apex.len()) {
            if let Some(place) = names::find(&self.names, ancestor) {
                return self.names[place].is_cut;
            }
            up = name::parent(ancestor);
        }
        false
    }

    //--- Where CNAMEs lead

    /// Looks up what CNAMEs and DNAMEs point to. CNAMEs of a circle are the host's to follow: it knows which
    /// names it has left already.
    fn resolve_targets(&mut self) {
        for place in 0..self.names.len() {
            if let Some(target) = self.target_of(place, Rtype::DNAME)
                && name::is_at_or_below(target, self.apex)
            {
                self.nodes[place].flags |= flag::CHASE;
            }
            let Some(target) = self.target_of(place, Rtype::CNAME) else { continue };
            match names::find(&self.names, target) {
                Some(found) => self.nodes[place].target = Some(found),
                // Below a cut, at a wildcard, or nowhere: the host looks.
                None if name::is_at_or_below(target, self.apex) => {
                    self.nodes[place].flags |= flag::CHASE;
                }
                None => {}
            }
        }
        // Every name is visited once; what a walk comes back to is where its circle closes.
        let mut walked_from = vec![None; self.names.len()];
        for start in 0..self.names.len() {
            let mut at = Some(start);
            while let Some(place) = at.filter(|&place| walked_from[place].is_none()) {
                walked_from[place] = Some(start);
                at = self.nodes[place].target;
            }
            while let Some(place) = at.filter(|&place| walked_from[place] == Some(start)) {
                self.nodes[place].flags |= flag::CHASE;
                at = self.nodes[place].target.take();
            }
        }
    }

    fn target_of(&self, place: usize, rtype: Rtype) -> Option<&'a [u8]> {
        self.names[place].owner?.rrset(rtype)?.rdatas().next()
    }

    //--- Proofs with NSEC

    /// Gives every name the NSEC that denies its types, what covers names before its first child, and
    /// the last NSEC at or below it.
    fn nsec_proofs(&mut self) {
        // An empty non-terminal has no NSEC; the one before it covers it.
        let mut before = 0;
        for node in &mut self.nodes {
            if node.proofs[0] != 0 {
                before = node.proofs[0];
            }
            node.proofs[0] = before;
            node.first_cover = before;
        }
        for place in 0..self.nodes.len() {
            let last = self.names[place].end - 1;
            self.nodes[place].last_cover = self.nodes[last].first_cover;
        }
        for place in 0..self.nodes.len() {
            let children = &self.names[place].children;
            let star = children.partition_point(|&child| {
                first_label(self.names[child as usize].wire) < b"*".as_slice()
            });
            self.nodes[place].wildcard_cover = match star.checked_sub(1) {
                Some(before) => self.nodes[children[before] as usize].last_cover,
                None => self.nodes[place].first_cover,
            };
        }
    }

    //--- Proofs with NSEC3

    /// Writes the NSEC3 records and sorts them by hash.
    fn hashed_names(&mut self) -> Result<(), CompileError> {
        for owner in self.zone.owners() {
            let Some(rrset) = owner.rrset(Rtype::NSEC3) else { continue };
            let Some(hash) = read_hash_owner(owner.name()) else { continue };
            let piece = self.denial_piece(&owner, rrset)?;
            self.hashed.push(HashedName { hash, piece });
        }
        self.hashed.sort_unstable_by_key(|hashed| hashed.hash);
        if self.hashed.is_empty() {
            return Err(CompileError::NoNsec3);
        }
        Ok(())
    }

    fn matching(&self, hash: &Hash) -> Option<Address> {
        let found = self.hashed.binary_search_by(|hashed| hashed.hash.cmp(hash)).ok()?;
        Some(self.hashed[found].piece)
    }

    /// The NSEC3 before a hash that none matches, the last being before the first.
    fn covering(&self, hash: &Hash) -> Address {
        let after = self.hashed.partition_point(|hashed| hashed.hash <= *hash);
        let before = after.checked_sub(1).unwrap_or(self.hashed.len() - 1);
        self.hashed[before].piece
    }

    fn nsec3_proofs(&mut self) {
        use rayon::prelude::*;
        let names = &self.names;
        let hashes: Vec<(Hash, Option<Hash>)> = names
            .par_iter()
            .map(|existing| {
                // Only what can be a closest encloser needs the wildcard's.
                let mut wildcard = b"\x01*".to_vec();
                wildcard.extend_from_slice(existing.wire);
                let fits = wildcard.len() <= name::MAX_NAME_LEN && !existing.is_cut;
                let wildcard = fits.then(|| nsec3_hash(&wildcard, 0, &[]));
                (nsec3_hash(existing.wire, 0, &[]), wildcard)
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

    /// Writes the NSEC3 index and its directory; returns both and the shift.
    fn hash_index(&mut self) -> Result<(Address, Address, u8), CompileError> {
        if self.denial != denial::NSEC3 {
            return Ok((0, 0, 0));
        }
        let mut index = Vec::with_capacity(self.hashed.len() * ENTRY_LEN);
        for hashed in &self.hashed {
            let (high, low) = hash_key(&hashed.hash);
            index.extend(high.to_le_bytes());
            index.extend(low.to_le_bytes());
            index.extend(hashed.piece.to_le_bytes());
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
        let index = self.writer.place(&index);
        let directory = self.writer.place(&octets);
        Ok((index, directory, (64 - bits) as u8))
    }

    //--- Children

    /// Finds wildcards, and with NSEC writes each name's index of children.
    fn children(&mut self) {
        for place in 0..self.names.len() {
            let children = &self.names[place].children;
            let star = children.binary_search_by(|&child| {
                first_label(self.names[child as usize].wire).cmp(b"*".as_slice())
            });
            self.nodes[place].wildcard = star.ok().map(|found| children[found] as usize);
            if self.denial != denial::NSEC || children.is_empty() {
                continue;
            }
            let mut index = Vec::with_capacity(children.len() * ENTRY_LEN);
            for &child in children {
                let label = first_label(self.names[child as usize].wire);
                let (high, low) = label_key(label);
                index.extend(high.to_le_bytes());
                index.extend(low.to_le_bytes());
                index.extend(self.nodes[child as usize].address.to_le_bytes());
            }
            self.nodes[place].children = (self.writer.place(&index), children.len() as u32);
        }
    }

    //--- Writing

    fn write_node(&mut self, place: usize, zone: Address) -> (u64, Address) {
        let wire = self.names[place].wire;
        let node = &self.nodes[place];
        let address_of = |place: Option<usize>| place.map_or(0, |place| self.nodes[place].address);
        let hash = node_hash(wire, self.seed);
        let mut record = node_head(wire, hash, node.flags, node.types.len());
        let is_cname = node.flags & flag::CNAME != 0;
        for (at, address) in [
            (node::at::ZONE, zone),
            (node::at::OTHERWISE, node.otherwise),
            (node::at::PROOFS, node.proofs[0]),
            (node::at::PROOFS + 4, node.proofs[1]),
            (node::at::GLUE, if is_cname { address_of(node.target) } else { node.glue }),
            (node::at::OPTIONAL_GLUE, node.optional_glue),
            (node::at::WILDCARD, address_of(node.wildcard)),
            (node::at::ENCLOSER_MATCH, node.encloser_match),
            (node::at::WILDCARD_COVER, node.wildcard_cover),
            (node::at::FIRST_COVER, node.first_cover),
            (node::at::CHILDREN, node.children.0),
            (node::at::CHILD_COUNT, node.children.1),
            (node::at::LAST_COVER, node.last_cover),
            (node::at::ANY, node.any),
        ] {
            put32(&mut record, at, address);
        }
        for (index, &(rtype, piece)) in node.types.iter().enumerate() {
            let at = node::at::TYPES + index * node::TYPE_LEN;
            record[at..at + 2].copy_from_slice(&rtype.to_le_bytes());
            put32(&mut record, at + 4, piece);
        }
        self.writer.write(node.address, &record);
        (hash, node.address)
    }
}

/// Octets of a node's record.
fn node_len(wire: &[u8], types: usize) -> usize {
    node::at::TYPES + types * node::TYPE_LEN + wire.len().next_multiple_of(UNIT)
}

/// A node's record with nothing in it but its name.
pub(super) fn node_head(wire: &[u8], hash: u64, flags: u16, types: usize) -> Vec<u8> {
    let mut record = vec![0; node_len(wire, types)];
    record[node::at::HASH..node::at::HASH + 8].copy_from_slice(&hash.to_le_bytes());
    record[node::at::NAME_LEN] = wire.len() as u8;
    record[node::at::LABELS] = name::labels(wire).count() as u8;
    record[node::at::FLAGS..node::at::FLAGS + 2].copy_from_slice(&flags.to_le_bytes());
    let types_at = node::at::TYPE_COUNT;
    record[types_at..types_at + 2].copy_from_slice(&(types as u16).to_le_bytes());
    let name_at = node::at::TYPES + types * node::TYPE_LEN;
    record[name_at..name_at + wire.len()].copy_from_slice(wire);
    record
}

fn put32(record: &mut [u8], at: usize, value: u32) {
    record[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Adds an RRset, and its signatures behind what is sent without DNSSEC records.
fn add_rrset<'a>(
    piece: &mut PieceBuilder<'_>,
    owner: &Owner<'a>,
    rrset: Rrset<'a>,
    ttl: u32,
    first: OwnerName<'_>,
    others: OwnerName<'_>,
) {
    let mut named = first;
    for rdata in rrset.rdatas() {
        piece.record(named, rrset.rtype(), ttl, rdata);
        named = others;
    }
    piece.dnssec_follows();
    for rdata in owner.signatures(rrset.rtype()) {
        piece.record(named, Rtype::RRSIG, ttl, rdata);
    }
}

fn check_nsec3_parameters(parameters: Rrset<'_>) -> Result<(), CompileError> {
    // Hash algorithm, flags, iterations (16 bits), salt length (RFC 5155 section 4.2).
    let good = |rdata: &[u8]| rdata.len() == 5 && rdata[0] == 1 && rdata[2..5] == [0, 0, 0];
    if parameters.rdatas().any(good) { Ok(()) } else { Err(CompileError::Nsec3Parameters) }
}

fn first_label(wire: &[u8]) -> &[u8] {
    name::labels(wire).next().unwrap_or_default()
}

/// The twelve octets that children are sorted by, as `xdp_common::dns::name::label_key` has them.
fn label_key(label: &[u8]) -> (u64, u32) {
    let mut padded = [0u8; 12];
    let len = label.len().min(12);
    padded[..len].copy_from_slice(&label[..len]);
    key_of(&padded)
}

fn hash_key(hash: &Hash) -> (u64, u32) {
    let mut first = [0; 12];
    first.copy_from_slice(&hash[..12]);
    key_of(&first)
}

fn key_of(octets: &[u8; 12]) -> (u64, u32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *octets;
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([i, j, k, l]))
}
