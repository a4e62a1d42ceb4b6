//! Nodes with their pieces: made first, then placed unless the version before has them.
//!
//! Until a node is placed its pieces have numbers ([`DraftPiece`]) and no addresses. The two are different types, and
//! [`DraftNode::place`] alone makes one of the other.

use xdp_common::image::Address;
use xdp_common::image::node::{self, flag};

use super::context::VersionContext;
use super::records::{first_label, node_len};
use super::state::{Build, PlacedNode};
use super::writer::Writer;
use crate::compile::error::UnsendableKind;
use crate::compile::piece::OwnerName;
use crate::compile::reuse::SlabRecords;
use crate::dnssec::any::preferred_type;
use crate::zone::{Owner, Rtype};

/// Octets of a name from which on an NSEC with its owner name and the next one may not fit the 512
/// octets of a client without EDNS (RFC 1035 section 4.2.1), if the question has the name too.
const LONG_NAME: usize = 128;

/// The number of a piece among those of its node.
#[derive(Clone, Copy, PartialEq, Eq)]
struct DraftPiece(usize);

/// A node whose pieces are made and not placed.
#[derive(Default)]
pub(super) struct DraftNode {
    /// The records of its pieces.
    pieces: Vec<Vec<u8>>,
    flags: u16,
    types: Vec<(u16, Option<DraftPiece>)>,
    otherwise: Option<DraftPiece>,
    /// The NSEC of the name itself.
    proof: Option<DraftPiece>,
    glue: Option<DraftPiece>,
    optional_glue: Option<DraftPiece>,
    any: Option<DraftPiece>,
}

impl DraftNode {
    fn add(&mut self, piece: Vec<u8>) -> DraftPiece {
        self.pieces.push(piece);
        DraftPiece(self.pieces.len() - 1)
    }
}

impl<'a> Build<'a, '_, '_> {
    /// Makes a node's pieces, and places them behind it unless the version before has them.
    pub(super) fn node(&mut self, place: usize) {
        let existing = &self.names[place];
        let wire = existing.wire;
        let older = self.older.node_of(wire);
        let draft = self.context.draft_node(wire, existing.owner.as_ref(), existing.is_cut);
        let (placed, own) = draft.place(wire, older, self.older.slab, self.writer);
        self.used.extend(own);
        self.nodes[place] = placed;
    }
}

impl<'a> VersionContext<'a> {
    /// Makes the pieces of a name; an empty non-terminal has no owner.
    pub(super) fn draft_node(
        &self,
        wire: &[u8],
        owner: Option<&Owner<'a>>,
        is_cut: bool,
    ) -> DraftNode {
        let mut draft = DraftNode::default();
        if wire == self.apex {
            draft.flags |= flag::APEX;
        }
        if self.is_partial {
            draft.flags |= flag::PARTIAL;
        }
        if let Some(owner) = owner {
            self.draft(owner, is_cut, &mut draft);
        }
        draft
    }

    /// Makes the pieces of an owner.
    fn draft(&self, owner: &Owner<'a>, is_cut: bool, draft: &mut DraftNode) {
        let wire = owner.name();
        let rtypes: Vec<Rtype> = owner
            .rrsets()
            .map(|rrset| rrset.rtype())
            .filter(|&rtype| rtype != Rtype::RRSIG)
            .filter(|&rtype| !is_cut || matches!(rtype, Rtype::DS | Rtype::NSEC))
            .collect();
        let is_crowded = rtypes.len() > node::MAX_TYPES;
        if is_crowded {
            self.cannot_send(wire, UnsendableKind::Types);
        }
        for rtype in rtypes {
            // What other names need of it is there all the same.
            if is_crowded && !matches!(rtype, Rtype::NSEC | Rtype::DNAME) {
                continue;
            }
            self.draft_type(owner, rtype, draft);
        }
        draft.any = match self.hinfo_for_any(owner) {
            Some(hinfo) => Some(draft.add(hinfo)),
            None => preferred_piece(owner, &draft.types),
        };
        if is_crowded {
            draft.types = vec![(0, None); node::TOO_MANY_TYPES];
            draft.any = None;
        }
        if is_cut {
            draft.flags |= flag::CUT;
            let referral = self.referral_piece(owner);
            let [needed, optional] = self.glue_pieces(owner, referral.len_behind(0));
            let referral = self.finished(referral, owner.name(), UnsendableKind::Referral);
            draft.otherwise = Some(draft.add(referral));
            draft.glue = needed.map(|piece| draft.add(piece));
            draft.optional_glue = optional.map(|piece| draft.add(piece));
        }
    }

    /// Makes the pieces of one type.
    fn draft_type(&self, owner: &Owner<'a>, rtype: Rtype, draft: &mut DraftNode) {
        let wire = owner.name();
        let Some(rrset) = owner.rrset(rtype) else { return };
        let own_piece = || self.rrset_piece(owner, rrset, OwnerName::Context);
        let piece = match rtype {
            // One piece serves as the answer to a question for it and as a proof, but what a
            // wildcard answers with is the question's own, and a long name is not said twice.
            Rtype::NSEC => {
                let proof = draft.add(self.denial_piece(owner, rrset));
                draft.proof = Some(proof);
                if first_label(wire) == b"*" || wire.len() > LONG_NAME {
                    draft.add(own_piece())
                } else {
                    proof
                }
            }
            // Names below a DNAME are redirected by a record that is its owner's. What a wildcard
            // answers with when it is asked for is the question's (RFC 6672 section 3.2 step 3.C).
            Rtype::DNAME => {
                draft.flags |= flag::DNAME;
                let redirecting = OwnerName::Suffix(wire.len());
                let redirecting = draft.add(self.rrset_piece(owner, rrset, redirecting));
                draft.otherwise = Some(redirecting);
                match first_label(wire) {
                    b"*" => draft.add(own_piece()),
                    _ => redirecting,
                }
            }
            _ => draft.add(own_piece()),
        };
        if rtype == Rtype::CNAME {
            draft.flags |= flag::CNAME;
            draft.otherwise = Some(piece);
        }
        draft.types.push((rtype.0, Some(piece)));
    }
}

impl DraftNode {
    /// Gives a node's pieces their addresses: those of the node of the version before where they are the same. If one
    /// is not, the node is written anew, too, and the new pieces lie right behind it. The addresses of all of them are
    /// returned, too.
    pub(super) fn place(
        &self,
        wire: &[u8],
        older: Address,
        slab: SlabRecords<'_>,
        writer: &mut Writer<'_>,
    ) -> (PlacedNode, Vec<Address>) {
        let candidates = slab.pieces_of(older);
        let held = |piece: &Vec<u8>| {
            candidates.iter().copied().find(|&address| slab.holds(address, piece))
        };
        let held: Vec<Option<Address>> = self.pieces.iter().map(held).collect();
        let is_written = older == 0 || held.contains(&None);
        let address = if is_written { writer.take(node_len(wire, self.types.len())) } else { 0 };
        let mut addresses = Vec::with_capacity(held.len());
        for (held, piece) in held.into_iter().zip(&self.pieces) {
            addresses.push(held.unwrap_or_else(|| writer.place(piece)));
        }
        let address_of = |piece: Option<DraftPiece>| piece.map_or(0, |piece| addresses[piece.0]);
        let types = self.types.iter().map(|&(rtype, piece)| (rtype, address_of(piece)));
        let placed = PlacedNode {
            address,
            older,
            flags: self.flags,
            types: types.collect(),
            otherwise: address_of(self.otherwise),
            proofs: [address_of(self.proof), 0],
            glue: address_of(self.glue),
            optional_glue: address_of(self.optional_glue),
            any: address_of(self.any),
            ..PlacedNode::default()
        };
        (placed, addresses)
    }
}

/// The piece of the RRset of a name that is most likely wanted by who asks for ANY (RFC 8482 section 4.1).
fn preferred_piece(owner: &Owner<'_>, types: &[(u16, Option<DraftPiece>)]) -> Option<DraftPiece> {
    let preferred = preferred_type(owner)?;
    types.iter().find(|(rtype, _)| *rtype == preferred.0).and_then(|(_, piece)| *piece)
}
