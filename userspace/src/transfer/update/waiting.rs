//! Updates that wait to be done: the sockets put them here, and the zone takes all of its own at once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::Update;
use crate::zone::Name;

/// Octets that the messages of all updates that wait may have: some thousand small updates, or as many large ones as a
/// zone does in a second.
const MAX_OCTETS: usize = 16 << 20;

/// An update that waits.
#[derive(Debug)]
pub struct WaitingUpdate {
    /// What is asked for.
    pub update: Update,
    /// The name of the key that it was signed with.
    pub key: Name,
    /// Octets of its message.
    pub octets: usize,
    /// Where it is told what became of it: a response code. If it is dropped, the client is told SERVFAIL.
    pub answer: oneshot::Sender<u16>,
}

/// Updates that wait, by their zones.
#[derive(Debug, Default)]
pub struct WaitingUpdates {
    waiting: Mutex<Waiting>,
    come: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    zones: BTreeMap<Name, Vec<WaitingUpdate>>,
    octets: usize,
}

impl WaitingUpdates {
    /// Has an update wait. Returns where it is told what became of it; `None` if too much waits.
    pub fn add(
        &self,
        zone: Name,
        update: Update,
        key: Name,
        octets: usize,
    ) -> Option<oneshot::Receiver<u16>> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.octets = waiting.octets.checked_add(octets).filter(|sum| *sum <= MAX_OCTETS)?;
        let of_zone = waiting.zones.entry(zone).or_default();
        of_zone.push(WaitingUpdate { update, key, octets, answer });
        drop(waiting);
        self.come.notify_one();
        Some(answered)
    }

    /// Those of a zone, the first one first; they wait no longer.
    pub fn take(&self, zone: &Name) -> Vec<WaitingUpdate> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = waiting.zones.remove(zone).unwrap_or_default();
        waiting.octets -= taken.iter().map(|one| one.octets).sum::<usize>();
        taken
    }

    /// The zones that have some.
    pub fn zones(&self) -> Vec<Name> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.zones.keys().cloned().collect()
    }

    /// Waits until one has come.
    pub async fn come(&self) {
        self.come.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_has_a_bound_and_comes_in_its_order() {
        let waiting = WaitingUpdates::default();
        let name = |text: &str| text.parse::<Name>().unwrap();
        let add = |zone: &str, octets| {
            waiting.add(name(zone), Update::default(), name("key"), octets).is_some()
        };
        let half = MAX_OCTETS / 2;
        assert!(add("a", half) && add("b", half - 1) && add("a", 1) && !add("b", 1));
        assert_eq!(waiting.zones(), [name("a"), name("b")]);
        let taken = waiting.take(&name("a"));
        assert_eq!(taken.iter().map(|one| one.octets).collect::<Vec<_>>(), [half, 1]);
        assert!(waiting.take(&name("a")).is_empty());
        assert!(add("b", half + 1) && !add("c", 1));
        assert_eq!(waiting.zones(), [name("b")]);
    }
}
