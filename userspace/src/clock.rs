//! The wall clock, for those above the rooms that are told the time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Seconds since 1970, truncated to 32 bits as RRSIG times are (RFC 4034 section 3.1.5).
pub fn now() -> u32 {
    now_s() as u32
}
