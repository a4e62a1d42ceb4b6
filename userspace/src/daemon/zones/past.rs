//! What was served of a zone before: told, and served again.

use std::sync::Arc;
use std::sync::mpsc;

use super::list::Zones;
use crate::config::Dnssec;
use crate::control::protocol::Failure;
use crate::control::reply::zone::{
    PastZoneChange, VersionDifference, ZoneDiff, ZoneHistory, ZoneRolledBack,
};
use crate::daemon::kept::{History, HistoryError, PastChange};
use crate::daemon::life::Asked;
use crate::daemon::state::ReloadResult;
use crate::zone::difference::{RecordRef, Records};
use crate::zone::text::write_record;
use crate::zone::{Name, Serial, Version};

/// Octets of text that a difference is told in: half of what a client reads.
const MOST_TEXT: usize = 32 << 20;

impl Zones {
    /// The changes of a zone; `None` if it is not configured.
    pub fn history(&self, name: &Name) -> Option<Result<ZoneHistory, Failure>> {
        let past = self.past(name)?;
        Some(past.and_then(|(served, history)| {
            let changes = history.changes().map_err(unknown)?;
            let changes = changes.into_iter().map(|change| {
                let PastChange { time, kind, serials, size } = change;
                let [old_serial, new_serial] = serials.map(|serial| serial.0);
                let (removed, added) = (size.removed, size.added);
                let difference = VersionDifference { old_serial, new_serial, removed, added };
                PastZoneChange { at: time, why: kind, difference }
            });
            let serial = served.serial().0;
            Ok(ZoneHistory { zone: name.to_string(), serial, changes: changes.collect() })
        }))
    }

    /// How two versions of a zone differ; `None` if it is not configured.
    pub fn diff(
        &self,
        name: &Name,
        from: Option<u32>,
        to: Option<u32>,
    ) -> Option<Result<ZoneDiff, Failure>> {
        let past = self.past(name)?;
        Some(past.and_then(|(served, history)| {
            let to = to.map_or(served.serial(), Serial);
            let from = match from {
                Some(from) => Serial(from),
                None => history.serial_before(&served).map_err(unknown)?,
            };
            let difference = history.difference(&served, from, to).map_err(unknown)?;
            let mut room = MOST_TEXT;
            let [removed, added] = [difference.removed(), difference.added()]
                .map(|records| text_of(records, &mut room));
            let too_long = || {
                let message =
                    format!("serials {from} and {to} differ by too many records to be told");
                Failure::new("history", message)
            };
            let (removed, added) = removed.zip(added).ok_or_else(too_long)?;
            Ok(ZoneDiff { zone: name.to_string(), from: from.0, to: to.0, removed, added })
        }))
    }

    /// Serves the records of an earlier version of a zone; `None` if it is not configured.
    pub fn roll_back(
        self: &Arc<Zones>,
        name: &Name,
        serial: u32,
    ) -> Option<Result<ZoneRolledBack, Failure>> {
        let past = self.past(name)?;
        let version = past.and_then(|(served, history)| {
            if served.serial().0 == serial {
                return Err(Failure::new("rollback", format!("serial {serial} is served")));
            }
            history.version(&served, Serial(serial)).map_err(unknown)
        });
        let version = match version {
            Ok(version) => version,
            Err(failure) => return Some(Err(failure)),
        };
        let result = {
            let mut states = self.states.hold();
            let state = states.get_mut(name)?;
            if state.section.is_transferred() {
                let message =
                    format!("the zone {name} comes from a primary, whose versions it follows");
                return Some(Err(Failure::new("rollback", message)));
            }
            if state.section.dnssec == Dnssec::Presigned {
                let message = format!(
                    "the zone {name} is signed elsewhere: its records would need another serial, and only its signer can sign that"
                );
                let hint = "put the earlier version in the place of its file, with a later serial, and reload it";
                return Some(Err(Failure::new("rollback", message).with_hint(hint)));
            }
            let (sender, receiver) = mpsc::channel();
            state.life.ask(Asked::IfChanged);
            state.work.rollbacks.push((version, sender));
            self.queue(&mut states, name);
            receiver
        };
        let result = result.recv().unwrap_or(ReloadResult::Removed);
        self.settle();
        Some(match result {
            ReloadResult::Loaded(Some(difference)) => {
                Ok(ZoneRolledBack { zone: name.to_string(), to: serial, difference })
            }
            ReloadResult::Failed(message) => Err(Failure::new("rollback", message)),
            ReloadResult::Unchanged => {
                let message = format!("the records of serial {serial} are served already");
                Err(Failure::new("rollback", message))
            }
            ReloadResult::Loaded(None) | ReloadResult::Removed => {
                Err(Failure::new("rollback", format!("nothing is served of {name} any more")))
            }
        })
    }

    /// What is served of a zone, and what is known of what was before; `None` if it is not configured.
    fn past(&self, name: &Name) -> Option<Result<(Version, History), Failure>> {
        let (section, served, kept_at, unkept) = {
            let states = self.states.hold();
            let state = states.get(name)?;
            let Some(loaded) = &state.loaded else {
                return Some(Err(Failure::new("history", format!("{name} is not served"))));
            };
            (state.section.clone(), loaded.zone.clone(), loaded.kept_at, state.unkept.clone())
        };
        let Some((kept_zones, place)) = self.prepare.kept_zones(&section).zip(kept_at) else {
            let why = unkept.unwrap_or_else(|| {
                "of a small zone that sealdns does not sign nothing is kept".to_owned()
            });
            return Some(Err(Failure::new(
                "history",
                format!("what {name} was is not known: {why}"),
            )));
        };
        let history = kept_zones.history(name, &place).map_err(unknown);
        Some(history.map(|history| (served, history)))
    }
}

fn unknown(error: HistoryError) -> Failure {
    Failure::new("history", error.to_string())
}

/// Records in presentation format, if there is room for them; it is less afterwards.
fn text_of(records: &Records, room: &mut usize) -> Option<Vec<String>> {
    let text = |record: RecordRef<'_>| {
        let RecordRef { owner, rtype, ttl, rdata } = record;
        let line = write_record(owner, rtype, ttl, rdata).trim_end().to_owned();
        *room = room.checked_sub(line.len())?;
        Some(line)
    };
    records.iter().map(text).collect()
}
