//! What the control socket asks for.

use std::collections::BTreeMap;

use super::catalogs::CatalogSummary;
use super::health;
use super::life::Moment;
use super::life::refresh::Wanted;
use super::parts::Daemon;
use super::state::{ReloadResult, ZoneState};
use crate::config::CatalogRole;
use crate::control::protocol::{Failure, Request, Response, VERSION};
use crate::control::reply::Reply;
use crate::control::reply::cache::{CacheStatus, ImageMemory};
use crate::control::reply::status::{Status, Stopping};
use crate::control::reply::xdp::{XdpAttached, XdpDetached, XdpStatus};
use crate::control::reply::zone::{
    self, CatalogStatus, FrontStatus, PrimariesStatus, RefusedMember, ServingState, ZoneChange,
    ZoneEvent, ZoneList, ZoneRefreshing, ZoneReload, ZoneSource, ZoneStatus, ZoneSummary,
};
use crate::datapath::seam::Detached;
use crate::dnssec::times::is_before;
use crate::observe::usage::Completeness;
use crate::observe::{Snapshot, ZoneCounts};
use crate::zone::{Name, NameError};

impl Daemon {
    /// Does what the control socket asks for.
    pub fn handle(&self, request: Request) -> Response {
        match self.reply(request) {
            Ok(reply) => Response::Reply(reply),
            Err(failure) => Response::Error(failure),
        }
    }

    fn reply(&self, request: Request) -> Result<Reply, Failure> {
        Ok(match request {
            Request::Status => self.status().into(),
            Request::ZoneList => self.zone_list().into(),
            Request::ZoneStatus { zone } => self.zone_status(&zone)?.into(),
            Request::ZoneReload { zone: Some(zone) } => self.reload_one(&zone)?.into(),
            Request::ZoneReload { zone: None } => reloaded(self.zones.reload()?.iter()).into(),
            Request::ZoneHistory { zone } => {
                let name = known_name(&zone)?;
                self.zones.history(&name).ok_or_else(|| unknown_zone(&name))??.into()
            }
            Request::ZoneDiff { zone, from, to } => {
                let name = known_name(&zone)?;
                self.zones.diff(&name, from, to).ok_or_else(|| unknown_zone(&name))??.into()
            }
            Request::ZoneRollback { zone, serial } => {
                let name = known_name(&zone)?;
                self.zones.roll_back(&name, serial).ok_or_else(|| unknown_zone(&name))??.into()
            }
            Request::ZoneRefresh { zone, whole } => self.zone_refresh(&zone, whole)?.into(),
            Request::XdpStatus => self.xdp_status().into(),
            Request::XdpAttach { interface } => self.xdp_attach(interface)?.into(),
            Request::XdpDetach { interface } => self.xdp_detach(interface.as_deref())?.into(),
            Request::XdpTrace(choice) => self.traces.start(&choice)?.into(),
            Request::XdpTraceRead { trace, stop } => self.traces.read(trace, stop)?.into(),
            Request::CacheStatus => self.cache_status().into(),
            Request::CacheLookup { name, rtype } => {
                self.cache_lookup(&name, rtype.as_deref())?.into()
            }
            Request::CacheExplain(asked) => self.cache_explain(&asked)?.into(),
            Request::CacheVerify { zone } => self.cache_verify(zone.as_deref())?.into(),
            Request::Stats => self.snapshot().into(),
            Request::RateLimit { request } => self.limits.handle(request)?,
            Request::Stop => {
                self.stop.notify_one();
                Stopping { stopping: true }.into()
            }
        })
    }

    /// All counters now.
    pub fn snapshot(&self) -> Snapshot {
        // The data plane comes first in the order of locks.
        let counted = self.plane.counted();
        Snapshot {
            kernel: counted.kernel.clone(),
            udp: self.stats.udp(),
            tcp: self.stats.tcp(),
            connections: self.stats.connections(),
            response: self.stats.responses(),
            transfer: self.stats.transfers(),
            tsig: self.stats.tsig(),
            ratelimit: self.limits.decisions(&counted),
            zones: counts_of(&self.zones.states(), self.clock.wall().signature_time()),
            worst_response: self.limits.worst_response(&counted),
        }
    }

    fn status(&self) -> Status {
        let config = self.zones.config();
        // Before zones are: the data plane comes first in the order.
        let plane = self.plane.status();
        let (zones, now) = (self.zones.states(), self.clock.wall().signature_time());
        let counts = counts_of(&zones, now);
        let named = |is_meant: &dyn Fn(&ZoneState) -> bool| {
            let meant = zones.iter().filter(|(_, state)| is_meant(state));
            meant.map(|(name, _)| name.to_string()).collect()
        };
        let seen = health::HealthInput {
            config: &config,
            zones: &zones,
            counts: &counts,
            plane: &plane,
            now,
            tick: self.clock.monotonic(),
        };
        Status {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.clock.monotonic().duration_since(self.started).as_secs(),
            key_dir: std::path::absolute(config.server.key_dir()).ok(),
            listen: config.server.listen.iter().map(|listen| listen.0).collect(),
            xdp: plane.attachments.clone(),
            zones: counts.configured,
            zones_not_served: counts.not_served,
            zones_loading: counts.loading,
            zones_failed: named(&|state| state.loaded.is_none() || state.error.is_some()),
            zones_expired: named(&|state| is_expired(state, now)),
            problems: health::problems(&seen),
        }
    }

    //--- XDP

    fn xdp_status(&self) -> XdpStatus {
        let status = self.plane.status();
        XdpStatus {
            attachments: status.attachments.clone(),
            missing: status.missing.clone(),
            faults: status.faults.clone(),
            counters: self.plane.counted().kernel.clone(),
        }
    }

    fn xdp_attach(&self, interface: String) -> Result<XdpAttached, Failure> {
        let mut plane = self.plane.hold_soon()?;
        let attached = plane.attach(&interface);
        self.plane.note(&**plane);
        attached.map_err(xdp_failure)?;
        Ok(XdpAttached { attached: interface })
    }

    fn xdp_detach(&self, interface: Option<&str>) -> Result<XdpDetached, Failure> {
        let mut plane = self.plane.hold_soon()?;
        let detached = plane.detach(interface);
        self.plane.note(&**plane);
        let Detached { detached, forgotten } = detached.map_err(xdp_failure)?;
        Ok(XdpDetached { detached, forgotten })
    }

    //--- Compiled zones

    /// How full the maps are, and what a name and a record take of all memory for the image.
    fn cache_status(&self) -> CacheStatus {
        let status = self.plane.status();
        let loaded = self.zones.states();
        let loaded = loaded.values().filter_map(|state| state.loaded.as_ref());
        let records = loaded.map(|loaded| loaded.zone.record_count() as u64).sum();
        let names = status.zones.iter().map(|zone| zone.names).sum();
        let octets = status.image_octets;
        CacheStatus {
            maps: status.maps.clone(),
            zones: status.zones.clone(),
            memory: ImageMemory {
                image_octets: octets,
                names,
                records,
                octets_per_name: octets.checked_div(names),
                octets_per_record: octets.checked_div(records),
            },
        }
    }

    //--- Zones

    fn zone_list(&self) -> ZoneList {
        let zones = self.zones.states();
        ZoneList { zones: zones.iter().map(|(name, state)| summary(name, state)).collect() }
    }

    fn zone_status(&self, zone: &str) -> Result<ZoneStatus, Failure> {
        let name = known_name(zone)?;
        let now = self.zones.now();
        let catalog = self.zones.catalog(&name);
        let zones = self.zones.states();
        let state = zones.get(&name).ok_or_else(|| unknown_zone(&name))?;
        let events = state.life.events(now).into_iter().map(|event| ZoneEvent {
            event: event.kind,
            at: now.wall.wrapping_add(event.wait as u32),
            why: event.reason,
        });
        let loaded = state.loaded.as_ref();
        let published = loaded.map(|zone| zone.published);
        let transfers = state.section.allow_transfer.iter();
        Ok(ZoneStatus {
            summary: summary(&name, state),
            file: state.section.file.clone(),
            policy: state.section.policy.clone(),
            records: loaded.map(|zone| zone.zone.record_count() as u64),
            owners: loaded.map(|zone| zone.zone.owner_count() as u64),
            loaded_at: loaded.map(|zone| zone.loaded_at),
            from_last_run: state.life.is_behind(),
            verified_at: state.life.verified_at(),
            withheld: loaded.and_then(|zone| zone.withheld.clone()),
            records_written: published.map(|one| one.written as u64),
            records_kept: published.map(|one| one.kept as u64),
            held: published.map(|one| {
                if one.is_partial { Completeness::Partial } else { Completeness::Complete }
            }),
            resign_at: state.resign_at(),
            unkept: state.unkept.clone(),
            notify: self.presented.notifier().status(&name),
            allow_transfer: transfers.map(ToString::to_string).collect(),
            group: state.member_of.as_ref().and_then(|member_of| member_of.group.clone()),
            lists: (state.section.catalog == CatalogRole::Consume).then(|| lists(catalog)),
            primaries: primaries(state, now),
            front: state.section.front.map(|_| FrontStatus {
                serial: state.at_server.serial().map(|serial| serial.0),
                passed: state.at_server.passed().map(str::to_owned),
            }),
            running: state.life.running(),
            events: events.collect(),
        })
    }

    fn zone_refresh(&self, zone: &str, whole: bool) -> Result<ZoneRefreshing, Failure> {
        let name = known_name(zone)?;
        let wanted = if whole { Wanted::Any } else { Wanted::Newer };
        match self.zones.ask_primaries(&name, wanted) {
            None => Err(unknown_zone(&name)),
            Some(true) => Ok(ZoneRefreshing { zone: name.to_string(), whole }),
            Some(false) => {
                let message = format!("the zone {name} comes from a file");
                let hint = format!("sealdns zone reload {name}");
                Err(Failure::new("zone", message).with_hint(&hint))
            }
        }
    }

    fn reload_one(&self, zone: &str) -> Result<ZoneReload, Failure> {
        let name = known_name(zone)?;
        let changes = self.zones.reload_one(&name).ok_or_else(|| unknown_zone(&name))?;
        Ok(reloaded(changes.iter().map(|(name, change)| (name, change))))
    }
}

/// What was heard of the primaries of a zone, if it comes from some.
fn primaries(state: &ZoneState, now: Moment) -> Option<PrimariesStatus> {
    let heard = &state.primaries;
    let known = state.loaded.as_ref().and_then(|loaded| loaded.from_primary);
    let success = heard.last_success.map(|(at, _)| at).or(known.map(|known| known.at));
    let failure = heard.last_failure.as_ref();
    state.section.is_transferred().then(|| PrimariesStatus {
        configured: state.section.primaries.iter().map(|one| one.address.0).collect(),
        asked: heard.asked,
        serial: known.map(|known| known.serial.0),
        last_success: success,
        last_failure: failure.map(|(at, ..)| *at),
        failure: failure.map(|(_, primary, why)| format!("{primary}: {why}")),
        expires_at: state.life.expires(now).map(|wait| now.wall.wrapping_add(wait as u32)),
    })
}

/// Members of a catalog that are told of with the reason why they are not served; more are only counted.
const TOLD: usize = 100;

fn lists(catalog: CatalogSummary) -> CatalogStatus {
    let CatalogSummary { members, refused } = catalog;
    let told = refused.iter().take(TOLD);
    let told = told.map(|(zone, why)| RefusedMember { zone: zone.to_string(), why: why.clone() });
    CatalogStatus { members, refused: refused.len() as u64, first_refused: told.collect() }
}

pub(super) fn known_name(text: &str) -> Result<Name, Failure> {
    text.parse().map_err(|error: NameError| Failure::new("zone", error.to_string()))
}

pub(super) fn unknown_zone(name: &Name) -> Failure {
    Failure::new("zone", format!("the zone {name} is not configured"))
        .with_hint("`sealdns zone list` shows those that are")
}

fn xdp_failure(error: anyhow::Error) -> Failure {
    Failure::new("xdp", format!("{error:#}"))
}

/// How zones are, in numbers.
fn counts_of(zones: &BTreeMap<Name, ZoneState>, now: u32) -> ZoneCounts {
    let count = |is_meant: &dyn Fn(&ZoneState) -> bool| {
        zones.values().filter(|state| is_meant(state)).count() as u64
    };
    ZoneCounts {
        configured: zones.len() as u64,
        not_served: count(&|state| state.loaded.is_none()),
        loading: count(&ZoneState::is_loading),
        failed: count(&|state| state.error.is_some()),
        expired: count(&|state| is_expired(state, now)),
    }
}

/// Whether a zone has an expired signature.
fn is_expired(state: &ZoneState, now: u32) -> bool {
    let expiration = state.loaded.as_ref().and_then(|loaded| loaded.expiration);
    expiration.is_some_and(|expiration| is_before(expiration, now))
}

fn summary(name: &Name, state: &ZoneState) -> ZoneSummary {
    ZoneSummary {
        zone: name.to_string(),
        state: match (&state.loaded, &state.error) {
            (Some(_), None) => ServingState::Serving,
            (Some(_), Some(_)) => ServingState::ServingOld,
            (None, Some(_)) => ServingState::Failed,
            (None, None) => ServingState::Loading,
        },
        dnssec: state.section.dnssec,
        source: match state.section.catalog {
            CatalogRole::Produce => ZoneSource::Zones,
            _ if state.section.is_transferred() => ZoneSource::Primaries,
            _ => ZoneSource::File,
        },
        catalog: state.member_of.as_ref().map(|member_of| member_of.catalog.to_string()),
        serial: state.loaded.as_ref().map(|loaded| loaded.zone.serial().0),
        expiration: state.loaded.as_ref().and_then(|loaded| loaded.expiration),
        error: state.error.clone(),
    }
}

fn reloaded<'a>(changes: impl Iterator<Item = (&'a Name, &'a ReloadResult)>) -> ZoneReload {
    let zones = changes.map(|(name, change)| {
        let (change, difference, error) = match change {
            ReloadResult::Unchanged => (zone::Change::Unchanged, None, None),
            ReloadResult::Loaded(difference) => (zone::Change::Loaded, *difference, None),
            ReloadResult::Removed => (zone::Change::Removed, None, None),
            ReloadResult::Failed(error) => (zone::Change::Failed, None, Some(error.clone())),
        };
        ZoneChange { zone: name.to_string(), change, difference, error }
    });
    ZoneReload { zones: zones.collect() }
}
