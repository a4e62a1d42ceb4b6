//! What is known of a version that was verified, and verifying the next one: by what changed, or as a whole.

use std::fmt::Display;
use std::sync::Arc;

use crate::dnssec::times::{SignatureTimes, is_before};
use crate::dnssec::verify::{
    Fault, NotVerified, Reason, Verified, VerifyReport, verify_again, verify_difference,
};
use crate::zone::difference::Difference;
use crate::zone::{Version, Zone};

/// What is known of a version whose signatures were verified.
#[derive(Clone, Debug)]
pub struct Verification {
    /// What was found of the whole version, or of each difference since.
    pub report: VerifyReport,
    /// When all of a version was looked at last, this one's or one before it: seconds since 1970, truncated to 32 bits.
    pub whole_at: u32,
    /// When its signatures are valid.
    pub times: SignatureTimes,
    line: Line,
}

/// Versions of which each was made of the one before by a difference that was verified, from one on that was verified as a
/// whole.
#[derive(Clone, Debug, Default)]
pub struct Line(Arc<()>);

impl Line {
    /// Whether the two are the same.
    pub fn is_same(&self, other: &Line) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// How one version became another.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    /// The version before.
    pub old: &'a Version,
    /// What is known of it.
    pub verification: &'a Verification,
    /// The version to be verified.
    pub new: &'a Version,
    /// What changes the one into the other.
    pub change: &'a Difference,
}

impl Verification {
    /// What was known of a version when the daemon ran last.
    pub fn known(report: VerifyReport, whole_at: u32, times: SignatureTimes) -> Verification {
        Verification { report, whole_at, times, line: Line::default() }
    }

    /// Verifies all of a zone at the time `now`, in seconds since 1970 truncated to 32 bits; as [`verify_again`] does.
    ///
    /// # Errors
    /// If it has faults.
    pub fn of_whole(
        zone: &Zone,
        before: Option<&Version>,
        now: u32,
    ) -> Result<Verification, Vec<Fault>> {
        let report = verify_again(zone, before, now)?;
        let (times, line) = (SignatureTimes::of(zone), Line::default());
        Ok(Verification { report, whole_at: now, times, line })
    }

    /// Verifies what a step can make wrong, at the cost of what it changes. `None` if only the whole check can tell.
    ///
    /// # Errors
    /// If there are faults.
    pub fn of_change(step: Step<'_>, now: u32) -> Result<Option<Verification>, Vec<Fault>> {
        let Step { old, verification, new, change } = step;
        let (zone, Verification { report, whole_at, times, line }) = (new.apex(), verification);
        let is_left = |reason: &dyn Display| {
            tracing::debug!(%zone, "verified as a whole: {reason}");
            Ok(None)
        };
        let old = Verified { version: old, report };
        let mut report = match verify_difference(old, new, change, now) {
            Ok(found) => found.report,
            Err(NotVerified::Whole(reason)) => return is_left(&reason),
            // Records that must not stand beside each other are no matter of signatures: the whole check does not look for
            // them, who reads a zone does. Whether a zone is served must not depend on how it was verified.
            Err(NotVerified::Faults(faults)) if faults.iter().all(is_of_structure) => {
                return is_left(&"records stand where they must not beside others");
            }
            Err(NotVerified::Faults(faults)) => return Err(faults),
        };
        let beside = match (old.version.any_answers(), new.any_answers()) {
            (Some(old), Some(new)) => Some(Difference::between_versions(old, new)),
            _ => None,
        };
        let Some(times) = times.after(std::iter::once(change).chain(&beside)) else {
            return is_left(&"the times of its signatures are not known");
        };
        // Of all signatures it is known when the first one ends, of RRsets only that the first one is held at least as long.
        let first = times.validity(now).map(|validity| validity.expiration);
        if let Some(first) = first.filter(|first| is_before(report.expiration, *first)) {
            report.expiration = first;
        }
        Ok(Some(Verification { report, whole_at: *whole_at, times, line: line.clone() }))
    }

    /// That of a version of which nothing is known but when it was verified and until when it is held.
    #[cfg(test)]
    pub fn until(expiration: u32, now: u32) -> Verification {
        let report = VerifyReport {
            rrsets: 0,
            keys: 0,
            denial: crate::dnssec::policy::Denial::Nsec,
            denials: 0,
            expiration,
            is_expiration_exact: true,
            verified_at: now,
            opt_outs: 0,
            beside_others: 0,
        };
        let (times, line) = Default::default();
        Verification { report, whole_at: now, times, line }
    }

    /// Which versions it is one of.
    pub fn line(&self) -> Line {
        self.line.clone()
    }

    /// Whether a signature begins to be valid after `now`: only then an RRset may begin to be held that is not right before.
    pub fn has_later_begin(&self, now: u32) -> bool {
        self.times.latest_inception().is_some_and(|inception| is_before(now, inception))
    }
}

fn is_of_structure(fault: &Fault) -> bool {
    matches!(fault.reason, Reason::Zone(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::incremental::sign_difference;
    use crate::dnssec::keys::{Algorithm, NewKey, Role};
    use crate::dnssec::policy::SigningPolicy;
    use crate::dnssec::sign::sign;
    use crate::server::testing;
    use crate::zone::difference::{RecordRef, Rules};
    use crate::zone::{Owner, Rrset, Rtype, ZoneBuilder};

    const NOW: u32 = 1_800_000_000;

    /// Zones with records that must not stand where they do are found right by what changed if they are as a whole: who
    /// reads a zone refuses them, and signatures are another matter.
    #[test]
    fn records_that_must_not_stand_beside_others_are_for_the_whole_check() {
        let apex = testing::name("example");
        let key = NewKey::generate(&apex, Role::Csk, Algorithm::default(), &[], NOW).unwrap().key;
        let (keys, policy) = (std::slice::from_ref(&key), SigningPolicy::default());
        let below = b"\x01a\x04deep\x07example\0";
        for (what, changed) in [("no NS", apex.as_wire()), ("below DNAME", below)] {
            let mut builder = ZoneBuilder::new(apex.clone());
            let is_kept =
                |_: &Owner<'_>, rrset: &Rrset<'_>| what != "no NS" || rrset.rtype() != Rtype::NS;
            builder.copy(&testing::zone(7, 3), is_kept).unwrap();
            if what == "below DNAME" {
                builder.push(b"\x04deep\x07example\0", Rtype::DNAME, 60, b"\x02to\0").unwrap();
            }
            let old = Version::of(sign(&builder.finish().unwrap(), keys, &policy, NOW).unwrap().0);
            let known = Verification::of_whole(&old.flat().unwrap(), None, NOW).unwrap();
            let record = RecordRef { owner: changed, rtype: Rtype::TXT, ttl: 300, rdata: b"\x01b" };
            let serials = [old.serial(); 2];
            let added =
                Difference::of_records(&apex, serials, std::iter::empty(), std::iter::once(record));
            let signed = sign_difference(&old, &added, Rules::Lenient, keys, &policy, NOW);
            let change = signed.unwrap().unwrap().zone;
            let new = old.apply(&change, Rules::Strict).unwrap();
            let step = Step { old: &old, verification: &known, new: &new, change: &change };
            assert!(matches!(Verification::of_change(step, NOW), Ok(None)), "{what}");
            assert!(Verification::of_whole(&new.flat().unwrap(), Some(&old), NOW).is_ok());
        }
    }

    /// Times that were counted of another version are counted again.
    #[test]
    fn times_of_another_version_are_not_taken() {
        let apex = testing::name("example");
        let key = NewKey::generate(&apex, Role::Csk, Algorithm::default(), &[], NOW).unwrap().key;
        let (keys, policy) = (std::slice::from_ref(&key), SigningPolicy::default());
        let [zone, other] =
            [NOW, NOW + 1].map(|now| sign(&testing::zone(7, 3), keys, &policy, now).unwrap().0);
        let change = Difference::between(&zone, &other);
        let times = SignatureTimes::of(&zone);
        let next = times.after([&change].into_iter()).unwrap();
        assert_eq!(next, SignatureTimes::of(&other));
        assert_eq!(next.after([&change].into_iter()), None);
        let back = next.after([&change.reversed()].into_iter()).unwrap();
        assert_eq!(back.validity(NOW).unwrap().expiration, times.validity(NOW).unwrap().expiration);
    }
}
