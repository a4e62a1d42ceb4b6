//! Extents taken in the slab, and records written into them.

use xdp_common::image::{Address, UNIT};

use crate::compile::memory::Memory;
use crate::compile::slab::{Extent, Slab};

/// Takes extents and writes records. Where there is no more room it goes on in a slab without an end, and
/// writes nothing.
pub(super) struct Writer<'a> {
    pub(super) slab: &'a mut Slab,
    pub(super) memory: &'a dyn Memory,
    pub(super) extents: Vec<Extent>,
    pub(super) full: bool,
}

impl Writer<'_> {
    pub(super) fn take(&mut self, len: usize) -> Address {
        let mut taken = self.slab.take(len);
        if taken.is_none() {
            self.full = true;
            self.slab.resize(usize::MAX);
            taken = self.slab.take(len);
        }
        let Some(extent) = taken else { return 0 };
        self.extents.push(extent);
        extent.address
    }

    pub(super) fn write(&self, address: Address, octets: &[u8]) {
        if !self.full {
            self.memory.write(address as usize * UNIT, octets);
        }
    }

    pub(super) fn place(&mut self, octets: &[u8]) -> Address {
        let address = self.take(octets.len());
        self.write(address, octets);
        address
    }
}
