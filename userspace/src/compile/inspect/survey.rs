//! What is read of a zone as the maps hold it: its nodes and pieces, each whole in itself, and a copy of its records.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;

use serde::{Deserialize, Serialize};
use xdp_common::engine::find::CUT_BESIDE_APEX;
use xdp_common::image::Address;
use xdp_common::image::chain::Chain;
use xdp_common::image::children::Block;
use xdp_common::image::node::flag;
use xdp_common::image::piece::Piece;
use xdp_common::image::zone::{self as zone_record, denial};

use super::super::hashes::{HashIndex, reference_octets};
use super::super::memory::{Memory, window};
use super::super::table;
use super::super::version::Listing;
use super::nodes::NodeRecord;
use super::records::{LocatedPiece, Record, record};
use crate::dnssec::any::HINFO_RDATA;
use crate::dnssec::denial::{Parameters, SHA1};
use crate::zone::name::{self, canonical_order, write_name};
use crate::zone::{Name, Rtype, ZoneBuilder};

/// How many problems are collected before the rest is left alone.
pub const MAX_PROBLEMS: usize = 1000;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// The name that it is about.
    pub name: String,
    /// A type, or which part of what is held for the name.
    pub part: String,
    /// What is wrong.
    pub problem: String,
}

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Names.
    pub names: usize,
    /// Pieces.
    pub pieces: usize,
    /// RRsets with a valid signature.
    pub signed_rrsets: usize,
    /// What is wrong, at most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
}

/// What a denial record says.
pub(super) struct Denial {
    /// Its owner name.
    pub owner: Vec<u8>,
    /// Its RDATA.
    pub rdata: Vec<u8>,
    /// Its signatures.
    pub signatures: Vec<Vec<u8>>,
}

/// What was read of a zone so far.
pub(super) struct Survey<'a> {
    pub memory: &'a dyn Memory,
    pub apex: &'a Name,
    pub(super) listing: &'a Listing,
    pub(super) seed: u64,
    /// Every node, in canonical order once all are read.
    pub names: Vec<NodeRecord>,
    /// The zone's record.
    pub version: Address,
    /// One of [`denial`].
    pub denial: u8,
    /// NSEC and NSEC3 records by the addresses of their pieces.
    pub denials: BTreeMap<Address, Denial>,
    /// Where each name stands among those around it.
    pub positions: Vec<TreePosition>,
    /// The leaves of the indexes of children, each with the number of its first child, by the place of the name above.
    pub(super) leaves: BTreeMap<usize, Vec<(u32, Block)>>,
    /// How many ranges the NSEC3 index has.
    pub(super) range_count: usize,
    /// The entries of the NSEC3 index: hash as its owner has it, and piece.
    pub hashes: Vec<(crate::dnssec::denial::Hash, Address)>,
    pub(super) builder: ZoneBuilder,
    /// What is said to ANY and stands beside the zone.
    pub(super) any_answers: ZoneBuilder,
    pub(super) has_any_answers: bool,
    /// Until when RRsets are said to be held: owner name, type and time.
    pub(super) ends: Vec<(Vec<u8>, Rtype, u32)>,
    pub(super) findings: Findings,
}

/// Where a name stands among those around it.
#[derive(Clone, Copy, Default)]
pub struct TreePosition {
    /// The place of the name above it.
    pub(super) above: Option<usize>,
    /// How many names one label longer than that come before it.
    pub(super) ordinal: u32,
    /// How many names are one label longer than itself.
    pub(super) children: u32,
    /// The place after the last name at or below it.
    pub(super) end: usize,
}

impl<'a> Survey<'a> {
    pub(super) fn new(
        memory: &'a dyn Memory,
        seed: u64,
        apex: &'a Name,
        listing: &'a Listing,
    ) -> Survey<'a> {
        Survey {
            memory,
            apex,
            listing,
            seed,
            names: Vec::with_capacity(listing.nodes.len()),
            version: 0,
            denial: denial::NONE,
            denials: BTreeMap::new(),
            positions: Vec::new(),
            leaves: BTreeMap::new(),
            range_count: 0,
            hashes: Vec::new(),
            builder: ZoneBuilder::new(apex.clone()),
            any_answers: ZoneBuilder::new(apex.clone()),
            has_any_answers: false,
            ends: Vec::new(),
            findings: Findings::default(),
        }
    }

    pub(super) fn is_current(&self) -> bool {
        !self.listing.is_gone.load(SeqCst)
    }

    /// The root of the NSEC3 index.
    pub fn chain(&self) -> Option<(Address, Chain<'a>)> {
        let zone = window(self.memory, self.version).map(zone_record::Zone::new)?;
        let chain = Some(zone.chain()).filter(|chain| *chain != 0)?;
        Some((chain, Chain::new(window(self.memory, chain)?)))
    }

    /// The NSEC3 index, if its root is whole.
    pub fn hash_index(&self) -> Option<HashIndex<'a>> {
        let (root, _) = self.chain()?;
        let index = HashIndex::new(self.memory, root)?;
        let pages = reference_octets(index.pages()?.into_iter());
        let expected = [&index.head().octets()[..], &pages].concat();
        record(self.memory, root, expected.len()).filter(|root| **root == expected)?;
        Some(index)
    }

    /// What the NSEC3 index is hashed with, as far as it says.
    pub fn parameters(&self) -> Parameters<'a> {
        let Some((_, chain)) = self.chain() else { return Parameters::default() };
        let salt = record(self.memory, chain.salt(), chain.salt_len()).unwrap_or_default();
        Parameters { iterations: chain.iterations() as u16, salt }
    }

    /// Whether an NSEC3PARAM record at the apex says the same.
    pub(super) fn has_parameters(&self) -> bool {
        let Parameters { iterations, salt } = self.parameters();
        let is_whole = self.chain().is_some_and(|(_, chain)| {
            chain.salt_len() == salt.len() && (chain.salt() == 0) == salt.is_empty()
        });
        let address = self.names.first().map_or(0, |apex| apex.piece(Rtype::NSEC3PARAM.0));
        let context = self.apex.as_wire();
        let read = LocatedPiece::new(self.memory, address).and_then(|read| read.records(context));
        let expected =
            [&[SHA1, 0][..], &iterations.to_be_bytes(), &[salt.len() as u8], salt].concat();
        let is_it = |one: &Record| one.rtype == Rtype::NSEC3PARAM && one.rdata == expected;
        is_whole && read.is_ok_and(|records| records.iter().any(is_it))
    }

    /// Whether the zone is signed. Of a part of it, too, the apex says so.
    fn proves(&self) -> bool {
        let has = |rtype: Rtype| self.names.first().is_some_and(|apex| apex.piece(rtype.0) != 0);
        has(Rtype::NSEC) || has(Rtype::NSEC3PARAM)
    }

    /// Whether only some names of the zone are held.
    pub fn is_partial(&self) -> bool {
        self.names.first().is_some_and(|apex| apex.is(flag::PARTIAL))
    }

    pub fn problem(&mut self, name: &[u8], part: impl ToString, problem: impl ToString) {
        if self.findings.problems.len() < MAX_PROBLEMS {
            let (part, problem) = (part.to_string(), problem.to_string());
            self.findings.problems.push(Problem { name: shown(name), part, problem });
        }
    }

    //--- Nodes

    pub(super) fn node(&mut self, place: usize) {
        let (hash, address) = self.listing.nodes[place];
        self.findings.names += 1;
        let node = match NodeRecord::read(self.memory, address, self.seed) {
            Ok(node) if node.hash == hash => node,
            Ok(node) => return self.problem(&node.wire, "node", "it is another name's"),
            Err(fault) => {
                let name = format!("(node at {address:#x})");
                let (part, problem) = ("node".into(), fault.to_string());
                self.findings.problems.push(Problem { name, part, problem });
                return;
            }
        };
        if self.names.is_empty() {
            self.version = node.zone;
        }
        // Names that do not change keep a record of their own, which says the same.
        let said = |at: Address| record(self.memory, at, zone_record::LEN);
        if node.zone != self.version && said(node.zone) != said(self.version) {
            self.problem(&node.wire, "node", "it belongs to another version of the zone");
        }
        if !self.is_found(&node) {
            self.problem(&node.wire, "table", "the name is not found where its hash says");
        }
        for &(rtype, piece) in &node.types {
            self.rrset(&node.wire, Rtype(rtype), piece);
        }
        if node.any != 0 {
            self.any(&node);
        }
        if node.wire.starts_with(b"\x01*") {
            self.expanded(&node);
        }
        if node.is(flag::CUT) {
            self.referral(&node);
        }
        // The NSEC of the name itself; what else `proofs` leads to is another name's.
        if node.piece(Rtype::NSEC.0) != 0 {
            self.denial_piece(node.proofs[0], Rtype::NSEC);
        }
        self.names.push(node);
    }

    /// Whether the table leads to the node, or to one that hides it: that of a zone whose apex is nearer.
    fn is_found(&self, node: &NodeRecord) -> bool {
        let mut at = table::candidates(self.memory, node.hash);
        let mut any_answers = table::candidates(self.memory, node.hash ^ CUT_BESIDE_APEX);
        if at.any(|other| other == node.address) {
            return true;
        }
        let hides = |other: Address| {
            let other = NodeRecord::read(self.memory, other, self.seed).ok();
            other.is_some_and(|other| {
                let record = window(self.memory, other.zone).map(zone_record::Zone::new);
                other.wire == node.wire
                    && record.is_some_and(|zone| {
                        usize::from(zone.apex_len()) > self.apex.as_wire().len()
                    })
            })
        };
        (node.is(flag::CUT) && any_answers.any(|other| other == node.address))
            || table::candidates(self.memory, node.hash).any(hides)
    }

    //--- Pieces

    /// The records of a piece; none, and the problem noted, if it is damaged.
    pub(super) fn piece(
        &mut self,
        name: &[u8],
        part: &str,
        address: Address,
        context: &[u8],
    ) -> Vec<Record> {
        self.findings.pieces += 1;
        match LocatedPiece::new(self.memory, address).and_then(|read| read.records(context)) {
            Ok(records) => records,
            Err(fault) => {
                self.problem(name, part, fault);
                Vec::new()
            }
        }
    }

    /// The piece of one type: its RRset and the signatures of it, which go into the copy of the zone.
    fn rrset(&mut self, wire: &[u8], rtype: Rtype, address: Address) {
        let records = self.piece(wire, &rtype.to_string(), address, wire);
        self.copy(wire, rtype, address, &records);
    }

    /// What a wildcard answers with is the question's own (RFC 4592 section 3.3.3), of which only the end is known:
    /// the name above. So in its context all records must be of that name, and no pointer may need more.
    fn expanded(&mut self, node: &NodeRecord) {
        let above = name::parent(&node.wire).unwrap_or_default();
        let pieces = node.types.iter().map(|&(rtype, piece)| (Rtype(rtype).to_string(), piece));
        let any = Some(("ANY".to_owned(), node.any)).filter(|(_, piece)| *piece != 0);
        for (part, address) in pieces.chain(any) {
            let read = LocatedPiece::new(self.memory, address).and_then(|read| read.records(above));
            match read {
                Err(fault) => {
                    self.problem(&node.wire, part, format!("as another name's, {fault}"));
                }
                Ok(records) if records.iter().any(|record| record.owner != above) => {
                    let problem =
                        "with the name that is asked for it does not become a record of that name";
                    self.problem(&node.wire, part, problem);
                }
                Ok(_) => {}
            }
        }
    }

    /// Copies an RRset into the zone that is checked as a validator would.
    fn copy(&mut self, owner: &[u8], rtype: Rtype, address: Address, records: &[Record]) {
        if records.iter().any(|record| record.rtype == Rtype::RRSIG)
            && let Some(piece) = window(self.memory, address).map(Piece::new)
        {
            self.ends.push((owner.to_vec(), rtype, piece.not_after()));
        }
        for record in records {
            let is_signature = record.rtype == Rtype::RRSIG;
            let covers = record.rdata.get(..2) == Some(&rtype.0.to_be_bytes()[..]);
            let belongs = if is_signature { covers } else { record.rtype == rtype };
            if record.owner != owner || !belongs || record.needs_dnssec != is_signature {
                self.problem(owner, rtype, format!("it holds {record:?}"));
                continue;
            }
            let pushed = self.builder.push(owner, record.rtype, record.ttl, &record.rdata);
            if let Err(error) = pushed {
                self.problem(owner, rtype, error);
            }
        }
    }

    /// What is said to ANY: one of the name's RRsets, or a HINFO that stands beside the zone.
    fn any(&mut self, node: &NodeRecord) {
        if node.types.iter().any(|(_, piece)| *piece == node.any) {
            return;
        }
        let records = self.piece(&node.wire, "ANY", node.any, &node.wire);
        for record in records {
            let is_signature = record.rtype == Rtype::RRSIG;
            let belongs = is_signature || record.rdata == HINFO_RDATA;
            if record.owner != *node.wire || !belongs || record.needs_dnssec != is_signature {
                self.problem(&node.wire, "ANY", format!("it holds {record:?}"));
                continue;
            }
            self.has_any_answers = true;
            let any_answers = &mut self.any_answers;
            let pushed = any_answers.push(&node.wire, record.rtype, record.ttl, &record.rdata);
            if let Err(error) = pushed {
                self.problem(&node.wire, "ANY", error);
            }
        }
    }

    fn referral(&mut self, node: &NodeRecord) {
        let wire = &node.wire;
        let referral = self.piece(wire, "referral", node.otherwise, wire);
        let (servers, secure): (Vec<_>, Vec<_>) =
            referral.into_iter().partition(|record| !record.needs_dnssec);
        if servers.is_empty() {
            self.problem(wire, "referral", "it names no server");
        }
        self.copy(wire, Rtype::NS, node.otherwise, &servers);
        let ds = node.piece(Rtype::DS.0);
        let in_node = match ds {
            0 => Vec::new(),
            ds => self.piece(wire, "DS", ds, wire),
        };
        let is_same = |(a, b): (&Record, &Record)| {
            (&a.owner, a.rtype, a.ttl, &a.rdata) == (&b.owner, b.rtype, b.ttl, &b.rdata)
        };
        // Who proves nothing has nothing to say of a DS.
        let is_whole = in_node.len() == secure.len() && in_node.iter().zip(&secure).all(is_same);
        let is_right = if self.proves() { is_whole } else { secure.is_empty() };
        if !is_right {
            self.problem(wire, "referral", "its DS and their signatures are not the name's");
        }
        for (part, address, is_below) in
            [("glue", node.glue, true), ("optional glue", node.optional_glue, false)]
        {
            if address == 0 {
                continue;
            }
            for record in self.piece(wire, part, address, wire) {
                let is_address = matches!(record.rtype, Rtype::A | Rtype::AAAA);
                let below = name::is_at_or_below(&record.owner, wire);
                if !is_address || record.needs_dnssec || below != is_below {
                    self.problem(wire, part, format!("it holds {record:?}"));
                }
            }
        }
    }

    /// The piece of an NSEC or NSEC3 that stands in negative answers.
    fn denial_piece(&mut self, address: Address, rtype: Rtype) {
        let apex = self.apex;
        let records = self.piece(
            apex.as_wire(),
            &format!("{rtype} at {address:#x}"),
            address,
            apex.as_wire(),
        );
        let Some(first) = records.first().cloned() else { return };
        for record in &records {
            let is_signature = record.rtype == Rtype::RRSIG;
            if record.owner != first.owner
                || record.rtype != if is_signature { Rtype::RRSIG } else { rtype }
                || record.needs_dnssec != is_signature
            {
                self.problem(&first.owner, rtype, format!("it holds {record:?}"));
            }
        }
        let is_signature = |record: &&Record| record.rtype == Rtype::RRSIG;
        let signatures = records.iter().filter(is_signature).map(|record| record.rdata.clone());
        let denial = Denial {
            owner: first.owner.clone(),
            rdata: first.rdata.clone(),
            signatures: signatures.collect(),
        };
        if rtype == Rtype::NSEC3 {
            self.copy(&first.owner, rtype, address, &records);
        }
        self.denials.insert(address, denial);
    }

    /// Reads an NSEC3 record that the index leads to.
    pub fn nsec3(&mut self, address: Address) {
        self.denial_piece(address, Rtype::NSEC3);
    }
}

/// A wire name for people.
pub fn shown(wire: &[u8]) -> String {
    let mut text = String::new();
    match write_name(&mut text, wire) {
        Ok(()) => text,
        Err(_) => format!("{wire:02x?}"),
    }
}

/// The place of a name among sorted nodes.
pub(super) fn place_of(names: &[NodeRecord], wire: &[u8]) -> Option<usize> {
    let order = |node: &NodeRecord| -> Ordering { canonical_order(&node.wire, wire) };
    names.binary_search_by(order).ok()
}
