//! The served zones by apex, in parts: a change of one zone copies the part that it is in, and not the
//! whole of what may be a hundred thousand zones.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::transfer::access::TransferAccess;
use crate::transfer::axfr::Transferable;
use crate::transfer::ixfr::Past;
use crate::transfer::notified::NotifySources;
use crate::zone::Name;

/// Parts: a hundred thousand zones make some hundred a part.
const PARTS: usize = 1024;

type Part = HashMap<Box<[u8]>, ServedZone>;

/// One configured zone.
#[derive(Clone)]
pub struct ServedZone {
    /// Its records; `None` while it could not be loaded.
    pub zone: Option<Arc<dyn Transferable>>,
    /// What led to the version that is served, as far as it is remembered.
    pub past: Arc<Past>,
    /// Who may transfer it.
    pub access: TransferAccess,
    /// From whom NOTIFY messages are heeded.
    pub notify_sources: NotifySources,
    /// The names of the keys whose holders may change something of it; none: nobody may.
    pub update_keys: Arc<[Name]>,
    /// Whether some of its RRsets are withheld, since a validator would refuse them.
    pub withholds: bool,
}

/// Zones by lower-case apex.
#[derive(Clone)]
pub struct Zones {
    parts: Arc<[Arc<Part>]>,
    hasher: RandomState,
    /// How many have no records.
    lacking: usize,
}

impl Default for Zones {
    fn default() -> Zones {
        let parts = (0..PARTS).map(|_| Arc::default()).collect();
        Zones { parts, hasher: RandomState::new(), lacking: 0 }
    }
}

impl Zones {
    /// The zone with this apex.
    pub fn get(&self, apex: &[u8]) -> Option<&ServedZone> {
        self.parts[self.part_of(apex)].get(apex)
    }

    /// Whether one of them has no records.
    pub fn lacks_some(&self) -> bool {
        self.lacking > 0
    }

    /// These zones with some of them changed, new, or (with `None`) gone.
    pub fn with(
        &self,
        changes: impl IntoIterator<Item = (Box<[u8]>, Option<ServedZone>)>,
    ) -> Zones {
        let lacks = |zone: &ServedZone| usize::from(zone.zone.is_none());
        let mut parts: Vec<Arc<Part>> = self.parts.to_vec();
        let mut lacking = self.lacking;
        for (apex, zone) in changes {
            let part = Arc::make_mut(&mut parts[self.part_of(&apex)]);
            lacking += zone.as_ref().map_or(0, lacks);
            let before = match zone {
                Some(zone) => part.insert(apex, zone),
                None => part.remove(&apex),
            };
            lacking -= before.as_ref().map_or(0, lacks);
        }
        Zones { parts: parts.into(), hasher: self.hasher.clone(), lacking }
    }

    fn part_of(&self, apex: &[u8]) -> usize {
        self.hasher.hash_one(apex) as usize % PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_what_was_there_before_and_counts_what_lacks() {
        let zone = |zone: Option<Arc<dyn Transferable>>| ServedZone {
            zone,
            past: Arc::default(),
            access: TransferAccess::default(),
            notify_sources: NotifySources::default(),
            update_keys: Arc::default(),
            withholds: false,
        };
        let apex = |number: usize| -> Box<[u8]> { format!("{number}").into_bytes().into() };
        let all = Zones::default().with((0..5000).map(|n| (apex(n), Some(zone(None)))));
        assert!(all.lacks_some());
        let records: Arc<dyn Transferable> = Arc::new(crate::server::testing::version(1, 0));
        let loaded = (0..5000).map(|n| (apex(n), Some(zone(Some(Arc::clone(&records))))));
        let loaded = all.with(loaded);
        assert!(!loaded.lacks_some() && all.lacks_some());
        let fewer = loaded.with([(apex(7), None), (apex(8), Some(zone(None)))]);
        assert!(fewer.get(&apex(7)).is_none() && loaded.get(&apex(7)).is_some());
        assert!(fewer.lacks_some() && fewer.get(&apex(9)).is_some_and(|zone| zone.zone.is_some()));
        let shared = fewer.parts.iter().zip(&*loaded.parts).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert!(shared.count() >= PARTS - 2);
    }
}
