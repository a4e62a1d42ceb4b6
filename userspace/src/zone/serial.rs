//! Serial number arithmetic (RFC 1982) for SOA serials.

use domain::base::Serial;
use std::cmp::Ordering;

/// How two serials compare; `None` for two that are 2^31 apart, which RFC 1982 section 3.2 leaves
/// undefined.
pub fn compare(a: u32, b: u32) -> Option<Ordering> {
    Serial(a).partial_cmp(&Serial(b))
}

/// Whether `a` is newer than `b`: what a secondary asks before it transfers.
pub fn is_newer(a: u32, b: u32) -> bool {
    compare(a, b) == Some(Ordering::Greater)
}

/// The serial `n` steps after `serial`; `None` if `n` is more than the 2^31 - 1 that RFC 1982
/// section 3.1 allows.
pub fn add(serial: u32, n: u32) -> Option<u32> {
    (n <= i32::MAX as u32).then(|| serial.wrapping_add(n))
}

/// The next serial for a zone that counts its changes; never 0, which some secondaries take for
/// "none".
pub fn next(serial: u32) -> u32 {
    serial.wrapping_add(1).max(1)
}

/// The next serial for a zone whose serials are dates, `YYYYMMDDnn`: the first one of the day, or
/// one more than `serial` if that is as new.
pub fn next_dated(serial: u32, year: u16, month: u8, day: u8) -> u32 {
    let date =
        (u32::from(year) * 10_000 + u32::from(month) * 100 + u32::from(day)).saturating_mul(100);
    if is_newer(date, serial) { date } else { next(serial) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_wrap_as_rfc_1982_says() {
        assert!(is_newer(1, 0) && is_newer(0, u32::MAX) && is_newer(100, 0xffff_ff00));
        assert!(!is_newer(7, 7) && !is_newer(0, 1));
        assert!(is_newer(0x7fff_ffff, 0) && !is_newer(0x8000_0001, 0));
        assert_eq!(compare(0, 0x8000_0000), None);
        assert!(!is_newer(0, 0x8000_0000) && !is_newer(0x8000_0000, 0));
        assert_eq!(add(u32::MAX, 2), Some(1));
        assert_eq!(add(0, 0x8000_0000), None);
        for serial in [0, 1, u32::MAX, 0x7fff_ffff] {
            assert!(is_newer(next(serial), serial));
        }
    }

    #[test]
    fn dated_serials_never_go_back() {
        assert_eq!(next_dated(2_026_112_399, 2026, 11, 24), 2_026_112_400);
        assert_eq!(next_dated(2_026_112_400, 2026, 11, 24), 2_026_112_401);
        assert_eq!(next_dated(2_030_010_100, 2026, 11, 24), 2_030_010_101);
    }
}
