//! Records that come and go, gathered in any order, and the signatures that are to be made for them.

use itertools::{EitherOrBoth, Itertools as _};
use rayon::prelude::*;

use super::signed::Statistics;
use crate::dnssec::keys::SigningFailed;
use crate::dnssec::rrset_signer::RrsetSigner;
use crate::zone::difference::{Difference, RecordRef};
use crate::zone::{Name, Owner, Rrset, Rtype, Serial};

/// How many RRsets a core signs at once: fewer are not worth waking it.
const MIN_PER_CORE: usize = 8;

/// Records that come and go.
#[derive(Default)]
pub(super) struct Edit {
    removed: Vec<Record>,
    added: Vec<Record>,
    unsigned: Vec<UnsignedRrset>,
}

struct Record {
    owner: Name,
    rtype: Rtype,
    /// In seconds.
    ttl: u32,
    rdata: Vec<u8>,
}

/// An RRset that is to be signed.
struct UnsignedRrset {
    owner: Name,
    rtype: Rtype,
    /// In seconds.
    ttl: u32,
    rdatas: Vec<Vec<u8>>,
}

impl Edit {
    pub(super) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty() && self.unsigned.is_empty()
    }

    /// Whether all records that come or go are of one type.
    pub(super) fn is_all_of(&self, rtype: Rtype) -> bool {
        self.removed.iter().chain(&self.added).all(|record| record.rtype == rtype)
    }

    /// Adds what another one has.
    pub(super) fn append(&mut self, mut other: Edit) {
        self.removed.append(&mut other.removed);
        self.added.append(&mut other.added);
        self.unsigned.append(&mut other.unsigned);
    }

    fn remove(&mut self, owner: &Name, rtype: Rtype, ttl: u32, rdata: &[u8]) {
        self.removed.push(Record { owner: owner.clone(), rtype, ttl, rdata: rdata.to_vec() });
    }

    pub(super) fn add(&mut self, owner: &Name, rtype: Rtype, ttl: u32, rdata: &[u8]) {
        self.added.push(Record { owner: owner.clone(), rtype, ttl, rdata: rdata.to_vec() });
    }

    /// Removes the records of an RRset that `is_meant` names; of signatures the TTL is that of what they cover.
    pub(super) fn remove_from(
        &mut self,
        owner: &Owner<'_>,
        rrset: &Rrset<'_>,
        is_meant: impl Fn(&[u8]) -> bool,
    ) {
        let Some(name) = Name::from_wire(owner.name()) else { return };
        for rdata in rrset.rdatas().filter(|rdata| is_meant(rdata)) {
            self.remove(&name, rrset.rtype(), owner.record_ttl(rrset, rdata), rdata);
        }
    }

    /// Makes the RRset `old` be `new`: a TTL in seconds and RDATA, both in canonical order.
    pub(super) fn replace<'r>(
        &mut self,
        owner: &Name,
        rtype: Rtype,
        old: Option<Rrset<'_>>,
        new: Option<(u32, impl Iterator<Item = &'r [u8]>)>,
    ) {
        let old_ttl = old.map_or(0, |rrset| rrset.ttl());
        let (new_ttl, new_rdatas) = new.unzip();
        let new_ttl = new_ttl.unwrap_or(0);
        let old_rdatas = old.iter().flat_map(|rrset| rrset.rdatas());
        for pair in old_rdatas.merge_join_by(new_rdatas.into_iter().flatten(), |a, b| a.cmp(b)) {
            if matches!(pair, EitherOrBoth::Both(..)) && old_ttl == new_ttl {
                continue;
            }
            let (gone, come) = pair.left_and_right();
            gone.into_iter().for_each(|rdata| self.remove(owner, rtype, old_ttl, rdata));
            come.into_iter().for_each(|rdata| self.add(owner, rtype, new_ttl, rdata));
        }
    }

    /// Asks for signatures of an RRset; its RDATA is in canonical form and order.
    pub(super) fn sign<'r>(
        &mut self,
        owner: &Name,
        (rtype, ttl): (Rtype, u32),
        rdatas: impl Iterator<Item = &'r [u8]>,
    ) {
        let rdatas = rdatas.map(<[u8]>::to_vec).collect();
        self.unsigned.push(UnsignedRrset { owner: owner.clone(), rtype, ttl, rdatas });
    }

    /// Makes the signatures that were asked for, on all cores if there are many.
    pub(super) fn make_signatures(
        &mut self,
        signer: &RrsetSigner<'_>,
        statistics: &mut Statistics,
    ) -> Result<(), SigningFailed> {
        let sign = |scratch: &mut Vec<u8>, rrset: &UnsignedRrset| {
            let what = (rrset.rtype, rrset.ttl);
            let rdatas = || rrset.rdatas.iter().map(Vec::as_slice);
            let keys = signer.keys_for(rrset.rtype);
            keys.map(|(_, key)| {
                signer.signature(key, rrset.owner.as_wire(), what, rdatas(), scratch)
            })
            .collect()
        };
        let made: Result<Vec<Vec<Vec<u8>>>, SigningFailed> =
            self.unsigned.par_iter().with_min_len(MIN_PER_CORE).map_init(Vec::new, sign).collect();
        for (rrset, signatures) in self.unsigned.drain(..).zip(made?) {
            statistics.rrsets += 1;
            statistics.denials += usize::from(matches!(rrset.rtype, Rtype::NSEC | Rtype::NSEC3));
            statistics.signatures += signatures.len();
            let UnsignedRrset { owner, ttl, .. } = rrset;
            let record = |rdata| Record { owner: owner.clone(), rtype: Rtype::RRSIG, ttl, rdata };
            self.added.extend(signatures.into_iter().map(record));
        }
        Ok(())
    }

    /// The difference between two serials that these records make.
    pub(super) fn difference(&self, apex: &Name, serials: [Serial; 2]) -> Difference {
        let [removed, added] =
            [&self.removed, &self.added].map(|records| records.iter().map(Record::borrowed));
        Difference::of_records(apex, serials, removed, added)
    }
}

impl Record {
    fn borrowed(&self) -> RecordRef<'_> {
        let Record { owner, rtype, ttl, rdata } = self;
        RecordRef { owner: owner.as_wire(), rtype: *rtype, ttl: *ttl, rdata }
    }
}
