//! Who is told of which serial, and when the next message is due: no socket and no clock in here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::Notify as Wake;

use crate::control::reply::zone::NotifyStatus;
use crate::daemon::locks::{Lock, Rank};
use crate::zone::{Name, Serial};

/// How long after a message to a server the first one of another serial is sent at the earliest.
pub(super) const GAP: Duration = Duration::from_secs(1);

/// How long is waited for the answer to the first message of a serial.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// How long at most: RFC 1996 section 3.6 proposes a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Messages of one serial to one server. RFC 1996 section 3.6 proposes five, a minute apart.
pub(super) const MOST_MESSAGES: u32 = 10;

/// The zones whose serials other servers are told.
pub struct Notifier {
    pub(super) zones: Lock<BTreeMap<Name, Notified>>,
    pub(super) wake: Wake,
}

/// A zone whose serials other servers are told.
pub(super) struct Notified {
    pub(super) targets: Targets,
    /// The key that messages are signed with, if any.
    pub(super) key: Option<Name>,
    /// The SOA record of the serial that is told, behind its owner name.
    pub(super) soa: Vec<u8>,
}

/// A zone as it is served from now on.
pub struct NewSerial<'a> {
    /// Its apex.
    pub zone: &'a Name,
    /// Who is told.
    pub addresses: Vec<SocketAddr>,
    /// The key that messages are signed with, if any.
    pub key: Option<Name>,
    /// Its serial.
    pub serial: Serial,
    /// Its SOA record, behind the owner name.
    pub soa: Vec<u8>,
}

impl Notifier {
    /// Nobody is told anything.
    pub fn new() -> Notifier {
        Notifier { zones: Lock::new(Rank::Notified, BTreeMap::new()), wake: Wake::new() }
    }

    /// A zone is served with this serial from now on.
    pub fn follow(&self, new: NewSerial<'_>, now: Instant) {
        let NewSerial { zone, addresses, key, serial, soa } = new;
        let mut zones = self.zones.hold();
        if addresses.is_empty() {
            zones.remove(zone);
            return;
        }
        let known = zones.entry(zone.clone());
        let targets = Targets::default();
        let known = known.or_insert(Notified { targets, key: None, soa: Vec::new() });
        known.targets.follow(&addresses, serial, now);
        (known.key, known.soa) = (key, soa);
        self.wake.notify_one();
    }

    /// Forgets the zones that are not among these.
    pub fn retain(&self, is_served: impl Fn(&Name) -> bool) {
        self.zones.hold().retain(|zone, _| is_served(zone));
    }

    /// What is known of the servers that are told of a zone.
    pub fn status(&self, zone: &Name) -> Vec<NotifyStatus> {
        let zones = self.zones.hold();
        zones.get(zone).map(|known| known.targets.status()).unwrap_or_default()
    }
}

/// The servers that are told of one zone.
#[derive(Debug, Clone, Default)]
pub struct Targets(BTreeMap<SocketAddr, Target>);

/// What is known of one of them.
#[derive(Debug, Clone)]
struct Target {
    /// What it is to know.
    serial: Serial,
    stage: Stage,
    /// Messages of this serial.
    messages: u32,
    sent_at: Option<Instant>,
    /// The last serial that it has acknowledged, and when, in seconds since 1970.
    acknowledged: Option<(Serial, u32)>,
    /// Why the last message was in vain, if it was.
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The next message is due then.
    DueAt(Instant),
    Acknowledged,
    GivenUp,
}

impl Targets {
    /// These servers are to know this serial.
    pub fn follow(&mut self, addresses: &[SocketAddr], serial: Serial, now: Instant) {
        self.0.retain(|address, _| addresses.contains(address));
        for address in addresses {
            let known = self.0.entry(*address).or_insert(Target {
                serial,
                stage: Stage::DueAt(now),
                messages: 0,
                sent_at: None,
                acknowledged: None,
                error: None,
            });
            if known.serial != serial {
                let earliest = known.sent_at.map_or(now, |sent_at| sent_at + GAP);
                known.serial = serial;
                known.stage = Stage::DueAt(earliest.max(now));
                known.messages = 0;
            }
        }
    }

    /// Who is to be sent a message now, and of which serial.
    pub fn due(&self, now: Instant) -> impl Iterator<Item = (SocketAddr, Serial)> {
        let is_due = move |target: &Target| matches!(target.stage, Stage::DueAt(at) if at <= now);
        let due = self.0.iter().filter(move |(_, target)| is_due(target));
        due.map(|(address, target)| (*address, target.serial))
    }

    /// When the next message is due.
    pub fn next(&self) -> Option<Instant> {
        let due = self.0.values().filter_map(|target| match target.stage {
            Stage::DueAt(at) => Some(at),
            Stage::Acknowledged | Stage::GivenUp => None,
        });
        due.min()
    }

    /// A message is sent now, or not sent since there were enough: says whether it is to be sent.
    pub fn send(&mut self, address: SocketAddr, now: Instant) -> bool {
        let Some(target) = self.0.get_mut(&address) else { return false };
        if target.messages == MOST_MESSAGES {
            target.stage = Stage::GivenUp;
            target.error.get_or_insert_with(|| "there is no answer".to_owned());
            return false;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << target.messages).min(LONGEST_WAIT);
        target.stage = Stage::DueAt(now + wait);
        target.messages += 1;
        target.sent_at = Some(now);
        true
    }

    /// A server has acknowledged a serial, `at` seconds since 1970.
    pub fn acknowledge(&mut self, address: SocketAddr, serial: Serial, at: u32) {
        let Some(target) = self.0.get_mut(&address) else { return };
        target.acknowledged = Some((serial, at));
        target.error = None;
        if target.serial == serial {
            target.stage = Stage::Acknowledged;
        }
    }

    /// A message was in vain. The next one comes at its time.
    pub fn fail(&mut self, address: SocketAddr, serial: Serial, error: String) {
        if let Some(target) = self.0.get_mut(&address).filter(|target| target.serial == serial) {
            target.error = Some(error);
        }
    }

    pub(super) fn status(&self) -> Vec<NotifyStatus> {
        let status = |(address, target): (&SocketAddr, &Target)| NotifyStatus {
            server: *address,
            serial: target.serial.0,
            messages: target.messages,
            is_given_up: target.stage == Stage::GivenUp,
            acknowledged: target.acknowledged.map(|(serial, _)| serial.0),
            acknowledged_at: target.acknowledged.map(|(_, at)| at),
            error: target.error.clone(),
        };
        self.0.iter().map(status).collect()
    }
}
