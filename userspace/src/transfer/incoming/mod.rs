//! The stream of one transfer into this server, read message by message: a whole zone (RFC 5936), or the differences that
//! lead from the version that is here to a newer one (RFC 1995), or that there is nothing newer.
//!
//! There is no socket and no clock in here. Who has both gives one message after the other ([`Stream::read`]) until the last
//! SOA record has come, and then takes what came of it ([`Stream::finish`]). Whatever comes, the memory that is taken is
//! bounded by [`Limits`], and what is wrong is an error with its reason.
//!
//! | file | what |
//! |---|---|
//! | `wire.rs` | messages and records in wire format |
//! | `error.rs` | why a transfer is none |

mod error;
#[cfg(test)]
mod tests;
pub(in crate::transfer) mod wire;

use std::fmt;

pub use error::TransferError;
use wire::{Response, WireRecord};

use crate::zone::canonical_rdata;
use crate::zone::difference::{Difference, RecordRef};
use crate::zone::name::canonical_order;
use crate::zone::{Name, Rtype, Serial, Soa, Zone, ZoneBuilder};

/// What a transfer was asked for with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The id of the query.
    pub id: u16,
    /// The apex of the zone.
    pub apex: Name,
    /// What was asked for.
    pub kind: AskedKind,
}

/// What a transfer was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedKind {
    /// The whole zone: AXFR.
    Zone,
    /// What changed since the version with this serial: IXFR.
    Since(Serial),
}

impl AskedKind {
    /// The type that the query asks for.
    pub fn qtype(self) -> Rtype {
        match self {
            AskedKind::Zone => Rtype::AXFR,
            AskedKind::Since(_) => Rtype::IXFR,
        }
    }
}

/// How much one transfer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of all messages.
    pub octets: u64,
    /// Records, those of the differences together.
    pub records: u64,
    /// Messages.
    pub messages: u64,
}

/// What a transfer has brought.
pub enum Transferred {
    /// The primary has no version newer than the one that was asked from; its own has this serial.
    UpToDate(Serial),
    /// A whole zone.
    Zone(Zone),
    /// Differences, each of which leads on from the one before. There is at least one.
    Differences(Vec<Difference>),
}

impl Transferred {
    /// The serial that the primary has.
    pub fn serial(&self) -> Option<Serial> {
        match self {
            Transferred::UpToDate(serial) => Some(*serial),
            Transferred::Zone(zone) => Some(zone.serial()),
            Transferred::Differences(all) => all.last().map(Difference::new_serial),
        }
    }
}

impl fmt::Debug for Transferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Transferred::UpToDate(serial) => write!(f, "nothing newer than serial {serial}"),
            Transferred::Zone(zone) => write!(f, "a zone of serial {}", zone.serial()),
            Transferred::Differences(all) => f.debug_tuple("Differences").field(all).finish(),
        }
    }
}

/// The stream of one transfer.
pub struct Stream {
    asked: Asked,
    limits: Limits,
    stage: Stage,
    /// The RDATA of the first record, which the last one has too.
    soa: Vec<u8>,
    /// Its serial.
    serial: Serial,
    octets: u64,
    records: u64,
    messages: u64,
}

/// How far a stream has come.
enum Stage {
    /// No record has come.
    Begun,
    /// The first SOA record has come, with this TTL.
    First(u32),
    Zone(Box<ZoneDraft>),
    Differences(DifferencesDraft),
    /// Nothing newer.
    UpToDate,
}

impl Stream {
    /// The stream that answers what was asked for.
    pub fn new(asked: Asked, limits: Limits) -> Stream {
        Stream {
            asked,
            limits,
            stage: Stage::Begun,
            soa: Vec::new(),
            serial: Serial(0),
            octets: 0,
            records: 0,
            messages: 0,
        }
    }

    /// Takes the next message; says whether it was the last one.
    ///
    /// # Errors
    /// If it is not what can follow. The stream is of no use any more.
    pub fn read(&mut self, message: &[u8]) -> Result<bool, TransferError> {
        self.octets += message.len() as u64;
        self.messages += 1;
        let most = self.limits;
        within(self.octets, most.octets, "octets")?;
        within(self.messages, most.messages, "messages")?;
        let Asked { id, apex, kind } = &self.asked;
        let is_first = self.messages == 1;
        let response = Response::read(message, *id, apex, kind.qtype(), is_first)?;
        if response.answers == 0 {
            return Err(TransferError::Empty);
        }
        let mut records = response.records();
        while let Some(record) = records.next()? {
            if self.is_whole() {
                // A primary with an older version than ours may send it; that is no fault.
                let is_ignored = matches!(self.stage, Stage::UpToDate);
                return if is_ignored { Ok(true) } else { Err(TransferError::Trailing) };
            }
            self.records += 1;
            within(self.records, most.records, "records")?;
            self.take(record)?;
        }
        Ok(self.is_whole())
    }

    /// What came of it. Makes a zone of its records, which takes seconds for a large one.
    ///
    /// # Errors
    /// If it is not whole, or its records make no zone that may be served.
    pub fn finish(self) -> Result<Transferred, TransferError> {
        if !self.is_whole() {
            return Err(TransferError::Unfinished);
        }
        match self.stage {
            Stage::UpToDate => Ok(Transferred::UpToDate(self.serial)),
            Stage::Zone(draft) => draft.finish().map(Transferred::Zone),
            Stage::Differences(draft) => Ok(Transferred::Differences(draft.done)),
            Stage::Begun | Stage::First(_) => Err(TransferError::Unfinished),
        }
    }

    /// The serial to which the transfer leads, once its first record has come.
    pub fn serial(&self) -> Option<Serial> {
        (!self.soa.is_empty()).then_some(self.serial)
    }

    /// Octets that have come.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    fn is_whole(&self) -> bool {
        match &self.stage {
            Stage::Begun | Stage::First(_) => false,
            Stage::Zone(draft) => draft.is_whole,
            Stage::Differences(draft) => draft.is_whole,
            Stage::UpToDate => true,
        }
    }

    fn take(&mut self, record: WireRecord<'_>) -> Result<(), TransferError> {
        let WireRecord { owner, rtype, ttl, rdata } = record;
        let malformed = || TransferError::MalformedRdata { owner: of_wire(owner), rtype };
        canonical_rdata(rtype, rdata).ok_or_else(malformed)?;
        let record = RecordRef { owner, rtype, ttl, rdata };
        let soa = match rtype {
            Rtype::SOA if owner != self.asked.apex.as_wire() => {
                return Err(match self.stage {
                    Stage::Begun => TransferError::NoSoaFirst,
                    _ => TransferError::OtherSoa(of_wire(owner)),
                });
            }
            Rtype::SOA => Some(Soa::parse(record.rdata).ok_or_else(malformed)?),
            _ => None,
        };
        if let Stage::First(first_ttl) = self.stage {
            self.stage = self.decided(first_ttl, soa)?;
        }
        let first = End { soa: &self.soa, serial: self.serial };
        match &mut self.stage {
            Stage::Begun => {
                let soa = soa.ok_or(TransferError::NoSoaFirst)?;
                (self.soa, self.serial) = (record.rdata.to_vec(), soa.serial);
                self.stage = match self.asked.kind {
                    AskedKind::Since(ours) if !soa.serial.is_newer_than(ours) => Stage::UpToDate,
                    _ => Stage::First(ttl),
                };
                Ok(())
            }
            Stage::Zone(draft) => draft.take(record, soa, first),
            Stage::Differences(draft) => draft.take(&self.asked.apex, record, soa, first),
            Stage::First(_) | Stage::UpToDate => Ok(()),
        }
    }

    /// What the second record decides (RFC 1995 section 4): a zone, or differences.
    fn decided(&self, first_ttl: u32, second: Option<Soa<'_>>) -> Result<Stage, TransferError> {
        let since = match self.asked.kind {
            AskedKind::Since(ours) => second.filter(|soa| soa.serial != self.serial).map(|_| ours),
            AskedKind::Zone => None,
        };
        Ok(match since {
            Some(ours) => Stage::Differences(DifferencesDraft::new(ours)),
            None => {
                let draft = ZoneDraft::new(self.asked.apex.clone(), first_ttl);
                Stage::Zone(Box::new(draft))
            }
        })
    }
}

/// Reads the serial of a zone in the response to a query for its SOA record.
///
/// # Errors
/// If it is not there.
pub fn read_serial(message: &[u8], id: u16, apex: &Name) -> Result<Serial, TransferError> {
    let response = Response::read(message, id, apex, Rtype::SOA, true)?;
    if !response.is_authoritative {
        return Err(TransferError::NotAuthoritative);
    }
    let mut records = response.records();
    let soa =
        records.next()?.filter(|first| first.rtype == Rtype::SOA && first.owner == apex.as_wire());
    let soa = soa.and_then(|record| Some(Soa::parse(record.rdata)?.serial));
    soa.ok_or(TransferError::NoSoaFirst)
}

fn within(count: u64, most: u64, what: &'static str) -> Result<(), TransferError> {
    if count > most { Err(TransferError::TooLarge { what, most }) } else { Ok(()) }
}

fn of_wire(owner: &[u8]) -> Name {
    Name::from_wire(owner).unwrap_or_else(Name::root)
}

/// The SOA record that a transfer began with, and with which it is to end.
#[derive(Clone, Copy)]
struct End<'a> {
    soa: &'a [u8],
    serial: Serial,
}

impl End<'_> {
    /// Whether this SOA record ends the transfer.
    fn is(self, record: RecordRef<'_>, soa: Soa<'_>) -> Result<(), TransferError> {
        if record.rdata == self.soa {
            return Ok(());
        }
        Err(TransferError::SoaChanged { first: self.serial, found: soa.serial })
    }
}

/// A zone while its records come.
struct ZoneDraft {
    builder: ZoneBuilder,
    /// The TTL of the SOA record, until that is among the others: at its place in canonical order, so that a zone which
    /// comes in that order need not be sorted.
    soa_ttl: Option<u32>,
    is_whole: bool,
}

impl ZoneDraft {
    fn new(apex: Name, soa_ttl: u32) -> ZoneDraft {
        ZoneDraft { builder: ZoneBuilder::new(apex), soa_ttl: Some(soa_ttl), is_whole: false }
    }

    fn take(
        &mut self,
        record: RecordRef<'_>,
        soa: Option<Soa<'_>>,
        first: End<'_>,
    ) -> Result<(), TransferError> {
        let apex = self.builder.apex();
        let order = canonical_order(apex.as_wire(), record.owner);
        let is_behind_soa = order.then(Rtype::SOA.cmp(&record.rtype)).is_le();
        if let Some(ttl) = self.soa_ttl.filter(|_| is_behind_soa || soa.is_some()) {
            let apex = apex.clone();
            self.builder.push(apex.as_wire(), Rtype::SOA, ttl, first.soa)?;
            self.soa_ttl = None;
        }
        if let Some(soa) = soa {
            self.is_whole = true;
            return first.is(record, soa);
        }
        let RecordRef { owner, rtype, ttl, rdata } = record;
        Ok(self.builder.push(owner, rtype, ttl, rdata)?)
    }

    fn finish(mut self) -> Result<Zone, TransferError> {
        let fault = self.builder.faults().into_iter().find(|fault| fault.kind.is_error());
        if let Some(fault) = fault {
            return Err(TransferError::Fault { owner: fault.owner, kind: fault.kind });
        }
        Ok(self.builder.finish()?)
    }
}

/// Differences while their records come.
struct DifferencesDraft {
    done: Vec<Difference>,
    /// The serial to which those that are done lead.
    reached: Serial,
    open: Sequence,
    is_whole: bool,
}

/// The records of a difference while they come.
#[derive(Default)]
struct Sequence {
    /// SOA records among them: two at most, each of which begins a part.
    soas: usize,
    /// Where each lies among the octets, the lengths of owner and RDATA, type and TTL.
    records: Vec<(usize, u8, u16, Rtype, u32)>,
    octets: Vec<u8>,
}

impl DifferencesDraft {
    fn new(ours: Serial) -> DifferencesDraft {
        let open = Sequence::default();
        DifferencesDraft { done: Vec::new(), reached: ours, open, is_whole: false }
    }

    fn take(
        &mut self,
        apex: &Name,
        record: RecordRef<'_>,
        soa: Option<Soa<'_>>,
        first: End<'_>,
    ) -> Result<(), TransferError> {
        let Some(soa) = soa else {
            self.open.push(record);
            return Ok(());
        };
        if self.open.soas == 2 {
            self.close(apex)?;
            if self.reached == first.serial {
                self.is_whole = true;
                return first.is(record, soa);
            }
        }
        let found = soa.serial;
        match self.open.soas {
            0 if found != self.reached => {
                return Err(TransferError::Gap { reached: self.reached, found });
            }
            1 if found.is_newer_than(first.serial) => {
                return Err(TransferError::Past { last: first.serial, found });
            }
            _ => {}
        }
        self.open.soas += 1;
        self.open.push(record);
        Ok(())
    }

    fn close(&mut self, apex: &Name) -> Result<(), TransferError> {
        let open = std::mem::take(&mut self.open);
        let difference = Difference::from_sequence(apex, open.records())?;
        self.reached = difference.new_serial();
        self.done.push(difference);
        Ok(())
    }
}

impl Sequence {
    fn push(&mut self, record: RecordRef<'_>) {
        let RecordRef { owner, rtype, ttl, rdata } = record;
        let at = self.octets.len();
        self.octets.extend_from_slice(owner);
        self.octets.extend_from_slice(rdata);
        // Both come from the wire, where their lengths are as many octets.
        self.records.push((at, owner.len() as u8, rdata.len() as u16, rtype, ttl));
    }

    fn records(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.records.iter().map(|&(at, owner_len, rdata_len, rtype, ttl)| {
            let octets = &self.octets[at..];
            let (owner, rest) = octets.split_at(owner_len.into());
            RecordRef { owner, rtype, ttl, rdata: &rest[..rdata_len.into()] }
        })
    }
}
