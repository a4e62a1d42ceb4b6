//! DNS messages as a test needs them: any query, and a response taken apart by plain code that shares
//! nothing with the code under test.

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use sealdns::zone::{Rtype, name::write_name};

use crate::judge;

/// Octets of the header (RFC 1035 section 4.1.1).
pub const HEADER_LEN: usize = testbed::frames::DNS_LEN;

const OPT: u16 = 41;

/// What a client says by EDNS (RFC 6891).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edns {
    /// The largest response that it takes over UDP, in octets.
    pub payload: u16,
    /// Whether it wants DNSSEC records.
    pub dnssec_ok: bool,
}

/// A query of class IN.
#[derive(Clone, PartialEq, Eq)]
pub struct Query {
    /// QNAME in wire format, in the letters in which it is asked.
    pub name: Vec<u8>,
    /// QTYPE.
    pub rtype: u16,
    /// Without it there is no OPT record.
    pub edns: Option<Edns>,
}

impl Query {
    /// The message with this identifier.
    pub fn message(&self, id: u16) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER_LEN + self.name.len() + 15);
        message.extend(id.to_be_bytes());
        message.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        message.extend(&self.name);
        message.extend(self.rtype.to_be_bytes());
        message.extend([0, 1]);
        if let Some(edns) = self.edns {
            message.extend([0, 0, OPT as u8]);
            message.extend(edns.payload.to_be_bytes());
            message.extend([0, 0, u8::from(edns.dnssec_ok) << 7, 0, 0, 0]);
        }
        message
    }

    /// The largest response over UDP that it allows, in octets.
    pub fn response_limit(&self) -> usize {
        self.edns.map_or(512, |edns| usize::from(edns.payload).max(512))
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, &self.name)?;
        write!(f, " {}", Rtype(self.rtype))?;
        match self.edns {
            None => write!(f, " without EDNS"),
            Some(edns) => write!(f, " EDNS {} DO={}", edns.payload, u8::from(edns.dnssec_ok)),
        }
    }
}

/// One record with its names in full and in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Owner name in wire format.
    pub owner: Vec<u8>,
    /// Its type.
    pub rtype: u16,
    /// Its class.
    pub class: u16,
    /// In seconds.
    pub ttl: u32,
    /// RDATA, its names in full.
    pub rdata: Vec<u8>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, &self.owner)?;
        write!(f, " {} {}", self.ttl, Rtype(self.rtype))?;
        match Rtype(self.rtype) {
            Rtype::RRSIG => {
                write!(f, " of {}", Rtype(u16::from_be_bytes([self.rdata[0], self.rdata[1]])))
            }
            Rtype::NS | Rtype::CNAME | Rtype::DNAME | Rtype::NSEC => {
                let len = sealdns::zone::name::wire_name_len(&self.rdata).unwrap_or(0);
                write!(f, " ")?;
                write_name(f, &self.rdata[..len])
            }
            _ => write!(f, " ({} octets)", self.rdata.len()),
        }
    }
}

/// A message taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The identifier.
    pub id: u16,
    /// The flags as they stand in the header, without the response code.
    pub flags: u16,
    /// The response code, extended bits included.
    pub rcode: u16,
    /// The question's octets as sent.
    pub question: Vec<u8>,
    /// Answer section, in canonical order.
    pub answer: Vec<Record>,
    /// Authority section, in canonical order.
    pub authority: Vec<Record>,
    /// Additional section without OPT, in canonical order.
    pub additional: Vec<Record>,
    /// The OPT record: payload size and DO.
    pub edns: Option<Edns>,
    /// Records that stood in their section already.
    pub repeats: usize,
    /// Octets of the message.
    pub len: usize,
}

impl Message {
    /// Reads a message that must end where its last record ends, and that hickory-proto reads to the same.
    pub fn read(octets: &[u8]) -> Result<Self> {
        let mut reader = Reader { octets, at: 0 };
        let id = reader.u16()?;
        let flags = reader.u16()?;
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        ensure!(counts[0] == 1, "{} questions", counts[0]);
        reader.name()?;
        reader.take(4)?;
        let question = octets[HEADER_LEN..reader.at].to_vec();
        let mut message = Self {
            id,
            flags: flags & 0xfff0,
            rcode: flags & 15,
            question,
            answer: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            edns: None,
            repeats: 0,
            len: octets.len(),
        };
        for (section, count) in counts[1..].iter().enumerate() {
            for _ in 0..*count {
                let record = reader.record()?;
                if record.rtype == OPT {
                    ensure!(message.edns.is_none() && section == 2, "OPT where it must not be");
                    message.rcode |= (record.ttl >> 24 << 4) as u16;
                    let dnssec_ok = record.ttl & 0x8000 != 0;
                    message.edns = Some(Edns { payload: record.class, dnssec_ok });
                    continue;
                }
                [&mut message.answer, &mut message.authority, &mut message.additional][section]
                    .push(record);
            }
        }
        ensure!(reader.at == octets.len(), "{} octets too many", octets.len() - reader.at);
        judge::agrees(octets, &message)?;
        for section in [&mut message.answer, &mut message.authority, &mut message.additional] {
            section.sort();
            let count = section.len();
            section.dedup();
            message.repeats += count - section.len();
        }
        Ok(message)
    }

    /// AA.
    pub fn is_authoritative(&self) -> bool {
        self.flags & 0x0400 != 0
    }

    /// AD.
    pub fn is_authentic(&self) -> bool {
        self.flags & 0x0020 != 0
    }

    /// TC.
    pub fn is_truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }
}

struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at + count;
        let taken = self.octets.get(self.at..end).context("the message ends too early")?;
        self.at = end;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into()?))
    }

    /// A name in full and in lower case, wherever its pointers lead.
    fn name(&mut self) -> Result<Vec<u8>> {
        let (mut name, mut at, mut end) = (Vec::new(), self.at, None);
        loop {
            let len = usize::from(*self.octets.get(at).context("a name without an end")?);
            match len {
                0 => {
                    name.push(0);
                    ensure!(name.len() <= 255, "a name of {} octets", name.len());
                    self.at = end.unwrap_or(at + 1);
                    return Ok(name);
                }
                1..=63 => {
                    let label = self.octets.get(at..at + 1 + len).context("a label is cut off")?;
                    name.extend(label.iter().map(u8::to_ascii_lowercase));
                    at += 1 + len;
                }
                192.. => {
                    let low = *self.octets.get(at + 1).context("a pointer is cut off")?;
                    end = end.or(Some(at + 2));
                    let target = (len & 63) << 8 | usize::from(low);
                    // RFC 1035 section 4.1.4: a pointer is to a prior occurrence.
                    ensure!(target < at && target >= HEADER_LEN, "a pointer from {at} to {target}");
                    at = target;
                }
                other => bail!("a label of type {other:#x}"),
            }
        }
    }

    fn record(&mut self) -> Result<Record> {
        let owner = self.name()?;
        let (rtype, class, ttl) = (self.u16()?, self.u16()?, self.u32()?);
        let len = usize::from(self.u16()?);
        let end = self.at + len;
        let mut rdata = Vec::with_capacity(len);
        // Octets before the names in RDATA and how many names: types of RFC 1035, whose names may
        // be pointers, and those whose canonical form is in lower case (RFC 4034 section 6.2).
        let (before, names) = match rtype {
            2 | 5 | 12 | 39 | 47 => (0, 1),
            6 | 14 | 17 => (0, 2),
            15 | 18 | 21 | 36 => (2, 1),
            26 => (2, 2),
            33 => (6, 1),
            46 => (18, 1),
            _ => (0, 0),
        };
        rdata.extend(self.take(before)?);
        for _ in 0..names {
            rdata.extend(self.name()?);
        }
        ensure!(self.at <= end, "RDATA longer than it says");
        rdata.extend(self.take(end - self.at)?);
        Ok(Record { owner, rtype, class, ttl, rdata })
    }
}
