//! The maps that the kernel and the daemon share: names, types, sizes, who writes and who reads.
//!
//! | map | type | value | writes | reads |
//! |---|---|---|---|---|
//! | [`SLAB`] | array, mmapable | [`Chunk`] | daemon | XDP, TCX, daemon |
//! | [`TABLE`] | array, mmapable | [`Bucket`](crate::image::Bucket) | daemon | XDP, TCX, daemon |
//! | [`CONFIG`] | array, mmapable, one entry | [`Config`] | daemon | XDP, TCX |
//! | [`CLOCK`] | per-CPU array, one entry | [`Clock`] | XDP, TCX | XDP, TCX, daemon |
//! | [`EDNS_SETTINGS`] | array, mmapable, one entry | [`EdnsSettings`] | daemon | XDP, TCX |
//! | [`SCRATCH`] | per-CPU array, one entry | [`Scratch`](crate::Scratch) | XDP, TCX | XDP, TCX |
//! | [`STATS`] | per-CPU array, an entry per hook | [`Stats`] | XDP, TCX | daemon |
//! | [`META`] | array, one entry | [`Meta`] | daemon | the next daemon |
//! | [`PROBE`] | per-CPU array, an entry per hook | [`Probed`] | the probe | `xdp probe` |
//! | [`PROGRAMS`] | program array | program | daemon, once | XDP |
//! | [`TCX_PROGRAMS`] | program array | program | daemon, once | TCX |
//! | [`POLICY`] | array, two halves | [`Rules`](crate::limit::Rules) | daemon | XDP, TCX |
//! | [`RATE`] | array | [`Slots`](crate::limit::table::Slots) | XDP, TCX | XDP, TCX |
//! | [`EXEMPT`], [`BLOCK`] | LPM trie by [`Netblock`](crate::limit::Netblock) | [`ListEntry`](crate::limit::ListEntry) | daemon | XDP, TCX |
//! | [`NAMES`] | hash by 64-bit hash of a name | [`NameEntry`](crate::limit::NameEntry) | daemon | XDP, TCX |
//! | [`LIMITED`] | array | [`Limited`](crate::limit::Limited) | XDP, TCX | daemon |
//! | [`VERDICTS`] | per-CPU array, an entry per hook | [`Verdicts`] | XDP, TCX | daemon |
//! | [`TRACE`] | array, one entry | [`Filter`](crate::trace::Filter) | daemon | programs that trace |
//! | [`TRACED`] | per-CPU array, one entry | [`Seen`](crate::trace::Seen) | programs that trace; daemon, before them | the same, daemon |
//! | [`TRACED_PROGRAMS`] | program array | program | daemon, for a trace | XDP, while it is traced |
//! | [`TCX_TRACED_PROGRAMS`] | program array | program | daemon, for a trace | TCX, while it is traced |
//! | [`TRACE_LINES`] | ring buffer | `aya-log`'s lines | programs that trace | daemon |
//!
//! All values are integers and octets without padding; their sizes are asserted here.

pub use crate::address::{address_words, broadcast_word, mac_word};
use crate::engine::sequence::Stage;
use crate::limit::amplified::{Amplified, SECONDS};
use crate::limit::decide::Count;
use crate::limit::policy::MAX_POLICIES;
pub use crate::limit::verdict::PASSED;
use crate::limit::{Class, Verdict};
pub use crate::state::config::{
    Config, EdnsSettings, MAX_ADDRESSES, MAX_BROADCASTS, MAX_MACS, MAX_NSID, MAX_PORTS, limits,
};

/// Name of the map of records.
pub const SLAB: &str = "SLAB";
/// Name of the map of buckets.
pub const TABLE: &str = "TABLE";
/// Name of the map with the configuration.
pub const CONFIG: &str = "CONFIG";
/// Name of the map with what each CPU last read of the clock, and its worst responses.
pub const CLOCK: &str = "CLOCK";
/// Name of the map with what options of responses say.
pub const EDNS_SETTINGS: &str = "EDNS_SETTINGS";
/// Name of the map with the engine's working memory.
pub const SCRATCH: &str = "SCRATCH";
/// Name of the map with the counters.
pub const STATS: &str = "STATS";
/// The place of XDP's counters in it.
pub const XDP_COUNTERS: u32 = 0;
/// The place of TCX's.
pub const TCX_COUNTERS: u32 = 1;
/// How many places it has.
pub const COUNTERS_COUNT: u32 = 2;

/// Name of the map with what a daemon tells the next one, if maps are pinned.
pub const META: &str = "META";
/// Name of the map of policies. It has two halves of [`MAX_POLICIES`] entries: the daemon writes the one that
/// is not in use, and [`Config::policies_at`] says which one is. Place 0 of a half is the default.
pub const POLICY: &str = "POLICY";
/// Entries of it.
pub const POLICY_COUNT: u32 = 2 * MAX_POLICIES as u32;
/// Name of the map of accounts.
pub const RATE: &str = "RATE";
/// Buckets of it, a power of two: 4 MiB, 524,288 accounts (as many as Knot's table has).
pub const RATE_BUCKETS: u32 = 1 << 16;
/// Name of the map of prefixes that are not limited.
pub const EXEMPT: &str = "EXEMPT";
/// Name of the map of prefixes that get nothing.
pub const BLOCK: &str = "BLOCK";
/// The most prefixes in either; memory is taken as they come.
pub const MAX_PREFIXES: u32 = 1 << 20;
/// Name of the map of names that are blocked or have a policy of their own, by
/// [`dns::name::hash`](crate::dns::name::hash) with [`Config::seed`]. Here a hash decides: that a name is
/// taken for one of n has a chance of n in 2^64, and costs it an answer, never a wrong one.
pub const NAMES: &str = "NAMES";
/// The most names in it; memory is taken as they come.
pub const MAX_NAMES: u32 = 1 << 16;
/// Name of the map of netblocks that are limited.
pub const LIMITED: &str = "LIMITED";
/// Entries of it, a power of two.
pub const LIMITED_COUNT: u32 = 1 << 12;
/// Name of the map with the counters of verdicts; places as in [`STATS`].
pub const VERDICTS: &str = "VERDICTS";

/// Name of the map with what the probe found.
pub const PROBE: &str = "PROBE";
/// The program that probes, and with [`TCX_PREFIX`] the one on TCX.
pub const PROBE_PROGRAM: &str = "probe";
/// By how many octets an answer grows at most: the probe asks for so many.
pub const PROBE_GROWTH: i32 = crate::dns::MAX_PAYLOAD as i32;
/// The ethertype of the probe's own frames: one for local experiments (IEEE 802).
pub const PROBE_ETHERTYPE: u16 = 0x88b5;

/// Name of the map with the programs that are called at the end of others.
pub const PROGRAMS: &str = "PROGRAMS";
/// The same for TCX.
pub const TCX_PROGRAMS: &str = "TCX_PROGRAMS";

/// Places in [`PROGRAMS`].
pub const PROGRAM_COUNT: u32 = 16;
const _: () = assert!(Stage::COUNT <= PROGRAM_COUNT as usize);
/// The program that packets come to first, and those it calls, with their places.
pub const ENTRY_PROGRAM: &str = "serve";
/// The same on TCX.
pub const TCX_ENTRY_PROGRAM: &str = "tcx_serve";
/// What the names of TCX's programs begin with; what follows is the name of XDP's.
pub const TCX_PREFIX: &str = "tcx_";
/// Name of the map with what a trace shows.
pub const TRACE: &str = "TRACE";
/// Name of the map with what each CPU knows of the packet that it traces.
pub const TRACED: &str = "TRACED";
/// As [`PROGRAMS`], of the programs that trace.
pub const TRACED_PROGRAMS: &str = "TRACED_PROGRAMS";
/// The same for TCX.
pub const TCX_TRACED_PROGRAMS: &str = "TCX_TRACED_PROGRAMS";
/// Name of the map with the lines of a trace; `aya-log` has it so.
pub const TRACE_LINES: &str = "AYA_LOGS";
/// Octets of it, a power of two of whole pages: some 250 lines.
pub const TRACE_LINES_LEN: u32 = 1 << 17;
/// What the names of programs that trace begin with, behind [`TCX_PREFIX`]; what follows is the name of the one
/// that does not.
pub const TRACED_PREFIX: &str = "traced_";
/// The program that all of them end in, which writes the line, and its place behind those of the stages.
pub const TELL_PROGRAM: (&str, u32) = ("tell", Stage::COUNT as u32);
/// Where another stage has its place: the program that packets come to first.
pub const ENTRY_STAGE: u32 = PROGRAM_COUNT - 1;
const _: () = assert!(TELL_PROGRAM.1 < ENTRY_STAGE);

/// The programs in [`PROGRAMS`] by name, with their places: a [`Stage`] each.
pub const TAIL_PROGRAMS: [(&str, u32); Stage::COUNT] = {
    let mut programs = [("", 0); Stage::COUNT];
    let mut index = 0;
    while index < Stage::COUNT {
        programs[index] = (Stage::ALL[index].word(), Stage::ALL[index] as u32);
        index += 1;
    }
    programs
};

/// Octets of one entry of the slab: large enough that little is lost at the ends, small enough that
/// the verifier can follow the offset.
pub const CHUNK_LEN: usize = 65536;

/// One entry of the slab.
#[repr(C, align(8))]
pub struct Chunk(pub [u8; CHUNK_LEN]);

/// Counters there is room for by outcome, a power of two.
pub const OUTCOMES: usize = 64;

/// The boot clock as a CPU read it last, and the worst response that it sent in each second.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// When it was read, in timer ticks (jiffies).
    pub at_ticks: u64,
    /// What it said, in seconds.
    pub boot_s: u64,
    /// By the last bits of the second.
    pub amplified: [Amplified; SECONDS],
}

const _: () = assert!(SECONDS.is_power_of_two() && size_of::<Clock>() == 16 + 8 * SECONDS);

/// Counters of one CPU.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Packets by what became of them, at [`Outcome::index`](crate::Outcome::index).
    pub outcomes: [u64; OUTCOMES],
    /// Octets of DNS messages received that were answered.
    pub octets_in: u64,
    /// Octets of DNS messages sent.
    pub octets_out: u64,
    /// Answers for which the packet grew into its head room.
    pub grown_at_head: u64,
    /// Reserved, zero.
    pub reserved: u64,
}

impl Stats {
    /// All zero.
    pub const fn new() -> Stats {
        Stats {
            outcomes: [0; OUTCOMES],
            octets_in: 0,
            octets_out: 0,
            grown_at_head: 0,
            reserved: 0,
        }
    }
}

impl Default for Stats {
    fn default() -> Stats {
        Stats::new()
    }
}

/// What the probe found on one CPU.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// Packets that were tried.
    pub packets: u64,
    /// Those that could be made [`PROBE_GROWTH`] octets longer at their tail.
    pub at_tail: u64,
    /// Those that could not, but had head room.
    pub at_head: u64,
}

/// What a daemon tells the next one, which takes over what is pinned.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Which counters there are: [`LAYOUT`] of who wrote this.
    pub layout: u64,
    /// Counters of the programs before these, by the place of their hook in [`STATS`].
    pub carried: [Stats; COUNTERS_COUNT as usize],
}

/// Says which counter stands where. Another version's counters are added only if this is the same.
pub const LAYOUT: u64 = {
    let mut layout = size_of::<Stats>() as u64 ^ (COUNTERS_COUNT as u64) << 32;
    let mut index = 0;
    while index < crate::Outcome::ALL.len() {
        let word = crate::Outcome::ALL[index].word().as_bytes();
        let mut at = 0;
        // FNV-1a.
        while at < word.len() {
            layout = (layout ^ word[at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        layout = (layout ^ 0xff).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    layout
};

const _: () = assert!(size_of::<Meta>() == 8 + COUNTERS_COUNT as usize * size_of::<Stats>());
const _: () = assert!(size_of::<Stats>() == (OUTCOMES + 4) * 8);
const _: () = assert!(crate::Outcome::ALL.len() <= OUTCOMES);

/// What the limiter decided on one CPU. With `dry-run` it is what would have been done.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Responses by [`Class::index`](crate::limit::Class::index) (the last place is what is passed up) and
    /// [`Verdict::index`](crate::limit::Verdict::index).
    pub classes: [[u64; Verdict::COUNT]; Class::COUNT + 1],
    /// Queries over the total of a netblock, before it was known what would be said, by verdict.
    pub totals: [u64; Verdict::COUNT],
    /// Responses over a limit that were sent since the client is exempt.
    pub exempt: u64,
    /// Queries from blocked prefixes.
    pub blocked_prefix: u64,
    /// Queries for blocked names.
    pub blocked_name: u64,
    /// Reserved, zero.
    pub reserved: u64,
}

const _: () = assert!(size_of::<Verdicts>() == ((Class::COUNT + 1) * 4 + 4 + 4) * 8);

impl Verdicts {
    /// Counts a decision.
    pub fn count(&mut self, what: Count) {
        match what {
            Count::Class(class, verdict) => self.classes[class & PASSED][verdict.index()] += 1,
            Count::Total(verdict) => self.totals[verdict.index()] += 1,
            Count::Exempt => self.exempt += 1,
            Count::BlockedPrefix => self.blocked_prefix += 1,
            Count::BlockedName => self.blocked_name += 1,
        }
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Verdicts) {
        let places = self.classes.iter_mut().chain([&mut self.totals]);
        let others = other.classes.iter().chain([&other.totals]);
        for (place, count) in places.flatten().zip(others.flatten()) {
            *place = place.wrapping_add(*count);
        }
        self.exempt = self.exempt.wrapping_add(other.exempt);
        self.blocked_prefix = self.blocked_prefix.wrapping_add(other.blocked_prefix);
        self.blocked_name = self.blocked_name.wrapping_add(other.blocked_name);
    }
}

// The kernel's limit for a value of a per-CPU map.
const _: () = assert!(size_of::<crate::Scratch>() <= 32768);
