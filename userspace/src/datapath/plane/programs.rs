//! The programs: loaded over maps, attached, pinned, told what they need to know, and what they have counted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use xdp_common::Outcome;
use xdp_common::limit::Limited;
use xdp_common::limit::amplified::Amplified;
use xdp_common::maps::{MAX_MACS, Verdicts};
use xdp_common::trace::Filter;

use super::attachments::Attachments;
use super::counters::{CarriedCounters, HOOKS};
use super::faults::Faults;
use super::pinning::Pinning;
use super::settings::{NO_ADDRESS, Settings};
use crate::config::{Config, OnExit, TcxMode, XdpMode};
use crate::datapath::attach::{self, Attachment};
use crate::datapath::device::Device;
use crate::datapath::interface::Interface;
use crate::datapath::load::{LoadedPrograms, ProgramSet};
use crate::datapath::memory::{Size, wait_for_programs};
use crate::datapath::path::{PathChoice, has_tcx};
use crate::datapath::probe::finding::Severity;
use crate::datapath::probe::findings;
use crate::datapath::seam::{self, Detached, TestRunResult, TraceLines};
use crate::observe::{self, KernelCounters};

/// The programs, or what they would be told.
pub(super) struct Programs {
    mode: XdpMode,
    tcx: TcxMode,
    on_exit: OnExit,
    // Dropped before the programs that they run.
    attachments: Attachments,
    loaded: Option<LoadedPrograms>,
    settings: Settings,
    counters: CarriedCounters,
    pinning: Pinning,
    /// What is wrong where they are attached.
    faults: Faults,
    /// Whether the programs that are attached have anything to answer.
    is_settled: bool,
}

/// An interface that may be attached to.
pub(super) struct AttachTarget {
    interface: Interface,
    /// What an earlier daemon left there.
    adopted: Option<Attachment>,
}

impl Programs {
    /// None yet.
    pub(super) fn new(config: &Config) -> anyhow::Result<Programs> {
        Ok(Programs {
            mode: config.xdp.mode,
            tcx: config.xdp.tcx,
            on_exit: config.xdp.on_exit,
            attachments: Attachments::default(),
            loaded: None,
            settings: Settings::new(config)?,
            counters: CarriedCounters::new(),
            pinning: Pinning::new(config),
            faults: Faults::default(),
            is_settled: false,
        })
    }

    /// What they are told.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The same to be changed, and the programs whose maps are to be written then.
    pub(super) fn settings_mut(&mut self) -> (&mut Settings, Option<&mut LoadedPrograms>) {
        (&mut self.settings, self.loaded.as_mut())
    }

    /// Answers from now on where this configuration says.
    pub(super) fn answer_on(&mut self, config: &Config) -> anyhow::Result<()> {
        let (devices, loaded) = (self.attachments.interfaces(), self.loaded.as_mut());
        self.settings.answer_on(config, devices, loaded)
    }

    /// What is pinned.
    pub(super) fn pinning(&mut self) -> &mut Pinning {
        &mut self.pinning
    }

    /// Where they are attached.
    pub(super) fn attachments(&mut self) -> &mut Attachments {
        &mut self.attachments
    }

    /// What is wrong where they are attached.
    pub(super) fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    //--- Loading

    /// Whether there are any.
    pub(super) fn are_loaded(&self) -> bool {
        self.loaded.is_some()
    }

    /// Loads programs over maps of this size, which are to take the place of those that are there. Those of the
    /// hooks that are in use are verified: what is attached is to go on.
    pub(super) fn load(&self, size: Size) -> anyhow::Result<LoadedPrograms> {
        let mut loaded = LoadedPrograms::new(size)?;
        for hook in [ProgramSet::Xdp, ProgramSet::Tcx] {
            if self.loaded.as_ref().is_some_and(|old| old.has(hook)) {
                loaded.verify(hook)?;
            }
        }
        Ok(loaded)
    }

    /// Puts programs that were [loaded](Programs::load) in the place of those that are there, between two packets;
    /// their maps have all that is published.
    pub(super) fn exchange(
        &mut self,
        mut loaded: LoadedPrograms,
        size: Size,
    ) -> anyhow::Result<()> {
        self.settings.fill(&mut loaded, size.buckets)?;
        let old = self.loaded.replace(loaded);
        self.counters.carry(self.loaded.as_mut(), old.as_ref());
        if let Err(error) = self.pinning.pin(self.loaded.as_ref(), true) {
            tracing::error!("what is pinned ends with the daemon: {error}");
        }
        // What was taken over goes on until zones are loaded.
        self.replace(|attachment| attachment.adopted().is_none())?;
        if let Some(old) = &old {
            // The last packets are still on their way through the old programs.
            self.wait_until_passed();
            self.counters.add(old);
            self.counters.carry(self.loaded.as_mut(), None);
        }
        self.pinning.keep(self.counters.previous_set());
        Ok(())
    }

    /// Has the programs of both hooks verified, for an interface that comes later.
    pub(super) fn verify_all(&mut self) {
        let Some(loaded) = &mut self.loaded else { return };
        for hook in [ProgramSet::Xdp, ProgramSet::Tcx] {
            if let Err(error) = loaded.verify(hook) {
                tracing::warn!("no program for interfaces that appear later: {error}");
            }
        }
    }

    /// Ends programs that are attached to nothing.
    pub(super) fn unload(&mut self) {
        self.loaded = None;
    }

    /// Whether programs are loaded that nothing runs.
    pub(super) fn are_idle(&self) -> bool {
        self.loaded.is_some() && self.attachments.count() == 0
    }

    /// Waits until no packet that came before is on its way through the programs.
    pub(super) fn wait_until_passed(&self) {
        if self.loaded.is_some()
            && let Err(error) = wait_for_programs()
        {
            tracing::debug!(%error, "the kernel does not tell when programs have ended");
            std::thread::sleep(LONG_AFTER);
        }
    }

    /// Puts the loaded programs in the place of those that run where `is_meant` says.
    fn replace(&mut self, is_meant: impl Fn(&Attachment) -> bool) -> anyhow::Result<()> {
        let loaded = self.loaded.as_mut().context(NOT_LOADED)?;
        for attachment in self.attachments.iter_mut().filter(|one| is_meant(one)) {
            if let Err(error) = attachment.replace(loaded) {
                let name = &attachment.interface().name;
                tracing::error!(interface = name, "XDP is detached: {error}");
            }
            if attachment.has_tcx_behind() && attachment.wants_tcx(self.tcx) {
                add_tcx(attachment, loaded, self.tcx);
            } else if attachment.has_tcx_behind() {
                attachment.remove_tcx();
            }
        }
        self.attachments.keep_those_there();
        Ok(())
    }

    //--- Attaching

    /// Finds an interface that may be attached to. What an earlier daemon left there is taken over; what of it does
    /// not fit is detached.
    pub(super) fn place(&mut self, interface: &str) -> anyhow::Result<AttachTarget> {
        if self.attachments.is_on(interface) {
            bail!("XDP is attached to {interface} already");
        }
        if self.attachments.count() == MAX_MACS {
            bail!("XDP is attached to {MAX_MACS} interfaces already, and there may not be more");
        }
        if self.settings.have_no_address() {
            bail!(NO_ADDRESS);
        }
        let mut interface = Interface::find(interface)?;
        self.pinning.open()?;
        let mode = PathChoice::new(&interface, self.mode, self.tcx)?.mode();
        let adopted = self.adopt(&interface, mode)?;
        if adopted.is_none() {
            // What did not fit is detached now.
            interface = Interface::find(&interface.name)?;
            attach::check_free(&interface, mode)?;
        }
        Ok(AttachTarget { interface, adopted })
    }

    /// Takes over what an earlier daemon pinned for this interface, if there is anything that fits.
    /// [`XdpMode::Auto`] takes XDP however it is attached, unless TCX is to answer alone: `mode` is the first that
    /// would be tried.
    fn adopt(
        &mut self,
        interface: &Interface,
        mode: XdpMode,
    ) -> anyhow::Result<Option<Attachment>> {
        if self.pinning.folder().is_none() {
            return Ok(None);
        }
        let links = self.pinning.links_of(interface.index);
        let mode = if mode == XdpMode::Tcx { mode } else { self.mode };
        let Some(adopted) = Attachment::adopt(interface, mode, links)? else {
            return Ok(None);
        };
        let set = self.pinning.set_of(&adopted);
        self.counters.take_over(set, |set| self.pinning.counters_of(set));
        Ok(Some(adopted))
    }

    /// Attaches the programs, which are loaded.
    pub(super) fn attach(&mut self, place: AttachTarget) -> anyhow::Result<()> {
        self.pinning.pin(self.loaded.as_ref(), false)?;
        let AttachTarget { interface, adopted } = place;
        // Known before the first packet comes.
        let others = self.attachments.count();
        self.settings.add_device(others, &interface, self.loaded.as_mut());
        let links = self.pinning.links_of(interface.index);
        let loaded = self.loaded.as_mut().context(NOT_LOADED)?;
        let attached = match adopted {
            Some(adopted) => Ok(adopted),
            None => Attachment::new(loaded, interface, self.mode, self.tcx, links),
        };
        let attached = attached.map(|mut attachment| {
            if attachment.adopted().is_some() {
                // Once privileges are given up it is too late.
                for hook in attachment.hooks() {
                    if let Err(error) = loaded.verify(hook) {
                        tracing::warn!("no program to replace what was taken over: {error}");
                    }
                }
            } else if attachment.wants_tcx(self.tcx) {
                add_tcx(&mut attachment, loaded, self.tcx);
            }
            // What stands in the way of XDP does not in that of TCX.
            if attachment.mode() != XdpMode::Tcx {
                warn_of(attachment.interface());
            }
            self.faults.attached(&attachment.interface().name);
            self.attachments.add(attachment);
        });
        self.settings.set_devices(self.attachments.interfaces(), self.loaded.as_mut());
        self.pinning.pin(self.loaded.as_ref(), false)?;
        Ok(attached?)
    }

    /// Detaches what an earlier daemon pinned for interfaces that are not attached to.
    pub(super) fn detach_others(&mut self) {
        let attached: Vec<u32> = self.attachments.interfaces().map(|one| one.index).collect();
        self.pinning.unpin_others(&attached);
        self.pinning.keep(self.counters.previous_set());
    }

    /// Puts the programs in the place of those of an earlier daemon: their maps have all that is to be served.
    pub(super) fn replace_adopted(&mut self) -> anyhow::Result<()> {
        self.is_settled = true;
        if !self.attachments.has_adopted() {
            return Ok(());
        }
        // If we are killed from here on, the next daemon finds in one place what was counted.
        self.counters.carry(self.loaded.as_mut(), None);
        self.replace(|attachment| attachment.adopted().is_some())?;
        self.wait_until_passed();
        self.inherit();
        tracing::info!("the programs that were taken over are replaced");
        Ok(())
    }

    /// From here on what the earlier daemon's programs have counted is ours, and they are gone.
    fn inherit(&mut self) {
        self.counters.inherit();
        self.counters.carry(self.loaded.as_mut(), None);
        self.pinning.keep(None);
    }

    /// Detaches from one interface, or from all, and waits for none of that name; says which those were.
    pub(super) fn detach(&mut self, interface: Option<&str>) -> anyhow::Result<Detached> {
        let (gone, forgotten) = self.attachments.take(interface)?;
        let detached = gone.iter().map(|one| one.interface().name.clone()).collect();
        gone.into_iter().for_each(Attachment::detach);
        if self.counters.has_previous() && !self.attachments.has_adopted() {
            self.inherit();
        }
        if self.attachments.are_none() {
            self.pinning.remove();
        }
        self.settings.set_devices(self.attachments.interfaces(), self.loaded.as_mut());
        Ok(Detached { detached, forgotten })
    }

    /// Detaches from all, or leaves it to the next daemon, as the configuration says.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        self.end_trace()?;
        match self.pinning.folder() {
            Some(pins) if self.on_exit == OnExit::Keep && self.attachments.count() > 0 => {
                tracing::info!(pins = %pins.display(), "XDP goes on answering");
                Ok(())
            }
            _ => self.detach(None).map(drop),
        }
    }

    //--- Tracing

    /// Has the programs verified that trace, for a time when this process may load none.
    pub(super) fn load_traced(&mut self) {
        let Some(loaded) = &mut self.loaded else { return };
        for hook in [ProgramSet::Xdp, ProgramSet::Tcx] {
            if let (true, Err(error)) = (loaded.has(hook), loaded.verify_traced(hook)) {
                tracing::warn!("`xdp trace` will not work: {error}");
            }
        }
        if let Err(error) = self.pinning.pin(self.loaded.as_ref(), false) {
            tracing::warn!("the programs of `xdp trace` are not pinned: {error}");
        }
    }

    /// Puts programs that trace in the place of the others. What fails leaves these.
    pub(super) fn begin_trace(
        &mut self,
        filter: Filter,
        duration: Duration,
    ) -> anyhow::Result<Arc<dyn TraceLines>> {
        if self.attachments.count() == 0 {
            bail!("XDP is not attached to any interface");
        }
        if self.attachments.has_adopted() {
            bail!("an earlier daemon's programs answer until all zones are loaded");
        }
        let loaded = self.loaded.as_mut().context(NOT_LOADED)?;
        for hook in self.attachments.iter().flat_map(Attachment::hooks) {
            loaded.verify_traced(hook)?;
        }
        let traced = Arc::clone(loaded.tracing());
        traced.begin(&filter, duration)?;
        loaded.set_tracing(true);
        // Before they run: a daemon that is killed leaves them to the next one.
        let begun = self.pinning.pin(self.loaded.as_ref(), false);
        if let Err(error) = begun.and_then(|()| self.replace(|_| true)) {
            self.end_trace()?;
            return Err(error);
        }
        Ok(traced)
    }

    /// Puts the others back.
    pub(super) fn end_trace(&mut self) -> anyhow::Result<()> {
        let Some(loaded) = self.loaded.as_mut().filter(|loaded| loaded.is_tracing()) else {
            return Ok(());
        };
        loaded.set_tracing(false);
        let ended = loaded.tracing().end();
        self.replace(|_| true)?;
        self.wait_until_passed();
        ended
    }

    /// Whether programs that trace run.
    pub(super) fn are_tracing(&self) -> bool {
        self.loaded.as_ref().is_some_and(LoadedPrograms::is_tracing)
    }

    //--- Each tick

    /// Looks at the devices again, and tells the programs the time and what has changed.
    pub(super) fn look_again(&mut self) {
        let changed = self.attachments.look_again();
        let (devices, loaded) = (self.attachments.interfaces(), self.loaded.as_mut());
        if changed {
            self.settings.set_devices(devices, loaded);
        } else {
            self.settings.look_at_subnets(devices, loaded);
        }
    }

    /// Looks whether answers leave, every few ticks.
    pub(super) fn look_for_faults(&mut self) {
        let (counters, loaded) = (&self.counters, self.loaded.as_ref());
        let on = |hook| loaded.and_then(|loaded| counters.on(hook, loaded).ok());
        self.faults.tick(&self.attachments, || HOOKS.map(on));
    }

    //--- Asking

    /// Puts in what is known of where they are attached.
    pub(super) fn describe(&self, status: &mut seam::PlaneStatus) {
        let attachments = self.attachments.iter().map(|one| observe::attachment::Attachment {
            interface: one.interface().name.clone(),
            mode: one.mode(),
            tcx: one.has_tcx(),
            pinned: one.is_pinned(),
            adopted: one.adopted().is_some(),
        });
        status.attachments = attachments.collect();
        status.missing = self.attachments.missing();
        status.loader_lost = self.pinning.loader().lost();
        status.faults = self.faults.list();
    }

    /// What was counted.
    pub(super) fn counters(&self) -> KernelCounters {
        self.loaded.as_ref().map(|loaded| self.counters.all(loaded)).unwrap_or_default()
    }

    /// What the limiter decided.
    pub(super) fn verdicts(&self) -> Verdicts {
        self.counters.verdicts(self.loaded.as_ref())
    }

    /// The worst responses.
    pub(super) fn amplified(&self) -> Vec<Amplified> {
        let amplified = self.loaded.as_ref().map(LoadedPrograms::amplified).transpose();
        amplified.map(Option::unwrap_or_default).unwrap_or_else(|error| {
            tracing::warn!("the worst responses cannot be read: {error}");
            Vec::new()
        })
    }

    /// The netblocks that are limited, or were.
    pub(super) fn limited(&self) -> Vec<Limited> {
        let limited = self.loaded.as_ref().map(LoadedPrograms::limited).transpose();
        limited.map(Option::unwrap_or_default).unwrap_or_else(|error| {
            tracing::warn!("the limited netblocks cannot be read: {error}");
            Vec::new()
        })
    }

    /// Has the kernel run the programs on a frame; none if there are none.
    pub(super) fn try_frame(&mut self, frame: &[u8]) -> Option<anyhow::Result<TestRunResult>> {
        self.loaded.as_mut().map(|loaded| try_frame(loaded, frame))
    }
}

/// A daemon that fails before it serves leaves what is pinned as it was.
impl Drop for Programs {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        self.attachments.take_ours().into_iter().for_each(Attachment::detach);
        if self.attachments.count() == 0 {
            self.pinning.remove();
        } else {
            self.pinning.leave(self.counters.previous_set());
        }
    }
}

const NOT_LOADED: &str = "the programs are not loaded";

/// Says what is known to stand in the way of answers on a device.
fn warn_of(interface: &Interface) {
    // A device that cannot be asked has been attached to all the same.
    let Ok(device) = Device::at(interface.index) else { return };
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    let found = findings::of(&interface.name, &device, cpus).into_iter();
    for problem in found.filter(|finding| finding.severity == Severity::Problem) {
        let (interface, fix) = (&interface.name, problem.fix.unwrap_or_default());
        tracing::warn!(interface, fix, "{}", problem.what);
    }
}

fn try_frame(loaded: &mut LoadedPrograms, frame: &[u8]) -> anyhow::Result<TestRunResult> {
    let hook = loaded.tried_hook().counters();
    let before = loaded.counters(hook)?;
    let (action, frame) = loaded.test_run(frame).context("BPF_PROG_TEST_RUN")?;
    let after = loaded.counters(hook)?;
    let moved = |outcome: &Outcome| before[outcome.index()] != after[outcome.index()];
    Ok(TestRunResult { action, frame, counted: Outcome::ALL.into_iter().filter(moved).collect() })
}

/// Attaches to TCX too. Without it the sockets answer what XDP has no room for.
fn add_tcx(attachment: &mut Attachment, loaded: &mut LoadedPrograms, mode: TcxMode) {
    let name = &attachment.interface().name;
    if mode == TcxMode::Auto && !has_tcx(name) {
        tracing::info!(
            interface = name,
            "this kernel has no TCX (Linux 6.6): the sockets answer what XDP has no room for"
        );
        return;
    }
    let added = match loaded.tcx_entry() {
        Ok(program) => attachment.add_tcx(program).map_err(anyhow::Error::from),
        Err(error) => Err(error.into()),
    };
    let interface = &attachment.interface().name;
    match added {
        Ok(()) => tracing::info!(interface, "TCX answers what XDP has no room for"),
        Err(error) => tracing::warn!(
            interface,
            "TCX cannot be used, and the sockets answer what XDP has no room for: {error:#}"
        ),
    }
}

/// How long to wait for running programs where the kernel does not tell when they have ended: a
/// program runs for microseconds.
const LONG_AFTER: Duration = Duration::from_secs(1);
