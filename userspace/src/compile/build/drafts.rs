//! Nodes with their pieces: made first, then placed unless the version before has them.

use xdp_common::image::Address;
use xdp_common::image::node::{self, flag};

use super::pieces::any_of;
use super::records::{first_label, node_len};
use super::state::{Build, NodeRecord};
use crate::compile::faults::What;
use crate::compile::piece::OwnerName;
use crate::zone::{Owner, Rtype};

/// Octets of a name from which on an NSEC with its owner name and the next one may not fit the 512
/// octets of a client without EDNS (RFC 1035 section 4.2.1), if the question has the name too.
const LONG_NAME: usize = 128;

/// Records of a node before they are placed, by number; the first is 1.
type Drafts = Vec<Vec<u8>>;

impl<'a> Build<'a, '_, '_> {
    /// Makes a node's pieces, and places them behind it unless the version before has them.
    pub(super) fn node(&mut self, place: usize) {
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
    pub(super) fn draft(
        &self,
        owner: &Owner<'a>,
        is_cut: bool,
        record: &mut NodeRecord,
        drafts: &mut Drafts,
    ) {
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
    pub(super) fn settle(
        &mut self,
        wire: &[u8],
        mut record: NodeRecord,
        drafts: &Drafts,
        place: usize,
    ) {
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
}
