//! What is found by trying: the programs in this kernel, a probe's packet on this device.

use std::time::{Duration, Instant};

use aya::maps::PerCpuArray;
use aya::programs::links::LinkOrder;
use aya::programs::tc::TcAttachOptions;
use aya::programs::{
    Program, SchedClassifier, TcAttachType, TestRun as _, TestRunAttrs, TestRunOptions, Xdp,
    XdpMode as Flag,
};
use aya::{Ebpf, EbpfLoader};
use serde::Serialize;
use xdp_common::maps::{self, CHUNK_LEN, Probed};

use crate::config::XdpMode;
use crate::datapath::attach_error::reason;
use crate::datapath::interface::Interface;
use crate::datapath::load::{LoadedPrograms, ProgramSet};
use crate::datapath::load_error::LoadError;
use crate::datapath::memory::Size;
use crate::datapath::object::object;

/// Room for no zone.
const SIZE: Size = Size { slab: CHUNK_LEN, buckets: 64 };

/// The least frame (IEEE 802.3 without its checksum).
const FRAME: usize = 60;

/// How long the probe's own frame may be under way: no official reference, it takes microseconds.
const PATIENCE: Duration = Duration::from_millis(200);

const PROBED_WORDS: usize = size_of::<Probed>() / size_of::<u64>();

/// What programs are called in [`TrialResult`].
pub const XDP_PROGRAMS: &str = "programs for XDP";
/// The same for TCX.
pub const TCX_PROGRAMS: &str = "programs for TCX";

/// Something tried: it works, or why it does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrialResult {
    /// What.
    pub what: &'static str,
    /// Why it does not work; `None` if it does.
    pub error: Option<String>,
}

/// What packets had room, of those that were tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Packets tried.
    pub packets: u64,
    /// Those with room for the largest answer at their tail.
    pub at_tail: u64,
    /// Those with some room in front of them only.
    pub at_head: u64,
}

/// The probe's programs, loaded.
pub struct Trial {
    ebpf: Ebpf,
}

impl Trial {
    /// Loads the programs that answer, to see that the kernel takes them, and those that probe. Says what
    /// came of it.
    pub fn new() -> Result<(Trial, Vec<TrialResult>), LoadError> {
        let mut loaded = LoadedPrograms::new(SIZE)?;
        let hooks = [(XDP_PROGRAMS, ProgramSet::Xdp), (TCX_PROGRAMS, ProgramSet::Tcx)];
        let mut tried = Vec::from(hooks.map(|(what, hook)| {
            let error = loaded.verify(hook).err().map(|error| error.to_string());
            TrialResult { what, error }
        }));
        let ebpf = EbpfLoader::new().load(object()?).map_err(LoadError::Object)?;
        let mut trial = Trial { ebpf };
        let [xdp, tcx] =
            ["", maps::TCX_PREFIX].map(|hook| format!("{hook}{}", maps::PROBE_PROGRAM));
        let loaded = [
            trial.program::<Xdp>(&xdp).and_then(|program| Ok(program.load()?)),
            trial.program::<SchedClassifier>(&tcx).and_then(|program| Ok(program.load()?)),
        ];
        let error = loaded.into_iter().find_map(Result::err).map(|error| format!("{error:#}"));
        tried.push(TrialResult { what: "programs that probe", error });
        Ok((trial, tried))
    }

    fn program<'a, P>(&'a mut self, name: &str) -> anyhow::Result<&'a mut P>
    where
        &'a mut P: TryFrom<&'a mut Program>,
    {
        let program = self.ebpf.program_mut(name);
        program.and_then(|program| program.try_into().ok()).ok_or_else(|| {
            anyhow::anyhow!(
                "the eBPF object has no program \"{name}\": build it with `cargo xtask build`"
            )
        })
    }

    fn xdp(&mut self) -> anyhow::Result<&mut Xdp> {
        self.program(maps::PROBE_PROGRAM)
    }

    /// What has been probed on a hook so far.
    fn room(&self, hook: u32) -> anyhow::Result<Room> {
        let map = self.ebpf.map(maps::PROBE);
        let map =
            map.ok_or_else(|| anyhow::anyhow!("the eBPF object has no map {}", maps::PROBE))?;
        let probed = PerCpuArray::<_, [u64; PROBED_WORDS]>::try_from(map)?;
        let mut room = Room::default();
        for [packets, at_tail, at_head] in probed.get(&hook, 0)?.iter() {
            room.packets += packets;
            room.at_tail += at_tail;
            room.at_head += at_head;
        }
        Ok(room)
    }

    /// Runs a packet that is in no device (BPF_PROG_TEST_RUN): it has room if the kernel can make it.
    pub fn test_run(&mut self) -> anyhow::Result<Room> {
        let before = self.room(maps::XDP_COUNTERS)?;
        let options = TestRunOptions { data_in: Some(&[0; FRAME]), ..TestRunOptions::new() };
        self.xdp()?.test_run(options)?;
        Ok(self.room(maps::XDP_COUNTERS)? - before)
    }

    /// Makes a frame of our own appear as received by the device, behind its driver, and takes it off there
    /// before anybody else sees it: whether TCX can be attached and has room. All other packets pass, and
    /// nothing is sent.
    pub fn tcx(&mut self, interface: &Interface) -> anyhow::Result<Room> {
        let before = self.room(maps::TCX_COUNTERS)?;
        let name = format!("{}{}", maps::TCX_PREFIX, maps::PROBE_PROGRAM);
        let program: &mut SchedClassifier = self.program(&name)?;
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = program.attach_with_options(&interface.name, TcAttachType::Ingress, first)?;
        let link = program.take_link(id)?;
        let mut frame = [0; FRAME];
        frame[..6].copy_from_slice(&interface.mac);
        frame[6..12].copy_from_slice(&interface.mac);
        frame[12..14].copy_from_slice(&maps::PROBE_ETHERTYPE.to_be_bytes());
        // struct xdp_md: data_end, and ingress_ifindex.
        let mut context = [0u8; 24];
        context[4..8].copy_from_slice(&(FRAME as u32).to_ne_bytes());
        context[12..16].copy_from_slice(&interface.index.to_ne_bytes());
        self.xdp()?.test_run(TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            attrs: TestRunAttrs::new().xdp_live_frames(1),
            ..TestRunOptions::new()
        })?;
        let until = Instant::now() + PATIENCE;
        loop {
            let room = self.room(maps::TCX_COUNTERS)? - before;
            if room.packets > 0 || Instant::now() > until {
                drop(link);
                return Ok(room);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Attaches a program that passes everything, natively if it may be, for this long: how it was attached,
    /// and what room the packets had that came. Drivers may set their queues up anew, and lose packets then.
    pub fn attach(
        &mut self,
        interface: &Interface,
        mode: XdpMode,
        lasts: Duration,
    ) -> anyhow::Result<Room> {
        let before = self.room(maps::XDP_COUNTERS)?;
        let flag = if mode == XdpMode::Generic { Flag::Skb } else { Flag::Driver };
        let program = self.xdp()?;
        let attached = program.attach_to_if_index(interface.index, flag);
        let link = attached.and_then(|id| program.take_link(id)).map_err(|error| reason(&error))?;
        std::thread::sleep(lasts);
        let room = self.room(maps::XDP_COUNTERS)? - before;
        drop(link);
        Ok(room)
    }
}

impl std::ops::Sub for Room {
    type Output = Room;

    fn sub(self, before: Room) -> Room {
        Room {
            packets: self.packets - before.packets,
            at_tail: self.at_tail - before.at_tail,
            at_head: self.at_head - before.at_head,
        }
    }
}
