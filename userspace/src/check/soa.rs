//! The SOA: its timers in proportion (RFC 1912 section 2.2), negative caching (RFC 2308 section 5), names.

use super::findings::Findings;
use crate::zone::name::labels;
use crate::zone::{Rtype, Serial, Soa, Zone};

/// The most that negative answers should be kept, in seconds (RFC 2308 section 5: more than a day is a problem).
const MOST_NEGATIVE: u32 = 86_400;

pub(super) fn check(zone: &Zone, findings: &mut Findings) {
    let Some(owner) = zone.find(zone.apex().as_wire()) else { return };
    let Some(soa) = owner.rrset(Rtype::SOA) else { return };
    for rdata in soa.rdatas() {
        let Some(soa) = Soa::parse(rdata) else { continue };
        let Soa { refresh, retry, expire, minimum, .. } = soa;
        let mut warn = |code, message: String| findings.warn(&owner, Rtype::SOA, code, message);
        if soa.serial == Serial(0) {
            warn("soa-serial", "the serial 0 means \"none\" to some secondaries".into());
        }
        if refresh == 0 || retry == 0 {
            warn(
                "soa-refresh",
                "with a refresh or retry of 0 seconds secondaries ask all the time".into(),
            );
        }
        if retry >= refresh {
            let message = format!("retry, {retry}, should be less than refresh, {refresh}");
            warn("soa-retry", message);
        }
        if u64::from(expire) <= u64::from(refresh) + u64::from(retry) {
            let message =
                format!("expire, {expire}, should be more than refresh and retry together");
            warn("soa-expire", message);
        }
        if minimum > MOST_NEGATIVE {
            let message = format!("negative answers are kept for {minimum} seconds, over a day");
            warn("soa-minimum", message);
        }
        // The first label of RNAME is what stands before the at sign.
        if labels(soa.rname).next().is_some_and(|label| label.contains(&b'@')) {
            let message = "the mailbox contains an at sign: write a dot in its place".into();
            warn("soa-rname", message);
        }
    }
}
