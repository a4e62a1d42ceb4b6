//! Which path a device needs: found by trying, as far as that disturbs nobody, and else by what is known.
//!
//! Always tried: the programs in this kernel, a packet in no device, a frame of our own behind the driver.
//! Only where it is allowed: a program in the driver, which sees what packets come. Some drivers set up
//! their queues anew for it and lose packets. No frame is ever sent.

pub mod finding;
pub mod findings;
pub mod lost;
pub mod trial;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::device::Device;
use super::interface::{Interface, InterfaceError};
use super::path::{AnswerPath, Facts, has_tcx};
use crate::config::XdpMode;
use finding::{Finding, Severity};
use findings::lacks_room;
use trial::{Room, Trial, TrialResult};

/// Where a kernel with BTF shows it.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// What was found of a device.
#[derive(Debug, Serialize)]
pub struct Probe {
    /// The interface's name.
    pub interface: String,
    /// What it is; `None` if it is no Ethernet device.
    pub device: Option<Device>,
    /// What was tried of the kernel and the device.
    pub tried: Vec<TrialResult>,
    /// Room of a packet in no device.
    pub test_run: Option<Room>,
    /// Room of a frame behind the driver, on TCX.
    pub tcx: Option<Room>,
    /// Room of packets that came while a program was attached.
    pub received: Option<Room>,
    /// The path that it needs.
    pub path: AnswerPath,
    /// All that is to be known.
    pub findings: Vec<Finding>,
}

impl Probe {
    /// Whether something should be changed.
    pub fn has_problems(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Problem)
    }
}

/// Probes a device; `attach` is for how long a program may be attached to it.
pub fn run(name: &str, attach: Option<Duration>) -> anyhow::Result<Probe> {
    let mut probe = Probe {
        interface: name.to_owned(),
        device: None,
        tried: Vec::new(),
        test_run: None,
        tcx: None,
        received: None,
        path: AnswerPath::Sockets,
        findings: Vec::new(),
    };
    let interface = match Interface::find(name) {
        Ok(interface) => interface,
        Err(error @ InterfaceError::NotEthernet(_)) => {
            probe.findings.push(Finding::problem(error.to_string()));
            return Ok(probe);
        }
        Err(error) => return Err(error.into()),
    };
    let device = Device::at(interface.index)?;
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    probe.findings = findings::of(name, &device, cpus);
    let btf = (!Path::new(BTF).exists()).then(|| format!("there is no {BTF}"));
    if btf.is_some() {
        probe.findings.push(Finding::note(
            "the kernel has no BTF: programs load without it, tools show less of them",
        ));
    }
    probe.tried.push(TrialResult { what: "BTF", error: btf });
    let (mut trial, tried) = Trial::new()?;
    probe.tried.extend(tried);
    probe.test_run = probe.note("test run", trial.test_run());
    probe.tcx = probe.note("TCX on this device", trial.tcx(&interface));
    let native = probe.try_attach(&mut trial, &interface, attach, device.native);
    probe.path = probe.way(name, &device, native);
    probe.judge(&interface);
    probe.device = Some(device);
    Ok(probe)
}

impl Probe {
    /// Notes whether something works.
    fn note<T>(&mut self, what: &'static str, result: anyhow::Result<T>) -> Option<T> {
        let (done, error) = match result {
            Ok(done) => (Some(done), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        self.tried.push(TrialResult { what, error });
        done
    }

    /// Whether the driver runs XDP: tried if that is allowed, else as the kernel says, else believed.
    fn try_attach(
        &mut self,
        trial: &mut Trial,
        interface: &Interface,
        lasts: Option<Duration>,
        says: Option<bool>,
    ) -> bool {
        if let Some(attached) = interface.xdp {
            self.findings.push(
                Finding::note(format!("an XDP program is attached (id {})", attached.id))
                    .fix(format!("bpftool prog show id {}", attached.id)),
            );
            return attached.mode == XdpMode::Native;
        }
        let Some(lasts) = lasts else { return says.unwrap_or(true) };
        self.received = self.note("native XDP", trial.attach(interface, XdpMode::Native, lasts));
        if self.received.is_some() {
            return true;
        }
        self.received = self.note("generic XDP", trial.attach(interface, XdpMode::Generic, lasts));
        false
    }

    /// As `mode = "auto"` decides, which looks at no packets.
    fn way(&self, name: &str, device: &Device, native: bool) -> AnswerPath {
        let has = |what| self.tried.iter().any(|one| one.what == what && one.error.is_none());
        let tcx = self.tcx.is_some_and(|room| room.at_tail > 0) && has(trial::TCX_PROGRAMS);
        let facts = Facts::of(name, device, tcx);
        let (native, generic) = match has(trial::XDP_PROGRAMS) {
            true => (facts.native && native, facts.generic),
            false => (false, false),
        };
        Facts { native, generic, room: self.received, ..facts }.way()
    }

    /// What follows from what was tried.
    fn judge(&mut self, interface: &Interface) {
        // Without TCX its programs are of no use either.
        let has_tcx = has_tcx(&interface.name);
        let refused = self.tried.iter().filter(|one| {
            one.what == trial::XDP_PROGRAMS || one.what == trial::TCX_PROGRAMS && has_tcx
        });
        let refused: Vec<Finding> =
            refused.filter_map(|one| Some(Finding::problem(one.error.as_ref()?))).collect();
        self.findings.extend(refused);
        if let Some(room) = self.received.filter(|room| room.at_tail < room.packets) {
            self.findings.push(Finding::note(format!(
                "of {} packets received {} had no room for the largest answer",
                room.packets,
                room.packets - room.at_tail
            )));
        }
        if self.tcx.is_none_or(|room| room.at_tail == 0)
            && lacks_room(&interface.kind, XdpMode::Native)
        {
            self.findings.push(
                Finding::problem(
                    "packets have no room for larger answers, and TCX does not work here: sockets answer",
                )
                .fix("a kernel of Linux 6.6 or later"),
            );
        }
        if self.tried.iter().any(|tried| tried.what == "native XDP" && tried.error.is_some())
            && self.path == AnswerPath::Generic
            && !self.has_problems()
        {
            let what = "the driver refuses XDP: generic mode is used, which is slower";
            self.findings
                .push(Finding::problem(what).fix("a kernel of Linux 6.6 or later, for TCX"));
        }
    }
}
