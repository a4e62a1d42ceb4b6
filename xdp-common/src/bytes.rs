//! Reading and writing words at any place of a fixed room, without a panic and without unsafe.
//!
//! A *room* is an array of a power of two of octets plus [`SLACK`]. Indexes are masked to the power
//! of two, so that the compiler sees every access inside the array and the verifier sees the bound.
//! A masked index reads a wrong place instead of failing: callers check lengths first.

/// Octets behind the power of two: the widest access at the last index.
pub const SLACK: usize = 32;

/// The `W` octets at `at`.
#[inline(always)]
pub fn get<const N: usize, const W: usize>(room: &[u8; N], at: usize) -> [u8; W] {
    const { assert!((N - SLACK).is_power_of_two() && W <= SLACK) };
    let at = at & (N - SLACK - 1);
    let mut octets = [0; W];
    octets.copy_from_slice(&room[at..at + W]);
    octets
}

/// Writes `W` octets at `at`.
#[inline(always)]
pub fn put<const N: usize, const W: usize>(room: &mut [u8; N], at: usize, octets: [u8; W]) {
    const { assert!((N - SLACK).is_power_of_two() && W <= SLACK) };
    let at = at & (N - SLACK - 1);
    room[at..at + W].copy_from_slice(&octets);
}

/// One octet.
#[inline(always)]
pub fn u8_at<const N: usize>(room: &[u8; N], at: usize) -> u8 {
    get::<N, 1>(room, at)[0]
}

/// A 16-bit number, little-endian as all numbers of the image.
#[inline(always)]
pub fn u16_at<const N: usize>(room: &[u8; N], at: usize) -> u16 {
    u16::from_le_bytes(get(room, at))
}

/// A 32-bit number, little-endian.
#[inline(always)]
pub fn u32_at<const N: usize>(room: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes(get(room, at))
}

/// A 64-bit number, little-endian.
#[inline(always)]
pub fn u64_at<const N: usize>(room: &[u8; N], at: usize) -> u64 {
    u64::from_le_bytes(get(room, at))
}

/// 1 if a number below 2^63 is zero, else 0: arithmetic, where the verifier would follow both ways of a
/// branch at every step of a loop.
#[inline(always)]
pub fn is_zero(number: u64) -> u64 {
    number.wrapping_sub(1) >> 63
}

/// The lowest `octets` (0 to 7) octets of a word, the others zero.
#[inline(always)]
pub fn low_octets(word: u64, octets: usize) -> u64 {
    word & ((1u64 << ((octets & 7) * 8)) - 1)
}
