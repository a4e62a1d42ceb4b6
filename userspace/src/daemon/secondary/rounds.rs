//! Rounds of many zones at once.

use std::future::pending;
use std::io;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Interval, interval};

use super::round::Round;
use crate::daemon::zones::Zones;
use crate::transfer::notified::NotifiedZones;

/// Zones whose primaries are asked at once: each takes a socket, and with a silent primary some seconds.
const ROUNDS: usize = 64;

/// Transfers that go on at once: each may have a whole zone in memory.
const TRANSFERS: usize = 8;

/// Rounds of many zones at once, so many and no more.
pub struct Rounds {
    zones: Arc<Zones>,
    notified: Arc<NotifiedZones>,
    rounds: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
}

impl Rounds {
    /// Those of these zones; who is notified of newer versions says so.
    pub fn new(zones: &Arc<Zones>, notified: &Arc<NotifiedZones>) -> Rounds {
        Rounds {
            zones: Arc::clone(zones),
            notified: Arc::clone(notified),
            rounds: Arc::new(Semaphore::new(ROUNDS)),
            transfers: Arc::new(Semaphore::new(TRANSFERS)),
        }
    }

    /// Begins rounds as they are due, which are looked for when somebody says so: once a second, and when a NOTIFY has come;
    /// in front of another server also as often as that is polled.
    pub async fn go_on(self, mut stop: watch::Receiver<bool>) -> io::Result<()> {
        let poll = self.zones.config().front.as_ref().map(|front| front.poll.duration());
        let mut polls = poll.map(interval);
        loop {
            tokio::select! {
                _ = stop.changed() => return Ok(()),
                () = self.notified.come() => {}
                () = next(&mut polls) => {}
            }
            let free = self.rounds.available_permits();
            let (zones, notified) = (Arc::clone(&self.zones), self.notified.take());
            let begun = tokio::task::spawn_blocking(move || zones.begin_rounds(notified, free));
            for round in begun.await.unwrap_or_default() {
                self.begin(round);
            }
        }
    }

    fn begin(&self, round: Round) {
        let (zones, notified) = (Arc::clone(&self.zones), Arc::clone(&self.notified));
        let (rounds, transfers) = (Arc::clone(&self.rounds), Arc::clone(&self.transfers));
        tokio::spawn(async move {
            let _permit = rounds.acquire().await;
            let ended = zones.hold_round(&round);
            let end = round.run(&transfers).await;
            let done = tokio::task::spawn_blocking(move || ended.end(end));
            let _ = done.await;
            // What was asked for meanwhile.
            notified.wake();
        });
    }
}

/// Waits for the next poll; for ever if there are none.
async fn next(polls: &mut Option<Interval>) {
    match polls {
        Some(polls) => drop(polls.tick().await),
        None => pending().await,
    }
}
