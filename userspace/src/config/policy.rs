//! `[policy.NAME]`: keys, denial and the lives of signatures.

use serde::Deserialize;

use crate::duration::Period;

/// `[policy.NAME]`: how zones are signed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Policy {
    /// The algorithm of new keys.
    pub algorithm: Algorithm,
    /// Which keys there are.
    pub keys: KeyLayout,
    /// How absence is proven.
    pub denial: Denial,
    /// What is said to ANY.
    pub any: AnyResponse,
    /// Whether zones have a digest of themselves (ZONEMD, RFC 8976).
    pub zonemd: bool,
    /// From a signature's making to its expiration.
    pub signature_validity: Period,
    /// Zones are re-signed when this little is left of their earliest signature.
    pub refresh: Period,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            algorithm: Algorithm::Ecdsap256sha256,
            keys: KeyLayout::KskZsk,
            denial: Denial::Nsec,
            any: AnyResponse::Rrset,
            zonemd: false,
            signature_validity: Period::from_seconds(14 * 86400),
            refresh: Period::from_seconds(7 * 86400),
        }
    }
}

/// A signing algorithm by its mnemonic (IANA registry "DNS Security Algorithm Numbers").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256 (RFC 6605).
    #[serde(rename = "ECDSAP256SHA256")]
    Ecdsap256sha256,
    /// ECDSA over P-384 with SHA-384 (RFC 6605).
    #[serde(rename = "ECDSAP384SHA384")]
    Ecdsap384sha384,
    /// Ed25519 (RFC 8080).
    #[serde(rename = "ED25519")]
    Ed25519,
}

/// Which keys a zone has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyLayout {
    /// A KSK that signs the DNSKEY RRset and a ZSK that signs the rest.
    KskZsk,
    /// One key that signs everything.
    Csk,
}

/// How a zone proves absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Denial {
    /// NSEC (RFC 4034 section 4).
    Nsec,
    /// NSEC3 with 0 iterations and no salt (RFC 5155, RFC 9276).
    Nsec3,
    /// NSEC3 that skips delegations without DS (RFC 5155 section 6).
    Nsec3OptOut,
}

/// What is said to ANY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnyResponse {
    /// One RRset of the name (RFC 8482 section 4.1).
    Rrset,
    /// A synthesised HINFO (RFC 8482 section 4.2).
    Hinfo,
}
