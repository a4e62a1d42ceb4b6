//! Messages signed with a secret that two servers share (TSIG, RFC 8945).
//!
//! | who | does |
//! |---|---|
//! | a server | [`verify`]: a request, which gives the [`Signer`] of its responses or a [`Rejection`] |
//! | a client | [`sign_request`]: gives the [`Verifier`] of the responses |
//!
//! The time is an argument, in seconds since 1970, and messages are octets, so that what is signed is what is sent.
//!
//! This is written here since three things in `domain` 0.12.3 are not as the RFC has them: a wrong MAC is answered with
//! the TSIG error FORMERR in place of BADSIG (section 5.2.2), the MAC of a BADTIME response is made over eight octets of
//! server time where six are sent (section 4.2), and BADTRUNC is not signed (section 5.3.2). All else is checked against
//! `domain` in the tests.

mod record;
mod requests;
mod responses;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ring::hmac;

use crate::config::TsigAlgorithm;
use crate::zone::Name;
pub use record::TsigRecord;
pub use requests::{Rejection, Signer, verify};
pub use responses::{ResponseError, Verifier, sign_request};

/// Seconds that the clocks of two servers may differ by (RFC 8945 section 10 recommends this).
pub const FUDGE_S: u16 = 300;

/// Messages without TSIG that a client accepts between two that have it (RFC 8945 section 5.3.1).
const MAX_UNSIGNED: u32 = 99;

/// The errors of TSIG (RFC 8945 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TsigError(pub u16);

#[allow(missing_docs, reason = "the mnemonics are the registry's own")]
impl TsigError {
    pub const NOERROR: TsigError = TsigError(0);
    pub const BADSIG: TsigError = TsigError(16);
    pub const BADKEY: TsigError = TsigError(17);
    pub const BADTIME: TsigError = TsigError(18);
    pub const BADTRUNC: TsigError = TsigError(22);
}

impl fmt::Display for TsigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            TsigError::BADSIG => f.write_str("BADSIG"),
            TsigError::BADKEY => f.write_str("BADKEY"),
            TsigError::BADTIME => f.write_str("BADTIME"),
            TsigError::BADTRUNC => f.write_str("BADTRUNC"),
            TsigError(code) => write!(f, "TSIG error {code}"),
        }
    }
}

/// A key that is shared with another server. It is not shown.
pub struct Key {
    name: Name,
    algorithm: TsigAlgorithm,
    hmac: hmac::Key,
}

impl Key {
    /// A key with this name and secret.
    pub fn new(name: Name, algorithm: TsigAlgorithm, secret: &[u8]) -> Key {
        let by = match algorithm {
            TsigAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            TsigAlgorithm::Sha256 => hmac::HMAC_SHA256,
            TsigAlgorithm::Sha384 => hmac::HMAC_SHA384,
            TsigAlgorithm::Sha512 => hmac::HMAC_SHA512,
        };
        Key { name, algorithm, hmac: hmac::Key::new(by, secret) }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What signs with it.
    pub fn algorithm(&self) -> TsigAlgorithm {
        self.algorithm
    }

    /// Octets of the record that signing adds to a message.
    pub fn record_len(&self) -> usize {
        record::len(self.name.as_wire().len(), self.algorithm_name().len(), self.mac_len(), 0)
    }

    /// The algorithm's name in canonical form.
    fn algorithm_name(&self) -> &'static [u8] {
        match self.algorithm {
            TsigAlgorithm::Sha1 => b"\x09hmac-sha1\x00",
            TsigAlgorithm::Sha256 => b"\x0bhmac-sha256\x00",
            TsigAlgorithm::Sha384 => b"\x0bhmac-sha384\x00",
            TsigAlgorithm::Sha512 => b"\x0bhmac-sha512\x00",
        }
    }

    /// Octets of a whole MAC.
    fn mac_len(&self) -> usize {
        self.hmac.algorithm().digest_algorithm().output_len()
    }

    /// Whether a MAC has a length that the RFC allows for one that was cut (RFC 8945 section 5.2.2.1).
    fn allows_len(&self, len: usize) -> bool {
        (10.max(self.mac_len() / 2)..=self.mac_len()).contains(&len)
    }

    fn context(&self) -> Context {
        Context(hmac::Context::with_key(&self.hmac))
    }

    /// Whether `received` is `made`, or the start of it. MACs of both are compared, so that the time this takes says
    /// nothing of `made`.
    fn matches(&self, made: &hmac::Tag, received: &[u8]) -> bool {
        let Some(made) = made.as_ref().get(..received.len()) else { return false };
        let blinded = |mac| hmac::sign(&self.hmac, mac);
        blinded(made).as_ref() == blinded(received).as_ref()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.name)
    }
}

/// The keys that a server has, by name.
#[derive(Debug, Clone, Default)]
pub struct Keys(HashMap<Name, Arc<Key>>);

impl Keys {
    /// The key of this name.
    pub fn get(&self, name: &Name) -> Option<&Arc<Key>> {
        self.0.get(name)
    }
}

impl FromIterator<Key> for Keys {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Keys {
        Keys(keys.into_iter().map(|key| (key.name.clone(), Arc::new(key))).collect())
    }
}

/// What a MAC is being made over (RFC 8945 section 4.3).
#[derive(Clone)]
struct Context(hmac::Context);

impl Context {
    /// The MAC of the message before, with its length.
    fn add_mac(&mut self, mac: &[u8]) {
        self.0.update(&(mac.len() as u16).to_be_bytes());
        self.0.update(mac);
    }

    /// A message without TSIG.
    fn add_message(&mut self, message: &[u8]) {
        self.0.update(message);
    }

    /// A message as it was before `record` was added to it.
    fn add_unsigned_part(&mut self, message: &[u8], record: &TsigRecord<'_>) {
        let mut header = [0; record::HEADER_LEN];
        header.copy_from_slice(&message[..record::HEADER_LEN]);
        header[..2].copy_from_slice(&record.original_id);
        let additional = u16::from_be_bytes([header[10], header[11]]).saturating_sub(1);
        header[10..12].copy_from_slice(&additional.to_be_bytes());
        self.0.update(&header);
        self.0.update(&message[record::HEADER_LEN..record.start]);
    }

    /// The variables of TSIG (RFC 8945 section 4.3.3).
    fn add_variables(&mut self, key: &Key, variables: &Variables<'_>) {
        self.0.update(key.name.as_wire());
        // Class ANY, TTL 0.
        self.0.update(&[0, 255, 0, 0, 0, 0]);
        self.0.update(key.algorithm_name());
        self.add_timers(variables);
        self.0.update(&variables.error.0.to_be_bytes());
        self.0.update(&(variables.other.len() as u16).to_be_bytes());
        self.0.update(variables.other);
    }

    /// What stands for the variables from the second message of a response on (RFC 8945 section 5.3.1).
    fn add_timers(&mut self, variables: &Variables<'_>) {
        self.0.update(&variables.time_signed.to_be_bytes()[2..]);
        self.0.update(&variables.fudge.to_be_bytes());
    }

    fn mac(self) -> hmac::Tag {
        self.0.sign()
    }
}

/// What a TSIG record says beside the MAC.
#[derive(Debug, Clone, Copy)]
struct Variables<'a> {
    /// In seconds since 1970, 48 bits.
    time_signed: u64,
    /// In seconds.
    fudge: u16,
    error: TsigError,
    other: &'a [u8],
}

impl Variables<'_> {
    /// Those of a message that is signed now and says no error.
    fn at(now: u64) -> Variables<'static> {
        Variables { time_signed: now, fudge: FUDGE_S, error: TsigError::NOERROR, other: &[] }
    }

    /// Whether the message may have been signed now.
    fn is_in_time(&self, now: u64) -> bool {
        now.abs_diff(self.time_signed) <= self.fudge.into()
    }
}
