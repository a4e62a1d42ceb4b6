//! How long a signature is valid, and when it is made anew, where the operator does not say otherwise: times in seconds.
//!
//! [`SigningPolicy`](super::policy::SigningPolicy) starts from these, and so do `[policy.NAME]` of the configuration and
//! the options of `sealdns sign`. `RrsetSigner::signature` computes when each signature expires. RFC 6781 section 4.4.2 weighs the reasons.

/// From the signing of a zone to the expiration of its signatures: two weeks, of which one is left when the daemon signs
/// again, a weekend and some days to repair a signer that fails.
pub const VALIDITY_S: u32 = 14 * DAY_S;

/// What is left until the first expiration when the daemon signs the zone again: half of [`VALIDITY_S`].
pub const REFRESH_S: u32 = VALIDITY_S / 2;

/// By how much signatures may expire earlier, spread by owner name, so that a large zone need not be signed again all at
/// once. None: it is `sign --jitter` that asks for some.
pub const JITTER_S: u32 = 0;

/// How long before the signing signatures begin to be valid, for validators whose clocks are behind: what
/// dnssec-signzone uses.
pub const INCEPTION_OFFSET_S: u32 = HOUR_S;

/// The TTL of a DNSKEY RRset: short enough for rolls of keys, which wait for it; the default of BIND's policies.
pub const DNSKEY_TTL_S: u32 = HOUR_S;

const HOUR_S: u32 = 3600;
const DAY_S: u32 = 24 * HOUR_S;
