//! When the signatures of a version of a zone are valid, counted: so that it is known of the next version, too, without a
//! look at signatures that did not change.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::rrsig::Rrsig;
use crate::zone::difference::{Difference, RecordRef};
use crate::zone::{Rtype, Serial, Zone};

/// When the signatures of a zone are valid, in seconds since 1970, truncated to 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// From when on all are.
    pub inception: u32,
    /// Until when all are.
    pub expiration: u32,
}

/// Seconds whose ends of signatures are counted together in memory that versions share: what a change copies.
const SPAN: u32 = 3600;

/// The times of all signatures of a version and of what stands beside it, whether they are right or not. A clone shares
/// its memory, and what a difference makes of it shares most.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct SignatureTimes {
    /// The latest inception that there was since all signatures were counted; `None` if there is none.
    inception: Option<u32>,
    /// Those that end in a [`SPAN`], by its number; none of them is empty.
    ends: BTreeMap<u32, Arc<Ends>>,
}

/// How many signatures end at each second of a span, in the order of the seconds; none of the counts is 0.
type Ends = Vec<(u32, u32)>;

impl SignatureTimes {
    /// Those of a zone, in a walk over it. Runs in the current rayon pool.
    pub fn of(zone: &Zone) -> SignatureTimes {
        let beside = zone.any_answers().map(count).unwrap_or_default();
        count(zone).and(beside).finish()
    }

    /// The times of signatures of which the latest begins at `inception`, and that end at these times; of each it is said
    /// how many end then.
    pub fn of_ends(inception: u32, ends: impl IntoIterator<Item = (u32, u32)>) -> SignatureTimes {
        let ends = ends.into_iter().filter(|(_, count)| *count > 0).collect();
        Counted { inception: Some(inception), ends }.finish()
    }

    /// When signatures end, and how many do then.
    pub fn ends(&self) -> impl Iterator<Item = (u32, u32)> {
        self.ends.values().flat_map(|ends| ends.iter().copied())
    }

    /// What they are after these differences, one after the other. `None` if a signature is removed that was not counted:
    /// they were of another version.
    pub fn after<'d>(
        &self,
        differences: impl Iterator<Item = &'d Difference> + Clone,
    ) -> Option<SignatureTimes> {
        let mut times = self.clone();
        // What goes and comes again has gone in between.
        for difference in differences {
            for (_, expiration) in difference.removed().iter().filter_map(read) {
                times.remove(expiration)?;
            }
            for (inception, expiration) in difference.added().iter().filter_map(read) {
                times.add(inception, expiration);
            }
        }
        Some(times)
    }

    /// When all signatures are valid: of those that there are until when, and from when on of those that there were since
    /// all were counted. `None` if there are none. `now` is seconds since 1970, truncated to 32 bits.
    pub fn validity(&self, now: u32) -> Option<Validity> {
        let from_now = |time: &u32| Serial(*time).since(Serial(now));
        // Of a span the first, but for one that is 68 years away.
        let ends = self.ends.values().filter_map(|ends| ends.first()).map(|(end, _)| *end);
        Some(Validity { inception: self.inception?, expiration: ends.min_by_key(from_now)? })
    }

    /// The latest inception of any signature, or a later one of a signature that there is no more.
    pub fn latest_inception(&self) -> Option<u32> {
        self.inception
    }

    fn add(&mut self, inception: u32, expiration: u32) {
        self.inception = Some(later(self.inception, inception));
        let ends = Arc::make_mut(self.ends.entry(expiration / SPAN).or_default());
        match ends.binary_search_by_key(&expiration, |(end, _)| *end) {
            Ok(at) => ends[at].1 += 1,
            Err(at) => ends.insert(at, (expiration, 1)),
        }
    }

    fn remove(&mut self, expiration: u32) -> Option<()> {
        let span = expiration / SPAN;
        let ends = Arc::make_mut(self.ends.get_mut(&span)?);
        let at = ends.binary_search_by_key(&expiration, |(end, _)| *end).ok()?;
        ends[at].1 -= 1;
        if ends[at].1 == 0 {
            ends.remove(at);
        }
        if ends.is_empty() {
            self.ends.remove(&span);
        }
        Some(())
    }
}

/// Signatures while all of a zone are counted.
#[derive(Default)]
struct Counted {
    inception: Option<u32>,
    /// How many end at a time.
    ends: BTreeMap<u32, u32>,
}

impl Counted {
    fn and(mut self, other: Counted) -> Counted {
        self.inception = other.inception.map(|time| later(self.inception, time)).or(self.inception);
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
        self
    }

    fn finish(self) -> SignatureTimes {
        let mut spans: BTreeMap<u32, Ends> = BTreeMap::new();
        for (end, count) in self.ends {
            spans.entry(end / SPAN).or_default().push((end, count));
        }
        let ends = spans.into_iter().map(|(span, ends)| (span, Arc::new(ends))).collect();
        SignatureTimes { inception: self.inception, ends }
    }
}

fn count(zone: &Zone) -> Counted {
    let add = |mut counted: Counted, index: usize| {
        let signatures = zone.owner(index).rrset(Rtype::RRSIG);
        let rdatas = signatures.iter().flat_map(|rrset| rrset.rdatas());
        for (inception, end) in rdatas.filter_map(times_of) {
            counted.inception = Some(later(counted.inception, inception));
            *counted.ends.entry(end).or_default() += 1;
        }
        counted
    };
    let owners = (0..zone.owners().len()).into_par_iter();
    owners.fold(Counted::default, add).reduce(Counted::default, Counted::and)
}

/// The later of two times (RFC 4034 section 3.1.5).
fn later(known: Option<u32>, time: u32) -> u32 {
    known.filter(|known| !is_before(*known, time)).unwrap_or(time)
}

/// When a signature begins and when it ends.
fn times_of(rrsig: &[u8]) -> Option<(u32, u32)> {
    let fields = Rrsig::parse(rrsig)?.fields;
    Some((fields.inception, fields.expiration))
}

/// The same of a record, if it is a signature.
fn read(record: RecordRef<'_>) -> Option<(u32, u32)> {
    times_of(record.rdata).filter(|_| record.rtype == Rtype::RRSIG)
}

/// Whether time `a` is before `b`, both truncated to 32 bits (RFC 4034 section 3.1.5).
pub fn is_before(a: u32, b: u32) -> bool {
    Serial(b).is_newer_than(Serial(a))
}
