//! Differences signed one after the other, and each result compared with the whole zone signed anew.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::dnssec::denial;
use crate::dnssec::keys::{Algorithm, Key, NewKey, Role};
use crate::dnssec::policy::{AnyResponse, Denial, SigningPolicy};
use crate::dnssec::rrsig::Rrsig;
use crate::dnssec::sign::{SignError, sign};
use crate::dnssec::states::hides;
use crate::dnssec::verify::verify;
use crate::zone::difference::{Difference, RecordRef, Rules};
use crate::zone::{Name, Rtype, Serial, Version, Zone, ZoneBuilder, soa};

pub(in crate::dnssec) const NOW: u32 = 1_800_000_000;
pub(in crate::dnssec) const DAY: u32 = 86_400;
pub(in crate::dnssec) const APEX: &[u8] = b"\x07example\0";

/// The labels before the apex of a small world: cuts above names, empty non-terminals of two levels, wildcards,
/// names that stand right behind all below another, and one that stands below the apex by its octets alone.
pub(in crate::dnssec) const OWNERS: [&[u8]; 16] = [
    b"",
    b"\x01a",
    b"\x01b\x01a",
    b"\x01c\x01b\x01a",
    b"\x01*\x01a",
    b"\x02a\0",
    b"\x01*",
    b"\x01d",
    b"\x01f\x01e\x01d",
    b"\x01*\x01e\x01d",
    b"\x01g\x01f\x01e\x01d",
    b"\x01x\x01y\x01z",
    b"\x01w\x01y\x01z",
    b"\x01v\x01w\x01y\x01z",
    b"\x02zz",
    b"\x07example",
];

pub(in crate::dnssec) const TYPES: [Rtype; 6] =
    [Rtype::A, Rtype::TXT, Rtype::NS, Rtype::DS, Rtype::DNAME, Rtype::HINFO];

/// A change of the small world.
#[derive(Clone, Debug)]
pub(in crate::dnssec) enum Step {
    /// Records that come, or go if they are there; of an RRset that is there, with another TTL.
    Records(Vec<(usize, usize, u8, u32)>),
    /// All records of a name go.
    Owner(usize),
    /// All names go but the apex.
    All,
    /// The SOA record's TTL and MINIMUM.
    NegativeTtl(u32, u32),
}

pub(in crate::dnssec) fn step() -> impl Strategy<Value = Step> {
    // Addresses and cuts twice as often as the rest.
    let rtype = prop::sample::select(vec![0usize, 0, 1, 2, 2, 3, 4, 5]);
    let record = (0..OWNERS.len(), rtype, 0..2u8, 1..3u32);
    prop_oneof![
        12 => prop::collection::vec(record, 1..5).prop_map(Step::Records),
        3 => (1..OWNERS.len()).prop_map(Step::Owner),
        1 => Just(Step::All),
        1 => (1..3u32, 1..3u32).prop_map(|(ttl, minimum)| Step::NegativeTtl(ttl, minimum)),
    ]
}

/// A small unsigned zone: of each owner and type its TTL and values.
#[derive(Clone)]
pub(in crate::dnssec) struct World {
    pub(in crate::dnssec) serial: u32,
    pub(in crate::dnssec) negative_ttls: (u32, u32),
    pub(in crate::dnssec) rrsets: BTreeMap<(usize, usize), (u32, BTreeSet<u8>)>,
}

impl World {
    pub(in crate::dnssec) fn new() -> World {
        World { serial: 1, negative_ttls: (2, 2), rrsets: BTreeMap::new() }
    }

    pub(in crate::dnssec) fn change(&mut self, step: &Step) {
        match step {
            Step::Records(records) => {
                for &(owner, rtype, value, ttl) in records {
                    let rrset = self.rrsets.entry((owner, rtype)).or_default();
                    rrset.0 = ttl;
                    if !rrset.1.remove(&value) {
                        rrset.1.insert(value);
                    }
                }
                self.rrsets.retain(|_, rrset| !rrset.1.is_empty());
            }
            Step::Owner(owner) => self.rrsets.retain(|key, _| key.0 != *owner),
            Step::All => self.rrsets.retain(|key, _| key.0 == 0),
            Step::NegativeTtl(ttl, minimum) => self.negative_ttls = (*ttl, *minimum),
        }
    }

    pub(in crate::dnssec) fn zone(&self) -> Zone {
        let mut builder = ZoneBuilder::new(apex());
        let (ttl, minimum) = self.negative_ttls;
        builder.push(APEX, Rtype::SOA, ttl, &soa_rdata(self.serial, minimum)).unwrap();
        for ((owner, rtype), (ttl, values)) in &self.rrsets {
            for value in values {
                let (rtype, rdata) = (TYPES[*rtype], rdata(TYPES[*rtype], *value));
                builder.push(&owner_name(*owner), rtype, *ttl, &rdata).unwrap();
            }
        }
        builder.finish().unwrap()
    }
}

pub(in crate::dnssec) fn apex() -> Name {
    Name::from_wire(APEX).unwrap()
}

pub(in crate::dnssec) fn owner_name(owner: usize) -> Vec<u8> {
    [OWNERS[owner], APEX].concat()
}

pub(in crate::dnssec) fn rdata(rtype: Rtype, value: u8) -> Vec<u8> {
    match rtype {
        Rtype::A => vec![192, 0, 2, value],
        Rtype::TXT => vec![1, b'a' + value],
        Rtype::NS | Rtype::DNAME => vec![2, b'n', b'0' + value, 0],
        Rtype::DS => [&[0, value, 13, 2][..], &[7; 32]].concat(),
        _ => vec![1, b'h', 1, b'0' + value],
    }
}

fn soa_rdata(serial: u32, minimum: u32) -> Vec<u8> {
    let numbers = [serial, 3600, 900, 604_800, minimum];
    let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
    b"\x02ns\0\x04mail\0".iter().copied().chain(numbers).collect()
}

pub(in crate::dnssec) fn keys(roles: &[Role]) -> Vec<Key> {
    let make =
        |role: &Role| NewKey::generate(&apex(), *role, Algorithm::Ed25519, &[], NOW).unwrap().key;
    roles.iter().map(make).collect()
}

pub(in crate::dnssec) const DENIALS: [Denial; 3] =
    [Denial::Nsec, Denial::Nsec3 { opt_out: false }, Denial::Nsec3 { opt_out: true }];

pub(in crate::dnssec) fn policy(denial: Denial) -> SigningPolicy {
    SigningPolicy { denial, jitter: 3 * DAY, ..SigningPolicy::default() }
}

/// What a signed zone says, but for serials, times and signatures: of each record owner, type, TTL and RDATA.
fn said(zone: &Zone) -> Vec<(Name, Rtype, u32, Vec<u8>)> {
    let zones = std::iter::once(zone).chain(zone.any_answers());
    let mut said = Vec::new();
    for owner in zones.flat_map(Zone::owners) {
        for rrset in owner.rrsets() {
            for rdata in rrset.rdatas() {
                let mut rdata = rdata.to_vec();
                match rrset.rtype() {
                    Rtype::SOA => soa::set_serial(&mut rdata, Serial(0)),
                    Rtype::RRSIG => {
                        // Type, algorithm, labels, original TTL, key tag and signer; neither times nor signature.
                        let signature = Rrsig::parse(&rdata).unwrap().signature.len();
                        rdata.truncate(rdata.len() - signature);
                        rdata[8..16].fill(0);
                    }
                    _ => {}
                }
                let name = Name::from_wire(owner.name()).unwrap();
                said.push((name, rrset.rtype(), owner.record_ttl(&rrset, &rdata), rdata));
            }
        }
    }
    said.sort();
    said
}

/// How many RRsets are signed in `new` that `old` does not have, or not signed.
fn newly_signed(old: &Zone, new: &Zone) -> usize {
    let of_zone = |old: &Zone, new: &Zone| {
        let mut count = 0;
        for owner in new.owners() {
            for rrset in owner.rrsets().filter(|rrset| rrset.rtype() != Rtype::RRSIG) {
                let before = old.find(owner.name()).filter(|old| {
                    let same = old.rrset(rrset.rtype()).is_some_and(|old| {
                        old.ttl() == rrset.ttl() && old.rdatas().eq(rrset.rdatas())
                    });
                    same && old.signatures(rrset.rtype()).next().is_some()
                });
                let is_signed = owner.signatures(rrset.rtype()).next().is_some();
                count += usize::from(is_signed && before.is_none());
            }
        }
        count
    };
    let beside = old.any_answers().zip(new.any_answers());
    of_zone(old, new) + beside.map_or(0, |(old, new)| of_zone(old, new))
}

/// How many names a change may make something else: those whose records change, those above them, and those below
/// one that begins or ceases to hide them.
fn names_concerned(old: &Zone, new: &Zone, difference: &Difference) -> usize {
    let changed = difference.removed().iter().chain(difference.added().iter());
    let changed: BTreeSet<&[u8]> = changed.map(|record| record.owner).chain([APEX]).collect();
    let [of_old, of_new] = [old, new].map(|zone| Version::of(zone.clone()));
    let mut concerned: BTreeSet<Vec<u8>> = BTreeSet::new();
    for name in changed {
        concerned.insert(name.to_vec());
        let [before, after] =
            [&of_old, &of_new].map(|version| hides(version, version.find(name).as_ref()));
        if before != after {
            let below = [old, new].into_iter().flat_map(Zone::owners).map(|owner| owner.name());
            let below = below.filter(|below| crate::zone::name::is_at_or_below(below, name));
            concerned.extend(below.map(<[u8]>::to_vec));
        }
    }
    let above = concerned.iter().flat_map(|name| crate::zone::name::ancestors(name));
    let above = above.filter(|name| name.len() >= APEX.len()).map(<[u8]>::to_vec);
    above.chain(concerned.iter().cloned()).collect::<BTreeSet<_>>().len()
}

/// A signed version and the unsigned zone that it was made of.
struct Signed {
    world: World,
    unsigned: Zone,
    version: Version,
}

impl Signed {
    fn new(keys: &[Key], policy: &SigningPolicy) -> Signed {
        let world = World::new();
        let unsigned = world.zone();
        let version = Version::of(sign(&unsigned, keys, policy, NOW).unwrap().0);
        Signed { world, unsigned, version }
    }

    /// Makes a step and checks all that can be said of the result.
    fn step(&mut self, step: &Step, counts: bool, keys: &[Key], policy: &SigningPolicy) {
        self.world.change(step);
        self.world.serial += u32::from(counts);
        let unsigned = self.world.zone();
        let difference = Difference::between(&self.unsigned, &unsigned);
        let later = NOW + self.world.serial;
        let made = sign_difference(&self.version, &difference, Rules::Strict, keys, policy, later);
        let Some(made) = made.unwrap() else {
            assert_eq!(self.unsigned.arrays(), unsigned.arrays());
            return;
        };
        let next = applied(&self.version, &made);
        assert!(next.serial().is_newer_than(self.version.serial()));
        let (before, after) = (self.version.flat().unwrap(), next.flat().unwrap());
        let whole = sign(&unsigned, keys, policy, later).unwrap().0;
        assert_eq!(said(&after), said(&whole));
        // No record that does not change, and no signature of what has one.
        assert_eq!(Difference::between_versions(&self.version, &next), made.zone);
        assert_eq!(made.statistics.rrsets, newly_signed(&before, &after));
        assert!(made.statistics.signatures >= made.statistics.rrsets);
        let concerned = names_concerned(&self.unsigned, &unsigned, &difference);
        assert!(made.statistics.names <= concerned, "{} {concerned}", made.statistics.names);
        (self.unsigned, self.version) = (unsigned, next);
    }
}

/// The version that a difference leads to.
pub(in crate::dnssec) fn applied(version: &Version, made: &SignedDifference) -> Version {
    let next = version.apply(&made.zone, Rules::Strict).unwrap();
    match made.any_answers.as_ref().zip(version.any_answers()) {
        Some((difference, beside)) => {
            next.with_any_answers(beside.apply(difference, Rules::Strict).unwrap())
        }
        None => next,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever changes, step by step, what comes out is what signing the whole zone gives, and a validator takes it.
    #[test]
    fn differences_lead_to_what_signing_the_whole_zone_gives(
        steps in prop::collection::vec((step(), any::<bool>()), 1..8),
        denial in prop::sample::select(&DENIALS[..]),
        any in prop::sample::select(&[AnyResponse::Rrset, AnyResponse::Hinfo][..]),
        has_two_keys in any::<bool>(),
    ) {
        let roles = if has_two_keys { &[Role::Ksk, Role::Zsk][..] } else { &[Role::Csk] };
        let keys = keys(roles);
        let policy = SigningPolicy { any, ..policy(denial) };
        let mut signed = Signed::new(&keys, &policy);
        for (step, counts) in &steps {
            signed.step(step, *counts, &keys, &policy);
        }
        let zone = signed.version.flat().unwrap();
        let report = verify(&zone, NOW + signed.world.serial);
        let denial = report.map(|report| report.denial);
        prop_assert_eq!(denial, Ok(policy.denial));
    }
}

//----------- What is left out, and what is refused ----------------------------------------------------

/// A zone of two names, signed, and its keys.
fn small(denial: Denial) -> (Zone, Version, Vec<Key>) {
    let keys = keys(&[Role::Csk]);
    let mut world = World::new();
    world.change(&Step::Records(vec![(1, 0, 1, 1), (11, 0, 1, 1)]));
    let unsigned = world.zone();
    let signed = sign(&unsigned, &keys, &policy(denial), NOW).unwrap().0;
    (unsigned, Version::of(signed), keys)
}

fn added<'r>(records: impl IntoIterator<Item = RecordRef<'r>>) -> Difference {
    let serials = [Serial(1), Serial(2)];
    Difference::of_records(&apex(), serials, std::iter::empty(), records.into_iter())
}

fn record<'r>(owner: &'r [u8], rtype: Rtype, rdata: &'r [u8]) -> RecordRef<'r> {
    RecordRef { owner, rtype, ttl: 60, rdata }
}

/// Records that are the signer's to make change nothing, as in a zone that is signed as a whole.
#[test]
fn records_that_the_signer_makes_are_left_out() {
    for denial in DENIALS {
        let (_, signed, keys) = small(denial);
        let name = owner_name(1);
        let is_left_out = |owner, rtype, rdata: &[u8]| {
            let difference = added([record(owner, rtype, rdata)]);
            let made =
                sign_difference(&signed, &difference, Rules::Strict, &keys, &policy(denial), NOW);
            assert!(made.unwrap().is_none(), "{rtype}");
            let difference = difference.reversed();
            let made =
                sign_difference(&signed, &difference, Rules::Strict, &keys, &policy(denial), NOW);
            assert!(made.unwrap().is_none(), "{rtype}");
        };
        is_left_out(&name, Rtype::RRSIG, &[0; 40]);
        is_left_out(&name, Rtype::NSEC, b"\0\0\x01\x40");
        is_left_out(&name, Rtype::NSEC3, &[1; 30]);
        is_left_out(APEX, Rtype::NSEC3PARAM, &[1, 0, 0, 5, 0]);
        is_left_out(APEX, Rtype::ZONEMD, &[0; 54]);
        // Nor does what is there already, where that is allowed.
        let there = added([RecordRef { ttl: 1, ..record(&name, Rtype::A, &[192, 0, 2, 1]) }]);
        let sign = |rules| sign_difference(&signed, &there, rules, &keys, &policy(denial), NOW);
        assert!(sign(Rules::Lenient).unwrap().is_none());
        assert!(matches!(sign(Rules::Strict), Err(DifferenceError::Apply(_))));
    }
}

#[test]
fn what_concerns_the_whole_zone_is_refused() {
    let (_, signed, keys) = small(Denial::Nsec);
    let nothing = added([]);
    let reason =
        |difference: &Difference, keys: &[Key], policy: &SigningPolicy| match sign_difference(
            &signed,
            difference,
            Rules::Strict,
            keys,
            policy,
            NOW,
        ) {
            Err(DifferenceError::Whole(reason)) => reason,
            other => panic!("{other:?}"),
        };
    let usual = policy(Denial::Nsec);
    let digest = SigningPolicy { zonemd: true, ..usual.clone() };
    assert_eq!(reason(&nothing, &keys, &digest), WholeReason::Digest);
    let hinfo = SigningPolicy { any: AnyResponse::Hinfo, ..usual.clone() };
    assert_eq!(reason(&nothing, &keys, &hinfo), WholeReason::Manner);
    for denial in &DENIALS[1..] {
        assert_eq!(reason(&nothing, &keys, &policy(*denial)), WholeReason::Manner);
    }
    let others = self::keys(&[Role::Csk]);
    assert_eq!(reason(&nothing, &others, &usual), WholeReason::Keys);
    let key = added([record(APEX, Rtype::DNSKEY, others[0].dnskey())]);
    assert_eq!(reason(&key, &keys, &usual), WholeReason::Keys);

    let (_, opted_out, keys) = small(DENIALS[2]);
    let made =
        sign_difference(&opted_out, &nothing, Rules::Strict, &keys, &policy(DENIALS[1]), NOW);
    assert!(matches!(made, Err(DifferenceError::Whole(WholeReason::Manner))), "{made:?}");
    let made = sign_difference(&opted_out, &nothing, Rules::Strict, &[], &policy(DENIALS[2]), NOW);
    assert!(matches!(made, Err(DifferenceError::Sign(SignError::NoKey(_)))), "{made:?}");
}

/// Of a name that is the hash of another, as of a whole zone with one.
#[test]
fn a_name_in_the_place_of_a_hash_is_refused() {
    let (_, signed, keys) = small(DENIALS[1]);
    let (there, comes) = (owner_name(1), owner_name(7));
    let hashed = |name: &[u8]| denial::hash_owner(&denial::nsec3_hash(name, 0, b""), &apex());
    // A name at the hash of one that is there, and one whose hash is a name that comes with it.
    for names in [vec![hashed(&there)], vec![hashed(&comes), Name::from_wire(&comes).unwrap()]] {
        let records = names.iter().map(|name| record(name.as_wire(), Rtype::TXT, b"\x01a"));
        let made = sign_difference(
            &signed,
            &added(records),
            Rules::Strict,
            &keys,
            &policy(DENIALS[1]),
            NOW,
        );
        assert!(
            matches!(&made, Err(DifferenceError::Sign(SignError::HashCollision(name)))
                if *name == names[0]),
            "{made:?}"
        );
    }
}

//----------- Signatures that fall due -----------------------------------------------------------------

/// All that `renew` does from the first name to the last.
fn renewed(
    version: &Version,
    limits: RenewalLimits,
    least: u32,
    (keys, policy, now): (&[Key], &SigningPolicy, u32),
) -> (Version, Vec<Statistics>) {
    let (mut version, mut from, mut all) = (version.clone(), Some(apex()), Vec::new());
    while let Some(name) = from {
        let made = renew(&version, &name, limits, least, keys, policy, now).unwrap();
        if let Some(difference) = made.difference {
            let next = applied(&version, &difference);
            assert_eq!(Difference::between_versions(&version, &next), difference.zone);
            all.push(difference.statistics);
            version = next;
        }
        from = made.next;
    }
    (version, all)
}

/// The remaining seconds of every signature of a zone but that of the SOA record.
fn remaining(zone: &Zone, now: u32) -> Vec<i32> {
    let zones = std::iter::once(zone).chain(zone.any_answers());
    let rrsigs = zones.flat_map(Zone::owners).filter_map(|owner| owner.rrset(Rtype::RRSIG));
    let fields = rrsigs.flat_map(|rrset| rrset.rdatas()).map(|rdata| Rrsig::parse(rdata).unwrap());
    let others = fields.filter(|rrsig| rrsig.fields.covered != Rtype::SOA);
    others.map(|rrsig| rrsig.fields.expiration.wrapping_sub(now) as i32).collect()
}

pub(in crate::dnssec) fn many_names(count: usize) -> Zone {
    let mut builder = ZoneBuilder::new(apex());
    builder.push(APEX, Rtype::SOA, 60, &soa_rdata(1, 60)).unwrap();
    for number in 0..count {
        let name = [&[5][..], format!("h{number:04}").as_bytes(), APEX].concat();
        builder.push(&name, Rtype::A, 60, &[192, 0, 2, 1]).unwrap();
    }
    builder.finish().unwrap()
}

/// Only what is due is renewed, no more names at once than are allowed, and all that is.
#[test]
fn what_is_due_is_renewed_a_few_names_at_a_time() {
    for (denial, any) in
        DENIALS.into_iter().flat_map(|one| [(one, AnyResponse::Rrset), (one, AnyResponse::Hinfo)])
    {
        let keys = keys(&[Role::Ksk, Role::Zsk]);
        let policy = SigningPolicy { any, ..policy(denial) };
        let zone = sign(&many_names(60), &keys, &policy, NOW).unwrap().0;
        let version = Version::of(zone.clone());
        // Half of what the jitter spreads.
        let (now, least) = (NOW + 5 * DAY + DAY / 2, 7 * DAY);
        let due = remaining(&zone, now).into_iter().filter(|left| *left < least as i32).count();
        assert!(due > 20 && due < 100 * 2, "{due}");
        let limits = RenewalLimits { names: 5, looked_at: 9 };
        let (version, all) = renewed(&version, limits, least, (&keys, &policy, now));
        // With each difference the SOA record is signed.
        let made: usize = all.iter().map(|one| one.signatures).sum();
        assert_eq!(made, due + all.len());
        assert!(all.len() > due / (5 * 3) / 2);
        for statistics in &all {
            // Of a name at most what is beside it, its address and its NSEC record; and of the apex its DNSKEY record.
            assert!(statistics.names <= 9 && statistics.signatures <= 5 * 3 + 2, "{statistics:?}");
        }
        let after = version.flat().unwrap();
        assert!(remaining(&after, now).into_iter().all(|left| left >= least as i32));
        assert_eq!(said(&after), said(&zone));
        assert!(verify(&after, now).is_ok());
        let (_, again) = renewed(&version, limits, least, (&keys, &policy, now));
        assert_eq!(again, []);
    }
}

/// Half a year, hour by hour: signatures never come near their end, and no hour has much more than its share.
#[test]
fn no_wave_of_signatures_comes_back() {
    let (keys, policy) = (keys(&[Role::Csk]), policy(Denial::Nsec));
    let mut version = Version::of(sign(&many_names(300), &keys, &policy, NOW).unwrap().0);
    let (least, limits) = (7 * DAY, RenewalLimits::default());
    let (mut most, mut total) = (0, 0);
    for hour in 0..26 * 7 * 24 {
        let now = NOW + hour * 3600;
        let (next, all) = renewed(&version, limits, least, (&keys, &policy, now));
        version = next;
        let made: usize = all.iter().map(|one| one.signatures).sum();
        most = most.max(made);
        total += made;
        if hour % (24 * 7) == 0 {
            let zone = version.flat().unwrap();
            assert!(remaining(&zone, now).into_iter().all(|left| left >= least as i32));
            assert!(verify(&zone, now).is_ok());
        }
    }
    // 600 signatures, each made again after four to seven days: some 25 times 600.
    assert!(total > 20 * 600 && total < 50 * 600, "{total}");
    // The jitter spreads them over three days.
    assert!(most <= 600 / 20, "{most} in one hour");
}
