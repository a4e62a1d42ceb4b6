//! The maps that the kernel and the daemon share: names, types, sizes, who writes and who reads.
//!
//! | map | type | value | writes | reads |
//! |---|---|---|---|---|
//! | [`SLAB`] | array, mmapable | [`Chunk`] | daemon | XDP, daemon |
//! | [`TABLE`] | array, mmapable | [`Bucket`](crate::image::Bucket) | daemon | XDP, daemon |
//! | [`CONFIG`] | array, mmapable, one entry | [`Config`] | daemon | XDP |
//! | [`CLOCK`] | per-CPU array, one entry | [`Clock`] | XDP, TCX | XDP, TCX |
//! | [`SCRATCH`] | per-CPU array, one entry | [`Scratch`](crate::Scratch) | XDP | XDP |
//! | [`STATS`] | per-CPU array, an entry per hook | [`Stats`] | XDP, TCX | daemon |
//! | [`META`] | array, one entry | [`Meta`] | daemon | the next daemon |
//! | [`PROBE`] | per-CPU array, an entry per hook | [`Probed`] | the probe | `xdp probe` |
//! | [`PROGRAMS`] | program array | program | daemon, once | XDP |
//! | [`TCX_PROGRAMS`] | program array | program | daemon, once | TCX |
//!
//! All values are integers and octets without padding; their sizes are asserted here.

use core::net::IpAddr;

/// Name of the map of records.
pub const SLAB: &str = "SLAB";
/// Name of the map of buckets.
pub const TABLE: &str = "TABLE";
/// Name of the map with the configuration.
pub const CONFIG: &str = "CONFIG";
/// Name of the map with what each CPU last read of the clock.
pub const CLOCK: &str = "CLOCK";
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

/// Name of the map with what the probe found.
pub const PROBE: &str = "PROBE";
/// The program that probes, and with [`TCX_PREFIX`] the one on TCX.
pub const PROBE_PROGRAM: &str = "probe";
/// By how many octets an answer grows at most: the probe asks for so many.
pub const PROBE_GROWTH: i32 = 1232;
/// The ethertype of the probe's own frames: one for local experiments (IEEE 802).
pub const PROBE_ETHERTYPE: u16 = 0x88b5;

/// Name of the map with the programs that are called at the end of others.
pub const PROGRAMS: &str = "PROGRAMS";
/// The same for TCX.
pub const TCX_PROGRAMS: &str = "TCX_PROGRAMS";

/// Places in [`PROGRAMS`].
pub const PROGRAM_COUNT: u32 = 8;
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
/// The program that packets come to first, and those it calls, with their places.
pub const ENTRY_PROGRAM: &str = "serve";
/// The same on TCX.
pub const TCX_ENTRY_PROGRAM: &str = "tcx_serve";
/// What the names of TCX's programs begin with; what follows is the name of XDP's.
pub const TCX_PREFIX: &str = "tcx_";
/// The programs in [`PROGRAMS`] by name.
pub const TAIL_PROGRAMS: [(&str, u32); 7] = [
    ("send", SEND),
    ("deny", DENY),
    ("hash", HASH),
    ("conclude", CONCLUDE),
    ("follow", FOLLOW),
    ("redirect", REDIRECT),
    ("send_made", SEND_MADE),
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
    /// Wall-clock seconds since 1970 at which the kernel's boot clock (CLOCK_BOOTTIME) stood at zero, so
    /// that programs know the time without a daemon. The daemon rewrites it every second, since either
    /// clock may be set; 0 means not yet, and that no signature may be sent.
    pub booted_at_s: u64,
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
}

impl Config {
    /// A configuration that serves nothing.
    pub const fn new() -> Config {
        Config {
            booted_at_s: 0,
            seed: 0,
            macs: [0; MAX_MACS],
            addresses: [[0; 2]; MAX_ADDRESSES],
            ports: [0; MAX_PORTS],
            address_count: 0,
            bucket_mask: 0,
            payload_limit: 0,
            max_labels: 0,
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

const _: () = assert!(size_of::<Config>() == 16 + 8 * MAX_MACS + 16 * MAX_ADDRESSES + 8 + 16);

/// The boot clock as a CPU read it last.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// When it was read, in timer ticks (jiffies).
    pub at_ticks: u64,
    /// What it said, in seconds.
    pub boot_s: u64,
}

/// Counters of one CPU.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Packets by what became of them, at [`Outcome::index`](crate::Outcome::index).
    pub outcomes: [u64; 32],
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
        Stats { outcomes: [0; 32], octets_in: 0, octets_out: 0, grown_at_head: 0, reserved: 0 }
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

const _: () = assert!(size_of::<Stats>() == 36 * 8);
const _: () = assert!(size_of::<Meta>() == 8 + COUNTERS_COUNT as usize * size_of::<Stats>());
const _: () = assert!(crate::Outcome::ALL.len() <= 32);
// The kernel's limit for a value of a per-CPU map.
const _: () = assert!(size_of::<crate::Scratch>() <= 32768);
