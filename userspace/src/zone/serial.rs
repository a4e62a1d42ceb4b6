//! Serial numbers (RFC 1982): those of zones, and the times in signatures, which are counted in the same way
//! (RFC 4034 section 3.1.5).

use std::cmp::Ordering;
use std::fmt;

/// A serial number: of a version of a zone, or a point in time in seconds since 1970 modulo 2^32.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Serial(pub u32);

impl Serial {
    /// How two serials compare; `None` for two that are 2^31 apart, which RFC 1982 section 3.2 leaves undefined.
    /// This is no order: of three serials each may be newer than the next.
    pub fn compare(self, other: Serial) -> Option<Ordering> {
        match self.since(other) {
            i32::MIN => None,
            steps => Some(steps.cmp(&0)),
        }
    }

    /// Whether it is newer than another: what a secondary asks before it transfers. Of times: whether it is later.
    pub const fn is_newer_than(self, other: Serial) -> bool {
        self.since(other) > 0
    }

    /// How many steps it is ahead of another; negative if it is behind. Two that are 2^31 apart are behind each other.
    pub const fn since(self, other: Serial) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }

    /// The serial `n` steps after; `None` if `n` is more than the 2^31 - 1 that RFC 1982 section 3.1 allows.
    pub fn plus(self, n: u32) -> Option<Serial> {
        (n <= i32::MAX as u32).then(|| Serial(self.0.wrapping_add(n)))
    }

    /// The next serial of a zone that counts its changes; never 0, which some secondaries take for "none".
    pub fn next(self) -> Serial {
        Serial(self.0.wrapping_add(1).max(1))
    }

    /// The next serial of a zone whose serials are dates, `YYYYMMDDnn`: the first one of the day, or one more if
    /// that is not newer.
    pub fn next_dated(self, year: u16, month: u8, day: u8) -> Serial {
        let date = u32::from(year) * 10_000 + u32::from(month) * 100 + u32::from(day);
        let date = Serial(date.saturating_mul(100));
        if date.is_newer_than(self) { date } else { self.next() }
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether serial `a` is newer than `b`.
    fn is_newer(a: u32, b: u32) -> bool {
        Serial(a).is_newer_than(Serial(b))
    }

    #[test]
    fn serials_wrap_as_rfc_1982_says() {
        assert!(is_newer(1, 0) && is_newer(0, u32::MAX) && is_newer(100, 0xffff_ff00));
        assert!(!is_newer(7, 7) && !is_newer(0, 1));
        assert!(is_newer(0x7fff_ffff, 0) && !is_newer(0x8000_0001, 0));
        assert_eq!(Serial(0).compare(Serial(0x8000_0000)), None);
        assert!(!is_newer(0, 0x8000_0000) && !is_newer(0x8000_0000, 0));
        assert_eq!(Serial(u32::MAX).plus(2), Some(Serial(1)));
        assert_eq!(Serial(0).plus(0x8000_0000), None);
        for serial in [0, 1, u32::MAX, 0x7fff_ffff].map(Serial) {
            assert!(serial.next().is_newer_than(serial));
        }
    }

    /// Every pair of a grid around the borders, by the sentence of RFC 1982 section 3.2.
    #[test]
    fn pairs_compare_as_the_sentence_of_the_rfc_has_it() {
        const HALF: u64 = 1 << 31;
        let borders =
            [0u32, 1, 2, HALF as u32 - 1, HALF as u32, HALF as u32 + 1, u32::MAX - 1, u32::MAX];
        for (i1, i2) in borders.iter().flat_map(|a| borders.iter().map(move |b| (*a, *b))) {
            let (a, b) = (u64::from(i1), u64::from(i2));
            let is_less = (a < b && b - a < HALF) || (a > b && a - b > HALF);
            let is_greater = (a < b && b - a > HALF) || (a > b && a - b < HALF);
            let expected = match (is_less, is_greater) {
                (true, _) => Some(Ordering::Less),
                (_, true) => Some(Ordering::Greater),
                _ => (a == b).then_some(Ordering::Equal),
            };
            assert_eq!(Serial(i1).compare(Serial(i2)), expected, "{i1} {i2}");
            assert_eq!(is_newer(i1, i2), is_greater, "{i1} {i2}");
            // By whole steps, wherever they are fewer than half the circle.
            if expected.is_some() {
                let steps =
                    (a as i64 - b as i64 + 3 * HALF as i64) % (2 * HALF as i64) - HALF as i64;
                assert_eq!(i64::from(Serial(i1).since(Serial(i2))), steps, "{i1} {i2}");
            }
        }
    }

    #[test]
    fn dated_serials_never_go_back() {
        let next = |serial: u32| Serial(serial).next_dated(2026, 11, 24).0;
        assert_eq!(next(2_026_112_399), 2_026_112_400);
        assert_eq!(next(2_026_112_400), 2_026_112_401);
        assert_eq!(next(2_030_010_100), 2_030_010_101);
    }
}
