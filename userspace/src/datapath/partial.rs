//! Zones that do not fit the maps: which of their names are held there.
//!
//! A name that the daemon answers is one that XDP has missed. Those that are missed often are put into the
//! maps, as the sketch of Misra and Gries counts them: in bounded memory it has every name that makes up
//! more than one in [`MAX_COUNTED`] of all misses. They leave by age; who is asked for still comes back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use xdp_common::Outcome;
use xdp_common::dns::HEADER_LEN;

use crate::compile::{Answered, Engine, QueryContext, SignatureAnswer};
use crate::zone::{Name, Rtype, Version, name};

/// Names that are counted at a time.
const MAX_COUNTED: usize = 16 * 1024;

/// Names of one zone that are held at a time: some megabytes of maps.
const MAX_HELD: usize = 8 * 1024;

/// How often a name must be missed between two choices to be held.
const MIN_MISSES: u32 = 2;

/// Ticks, of a second each, between two choices.
pub const CHOICE_TICKS: u64 = 4;

/// Ticks for which a name is held once it was chosen.
const HELD_TICKS: u64 = 120;

/// How often names were answered by the daemon.
#[derive(Default)]
pub struct Misses(Mutex<HashMap<Box<[u8]>, u32>>);

impl Misses {
    /// Counts a miss; not at all if somebody else counts at the same moment.
    fn count(&self, qname: &[u8]) {
        let Ok(mut counted) = self.0.try_lock() else { return };
        if let Some(count) = counted.get_mut(qname) {
            *count = count.saturating_add(1);
        } else if counted.len() < MAX_COUNTED {
            counted.insert(qname.into(), 1);
        } else {
            counted.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
        }
    }

    /// The names that were missed often, most often first; half of each count is forgotten.
    fn take(&self) -> Vec<(Box<[u8]>, u32)> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let often = counted.iter().filter(|(_, count)| **count >= MIN_MISSES);
        let mut often: Vec<_> = often.map(|(name, count)| (name.clone(), *count)).collect();
        counted.retain(|_, count| {
            *count /= 2;
            *count > 0
        });
        often.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        often
    }
}

/// An engine whose answers over UDP are counted as misses.
pub struct MissCounter<E> {
    /// The engine.
    pub engine: E,
    /// Where they are counted.
    pub misses: Arc<Misses>,
}

impl<E: Engine> Engine for MissCounter<E> {
    fn respond(&self, query: &[u8], asked: &QueryContext<'_>, response: &mut Vec<u8>) -> Answered {
        let answered = self.engine.respond(query, asked, response);
        let of_a_name =
            matches!(answered.outcome, Outcome::Positive | Outcome::Nodata | Outcome::Referral);
        if of_a_name && !asked.over_tcp {
            let len = query.get(HEADER_LEN..).and_then(name::wire_name_len);
            if let Some(qname) = len.and_then(|len| query.get(HEADER_LEN..HEADER_LEN + len)) {
                self.misses.count(&qname.to_ascii_lowercase());
            }
        }
        answered
    }

    fn signatures(
        &self,
        query: &[u8],
        asked: &QueryContext<'_>,
        response: &mut Vec<u8>,
    ) -> SignatureAnswer {
        // Questions for signatures are the daemon's, whatever XDP holds.
        self.engine.signatures(query, asked, response)
    }
}

/// The names of one zone that are held, and until which tick.
#[derive(Default)]
pub struct HeldNames(BTreeMap<Name, u64>);

impl HeldNames {
    /// The names.
    pub fn names(&self) -> BTreeSet<Name> {
        self.0.keys().cloned().collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps half of them: those that stay longest.
    pub fn halve(&mut self) {
        let mut ends: Vec<u64> = self.0.values().copied().collect();
        ends.sort_unstable();
        let middle = ends.get(ends.len() / 2).copied().unwrap_or(0);
        let most = self.0.len() / 2;
        self.0.retain(|_, end| *end >= middle);
        while self.0.len() > most {
            self.0.pop_last();
        }
    }

    /// Chooses anew, given which names were missed often. Returns whether others are held than before.
    fn choose<'a>(&mut self, popular: impl Iterator<Item = &'a Name>, tick: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|_, end| *end > tick);
        let mut changed = self.0.len() != before;
        for name in popular {
            if self.0.len() < MAX_HELD {
                changed |= self.0.insert(name.clone(), tick + HELD_TICKS).is_none();
            }
        }
        changed
    }
}

/// Chooses which names of the zones are held; returns the zones for which that changed.
pub fn choose(
    zones: &mut BTreeMap<Name, HeldNames>,
    zone_of: impl Fn(&Name) -> Option<Version>,
    misses: &Misses,
    tick: u64,
) -> Vec<Name> {
    let mut popular: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
    for (qname, _) in misses.take() {
        let Some(qname) = Name::from_wire(&qname) else { continue };
        let mut apex = Some(qname.clone());
        while let Some(above) = apex {
            if zones.contains_key(&above) {
                let owner = zone_of(&above).and_then(|zone| owner_of(&zone, &qname));
                popular.entry(above).or_default().extend(owner);
                break;
            }
            apex = above.parent();
        }
    }
    let chosen = zones.iter_mut().filter_map(|(apex, held)| {
        let popular = popular.get(apex).into_iter().flatten();
        held.choose(popular, tick).then(|| apex.clone())
    });
    chosen.collect()
}

/// The owner that answers for a name: itself, or the zone cut above it.
fn owner_of(zone: &Version, qname: &Name) -> Option<Name> {
    let mut found = zone.find(qname.as_wire()).map(|_| qname.clone());
    let mut above = qname.parent();
    while let Some(ancestor) = above.filter(|ancestor| ancestor != zone.apex()) {
        above = ancestor.parent();
        let owner = zone.find(ancestor.as_wire());
        if owner.is_some_and(|owner| owner.rrset(Rtype::NS).is_some()) {
            found = Some(ancestor);
        }
    }
    found
}
