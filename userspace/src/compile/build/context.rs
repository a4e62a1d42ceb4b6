//! What all nodes of a version have in common while they are made: where its records are, and how it is signed.

use std::cell::RefCell;

use xdp_common::image::zone::denial;

use crate::compile::error::{CompileError, Unsendable, UnsendableKind};
use crate::dnssec::authority::is_delegated_among;
use crate::dnssec::denial::Parameters;
use crate::dnssec::lasting::Signers;
use crate::zone::{Name, Owner, Rrset, Rtype, Version, Zone};

/// Where the records of a version are. What is made of an owner is the same octets wherever it lies.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// In a flat zone.
    Zone(&'a Zone),
    /// In a version over one.
    Version(&'a Version),
}

impl<'a> Source<'a> {
    pub(super) fn apex(self) -> &'a Name {
        match self {
            Source::Zone(zone) => zone.apex(),
            Source::Version(version) => version.apex(),
        }
    }

    pub(super) fn find(self, name: &[u8]) -> Option<Owner<'a>> {
        match self {
            Source::Zone(zone) => zone.find(name),
            Source::Version(version) => version.find(name),
        }
    }

    /// What stands beside the zone to be said to ANY at a name.
    pub(super) fn any_answer(self, name: &[u8]) -> Option<Owner<'a>> {
        match self {
            Source::Zone(zone) => zone.any_answers()?.find(name),
            Source::Version(version) => version.any_answers()?.find(name),
        }
    }

    pub(super) fn is_withheld(self, owner: &[u8], rtype: Rtype) -> bool {
        match self {
            Source::Zone(zone) => zone.is_withheld(owner, rtype),
            Source::Version(version) => version.is_withheld(owner, rtype),
        }
    }

    pub(super) fn negative_ttl(self) -> u32 {
        match self {
            Source::Zone(zone) => zone.negative_ttl(),
            Source::Version(version) => version.negative_ttl(),
        }
    }

    /// Whether a name is a zone cut, or lies below one.
    pub(super) fn is_delegated(self, name: &[u8]) -> bool {
        is_delegated_among(self.apex(), name, |name| self.find(name))
    }
}

/// What the nodes of a version have in common.
pub(super) struct VersionContext<'a> {
    pub(super) source: Source<'a>,
    pub(super) apex: &'a [u8],
    /// The key of the names' hash.
    pub(super) seed: u64,
    /// One of [`denial`].
    pub(super) denial: u8,
    /// What the NSEC3 chain is hashed with, if there is one.
    pub(super) nsec3: Parameters<'a>,
    signers: Signers<'a>,
    /// Seconds since 1970, truncated to 32 bits.
    pub(super) now: u32,
    pub(super) is_partial: bool,
    /// What no message can carry.
    pub(super) unsendable: RefCell<Vec<Unsendable>>,
}

impl<'a> VersionContext<'a> {
    pub(super) fn new(
        source: Source<'a>,
        is_partial: bool,
        seed: u64,
        now: u32,
    ) -> Result<VersionContext<'a>, CompileError> {
        let apex = source.apex().as_wire();
        let at_apex = source.find(apex).ok_or(CompileError::NoApex)?;
        let parameters = Parameters::of(&at_apex).transpose()?;
        let denial = match parameters {
            Some(_) => denial::NSEC3,
            None if at_apex.rrset(Rtype::NSEC).is_some() => denial::NSEC,
            None => denial::NONE,
        };
        Ok(VersionContext {
            source,
            apex,
            seed,
            denial,
            nsec3: parameters.unwrap_or_default(),
            signers: Signers::at(&at_apex),
            now,
            is_partial,
            unsendable: RefCell::default(),
        })
    }

    /// What the zone record says of denial: a part of a zone denies nothing.
    pub(super) fn denial_said(&self) -> u8 {
        if self.is_partial { denial::NONE } else { self.denial }
    }

    /// Until when an RRset is held; `None` if it is not signed.
    pub(super) fn held_until(&self, owner: &Owner<'a>, rrset: &Rrset<'a>) -> Option<u32> {
        self.signers.until(owner, rrset, self.now)
    }

    pub(super) fn cannot_send(&self, wire: &[u8], kind: UnsendableKind) {
        let owner = Name::from_wire(wire).unwrap_or_else(Name::root);
        self.unsendable.borrow_mut().push(Unsendable { owner, kind });
    }
}
