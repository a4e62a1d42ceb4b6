//! The maps that the kernel and the daemon share: names, types, sizes, who writes and who reads.
//!
//! | map | type | value | writes | reads |
//! |---|---|---|---|---|
//! | [`SLAB`] | array, mmapable | [`Chunk`] | daemon | XDP, daemon |
//! | [`TABLE`] | array, mmapable | [`Bucket`](crate::image::Bucket) | daemon | XDP, daemon |
//! | [`CONFIG`] | array, mmapable, one entry | [`Config`] | daemon | XDP |
//! | [`SCRATCH`] | per-CPU array, one entry | [`Scratch`](crate::Scratch) | XDP | XDP |
//! | [`STATS`] | per-CPU array, an entry per hook | [`Stats`] | XDP, TCX | daemon |
//! | [`PROGRAMS`] | program array | program | daemon, once | XDP |
//! | [`TCX_PROGRAMS`] | program array | program | daemon, once | TCX |
//! | [`POLICY`] | array, two halves | [`Rules`](crate::limit::Rules) | daemon | XDP, TCX |
//! | [`RATE`] | array | [`Slots`](crate::limit::table::Slots) | XDP, TCX | - |
//! | [`EXEMPT`], [`BLOCK`] | LPM trie by [`Netblock`](crate::limit::Netblock) | [`ListEntry`](crate::limit::ListEntry) | daemon | XDP, TCX |
//! | [`NAMES`] | hash by 64-bit hash of a name | [`NameEntry`](crate::limit::NameEntry) | daemon | XDP, TCX |
//! | [`LIMITED`] | array | [`Limited`](crate::limit::Limited) | XDP, TCX | daemon |
//! | [`VERDICTS`] | per-CPU array, an entry per hook | [`Verdicts`] | XDP, TCX | daemon |
//!
//! All values are integers and octets without padding; their sizes are asserted here.

use core::net::IpAddr;

use crate::limit::decide::Count;
use crate::limit::policy::MAX_POLICIES;
use crate::limit::{Class, Verdict};

/// Name of the map of records.
pub const SLAB: &str = "SLAB";
/// Name of the map of buckets.
pub const TABLE: &str = "TABLE";
/// Name of the map with the configuration.
pub const CONFIG: &str = "CONFIG";
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

/// Name of the map with the programs that are called at the end of others.
pub const PROGRAMS: &str = "PROGRAMS";
/// The same for TCX.
pub const TCX_PROGRAMS: &str = "TCX_PROGRAMS";

/// Places in [`PROGRAMS`].
pub const PROGRAM_COUNT: u32 = 16;
/// The place of the program that sends a planned answer.
pub const SEND: u32 = 0;
/// The place of the program that finds the closest encloser of a name that does not exist.
pub const DENY: u32 = 1;
/// The place of the program that finds a covering NSEC3.
pub const HASH: u32 = 2;
/// The place of the program that plans a wildcard's answer or NXDOMAIN.
pub const CONCLUDE: u32 = 3;
/// The place of the program that goes where a CNAME leads.
pub const FOLLOW: u32 = 4;
/// The place of the program that makes a CNAME from a DNAME.
pub const REDIRECT: u32 = 5;
/// The place of the program that sends an answer with such a CNAME in it.
pub const SEND_MADE: u32 = 6;
/// The place of the program that decides whether a planned answer is sent, and whether what is not answered
/// is passed up.
pub const LIMIT: u32 = 8;
/// The program that packets come to first, and those it calls, with their places.
pub const ENTRY_PROGRAM: &str = "serve";
/// The same on TCX.
pub const TCX_ENTRY_PROGRAM: &str = "tcx_serve";
/// What the names of TCX's programs begin with; what follows is the name of XDP's.
pub const TCX_PREFIX: &str = "tcx_";
/// The programs in [`PROGRAMS`] by name.
pub const TAIL_PROGRAMS: [(&str, u32); 8] = [
    ("send", SEND),
    ("deny", DENY),
    ("hash", HASH),
    ("conclude", CONCLUDE),
    ("follow", FOLLOW),
    ("redirect", REDIRECT),
    ("send_made", SEND_MADE),
    ("limit", LIMIT),
];

/// Octets of one entry of the slab: large enough that little is lost at the ends, small enough that
/// the verifier can follow the offset.
pub const CHUNK_LEN: usize = 65536;

/// One entry of the slab.
#[repr(C, align(8))]
pub struct Chunk(pub [u8; CHUNK_LEN]);

/// How many UDP ports can be answered.
pub const MAX_PORTS: usize = 4;
/// How many addresses can be served; each costs a comparison per packet.
pub const MAX_ADDRESSES: usize = 16;
/// How many devices can be attached to, each with its own MAC address.
pub const MAX_MACS: usize = 8;

/// What the programs are told.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Wall-clock seconds since 1970. The daemon rewrites it every second; 0 means not yet, and
    /// that no signature may be sent.
    pub now_s: u64,
    /// Key of the names' hash.
    pub seed: u64,
    /// MAC addresses of the devices, as they lie in memory, upper 16 bits zero; 0 ends them.
    pub macs: [u64; MAX_MACS],
    /// Addresses that are served, IPv4 mapped into IPv6, as they lie in memory.
    pub addresses: [[u64; 2]; MAX_ADDRESSES],
    /// UDP ports that are answered, as they lie in memory (network order); 0 ends them.
    pub ports: [u16; MAX_PORTS],
    /// How many of `addresses` count.
    pub address_count: u32,
    /// One less than the number of buckets, a power of two.
    pub bucket_mask: u32,
    /// The largest response over UDP in octets of DNS message.
    pub payload_limit: u32,
    /// The most labels that a name of any zone has: the search for enclosers starts there.
    pub max_labels: u32,
    /// What the limiter does: see [`limits`].
    pub limits: u32,
    /// Where the policies in use start in [`POLICY`]: 0 or [`MAX_POLICIES`].
    pub policies_at: u32,
    /// Nanoseconds in a jiffy, which the limiter's clock moves by.
    pub tick_ns: u64,
    /// A bit for each number of labels that a name in [`NAMES`] has.
    pub name_depths: u32,
    /// Reserved, zero.
    pub reserved: u32,
}

/// Bits of [`Config::limits`]; with none of them the limiter is not asked.
pub mod limits {
    /// The mode of some policy is not off.
    pub const RATES: u32 = 1;
    /// There are blocked prefixes.
    pub const BLOCK: u32 = 2;
    /// There are exempt prefixes.
    pub const EXEMPT: u32 = 4;
    /// There are names that are blocked or have policies of their own.
    pub const NAMES: u32 = 8;
}

impl Config {
    /// A configuration that serves nothing.
    pub const fn new() -> Config {
        Config {
            now_s: 0,
            seed: 0,
            macs: [0; MAX_MACS],
            addresses: [[0; 2]; MAX_ADDRESSES],
            ports: [0; MAX_PORTS],
            address_count: 0,
            bucket_mask: 0,
            payload_limit: 0,
            max_labels: 0,
            limits: 0,
            policies_at: 0,
            tick_ns: 0,
            name_depths: 0,
            reserved: 0,
        }
    }
}

/// A MAC address as [`Config::macs`] has it.
pub const fn mac_word(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
}

/// An address as [`Config::addresses`] has it.
pub fn address_words(address: IpAddr) -> [u64; 2] {
    let octets = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    [0, 8].map(|at| u64::from_ne_bytes(core::array::from_fn(|octet| octets[at + octet])))
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

const _: () = assert!(size_of::<Config>() == 16 + 8 * MAX_MACS + 16 * MAX_ADDRESSES + 8 + 40);

/// Counters there is room for by outcome, a power of two.
pub const OUTCOMES: usize = 64;

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

/// The place of what is passed up in [`Verdicts::classes`].
pub const PASSED: usize = Class::COUNT;
// The kernel's limit for a value of a per-CPU map.
const _: () = assert!(size_of::<crate::Scratch>() <= 32768);
