//! Records in canonical order, one after the other in one array of octets.

use std::cmp::Ordering;

use crate::zone::arrays::{Owner, Rrset};
use crate::zone::name::canonical_order;
use crate::zone::record::Record;
use crate::zone::rtype::Rtype;

/// A record, wherever it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordRef<'a> {
    /// Its owner name: lower case, uncompressed wire format.
    pub owner: &'a [u8],
    /// Its type.
    pub rtype: Rtype,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// Its RDATA in canonical form, uncompressed.
    pub rdata: &'a [u8],
}

impl RecordRef<'_> {
    /// The canonical order of owners, then types by number, then RDATA (RFC 4034 section 6).
    pub(super) fn canonical_cmp(&self, other: &RecordRef<'_>) -> Ordering {
        canonical_order(self.owner, other.owner)
            .then(self.rtype.cmp(&other.rtype))
            .then_with(|| self.rdata.cmp(other.rdata))
    }
}

/// Records in canonical order, none of them twice.
#[derive(Clone, Default)]
pub struct Records {
    entries: Vec<Record>,
    /// Owner names and RDATA, where the entries say.
    bytes: Vec<u8>,
}

impl Records {
    /// All of them in canonical order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = RecordRef<'_>> + ExactSizeIterator {
        self.entries.iter().map(|entry| self.at(entry))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Octets of memory that they take.
    pub fn octets(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Record>()
    }

    /// Gathers records of any order; those that come twice stay once.
    pub(super) fn sorted<'a>(records: impl Iterator<Item = RecordRef<'a>>) -> Records {
        let mut all = Records::default();
        records.for_each(|record| all.push(record));
        let Records { mut entries, bytes } = all;
        let whole = |entry: &Record| at(&bytes, entry);
        entries.sort_by(|a, b| whole(a).canonical_cmp(&whole(b)));
        entries.dedup_by(|a, b| whole(a).canonical_cmp(&whole(b)).is_eq());
        Records { entries, bytes }
    }

    /// Adds a record behind those that are there.
    pub(super) fn push(&mut self, record: RecordRef<'_>) {
        // 4 GiB hold every zone, and an RDATA length is 16 bits on the wire.
        let at = u32::try_from(self.bytes.len()).expect("a zone has less than 4 GiB");
        let rdata_len = u16::try_from(record.rdata.len()).expect("RDATA has less than 64 KiB");
        self.bytes.extend_from_slice(record.owner);
        self.bytes.extend_from_slice(record.rdata);
        let (owner_len, number) = (record.owner.len() as u8, self.entries.len() as u32);
        let (rtype, ttl) = (record.rtype, record.ttl);
        self.entries.push(Record { at, number, owner_len, rdata_len, rtype, ttl });
    }

    /// Adds one record of an RRset.
    pub(super) fn push_of(&mut self, owner: &Owner<'_>, rrset: &Rrset<'_>, rdata: &[u8]) {
        let ttl = owner.record_ttl(rrset, rdata);
        self.push(RecordRef { owner: owner.name(), rtype: rrset.rtype(), ttl, rdata });
    }

    /// The records of each owner, in canonical order of the owners.
    pub(super) fn by_owner(&self) -> impl Iterator<Item = OwnerRecords<'_>> {
        let same = |a: &Record, b: &Record| a.owner(&self.bytes) == b.owner(&self.bytes);
        self.entries.chunk_by(same).map(|entries| OwnerRecords { entries, bytes: &self.bytes })
    }

    fn at(&self, entry: &Record) -> RecordRef<'_> {
        at(&self.bytes, entry)
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Records) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Records {}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn at<'a>(bytes: &'a [u8], entry: &Record) -> RecordRef<'a> {
    RecordRef {
        owner: entry.owner(bytes),
        rtype: entry.rtype,
        ttl: entry.ttl,
        rdata: entry.rdata(bytes),
    }
}

/// The records of one owner among [`Records`]; without any, of none.
#[derive(Clone, Copy, Default)]
pub(super) struct OwnerRecords<'a> {
    entries: &'a [Record],
    bytes: &'a [u8],
}

impl<'a> OwnerRecords<'a> {
    pub(super) fn name(&self) -> &'a [u8] {
        self.entries.first().map_or(&[], |first| first.owner(self.bytes))
    }

    pub(super) fn records(&self) -> impl Iterator<Item = RecordRef<'a>> + Clone + use<'a> {
        let bytes = self.bytes;
        self.entries.iter().map(move |entry| at(bytes, entry))
    }

    /// Those of one type.
    pub(super) fn of_type(
        &self,
        rtype: Rtype,
    ) -> impl Iterator<Item = RecordRef<'a>> + Clone + use<'a> {
        let start = self.entries.partition_point(|entry| entry.rtype < rtype);
        let entries = &self.entries[start..];
        let end = entries.partition_point(|entry| entry.rtype == rtype);
        OwnerRecords { entries: &entries[..end], bytes: self.bytes }.records()
    }
}
