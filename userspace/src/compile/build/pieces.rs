//! The pieces of a zone: RRsets, referrals and proofs as answers carry them.

use xdp_common::dns::edns::OPT_LEN;
use xdp_common::image::zone::denial;

use super::context::VersionContext;
use crate::compile::error::{CompileError, UnsendableKind};
use crate::compile::piece::{self, MAX_TCP_MESSAGE, OwnerName, PieceBuilder};
use crate::zone::{Owner, Rrset, Rtype, name};

/// How long ago what is withheld has ended, in seconds: 34 years, so that it has for every clock that is in use
/// (times are compared as RFC 4034 section 3.1.5 has it).
const LONG_AGO: u32 = 1 << 30;

impl<'a> VersionContext<'a> {
    /// The record of a piece about a name, or in its place one that says that no message has room for it.
    pub(super) fn finished(
        &self,
        piece: PieceBuilder<'_>,
        wire: &[u8],
        kind: UnsendableKind,
    ) -> Vec<u8> {
        let finished = piece.finish(wire.len());
        if finished.is_too_large {
            self.cannot_send(wire, kind);
        }
        finished.record
    }

    /// Adds an RRset, and its signatures behind what is sent without DNSSEC records.
    pub(super) fn add_rrset(
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
        if self.source.is_withheld(owner.name(), rrset.rtype()) {
            piece.holds_until(self.now.wrapping_sub(LONG_AGO));
        } else if let Some(time) = self.held_until(owner, &rrset) {
            piece.holds_until(time);
        }
    }

    /// An RRset and its signatures.
    pub(super) fn rrset_piece(
        &self,
        owner: &Owner<'a>,
        rrset: Rrset<'a>,
        named: OwnerName<'_>,
    ) -> Vec<u8> {
        let piece = PieceBuilder::with(self.apex, |piece| {
            self.add_rrset(piece, owner, rrset, rrset.ttl(), [named, named]);
        });
        self.finished(piece, owner.name(), UnsendableKind::Rrset(rrset.rtype()))
    }

    /// What stands beside the zone to be said to ANY (RFC 8482 section 4.2).
    pub(super) fn hinfo_for_any(&self, owner: &Owner<'a>) -> Option<Vec<u8>> {
        let any_answer = self.source.any_answer(owner.name());
        let hinfo = any_answer.and_then(|at| Some((at, at.rrset(Rtype::HINFO)?)));
        hinfo.map(|(at, hinfo)| self.rrset_piece(&at, hinfo, OwnerName::Context))
    }

    /// An NSEC or NSEC3 with its signatures, its owner name spelled out.
    pub(super) fn denial_piece(&self, owner: &Owner<'a>, rrset: Rrset<'a>) -> Vec<u8> {
        let mut piece = PieceBuilder::new(self.apex);
        let named = [OwnerName::Spelled(owner.name()), OwnerName::First];
        self.add_rrset(&mut piece, owner, rrset, rrset.ttl(), named);
        self.finished(piece, owner.name(), UnsendableKind::Rrset(rrset.rtype()))
    }

    /// The SOA as negative answers carry it: with their TTL (RFC 2308 section 3).
    pub(super) fn negative_soa(&self) -> Result<Vec<u8>, CompileError> {
        let owner = self.source.find(self.apex).ok_or(CompileError::NoApex)?;
        let soa = owner.rrset(Rtype::SOA).ok_or(CompileError::NoApex)?;
        let mut piece = PieceBuilder::new(self.apex);
        let named = OwnerName::Suffix(self.apex.len());
        self.add_rrset(&mut piece, &owner, soa, self.source.negative_ttl(), [named, named]);
        Ok(self.finished(piece, self.apex, UnsendableKind::Rrset(Rtype::SOA)))
    }

    /// The NS RRset of a cut, and with DNSSEC records its DS.
    pub(super) fn referral_piece<'n>(&self, owner: &Owner<'n>) -> PieceBuilder<'n>
    where
        'a: 'n,
    {
        let named = OwnerName::Suffix(owner.name().len());
        PieceBuilder::with(owner.name(), |piece| {
            if let Some(servers) = owner.rrset(Rtype::NS) {
                for rdata in servers.rdatas() {
                    piece.record(named, Rtype::NS, servers.ttl(), rdata);
                }
            }
            piece.dnssec_follows();
            // Without a signature and in a zone that proves nothing, a DS is of use to nobody.
            let ds = owner.rrset(Rtype::DS).filter(|_| self.denial != denial::NONE);
            if let Some(ds) = ds {
                self.add_rrset(piece, owner, ds, ds.ttl(), [named, named]);
            }
        })
    }

    /// The addresses of a cut's name servers: of those at or below the cut, without which it cannot be
    /// reached, and of those below other cuts of the zone (RFC 9471 sections 2 and 3). They come behind a referral of
    /// `referral_len` octets; of the former no more than a message holds.
    pub(super) fn glue_pieces(&self, cut: &Owner<'a>, referral_len: usize) -> [Option<Vec<u8>>; 2] {
        let glue = |is_glue: &dyn Fn(&[u8]) -> bool| {
            PieceBuilder::with(cut.name(), |piece| {
                let servers = cut.rrset(Rtype::NS);
                let servers = servers.iter().flat_map(|servers| servers.rdatas());
                servers
                    .filter(|server| is_glue(server))
                    .for_each(|at| self.add_addresses(piece, at));
            })
        };
        let is_needed = |server: &[u8]| name::is_at_or_below(server, cut.name());
        let mut needed = glue(&is_needed);
        let optional = glue(&|server| !is_needed(server) && self.source.is_delegated(server));
        let room = piece::room(cut.name().len());
        let before = MAX_TCP_MESSAGE - room - OPT_LEN + referral_len;
        if referral_len <= room
            && referral_len + needed.len_behind(before) > room
            && !needed.is_empty()
        {
            self.cannot_send(cut.name(), UnsendableKind::Glue);
        }
        needed.cut_off(cut.name().len());
        let finished =
            |piece: PieceBuilder<'_>| (!piece.is_empty()).then(|| piece.finish(cut.name().len()));
        [finished(needed), finished(optional).filter(|piece| !piece.is_too_large)]
            .map(|finished| finished.map(|piece| piece.record))
    }

    /// Adds the addresses of a name server.
    fn add_addresses(&self, piece: &mut PieceBuilder<'_>, server: &[u8]) {
        let Some(host) = self.source.find(server) else { return };
        for rtype in [Rtype::A, Rtype::AAAA] {
            let addresses = host.rrset(rtype);
            for rdata in addresses.iter().flat_map(|addresses| addresses.rdatas()) {
                let ttl = addresses.map_or(0, |addresses| addresses.ttl());
                piece.record(OwnerName::Spelled(server), rtype, ttl, rdata);
            }
        }
    }
}
