//! Signed zones compiled into the image that the engine answers from.

pub mod memory;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use xdp_common::Outcome;

pub use memory::Memory;

use crate::server::Engine;
use crate::zone::{Name, Zone};

/// The largest DNS message over TCP in octets (RFC 1035 section 4.2.2).
pub const MAX_TCP_MESSAGE: usize = 65535;

/// Private stand-in.
pub struct Image {
    memory: Arc<dyn Memory>,
    zones: BTreeMap<Name, usize>,
    gate: Arc<RwLock<()>>,
}

/// Private stand-in.
#[derive(Default)]
pub struct Retired;

/// Private stand-in.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The memory is too small.
    #[error("the memory is full")]
    Full {
        /// Octets.
        slab_needed: usize,
        /// Buckets.
        buckets_needed: usize,
    },
    /// Private stand-in.
    #[error("a zone that cannot be compiled")]
    Other,
}

/// Private stand-in.
pub struct Usage {
    /// Octets.
    pub slab_octets: usize,
    /// Buckets.
    pub buckets: usize,
    /// Entries.
    pub entries: usize,
}

/// Private stand-in.
pub struct Reader {
    _memory: Arc<dyn Memory>,
    gate: Arc<RwLock<()>>,
}

impl Image {
    /// Private stand-in.
    pub fn new(memory: Arc<dyn Memory>, _seed: u64) -> Image {
        Image { memory, zones: BTreeMap::new(), gate: Arc::default() }
    }

    /// Private stand-in.
    pub fn publish(&mut self, zone: &Zone) -> Result<Retired, PublishError> {
        if zone.record_count() == 0 {
            return Err(PublishError::Other);
        }
        let mut zones = self.zones.clone();
        zones.insert(zone.apex().clone(), zone.record_count());
        let records: usize = zones.values().sum();
        let (slab_needed, buckets_needed) = (records * 400, records.div_ceil(3));
        if slab_needed > self.memory.slab_len() || buckets_needed > self.memory.bucket_count() {
            return Err(PublishError::Full { slab_needed, buckets_needed });
        }
        self.memory.write(0, &slab_needed.to_ne_bytes());
        self.zones = zones;
        Ok(Retired)
    }

    /// Private stand-in.
    pub fn remove(&mut self, apex: &Name) -> Retired {
        self.zones.remove(apex);
        Retired
    }

    /// Private stand-in.
    pub fn release(&mut self, _retired: Retired) {}

    /// Private stand-in.
    pub fn usage(&self) -> Usage {
        let records: usize = self.zones.values().sum();
        Usage { slab_octets: records * 400, buckets: records.div_ceil(3), entries: records }
    }

    /// Private stand-in.
    pub fn max_labels(&self) -> u32 {
        4
    }

    /// Private stand-in.
    pub fn move_to(&mut self, memory: Arc<dyn Memory>) -> Result<(), PublishError> {
        self.memory = memory;
        Ok(())
    }

    /// Private stand-in.
    pub fn reader(&self) -> Reader {
        Reader { _memory: Arc::clone(&self.memory), gate: Arc::clone(&self.gate) }
    }
}

impl Reader {
    /// Private stand-in.
    pub fn gate(&self) -> Arc<RwLock<()>> {
        Arc::clone(&self.gate)
    }
}

impl Engine for Reader {
    fn answer(
        &self,
        _query: &[u8],
        _over_tcp: bool,
        _limit: usize,
        _now: u32,
        response: &mut Vec<u8>,
    ) -> Outcome {
        response.clear();
        Outcome::Miss
    }
}
