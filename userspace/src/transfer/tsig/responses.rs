//! The client's side: requests are signed (RFC 8945 section 5.1), their responses verified (section 5.4).

use std::sync::Arc;

use super::record::{self, MalformedMessage, TsigRecord};
use super::{Context, Key, MAX_UNSIGNED, TsigError, Variables};

/// Verifies the responses to one request, in their order.
pub struct Verifier {
    pub(super) key: Arc<Key>,
    /// What the next MAC is made over: the one before, and messages that had none.
    pub(super) context: Context,
    pub(super) is_first: bool,
    /// Messages since the last one that was signed.
    pub(super) unsigned: u32,
}

/// Why a response is not what the server sent, or why the server did not accept the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// It cannot be read, or its TSIG record is not the last one.
    #[error("the message is malformed, or its TSIG record is not at its end")]
    Malformed,
    /// The first message, or the last one, has no TSIG record.
    #[error("the message is not signed")]
    NotSigned,
    /// More than 99 messages in a row have no TSIG record.
    #[error("more than {MAX_UNSIGNED} messages in a row are not signed")]
    TooManyUnsigned,
    /// It is signed with another key, or another algorithm.
    #[error("the message is signed with another key")]
    OtherKey,
    /// The MAC is wrong: the secrets differ, or the message was changed, or is not the next one.
    #[error("the signature of the message is wrong: do both servers have the same secret?")]
    WrongMac,
    /// The MAC was cut.
    #[error("the signature of the message was cut")]
    CutMac,
    /// It was signed at another time.
    #[error("the message was signed {} s from now: are the clocks of both servers right?", distance_s(*signed, *now))]
    WrongTime {
        /// When it was signed, in seconds since 1970.
        signed: u64,
        /// Now.
        now: u64,
    },
    /// The server says that its clock shows another time.
    #[error("BADTIME: the clock of the server is {} s away", distance_s(*server, *now))]
    BadTime {
        /// The server's time, in seconds since 1970.
        server: u64,
        /// Now.
        now: u64,
    },
    /// The server did not accept the request.
    #[error("the server answers {0}")]
    Rejected(TsigError),
}

/// Signs a request: ends it with a TSIG record. Gives what verifies the responses.
pub fn sign_request(key: &Arc<Key>, message: &mut Vec<u8>, now: u64) -> Verifier {
    let variables = Variables::at(now);
    let mut context = key.context();
    context.add_message(message);
    context.add_variables(key, &variables);
    let mac = context.mac();
    record::push(message, key.name.as_wire(), key.algorithm_name(), &variables, mac.as_ref());
    let mut context = key.context();
    context.add_mac(mac.as_ref());
    Verifier { key: Arc::clone(key), context, is_first: true, unsigned: 0 }
}

impl Verifier {
    /// Verifies the next message of the response, and takes its TSIG record out of it.
    ///
    /// # Errors
    /// If it, or what came before it, is not what the server sent. No further message is to be verified then.
    pub fn check(&mut self, message: &mut Vec<u8>, now: u64) -> Result<(), ResponseError> {
        let found = TsigRecord::find(message);
        let Some(record) = found.map_err(|MalformedMessage| ResponseError::Malformed)? else {
            return self.take_unsigned(message);
        };
        // Of what is not signed nothing is known, but a server that has no key to sign with sends no more than this
        // (RFC 8945 section 5.3.2).
        if record.mac.is_empty() && record.error != TsigError::NOERROR {
            return Err(ResponseError::Rejected(record.error));
        }
        if !record.is_by(&self.key) {
            return Err(ResponseError::OtherKey);
        }
        if !self.key.allows_len(record.mac.len()) {
            return Err(ResponseError::Malformed);
        }
        let mut next = self.key.context();
        next.add_mac(record.mac);
        let mut context = std::mem::replace(&mut self.context, next);
        context.add_unsigned_part(message, &record);
        match self.is_first {
            true => context.add_variables(&self.key, &record.variables()),
            false => context.add_timers(&record.variables()),
        }
        if !self.key.matches(&context.mac(), record.mac) {
            return Err(ResponseError::WrongMac);
        }
        if record.error == TsigError::BADTIME
            && let Ok([a, b, c, d, e, f]) = <[u8; 6]>::try_from(record.other)
        {
            let server = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
            return Err(ResponseError::BadTime { server, now });
        }
        if record.error != TsigError::NOERROR {
            return Err(ResponseError::Rejected(record.error));
        }
        if !record.variables().is_in_time(now) {
            return Err(ResponseError::WrongTime { signed: record.time_signed, now });
        }
        if record.mac.len() < self.key.mac_len() {
            return Err(ResponseError::CutMac);
        }
        (self.is_first, self.unsigned) = (false, 0);
        let (start, id) = (record.start, record.original_id);
        take_out(message, start, id);
        Ok(())
    }

    /// To be called behind the last message.
    ///
    /// # Errors
    /// If that was not signed, or there was none (RFC 8945 section 5.3.1).
    pub fn finish(&self) -> Result<(), ResponseError> {
        match self.is_first || self.unsigned > 0 {
            true => Err(ResponseError::NotSigned),
            false => Ok(()),
        }
    }

    fn take_unsigned(&mut self, message: &[u8]) -> Result<(), ResponseError> {
        if self.is_first {
            return Err(ResponseError::NotSigned);
        }
        if self.unsigned == MAX_UNSIGNED {
            return Err(ResponseError::TooManyUnsigned);
        }
        self.unsigned += 1;
        self.context.add_message(message);
        Ok(())
    }
}

/// Takes the last record out of a message.
fn take_out(message: &mut Vec<u8>, start: usize, original_id: [u8; 2]) {
    message.truncate(start);
    message[..2].copy_from_slice(&original_id);
    let additional = u16::from_be_bytes([message[10], message[11]]).saturating_sub(1);
    message[10..12].copy_from_slice(&additional.to_be_bytes());
}

/// How far a time is from now, in seconds: less than 0 if it is before.
fn distance_s(time: u64, now: u64) -> i128 {
    i128::from(time) - i128::from(now)
}
