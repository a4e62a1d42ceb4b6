//! `[policy.NAME]`: keys, denial and the lives of signatures.
//!
//! Its values are the signer's own types; here are the words that the file has for them.

use serde::{Deserialize, Deserializer};

use crate::dnssec::keys::{Algorithm, KeyLayout};
use crate::dnssec::lifetime::{REFRESH_S, VALIDITY_S};
use crate::dnssec::policy::{AnyResponse, Denial, SigningPolicy};
use crate::duration::Period;

/// `[policy.NAME]`: how zones are signed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Policy {
    /// The algorithm of new keys.
    #[serde(with = "AlgorithmWord")]
    pub algorithm: Algorithm,
    /// Which keys there are.
    #[serde(with = "KeyLayoutWord")]
    pub keys: KeyLayout,
    /// How absence is proven.
    #[serde(deserialize_with = "denial")]
    pub denial: Denial,
    /// What answers QTYPE ANY.
    #[serde(with = "AnyResponseWord")]
    pub any: AnyResponse,
    /// Whether zones have a digest of themselves (ZONEMD, RFC 8976).
    pub zonemd: bool,
    /// From a signature's making to its expiration.
    pub signature_validity: Period,
    /// Zones are re-signed when this little is left of their earliest signature.
    pub refresh: Period,
}

impl Policy {
    /// What the signer is told.
    pub fn signing(&self) -> SigningPolicy {
        SigningPolicy {
            denial: self.denial,
            any: self.any,
            zonemd: self.zonemd,
            validity: self.signature_validity.seconds(),
            ..SigningPolicy::default()
        }
    }
}

impl Default for Policy {
    fn default() -> Policy {
        let signing = SigningPolicy::default();
        Policy {
            algorithm: Algorithm::default(),
            keys: KeyLayout::default(),
            denial: signing.denial,
            any: signing.any,
            zonemd: signing.zonemd,
            signature_validity: Period::from_seconds(VALIDITY_S),
            refresh: Period::from_seconds(REFRESH_S),
        }
    }
}

/// An algorithm that keys can be made of, by its mnemonic (IANA registry "DNS Security Algorithm Numbers").
#[derive(Deserialize)]
#[serde(remote = "Algorithm")]
enum AlgorithmWord {
    #[serde(rename = "ECDSAP256SHA256")]
    EcdsaP256Sha256,
    #[serde(rename = "ECDSAP384SHA384")]
    EcdsaP384Sha384,
    #[serde(rename = "ED25519")]
    Ed25519,
}

#[derive(Deserialize)]
#[serde(remote = "KeyLayout", rename_all = "kebab-case")]
enum KeyLayoutWord {
    KskZsk,
    Csk,
}

#[derive(Deserialize)]
#[serde(remote = "AnyResponse", rename_all = "kebab-case")]
enum AnyResponseWord {
    Rrset,
    Hinfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DenialWord {
    Nsec,
    Nsec3,
    Nsec3OptOut,
}

fn denial<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Denial, D::Error> {
    Ok(match DenialWord::deserialize(deserializer)? {
        DenialWord::Nsec => Denial::Nsec,
        DenialWord::Nsec3 => Denial::Nsec3 { opt_out: false },
        DenialWord::Nsec3OptOut => Denial::Nsec3 { opt_out: true },
    })
}
