//! The maps as the engine's store.

use core::ops::Deref;

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_boot_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray};
use xdp_common::Scratch;
use xdp_common::image::{Address, Bucket, Entry, Store, UNIT, Window};
use xdp_common::limit::amplified::{Amplified, SECONDS};
use xdp_common::maps::{CHUNK_LEN, Chunk, Clock, Config, EdnsSettings};

use crate::frame::pinned;

/// Units in a chunk, and how many bits count them.
const CHUNK_UNITS: u32 = (CHUNK_LEN / UNIT) as u32;
const CHUNK_SHIFT: u32 = CHUNK_UNITS.trailing_zeros();

// The numbers of entries are set when the object is loaded.
#[map]
static SLAB: Array<Chunk> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static TABLE: Array<Bucket> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static CONFIG: Array<Config> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static EDNS_SETTINGS: Array<EdnsSettings> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

#[map]
static CLOCK: PerCpuArray<Clock> = PerCpuArray::with_max_entries(1, 0);

/// Ticks for which a reading of the clock serves: 64 ms to 0.64 s, as the kernel is built. Reading it
/// costs 45 ns, counting ticks less than one.
const FRESH_TICKS: u64 = 64;
const NS_PER_S: u64 = 1_000_000_000;

/// This CPU's working memory.
#[inline(always)]
pub fn scratch() -> Option<&'static mut Scratch> {
    // SAFETY: the value belongs to this CPU, programs run on it one at a time (XDP with bottom halves
    // off), and each program takes the reference once. Any content is a valid `Scratch`.
    unsafe { SCRATCH.get_ptr_mut(0).map(|scratch| &mut *scratch) }
}

/// Wall-clock seconds since 1970, truncated, and late by [`FRESH_TICKS`] at most; 0 if the daemon has not
/// said what the time is.
#[inline(always)]
pub fn now_s(config: &Config) -> u32 {
    if config.booted_at_s == 0 {
        return 0;
    }
    let Some(clock) = clock() else { return 0 };
    // SAFETY: the helpers only read clocks.
    unsafe {
        let ticks = bpf_jiffies64();
        if ticks.wrapping_sub(clock.at_ticks) >= FRESH_TICKS {
            clock.at_ticks = ticks;
            clock.boot_s = bpf_ktime_get_boot_ns() / NS_PER_S;
        }
    }
    (config.booted_at_s + clock.boot_s) as u32
}

/// Notes a response that is sent, by the clock as it was read before: octets of its query and of itself.
#[inline(always)]
pub fn note_amplified(config: &Config, query: usize, response: usize) {
    let Some(clock) = clock() else { return };
    let second = (config.booted_at_s + clock.boot_s) as u32;
    let place = &mut clock.amplified[second as usize & (SECONDS - 1)];
    place.see(Amplified { second, query: query as u16, response: response as u16 });
}

/// This CPU's clock.
#[inline(always)]
fn clock() -> Option<&'static mut Clock> {
    // SAFETY: as in `scratch`; no two references to it live at a time.
    unsafe { CLOCK.get_ptr_mut(0).map(|clock| &mut *clock) }
}

/// How the server presents itself.
#[inline(always)]
pub fn edns_settings() -> Option<&'static EdnsSettings> {
    EDNS_SETTINGS.get(0)
}

/// The image in maps, and the configuration beside it. `MADE` is whether there may be a piece that was
/// made from a DNAME: pieces from two places are twice as much to verify.
pub struct Maps<const MADE: bool = false> {
    config: &'static Config,
}

impl<const MADE: bool> Maps<MADE> {
    /// The maps; `None` if the kernel has not made them, which cannot be.
    #[inline(always)]
    pub fn new() -> Option<Maps<MADE>> {
        CONFIG.get(0).map(|config| Maps { config })
    }

    /// How many stores into the table the daemon has begun: it counts them in the first word of the slab.
    #[inline(always)]
    pub fn changes(&self) -> Option<u64> {
        // SAFETY: the word lies inside the chunk; the daemon stores it as a whole, and any value will do.
        SLAB.get_ptr(0).map(|chunk| unsafe { chunk.cast::<u64>().read_volatile() })
    }

    /// What the daemon says.
    #[inline(always)]
    pub fn config(&self) -> &'static Config {
        self.config
    }
}

impl<const MADE: bool> Store for Maps<MADE> {
    const SYNTHESIS: bool = MADE;
    const UNBOUNDED: bool = false;

    #[inline(always)]
    fn seed(&self) -> u64 {
        self.config.seed
    }

    #[inline(always)]
    fn max_labels(&self) -> usize {
        self.config.max_labels as usize
    }

    #[inline(always)]
    fn bucket(&self, hash: u64, probe: usize) -> Option<impl Deref<Target = Bucket>> {
        TABLE.get((hash as u32).wrapping_add(probe as u32) & self.config.bucket_mask)
    }

    #[inline(always)]
    fn record(&self, address: Address) -> Option<&Window> {
        let chunk = SLAB.get_ptr(address >> CHUNK_SHIFT)?;
        let offset = pinned((address & (CHUNK_UNITS - 1)) as usize * UNIT);
        if offset > CHUNK_LEN - size_of::<Window>() {
            return None;
        }
        // SAFETY: a window at this offset lies inside the chunk, and a published record does not
        // change until the kernel's readers are gone.
        Some(unsafe { &*chunk.cast::<u8>().add(offset).cast::<Window>() })
    }

    #[inline(always)]
    fn entry(&self, address: Address) -> Option<&Entry> {
        let chunk = SLAB.get_ptr(address >> CHUNK_SHIFT)?;
        let offset = pinned((address & (CHUNK_UNITS - 1)) as usize * UNIT);
        if offset > CHUNK_LEN - size_of::<Entry>() {
            return None;
        }
        // SAFETY: as in `record`.
        Some(unsafe { &*chunk.cast::<u8>().add(offset).cast::<Entry>() })
    }
}
