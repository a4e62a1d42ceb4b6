//! RRSIG records and the octets they sign (RFC 4034 section 3).
//!
//! The octets are put together here from the zone's canonical wire bytes, not by way of
//! `domain`'s typed records: owner names and RDATA are in canonical form and order already, and
//! parsing them into types would only write the same octets again. Keys and the signatures
//! themselves are `domain`'s and ring's.

use crate::zone::name::{labels, wire_name_len};
use crate::zone::{Rtype, Serial};

/// Octets of RRSIG RDATA before the signer's name.
const FIXED_LEN: usize = 18;

/// The class IN on the wire.
const CLASS_IN: [u8; 2] = [0, 1];

/// What an RRSIG record says, but for the signature itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RrsigFields {
    /// The type of the RRset.
    pub covered: Rtype,
    /// The algorithm number.
    pub algorithm: u8,
    /// Labels of the owner name, without the root and a leading asterisk.
    pub labels: u8,
    /// The TTL of the RRset at its source.
    pub original_ttl: u32,
    /// The signature is not valid after this time.
    pub expiration: u32,
    /// The signature is not valid before this time.
    pub inception: u32,
    /// The key tag.
    pub key_tag: u16,
}

/// An RRSIG record's RDATA taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Rrsig<'a> {
    /// The fixed fields.
    pub fields: RrsigFields,
    /// The signer's name, uncompressed.
    pub signer: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

impl<'a> Rrsig<'a> {
    /// Takes RDATA apart; `None` if it is cut short.
    pub fn parse(rdata: &'a [u8]) -> Option<Rrsig<'a>> {
        let (fixed, rest) = rdata.split_first_chunk::<FIXED_LEN>()?;
        let (signer, signature) = rest.split_at_checked(wire_name_len(rest)?)?;
        let u16_at = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let u32_at = |at: usize| (u32::from(u16_at(at)) << 16) | u32::from(u16_at(at + 2));
        let fields = RrsigFields {
            covered: Rtype(u16_at(0)),
            algorithm: fixed[2],
            labels: fixed[3],
            original_ttl: u32_at(4),
            expiration: u32_at(8),
            inception: u32_at(12),
            key_tag: u16_at(16),
        };
        Some(Rrsig { fields, signer, signature })
    }
}

impl RrsigFields {
    /// Appends the RDATA up to where the signature follows.
    pub fn write(&self, signer: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.covered.0.to_be_bytes());
        out.extend_from_slice(&[self.algorithm, self.labels]);
        out.extend_from_slice(&self.original_ttl.to_be_bytes());
        out.extend_from_slice(&self.expiration.to_be_bytes());
        out.extend_from_slice(&self.inception.to_be_bytes());
        out.extend_from_slice(&self.key_tag.to_be_bytes());
        out.extend_from_slice(signer);
    }

    /// Replaces `out` by what is signed (RFC 4034 section 3.1.8.1): the RDATA without the
    /// signature, then the RRset in canonical form and order with the original TTL.
    pub fn signed_data<'a>(
        &self,
        signer: &[u8],
        owner: &[u8],
        rdatas: impl Iterator<Item = &'a [u8]>,
        out: &mut Vec<u8>,
    ) {
        out.clear();
        self.write(signer, out);
        for rdata in rdatas {
            out.extend_from_slice(owner);
            out.extend_from_slice(&self.covered.0.to_be_bytes());
            out.extend_from_slice(&CLASS_IN);
            out.extend_from_slice(&self.original_ttl.to_be_bytes());
            // A zone holds no RDATA longer than 16 bits can say.
            out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
            out.extend_from_slice(rdata);
        }
    }
}

/// The Labels field for an owner name (RFC 4034 section 3.1.3).
pub fn label_count(owner: &[u8]) -> u8 {
    let wildcard = owner.starts_with(b"\x01*");
    // A name has at most 127 labels.
    (labels(owner).count() - usize::from(wildcard)) as u8
}

/// Whether `now` is not before `inception` and not after `expiration`, in serial number
/// arithmetic (RFC 4034 section 3.1.5).
pub fn is_within(inception: u32, expiration: u32, now: u32) -> bool {
    Serial(now).since(Serial(inception)) >= 0 && Serial(expiration).since(Serial(now)) >= 0
}
