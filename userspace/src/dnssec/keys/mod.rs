//! Keys: what they are, how they are made, and their text in BIND's key files.
//!
//! Keys on disk are the matter of [`store`], the one module of this room that touches files. When a key is used is that
//! of [`timing`] and [`in_use`].
//!
//! The text of a private key is overwritten when it is done with, and so are the octets that `domain` makes
//! of it (`SecretKeyBytes`). What `ring` and the decoder of base64 keep inside is theirs and is not: a
//! process with keys writes no core file.

pub mod in_use;
pub mod store;
pub mod timing;

use std::fmt::{self, Write as _};
use std::str::FromStr;

use data_encoding::HEXUPPER;
use domain::base::iana::{Class, SecurityAlgorithm};
use domain::base::{Record, Ttl};
use domain::crypto::sign::{GenerateParams, KeyPair, SecretKeyBytes, SignRaw, generate};
use domain::dnssec::common::{display_as_bind, parse_from_bind};
use domain::rdata::Dnskey;
use ring::digest;
use zeroize::Zeroizing;

use super::choice::{choice, word};
use crate::zone::{Name, Rtype};
use timing::{KeyState, KeyTimes, TimeError};

/// DNSKEY flags of a zone-signing key (RFC 4034 section 2.1.1).
pub const ZONE_KEY: u16 = 256;

/// DNSKEY flag of a secure entry point, which a DS record in the parent points to (RFC 3757).
pub const SECURE_ENTRY_POINT: u16 = 1;

/// DNSKEY flag of a revoked key (RFC 5011 section 3).
pub const REVOKED: u16 = 128;

/// How often a new key is thrown away because its tag is taken already. Each time one of at most a
/// few tags out of 65,536 must be hit, so that running out of attempts means the random source is
/// broken.
const MAX_ATTEMPTS: usize = 16;

/// No private key that is made here has a longer text, in octets.
const MAX_PRIVATE: usize = 4096;

/// A signature algorithm that zones are signed with (RFC 9904).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Algorithm {
    /// RSA with SHA-256 (RFC 5702).
    RsaSha256,
    /// RSA with SHA-512 (RFC 5702).
    RsaSha512,
    /// ECDSA over P-256 with SHA-256 (RFC 6605).
    #[default]
    EcdsaP256Sha256,
    /// ECDSA over P-384 with SHA-384 (RFC 6605).
    EcdsaP384Sha384,
    /// Ed25519 (RFC 8080).
    Ed25519,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 5] = [
        Algorithm::RsaSha256,
        Algorithm::RsaSha512,
        Algorithm::EcdsaP256Sha256,
        Algorithm::EcdsaP384Sha384,
        Algorithm::Ed25519,
    ];

    /// The number in DNSKEY, DS and RRSIG records.
    pub const fn number(self) -> u8 {
        match self {
            Algorithm::RsaSha256 => 8,
            Algorithm::RsaSha512 => 10,
            Algorithm::EcdsaP256Sha256 => 13,
            Algorithm::EcdsaP384Sha384 => 14,
            Algorithm::Ed25519 => 15,
        }
    }

    /// The mnemonic of the IANA registry.
    pub const fn mnemonic(self) -> &'static str {
        match self {
            Algorithm::RsaSha256 => "RSASHA256",
            Algorithm::RsaSha512 => "RSASHA512",
            Algorithm::EcdsaP256Sha256 => "ECDSAP256SHA256",
            Algorithm::EcdsaP384Sha384 => "ECDSAP384SHA384",
            Algorithm::Ed25519 => "ED25519",
        }
    }

    /// The algorithm with this number.
    pub fn from_number(number: u8) -> Result<Algorithm, KeyError> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.number() == number).ok_or(
            if number == 5 || number == 7 {
                KeyError::Sha1(number)
            } else {
                KeyError::UnknownAlgorithm(number)
            },
        )
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mnemonic())
    }
}

impl FromStr for Algorithm {
    type Err = String;

    /// Takes the mnemonic in any case, or the number.
    fn from_str(text: &str) -> Result<Algorithm, String> {
        if let Ok(number) = text.parse() {
            return Algorithm::from_number(number).map_err(|error| error.to_string());
        }
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.mnemonic().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                let known = Algorithm::ALL.map(Algorithm::mnemonic).join(", ");
                format!("`{text}` is not one of {known}")
            })
    }
}

/// What a key signs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// The key-signing key signs DNSKEY, CDS and CDNSKEY; the parent's DS points to it.
    Ksk,
    /// The zone-signing key signs all else.
    Zsk,
    /// The combined signing key signs everything; the parent's DS points to it.
    Csk,
}

impl Role {
    /// The DNSKEY flags of such a key.
    pub const fn flags(self) -> u16 {
        match self {
            Role::Zsk => ZONE_KEY,
            Role::Ksk | Role::Csk => ZONE_KEY | SECURE_ENTRY_POINT,
        }
    }

    /// Whether such a key signs the RRset of this type.
    pub fn signs(self, rtype: Rtype) -> bool {
        // RFC 7344 section 4.1 asks for a key that the parent knows to sign CDS and CDNSKEY.
        let by_ksk = matches!(rtype, Rtype::DNSKEY | Rtype::CDS | Rtype::CDNSKEY);
        match self {
            Role::Ksk => by_ksk,
            Role::Zsk => !by_ksk,
            Role::Csk => true,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Ksk => "ksk",
            Role::Zsk => "zsk",
            Role::Csk => "csk",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        choice(text, &[("ksk", Role::Ksk), ("zsk", Role::Zsk), ("csk", Role::Csk)])
    }
}

/// Which keys a zone has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KeyLayout {
    /// A key-signing and a zone-signing key.
    #[default]
    KskZsk,
    /// One key for everything.
    Csk,
}

impl KeyLayout {
    /// The roles of the keys to be made.
    pub const fn roles(self) -> &'static [Role] {
        match self {
            KeyLayout::KskZsk => &[Role::Ksk, Role::Zsk],
            KeyLayout::Csk => &[Role::Csk],
        }
    }
}

impl KeyLayout {
    const WORDS: [(&str, KeyLayout); 2] = [("ksk-zsk", KeyLayout::KskZsk), ("csk", KeyLayout::Csk)];
}

impl FromStr for KeyLayout {
    type Err = String;

    fn from_str(text: &str) -> Result<KeyLayout, String> {
        choice(text, &KeyLayout::WORDS)
    }
}

impl fmt::Display for KeyLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(self, &KeyLayout::WORDS))
    }
}

/// The digest in a DS record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DsDigest {
    /// SHA-256 (RFC 4509).
    #[default]
    Sha256,
    /// SHA-384 (RFC 6605).
    Sha384,
}

impl DsDigest {
    const WORDS: [(&str, DsDigest); 2] =
        [("sha256", DsDigest::Sha256), ("sha384", DsDigest::Sha384)];
}

impl FromStr for DsDigest {
    type Err = String;

    fn from_str(text: &str) -> Result<DsDigest, String> {
        choice(text, &DsDigest::WORDS)
    }
}

impl fmt::Display for DsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(self, &DsDigest::WORDS))
    }
}

/// What is wrong with a key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// The public part is not one DNSKEY record.
    #[error("is not one DNSKEY record in zone file format")]
    Public,
    /// The public key belongs to another zone.
    #[error("holds a key of {found}, not of {expected}")]
    OtherZone {
        /// The record's owner.
        found: Name,
        /// The zone asked for.
        expected: Name,
    },
    /// The flags or the protocol do not make it a zone key.
    #[error(
        "is not a zone key: its flags are {flags} and its protocol is {protocol}; a zone \
             signing key has 256 3, a key signing key 257 3"
    )]
    NotAZoneKey {
        /// The flags.
        flags: u16,
        /// The protocol.
        protocol: u8,
    },
    /// The private part cannot be read.
    #[error("is not in BIND's private key format: {0}")]
    Private(String),
    /// A time in the private part cannot be read.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// The parts do not belong together.
    #[error("does not belong to the public key in the .key file beside it")]
    Mismatch,
    /// The algorithm uses SHA-1.
    #[error(
        "uses algorithm {0}, which rests on SHA-1 and must not sign zones any more (RFC \
             9905); make a key of algorithm ECDSAP256SHA256"
    )]
    Sha1(u8),
    /// The algorithm is not known here.
    #[error("uses algorithm {0}; the ones known here are 8, 10, 13, 14 and 15")]
    UnknownAlgorithm(u8),
    /// No key can be made.
    #[error(
        "a key of algorithm {0} cannot be made here, only used; make it with dnssec-keygen \
             and put its two files into the key directory"
    )]
    CannotMake(Algorithm),
    /// The random source failed.
    #[error("no key could be made: the random source of the system failed")]
    Random,
}

/// The signature could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the signature could not be made")]
pub struct SigningFailed;

/// Makes signatures with one private key. Keys in memory are the one kind there is so far;
/// hardware tokens can be another.
pub trait Signer: Send + Sync {
    /// Appends the signature of `data` as it stands in an RRSIG record.
    fn sign(&self, data: &[u8], signature: &mut Vec<u8>) -> Result<(), SigningFailed>;
}

impl Signer for KeyPair {
    fn sign(&self, data: &[u8], signature: &mut Vec<u8>) -> Result<(), SigningFailed> {
        let made = self.sign_raw(data).map_err(|_| SigningFailed)?;
        signature.extend_from_slice(made.as_ref());
        Ok(())
    }
}

/// A key that signs a zone.
pub struct Key {
    zone: Name,
    role: Role,
    algorithm: Algorithm,
    /// Of its files, also when it is revoked.
    file_tag: u16,
    tag: u16,
    dnskey: Vec<u8>,
    /// `None`: it is always in use.
    times: Option<KeyTimes>,
    state: KeyState,
    signer: Box<dyn Signer>,
}

impl Key {
    /// The zone it signs.
    pub fn zone(&self) -> &Name {
        &self.zone
    }

    /// What it signs.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its key tag (RFC 4034 appendix B). A key that is revoked has another than before.
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// The key tag in the names of its files.
    pub fn file_tag(&self) -> u16 {
        self.file_tag
    }

    /// The RDATA of its DNSKEY record.
    pub fn dnskey(&self) -> &[u8] {
        &self.dnskey
    }

    /// When it is used; `None` if always.
    pub fn times(&self) -> Option<&KeyTimes> {
        self.times.as_ref()
    }

    /// What it is used for at the time for which it was chosen: see [`in_use::at`]. Before that, as if it were always in use.
    pub fn state(&self) -> KeyState {
        self.state
    }

    /// Whether it signs the RRset of this type.
    pub fn signs(&self, rtype: Rtype) -> bool {
        match self.state {
            KeyState::Active => self.role.signs(rtype),
            // RFC 5011 section 2.1: so that who trusts it knows that its owner revoked it. A zone-signing key is nobody's
            // trust anchor.
            KeyState::Revoked => self.role != Role::Zsk && rtype == Rtype::DNSKEY,
            _ => false,
        }
    }

    /// What makes its signatures.
    pub fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    /// A key from the text of its two BIND files. The role is KSK or ZSK by the flags; whether a
    /// KSK is to sign everything is seen by [`in_use::assign_roles`].
    pub fn from_bind(zone: &Name, public: &str, private: &str) -> Result<Key, KeyError> {
        let dnskey = read_public(zone, public)?;
        let secret = SecretKeyBytes::parse_from_bind(private)
            .map_err(|error| KeyError::Private(error.to_string()))?;
        let times = KeyTimes::parse(private)?;
        Ok(Key { times, ..Key::new(zone, &secret, &dnskey)? })
    }

    fn new(
        zone: &Name,
        secret: &SecretKeyBytes,
        dnskey: &Dnskey<Vec<u8>>,
    ) -> Result<Key, KeyError> {
        let algorithm = Algorithm::from_number(dnskey.algorithm().to_int())?;
        if secret.algorithm() != dnskey.algorithm() {
            return Err(KeyError::Mismatch);
        }
        // ring derives the public key from the private one and compares.
        let pair = KeyPair::from_bytes(secret, dnskey).map_err(|error| match error {
            domain::crypto::sign::FromBytesError::InvalidKey => KeyError::Mismatch,
            other => KeyError::Private(other.to_string()),
        })?;
        let role = if dnskey.flags() & SECURE_ENTRY_POINT == 0 { Role::Zsk } else { Role::Ksk };
        let mut rdata = dnskey.flags().to_be_bytes().to_vec();
        rdata.extend_from_slice(&[dnskey.protocol(), algorithm.number()]);
        rdata.extend_from_slice(dnskey.public_key());
        let is_revoked = dnskey.flags() & REVOKED != 0;
        Ok(Key {
            zone: zone.clone(),
            role,
            algorithm,
            file_tag: dnskey.key_tag(),
            tag: dnskey.key_tag(),
            dnskey: rdata,
            times: None,
            state: if is_revoked { KeyState::Revoked } else { KeyState::Active },
            signer: Box::new(pair),
        })
    }

    /// The DS record for the parent in zone file format.
    pub fn ds(&self, digest: DsDigest) -> String {
        let (number, algorithm) = match digest {
            DsDigest::Sha256 => (2, &digest::SHA256),
            DsDigest::Sha384 => (4, &digest::SHA384),
        };
        // RFC 4034 section 5.1.4: the owner name in canonical form, then the DNSKEY RDATA.
        let mut context = digest::Context::new(algorithm);
        context.update(self.zone.as_wire());
        context.update(&self.dnskey);
        let mut text =
            format!("{} IN DS {} {} {number} ", self.zone, self.tag, self.algorithm.number());
        HEXUPPER.encode_append(context.finish().as_ref(), &mut text);
        text
    }
}

impl fmt::Debug for Key {
    /// Nothing of the private part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.zone, self.role, self.algorithm, self.tag)
    }
}

/// A key just made, with the text of its two BIND files.
pub struct NewKey {
    /// The key.
    pub key: Key,
    /// The text of the `.key` file.
    pub public: String,
    /// The text of the `.private` file.
    pub private: Zeroizing<String>,
}

impl NewKey {
    /// Makes a key whose tag is not among `taken`, neither now nor when it is revoked
    /// (RFC 5011 section 2.1 changes the tag): validators that meet two keys with one tag have
    /// to try both.
    ///
    /// `now`, in seconds since 1970, is written down as the time from which the key is in use;
    /// dnssec-signzone and keymgr pass over keys that do not say so.
    pub fn generate(
        zone: &Name,
        role: Role,
        algorithm: Algorithm,
        taken: &[u16],
        now: u32,
    ) -> Result<NewKey, KeyError> {
        let params = match algorithm {
            Algorithm::EcdsaP256Sha256 => GenerateParams::EcdsaP256Sha256,
            Algorithm::EcdsaP384Sha384 => GenerateParams::EcdsaP384Sha384,
            Algorithm::Ed25519 => GenerateParams::Ed25519,
            // ring makes no RSA keys.
            Algorithm::RsaSha256 | Algorithm::RsaSha512 => {
                return Err(KeyError::CannotMake(algorithm));
            }
        };
        for _ in 0..MAX_ATTEMPTS {
            let (secret, dnskey) = generate(&params, role.flags()).map_err(|_| KeyError::Random)?;
            let revoked = revoked_tag(&dnskey);
            if taken.contains(&dnskey.key_tag()) || taken.contains(&revoked) {
                continue;
            }
            let mut key = Key::new(zone, &secret, &dnskey)?;
            key.role = role;
            let made = Some(u64::from(now));
            let times =
                KeyTimes { created: made, publish: made, activate: made, ..KeyTimes::default() };
            key.times = Some(times);
            let public = write_public(zone, role, &dnskey);
            let private = write_private(&secret, now);
            return Ok(NewKey { key, public, private });
        }
        Err(KeyError::Random)
    }
}

fn revoked_tag(dnskey: &Dnskey<Vec<u8>>) -> u16 {
    Dnskey::new(
        dnskey.flags() | REVOKED,
        dnskey.protocol(),
        dnskey.algorithm(),
        dnskey.public_key().as_slice(),
    )
    .map_or(0, |revoked| revoked.key_tag())
}

/// The private key in BIND's format 1.3, which is 1.2 with times.
fn write_private(secret: &SecretKeyBytes, now: u32) -> Zeroizing<String> {
    let time = jiff::Timestamp::from_second(now.into())
        .map_or(String::new(), |time| time.strftime("%Y%m%d%H%M%S").to_string());
    // Large enough never to move: what moves leaves its octets behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_PRIVATE));
    text.push_str("Private-key-format: v1.3\n");
    let mut rest = WithoutFirstLine { text: &mut text, has_begun: false };
    let _ = write!(rest, "{}", secret.display_as_bind());
    let _ = write!(text, "Created: {time}\nPublish: {time}\nActivate: {time}\n");
    text
}

/// Writes all but the first line, which says the version of the format.
struct WithoutFirstLine<'a> {
    text: &'a mut String,
    has_begun: bool,
}

impl fmt::Write for WithoutFirstLine<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let rest = match part.split_once('\n') {
            _ if self.has_begun => part,
            Some((_, rest)) => {
                self.has_begun = true;
                rest
            }
            None => "",
        };
        self.text.push_str(rest);
        Ok(())
    }
}

fn write_public(zone: &Name, role: Role, dnskey: &Dnskey<Vec<u8>>) -> String {
    let what = match role {
        Role::Ksk => "key-signing key",
        Role::Zsk => "zone-signing key",
        Role::Csk => "combined signing key",
    };
    let tag = dnskey.key_tag();
    let owner = domain::base::Name::from_octets(zone.as_wire())
        .expect("a wire name is a name to `domain` too");
    let record = Record::new(owner, Class::IN, Ttl::ZERO, dnskey.clone());
    format!("; This is a {what}, keyid {tag}, for {zone}\n{}", display_as_bind(&record))
}

fn read_public(zone: &Name, text: &str) -> Result<Dnskey<Vec<u8>>, KeyError> {
    let record = parse_from_bind::<Vec<u8>>(text).map_err(|_| KeyError::Public)?;
    let found = Name::from_wire(record.owner().as_slice()).ok_or(KeyError::Public)?;
    if found != *zone {
        return Err(KeyError::OtherZone { found, expected: zone.clone() });
    }
    let dnskey = record.into_data();
    let (flags, protocol) = (dnskey.flags(), dnskey.protocol());
    if flags & !(SECURE_ENTRY_POINT | REVOKED) != ZONE_KEY || protocol != 3 {
        return Err(KeyError::NotAZoneKey { flags, protocol });
    }
    Ok(dnskey)
}

/// A DNSKEY record's RDATA as `domain`'s type; `None` if it is cut short.
pub fn parse_dnskey(rdata: &[u8]) -> Option<Dnskey<&[u8]>> {
    let (&[high, low, protocol, algorithm], key) = rdata.split_first_chunk::<4>()?;
    let flags = u16::from_be_bytes([high, low]);
    Dnskey::new(flags, protocol, SecurityAlgorithm::from_int(algorithm), key).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Name {
        Name::from_wire(b"\x07example\x03net\x00").unwrap()
    }

    #[test]
    fn a_key_survives_its_files() {
        for algorithm in
            [Algorithm::EcdsaP256Sha256, Algorithm::EcdsaP384Sha384, Algorithm::Ed25519]
        {
            let made = NewKey::generate(&zone(), Role::Ksk, algorithm, &[], 1_800_000_000).unwrap();
            let read = Key::from_bind(&zone(), &made.public, &made.private).unwrap();
            assert!(made.private.contains("\nActivate: 20270115080000\n"), "the times");
            assert_eq!((read.tag, &read.dnskey), (made.key.tag, &made.key.dnskey));
            assert_eq!(read.role, Role::Ksk);
        }
    }

    #[test]
    fn parts_of_different_keys_are_refused() {
        let algorithm = Algorithm::EcdsaP256Sha256;
        let one = NewKey::generate(&zone(), Role::Zsk, algorithm, &[], 1_800_000_000).unwrap();
        let other = NewKey::generate(&zone(), Role::Zsk, algorithm, &[], 1_800_000_000).unwrap();
        let mixed = Key::from_bind(&zone(), &one.public, &other.private);
        assert_eq!(mixed.err(), Some(KeyError::Mismatch));
        let ed25519 =
            NewKey::generate(&zone(), Role::Zsk, Algorithm::Ed25519, &[], 1_800_000_000).unwrap();
        let mixed = Key::from_bind(&zone(), &one.public, &ed25519.private);
        assert_eq!(mixed.err(), Some(KeyError::Mismatch));
        let elsewhere = Key::from_bind(&Name::root(), &one.public, &one.private);
        assert!(matches!(elsewhere.err(), Some(KeyError::OtherZone { .. })));
    }

    #[test]
    fn the_ds_of_rfc_6605_section_6_1() {
        let public = "example.net. 3600 IN DNSKEY 257 3 13 ( ".replace("( ", "")
            + "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edb\
               krSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==";
        let private = "Private-key-format: v1.2\nAlgorithm: 13 (ECDSAP256SHA256)\n\
                       PrivateKey: GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=\n";
        let key = Key::from_bind(&zone(), &public, private).unwrap();
        assert_eq!(
            key.ds(DsDigest::Sha256),
            "example.net. IN DS 55648 13 2 \
             B4C8C1FE2E7477127B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17"
        );
    }

    #[test]
    fn sha_1_is_refused_with_the_reason() {
        let public = "example.net. IN DNSKEY 256 3 7 AwEAAaetidLzsKWUt4swWR8yu0wPHPiUi8LU";
        let private = "Private-key-format: v1.2\nAlgorithm: 13 (ECDSAP256SHA256)\n\
                       PrivateKey: GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=\n";
        assert_eq!(Key::from_bind(&zone(), public, private).err(), Some(KeyError::Sha1(7)));
    }
}
