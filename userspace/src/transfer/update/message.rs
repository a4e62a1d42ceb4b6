//! An update as it comes (RFC 2136 section 2).

use super::{IN, NONE, Update, UpdateError, UpdateRecord};
use crate::transfer::incoming::wire::{TTL_END, read_name, read_rdata};
use crate::zone::canonical_rdata;
use crate::zone::name::lowercase;
use crate::zone::text::well_formed;
use crate::zone::{Name, Rtype};

/// Octets of a header.
const HEADER_LEN: usize = 12;

/// A request to change a zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The apex of the zone.
    pub zone: Name,
    /// What is asked for.
    pub update: Update,
}

impl Request {
    /// Reads the message of a request, whose opcode is UPDATE. What follows its records (TSIG, OPT) is for others to read.
    /// It takes no more memory than some times the octets of the message: a name takes two of them at the least.
    ///
    /// # Errors
    /// [`UpdateError::Malformed`] if it cannot be read, or if the zone section has not exactly one SOA of class IN
    /// (section 2.3).
    pub fn read(message: &[u8]) -> Result<Request, UpdateError> {
        Self::read_sections(message).ok_or(UpdateError::Malformed)
    }

    fn read_sections(message: &[u8]) -> Option<Request> {
        let header: &[u8; HEADER_LEN] = message.first_chunk()?;
        let count =
            |section: usize| u16::from_be_bytes([header[4 + 2 * section], header[5 + 2 * section]]);
        let mut name = Vec::new();
        let at = read_name(message, HEADER_LEN, &mut name)?;
        let fixed: &[u8; 4] = message.get(at..)?.first_chunk()?;
        let is_soa = count(0) == 1 && fixed == &[0, 6, 0, 1];
        let zone = Name::from_wire(&name).filter(|_| is_soa)?;
        let mut reader = Reader { message, at: at + fixed.len() };
        let prerequisites = reader.records(count(1))?;
        let changes = reader.records(count(2))?;
        Some(Request { zone, update: Update { prerequisites, changes } })
    }
}

struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

impl Reader<'_> {
    fn records(&mut self, count: u16) -> Option<Vec<UpdateRecord>> {
        (0..count).map(|_| self.record()).collect()
    }

    fn record(&mut self) -> Option<UpdateRecord> {
        let mut owner = Vec::new();
        let at = read_name(self.message, self.at, &mut owner)?;
        lowercase(&mut owner);
        let fixed: &[u8; 10] = self.message.get(at..)?.first_chunk()?;
        let number = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let (rtype, class, len) = (Rtype(number(0)), number(2), usize::from(number(8)));
        let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let start = at + fixed.len();
        self.at = start + len;
        let mut rdata = Vec::new();
        // Where whole RRsets are meant there is none, though its type may have names in it.
        if len > 0 {
            read_rdata(self.message, rtype, start, len, &mut rdata)?;
        }
        let is_one_record = class == IN || class == NONE && len > 0;
        if is_one_record && !rtype.is_meta() {
            canonical_rdata(rtype, &mut rdata).filter(|()| well_formed(rtype, &rdata))?;
        }
        let ttl = if class == IN && ttl >= TTL_END { 0 } else { ttl };
        Some(UpdateRecord { owner, rtype, class, ttl, rdata })
    }
}
