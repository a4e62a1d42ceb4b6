//! The maps as the limiter's: accounts, policies, lists, and a clock.

use core::intrinsics::{AtomicOrdering, atomic_cxchg};
use core::marker::PhantomData;

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_map_lookup_elem};
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::LpmTrie;
use aya_ebpf::maps::{Array, HashMap};
use xdp_common::frame::Frame;
use xdp_common::limit::decide::{self, Client, Count, Limiter, Sighting};
use xdp_common::limit::list::NameListing;
use xdp_common::limit::response_key;
use xdp_common::limit::table::{SLOTS, Slots, Table, UNIT_NS};
use xdp_common::limit::{Limited, ListEntry, NameEntry, Netblock, Rules};
use xdp_common::maps::{self, Config};
use xdp_common::{Outcome, Scratch};

use crate::count;
use crate::frame::pinned;
use crate::hook::Hook;
use crate::store;

#[map]
static POLICY: Array<Rules> = Array::with_max_entries(maps::POLICY_COUNT, 0);
// Mapped arrays start at a page: so buckets are cache lines.
#[map]
static RATE: Array<Slots> = Array::with_max_entries(maps::RATE_BUCKETS, BPF_F_MMAPABLE);
#[map]
static EXEMPT: LpmTrie<[u8; 16], ListEntry> =
    LpmTrie::with_max_entries(maps::MAX_PREFIXES, BPF_F_NO_PREALLOC);
#[map]
static BLOCK: LpmTrie<[u8; 16], ListEntry> =
    LpmTrie::with_max_entries(maps::MAX_PREFIXES, BPF_F_NO_PREALLOC);
#[map]
static NAMES: HashMap<u64, NameEntry> =
    HashMap::with_max_entries(maps::MAX_NAMES, BPF_F_NO_PREALLOC);
#[map]
static LIMITED: Array<Limited> = Array::with_max_entries(maps::LIMITED_COUNT, 0);

/// Mixed into the key of the accounts' hash by hook: a packet that XDP has no room for comes to both, and is
/// counted by each for itself.
const HOOK_SALT: u64 = 0x9e37_79b9_7f4a_7c15;

/// The limiter of a hook.
pub struct HookLimiter<H> {
    config: &'static Config,
    hook: PhantomData<H>,
}

impl<H: Hook> HookLimiter<H> {
    /// As the daemon has configured it.
    #[inline(always)]
    pub fn new(config: &'static Config) -> HookLimiter<H> {
        HookLimiter { config, hook: PhantomData }
    }
}

/// Octets of an OPT record without options: without it, and the end of no other, a query has no cookie.
const BARE_OPT: usize = xdp_common::dns::edns::OPT_LEN;

/// Decides whether a query is taken on, once its headers are read.
#[inline(always)]
pub fn arrive<H: Hook, F: Frame>(
    frame: &F,
    config: &'static Config,
    scratch: &mut Scratch,
) -> Result<(), Outcome> {
    let limiter = HookLimiter::<H>::new(config);
    let client = Client::of(&scratch.layers);
    let end = scratch.layers.message_at() + scratch.layers.message_len();
    decide::arrive(&limiter, &client, || may_hold_cookie(frame, end), &mut scratch.limit)
}

/// Whether the message that ends at `end` may have an EDNS option: not if it ends with an OPT record without any, nor
/// if it is too short for one.
#[inline(always)]
fn may_hold_cookie<F: Frame>(frame: &F, end: usize) -> bool {
    let start = end.wrapping_sub(BARE_OPT);
    let (Some(head), Some(tail)) = (frame.get::<4>(start), frame.get::<2>(end.wrapping_sub(2)))
    else {
        return true;
    };
    let [root, type_high, type_low, _] = head;
    !(root == 0 && type_high == 0 && type_low == 41 && tail[0] == 0 && tail[1] == 0)
}

/// What is listed for the question's name.
#[inline(always)]
pub fn listed(config: &'static Config, scratch: &mut Scratch) -> NameListing {
    let look = |hash: u64| {
        // SAFETY: the entry is copied at once; the daemon replaces entries, it does not change them.
        unsafe { NAMES.get(hash).copied() }
    };
    let Scratch { question, name, cells, .. } = scratch;
    let now_s = store::now_s(config).into();
    response_key::listed(question, name, cells, config.seed, config.name_depths, now_s, look)
}

impl<H: Hook> Table for HookLimiter<H> {
    type Bucket = *mut Slots;

    #[inline(always)]
    fn bucket(&self, hash: u64) -> Option<*mut Slots> {
        RATE.get_ptr_mut(hash as u32 & (maps::RATE_BUCKETS - 1))
    }

    #[inline(always)]
    fn load(&self, bucket: *mut Slots, slot: usize) -> u64 {
        // SAFETY: the place lies inside the bucket, by the mask. Other CPUs store whole words.
        unsafe { bucket.cast::<u64>().add(pinned(slot) & (SLOTS - 1)).read_volatile() }
    }

    #[inline(always)]
    fn exchange(&self, bucket: *mut Slots, slot: usize, old: u64, new: u64) -> bool {
        // SAFETY: as in `load`.
        unsafe {
            let place = bucket.cast::<u64>().add(pinned(slot) & (SLOTS - 1));
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                place, old, new,
            )
            .1
        }
    }
}

impl<H: Hook> Limiter for HookLimiter<H> {
    #[inline(always)]
    fn limit_bits(&self) -> u32 {
        self.config.limits
    }

    #[inline(always)]
    fn seed(&self) -> u64 {
        self.config.seed ^ HOOK_SALT.wrapping_mul(H::COUNTERS as u64)
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: the helper only reads a clock.
        unsafe { bpf_jiffies64() }.wrapping_mul(self.config.tick_ns) / UNIT_NS
    }

    #[inline(always)]
    fn now_s(&self) -> u64 {
        store::now_s(self.config).into()
    }

    #[inline(always)]
    fn rules(&self, place: u32) -> Option<&Rules> {
        POLICY.get(self.config.policies_at + place)
    }

    #[inline(always)]
    fn exempt(&self, source: [u64; 2]) -> Option<ListEntry> {
        longest((&raw const EXEMPT).cast(), source)
    }

    #[inline(always)]
    fn block(&self, source: [u64; 2]) -> Option<ListEntry> {
        longest((&raw const BLOCK).cast(), source)
    }

    #[inline(always)]
    fn count(&self, what: Count) {
        count::verdict::<H>(what);
    }

    #[inline(always)]
    fn sight(&self, hash: u64, sighting: &Sighting) {
        let index = hash as u32 & (maps::LIMITED_COUNT - 1);
        // SAFETY: entries are integers, of which any value will do, and no other reference to it lives on this
        // CPU; what another CPU writes at the same time spoils a number that is only shown.
        if let Some(limited) = unsafe { LIMITED.get_ptr_mut(index).map(|entry| &mut *entry) } {
            limited.see(sighting);
        }
    }
}

/// A [`Netblock`] from its prefix on, in front of which are four octets: the verifier wants words on the stack
/// aligned.
#[repr(C, align(8))]
struct Key {
    before: u32,
    prefix: u32,
    address: [u64; 2],
}

const _: () = assert!(size_of::<Key>() == 4 + size_of::<Netblock>());

/// The longest prefix of an address in a map of prefixes.
#[inline(always)]
fn longest(map: *const u8, source: [u64; 2]) -> Option<ListEntry> {
    let key = Key { before: 0, prefix: 128, address: source };
    // SAFETY: the map is one of prefixes, and so the key and the value are of the types that it has; the entry is
    // copied at once.
    unsafe {
        let entry = bpf_map_lookup_elem(map.cast_mut().cast(), (&raw const key.prefix).cast());
        entry.cast::<ListEntry>().as_ref().copied()
    }
}
