//! What is known of a version while it is compiled.

use std::cell::RefCell;
use std::collections::BTreeSet;

use xdp_common::image::Address;
use xdp_common::image::zone::denial;

use super::writer::Writer;
use crate::compile::error::{CompileError, Unsendable, UnsendableKind};
use crate::compile::names::{self, ExistingName};
use crate::compile::reuse::PreviousNodes;
use crate::dnssec::denial::{Hash, Parameters};
use crate::dnssec::lasting::Signers;
use crate::zone::{Name, Rtype, Zone};

/// A node whose pieces have addresses, before it is written itself.
#[derive(Clone, Default)]
pub(super) struct PlacedNode {
    /// 0 as long as it seems that the node of the version before can stay.
    pub(super) address: Address,
    /// That of the version before; 0 if it has none.
    pub(super) older: Address,
    pub(super) flags: u16,
    pub(super) types: Vec<(u16, Address)>,
    pub(super) otherwise: Address,
    pub(super) proofs: [Address; 2],
    pub(super) glue: Address,
    pub(super) optional_glue: Address,
    pub(super) target: Option<usize>,
    pub(super) wildcard: Option<usize>,
    pub(super) encloser_match: Address,
    pub(super) wildcard_cover: Address,
    pub(super) first_cover: Address,
    pub(super) children: (Address, u32),
    pub(super) last_cover: Address,
    pub(super) any: Address,
}

/// An NSEC3 record of the zone.
pub(super) struct HashedName {
    pub(super) hash: Hash,
    pub(super) piece: Address,
}

/// A zone while it is compiled.
pub(super) struct Build<'a, 'w, 'm> {
    pub(super) zone: &'a Zone,
    pub(super) apex: &'a [u8],
    pub(super) seed: u64,
    pub(super) denial: u8,
    /// What the NSEC3 chain is hashed with, if there is one.
    pub(super) nsec3: Parameters<'a>,
    pub(super) signers: Signers<'a>,
    pub(super) now: u32,
    /// What no message can carry.
    pub(super) unsendable: RefCell<Vec<Unsendable>>,
    pub(super) is_partial: bool,
    pub(super) names: Vec<ExistingName<'a>>,
    pub(super) nodes: Vec<PlacedNode>,
    pub(super) hashed: Vec<HashedName>,
    pub(super) older: PreviousNodes<'m>,
    /// The addresses of all records that the version refers to.
    pub(super) used: Vec<Address>,
    pub(super) writer: &'w mut Writer<'m>,
}

impl<'a, 'w, 'm> Build<'a, 'w, 'm> {
    pub(super) fn new(
        zone: &'a Zone,
        part: Option<&BTreeSet<Name>>,
        older: PreviousNodes<'m>,
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
            Some(part) => names::partial(zone, part),
            None => names::existing(zone),
        };
        let is_partial = part.is_some();
        let nodes = vec![PlacedNode::default(); names.len()];
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
            is_partial,
            names,
            nodes,
            hashed,
            older,
            used,
            writer,
        })
    }

    /// What the zone record says of denial: a part of a zone denies nothing.
    pub(super) fn denial_said(&self) -> u8 {
        if self.is_partial { denial::NONE } else { self.denial }
    }

    pub(super) fn cannot_send(&self, wire: &[u8], kind: UnsendableKind) {
        let owner = Name::from_wire(wire).unwrap_or_else(Name::root);
        self.unsendable.borrow_mut().push(Unsendable { owner, kind });
    }

    /// Places a record that belongs to no node, unless it is there.
    pub(super) fn place(&mut self, octets: &[u8], older: Address) -> Address {
        let address =
            if self.older.holds(older, octets) { older } else { self.writer.place(octets) };
        self.used.push(address);
        address
    }
}
