//! The state of a SHA-1 hash (FIPS 180-4 section 6.1).

/// The hash state and the schedule of a block.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HashState {
    /// Five words of hash.
    pub hash: [u32; 5],
    _zero: u32,
    /// The words of the block and those made of them.
    pub schedule: [u32; 80],
    /// A value that is read back at once.
    pub forgotten: u64,
}

impl HashState {
    /// No block hashed yet.
    pub const fn new() -> HashState {
        HashState {
            hash: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0],
            _zero: 0,
            schedule: [0; 80],
            forgotten: 0,
        }
    }
}

impl Default for HashState {
    fn default() -> HashState {
        HashState::new()
    }
}
