//! The messages of a transfer as they come from a primary: header, question, records without compression
//! (RFC 1035 section 4.1, RFC 5936 section 2.2).

use super::error::TransferError;
use crate::zone::name::{MAX_NAME_LEN, lowercase};
use crate::zone::rdata_names;
use crate::zone::text::well_formed;
use crate::zone::{Name, Rtype};

/// Octets of a header.
const HEADER_LEN: usize = 12;

/// Compression pointers that one name may have: no more than it can have labels. Otherwise a message of 64 KiB could ask
/// for millions of steps.
const MAX_POINTERS: usize = 127;

/// Class IN.
const CLASS_IN: u16 = 1;

/// TTLs from here on count as 0 (RFC 2181 section 8).
pub(in crate::transfer) const TTL_END: u32 = 1 << 31;

/// A response: its header, and where its answers begin.
#[derive(Debug, Clone, Copy)]
pub struct Response<'m> {
    message: &'m [u8],
    answers_at: usize,
    /// Whether who sent it says that the zone is its own (AA).
    pub is_authoritative: bool,
    /// How many records its answer section has.
    pub answers: u16,
}

impl<'m> Response<'m> {
    /// Reads header and question of a response to the query with this id and question.
    ///
    /// # Errors
    /// If it is no such response: of another id, to another question, an error, truncated.
    pub fn read(
        message: &'m [u8],
        id: u16,
        apex: &Name,
        qtype: Rtype,
        needs_question: bool,
    ) -> Result<Response<'m>, TransferError> {
        let header: &[u8; HEADER_LEN] = message.first_chunk().ok_or(TransferError::Malformed)?;
        let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (is_response, opcode) = (header[2] & 0x80 != 0, header[2] >> 3 & 0x0f);
        if !is_response || opcode != 0 || number(0) != id {
            return Err(TransferError::OtherMessage);
        }
        let rcode = header[3] & 0x0f;
        if rcode != 0 {
            return Err(TransferError::Rcode(rcode));
        }
        if header[2] & 0x02 != 0 {
            return Err(TransferError::Truncated);
        }
        let mut at = HEADER_LEN;
        match number(4) {
            // RFC 5936 section 2.2.1: only the first message must have it.
            0 if !needs_question => {}
            1 => {
                let mut name = Vec::new();
                at = read_name(message, at, &mut name).ok_or(TransferError::Malformed)?;
                lowercase(&mut name);
                let fixed: &[u8; 4] = message
                    .get(at..)
                    .and_then(<[u8]>::first_chunk)
                    .ok_or(TransferError::Malformed)?;
                at += fixed.len();
                let [a, b, c, d] = *fixed;
                let is_asked = name == apex.as_wire()
                    && [a, b] == qtype.0.to_be_bytes()
                    && [c, d] == CLASS_IN.to_be_bytes();
                if !is_asked {
                    return Err(TransferError::OtherMessage);
                }
            }
            _ => return Err(TransferError::OtherMessage),
        }
        let is_authoritative = header[2] & 0x04 != 0;
        Ok(Response { message, answers_at: at, is_authoritative, answers: number(6) })
    }

    /// The records of its answer section.
    pub fn records(&self) -> Records<'m> {
        Records {
            message: self.message,
            at: self.answers_at,
            left: self.answers,
            owner: Vec::with_capacity(MAX_NAME_LEN),
            rdata: Vec::new(),
        }
    }
}

/// Records of a message, read one after the other into the same memory.
pub struct Records<'m> {
    message: &'m [u8],
    at: usize,
    left: u16,
    owner: Vec<u8>,
    rdata: Vec<u8>,
}

/// A record without compression: its owner is lower case, its RDATA of the form that its type has and in the case in
/// which it came.
#[derive(Debug)]
pub struct WireRecord<'r> {
    /// Its owner name.
    pub owner: &'r [u8],
    /// Its type.
    pub rtype: Rtype,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// Its RDATA.
    pub rdata: &'r mut [u8],
}

impl Records<'_> {
    /// The next record; `None` behind the last one.
    ///
    /// # Errors
    /// If it is malformed, or of a class or type that no zone has.
    pub fn next(&mut self) -> Result<Option<WireRecord<'_>>, TransferError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let malformed = || TransferError::Malformed;
        let at = read_name(self.message, self.at, &mut self.owner).ok_or_else(malformed)?;
        lowercase(&mut self.owner);
        let fixed: &[u8; 10] =
            self.message.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(malformed)?;
        let number = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let (rtype, class) = (Rtype(number(0)), number(2));
        let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let (start, len) = (at + fixed.len(), usize::from(number(8)));
        self.at = start + len;
        let is_of_zones = class == CLASS_IN && !rtype.is_meta() && rtype != Rtype::OPT;
        if !is_of_zones {
            return Err(TransferError::NoZoneRecord(rtype));
        }
        let owner = || Name::from_wire(&self.owner).unwrap_or_else(Name::root);
        if read_rdata(self.message, rtype, start, len, &mut self.rdata).is_none()
            || !well_formed(rtype, &self.rdata)
        {
            return Err(TransferError::MalformedRdata { owner: owner(), rtype });
        }
        let ttl = if ttl < TTL_END { ttl } else { 0 };
        Ok(Some(WireRecord { owner: &self.owner, rtype, ttl, rdata: &mut self.rdata }))
    }
}

/// Reads the name at `start` into `name`, whatever was there; returns where what follows it begins. A compression pointer
/// leads backwards (RFC 1035 section 4.1.4).
pub(in crate::transfer) fn read_name(
    message: &[u8],
    start: usize,
    name: &mut Vec<u8>,
) -> Option<usize> {
    name.clear();
    append_name(message, start, name)
}

/// As [`read_name`], behind what is in `out`.
fn append_name(message: &[u8], start: usize, out: &mut Vec<u8>) -> Option<usize> {
    let begun = out.len();
    let (mut at, mut segment, mut end, mut pointers) = (start, start, None, 0);
    loop {
        match *message.get(at)? {
            0 => {
                out.push(0);
                let is_short = out.len() - begun <= MAX_NAME_LEN;
                return is_short.then_some(end.unwrap_or(at + 1));
            }
            len @ 1..=63 => {
                let label = message.get(at..at + 1 + usize::from(len))?;
                out.extend_from_slice(label);
                if out.len() - begun >= MAX_NAME_LEN {
                    return None;
                }
                at += label.len();
            }
            high @ 0xc0..=0xff => {
                let target = usize::from(high & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                pointers += 1;
                if target < HEADER_LEN || target >= segment || pointers > MAX_POINTERS {
                    return None;
                }
                end = end.or(Some(at + 2));
                (at, segment) = (target, target);
            }
            _ => return None,
        }
    }
}

/// Reads RDATA into `out`. Names in it are without compression afterwards, where they may come with it (RFC 3597 section
/// 4).
pub(in crate::transfer) fn read_rdata(
    message: &[u8],
    rtype: Rtype,
    start: usize,
    len: usize,
    out: &mut Vec<u8>,
) -> Option<()> {
    out.clear();
    let end = start + len;
    let raw = message.get(start..end)?;
    let Some((skipped, names)) = rdata_names(rtype, raw) else {
        out.extend_from_slice(raw);
        return Some(());
    };
    out.extend_from_slice(raw.get(..skipped)?);
    let mut at = start + skipped;
    for _ in 0..names {
        // What a name lies in ends with the RDATA, whatever its pointers lead to.
        at = append_name(message, at, out).filter(|&at| at <= end)?;
    }
    out.extend_from_slice(message.get(at..end)?);
    // RDATA that is longer without compression than its length can say stands in no zone.
    (out.len() <= usize::from(u16::MAX)).then_some(())
}
