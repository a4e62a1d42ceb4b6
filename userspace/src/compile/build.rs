//! A zone compiled: its nodes, pieces and gap indexes written into the slab.
//!
//! Nothing refers to what lies outside the zone's own records, so that a version of a zone is whole in
//! itself: an answer that starts at one of its nodes is right for its serial. What it has in common with
//! the version before lies where it lay, and is of both.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use xdp_common::image::node::{self, flag};
use xdp_common::image::zone::{self as zone_record, chain_at, denial};
use xdp_common::image::{Address, MAX_SCAN, UNIT};

use super::memory::{ENTRY_LEN, Memory};
use super::names::{self, ExistingName};
use super::piece::{OwnerName, PieceBuilder};
use super::reuse::Older;
use super::slab::{Extent, Slab};
use super::{CompileError, Unsendable, What, node_hash};
use crate::dnssec::any::preferred_type;
use crate::dnssec::denial::{Hash, Nsec3, Parameters, read_hash_owner};
use crate::dnssec::lasting::Signers;
use crate::zone::{Name, Owner, Rrset, Rtype, Zone, name};

/// How many addresses of zone records are gathered before those that are the same are dropped.
const GATHERED_RECORDS: usize = 1 << 16;

/// Octets of a name from which on an NSEC with its owner name and the next one may not fit the 512
/// octets of a client without EDNS (RFC 1035 section 4.2.1), if the question has the name too.
const LONG_NAME: usize = 128;

/// A zone in the slab.
#[derive(Default)]
pub struct CompiledZone {
    /// Its nodes, in canonical order of their names.
    pub nodes: Vec<Address>,
    /// All that it occupies, sorted by address.
    pub extents: Vec<Extent>,
    /// The zone records that its nodes refer to. They say the same.
    pub records: Vec<Address>,
    /// Octets of all that it occupies.
    pub octets: usize,
    /// Whether it is a part of the zone's names only.
    pub is_part: bool,
    /// What of it no message can carry.
    pub unsendable: Vec<Unsendable>,
    /// Whether another version takes its place, or none: then what is its own may be freed.
    pub is_gone: Arc<AtomicBool>,
}

/// A version of a zone in the slab, and what sets it apart from the version before.
#[derive(Default)]
pub struct Compiled {
    /// The version.
    pub zone: CompiledZone,
    /// Its nodes that were written, in canonical order.
    pub written: Vec<Address>,
    /// The nodes of the version before in whose place those were written.
    pub replaced: Vec<Address>,
    /// The nodes of the version before whose names it does not have, in canonical order.
    pub gone: Vec<Address>,
    /// Copies of these, if they must stay until the zone records have changed, which theirs does not.
    pub farewell: Vec<Address>,
    /// What was taken for it.
    pub taken: Vec<Extent>,
    /// How many records it has that the version before has not.
    pub fresh: usize,
    /// What is not in use any more once it is published.
    pub retired: Vec<Extent>,
    /// The two words that the older zone records must say, and its serial.
    pub heading: (u64, u32),
    /// The most labels of any of its names.
    pub max_labels: u32,
}

/// Writes a zone into the slab, but for what is there already of the version before. On an error the
/// caller takes the slab back to what it was; if there is no room, [`CompileError::Full`] says how much
/// there must be.
///
/// With `part` only these names are in it, and the apex, as nodes from which nothing follows but what they
/// say themselves ([`flag::HOT`]).
///
/// What no message can carry is added to `unsendable`. `now` is seconds since 1970 truncated to 32 bits: of
/// signatures that hold at different times it says which.
#[expect(clippy::too_many_arguments, reason = "two callers, and each is another thing")]
pub fn compile(
    zone: &Zone,
    part: Option<&BTreeSet<Name>>,
    older: Option<&CompiledZone>,
    seed: u64,
    now: u32,
    slab: &mut Slab,
    memory: &dyn Memory,
    unsendable: &mut Vec<Unsendable>,
) -> Result<Compiled, CompileError> {
    let mut writer = Writer { slab, memory, extents: Vec::new(), full: false };
    let older_walk = Older::new(older, memory);
    let build = Build::new(zone, part, older_walk, seed, now, &mut writer);
    let result = build.and_then(|mut build| {
        let built = build.run()?;
        unsendable.append(&mut build.unsendable.into_inner());
        unsendable.sort();
        unsendable.dedup();
        Ok(built)
    });
    let Writer { mut extents, full, slab, .. } = writer;
    let failed = match result {
        Ok((compiled, _)) if full => {
            let (slab_end, names) = (slab.high_water(), compiled.zone.nodes.len());
            CompileError::Full { slab_end, names }
        }
        Ok((mut compiled, mut used)) => {
            extents.sort_unstable_by_key(|extent| extent.address);
            used.sort_unstable();
            let is_used = |extent: &Extent| used.binary_search(&extent.address).is_ok();
            let before = older.map_or(&[][..], |older| &older.extents);
            let (kept, retired) = before.iter().partition(|extent| is_used(extent));
            compiled.retired = retired;
            compiled.zone.extents = kept;
            let (new, needless): (Vec<Extent>, _) = extents.iter().partition(|one| is_used(one));
            compiled.fresh = new.len();
            compiled.zone.extents.extend(new);
            compiled.retired.extend::<Vec<Extent>>(needless);
            compiled.zone.extents.sort_unstable_by_key(|extent| extent.address);
            compiled.zone.extents.shrink_to_fit();
            let octets = compiled.zone.extents.iter().map(|extent| extent.len as usize);
            compiled.zone.octets = octets.map(|octets| octets.next_multiple_of(UNIT)).sum();
            compiled.zone.is_part = part.is_some();
            compiled.taken = extents;
            return Ok(compiled);
        }
        Err(error) => error,
    };
    Err(failed)
}

/// Takes extents and writes records. Where there is no more room it goes on in a slab without an end, and
/// writes nothing.
struct Writer<'a> {
    slab: &'a mut Slab,
    memory: &'a dyn Memory,
    extents: Vec<Extent>,
    full: bool,
}

impl Writer<'_> {
    fn take(&mut self, len: usize) -> Address {
        let mut taken = self.slab.take(len);
        if taken.is_none() {
            self.full = true;
            self.slab.resize(usize::MAX);
            taken = self.slab.take(len);
        }
        let Some(extent) = taken else { return 0 };
        self.extents.push(extent);
        extent.address
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
    /// 0 as long as it seems that the node of the version before can stay.
    address: Address,
    /// That of the version before; 0 if it has none.
    older: Address,
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

/// Records of a node before they are placed, by number; the first is 1.
type Drafts = Vec<Vec<u8>>;

struct Build<'a, 'w, 'm> {
    zone: &'a Zone,
    apex: &'a [u8],
    seed: u64,
    denial: u8,
    /// What the NSEC3 chain is hashed with, if there is one.
    nsec3: Parameters<'a>,
    signers: Signers<'a>,
    now: u32,
    /// What no message can carry.
    unsendable: RefCell<Vec<Unsendable>>,
    is_part: bool,
    names: Vec<ExistingName<'a>>,
    nodes: Vec<NodeRecord>,
    hashed: Vec<HashedName>,
    older: Older<'m>,
    /// The addresses of all records that the version refers to.
    used: Vec<Address>,
    writer: &'w mut Writer<'m>,
}

impl<'a, 'w, 'm> Build<'a, 'w, 'm> {
    fn new(
        zone: &'a Zone,
        part: Option<&BTreeSet<Name>>,
        older: Older<'m>,
        seed: u64,
        now: u32,
        writer: &'w mut Writer<'m>,
    ) -> Result<Self, CompileError> {
        let apex = zone.apex().as_wire();
        let at_apex = zone.find(apex).ok_or(CompileError::NoApex)?;
        let parameters = Parameters::of(&at_apex).transpose()?;
        let denial = match parameters {
            Some(_) => denial::NSEC3,
            None if at_apex.rrset(Rtype::NSEC).is_some() => denial::NSEC,
            None => denial::NONE,
        };
        let nsec3 = parameters.unwrap_or_default();
        let names = match part {
            Some(part) => names::part(zone, part),
            None => names::existing(zone),
        };
        let is_part = part.is_some();
        let nodes = vec![NodeRecord::default(); names.len()];
        let (hashed, used) = (Vec::new(), Vec::new());
        Ok(Build {
            zone,
            apex,
            seed,
            denial,
            nsec3,
            signers: Signers::of(zone),
            now,
            unsendable: RefCell::default(),
            is_part,
            names,
            nodes,
            hashed,
            older,
            used,
            writer,
        })
    }

    /// The version, and the addresses of all that it uses.
    fn run(&mut self) -> Result<(Compiled, Vec<Address>), CompileError> {
        if self.denial == denial::NSEC3 {
            self.hashed_names()?;
        }
        for place in 0..self.names.len() {
            self.node(place);
        }
        self.older.finish();
        self.resolve_targets();
        match self.denial {
            denial::NSEC => self.nsec_proofs(),
            denial::NSEC3 => self.nsec3_proofs(),
            _ => {}
        }
        self.wildcards();
        self.take_nodes();
        self.children();
        let zone = self.writer.take(zone_record::LEN);
        let soa = self.negative_soa()?;
        let chain = self.hash_index()?;
        let mut record = [0u8; zone_record::LEN];
        put32(&mut record, zone_record::at::SOA, soa);
        put32(&mut record, zone_record::at::CHAIN, chain);
        record[zone_record::at::DENIAL] = self.denial_said();
        record[zone_record::at::APEX_LEN] = self.apex.len() as u8;
        record[zone_record::at::LABELS] = name::labels(self.apex).count() as u8;
        put32(&mut record, zone_record::at::SERIAL, self.zone.serial());
        self.writer.write(zone, &record);

        let mut compiled = Compiled {
            heading: (u64::from(soa) | u64::from(chain) << 32, self.zone.serial()),
            max_labels: names::max_labels(&self.names),
            gone: std::mem::take(&mut self.older.gone),
            ..Compiled::default()
        };
        let mut records = Vec::new();
        for place in 0..self.nodes.len() {
            let node = &self.nodes[place];
            let (address, older) = (node.address, node.older);
            if address == older {
                records.extend(self.older.node(older).map(|(node, _)| node.zone()));
            } else {
                let record = self.record_of(place, zone);
                self.writer.write(address, &record);
                compiled.written.push(address);
                records.push(zone);
                compiled.replaced.extend(Some(older).filter(|&older| older != 0));
            }
            compiled.zone.nodes.push(address);
            if records.len() > GATHERED_RECORDS {
                records.sort_unstable();
                records.dedup();
            }
        }
        records.sort_unstable();
        records.dedup();
        // With NSEC what is said of a name that is gone is its encloser's, which was written anew. Else
        // the zone record must say that it is gone before it goes.
        if self.denial_said() != denial::NSEC && records.iter().any(|&record| record != zone) {
            compiled.farewell = self.farewell(&compiled.gone);
        }
        self.used.extend(&compiled.zone.nodes);
        self.used.extend(&records);
        compiled.zone.records = records;
        Ok((compiled, std::mem::take(&mut self.used)))
    }

    /// What the zone record says of denial: a part of a zone denies nothing.
    fn denial_said(&self) -> u8 {
        if self.is_part { denial::NONE } else { self.denial }
    }

    /// Writes copies of nodes of the version before, with a zone record that stays as it is.
    fn farewell(&mut self, gone: &[Address]) -> Vec<Address> {
        let Some(record) = self.older.zone_octets().filter(|_| !gone.is_empty()) else {
            return Vec::new();
        };
        let zone = self.writer.place(record);
        let mut copies = Vec::with_capacity(gone.len());
        for &address in gone {
            let Some((node, window)) = self.older.node(address) else { continue };
            let name_end = node.name_at() + node.name_len().next_multiple_of(UNIT);
            let mut copy = window[..name_end].to_vec();
            put32(&mut copy, node::at::ZONE, zone);
            copies.push(self.writer.place(&copy));
        }
        copies
    }

    //--- Nodes and their pieces

    /// Makes a node's pieces, and places them behind it unless the version before has them.
    fn node(&mut self, place: usize) {
        let existing = &self.names[place];
        let (wire, owner, is_cut) = (existing.wire, existing.owner, existing.is_cut);
        let mut record = NodeRecord { older: self.older.node_of(wire), ..NodeRecord::default() };
        if place == 0 {
            record.flags |= flag::APEX;
        }
        if self.is_part {
            record.flags |= flag::HOT;
        }
        let mut drafts = Drafts::new();
        if let Some(owner) = owner {
            self.draft(&owner, is_cut, &mut record, &mut drafts);
        }
        self.settle(wire, record, &drafts, place);
    }

    /// Makes the pieces of an owner. Where their addresses belong, `record` has their numbers.
    fn draft(&self, owner: &Owner<'a>, is_cut: bool, record: &mut NodeRecord, drafts: &mut Drafts) {
        let wire = owner.name();
        let rtypes: Vec<Rtype> = owner
            .rrsets()
            .map(|rrset| rrset.rtype())
            .filter(|&rtype| rtype != Rtype::RRSIG)
            .filter(|&rtype| !is_cut || matches!(rtype, Rtype::DS | Rtype::NSEC))
            .collect();
        let is_crowded = rtypes.len() > node::MAX_TYPES;
        if is_crowded {
            self.cannot_send(wire, What::Types);
        }
        let mut add = |piece: Vec<u8>| {
            drafts.push(piece);
            drafts.len() as Address
        };
        for rtype in rtypes {
            let Some(rrset) = owner.rrset(rtype) else { continue };
            // What other names need of it is there all the same.
            if is_crowded && !matches!(rtype, Rtype::NSEC | Rtype::DNAME) {
                continue;
            }
            let piece = match rtype {
                // One piece serves as the answer to a question for it and as a proof, but what a
                // wildcard answers with is the question's own, and a long name is not said twice.
                Rtype::NSEC => {
                    record.proofs[0] = add(self.denial_piece(owner, rrset));
                    if first_label(wire) == b"*" || wire.len() > LONG_NAME {
                        add(self.rrset_piece(owner, rrset, OwnerName::Context))
                    } else {
                        record.proofs[0]
                    }
                }
                // Names below a DNAME are redirected by a record that is its owner's. What a wildcard
                // answers with when it is asked for is the question's (RFC 6672 section 3.2 step 3.C).
                Rtype::DNAME => {
                    record.flags |= flag::DNAME;
                    let redirecting = OwnerName::Suffix(wire.len());
                    record.otherwise = add(self.rrset_piece(owner, rrset, redirecting));
                    match first_label(wire) {
                        b"*" => add(self.rrset_piece(owner, rrset, OwnerName::Context)),
                        _ => record.otherwise,
                    }
                }
                _ => add(self.rrset_piece(owner, rrset, OwnerName::Context)),
            };
            if rtype == Rtype::CNAME {
                record.flags |= flag::CNAME;
                record.otherwise = piece;
            }
            record.types.push((rtype.0, piece));
        }
        record.any = match self.any_beside(owner) {
            Some(hinfo) => add(hinfo),
            None => any_of(owner, &record.types),
        };
        if is_crowded {
            record.types = vec![(0, 0); node::TOO_MANY_TYPES];
            record.any = 0;
        }
        if is_cut {
            record.flags |= flag::CUT;
            record.otherwise = add(self.referral_piece(owner));
            let [needed, optional] = self.glue_pieces(owner);
            record.glue = needed.map_or(0, &mut add);
            record.optional_glue = optional.map_or(0, &mut add);
        }
    }

    /// Gives a node's pieces their addresses: those of the version before where they are the same. If one
    /// is not, the node is written anew, too, and the new pieces lie right behind it.
    fn settle(&mut self, wire: &[u8], mut record: NodeRecord, drafts: &Drafts, place: usize) {
        let candidates = self.older.pieces_of(record.older);
        let held = |piece: &Vec<u8>| {
            candidates.iter().copied().find(|&address| self.older.holds(address, piece))
        };
        let mut addresses: Vec<Option<Address>> = drafts.iter().map(held).collect();
        if record.older == 0 || addresses.contains(&None) {
            record.address = self.writer.take(node_len(wire, record.types.len()));
        }
        for (address, piece) in addresses.iter_mut().zip(drafts) {
            let address = *address.get_or_insert_with(|| self.writer.place(piece));
            self.used.push(address);
        }
        let placed = |number: &mut Address| {
            if let Some(Some(address)) =
                number.checked_sub(1).and_then(|number| addresses.get(number as usize))
            {
                *number = *address;
            }
        };
        record.types.iter_mut().for_each(|(_, piece)| placed(piece));
        placed(&mut record.otherwise);
        placed(&mut record.proofs[0]);
        placed(&mut record.glue);
        placed(&mut record.optional_glue);
        placed(&mut record.any);
        self.nodes[place] = record;
    }

    /// The record of a piece about a name, or in its place one that says that no message has room for it.
    fn finished(&self, piece: PieceBuilder<'_>, wire: &[u8], what: What) -> Vec<u8> {
        let finished = piece.finish(wire.len());
        if finished.is_too_large {
            self.cannot_send(wire, what);
        }
        finished.record
    }

    fn cannot_send(&self, wire: &[u8], what: What) {
        let owner = Name::from_wire(wire).unwrap_or_else(Name::root);
        self.unsendable.borrow_mut().push(Unsendable { owner, what });
    }

    /// Adds an RRset, and its signatures behind what is sent without DNSSEC records.
    fn add_rrset(
        &self,
        piece: &mut PieceBuilder<'_>,
        owner: &Owner<'a>,
        rrset: Rrset<'a>,
        ttl: u32,
        [first, others]: [OwnerName<'_>; 2],
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
        if let Some(time) = self.signers.until(owner, &rrset, self.now) {
            piece.holds_until(time);
        }
    }

    /// Places a record that belongs to no node, unless it is there.
    fn place(&mut self, octets: &[u8], older: Address) -> Address {
        let address =
            if self.older.holds(older, octets) { older } else { self.writer.place(octets) };
        self.used.push(address);
        address
    }

    /// An RRset and its signatures.
    fn rrset_piece(&self, owner: &Owner<'a>, rrset: Rrset<'a>, named: OwnerName<'_>) -> Vec<u8> {
        let mut piece = PieceBuilder::new(self.apex);
        self.add_rrset(&mut piece, owner, rrset, rrset.ttl(), [named, named]);
        self.finished(piece, owner.name(), What::Rrset(rrset.rtype()))
    }

    /// What stands beside the zone to be said to ANY (RFC 8482 section 4.2).
    fn any_beside(&self, owner: &Owner<'a>) -> Option<Vec<u8>> {
        let beside = self.zone.beside().and_then(|beside| beside.find(owner.name()));
        let hinfo = beside.and_then(|at| Some((at, at.rrset(Rtype::HINFO)?)));
        hinfo.map(|(at, hinfo)| self.rrset_piece(&at, hinfo, OwnerName::Context))
    }

    /// An NSEC or NSEC3 with its signatures, its owner name spelled out.
    fn denial_piece(&self, owner: &Owner<'a>, rrset: Rrset<'a>) -> Vec<u8> {
        let mut piece = PieceBuilder::new(self.apex);
        let named = [OwnerName::Spelled(owner.name()), OwnerName::First];
        self.add_rrset(&mut piece, owner, rrset, rrset.ttl(), named);
        self.finished(piece, owner.name(), What::Rrset(rrset.rtype()))
    }

    /// The SOA as negative answers carry it: with their TTL (RFC 2308 section 3).
    fn negative_soa(&mut self) -> Result<Address, CompileError> {
        let owner = self.zone.find(self.apex).ok_or(CompileError::NoApex)?;
        let soa = owner.rrset(Rtype::SOA).ok_or(CompileError::NoApex)?;
        let mut piece = PieceBuilder::new(self.apex);
        let named = OwnerName::Suffix(self.apex.len());
        self.add_rrset(&mut piece, &owner, soa, self.zone.negative_ttl(), [named, named]);
        let piece = self.finished(piece, self.apex, What::Rrset(Rtype::SOA));
        Ok(self.place(&piece, self.older.soa()))
    }

    /// The NS RRset of a cut, and with DNSSEC records its DS.
    fn referral_piece(&self, owner: &Owner<'a>) -> Vec<u8> {
        let mut piece = PieceBuilder::new(owner.name());
        let named = OwnerName::Suffix(owner.name().len());
        if let Some(servers) = owner.rrset(Rtype::NS) {
            for rdata in servers.rdatas() {
                piece.record(named, Rtype::NS, servers.ttl(), rdata);
            }
        }
        piece.dnssec_follows();
        // Without a signature and in a zone that proves nothing, a DS is of use to nobody.
        let ds = owner.rrset(Rtype::DS).filter(|_| self.denial != denial::NONE);
        if let Some(ds) = ds {
            self.add_rrset(&mut piece, owner, ds, ds.ttl(), [named, named]);
        }
        self.finished(piece, owner.name(), What::Referral)
    }

    /// The addresses of a cut's name servers: of those at or below the cut, without which it cannot be
    /// reached, and of those below other cuts of the zone (RFC 9471 sections 2 and 3).
    fn glue_pieces(&self, cut: &Owner<'a>) -> [Option<Vec<u8>>; 2] {
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
        let finished = |piece: PieceBuilder<'_>| {
            (!piece.is_empty()).then(|| self.finished(piece, cut.name(), What::Referral))
        };
        [finished(needed), finished(optional)]
    }

    /// Whether a name of the zone lies at or below one of its cuts.
    fn is_below_a_cut(&self, wire: &[u8]) -> bool {
        let mut up = Some(wire);
        while let Some(ancestor) = up.filter(|ancestor| ancestor.len() > self.apex.len()) {
            if self.zone.find(ancestor).is_some_and(|owner| owner.rrset(Rtype::NS).is_some()) {
                return name::is_at_or_below(wire, self.apex);
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
        let zone = self.zone;
        let nsec3 = self.nsec3;
        let mut owners: Vec<Owner<'a>> = match self.is_part {
            true => {
                let named = self.names.iter();
                named.filter_map(|name| names::nsec3_of(zone, &nsec3, name.wire)).collect()
            }
            false => zone.owners().filter(|owner| owner.rrset(Rtype::NSEC3).is_some()).collect(),
        };
        owners.sort_unstable_by_key(Owner::index);
        for owner in owners {
            let Some(rrset) = owner.rrset(Rtype::NSEC3) else { continue };
            // While parameters are changed there is another chain beside.
            let mut records = rrset.rdatas().filter_map(Nsec3::parse);
            if !records.any(|record| nsec3.are_of(&record)) {
                continue;
            }
            let Some(hash) = read_hash_owner(owner.name()) else { continue };
            let piece = self.denial_piece(&owner, rrset);
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
        let (names, nsec3) = (&self.names, self.nsec3);
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
    fn hash_index(&mut self) -> Result<Address, CompileError> {
        if self.denial_said() != denial::NSEC3 {
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
        let mut index = vec![0; chain_at::ENTRIES];
        put32(&mut index, chain_at::COUNT, self.hashed.len() as u32);
        put32(&mut index, chain_at::DIRECTORY, directory);
        index[chain_at::SHIFT] = (64 - bits) as u8;
        let Parameters { iterations, salt } = self.nsec3;
        index[chain_at::ITERATIONS..chain_at::ITERATIONS + 2]
            .copy_from_slice(&iterations.to_le_bytes());
        if !salt.is_empty() {
            index[chain_at::SALT_LEN] = salt.len() as u8;
            let place = self.place(salt, self.older.salt());
            put32(&mut index, chain_at::SALT, place);
        }
        index.reserve(self.hashed.len() * ENTRY_LEN);
        for hashed in &self.hashed {
            push_entry(&mut index, hash_key(&hashed.hash), hashed.piece);
        }
        Ok(self.place(&index, self.older.chain_address()))
    }

    //--- Which nodes are written

    fn wildcards(&mut self) {
        for place in 0..self.names.len() {
            let children = &self.names[place].children;
            let star = children.binary_search_by(|&child| {
                first_label(self.names[child as usize].wire).cmp(b"*".as_slice())
            });
            self.nodes[place].wildcard = star.ok().map(|found| children[found] as usize);
        }
    }

    /// Takes room for the nodes that are not as they were, and for those that refer to one.
    fn take_nodes(&mut self) {
        let mut sources: Vec<(usize, usize)> = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            sources.extend(node.target.map(|target| (target, place)));
        }
        sources.sort_unstable();
        let mut moved: Vec<usize> = (0..self.nodes.len())
            .filter(|&place| self.nodes[place].address != 0 || !self.is_same(place))
            .collect();
        let mut is_moved = vec![false; self.nodes.len()];
        moved.iter().for_each(|&place| is_moved[place] = true);
        while let Some(place) = moved.pop() {
            let mut also = |place: usize| {
                if !std::mem::replace(&mut is_moved[place], true) {
                    moved.push(place);
                }
            };
            let parent = self.names[place].parent;
            if self.denial == denial::NSEC || self.nodes[parent].wildcard == Some(place) {
                also(parent);
            }
            let first = sources.partition_point(|&(target, _)| target < place);
            let referring = sources[first..].iter().take_while(|(target, _)| *target == place);
            referring.for_each(|&(_, source)| also(source));
        }
        for (place, is_moved) in is_moved.into_iter().enumerate() {
            let node = &self.nodes[place];
            if !is_moved {
                self.nodes[place].address = node.older;
            } else if node.address == 0 {
                let len = node_len(self.names[place].wire, node.types.len());
                self.nodes[place].address = self.writer.take(len);
            }
        }
    }

    /// Whether a node is as the version before has it, but for where the nodes are that it refers to.
    fn is_same(&self, place: usize) -> bool {
        let node = &self.nodes[place];
        let Some((older, window)) = self.older.node(node.older) else { return false };
        if !self.older.fits(self.denial_said()) {
            return false;
        }
        let count = if self.denial == denial::NSEC { self.names[place].children.len() } else { 0 };
        let mut record = self.record_of(place, older.zone());
        let mut references = vec![(node::at::WILDCARD, node.wildcard.is_some())];
        references.push((node::at::CHILDREN, count > 0));
        if node.flags & flag::CNAME != 0 {
            references.push((node::at::GLUE, node.target.is_some()));
        }
        for (at, is_there) in references {
            let is_known = window[at..at + 4] != [0; 4];
            if is_known != is_there {
                return false;
            }
            record[at..at + 4].copy_from_slice(&window[at..at + 4]);
        }
        put32(&mut record, node::at::CHILD_COUNT, count as u32);
        window.starts_with(&record)
    }

    //--- Children

    /// With NSEC writes the index of children of each name, unless it is there.
    fn children(&mut self) {
        if self.denial_said() != denial::NSEC {
            return;
        }
        for place in 0..self.names.len() {
            let children = &self.names[place].children;
            if children.is_empty() {
                continue;
            }
            let NodeRecord { address, older, .. } = self.nodes[place];
            let known = self.older.node(older).filter(|_| older != 0);
            let known = known.map_or(0, |(node, _)| node.children().0);
            let count = children.len() as u32;
            if address == older {
                self.used.push(known);
                self.nodes[place].children = (known, count);
                continue;
            }
            let mut index = Vec::with_capacity(children.len() * ENTRY_LEN);
            for &child in children {
                let label = first_label(self.names[child as usize].wire);
                push_entry(&mut index, label_key(label), self.nodes[child as usize].address);
            }
            self.nodes[place].children = (self.place(&index, known), count);
        }
    }

    //--- Writing

    fn record_of(&self, place: usize, zone: Address) -> Vec<u8> {
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
        record
    }
}

/// The RRset of a name that is most likely wanted by who asks for ANY (RFC 8482 section 4.1); 0 if it has none.
fn any_of(owner: &Owner<'_>, types: &[(u16, Address)]) -> Address {
    let preferred = preferred_type(owner);
    let piece = types.iter().find(|(rtype, _)| preferred == Some(Rtype(*rtype)));
    piece.map_or(0, |(_, piece)| *piece)
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

/// Adds an entry to a gap index.
fn push_entry(index: &mut Vec<u8>, (high, low): (u64, u32), address: Address) {
    index.extend(high.to_le_bytes());
    index.extend(low.to_le_bytes());
    index.extend(address.to_le_bytes());
}

fn put32(record: &mut [u8], at: usize, value: u32) {
    record[at..at + 4].copy_from_slice(&value.to_le_bytes());
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
