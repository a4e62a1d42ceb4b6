//! What an image holds for a name: its node and pieces, or its closest encloser.

use std::sync::PoisonError;

use serde::{Deserialize, Serialize};
use xdp_common::engine::find::CUT_BESIDE_APEX;
use xdp_common::image::node::flag;
use xdp_common::image::piece::NEVER;
use xdp_common::image::{Address, zone as zone_record};

use super::super::memory::{Memory, window};
use super::super::reader::Reader;
use super::super::table::{self, node_hash};
use super::nodes::NodeRecord;
use super::records::{LocatedPiece, Record};
use super::verify::shown;
use crate::zone::{Name, Rtype, name};

/// What is held for a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// The name.
    pub name: String,
    /// Its nodes: none if it does not exist, two where a zone's apex is a cut of another zone.
    pub nodes: Vec<NodeView>,
    /// The node of the longest name above it that exists in a zone, if it does not exist itself.
    pub closest_encloser: Option<NodeView>,
    /// The node of the wildcard that answers for it.
    pub wildcard: Option<NodeView>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// What kind of name it is.
    pub kind: String,
    /// The zone's serial; none for a name that belongs to no zone.
    pub serial: Option<u32>,
    /// Where its record is, in units of eight octets.
    pub address: Address,
    /// Octets of the record.
    pub octets: usize,
    /// The name that its CNAME leads to within the image.
    pub target: Option<String>,
    /// Its pieces, by what they are for.
    pub pieces: Vec<PieceView>,
}

/// A piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceView {
    /// What it is for: a type, or its place in the node.
    pub part: String,
    /// The types of its records, each once.
    pub types: String,
    /// The owner name of its first record.
    pub owner: String,
    /// The lowest TTL of its records in seconds.
    pub ttl: u32,
    /// Records that are sent without DO, and with it.
    pub records: [usize; 2],
    /// Octets that are sent without DO, and with it.
    pub octets: [usize; 2],
    /// Until when one of its signatures holds, in seconds since 1970; none if it has none.
    pub not_after: Option<u32>,
    /// Where its record is, in units of eight octets.
    pub address: Address,
    /// What is wrong with it.
    pub problem: Option<String>,
}

impl PieceView {
    /// The piece at an address in the context of a name.
    pub fn new(memory: &dyn Memory, part: String, address: Address, context: &[u8]) -> PieceView {
        let read = LocatedPiece::new(memory, address);
        let records = read.clone().and_then(|read| read.records(context));
        let problem = records.as_ref().err().map(ToString::to_string);
        let records = records.unwrap_or_default();
        let of = |number: fn(&LocatedPiece<'_>, usize) -> usize| {
            read.as_ref().map_or([0; 2], |read| [number(read, 0), number(read, 1)])
        };
        let not_after = read.as_ref().map_or(NEVER, |read| read.piece.not_after());
        PieceView {
            part,
            types: types_of(&records),
            owner: records.first().map_or_else(|| "-".into(), |record| shown(&record.owner)),
            ttl: records.iter().map(|record| record.ttl).min().unwrap_or(0),
            records: of(|read, dnssec| read.piece.count(dnssec)),
            octets: of(|read, dnssec| read.piece.len(dnssec)),
            not_after: (not_after != NEVER).then_some(not_after),
            address,
            problem,
        }
    }
}

/// The types of records in their order, each once.
fn types_of(records: &[Record]) -> String {
    let mut types: Vec<Rtype> = Vec::new();
    for record in records {
        if !types.contains(&record.rtype) {
            types.push(record.rtype);
        }
    }
    types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Looks a name up; of its pieces those that matter to `rtype`, or all.
pub fn lookup(reader: &Reader, name: &Name, rtype: Option<Rtype>) -> Lookup {
    let gate = reader.gate();
    let _reading = gate.read().unwrap_or_else(PoisonError::into_inner);
    let (memory, seed) = (&**reader.memory(), reader.key());
    let view = |node: &NodeRecord| view(memory, seed, node, rtype);
    let nodes = nodes_of(memory, seed, name.as_wire());
    let exists = nodes.iter().any(|node| !node.is(flag::VIRTUAL));
    let mut above = name::ancestors(name.as_wire()).skip(1).filter(|_| !exists);
    let encloser = above.find_map(|above| {
        nodes_of(memory, seed, above).into_iter().find(|node| !node.is(flag::VIRTUAL))
    });
    let answers = encloser.as_ref().filter(|node| !node.is(flag::CUT | flag::DNAME));
    let wildcard = answers.filter(|node| node.wildcard != 0);
    let wildcard = wildcard.and_then(|node| NodeRecord::read(memory, node.wildcard, seed).ok());
    Lookup {
        name: name.to_string(),
        nodes: nodes.iter().map(view).collect(),
        closest_encloser: encloser.as_ref().map(view),
        wildcard: wildcard.as_ref().map(view),
    }
}

/// The nodes of a wire name: its own, and that of the cut beside it.
fn nodes_of(memory: &dyn Memory, seed: u64, wire: &[u8]) -> Vec<NodeRecord> {
    let hash = node_hash(wire, seed);
    let places = [hash, hash ^ CUT_BESIDE_APEX];
    let candidates = places.into_iter().flat_map(|place| table::candidates(memory, place));
    let nodes = candidates.filter_map(|address| NodeRecord::read(memory, address, seed).ok());
    nodes.filter(|node| *node.wire == *wire).collect()
}

fn view(memory: &dyn Memory, seed: u64, node: &NodeRecord, rtype: Option<Rtype>) -> NodeView {
    let mut pieces = Vec::new();
    let mut add = |part: String, address: Address| {
        if address != 0 {
            pieces.push(PieceView::new(memory, part, address, &node.wire));
        }
    };
    for &(has, address) in &node.types {
        if rtype.is_none_or(|rtype| rtype.0 == has) {
            add(Rtype(has).to_string(), address);
        }
    }
    if rtype.is_none_or(|rtype| rtype == Rtype::ANY) {
        add("ANY".into(), node.any);
    }
    let is_absent = rtype.is_none_or(|rtype| node.piece(rtype.0) == 0);
    if is_absent {
        if node.is(flag::CUT) {
            add("referral".into(), node.otherwise);
            add("glue".into(), node.glue);
            add("optional glue".into(), node.optional_glue);
        } else if rtype.is_some() {
            add("instead".into(), node.otherwise);
        }
        add("proof".into(), node.proofs[0]);
        add("proof".into(), node.proofs[1]);
    }
    let zone = Some(node.zone).filter(|zone| *zone != 0);
    let serial = zone.and_then(|zone| window(memory, zone)).map(|record| {
        let at = zone_record::at::SERIAL;
        u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
    });
    let target = Some(node.glue).filter(|glue| node.is(flag::CNAME) && *glue != 0);
    let target = target.and_then(|target| NodeRecord::read(memory, target, seed).ok());
    NodeView {
        name: shown(&node.wire),
        kind: node.kind().to_owned(),
        serial,
        address: node.address,
        octets: node.octets,
        target: target.map(|target| shown(&target.wire)),
        pieces,
    }
}
