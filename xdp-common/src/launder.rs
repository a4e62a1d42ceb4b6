//! Values sent through memory, so that the verifier forgets what it knows of them.
//!
//! The verifier follows every loop exit with a different concrete counter and verifies what comes
//! after once per exit; nested, it multiplies past its limit of a million instructions. A value
//! that went through memory is an unknown scalar to it, so that all exits become one state
//! (measured: 814,791 instructions become 6,307). On the host nothing changes but a store and a
//! load.
#![expect(unsafe_code, reason = "the crate's one home of unsafe code: volatile access")]

/// Stores `value` and reads it back. `cell` is any place in the scratch memory.
#[inline(always)]
pub fn forget(cell: &mut u64, value: u64) -> u64 {
    // SAFETY: a reference is valid, aligned and initialised; `cell` is not shared.
    unsafe {
        core::ptr::write_volatile(cell, value);
        core::ptr::read_volatile(cell)
    }
}

/// Reads a value from memory even if the compiler knows what was stored there.
#[inline(always)]
pub fn recall<T: Copy>(place: &T) -> T {
    // SAFETY: a reference is valid, aligned and initialised.
    unsafe { core::ptr::read_volatile(place) }
}
