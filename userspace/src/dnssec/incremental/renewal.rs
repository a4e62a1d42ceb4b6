//! Signatures that fall due, made again a few names at a time (RFC 6781 section 4.4.2).

use super::changed::covered;
use super::edit::Edit;
use super::prepared::{check_manner, next_serial};
use super::signed::{DifferenceError, SignedDifference, Statistics};
use crate::dnssec::keys::Key;
use crate::dnssec::policy::SigningPolicy;
use crate::dnssec::rrset_signer::RrsetSigner;
use crate::dnssec::rrsig::{Rrsig, is_within};
use crate::dnssec::sign::check;
use crate::zone::{Name, Owner, Rtype, Serial, Version, soa};

/// How much is done at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RenewalLimits {
    /// Names that get new signatures.
    pub names: usize,
    /// Names that are looked at.
    pub looked_at: usize,
}

impl Default for RenewalLimits {
    fn default() -> RenewalLimits {
        // About 10 ms of signatures, and as much of looking: no other change of the zone waits longer for its turn.
        RenewalLimits { names: 256, looked_at: 64 * 256 }
    }
}

/// What was renewed.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// `None` if no signature that was looked at is due.
    pub difference: Option<SignedDifference>,
    /// The name with which to go on; `None` if the last name of the zone was looked at.
    pub next: Option<Name>,
}

/// Makes the signatures again that do not last for `least` seconds from `now` on, of the names from `from` on, which
/// need not be there, until one of the limits is reached. Those that are made together end at different times
/// ([`SigningPolicy::jitter`]), and not together again the next time. The serial is the next one, with a new signature
/// of the SOA record.
///
/// The cost is that of the names looked at.
///
/// # Errors
/// As [`sign_difference`](super::sign_difference) has them.
pub fn renew(
    signed: &Version,
    from: &Name,
    limits: RenewalLimits,
    least: u32,
    keys: &[Key],
    policy: &SigningPolicy,
    now: u32,
) -> Result<Renewal, DifferenceError> {
    check(signed.apex(), keys, policy)?;
    check_manner(signed, keys, policy)?;
    let signer = RrsetSigner { apex: signed.apex().as_wire(), keys, policy, now };
    let due = Due { signer, least };
    let (mut zone, mut any_answers) = (Edit::default(), Edit::default());
    let mut statistics = Statistics::default();
    let (mut renewed, mut next) = (0, None);
    for owner in signed.from(from.as_wire()) {
        if renewed == limits.names || statistics.names == limits.looked_at {
            next = Name::from_wire(owner.name());
            break;
        }
        statistics.names += 1;
        let beside = signed.any_answers().and_then(|beside| beside.find(owner.name()));
        let is_renewed = due.renew(&owner, &mut zone);
        let is_renewed_beside = beside.is_some_and(|owner| due.renew(&owner, &mut any_answers));
        renewed += usize::from(is_renewed || is_renewed_beside);
    }
    if renewed == 0 {
        return Ok(Renewal { difference: None, next });
    }

    let serial = next_serial(signed, signed.serial(), policy, now);
    due.next_soa(signed, serial, &mut zone);
    zone.make_signatures(&signer, &mut statistics)?;
    let any_answers = match signed.any_answers() {
        Some(beside) => {
            set_serial(beside, serial, &mut any_answers);
            any_answers.make_signatures(&signer, &mut statistics)?;
            Some(any_answers.difference(signed.apex(), [beside.serial(), serial]))
        }
        None => None,
    };
    let zone = zone.difference(signed.apex(), [signed.serial(), serial]);
    Ok(Renewal { difference: Some(SignedDifference { zone, any_answers, statistics }), next })
}

/// Which signatures are due.
struct Due<'a> {
    signer: RrsetSigner<'a>,
    /// How many seconds a signature must last.
    least: u32,
}

impl Due<'_> {
    /// Asks for new signatures of the owner's RRsets whose signatures are due, but for the SOA RRset: that is signed
    /// with every change. Whether any is.
    fn renew(&self, owner: &Owner<'_>, edit: &mut Edit) -> bool {
        let (Some(signatures), Some(name)) =
            (owner.rrset(Rtype::RRSIG), Name::from_wire(owner.name()))
        else {
            return false;
        };
        let mut is_any = false;
        for rrset in owner.rrsets().filter(|rrset| self.is_due(owner, rrset.rtype())) {
            let rtype = rrset.rtype();
            is_any = true;
            if rtype == Rtype::SOA {
                continue;
            }
            edit.remove_from(owner, &signatures, |rdata| covered(rdata) == Some(rtype));
            edit.sign(&name, (rtype, rrset.ttl()), rrset.rdatas());
        }
        is_any
    }

    /// Whether the owner's RRset of a type has signatures, and not by each key one that lasts.
    fn is_due(&self, owner: &Owner<'_>, rtype: Rtype) -> bool {
        let lasts = |rrsig: &Rrsig<'_>| {
            let (inception, expiration) = (rrsig.fields.inception, rrsig.fields.expiration);
            let remaining = i64::from(Serial(expiration).since(Serial(self.signer.now)));
            is_within(inception, expiration, self.signer.now) && remaining >= i64::from(self.least)
        };
        let is_by = |rrsig: &Rrsig<'_>, key: &Key| {
            let fields = rrsig.fields;
            (fields.key_tag, fields.algorithm) == (key.tag(), key.algorithm().number())
        };
        let signatures = || owner.signatures(rtype).filter_map(Rrsig::parse);
        let is_held = |key: &Key| signatures().any(|rrsig| is_by(&rrsig, key) && lasts(&rrsig));
        owner.signatures(rtype).next().is_some()
            && !self.signer.keys_for(rtype).all(|(_, key)| is_held(key))
    }

    /// The SOA record with the new serial, and its signatures.
    fn next_soa(&self, signed: &Version, serial: Serial, edit: &mut Edit) {
        set_serial(signed, serial, edit);
        let Some(apex) = signed.find(signed.apex().as_wire()) else { return };
        let (Some(soa), Some(signatures)) = (apex.rrset(Rtype::SOA), apex.rrset(Rtype::RRSIG))
        else {
            return;
        };
        edit.remove_from(&apex, &signatures, |rdata| covered(rdata) == Some(Rtype::SOA));
        let soas = soas_with(soa.rdatas(), serial);
        edit.sign(signed.apex(), (Rtype::SOA, soa.ttl()), soas.iter().map(Vec::as_slice));
    }
}

/// Gives the SOA record another serial.
fn set_serial(version: &Version, serial: Serial, edit: &mut Edit) {
    let Some(soa) = version.soa() else { return };
    let soas = soas_with(soa.rdatas(), serial);
    let new = (soa.ttl(), soas.iter().map(Vec::as_slice));
    edit.replace(version.apex(), Rtype::SOA, Some(soa), Some(new));
}

fn soas_with<'r>(soas: impl Iterator<Item = &'r [u8]>, serial: Serial) -> Vec<Vec<u8>> {
    let with_serial = |soa: &[u8]| {
        let mut soa = soa.to_vec();
        soa::set_serial(&mut soa, serial);
        soa
    };
    soas.map(with_serial).collect()
}
