//! What is wrong where XDP is attached, or should be: said once when it begins and once when it ends, and told by
//! `health` and `xdp status` in between.

use xdp_common::Outcome;

use super::attachments::Attachments;
use crate::config::XdpMode;
use crate::datapath::attach::Attachment;
use crate::datapath::device::Device;
use crate::datapath::interface;
use crate::datapath::load::Counters;
use crate::datapath::memory::driver;
use crate::datapath::probe::lost;
use crate::datapath::watch::{self, DriverCounters, Programs, Snapshot, Watch};
use crate::observe::attachment::{Fault, FaultKind};

/// Ticks between two looks: some drivers ask their card for counters, which takes milliseconds.
const TICKS: u64 = 4;

/// What is known to be wrong.
#[derive(Debug, Default)]
pub(super) struct Faults {
    ticks: u64,
    /// Interfaces that the daemon started without.
    unattached: Vec<Fault>,
    xdp: Watch,
    tcx: Watch,
    found: Vec<Fault>,
}

impl Faults {
    /// The daemon is without this interface.
    pub(super) fn not_attached(&mut self, interface: &str, error: &anyhow::Error) {
        tracing::error!(interface, "no XDP, the sockets answer: {error:#}");
        self.unattached.push(Fault {
            interface: interface.to_owned(),
            kind: FaultKind::NotAttached,
            what: format!("no XDP, the sockets answer: {error:#}"),
            fix: Some(format!("sealdns xdp attach {interface}")),
        });
    }

    /// It is without it no more.
    pub(super) fn attached(&mut self, interface: &str) {
        self.unattached.retain(|fault| fault.interface != interface);
    }

    /// All that is wrong now.
    pub(super) fn list(&self) -> Vec<Fault> {
        self.unattached.iter().chain(&self.found).cloned().collect()
    }

    /// Looks whether answers leave, every few ticks. `counters` are those of XDP and of TCX, if they can be read.
    pub(super) fn tick(
        &mut self,
        attachments: &Attachments,
        counters: impl FnOnce() -> [Option<Counters>; 2],
    ) {
        if self.ticks.is_multiple_of(TICKS) {
            self.look(attachments, counters);
        }
        self.ticks += 1;
    }

    fn look(
        &mut self,
        attachments: &Attachments,
        counters: impl FnOnce() -> [Option<Counters>; 2],
    ) {
        // What programs count first, and then what drivers do: an answer in between has left early, at worst.
        let [xdp, tcx] = counters().map(|counters| counters.as_ref().map(sums));
        let is_alone = |one: &Attachment| one.mode() == XdpMode::Tcx;
        let on = |alone: bool| {
            let meant = attachments.iter().filter(|one| is_alone(one) == alone);
            meant.filter_map(counts).collect()
        };
        let other_hook = attachments.iter().any(Attachment::has_tcx_behind);
        let xdp = xdp.map(|xdp| Snapshot {
            programs: Programs {
                other_hook: tcx.filter(|_| other_hook).map_or(0, |tcx| tcx.answered),
                ..xdp
            },
            devices: on(false),
        });
        let tcx = tcx.map(|programs| Snapshot { programs, devices: on(true) });
        let obstacles: Vec<Fault> = attachments.iter().filter_map(obstacle).collect();
        xdp.iter().for_each(|now| self.xdp.look(now));
        tcx.iter().for_each(|now| self.tcx.look(now));
        let counted = self.xdp.found().chain(self.tcx.found()).cloned();
        let now: Vec<Fault> = obstacles.into_iter().chain(counted).collect();
        log_changes(&self.found, &now);
        self.found = now;
    }
}

/// What the programs of a hook have seen and answered.
fn sums(counters: &Counters) -> Programs {
    let sum = |is_meant: fn(Outcome) -> bool| {
        let meant = Outcome::ALL.into_iter().filter(|outcome| is_meant(*outcome));
        meant.map(|outcome| counters[outcome.index()]).fold(0, u64::wrapping_add)
    };
    Programs { seen: sum(|_| true), answered: sum(Outcome::is_answered), other_hook: 0 }
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
        counted: DriverCounters::of(&device.driver, &statistics),
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
        kind: FaultKind::Obstacle,
        what: finding.what,
        fix: finding.fix,
    })
}

/// Says what begins and what ends.
fn log_changes(before: &[Fault], now: &[Fault]) {
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
        tracing::info!(interface, "no longer a problem: {what}");
    }
}
