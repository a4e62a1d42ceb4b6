//! What is wrong where XDP is attached, or should be: said once when it begins and once when it ends, and told to
//! whoever asks in between.

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;
use xdp_common::Outcome;
use xdp_common::maps;

use super::programs::HOOKS;
use super::size::FLOOR;
use super::{Plane, load};
use crate::config::{Config, XdpMode};
use crate::datapath::attach::Attachment;
use crate::datapath::device::Device;
use crate::datapath::fault::{Fault, Kind};
use crate::datapath::interface;
use crate::datapath::load::Counters;
use crate::datapath::memory::{Mapping, driver};
use crate::datapath::probe::lost;
use crate::datapath::seam::DataPlane as _;
use crate::datapath::watch::{self, Counted, Programs, Snapshot, Watch};

/// Ticks between two looks: some drivers ask their card for counters, which takes milliseconds.
const TICKS: u64 = 4;

/// What is known to be wrong.
#[derive(Debug, Default)]
pub(super) struct Watching {
    /// Interfaces that the daemon started without.
    unattached: Vec<Fault>,
    xdp: Watch,
    tcx: Watch,
    found: Vec<Fault>,
}

impl Watching {
    /// The daemon is without this interface no more.
    pub(super) fn attached(&mut self, interface: &str) {
        self.unattached.retain(|fault| fault.interface != interface);
    }
}

impl Plane {
    /// Attaches to all interfaces of the configuration. One that cannot be attached to is said, and the sockets
    /// serve, unless it is `required` or there are none. One that is not there is waited for.
    pub(super) fn attach_all(&mut self, config: &Config) -> Result<()> {
        let gives_up = !config.server.user.is_empty();
        for interface in &config.xdp.interfaces {
            let Err(error) = self.attach(interface) else { continue };
            if config.xdp.required {
                return Err(error.context(format!(
                    "attaching to {interface}, which `required` in [xdp] makes a condition"
                )));
            }
            if config.server.listen.is_empty() {
                let nobody = "nobody would answer: `listen` in [server] is empty";
                return Err(
                    error.context(format!("attaching to {interface}, without which {nobody}"))
                );
            }
            tracing::error!(interface, "no XDP, the sockets answer: {error:#}");
            if if_nametoindex(interface.as_str()).is_err() {
                self.wanted.waits_for(interface, format!("{error:#}"));
                if gives_up {
                    self.load_for_later();
                }
                continue;
            }
            self.watching.unattached.push(Fault {
                interface: interface.clone(),
                kind: Kind::NotAttached,
                what: format!("no XDP, the sockets answer: {error:#}"),
                fix: Some(format!("sealdns xdp attach {interface}")),
            });
        }
        let is_for_later = gives_up && !self.wanted.is_empty();
        if self.attachments.is_empty() && self.loaded.is_some() && !is_for_later {
            // Maps that no program reads have a limit that memory has not.
            let memory = Mapping::anonymous(FLOOR).context("making memory for zones")?;
            self.image.move_to(std::sync::Arc::new(memory))?;
            (self.size, self.loaded) = (FLOOR, None);
        }
        Ok(())
    }

    /// Makes maps and loads programs for an interface that comes when this process may do so no more.
    fn load_for_later(&mut self) {
        let is_loaded = self.loaded.is_some();
        if let Some(Err(error)) = (!is_loaded).then(|| self.load()) {
            tracing::error!("what comes later cannot be attached to: {error:#}");
        }
        let Some(loaded) = &mut self.loaded else { return };
        for hook in [load::Programs::Xdp, load::Programs::Tcx] {
            if let Err(error) = loaded.verify(hook) {
                tracing::warn!("no program for what comes later: {error}");
            }
        }
    }

    /// All that is wrong now.
    pub(super) fn faults(&self) -> Vec<Fault> {
        self.watching.unattached.iter().chain(&self.watching.found).cloned().collect()
    }

    /// Looks whether answers leave, every few ticks.
    pub(super) fn watch(&mut self) {
        if !self.ticks.is_multiple_of(TICKS) {
            return;
        }
        // What programs count first, and then what drivers do: an answer in between has left early, at worst.
        let [xdp, tcx] = HOOKS.map(|(hook, _)| self.programs(hook));
        let is_alone = |one: &Attachment| one.mode() == XdpMode::Tcx;
        let on = |alone: bool| {
            let meant = self.attachments.iter().filter(|one| is_alone(one) == alone);
            meant.filter_map(counts).collect()
        };
        let beside = self.attachments.iter().any(Attachment::has_tcx_behind);
        let xdp = xdp.map(|xdp| Snapshot {
            programs: Programs {
                beside: tcx.filter(|_| beside).map_or(0, |tcx| tcx.answered),
                ..xdp
            },
            devices: on(false),
        });
        let tcx = tcx.map(|programs| Snapshot { programs, devices: on(true) });
        let obstacles: Vec<Fault> = self.attachments.iter().filter_map(obstacle).collect();
        let watching = &mut self.watching;
        xdp.iter().for_each(|now| watching.xdp.look(now));
        tcx.iter().for_each(|now| watching.tcx.look(now));
        let counted = watching.xdp.found().chain(watching.tcx.found()).cloned();
        let now: Vec<Fault> = obstacles.into_iter().chain(counted).collect();
        tell(&watching.found, &now);
        watching.found = now;
    }

    /// What the programs of a hook count; none if they cannot be read.
    fn programs(&self, hook: u32) -> Option<Programs> {
        let mut counters: Counters = self.loaded.as_ref()?.counters(hook).ok()?;
        load::add(&mut counters, &self.carried[hook as usize]);
        load::add(&mut counters, &self.counted_before(hook));
        let sum = |is_meant: fn(Outcome) -> bool| {
            let meant = Outcome::ALL.into_iter().filter(|outcome| is_meant(*outcome));
            meant.map(|outcome| counters[outcome.index()]).fold(0, u64::wrapping_add)
        };
        let (seen, answered) = (sum(|_| true), sum(Outcome::is_answered));
        Some(Programs { seen, answered, beside: 0 })
    }
}

/// What a device and its driver count; none if they do not tell.
fn counts(attachment: &Attachment) -> Option<watch::Device> {
    let (interface, mode) = (attachment.interface(), attachment.mode());
    let device = Device::at(interface.index).ok()?;
    let statistics = match mode {
        XdpMode::Native => driver::statistics(&interface.name).unwrap_or_default(),
        // On socket buffers nothing is the driver's.
        _ => Default::default(),
    };
    let [received, sent] = interface::packets(interface.index).ok()?;
    Some(watch::Device {
        interface: interface.name.clone(),
        mode,
        counted: Counted::of(&device.driver, &statistics),
        driver: device.driver,
        received,
        sent,
    })
}

/// What came to be set on a device since it was attached to and loses answers.
fn obstacle(attachment: &Attachment) -> Option<Fault> {
    let (interface, mode) = (attachment.interface(), attachment.mode());
    let device = Device::at(interface.index).ok()?;
    let finding = lost::with(&interface.name, &device, mode)?;
    Some(Fault {
        interface: interface.name.clone(),
        kind: Kind::Obstacle,
        what: finding.what,
        fix: finding.fix,
    })
}

/// Says what begins and what ends.
fn tell(before: &[Fault], now: &[Fault]) {
    let is_in = |list: &[Fault], one: &Fault| {
        list.iter().any(|other| (&other.interface, other.kind) == (&one.interface, one.kind))
    };
    for fault in now.iter().filter(|fault| !is_in(before, fault)) {
        let Fault { interface, what, fix, .. } = fault;
        match fix {
            Some(fix) => tracing::error!(interface, fix, "{what}"),
            None => tracing::error!(interface, "{what}"),
        }
    }
    for fault in before.iter().filter(|fault| !is_in(now, fault)) {
        let Fault { interface, what, .. } = fault;
        tracing::info!(interface, "it is over that {what}");
    }
}

/// The places of [`HOOKS`] are those that snapshots are taken in.
const _: () = assert!(maps::XDP_COUNTERS == 0 && maps::TCX_COUNTERS == 1);
