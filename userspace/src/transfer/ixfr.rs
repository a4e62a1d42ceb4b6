//! Incremental transfers out (RFC 1995): the differences that led to the version that is served, and what of them a
//! client gets.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::zone::difference::{Difference, RecordRef};
use crate::zone::{Name, Rtype, Serial};

/// Differences that are remembered of a zone at most: each change copies the list of pointers to them.
const MOST_DIFFERENCES: usize = 1024;

/// Octets of them that are remembered at most, however large the zone is.
const MOST_OCTETS: usize = 64 << 20;

/// Octets of differences that are made one for a client that is several versions behind (RFC 1995 section 5, condensing).
/// It bounds the memory of a transfer; what is more is sent as it is, from the memory that all transfers share.
const CONDENSED_OCTETS: usize = 256 << 10;

/// The differences that led to the version that is served, the oldest first. Each leads to the version from which the next
/// one leads on. All of them together are smaller than the zone: who would need more is better served with all of it.
#[derive(Clone, Default)]
pub struct Past {
    differences: VecDeque<Arc<Difference>>,
    octets: usize,
}

impl Past {
    /// What is remembered once `change` has made a zone of `zone_octets` octets of the one before.
    pub fn with(&self, change: &Difference, zone_octets: usize) -> Past {
        let [old, new] = [change.old_serial(), change.new_serial()];
        let leads_on = self.differences.back().is_none_or(|last| last.new_serial() == old);
        // Who has this serial already will not ask what changed of it, and could not take what follows.
        if !new.is_newer_than(old) || change.sequence().next().is_none() {
            return Past::default();
        }
        let octets = octets_of(change);
        if octets > most_octets(zone_octets) {
            return Past::default();
        }
        let mut past = if leads_on { self.clone() } else { Past::default() };
        past.octets += octets;
        past.differences.push_back(Arc::new(change.clone()));
        past.shorten(zone_octets);
        past
    }

    /// The same for changes from the newest to the oldest, as a journal is read backwards: those that are of use.
    pub fn of_newest_first<E>(
        changes: impl Iterator<Item = Result<Difference, E>>,
        served: Serial,
        zone_octets: usize,
    ) -> Result<Past, E> {
        let mut past = Past::default();
        let mut wanted = served;
        for change in changes {
            let change = change?;
            if change.is_empty() {
                continue;
            }
            let [old, new] = [change.old_serial(), change.new_serial()];
            let is_whole = change.sequence().next().is_some();
            let octets = past.octets + octets_of(&change);
            let has_room =
                octets <= most_octets(zone_octets) && past.differences.len() < MOST_DIFFERENCES;
            if new != wanted || !new.is_newer_than(old) || !is_whole || !has_room {
                break;
            }
            past.octets = octets;
            past.differences.push_front(Arc::new(change));
            wanted = old;
        }
        Ok(past)
    }

    /// The differences that lead from the version with this serial to the one that is served; `None` if that is not known.
    pub fn since(&self, serial: Serial) -> Option<Differences> {
        let is_from = |change: &Arc<Difference>| change.old_serial() == serial;
        let from = self.differences.iter().rposition(is_from)?;
        let all: Vec<Arc<Difference>> = self.differences.iter().skip(from).cloned().collect();
        let octets: usize = all.iter().map(|change| octets_of(change)).sum();
        let condensed = (all.len() > 1 && octets <= CONDENSED_OCTETS).then(|| condensed(&all));
        Some(Differences(condensed.flatten().map_or(all, |one| vec![Arc::new(one)])))
    }

    /// How many differences are remembered.
    pub fn len(&self) -> usize {
        self.differences.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.differences.is_empty()
    }

    fn shorten(&mut self, zone_octets: usize) {
        let most = most_octets(zone_octets);
        while self.octets > most || self.differences.len() > MOST_DIFFERENCES {
            let Some(oldest) = self.differences.pop_front() else { return };
            self.octets -= octets_of(&oldest);
        }
    }
}

fn most_octets(zone_octets: usize) -> usize {
    zone_octets.min(MOST_OCTETS)
}

fn octets_of(change: &Difference) -> usize {
    change.removed().octets() + change.added().octets()
}

/// What a client gets that has an older version.
#[derive(Clone)]
pub struct Differences(Vec<Arc<Difference>>);

impl Differences {
    /// The difference sequences, one after the other (RFC 1995 section 4).
    pub fn records(&self) -> impl Iterator<Item = RecordRef<'_>> + Send {
        self.0.iter().flat_map(|change| change.sequence())
    }

    /// Octets of the records as they are sent, owners in full.
    pub fn wire_octets(&self) -> usize {
        self.records().map(|record| record.owner.len() + 10 + record.rdata.len()).sum()
    }
}

/// One difference that does what these do one after the other; `None` without any. A record that comes and goes again, or
/// goes and comes again, is not in it.
fn condensed(changes: &[Arc<Difference>]) -> Option<Difference> {
    let (first, last) = (changes.first()?, changes.last()?);
    // What became of each record: whether the first change has removed it, and whether the last one has left it there.
    let mut records: BTreeMap<Identity<'_>, Fate<'_>> = BTreeMap::new();
    for change in changes {
        let removed = change.removed().iter().map(|record| (record, false));
        let added = change.added().iter().map(|record| (record, true));
        for (record, is_there) in removed.chain(added) {
            let fate = records
                .entry(Identity::of(&record))
                .or_insert(Fate { before: (!is_there).then_some(record), after: None });
            fate.after = is_there.then_some(record);
        }
    }
    let gone = records.values().filter(|fate| fate.after.is_none());
    let come = records.values().filter(|fate| fate.before.is_none());
    let removed = gone.filter_map(|fate| fate.before);
    let added = come.filter_map(|fate| fate.after);
    let apex: &Name = first.apex();
    let serials = [first.old_serial(), last.new_serial()];
    Some(Difference::of_records(apex, serials, removed, added))
}

/// What makes a record the one that came or went before: its TTL too, which is that of its RRset, but of signatures, whose
/// TTL is told only when they come or go.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Identity<'a> {
    owner: &'a [u8],
    rtype: u16,
    rdata: &'a [u8],
    ttl: u32,
}

impl<'a> Identity<'a> {
    fn of(record: &RecordRef<'a>) -> Identity<'a> {
        let ttl = if record.rtype == Rtype::RRSIG { 0 } else { record.ttl };
        Identity { owner: record.owner, rtype: record.rtype.0, rdata: record.rdata, ttl }
    }
}

/// A record before the first change that tells of it, and behind the last.
struct Fate<'a> {
    before: Option<RecordRef<'a>>,
    after: Option<RecordRef<'a>>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::zone::difference::Rules;
    use crate::zone::{Version, ZoneBuilder};

    const APEX: &[u8] = b"\x07example\x00";
    const LARGE: usize = 1 << 20;

    /// A version with an A record for each host that has an address, and TTLs of two kinds.
    fn version(serial: u32, hosts: &[(u8, bool)]) -> Version {
        let mut builder = ZoneBuilder::new(Name::from_wire(APEX).unwrap());
        let mut soa = b"\x02ns\x07example\x00\x04mail\x07example\x00".to_vec();
        soa.extend_from_slice(&serial.to_be_bytes());
        soa.extend_from_slice(&[0; 16]);
        builder.push(APEX, Rtype::SOA, 300, &soa).unwrap();
        builder.push(APEX, Rtype::NS, 300, b"\x02ns\x07example\x00").unwrap();
        for (number, (address, is_long)) in hosts.iter().enumerate().filter(|(_, one)| one.0 > 0) {
            let owner = [&[2, b'h', b'a' + number as u8], APEX].concat();
            let ttl = if *is_long { 600 } else { 300 };
            builder.push(&owner, Rtype::A, ttl, &[192, 0, 2, *address]).unwrap();
        }
        Version::of(builder.finish().unwrap())
    }

    /// What a client that has `old` makes of difference sequences.
    fn followed(old: &Version, differences: &Differences) -> Version {
        let records: Vec<RecordRef<'_>> = differences.records().collect();
        let starts: Vec<usize> = records
            .iter()
            .enumerate()
            .filter(|(_, record)| record.rtype == Rtype::SOA)
            .map(|(at, _)| at)
            .step_by(2)
            .collect();
        let ends = starts.iter().skip(1).copied().chain([records.len()]);
        starts.iter().zip(ends).fold(old.clone(), |version, (start, end)| {
            let records = records[*start..end].iter().copied();
            let change = Difference::from_sequence(version.apex(), records).unwrap();
            version.apply(&change, Rules::Strict).unwrap()
        })
    }

    fn is_same(one: &Version, other: &Version) -> bool {
        Difference::between_versions(one, other).is_empty()
    }

    fn hosts() -> impl Strategy<Value = Vec<(u8, bool)>> {
        proptest::collection::vec((0u8..3, any::<bool>()), 6)
    }

    proptest! {
        /// From whichever version a client comes, and however far that is back, it gets the version that is served:
        /// condensed and one after the other, across the wrap of serials, from memory and as a journal tells it.
        #[test]
        fn a_client_gets_what_is_served(
            states in proptest::collection::vec(hosts(), 2..8),
            first in prop_oneof![Just(1u32), Just(u32::MAX - 2)],
        ) {
            let versions: Vec<Version> = states
                .iter()
                .enumerate()
                .map(|(step, hosts)| version(first.wrapping_add(step as u32), hosts))
                .collect();
            let changes: Vec<Difference> = versions
                .windows(2)
                .map(|pair| Difference::between_versions(&pair[0], &pair[1]))
                .collect();
            let past = changes.iter().fold(Past::default(), |past, change| past.with(change, LARGE));
            let served = versions.last().unwrap();
            let backwards = changes.iter().rev().map(|change| Ok::<_, ()>(change.clone()));
            let of_journal = Past::of_newest_first(backwards, served.serial(), LARGE).unwrap();
            prop_assert_eq!(past.len(), changes.len());
            prop_assert!(past.since(served.serial()).is_none());
            for old in &versions[..versions.len() - 1] {
                for past in [&past, &of_journal] {
                    let given = past.since(old.serial()).unwrap();
                    prop_assert_eq!(given.0.len(), 1);
                    prop_assert!(is_same(&followed(old, &given), served));
                }
                let from = changes.iter().position(|one| one.old_serial() == old.serial()).unwrap();
                let plain = Differences(changes[from..].iter().cloned().map(Arc::new).collect());
                prop_assert!(is_same(&followed(old, &plain), served));
                let condensed = past.since(old.serial()).unwrap();
                prop_assert!(condensed.wire_octets() <= plain.wire_octets());
                // No more than what differs.
                prop_assert_eq!(&*condensed.0[0], &Difference::between_versions(old, served));
            }
        }
    }

    #[test]
    fn what_is_remembered_is_no_larger_than_the_zone() {
        let versions: Vec<Version> =
            (0..40u32).map(|step| version(step, &[(1 + (step % 2) as u8, true); 20])).collect();
        let changes =
            versions.windows(2).map(|pair| Difference::between_versions(&pair[0], &pair[1]));
        let changes: Vec<Difference> = changes.collect();
        let one = octets_of(&changes[0]);
        let past =
            changes.iter().fold(Past::default(), |past, change| past.with(change, 5 * one + 9));
        assert_eq!(past.len(), 5);
        assert!(past.since(Serial(33)).is_none() && past.since(Serial(34)).is_some());
        // A change that is larger than the zone: all of it is sent.
        assert!(past.with(&changes[1], one - 1).is_empty());
        // More are not condensed.
        let many = changes.iter().fold(Past::default(), |past, change| past.with(change, LARGE));
        assert_eq!(many.since(Serial(0)).unwrap().0.len(), 1);
        let count = CONDENSED_OCTETS / one + 2;
        let again = (0..count as u32).map(|step| {
            let hosts = |step: u32| [(1 + (step % 2) as u8, true); 20];
            let pair = [step, step + 1].map(|step| version(step, &hosts(step)));
            Difference::between_versions(&pair[0], &pair[1])
        });
        let many = again.fold(Past::default(), |past, change| past.with(&change, LARGE));
        assert_eq!(many.since(Serial(0)).unwrap().0.len(), count);
    }

    #[test]
    fn what_leads_nowhere_is_forgotten() {
        let [a, b, c] =
            [(1, 1u8), (2, 2), (3, 1)].map(|(serial, host)| version(serial, &[(host, true)]));
        let between = |one: &Version, other: &Version| Difference::between_versions(one, other);
        let past = Past::default().with(&between(&a, &b), LARGE);
        assert_eq!(past.len(), 1);
        // Other records under the same serial, and a serial that is not newer.
        let same = version(2, &[(2, false)]);
        assert!(past.with(&between(&b, &same), LARGE).is_empty());
        assert!(past.with(&between(&b, &a), LARGE).is_empty());
        // A change from another version than the last one.
        assert_eq!(past.with(&between(&a, &c), LARGE).len(), 1);
        assert!(past.with(&between(&a, &c), LARGE).since(Serial(2)).is_none());
    }
}
