//! Signing one RRset (RFC 4034 section 3): signing a zone, whole or in part, makes its signatures here.

use super::keys::{Key, SigningFailed};
use super::policy::SigningPolicy;
use super::rrsig::{RrsigFields, label_count};
use crate::zone::Rtype;

/// Signs RRsets of one zone.
#[derive(Clone, Copy)]
pub struct RrsetSigner<'a> {
    /// The zone's apex, which signatures name as the signer.
    pub apex: &'a [u8],
    /// The zone's keys.
    pub keys: &'a [Key],
    /// How long signatures are valid.
    pub policy: &'a SigningPolicy,
    /// Seconds since 1970, truncated to 32 bits.
    pub now: u32,
}

impl<'a> RrsetSigner<'a> {
    /// The keys that sign RRsets of a type, each with its place among all.
    pub fn keys_for(&self, rtype: Rtype) -> impl Iterator<Item = (usize, &'a Key)> + use<'a> {
        self.keys.iter().enumerate().filter(move |(_, key)| key.signs(rtype))
    }

    /// The signature of an RRset by one key: RDATA of an RRSIG record. `rdatas` are in canonical form and order;
    /// `scratch` is room for what is signed.
    pub fn signature<'r>(
        &self,
        key: &Key,
        owner: &[u8],
        (rtype, ttl): (Rtype, u32),
        rdatas: impl Iterator<Item = &'r [u8]>,
        scratch: &mut Vec<u8>,
    ) -> Result<Vec<u8>, SigningFailed> {
        let fields = RrsigFields {
            covered: rtype,
            algorithm: key.algorithm().number(),
            labels: label_count(owner),
            original_ttl: ttl,
            expiration: self.now.wrapping_add(self.policy.validity - self.earlier(owner)),
            inception: self.now.wrapping_sub(self.policy.inception_offset),
            key_tag: key.tag(),
        };
        fields.signed_data(self.apex, owner, rdatas, scratch);
        let mut rdata = Vec::with_capacity(18 + self.apex.len() + 64);
        fields.write(self.apex, &mut rdata);
        key.signer().sign(scratch, &mut rdata)?;
        Ok(rdata)
    }

    /// By how many seconds the signatures of this name that are made now end earlier than the policy's validity. It
    /// depends on the time, too: names that are renewed each after a time of its own, always the same, would meet again
    /// and again.
    fn earlier(&self, owner: &[u8]) -> u32 {
        // FNV-1a: any hash spreads names well enough, and this one needs no state.
        let hash = owner.iter().fold(0x811c_9dc5_u32 ^ self.now, |hash, &octet| {
            (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193)
        });
        hash.checked_rem(self.policy.jitter).unwrap_or(0)
    }
}
