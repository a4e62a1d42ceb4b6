//! What the daemon tells the programs.

use core::fmt;

use crate::cookie::{MAX_SECRETS, Secret};

/// How many UDP ports can be answered.
pub const MAX_PORTS: usize = 4;
/// How many addresses can be served; each costs a comparison per packet.
pub const MAX_ADDRESSES: usize = 16;
/// How many devices can be attached to, each with its own MAC address.
pub const MAX_MACS: usize = 8;
/// How many broadcast addresses of subnets are known.
pub const MAX_BROADCASTS: usize = 16;

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
    /// Broadcast addresses of our IPv4 subnets, as they lie in memory, upper 32 bits zero; 0 ends them.
    pub broadcasts: [u64; MAX_BROADCASTS],
    /// The bits of a word that are the same in all of `broadcasts`: all, if there is one.
    pub broadcast_mask: u64,
    /// What those bits are.
    pub broadcast_bits: u64,
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
    /// Where the policies in use start in [`POLICY`](crate::maps::POLICY): 0 or [`MAX_POLICIES`](crate::limit::policy::MAX_POLICIES).
    pub policies_at: u32,
    /// Nanoseconds in a jiffy, which the limiter's clock moves by.
    pub tick_ns: u64,
    /// A bit for each number of labels that a name in [`NAMES`](crate::maps::NAMES) has.
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
    /// The default policy limits totals.
    pub const TOTALS: u32 = 16;
    /// Some policy weighs amplification.
    pub const AMPLIFICATION: u32 = 32;
    /// No limit, but asked for at the same place: there are zones whose queries are passed on.
    pub const PASSED_ZONES: u32 = 64;
}

impl Config {
    /// A configuration that serves nothing.
    pub const fn new() -> Config {
        Config {
            booted_at_s: 0,
            seed: 0,
            macs: [0; MAX_MACS],
            addresses: [[0; 2]; MAX_ADDRESSES],
            broadcasts: [0; MAX_BROADCASTS],
            broadcast_mask: 0,
            broadcast_bits: 0,
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

    /// Fills in broadcast addresses, as [`broadcast_word`](crate::address::broadcast_word) makes them and 0 ends them, and what they have in
    /// common.
    pub fn set_broadcasts(&mut self, words: [u64; MAX_BROADCASTS]) {
        // If there is none: what no address is, whose bits above 32 are not all set.
        let (mut always, mut ever) = (u64::MAX, if words[0] == 0 { u64::MAX } else { 0 });
        for word in words.into_iter().take_while(|word| *word != 0) {
            always &= word;
            ever |= word;
        }
        self.broadcasts = words;
        self.broadcast_mask = !(always ^ ever);
        self.broadcast_bits = always;
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

const _: () = {
    let lists = 8 * MAX_MACS + 16 * MAX_ADDRESSES + 8 * (MAX_BROADCASTS + 2) + 8;
    assert!(size_of::<Config>() == 16 + lists + 40);
};

/// The most octets of a name server identifier (RFC 5001): no official reference; a host's name fits.
pub const MAX_NSID: usize = 128;

/// How the server presents itself, in EDNS options and to those who ask for what it does not serve.
///
/// It holds the secrets of cookies: as all maps it is only the daemon's to read.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EdnsSettings {
    /// Server cookies are made with the first; those made with any are valid. While the daemon writes one, a
    /// program may see half of it: that cookie is worth nothing, and its client will get another.
    pub secrets: [Secret; MAX_SECRETS],
    /// How many of `secrets` count; 0: there are no cookies, and the option is ignored.
    pub secret_count: u32,
    /// 1: names of no zone are REFUSED; 0: such queries are somebody else's to answer.
    pub refuse: u32,
    /// Octets of `nsid`; 0: there is none to tell.
    pub nsid_len: u32,
    /// 1: another server answers what is passed on, and answers must be such as its own.
    pub front: u32,
    /// The name server identifier as it lies in memory, zeros behind it.
    pub nsid: [u64; MAX_NSID / 8],
}

impl EdnsSettings {
    /// No cookies, no identifier, nothing refused.
    pub const fn new() -> EdnsSettings {
        EdnsSettings {
            secrets: [[0; 2]; MAX_SECRETS],
            secret_count: 0,
            refuse: 0,
            nsid_len: 0,
            front: 0,
            nsid: [0; MAX_NSID / 8],
        }
    }

    /// With this name server identifier, of which what is longer than [`MAX_NSID`] is cut off.
    pub fn with_nsid(mut self, nsid: &[u8]) -> EdnsSettings {
        let nsid = &nsid[..if nsid.len() < MAX_NSID { nsid.len() } else { MAX_NSID }];
        self.nsid_len = nsid.len() as u32;
        for (word, octets) in self.nsid.iter_mut().zip(nsid.chunks(8)) {
            let mut whole = [0; 8];
            whole[..octets.len()].copy_from_slice(octets);
            *word = u64::from_ne_bytes(whole);
        }
        self
    }
}

impl fmt::Debug for EdnsSettings {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EdnsSettings { secret_count, refuse, nsid_len, front, .. } = self;
        let fields = [
            ("secret_count", secret_count),
            ("refuse", refuse),
            ("nsid_len", nsid_len),
            ("front", front),
        ];
        f.debug_map().entries(fields).finish()
    }
}

impl Default for EdnsSettings {
    fn default() -> EdnsSettings {
        EdnsSettings::new()
    }
}

const _: () = assert!(size_of::<EdnsSettings>() == 16 * MAX_SECRETS + 16 + MAX_NSID);
