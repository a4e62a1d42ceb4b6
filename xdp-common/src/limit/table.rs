//! The table of accounts: fixed memory, no lock, no list of who was there.

/// Nanoseconds in a unit of the table's clock.
pub const UNIT_NS: u64 = 1 << 10;

/// Slots in a bucket: one cache line.
pub const SLOTS: usize = 8;

/// Accounts whose keys share a hash's lower bits.
pub type Slots = [u64; SLOTS];
