//! The TSIG record (RFC 8945 section 4.2), read from a message and written to its end.

use super::{Key, TsigError, Variables};
use crate::transfer::records::{RecordPlace, expand_name, skip_name};
use crate::zone::name::wire_name_len;
use crate::zone::{Name, Rtype};

pub(super) use xdp_common::dns::HEADER_LEN;

/// Class ANY, which TSIG records have.
const CLASS_ANY: u16 = 255;

/// Octets of a record between its name and RDATA.
const FIXED_LEN: usize = 10;

/// Octets of a question behind its name.
const QUESTION_TAIL_LEN: usize = 4;

/// The TSIG record at the end of a message.
#[derive(Debug, Clone)]
pub struct TsigRecord<'m> {
    /// Where the record starts: what is before it is signed.
    pub(super) start: usize,
    /// The key's name.
    pub(super) key_name: Name,
    /// Whether that is shorter in the message, by a compression pointer.
    pub(super) is_compressed: bool,
    /// The algorithm's name as it was sent.
    pub(super) algorithm: &'m [u8],
    /// In seconds since 1970.
    pub(super) time_signed: u64,
    /// In seconds.
    pub(super) fudge: u16,
    pub(super) mac: &'m [u8],
    /// The id of the message when it was signed.
    pub(super) original_id: [u8; 2],
    pub(super) error: TsigError,
    pub(super) other: &'m [u8],
}

impl<'m> TsigRecord<'m> {
    /// Reads the TSIG record at `place`; `None` if it is malformed.
    pub fn read(message: &'m [u8], place: &RecordPlace) -> Option<TsigRecord<'m>> {
        if place.class != CLASS_ANY || place.ttl != [0; 4] {
            return None;
        }
        let key_name = Name::from_wire(&expand_name(message, place.owner_at)?)?;
        let rdata = message.get(place.rdata_at..place.end)?;
        let (algorithm, rest) = rdata.split_at_checked(wire_name_len(rdata)?)?;
        let (&[a, b, c, d, e, f, g, h, mac_high, mac_low], rest) = rest.split_first_chunk()?;
        let mac_len = usize::from(u16::from_be_bytes([mac_high, mac_low]));
        let (mac, rest) = rest.split_at_checked(mac_len)?;
        let (&[id_high, id_low, error_high, error_low, len_high, len_low], other) =
            rest.split_first_chunk()?;
        let is_whole = other.len() == usize::from(u16::from_be_bytes([len_high, len_low]));
        is_whole.then_some(TsigRecord {
            start: place.owner_at,
            is_compressed: place.owner_at + key_name.as_wire().len() + FIXED_LEN != place.rdata_at,
            key_name,
            algorithm,
            time_signed: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
            fudge: u16::from_be_bytes([g, h]),
            mac,
            original_id: [id_high, id_low],
            error: TsigError(u16::from_be_bytes([error_high, error_low])),
            other,
        })
    }

    /// Finds the TSIG record of a message; `None` if it has none.
    ///
    /// # Errors
    /// If the message is malformed, or has a TSIG record elsewhere than at its end.
    pub fn find(message: &'m [u8]) -> Result<Option<TsigRecord<'m>>, MalformedMessage> {
        let count = |section: usize| {
            let octets = message.get(4 + 2 * section..6 + 2 * section)?;
            Some(usize::from(u16::from_be_bytes([octets[0], octets[1]])))
        };
        let found = || {
            let mut at = HEADER_LEN;
            for _ in 0..count(0)? {
                at = skip_name(message, at)? + QUESTION_TAIL_LEN;
            }
            let total = count(1)? + count(2)? + count(3)?;
            let additional_from = total - count(3)?;
            for index in 0..total {
                let place = RecordPlace::read(message, at)?;
                at = place.end;
                if place.rtype == Rtype::TSIG {
                    let is_last = index >= additional_from && index + 1 == total;
                    let is_at_end = is_last && at == message.len();
                    return is_at_end.then(|| TsigRecord::read(message, &place).map(Some))?;
                }
            }
            (at == message.len()).then_some(None)
        };
        found().ok_or(MalformedMessage)
    }

    pub(super) fn variables(&self) -> Variables<'m> {
        Variables {
            time_signed: self.time_signed,
            fudge: self.fudge,
            error: self.error,
            other: self.other,
        }
    }

    /// Whether it names the algorithm of `key`. Algorithms are names, which have no case (RFC 8945 section 4.2).
    pub(super) fn is_by(&self, key: &Key) -> bool {
        self.key_name == key.name && self.algorithm.eq_ignore_ascii_case(key.algorithm_name())
    }
}

/// A message that cannot be read, or whose TSIG record is not its last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedMessage;

/// Octets of a record with names, a MAC and other data as long as these.
pub(super) fn len(key_name: usize, algorithm: usize, mac: usize, other: usize) -> usize {
    key_name + FIXED_LEN + algorithm + 16 + mac + other
}

/// Ends `message` with a TSIG record.
pub(super) fn push(
    message: &mut Vec<u8>,
    key_name: &[u8],
    algorithm: &[u8],
    variables: &Variables<'_>,
    mac: &[u8],
) {
    let id = [message[0], message[1]];
    let rdata_len = len(0, algorithm.len(), mac.len(), variables.other.len()) - FIXED_LEN;
    message.extend_from_slice(key_name);
    message.extend_from_slice(&Rtype::TSIG.0.to_be_bytes());
    message.extend_from_slice(&CLASS_ANY.to_be_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&(rdata_len as u16).to_be_bytes());
    message.extend_from_slice(algorithm);
    message.extend_from_slice(&variables.time_signed.to_be_bytes()[2..]);
    message.extend_from_slice(&variables.fudge.to_be_bytes());
    message.extend_from_slice(&(mac.len() as u16).to_be_bytes());
    message.extend_from_slice(mac);
    message.extend_from_slice(&id);
    message.extend_from_slice(&variables.error.0.to_be_bytes());
    message.extend_from_slice(&(variables.other.len() as u16).to_be_bytes());
    message.extend_from_slice(variables.other);
    let additional = u16::from_be_bytes([message[10], message[11]]).saturating_add(1);
    message[10..12].copy_from_slice(&additional.to_be_bytes());
}
