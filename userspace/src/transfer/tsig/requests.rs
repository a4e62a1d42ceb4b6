//! The server's side: requests are verified (RFC 8945 section 5.2), their responses signed (section 5.3).

use std::sync::Arc;

use super::record::{self, TsigRecord};
use super::{Key, Keys, TsigError, Variables};

/// Signs the responses to one request, in their order.
#[derive(Debug)]
pub struct Signer {
    key: Arc<Key>,
    /// The MAC of the request, and later of the response before.
    prior_mac: Vec<u8>,
    is_first: bool,
}

impl Signer {
    /// The key that the request was signed with.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Octets that are added to each message.
    pub fn record_len(&self) -> usize {
        self.key.record_len()
    }

    /// Signs the next response: ends the message with a TSIG record. Every message of a transfer is signed (RFC 8945
    /// section 5.3.1).
    pub fn sign(&mut self, message: &mut Vec<u8>, now: u64) {
        self.sign_with(message, &Variables::at(now));
    }

    fn sign_with(&mut self, message: &mut Vec<u8>, variables: &Variables<'_>) {
        let mut context = self.key.context();
        context.add_mac(&self.prior_mac);
        context.add_message(message);
        match self.is_first {
            true => context.add_variables(&self.key, variables),
            false => context.add_timers(variables),
        }
        let mac = context.mac();
        let (name, algorithm) = (self.key.name.as_wire(), self.key.algorithm_name());
        record::push(message, name, algorithm, variables, mac.as_ref());
        self.prior_mac.clear();
        self.prior_mac.extend_from_slice(mac.as_ref());
        self.is_first = false;
    }
}

/// Why a request is answered with an error.
#[derive(Debug)]
pub enum Rejection<'r> {
    /// FORMERR without TSIG: the MAC is longer or shorter than a MAC can be, or the response would be longer than the
    /// request since the name of the key is compressed there.
    Malformed,
    /// NOTAUTH with a TSIG record that is not signed: the key is not known, or the MAC is wrong.
    Unsigned(TsigError, &'r TsigRecord<'r>),
    /// NOTAUTH, signed: who sent this has the key, but the time is wrong, or the MAC was cut.
    Signed(TsigError, Signer, &'r TsigRecord<'r>),
}

impl<'r> Rejection<'r> {
    fn unsigned(error: TsigError, record: &'r TsigRecord<'r>) -> Rejection<'r> {
        match record.is_compressed {
            true => Rejection::Malformed,
            false => Rejection::Unsigned(error, record),
        }
    }
}

impl Rejection<'_> {
    /// What the TSIG record of the response says, if it has one.
    pub fn error(&self) -> Option<TsigError> {
        match self {
            Rejection::Malformed => None,
            Rejection::Unsigned(error, _) | Rejection::Signed(error, ..) => Some(*error),
        }
    }

    /// Ends the response, which says NOTAUTH, with its TSIG record.
    pub fn finish(self, message: &mut Vec<u8>, now: u64) {
        match self {
            Rejection::Malformed => {}
            Rejection::Unsigned(error, request) => {
                let variables = Variables { error, other: &[], ..request.variables() };
                let name = request.key_name.as_wire();
                record::push(message, name, request.algorithm, &variables, &[]);
            }
            Rejection::Signed(TsigError::BADTIME, mut signer, request) => {
                // RFC 8945 section 5.2.3: the client's time as it was signed, so that the client can verify this, and
                // the server's time beside it.
                let other = &now.to_be_bytes()[2..];
                let error = TsigError::BADTIME;
                let variables = Variables { error, other, ..request.variables() };
                signer.sign_with(message, &variables);
            }
            Rejection::Signed(error, mut signer, _) => {
                signer.sign_with(message, &Variables { error, ..Variables::at(now) });
            }
        }
    }
}

/// Verifies a request that ends with this record: in the order of RFC 8945 section 5.2, key, MAC, time, and whether the
/// MAC was cut, which is for no key of this server.
///
/// # Errors
/// Why it is answered with an error.
pub fn verify<'r>(
    keys: &Keys,
    message: &[u8],
    record: &'r TsigRecord<'r>,
    now: u64,
) -> Result<Signer, Rejection<'r>> {
    let Some(key) = keys.get(&record.key_name).filter(|key| record.is_by(key)) else {
        return Err(Rejection::unsigned(TsigError::BADKEY, record));
    };
    if !key.allows_len(record.mac.len()) {
        return Err(Rejection::Malformed);
    }
    let mut context = key.context();
    context.add_unsigned_part(message, record);
    context.add_variables(key, &record.variables());
    if !key.matches(&context.mac(), record.mac) {
        return Err(Rejection::unsigned(TsigError::BADSIG, record));
    }
    let signer = Signer { key: Arc::clone(key), prior_mac: record.mac.to_vec(), is_first: true };
    if !record.variables().is_in_time(now) {
        return Err(Rejection::Signed(TsigError::BADTIME, signer, record));
    }
    if record.mac.len() < key.mac_len() {
        return Err(Rejection::Signed(TsigError::BADTRUNC, signer, record));
    }
    Ok(signer)
}
