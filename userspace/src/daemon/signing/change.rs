//! The next version of a signed zone, made of the one before: what changed in the file is signed, and signatures that
//! are due are made anew a few names at a time.

use std::cell::Cell;

use crate::config;
use crate::daemon::state::{NoTransfer, is_due};
use crate::daemon::verified::Verification;
use crate::dnssec::incremental::{
    DifferenceError, RenewalLimits, SignedDifference, renew, sign_difference,
};
use crate::dnssec::keys::Key;
use crate::dnssec::origin::{Origin, unsigned_difference};
use crate::dnssec::policy::SigningPolicy;
use crate::dnssec::times::{Validity, is_before};
use crate::zone::difference::{ApplyError, Difference, Rules};
use crate::zone::{Name, Version, Zone};

/// Signatures are kept unless they are due within this part of the time from their making until then:
/// else a zone that changed often would be signed again in as many small parts.
pub(super) const KEPT_PART: u32 = 4;

/// A part of a zone's records: where more of them change it is signed as a whole, by which no more work is done.
const CHANGED_PART: usize = 4;

/// Records of which any number may change.
const FEW_RECORDS: usize = 64;

/// Where signatures are made anew in many steps, those are that are due within this part of the time from their making
/// until then.
const RENEWED_PART: u32 = 16;

/// Where signatures are made anew in many steps, they end at times that are spread over this part of the time from
/// their making until they are due, so that they need not be again all at once.
const JITTER_PART: u32 = 2;

/// A signed version of a zone, in hand.
pub(super) struct SignedVersion<'a> {
    pub(super) zone: &'a Version,
    pub(super) origin: &'a Origin,
    /// Whether it is what is served; else it is what was served before the daemon was started.
    pub(super) is_served: bool,
    /// What is known of it; `None` if a validator would refuse it.
    pub(super) verification: Option<&'a Verification>,
    /// When its signatures are valid, unless a validator would refuse it.
    pub(super) validity: Option<Validity>,
}

impl<'a> SignedVersion<'a> {
    /// The version, as it is at `now`: seconds since 1970, truncated to 32 bits.
    pub(super) fn new(
        zone: &'a Version,
        origin: &'a Origin,
        is_served: bool,
        verification: Option<&'a Verification>,
        now: u32,
    ) -> SignedVersion<'a> {
        let validity = verification.and_then(|known| known.times.validity(now));
        SignedVersion { zone, origin, is_served, verification, validity }
    }
}

/// What is known of the zone that is to be signed.
#[derive(Clone, Copy)]
pub(super) enum Unsigned<'a> {
    /// It is what the version before was made of.
    Same,
    /// All of its records.
    Zone(&'a Zone),
    /// What changes it, each difference with the serials that the zone has where it comes from.
    Differences(&'a [Difference]),
}

/// A version that a signer made of another one by what changes.
pub(super) struct MadeVersion {
    pub(super) zone: Version,
    /// What changes the one into the other.
    pub(super) change: Difference,
}

/// What the next version is made by.
pub(super) struct NextVersion<'a> {
    /// The version before: its signatures were verified, and it is the last one that was served.
    pub(super) base: &'a SignedVersion<'a>,
    /// What the next version is made of.
    pub(super) origin: &'a Origin,
    pub(super) keys: &'a [Key],
    pub(super) how: &'a SigningPolicy,
    pub(super) policy: &'a config::Policy,
    /// The name from which on signatures that are due are looked for, and afterwards that with which to go on; `None`: the
    /// apex.
    pub(super) renewed_to: Cell<Option<Name>>,
    /// Seconds since 1970, truncated to 32 bits.
    pub(super) now: u32,
}

impl NextVersion<'_> {
    /// The next version, of what is known of the `unsigned` zone.
    /// `None` if it must be signed as a whole.
    ///
    /// # Errors
    /// If it cannot be signed, nor could it as a whole.
    pub(super) fn make(&self, unsigned: Unsigned<'_>) -> anyhow::Result<Option<MadeVersion>> {
        let (base, origin) = (self.base.zone, self.base.origin);
        let is_other_manner =
            (&origin.manner, &origin.dnskeys) != (&self.origin.manner, &self.origin.dnskeys);
        let Some(validity) = self.base.validity.filter(|_| !is_other_manner) else {
            return Ok(None);
        };
        // A validator refuses it now: all of its signatures may be of another time.
        if is_before(self.now, validity.inception) || !is_before(self.now, validity.expiration) {
            return Ok(None);
        }
        let is_same = origin.content == self.origin.content;
        let unsigned = if is_same { Unsigned::Same } else { unsigned };
        let is_due = is_due(validity, self.policy, self.now);
        // First what has no serial of its own: that of the file is to be the last.
        let renewed = match is_due {
            true => self.renewed(base).map(|made| made.map(Some)),
            false => Ok(Some(None)),
        };
        let made = renewed.and_then(|renewed| match (renewed, unsigned) {
            (Some(renewed), Unsigned::Zone(zone)) => {
                self.changed(renewed, &Version::of(zone.clone()))
            }
            (Some(renewed), Unsigned::Differences(differences)) => {
                self.led_on(renewed, differences)
            }
            (renewed, _) => Ok(renewed.flatten()),
        });
        let is_led_on = matches!(unsigned, Unsigned::Differences(_));
        match made {
            Err(DifferenceError::Apply(error)) if is_led_on => {
                Err(NoTransfer::Unfit(error.to_string()).into())
            }
            Ok(made) => Ok(made),
            Err(DifferenceError::Whole(reason)) => {
                tracing::debug!(zone = %base.apex(), "signed as a whole: {reason}");
                Ok(None)
            }
            Err(DifferenceError::Apply(error)) => {
                tracing::warn!(zone = %base.apex(), "signed as a whole: {error}");
                Ok(None)
            }
            Err(DifferenceError::Sign(error)) => Err(error.into()),
        }
    }

    /// What the version becomes with the records of another unsigned zone, and with new signatures if some were `renewed`
    /// before.
    fn changed(
        &self,
        renewed: Option<MadeVersion>,
        unsigned: &Version,
    ) -> Result<Option<MadeVersion>, DifferenceError> {
        let version = renewed.as_ref().map_or(self.base.zone, |renewed| &renewed.zone);
        let most = version.record_count() / CHANGED_PART + FEW_RECORDS;
        let Some(difference) = unsigned_difference(version, unsigned, most) else {
            return Ok(None);
        };
        let (keys, how, now) = (self.keys, self.how, self.now);
        let signed = sign_difference(version, &difference, Rules::Strict, keys, how, now)?;
        let Some(signed) = signed else { return Ok(renewed) };
        let made = applied(version, signed)?;
        Ok(Some(match renewed {
            Some(renewed) => made.since(self.base.zone, &renewed),
            None => made,
        }))
    }

    /// What the version becomes with differences of the unsigned zone, and with new signatures if some were `renewed`
    /// before; at the cost of what changes.
    fn led_on(
        &self,
        renewed: Option<MadeVersion>,
        differences: &[Difference],
    ) -> Result<Option<MadeVersion>, DifferenceError> {
        let Some(all) = Difference::condensed(differences)? else { return Ok(renewed) };
        let version = renewed.as_ref().map_or(self.base.zone, |renewed| &renewed.zone);
        let (keys, how, now) = (self.keys, self.how, self.now);
        let signed = sign_difference(version, &all, Rules::Strict, keys, how, now)?;
        let Some(signed) = signed else { return Ok(renewed) };
        let made = applied(version, signed)?;
        Ok(Some(match renewed {
            Some(renewed) => made.since(self.base.zone, &renewed),
            None => made,
        }))
    }

    /// What the version becomes with new signatures of some names in the place of those that are due. `None` if they
    /// are made all at once.
    fn renewed(&self, version: &Version) -> Result<Option<MadeVersion>, DifferenceError> {
        let limits = RenewalLimits { looked_at: usize::MAX, ..RenewalLimits::default() };
        let refresh = self.policy.refresh.seconds();
        let fresh = self.how.validity.saturating_sub(refresh);
        let is_of_one_step = version.owner_count() <= limits.names;
        let (part, jitter) = match is_of_one_step {
            true => (KEPT_PART, 0),
            false => (RENEWED_PART, fresh / JITTER_PART),
        };
        let how = SigningPolicy { jitter, ..self.how.clone() };
        // More than those that are due by a second.
        let least = refresh + (fresh / part).max(1);
        let (keys, now, apex) = (self.keys, self.now, version.apex());
        // From where the step before has stopped, so that no names are looked at again and again.
        let from = self.renewed_to.take().unwrap_or_else(|| apex.clone());
        let mut renewal = renew(version, &from, limits, least, keys, &how, now)?;
        if renewal.difference.is_none() && from != *apex {
            renewal = renew(version, apex, limits, least, keys, &how, now)?;
        }
        self.renewed_to.set(renewal.next);
        renewal.difference.map(|signed| Ok(applied(version, signed)?)).transpose()
    }
}

impl MadeVersion {
    /// The same version as one that was made of `base` in two steps, of which `first` was the first.
    fn since(self, base: &Version, first: &MadeVersion) -> MadeVersion {
        let changes = [&first.change, &self.change];
        let records = changes
            .into_iter()
            .flat_map(|change| change.removed().iter().chain(change.added().iter()));
        let names = records.map(|record| record.owner);
        let change = Difference::between_owners(base, &self.zone, names);
        MadeVersion { zone: self.zone, change }
    }
}

/// The version that a signed difference leads to.
fn applied(version: &Version, signed: SignedDifference) -> Result<MadeVersion, ApplyError> {
    let made = signed.statistics;
    tracing::debug!(
        zone = %version.apex(),
        names = made.names, made = made.signatures, denials = made.denials,
        "a difference signed"
    );
    let mut zone = version.apply(&signed.zone, Rules::Strict)?;
    if let Some((difference, beside)) = signed.any_answers.as_ref().zip(version.any_answers()) {
        zone = zone.with_any_answers(beside.apply(difference, Rules::Strict)?);
    }
    Ok(MadeVersion { zone, change: signed.zone })
}
