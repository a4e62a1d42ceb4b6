//! The seam between the daemon and its data plane.

use std::sync::Arc;
use std::time::Duration;

use xdp_common::limit::Limited;
use xdp_common::limit::amplified::Amplified;
use xdp_common::maps::{EdnsSettings, Verdicts};
use xdp_common::trace::Filter;
use xdp_common::{Outcome, maps};

use crate::compile::{ApartZone, Engine, Listing, PlacedZone, Reader, Room};
use crate::config::Config;
use crate::observe::KernelCounters;
use crate::observe::attachment::{Attachment, Fault, Missing};
use crate::observe::trace::TraceLine;
use crate::observe::usage::{MapUsage, ZoneUsage};
use crate::ratelimit::limits::Limits;
use crate::zone::difference::Difference;
use crate::zone::{Name, Version};

/// The data plane: compiled zones in memory and, where XDP is attached, in its maps.
///
/// Calls come one at a time, from threads that may block. What crosses each of its three parts could be a message or a
/// descriptor, so that each may be a process of its own one day: nothing of it holds a lock of the daemon's, or is
/// held by it.
pub trait DataPlane: Publishing + Attaching + Observing + Send {
    /// Called about once a second, so that XDP's idea of wall-clock time stays right.
    fn tick(&mut self);
}

/// What is answered: the side of who has zones and no sockets.
pub trait Publishing {
    /// Answers from `zone` from now on, in place of any older version of it. On an error the older
    /// version stays. `change` is how it differs from the version that was published last, if that is known: what it
    /// costs may go by that.
    fn publish(&mut self, zone: &Version, change: Option<&Difference>)
    -> anyhow::Result<Published>;

    /// As [`publish`](Publishing::publish), unless all of a large zone would have to be compiled, for which other zones
    /// would wait: then nothing is done, and the answer is who compiles it apart. What is compiled is placed where
    /// [`reserve`](Publishing::reserve) says, and published by [`publish_placed`](Publishing::publish_placed).
    fn publish_at_once(
        &mut self,
        zone: &Version,
        change: Option<&Difference>,
    ) -> anyhow::Result<Publication> {
        self.publish(zone, change).map(Publication::Done)
    }

    /// Who compiles zones for this data plane, if any are compiled.
    fn compiler(&self) -> Option<Arc<dyn ApartCompiler>> {
        None
    }

    /// Hashes names with this key from now on, which nobody outside may know. Called before anything is published.
    fn set_hash_key(&mut self, _key: u64) {}

    /// Takes room for a zone that was compiled apart; `None` if there is none, and it must be published by
    /// [`publish`](Publishing::publish).
    fn reserve(&mut self, _zone: &ApartZone) -> anyhow::Result<Option<Room>> {
        Ok(None)
    }

    /// Gives room back that was not filled.
    fn cancel(&mut self, _room: Room) {}

    /// Makes of a zone that was placed the version to which `change` leads. On an error the zone is given back.
    fn change_placed(
        &mut self,
        _placed: PlacedZone,
        _zone: &Version,
        _change: &Difference,
    ) -> anyhow::Result<PlacedZone> {
        anyhow::bail!("nothing was reserved");
    }

    /// Gives back what a zone has taken that was placed and is not to be published.
    fn cancel_placed(&mut self, _placed: PlacedZone) {}

    /// Answers from `zone`, which was placed, from now on, in place of any older version of it. On an error the older
    /// version stays, and nothing of the other is left.
    fn publish_placed(
        &mut self,
        _zone: &Version,
        _placed: PlacedZone,
    ) -> anyhow::Result<Published> {
        anyhow::bail!("nothing was reserved");
    }

    /// The version that is published is this one from now on, which has the same records in other memory.
    fn exchange(&mut self, zone: &Version);

    /// In front of another server, answers for the zone at `apex` from now on, or passes queries for its names on, as it does
    /// until this is called. Takes no time that depends on how large the zone is.
    fn set_answered(&mut self, _apex: &Name, _is_answered: bool) {}

    /// Answers nothing for the zone at `apex` any more.
    fn remove(&mut self, apex: &Name) -> anyhow::Result<()>;

    /// The engine over everything that is published now; asked for after each change.
    fn engine(&self) -> Arc<dyn Engine>;

    /// Presents the server like this from now on.
    fn set_edns_settings(&mut self, edns_settings: &EdnsSettings);

    /// Limits rates from now on as this says, in place of what was said before; all of it takes effect
    /// between two packets, except long lists, which do so entry by entry. On an error what was said before
    /// stays. `qps` is how many queries a second come, for policies that are scaled by it.
    fn set_limits(&mut self, limits: &Arc<Limits>, qps: u64) -> anyhow::Result<()>;
}

/// Where it is answered: the side of who has privileges.
pub trait Attaching {
    /// Attaches XDP to one more interface.
    fn attach(&mut self, interface: &str) -> anyhow::Result<()>;

    /// Detaches XDP from one interface, or from all, and waits for none of that name; says which those were.
    fn detach(&mut self, interface: Option<&str>) -> anyhow::Result<Detached>;

    /// Answers on the addresses that the configuration names now, and is on the interfaces that it names and no more on
    /// those that only the one before has named.
    ///
    /// # Errors
    /// If it can be on no interface that is new: then all stays as it was.
    fn follow(&mut self, _before: &Config, _now: &Config) -> anyhow::Result<()> {
        Ok(())
    }

    /// Called when all zones that are to be served were published: where an earlier daemon's programs were
    /// taken over, they answer until then, and are replaced now.
    fn replace_adopted(&mut self) -> anyhow::Result<()>;

    /// Shows what becomes of the packets that this filter chooses, for that long at most or until
    /// [`end_trace`](Attaching::end_trace): programs that trace take the others' place, between two packets. They are
    /// verified first, if that was not done yet.
    fn begin_trace(
        &mut self,
        _filter: Filter,
        _duration: Duration,
    ) -> anyhow::Result<Arc<dyn TraceLines>> {
        anyhow::bail!("there is no XDP to trace");
    }

    /// Puts the programs back that do not trace.
    fn end_trace(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Called once, when the daemon ends: detaches XDP, or leaves it to the next daemon, as the
    /// configuration says.
    fn end(&mut self) -> anyhow::Result<()>;
}

/// What can be seen of it: counters, and what programs make of a frame. Nothing is changed by it.
pub trait Observing {
    /// Where XDP is attached, and how full the maps are.
    fn status(&self) -> PlaneStatus;

    /// What the programs count.
    fn counters(&self) -> KernelCounters;

    /// The worst responses that XDP and TCX sent in the seconds that are remembered, in no order.
    fn amplified(&self) -> Vec<Amplified>;

    /// What the limiter decided in XDP and in TCX, summed up.
    fn verdicts(&self) -> Verdicts;

    /// The netblocks that XDP and TCX limit, or are about to, in no order; and, some seconds old, those that
    /// they no longer do.
    fn limited(&self) -> Vec<Limited>;

    /// Whether programs that trace run.
    fn is_tracing(&self) -> bool {
        false
    }

    /// A look into what is published, if anything is compiled.
    fn inspect(&self) -> Option<Inspection> {
        None
    }

    /// The nodes of a zone that is published, with the hashes of their names, the apex first.
    fn nodes(&self, _apex: &Name) -> Listing {
        Listing::default()
    }

    /// Has the kernel run the loaded programs on a frame, which is counted as any packet is; none if there are no
    /// programs.
    fn try_frame(&mut self, _frame: &[u8]) -> Option<anyhow::Result<TestRunResult>> {
        None
    }
}

/// The lines of a trace. Reading them takes nothing of the data plane: what crosses are the descriptors of maps.
pub trait TraceLines: Send + Sync {
    /// The lines since the last reading.
    fn read(&self) -> anyhow::Result<TraceRead>;
}

/// What was read of a trace.
#[derive(Debug, Default)]
pub struct TraceRead {
    /// The lines, those of each CPU in order.
    pub lines: Vec<TraceLine>,
    /// Packets, since the trace began, that were chosen and have no line: there was no room for it.
    pub lost: u64,
}

/// Where XDP is no more, and is not to be.
#[derive(Debug, Default)]
pub struct Detached {
    /// The interfaces that it was on.
    pub detached: Vec<String>,
    /// Those that it was to be on as soon as they would be there.
    pub forgotten: Vec<String>,
}

/// What is published, and what the programs are told of it.
pub struct Inspection {
    /// The engine over it.
    pub reader: Reader,
    /// The engine that the daemon answers with: over all names of all zones.
    pub whole: Reader,
    /// What the programs are told, or would be.
    pub config: maps::Config,
    /// What options of responses say, and whether names of no zone are refused.
    pub edns_settings: maps::EdnsSettings,
    /// Whether they are loaded.
    pub is_loaded: bool,
}

/// What the programs did with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRunResult {
    /// What the kernel is to do with it (`enum xdp_action` of linux/bpf.h).
    pub action: u32,
    /// The frame as they left it.
    pub frame: Vec<u8>,
    /// The outcomes that were counted meanwhile, those of other packets among them.
    pub counted: Vec<Outcome>,
}

/// How large what will be published is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpectedSize {
    /// Names.
    pub names: u64,
    /// Octets of the slab.
    pub slab: u64,
}

impl ExpectedSize {
    /// Counts one more zone.
    pub fn add(&mut self, names: u64, slab: u64) {
        self.names = self.names.saturating_add(names);
        self.slab = self.slab.saturating_add(slab);
    }
}

/// What became of a publication.
pub enum Publication {
    /// It was done.
    Done(Published),
    /// All of the zone must be compiled first, by this.
    Apart(Arc<dyn ApartCompiler>),
}

/// Compiles zones without the data plane: nobody waits for it.
pub trait ApartCompiler: Send + Sync {
    /// Compiles a zone for the data plane that this is of. `now` is seconds since 1970, truncated to 32 bits: of signatures
    /// that hold at different times it says which.
    ///
    /// # Errors
    /// If it cannot be compiled.
    fn compile(&self, zone: &Version, now: u32) -> anyhow::Result<ApartZone>;

    /// The key with which names are hashed.
    fn hash_key(&self) -> u64;
}

/// Owner names from which on a zone is compiled apart: a smaller one takes less than a fifth of a second. Small in unit
/// tests, so that their zones are.
pub const APART_FROM: usize = if cfg!(test) { 50 } else { 50_000 };

/// What became of a zone that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Published {
    /// Records of the image that were written.
    pub written: usize,
    /// Records that were there already and are the same in the version before.
    pub kept: usize,
    /// Whether XDP has only some of the zone's names.
    pub is_partial: bool,
    /// How it was done.
    pub manner: PublishedManner,
}

/// How a version was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PublishedManner {
    /// All of it was compiled.
    #[default]
    Whole,
    /// What changed was.
    Difference,
}

/// The state of a [`DataPlane`].
#[derive(Debug, Clone, Default)]
pub struct PlaneStatus {
    /// Where XDP is attached.
    pub attachments: Vec<Attachment>,
    /// Where it was, and is to be again.
    pub missing: Vec<Missing>,
    /// Why nothing can be attached or pinned any more, if that is so.
    pub loader_lost: Option<String>,
    /// What keeps answers from being given or from leaving there, or where it should be attached.
    pub faults: Vec<Fault>,
    /// How full the maps are.
    pub maps: Vec<MapUsage>,
    /// What the zones take.
    pub zones: Vec<ZoneUsage>,
    /// Octets in use for them, in the maps or in the daemon's memory: records, and the table.
    pub image_octets: u64,
}
