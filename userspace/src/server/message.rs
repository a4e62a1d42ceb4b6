//! Queries taken apart and short responses put together, octet by octet
//! (RFC 1035 section 4, RFC 6891, RFC 8945).
//!
//! A message library gives a message or an error; what is needed here is what lies between: which
//! parts of a broken query can be echoed, so that its error response carries its id, its question
//! and its case, and never grows. hickory-proto reads these responses in the tests.

use xdp_common::dns::edns::OPT_LEN;
use xdp_common::dns::{HEADER_LEN, QUESTION_TAIL_LEN};

use super::options;
use crate::transfer::records::{RecordPlace, skip_name};
use crate::transfer::tsig::TsigRecord;
use crate::zone::name::{MAX_NAME_LEN, wire_name_len};
use crate::zone::{Rtype, Serial};

/// Response codes (IANA registry "DNS RCODEs").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rcode(pub u16);

#[allow(missing_docs, reason = "the mnemonics are the registry's own")]
impl Rcode {
    pub const NOERROR: Rcode = Rcode(0);
    pub const FORMERR: Rcode = Rcode(1);
    pub const SERVFAIL: Rcode = Rcode(2);
    pub const NOTIMP: Rcode = Rcode(4);
    pub const REFUSED: Rcode = Rcode(5);
    pub const NOTAUTH: Rcode = Rcode(9);
    pub const BADVERS: Rcode = Rcode(16);
    pub const BADCOOKIE: Rcode = Rcode(23);
}

/// Class IN.
pub const CLASS_IN: u16 = 1;
/// Class CH.
pub const CLASS_CH: u16 = 3;

/// A query as far as it could be read.
#[derive(Debug)]
pub struct Query<'m> {
    message: &'m [u8],
    /// The question, if the message has exactly one and it is well-formed.
    pub question: Option<Question<'m>>,
    /// The OPT record, if there is a well-formed one.
    pub edns: Option<Edns>,
    /// The options in it.
    pub options: &'m [u8],
    /// The TSIG record, if there is a well-formed one.
    pub tsig: Option<TsigRecord<'m>>,
    /// The serial of the SOA record in the authority section of an IXFR query (RFC 1995).
    pub ixfr_serial: Option<Serial>,
    /// Whether everything was well-formed.
    pub is_well_formed: bool,
}

/// One question.
#[derive(Debug, Clone, Copy)]
pub struct Question<'m> {
    /// QNAME in the case it was sent in.
    pub name: &'m [u8],
    /// QTYPE.
    pub rtype: Rtype,
    /// QCLASS.
    pub class: u16,
    /// The whole question as sent.
    pub wire: &'m [u8],
}

impl<'m> Question<'m> {
    fn read(section: &'m [u8]) -> Option<Question<'m>> {
        let name_len = wire_name_len(section)?;
        let wire = section.get(..name_len + 4)?;
        let number = |at: usize| u16::from_be_bytes([wire[at], wire[at + 1]]);
        let (rtype, class) = (Rtype(number(name_len)), number(name_len + 2));
        Some(Question { name: &wire[..name_len], rtype, class, wire })
    }
}

/// What an OPT record says (RFC 6891 section 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The client's payload size in octets.
    pub payload: u16,
    /// The EDNS version.
    pub version: u8,
    /// The DO bit.
    pub dnssec_ok: bool,
}

impl<'m> Query<'m> {
    /// Reads a query; `None` if the message has no whole header, or is a response (QR=1).
    pub fn read(message: &'m [u8]) -> Option<Query<'m>> {
        if message.len() < HEADER_LEN || message[2] & 0x80 != 0 {
            return None;
        }
        let mut query = Query {
            message,
            question: None,
            edns: None,
            options: &[],
            tsig: None,
            ixfr_serial: None,
            is_well_formed: false,
        };
        query.is_well_formed = query.read_sections().is_some();
        Some(query)
    }

    /// The whole message.
    pub fn message(&self) -> &'m [u8] {
        self.message
    }

    /// OPCODE.
    pub fn opcode(&self) -> u8 {
        self.message[2] >> 3 & 0x0f
    }

    fn count(&self, section: usize) -> u16 {
        u16::from_be_bytes([self.message[4 + 2 * section], self.message[5 + 2 * section]])
    }

    /// Reads what follows the header, into the fields as far as it goes; `None` if malformed.
    fn read_sections(&mut self) -> Option<()> {
        // RFC 9619: "the value of the QDCOUNT parameter MUST NOT be greater than 1". Without a question
        // there may be a cookie to ask for (RFC 7873 section 5.4).
        match self.count(0) {
            0 => {}
            1 => self.question = Some(Question::read(&self.message[HEADER_LEN..])?),
            _ => return None,
        }
        let is_ixfr = self.question.is_some_and(|question| question.rtype == Rtype::IXFR);
        // A query has no answers; only IXFR has authority (RFC 1995 section 3).
        if self.opcode() == 0 && (self.count(1) != 0 || self.count(2) != 0 && !is_ixfr) {
            return None;
        }
        let mut at = HEADER_LEN + self.question.map_or(0, |question| question.wire.len());
        for _ in 0..self.count(1) {
            at = RecordPlace::read(self.message, at)?.end;
        }
        for _ in 0..self.count(2) {
            let record = RecordPlace::read(self.message, at)?;
            if record.rtype == Rtype::SOA && is_ixfr {
                self.ixfr_serial = Some(soa_serial(self.message, record.rdata_at)?);
            }
            at = record.end;
        }
        let additional = self.count(3);
        for index in 0..additional {
            let record = RecordPlace::read(self.message, at)?;
            match record.rtype {
                Rtype::OPT => {
                    // RFC 6891 section 6.1.1: more than one OPT is FORMERR; 6.1.2: the owner name
                    // MUST be the root.
                    if self.edns.is_some() || self.message[at] != 0 {
                        return None;
                    }
                    self.edns = Some(read_opt(self.message, &record)?);
                    self.options = &self.message[record.rdata_at..record.end];
                }
                Rtype::TSIG => {
                    // RFC 8945 section 5.1: last in the additional section, else FORMERR.
                    if index + 1 != additional {
                        return None;
                    }
                    self.tsig = Some(TsigRecord::read(self.message, &record)?);
                }
                _ => {}
            }
            at = record.end;
        }
        (at == self.message.len()).then_some(())
    }

    /// Starts a response in `out`: header with `rcode`, and the question if there is one.
    /// [`finish`](Self::finish) ends it.
    pub fn begin(&self, rcode: Rcode, authoritative: bool, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.message[..2]);
        // QR, the query's OPCODE and RD, AA as told; then CD and the low bits of RCODE.
        out.push(0x80 | self.message[2] & 0x79 | u8::from(authoritative) << 2);
        out.push(self.message[3] & 0x10 | (rcode.0 & 0x0f) as u8);
        out.extend_from_slice(&[0, u8::from(self.question.is_some()), 0, 0, 0, 0, 0, 0]);
        if let Some(question) = &self.question {
            out.extend_from_slice(question.wire);
        }
    }

    /// Adds the OPT record with these options if the query has one (RFC 6891 section 7).
    pub fn finish(&self, rcode: Rcode, payload: u16, options: &[u8], out: &mut Vec<u8>) {
        let Some(edns) = self.edns else { return };
        add_opt(rcode, payload, edns.dnssec_ok, options, out);
    }

    /// The same question for another type, as a query with nothing but the question and, if the
    /// client speaks EDNS, an OPT record with the options that are answered, each once.
    pub fn bare(&self, rtype: Rtype) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN + MAX_NAME_LEN + QUESTION_TAIL_LEN + OPT_LEN);
        let options = options::answered(self.options);
        out.extend_from_slice(&[self.message[0], self.message[1]]);
        out.extend_from_slice(&[self.message[2] & 1, self.message[3] & 0x10]);
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        if let Some(question) = &self.question {
            out.extend_from_slice(question.name);
            out.extend_from_slice(&rtype.0.to_be_bytes());
            out.extend_from_slice(&question.class.to_be_bytes());
        }
        if let Some(edns) = self.edns {
            out.extend_from_slice(&[0, 0, 41]);
            out.extend_from_slice(&edns.payload.to_be_bytes());
            out.extend_from_slice(&[0, 0, u8::from(edns.dnssec_ok) << 7, 0]);
            out.extend_from_slice(&(options.len() as u16).to_be_bytes());
            out.extend_from_slice(&options);
        }
        out
    }
}

/// Adds an OPT record to a response.
pub fn add_opt(rcode: Rcode, payload: u16, dnssec_ok: bool, options: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 41]);
    out.extend_from_slice(&payload.to_be_bytes());
    out.extend_from_slice(&[(rcode.0 >> 4) as u8, 0, u8::from(dnssec_ok) << 7, 0]);
    out.extend_from_slice(&(options.len() as u16).to_be_bytes());
    out.extend_from_slice(options);
    add_to_count(out, 3);
}

/// Adds an option to the OPT record of a response, which is the last of its records; does nothing if it has none.
pub fn add_option(response: &mut Vec<u8>, code: u16, value: &[u8]) {
    let Some(rdata_at) = last_opt(response) else { return };
    let old = response.len() - rdata_at;
    let Ok(len) = u16::try_from(old + 4 + value.len()) else { return };
    response[rdata_at - 2..rdata_at].copy_from_slice(&len.to_be_bytes());
    response.extend_from_slice(&code.to_be_bytes());
    response.extend_from_slice(&(value.len() as u16).to_be_bytes());
    response.extend_from_slice(value);
}

/// Where the RDATA of the OPT record begins, if that is what a message ends with.
fn last_opt(message: &[u8]) -> Option<usize> {
    let count = |section: usize| {
        let at = 4 + 2 * section;
        Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
    };
    let mut at = HEADER_LEN;
    if count(0)? == 1 {
        at += Question::read(message.get(HEADER_LEN..)?)?.wire.len();
    }
    let records = u32::from(count(1)?) + u32::from(count(2)?) + u32::from(count(3)?);
    let mut last = None;
    for _ in 0..records {
        let record = RecordPlace::read(message, at)?;
        at = record.end;
        last = Some(record);
    }
    let last = last.filter(|last| last.rtype == Rtype::OPT && last.end == message.len())?;
    Some(last.rdata_at)
}

/// Adds one to the count of a section of the message in `out`: 1 answer, 2 authority, 3 additional.
pub fn add_to_count(out: &mut [u8], section: usize) {
    let at = 4 + 2 * section;
    let count = u16::from_be_bytes([out[at], out[at + 1]]).saturating_add(1);
    out[at..at + 2].copy_from_slice(&count.to_be_bytes());
}

fn soa_serial(message: &[u8], rdata_at: usize) -> Option<Serial> {
    let at = skip_name(message, skip_name(message, rdata_at)?)?;
    Some(Serial(u32::from_be_bytes(*message.get(at..)?.first_chunk()?)))
}

fn read_opt(message: &[u8], record: &RecordPlace) -> Option<Edns> {
    let mut options = &message[record.rdata_at..record.end];
    while !options.is_empty() {
        let head: &[u8; 4] = options.first_chunk()?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        options = options.get(4 + len..)?;
    }
    Some(Edns {
        payload: record.class,
        version: record.ttl[1],
        dnssec_ok: record.ttl[2] & 0x80 != 0,
    })
}
