//! Until when signatures hold an RRset: one that holds is enough (RFC 4035 section 5.3.3, and of several algorithms
//! any: RFC 6840 section 5.11). Those that have ended stay where a signer left them, those that have not begun wait
//! for their time, and while keys are replaced two end at different times. Where the zone is verified, where it is
//! compiled and where its state is shown this is asked here, so that all say the same.

use super::keys::{REVOKED, SECURE_ENTRY_POINT, ZONE_KEY, parse_dnskey};
use super::rrsig::{Rrsig, label_count};
use crate::zone::{Owner, Rrset, Rtype, Serial, Zone};

/// When a signature begins and ends, in seconds since 1970 truncated to 32 bits (RFC 4034 section 3.1.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// It is not valid before this time.
    pub inception: u32,
    /// It is not valid after this time.
    pub expiration: u32,
}

/// The end of the time, `now` in it, of which every moment is in one of the spans. If `now` is in none: that of the
/// time that begins next, for the clock that is wrong may be ours; else the end of the last one that was. `None`
/// if there are no spans. 0 is a time that is not known: then it is the end of the last of all.
pub fn until(spans: &[Span], now: u32) -> Option<u32> {
    if now == 0 {
        let first = spans.first()?.expiration;
        return spans
            .iter()
            .map(|span| span.expiration)
            .max_by_key(|end| Serial(*end).since(Serial(first)));
    }
    let from_now = |time: u32| i64::from(Serial(time).since(Serial(now)));
    let begin = |span: &Span| from_now(span.inception);
    let end = |span: &Span| from_now(span.expiration);
    let whole: Vec<Span> = spans.iter().copied().filter(|span| begin(span) <= end(span)).collect();
    let last =
        |chosen: &dyn Fn(&Span) -> bool| whole.iter().filter(|span| chosen(span)).map(end).max();
    let next = whole.iter().map(begin).filter(|begin| *begin > 0).min();
    let holding = last(&|span| begin(span) <= 0 && end(span) >= 0);
    let mut known = holding
        .or_else(|| next.and_then(|next| last(&|span| begin(span) == next)))
        .or_else(|| last(&|_| true))
        .or_else(|| spans.iter().map(end).max())?;
    while let Some(later) = last(&|span| begin(span) <= known + 1 && end(span) > known) {
        known = later;
    }
    Some(now.wrapping_add(known as u32))
}

/// When the next span begins behind the end of the time that [`until`] says, or behind `now` if that is in none.
/// `None` if there is no such span, or `now` is not known.
pub fn next_begin(spans: &[Span], now: u32) -> Option<u32> {
    let from_now = |time: u32| i64::from(time.wrapping_sub(now) as i32);
    let is_held = |span: &Span| from_now(span.inception) <= 0 && from_now(span.expiration) >= 0;
    let held_until = match spans.iter().any(is_held) {
        true => from_now(until(spans, now)?),
        false => 0,
    };
    let whole = spans.iter().filter(|span| from_now(span.inception) <= from_now(span.expiration));
    let begins = whole.map(|span| from_now(span.inception)).filter(|begin| *begin > held_until);
    begins.min().filter(|_| now != 0).map(|begin| now.wrapping_add(begin as u32))
}

/// The first time after `now` at which an RRset of the zone begins to be held that is not held right before. Until
/// then a validator would refuse it, and who has compiled the zone knows of none of its signatures from then on.
pub fn begins_at(zone: &Zone, now: u32) -> Option<u32> {
    let signers = Signers::of(zone);
    let signed = zone.owners().filter(|owner| owner.rrset(Rtype::RRSIG).is_some());
    let begins = signed.flat_map(|owner| {
        let begins = owner.rrsets().filter_map(|rrset| signers.begins_at(&owner, &rrset, now));
        begins.collect::<Vec<_>>()
    });
    begins.min_by_key(|begin| begin.wrapping_sub(now) as i32)
}

/// Whose signatures count in a zone: those of the keys in its DNSKEY RRset.
pub struct Signers<'a> {
    apex: &'a [u8],
    keys: Vec<Signer>,
}

struct Signer {
    tag: u16,
    algorithm: u8,
    is_sep: bool,
}

impl<'a> Signers<'a> {
    /// Those of a zone.
    pub fn of(zone: &'a Zone) -> Signers<'a> {
        Signers::at(&zone.at_apex())
    }

    /// Those of a zone with this owner at its apex.
    pub fn at(apex: &Owner<'a>) -> Signers<'a> {
        let dnskeys = apex.rrset(Rtype::DNSKEY);
        let keys = dnskeys.iter().flat_map(|dnskeys| dnskeys.rdatas()).filter_map(|rdata| {
            let dnskey = parse_dnskey(rdata)?;
            let flags = dnskey.flags();
            (flags & ZONE_KEY != 0 && flags & REVOKED == 0).then(|| Signer {
                tag: dnskey.key_tag(),
                algorithm: dnskey.algorithm().to_int(),
                is_sep: flags & SECURE_ENTRY_POINT != 0,
            })
        });
        Signers { apex: apex.name(), keys: keys.collect() }
    }

    /// Until when an RRset is held, from its signatures' fields: that they are right is for who verifies the zone to
    /// say. `None` if it has none. Where none counts, all do: what is served without being verified is served.
    pub fn until(&self, owner: &Owner<'_>, rrset: &Rrset<'_>, now: u32) -> Option<u32> {
        until(&self.spans(owner, rrset), now)
    }

    /// When an RRset begins to be held after a time in which it is not, as [`begins_at`] has it for all of a zone.
    pub fn begins_at(&self, owner: &Owner<'_>, rrset: &Rrset<'_>, now: u32) -> Option<u32> {
        next_begin(&self.spans(owner, rrset), now)
    }

    /// The times of the signatures of an RRset that count; of all of them if none does.
    fn spans(&self, owner: &Owner<'_>, rrset: &Rrset<'_>) -> Vec<Span> {
        let signatures = || owner.signatures(rrset.rtype()).filter_map(Rrsig::parse);
        let span = |rrsig: Rrsig<'_>| {
            let (inception, expiration) = (rrsig.fields.inception, rrsig.fields.expiration);
            Span { inception, expiration }
        };
        let counted: Vec<Span> =
            signatures().filter(|rrsig| self.counts(owner, rrset, rrsig)).map(span).collect();
        match counted.is_empty() {
            false => counted,
            true => signatures().map(span).collect(),
        }
    }

    /// Whether a validator would look at a signature, and at the DNSKEY RRset come to it from a DS.
    fn counts(&self, owner: &Owner<'_>, rrset: &Rrset<'_>, rrsig: &Rrsig<'_>) -> bool {
        let fields = &rrsig.fields;
        let is_of = |key: &Signer| {
            (key.tag, key.algorithm) == (fields.key_tag, fields.algorithm)
                && (key.is_sep || rrset.rtype() != Rtype::DNSKEY)
        };
        rrsig.signer == self.apex
            && fields.labels == label_count(owner.name())
            && rrset.ttl() <= fields.original_ttl
            && self.keys.iter().any(is_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every choice of up to three of the spans that there can be around now, in every order, and what a walk from
    /// second to second says.
    #[test]
    fn every_order_of_spans_says_the_same_as_a_clock() {
        const NOW: u32 = 5;
        let all: Vec<Span> = (0..12)
            .flat_map(|inception| {
                (inception..12).map(move |expiration| Span { inception, expiration })
            })
            .collect();
        let chosen = |indexes: &[usize]| indexes.iter().map(|&at| all[at]).collect::<Vec<_>>();
        let mut orders: Vec<Vec<usize>> = (0..all.len()).map(|a| vec![a]).collect();
        orders.extend((0..all.len()).flat_map(|a| (0..all.len()).map(move |b| vec![a, b])));
        let some = (0..all.len()).step_by(3);
        orders.extend(some.clone().flat_map(|a| {
            let some = some.clone();
            some.clone().flat_map(move |b| some.clone().map(move |c| vec![a, b, c]))
        }));
        for spans in orders.iter().map(|order| chosen(order)) {
            let holds = |time: u32| {
                spans.iter().any(|span| (span.inception..=span.expiration).contains(&time))
            };
            let start = (NOW..20).find(|time| holds(*time));
            let expected = match start {
                Some(start) => (start..20).take_while(|time| holds(*time)).last(),
                None => (0..NOW).rfind(|time| holds(*time)),
            };
            // The same anywhere on the circle of serial numbers.
            for offset in [0, u32::MAX - 6, 1 << 31] {
                let moved: Vec<Span> = spans
                    .iter()
                    .map(|span| Span {
                        inception: span.inception.wrapping_add(offset),
                        expiration: span.expiration.wrapping_add(offset),
                    })
                    .collect();
                let said = until(&moved, NOW.wrapping_add(offset));
                assert_eq!(said.map(|time| time.wrapping_sub(offset)), expected, "{spans:?}");
                // Behind the time that is known there is a gap, and then perhaps more.
                let known = if holds(NOW) { expected } else { Some(NOW) };
                let next = known.and_then(|known| (known + 1..20).find(|time| holds(*time)));
                let said = next_begin(&moved, NOW.wrapping_add(offset));
                assert_eq!(said.map(|time| time.wrapping_sub(offset)), next, "{spans:?}");
            }
        }
        assert_eq!(until(&[], NOW), None);
        assert_eq!(next_begin(&[], NOW), None);
    }
}
