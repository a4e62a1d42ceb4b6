//! Differences checked by themselves, and what the check of the whole zone says of the version that they lead to.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::dnssec::denial;
use crate::dnssec::incremental::tests::{
    APEX, DAY, DENIALS, NOW, OWNERS, Step, TYPES, World, apex, applied, keys, many_names,
    owner_name, policy, rdata, step,
};
use crate::dnssec::incremental::{SignedDifference, sign_difference};
use crate::dnssec::keys::{Key, Role};
use crate::dnssec::policy::{AnyResponse, SigningPolicy};
use crate::dnssec::rrset_signer::RrsetSigner;
use crate::dnssec::sign::sign;
use crate::zone::difference::{Difference, RecordRef, Rules};
use crate::zone::{Name, Rtype, Version, Zone, ZoneBuilder};

/// Where a record stands, what it is, its TTL in seconds, its RDATA.
type Record = (Vec<u8>, Rtype, u32, Vec<u8>);

fn records(version: &Version) -> Vec<Record> {
    let mut records = Vec::new();
    for owner in version.owners() {
        for rrset in owner.rrsets() {
            for rdata in rrset.rdatas() {
                let ttl = owner.record_ttl(&rrset, rdata);
                records.push((owner.name().to_vec(), rrset.rtype(), ttl, rdata.to_vec()));
            }
        }
    }
    records
}

/// The version with some records less and some more; `None` if it is no zone.
fn edited(version: &Version, removed: &[Record], added: &[Record]) -> Option<Version> {
    let [removed, added] = [removed, added].map(|records| {
        records.iter().map(|(owner, rtype, ttl, rdata)| RecordRef {
            owner,
            rtype: *rtype,
            ttl: *ttl,
            rdata,
        })
    });
    let serials = [version.serial(); 2];
    let difference = Difference::of_records(&apex(), serials, removed, added);
    let edited = version.apply(&difference, Rules::Lenient).ok()?;
    // Some records are none that a zone is made of.
    let mut builder = ZoneBuilder::new(apex());
    builder.copy(&edited.flat().unwrap(), |_, _| true).ok().map(|_| edited)
}

/// The version with new signatures of one RRset: as many as it needs, none if it is not there.
fn signed_again(
    version: &Version,
    owner: &[u8],
    rtype: Rtype,
    signer: &RrsetSigner<'_>,
) -> Version {
    let Some(found) = version.find(owner) else { return version.clone() };
    let old: Vec<Record> = found
        .signatures(rtype)
        .map(|rdata| (owner.to_vec(), Rtype::RRSIG, 1, rdata.to_vec()))
        .collect();
    let mut new = Vec::new();
    if let Some(rrset) = found.rrset(rtype) {
        for (_, key) in signer.keys_for(rtype) {
            let what = (rtype, rrset.ttl());
            let made = signer.signature(key, owner, what, rrset.rdatas(), &mut Vec::new());
            new.push((owner.to_vec(), Rtype::RRSIG, rrset.ttl(), made.unwrap()));
        }
    }
    edited(version, &old, &new).unwrap()
}

/// Whether the check of a whole zone finds no faults, and what it says.
fn whole(version: &Version, now: u32) -> Option<VerifyReport> {
    let zone = version.flat().unwrap();
    let mut builder = ZoneBuilder::new(apex());
    builder.copy(&zone, |_, _| true).unwrap();
    let has_faults = builder.faults().iter().any(|fault| fault.kind.is_error());
    verify(&zone, now).ok().filter(|_| !has_faults)
}

/// How often the check of a difference came to an end of its own.
#[derive(Default, Debug)]
struct Tally {
    right: usize,
    faults: usize,
    undecided: BTreeMap<String, usize>,
}

impl Tally {
    /// Checks that the two checks say the same of `new`.
    #[track_caller]
    fn check(&mut self, old: Verified<'_>, new: &Version, what: &dyn std::fmt::Debug) {
        let difference = Difference::between_versions(old.version, new);
        let expected = whole(new, NOW);
        match verify_difference(old, new, &difference, NOW) {
            Ok(found) => {
                let expected = expected.unwrap_or_else(|| panic!("must be refused: {what:?}"));
                let expiration = found.report.expiration;
                assert!(expiration <= expected.expiration, "{what:?}");
                let is_expiration_exact = found.report.is_expiration_exact;
                if is_expiration_exact {
                    assert_eq!(expiration, expected.expiration, "{what:?}");
                }
                let expected = VerifyReport { expiration, is_expiration_exact, ..expected };
                assert_eq!(expected, found.report, "{what:?}");
                self.right += 1;
            }
            Err(NotVerified::Faults(faults)) => {
                assert!(!faults.is_empty() && expected.is_none(), "{what:?}: {faults:?}");
                self.faults += 1;
            }
            Err(NotVerified::Whole(reason)) => {
                self.is_justified(reason, old, new, what);
                *self.undecided.entry(format!("{reason:?}")).or_default() += 1;
            }
        }
    }

    /// Only what the reason says may be left to the whole check.
    fn is_justified(
        &self,
        reason: WholeCheckReason,
        old: Verified<'_>,
        new: &Version,
        what: &dyn std::fmt::Debug,
    ) {
        let at_apex = |version: &Version, rtype| -> Vec<Vec<u8>> {
            let rrset = version.find(APEX).and_then(|apex| apex.rrset(rtype));
            rrset.into_iter().flat_map(|rrset| rrset.rdatas()).map(<[u8]>::to_vec).collect()
        };
        let differs = |rtype| at_apex(old.version, rtype) != at_apex(new, rtype);
        let is_justified = match reason {
            WholeCheckReason::Keys => differs(Rtype::DNSKEY),
            WholeCheckReason::Parameters => differs(Rtype::NSEC3PARAM),
            WholeCheckReason::Digest => !at_apex(new, Rtype::ZONEMD).is_empty(),
            WholeCheckReason::OptOut => old.report.opt_outs > 0 || has_opt_out(new),
            WholeCheckReason::BesideOthers => {
                new.owners().any(|owner| owner.rrset(Rtype::NSEC3).is_some() && !owner.is_hash())
            }
            _ => false,
        };
        assert!(is_justified, "{reason:?}: {what:?}");
    }
}

/// Whether a record has the flag by which names may lack records.
fn has_opt_out(version: &Version) -> bool {
    let nsec3 = records(version).into_iter().filter(|record| record.1 == Rtype::NSEC3);
    nsec3.into_iter().any(|record| record.3[1] & denial::OPT_OUT != 0)
}

/// Every way in which one record may be wrong: by itself and with right signatures, what else the chain needs mended
/// or not.
fn mutations(right: &Version, signer: &RrsetSigner<'_>) -> Vec<(String, Version)> {
    let mut made = Vec::new();
    let mut add = |what: String,
                   owner: &[u8],
                   rtype: Rtype,
                   removed: &[Record],
                   added: &[Record]| {
        let Some(version) = edited(right, removed, added) else { return };
        if rtype != Rtype::RRSIG {
            made.push((format!("{what}, signed"), signed_again(&version, owner, rtype, signer)));
        }
        made.push((what, version));
    };
    let all = records(right);
    for record in &all {
        let (owner, rtype, ttl, rdata) = record;
        let shown = format!("{} {rtype}", Name::from_wire(owner).unwrap());
        add(format!("{shown} removed"), owner, *rtype, std::slice::from_ref(record), &[]);
        for (what, rdata) in wrong_rdatas(*rtype, rdata, &all) {
            let wrong = (owner.clone(), *rtype, *ttl, rdata);
            add(format!("{shown} {what}"), owner, *rtype, std::slice::from_ref(record), &[wrong]);
        }
        let longer = (owner.clone(), *rtype, ttl + 1, rdata.clone());
        add(format!("{shown} TTL"), owner, *rtype, std::slice::from_ref(record), &[longer]);
    }
    let hashes =
        all.iter().filter(|record| record.1 == Rtype::NSEC3).map(|record| record.0.clone());
    let absent =
        denial::hash_owner(&denial::nsec3_hash(b"\x06absent\x07example\0", 0, b""), &apex());
    let owners = (0..OWNERS.len()).map(owner_name).chain(hashes).chain([absent.as_wire().to_vec()]);
    for owner in owners {
        for (rtype, rdata) in more_records(&all) {
            let shown = format!("{} {rtype} added", Name::from_wire(&owner).unwrap());
            let record = (owner.clone(), rtype, 1, rdata);
            add(shown, &owner, rtype, &[], std::slice::from_ref(&record));
        }
    }
    made.extend(mended_chains(right, signer));
    made
}

/// RDATA as it should not be.
fn wrong_rdatas(rtype: Rtype, rdata: &[u8], all: &[Record]) -> Vec<(String, Vec<u8>)> {
    let flipped = |at: usize, bits: u8| {
        let mut rdata = rdata.to_vec();
        rdata[at] ^= bits;
        rdata
    };
    let last = rdata.len() - 1;
    match rtype {
        Rtype::NSEC => {
            let next = crate::zone::name::wire_name_len(rdata).unwrap();
            let others = [APEX.to_vec(), owner_name(7), b"\x01q\x07example\0".to_vec()];
            let others = others.into_iter().map(|name| [&name, &rdata[next..]].concat());
            let named = others.map(|rdata| ("next name".to_string(), rdata));
            let types = [("types".to_string(), flipped(last, 4)), ("cut".into(), vec![1])];
            named.chain(types).collect()
        }
        // Algorithm, flags, iterations without salt, then the length and the octets of the next hash.
        Rtype::NSEC3 => {
            let mut wrong = vec![
                ("algorithm".to_string(), flipped(0, 2)),
                ("opt-out flag".into(), flipped(1, denial::OPT_OUT)),
                ("iterations".into(), flipped(3, 1)),
                ("next hash".into(), flipped(6, 1)),
                ("cut".into(), rdata[..9].to_vec()),
            ];
            let types = if last > 25 { flipped(last, 4) } else { [rdata, b"\0\x01\x40"].concat() };
            wrong.push(("types".into(), types));
            wrong
        }
        Rtype::RRSIG => {
            let others = all.iter().filter(|other| other.1 == Rtype::RRSIG && other.3 != rdata);
            // What it covers is still what it says: a signature of other records.
            let borrowed = others.take(3).map(|other| [&rdata[..2], &other.3[2..]].concat());
            let mut wrong: Vec<_> =
                borrowed.map(|rdata| ("of another".to_string(), rdata)).collect();
            wrong.push(("signature".into(), flipped(last, 1)));
            wrong.push(("labels".into(), flipped(3, 1)));
            // In the past, and in the future.
            wrong.push(("expiration".into(), flipped(8, 0x40)));
            wrong.push(("cut".into(), rdata[..10].to_vec()));
            wrong
        }
        Rtype::SOA => vec![("serial".into(), flipped(last - 16, 1))],
        _ => vec![("value".into(), flipped(last, 0).into_iter().rev().collect())]
            .into_iter()
            .filter(|_| matches!(rtype, Rtype::A | Rtype::DNSKEY))
            .collect(),
    }
}

/// Records that may come where they should not.
fn more_records(all: &[Record]) -> Vec<(Rtype, Vec<u8>)> {
    let mut more: Vec<(Rtype, Vec<u8>)> =
        TYPES.iter().map(|rtype| (*rtype, rdata(*rtype, 3))).collect();
    more.push((Rtype::CNAME, b"\x02to\0".to_vec()));
    for rtype in [Rtype::NSEC, Rtype::NSEC3, Rtype::RRSIG, Rtype::SOA] {
        let first = all.iter().find(|record| record.1 == rtype);
        more.extend(first.map(|record| (rtype, record.3.clone())));
    }
    more.push((Rtype::ZONEMD, vec![0; 54]));
    more.push((Rtype::NSEC3PARAM, vec![1, 0, 0, 7, 0]));
    more
}

/// Chains without one record, and with one for a name that is not there: what is before leads to what is behind, so that
/// each record by itself is right.
fn mended_chains(right: &Version, signer: &RrsetSigner<'_>) -> Vec<(String, Version)> {
    let of_type = |rtype| records(right).into_iter().filter(move |record| record.1 == rtype);
    let mut made = Vec::new();
    let chain: Vec<Record> = of_type(Rtype::NSEC3).collect();
    let with_next = |(owner, rtype, ttl, rdata): &Record, next: &[u8], flags: u8| {
        let mut rdata = rdata.clone();
        rdata[1] ^= flags;
        rdata[6..26].copy_from_slice(next);
        (owner.clone(), *rtype, *ttl, rdata)
    };
    let put = |what: &str, removed: &[Record], added: &[Record]| {
        let mut version = edited(right, removed, added).unwrap();
        for (owner, rtype, ..) in removed.iter().chain(added) {
            version = signed_again(&version, owner, *rtype, signer);
        }
        (what.to_string(), version)
    };
    for at in 0..chain.len() {
        let (gone, before) = (&chain[at], &chain[(at + chain.len() - 1) % chain.len()]);
        for flags in [0, denial::OPT_OUT] {
            let mended = with_next(before, &gone.3[6..26], flags);
            let what = format!("NSEC3 {at} of {} left out, {flags}", chain.len());
            made.push(put(&what, &[gone.clone(), before.clone()], &[mended]));
            let name = [&b"\x01"[..], &[b'k' + at as u8], APEX].concat();
            let hash = denial::nsec3_hash(&name, 0, b"");
            let covering = chain.iter().rfind(|record| record.0[1..33] < hashed(&hash)[..]);
            let covering = covering.unwrap_or(&chain[chain.len() - 1]);
            let linked = with_next(covering, &hash, 0);
            let more = denial::nsec3_rdata(flags != 0, &covering.3[6..26].try_into().unwrap(), b"");
            let owner = denial::hash_owner(&hash, &apex()).as_wire().to_vec();
            let more = (owner, Rtype::NSEC3, covering.2, more);
            let what = format!("NSEC3 {at} of nothing, {flags}");
            made.push(put(&what, std::slice::from_ref(covering), &[linked, more]));
        }
    }
    let chain: Vec<Record> = of_type(Rtype::NSEC).collect();
    for at in 1..chain.len() {
        let (gone, before) = (&chain[at], &chain[at - 1]);
        let len = |rdata: &[u8]| crate::zone::name::wire_name_len(rdata).unwrap();
        let (next, types) = (&gone.3[..len(&gone.3)], &before.3[len(&before.3)..]);
        let mended = (before.0.clone(), Rtype::NSEC, before.2, [next, types].concat());
        let what = format!("NSEC {at} of {} left out", chain.len());
        made.push(put(&what, &[gone.clone(), before.clone()], &[mended]));
    }
    made
}

fn hashed(hash: &denial::Hash) -> [u8; 32] {
    denial::hash_owner(hash, &apex()).as_wire()[1..33].try_into().unwrap()
}

/// An unsigned world, its signed version, and what is known of that.
struct Signed {
    world: World,
    unsigned: Zone,
    version: Version,
    report: VerifyReport,
}

impl Signed {
    fn new(keys: &[Key], policy: &SigningPolicy) -> Signed {
        let mut world = World::new();
        with_apex_ns(&mut world);
        let unsigned = world.zone();
        let version = Version::of(sign(&unsigned, keys, policy, NOW).unwrap().0);
        let report = whole(&version, NOW).unwrap();
        Signed { world, unsigned, version, report }
    }

    fn verified(&self) -> Verified<'_> {
        Verified { version: &self.version, report: &self.report }
    }

    /// The signed version after a step; `None` if the step makes no other zone, or one that must not be.
    fn next(&self, step: &Step, keys: &[Key], policy: &SigningPolicy) -> Option<Signed> {
        let mut world = self.world.clone();
        world.change(step);
        world.serial += 1;
        with_apex_ns(&mut world);
        let unsigned = world.zone();
        let difference = Difference::between(&self.unsigned, &unsigned);
        let made = sign_difference(&self.version, &difference, Rules::Strict, keys, policy, NOW);
        let made: SignedDifference = made.unwrap()?;
        let version = applied(&self.version, &made);
        let report = whole(&version, NOW)?;
        Some(Signed { world, unsigned, version, report })
    }
}

fn with_apex_ns(world: &mut World) {
    world.rrsets.entry((0, 2)).or_insert_with(|| (1, [0].into()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Of right differences one after the other, the check of each says what the check of the whole zone says.
    #[test]
    fn right_differences_are_found_right(
        steps in prop::collection::vec(step(), 1..12),
        denial in prop::sample::select(&DENIALS[..]),
        any in prop::sample::select(&[AnyResponse::Rrset, AnyResponse::Hinfo][..]),
    ) {
        let keys = keys(&[Role::Ksk, Role::Zsk]);
        let policy = SigningPolicy { any, ..policy(denial) };
        let (mut signed, mut tally) = (Signed::new(&keys, &policy), Tally::default());
        let mut known = signed.report;
        for step in &steps {
            let Some(next) = signed.next(step, &keys, &policy) else { continue };
            let old = Verified { version: &signed.version, report: &known };
            tally.check(old, &next.version, &step);
            let difference = Difference::between_versions(&signed.version, &next.version);
            let found = verify_difference(old, &next.version, &difference, NOW);
            known = found.unwrap().report;
            signed = next;
        }
        prop_assert!(tally.undecided.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Of a right difference of a small zone, every single record made wrong in every way: what the check of the whole
    /// zone refuses is refused, and what it accepts is accepted.
    #[test]
    fn what_the_whole_check_refuses_is_refused(
        before in prop::collection::vec(step(), 0..4),
        last in step(),
        denial in prop::sample::select(&DENIALS[..]),
    ) {
        let (keys, policy) = (keys(&[Role::Csk]), policy(denial));
        let mut signed = Signed::new(&keys, &policy);
        for step in &before {
            signed = signed.next(step, &keys, &policy).unwrap_or(signed);
        }
        let right = signed.next(&last, &keys, &policy);
        let right = right.map_or_else(|| signed.version.clone(), |right| right.version);
        let signer = RrsetSigner { apex: APEX, keys: &keys, policy: &policy, now: NOW };
        let mut tally = Tally::default();
        for (what, mutated) in mutations(&right, &signer) {
            tally.check(signed.verified(), &mutated, &(&before, &last, what));
        }
        let undecided: usize = tally.undecided.values().sum();
        prop_assert!(tally.faults > 100 && undecided < tally.faults, "{tally:?}");
    }
}

/// A signature below a cut is nobody's to check: it is not taken for good when the cut goes.
#[test]
fn signatures_below_a_cut_were_not_checked() {
    for denial in DENIALS {
        let (keys, policy) = (keys(&[Role::Csk]), policy(denial));
        let cut = Step::Records(vec![(1, 2, 1, 1), (2, 0, 1, 1)]);
        let start = Signed::new(&keys, &policy).next(&cut, &keys, &policy).unwrap();
        let right = start.next(&Step::Records(vec![(1, 2, 1, 1)]), &keys, &policy).unwrap();
        let below = owner_name(2);
        let is_it = |record: &Record| {
            record.0 == below && record.1 == Rtype::RRSIG && record.3[..2] == [0, 1]
        };
        let signature = records(&right.version).into_iter().find(is_it).unwrap();
        let mut wrong = signature.clone();
        *wrong.3.last_mut().unwrap() ^= 1;
        let old = edited(&start.version, &[], std::slice::from_ref(&wrong)).unwrap();
        let report = whole(&old, NOW).unwrap();
        let new = edited(&right.version, &[signature], &[wrong]).unwrap();
        assert!(verify_again(&new.flat().unwrap(), Some(&old), NOW).is_err());
        let mut tally = Tally::default();
        tally.check(Verified { version: &old, report: &report }, &new, &"below a cut");
        assert_eq!(tally.faults, 1);
    }
}

/// What does not change is known to hold from when it was verified until the first signature ends.
#[test]
fn other_times_are_for_the_whole_check() {
    let (keys, policy) = (keys(&[Role::Csk]), policy(DENIALS[0]));
    let old = Signed::new(&keys, &policy);
    let new = old.next(&Step::Records(vec![(1, 0, 1, 1)]), &keys, &policy).unwrap();
    let difference = Difference::between_versions(&old.version, &new.version);
    let at = |now| verify_difference(old.verified(), &new.version, &difference, now);
    let whole = Err(NotVerified::Whole(WholeCheckReason::Time));
    let expiration = old.report.expiration;
    assert_eq!(at(NOW - 1), whole);
    assert_eq!(at(expiration + 1), whole);
    assert_eq!(at(NOW).unwrap().report.verified_at, NOW);
    assert!(expiration > NOW + DAY && at(expiration).is_ok());
}

/// What is looked at is the same in a small and in a large zone.
#[test]
fn the_work_does_not_grow_with_the_zone() {
    let keys = keys(&[Role::Csk]);
    for denial in DENIALS {
        let policy = policy(denial);
        let mut looked_at: Vec<Vec<LookedAt>> = Vec::new();
        for count in [20, 2_000] {
            let mut builder = ZoneBuilder::new(apex());
            builder.copy(&many_names(count), |_, _| true).unwrap();
            builder.push(APEX, Rtype::NS, 60, b"\x02ns\0").unwrap();
            let unsigned = builder.finish().unwrap();
            let mut version = Version::of(sign(&unsigned, &keys, &policy, NOW).unwrap().0);
            let mut report = whole(&version, NOW).unwrap();
            let name = b"\x01z\x01y\x05h0007\x07example\0".to_vec();
            let there = [&b"\x05h0007"[..], APEX].concat();
            let mut of_zone = Vec::new();
            let steps: [(&[u8], Rtype, &[u8], bool); 4] = [
                (&there, Rtype::TXT, b"\x01a", true),
                (&name, Rtype::A, &[192, 0, 2, 1], true),
                (&there, Rtype::NS, b"\x02ns\0", true),
                (&name, Rtype::A, &[192, 0, 2, 1], false),
            ];
            for (owner, rtype, rdata, comes) in steps {
                let record = RecordRef { owner, rtype, ttl: 60, rdata };
                let (removed, added) =
                    if comes { (None, Some(record)) } else { (Some(record), None) };
                let serials = [version.serial(); 2];
                let (removed, added) = (removed.into_iter(), added.into_iter());
                let difference = Difference::of_records(&apex(), serials, removed, added);
                let made =
                    sign_difference(&version, &difference, Rules::Strict, &keys, &policy, NOW);
                let made = made.unwrap().unwrap();
                let next = applied(&version, &made);
                let old = Verified { version: &version, report: &report };
                let found = verify_difference(old, &next, &made.zone, NOW).unwrap();
                of_zone.push(found.looked_at);
                (report, version) = (found.report, next);
            }
            looked_at.push(of_zone);
        }
        for LookedAt { owners, names, denials } in looked_at.concat() {
            // Two levels of empty non-terminals, each with a neighbour before and its own hash.
            assert!(owners <= 12 && names <= 16 && denials <= 20, "{owners} {names} {denials}");
        }
    }
}
