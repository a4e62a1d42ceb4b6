//! A whole zone as DNS messages (RFC 5936), from the very zone that is served; or what changed of it (RFC 1995).

use super::ixfr::Differences;
use crate::compile::MAX_TCP_MESSAGE;
use crate::zone::difference::RecordRef;
use crate::zone::{Name, Rtype, Serial, Version, name};

/// Messages are closed at this many octets: compression pointers reach 16 KiB (RFC 1035 section
/// 4.1.4). Only a record that is larger by itself makes a larger message.
const TARGET_LEN: usize = 16 * 1024;

/// A compression pointer to the question's name, which follows the 12 octets of the header.
const QNAME_POINTER: [u8; 2] = [0xc0, 12];

/// What every message of one transfer starts and ends with.
#[derive(Debug, Clone)]
pub struct Heading {
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Octets that are added behind the tail.
    room: usize,
}

impl Heading {
    /// `head` is a whole header (with ANCOUNT and ARCOUNT 0) and the question, whose name is the
    /// zone's apex; `tail` an OPT record, or nothing.
    pub fn new(head: Vec<u8>, tail: Vec<u8>) -> Heading {
        Heading { head, tail, room: 0 }
    }

    /// The same for messages that so many octets are added to: a TSIG record.
    pub fn with_room(self, octets: usize) -> Heading {
        Heading { room: octets, ..self }
    }
}

/// A record is too large for any DNS message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record is too large for a DNS message")]
pub struct TooLarge;

/// A zone to be transferred, whatever holds its records: who sends them needs no more of it than this.
pub trait Transferable: Send + Sync {
    /// Its apex.
    fn apex(&self) -> &Name;

    /// Its serial.
    fn serial(&self) -> Serial;

    /// Its SOA record.
    fn soa(&self) -> Option<Record<'_>>;

    /// All its records.
    fn records(&self) -> Box<dyn Iterator<Item = Record<'_>> + Send + '_>;
}

/// The messages of one transfer: the SOA record, all other records or the differences, the SOA record again
/// (RFC 5936 section 2.2, RFC 1995 section 4).
pub struct Messages<'z> {
    records: Box<dyn Iterator<Item = Record<'z>> + Send + 'z>,
    waiting: Option<Record<'z>>,
    heading: &'z Heading,
    apex: &'z [u8],
}

/// One record to send.
#[derive(Clone, Copy)]
pub struct Record<'z> {
    owner: &'z [u8],
    rtype: Rtype,
    ttl: u32,
    rdata: &'z [u8],
}

/// Starts a transfer of all of `zone`.
pub fn messages<'z>(zone: &'z dyn Transferable, heading: &'z Heading) -> Messages<'z> {
    messages_of(zone, zone.records().filter(|record| record.rtype != Rtype::SOA), heading)
}

/// Starts a transfer of what changed of `zone`.
pub fn difference_messages<'z>(
    zone: &'z dyn Transferable,
    differences: &'z Differences,
    heading: &'z Heading,
) -> Messages<'z> {
    messages_of(zone, differences.records().map(Record::from), heading)
}

fn messages_of<'z>(
    zone: &'z dyn Transferable,
    content: impl Iterator<Item = Record<'z>> + Send + 'z,
    heading: &'z Heading,
) -> Messages<'z> {
    let mut records: Box<dyn Iterator<Item = Record<'z>> + Send + 'z> =
        Box::new(zone.soa().into_iter().chain(content).chain(zone.soa()));
    let waiting = records.next();
    Messages { records, waiting, heading, apex: zone.apex().as_wire() }
}

/// Appends the zone's SOA record to a message whose question's name is the apex.
pub fn push_soa(zone: &dyn Transferable, out: &mut Vec<u8>) {
    if let Some(soa) = zone.soa() {
        out.extend_from_slice(&QNAME_POINTER);
        push_after_owner(&soa, out);
        out[6..8].copy_from_slice(&1u16.to_be_bytes());
    }
}

impl Transferable for Version {
    fn apex(&self) -> &Name {
        Version::apex(self)
    }

    fn serial(&self) -> Serial {
        Version::serial(self)
    }

    fn soa(&self) -> Option<Record<'_>> {
        let rrset = Version::soa(self)?;
        let rdata = rrset.rdatas().next()?;
        let owner = Version::apex(self).as_wire();
        Some(Record { owner, rtype: Rtype::SOA, ttl: rrset.ttl(), rdata })
    }

    fn records(&self) -> Box<dyn Iterator<Item = Record<'_>> + Send + '_> {
        Box::new(self.owners().flat_map(|owner| {
            owner.rrsets().flat_map(move |rrset| {
                rrset.rdatas().map(move |rdata| Record {
                    owner: owner.name(),
                    rtype: rrset.rtype(),
                    ttl: owner.record_ttl(&rrset, rdata),
                    rdata,
                })
            })
        }))
    }
}

fn push_after_owner(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&record.rtype.0.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&record.ttl.to_be_bytes());
    out.extend_from_slice(&(record.rdata.len() as u16).to_be_bytes());
    out.extend_from_slice(record.rdata);
}

impl<'a> From<RecordRef<'a>> for Record<'a> {
    fn from(record: RecordRef<'a>) -> Record<'a> {
        let RecordRef { owner, rtype, ttl, rdata } = record;
        Record { owner, rtype, ttl, rdata }
    }
}

/// The zone's SOA record behind its owner name; nothing if there is none.
pub fn soa_after_owner(zone: &dyn Transferable) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(soa) = zone.soa() {
        push_after_owner(&soa, &mut out);
    }
    out
}

impl Messages<'_> {
    /// Whether all records are in the messages that were written.
    pub fn is_complete(&self) -> bool {
        self.waiting.is_none()
    }

    /// Writes the next message to `out`; `false` when the transfer is complete.
    pub fn next_message(&mut self, out: &mut Vec<u8>) -> Result<bool, TooLarge> {
        out.clear();
        if self.waiting.is_none() {
            return Ok(false);
        }
        out.extend_from_slice(&self.heading.head);
        let empty_len = out.len();
        let mut count = 0u16;
        let mut last: Option<(&[u8], u16)> = None;
        while let Some(record) = self.waiting {
            let behind = self.heading.tail.len() + self.heading.room;
            let largest = record.owner.len() + 10 + record.rdata.len() + behind;
            let is_first = out.len() == empty_len;
            if !is_first && (out.len() + largest > TARGET_LEN || count == u16::MAX) {
                break;
            }
            if out.len() + largest > MAX_TCP_MESSAGE {
                return Err(TooLarge);
            }
            match last {
                Some((owner, at)) if owner == record.owner => {
                    out.extend_from_slice(&(0xc000 | at).to_be_bytes());
                }
                _ => {
                    last = Some((record.owner, out.len() as u16));
                    self.push_owner(record.owner, out);
                }
            }
            push_after_owner(&record, out);
            count += 1;
            self.waiting = self.records.next();
        }
        out[6..8].copy_from_slice(&count.to_be_bytes());
        if !self.heading.tail.is_empty() {
            out.extend_from_slice(&self.heading.tail);
            out[10..12].copy_from_slice(&1u16.to_be_bytes());
        }
        Ok(true)
    }

    /// The owner's labels, then a pointer to the apex in the question.
    fn push_owner(&self, owner: &[u8], out: &mut Vec<u8>) {
        let relative = match owner.len().checked_sub(self.apex.len()) {
            Some(len) if name::is_at_or_below(owner, self.apex) => &owner[..len],
            _ => return out.extend_from_slice(owner),
        };
        out.extend_from_slice(relative);
        out.extend_from_slice(&QNAME_POINTER);
    }
}
