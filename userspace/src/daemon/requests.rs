//! What the control socket asks for.

use serde_json::{Value, json};

use super::health;
use super::parts::Daemon;
use super::state::{self, ZoneState};
use super::zones::Change;
use crate::clock::now;
use crate::control::protocol::{Failure, Request, Response};
use crate::zone::{Name, NameError};

impl Daemon {
    /// Does what the control socket asks for.
    pub fn handle(&self, request: Request) -> Response {
        let result = match request {
            Request::Status => Ok(self.status()),
            Request::ZoneList => {
                let zones = self.zones.states();
                Ok(json!(zones.iter().map(|(name, state)| brief(name, state)).collect::<Vec<_>>()))
            }
            Request::ZoneStatus { zone } => self.zone_status(&zone),
            Request::ZoneReload { zone: Some(zone) } => self.reload_one(&zone),
            Request::ZoneReload { zone: None } => self.zones.reload().map(|changes| {
                json!(changes.iter().map(|(name, change)| told(name, change)).collect::<Vec<_>>())
            }),
            Request::XdpStatus => Ok(json!({
                "attachments": self.plane.status().attachments,
                "missing": self.plane.status().missing,
                "faults": self.plane.status().faults,
                "counters": *self.plane.counters(),
            })),
            Request::XdpAttach { interface } => self.plane.hold_soon().and_then(|mut plane| {
                let attached = plane.attach(&interface);
                self.plane.note(&**plane);
                attached
                    .map(|()| json!({ "attached": interface }))
                    .map_err(|error| Failure::new("xdp", format!("{error:#}")))
            }),
            Request::XdpDetach { interface } => self.plane.hold_soon().and_then(|mut plane| {
                let detached = plane.detach(interface.as_deref());
                self.plane.note(&**plane);
                detached
                    .map(|gone| json!({ "detached": gone.detached, "forgotten": gone.forgotten }))
                    .map_err(|error| Failure::new("xdp", format!("{error:#}")))
            }),
            Request::CacheStatus => Ok(self.cache_status()),
            Request::CacheLookup { name, rtype } => self.cache_lookup(&name, rtype.as_deref()),
            Request::CacheExplain(asked) => self.cache_explain(&asked),
            Request::CacheVerify { zone } => self.cache_verify(zone.as_deref()),
            Request::Stats => Ok(json!({
                "xdp": *self.plane.counters(),
                "ratelimit": self.limits.decisions(),
                "worst-response": self.limits.worst_response(),
                "server": self.stats.snapshot(),
            })),
            Request::RateLimit { request } => self.limits.handle(request),
            Request::Stop => {
                self.stop.notify_one();
                Ok(json!({ "stopping": true }))
            }
        };
        match result {
            Ok(data) => Response::Data(data),
            Err(failure) => Response::Error(failure),
        }
    }

    fn status(&self) -> Value {
        let config = self.zones.config();
        // Before zones are: the data plane comes first in the order.
        let plane = self.plane.status();
        let zones = self.zones.states();
        let failed: Vec<String> = zones
            .iter()
            .filter(|(_, state)| state.loaded.is_none() || state.error.is_some())
            .map(|(name, _)| name.to_string())
            .collect();
        let unserved = zones.values().filter(|state| state.loaded.is_none()).count();
        let now = now();
        let expired: Vec<String> = zones
            .iter()
            .filter(|(_, state)| {
                let expiration = state.loaded.as_ref().and_then(|loaded| loaded.expiration);
                expiration.is_some_and(|expiration| state::is_before(expiration, now))
            })
            .map(|(name, _)| name.to_string())
            .collect();
        let seen = health::Seen { config: &config, zones: &zones, plane: &plane, now };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "key_dir": std::path::absolute(config.server.key_dir()).ok(),
            "listen": config.server.listen.iter().map(|listen| listen.0.to_string())
                .collect::<Vec<_>>(),
            "xdp": plane.attachments,
            "zones": zones.len(),
            "zones_not_served": unserved,
            "zones_loading": zones.values().filter(|state| state.is_loading()).count(),
            "zones_failed": failed,
            "zones_expired": expired,
            "problems": health::problems(&seen),
        })
    }

    /// How full the maps are, and what a name and a record take of all memory for the image.
    fn cache_status(&self) -> Value {
        let status = self.plane.status();
        let loaded = self.zones.states();
        let loaded = loaded.values().filter_map(|state| state.loaded.as_ref());
        let records: usize = loaded.map(|loaded| loaded.zone.record_count()).sum();
        let names: u64 = status.zones.iter().map(|zone| zone.names).sum();
        let octets = status.image_octets;
        json!({
            "maps": status.maps,
            "zones": status.zones,
            "memory": {
                "image_octets": octets,
                "names": names,
                "records": records,
                "octets_per_name": octets.checked_div(names),
                "octets_per_record": octets.checked_div(records as u64),
            },
        })
    }

    fn zone_status(&self, zone: &str) -> Result<Value, Failure> {
        let name = known_name(zone)?;
        let zones = self.zones.states();
        let state = zones.get(&name).ok_or_else(|| unknown_zone(&name))?;
        let mut status = brief(&name, state);
        let loaded = state.loaded.as_ref();
        if let Value::Object(fields) = &mut status {
            fields.insert("file".into(), json!(state.section.file));
            fields.insert("policy".into(), json!(state.section.policy));
            fields.insert("records".into(), json!(loaded.map(|zone| zone.zone.record_count())));
            fields.insert("owners".into(), json!(loaded.map(|zone| zone.zone.owners().len())));
            fields.insert("loaded_at".into(), json!(loaded.map(|zone| zone.loaded_at)));
            let published = loaded.map(|zone| zone.published);
            fields.insert("records_written".into(), json!(published.map(|one| one.written)));
            fields.insert("records_kept".into(), json!(published.map(|one| one.kept)));
            let held = published.map(|one| if one.is_partial { "partial" } else { "complete" });
            fields.insert("held".into(), json!(held));
            fields.insert("resign_at".into(), json!(state.resign_at()));
            fields.insert("unkept".into(), json!(state.unkept));
            let prefixes = state.section.allow_transfer.iter().map(|prefix| prefix.0.to_string());
            fields.insert("allow_transfer".into(), json!(prefixes.collect::<Vec<_>>()));
        }
        Ok(status)
    }

    fn reload_one(&self, zone: &str) -> Result<Value, Failure> {
        let name = known_name(zone)?;
        let changes = self.zones.reload_one(&name).ok_or_else(|| unknown_zone(&name))?;
        Ok(json!(changes.iter().map(|(name, change)| told(name, change)).collect::<Vec<_>>()))
    }
}

pub(super) fn known_name(text: &str) -> Result<Name, Failure> {
    text.parse().map_err(|error: NameError| Failure::new("zone", error.to_string()))
}

pub(super) fn unknown_zone(name: &Name) -> Failure {
    Failure::new("zone", format!("the zone {name} is not configured"))
        .with_hint("`sealdns zone list` shows those that are")
}

fn brief(name: &Name, state: &ZoneState) -> Value {
    json!({
        "zone": name.to_string(),
        "state": match (&state.loaded, &state.error) {
            (Some(_), None) => "serving",
            (Some(_), Some(_)) => "serving-old",
            (None, Some(_)) => "failed",
            (None, None) => "loading",
        },
        "dnssec": state.section.dnssec,
        "serial": state.loaded.as_ref().map(|loaded| loaded.zone.serial()),
        "expiration": state.loaded.as_ref().and_then(|loaded| loaded.expiration),
        "error": state.error,
    })
}

fn told(name: &Name, change: &Change) -> Value {
    let (change, error) = match change {
        Change::Unchanged => ("unchanged", None),
        Change::Loaded => ("loaded", None),
        Change::Removed => ("removed", None),
        Change::Failed(error) => ("failed", Some(error)),
    };
    json!({ "zone": name.to_string(), "change": change, "error": error })
}
