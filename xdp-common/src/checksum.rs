//! The Internet checksum as a little algebra (RFC 1071).
//!
//! A sum of 16-bit words may be added up in any order and in wider words, if the carries are folded
//! back at the end; a run of octets that starts at an odd place contributes its own sum with the two
//! octets swapped. So the sums of finished pieces are stored once and added when a message is put
//! together. All sums here are of little-endian words: the fold is the same sum with its octets
//! swapped, which is how it is written back.

/// Adds a little-endian word of eight octets.
#[inline(always)]
pub fn add_u64(sum: u64, word: u64) -> u64 {
    sum + (word & 0xffff_ffff) + (word >> 32)
}

/// A sum over many words.
#[derive(Clone, Copy, Default)]
pub struct Sum {
    /// The sum of the words, modulo 2^64.
    words: u64,
    /// The sum of their upper halves.
    upper: u64,
}

impl Sum {
    /// Of no words.
    #[inline(always)]
    pub fn new() -> Sum {
        Sum { words: 0, upper: 0 }
    }

    /// Adds a little-endian word of eight octets.
    #[inline(always)]
    pub fn add(&mut self, word: u64) {
        self.words = self.words.wrapping_add(word);
        self.upper += word >> 32;
    }

    /// The sum, to be folded; of at most 2^31 words.
    #[inline(always)]
    pub fn total(self) -> u64 {
        // What the upper halves have added is taken off: the sum of the lower halves stays.
        self.words.wrapping_sub(self.upper << 32) + self.upper
    }
}

/// Folds to 16 bits; not complemented.
#[inline(always)]
pub fn fold(sum: u64) -> u16 {
    // Each half is added to the other in both halves; the lower one's carry goes round into the upper.
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// What a run with the folded sum `sum` contributes at place `at` of the whole.
#[inline(always)]
pub fn at(place: usize, sum: u16) -> u64 {
    // Without a branch, of which the verifier would follow both ways at every step of a loop.
    let twice = sum as u32 | (sum as u32) << 16;
    (twice >> ((place & 1) * 8)) as u16 as u64
}

/// The folded sum of a slice that starts at an even place.
pub fn of(octets: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in octets.chunks(2) {
        sum += u16::from_le_bytes([pair[0], *pair.get(1).unwrap_or(&0)]) as u64;
    }
    fold(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071_section_3() {
        // The sum is ddf2 in network order.
        assert_eq!(of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).swap_bytes(), 0xddf2);
    }

    proptest! {
        #[test]
        fn sums_of_parts_add_up(octets: [u8; 41], cut in 0usize..41) {
            let whole = of(&octets);
            let parts = of(&octets[..cut]) as u64 + at(cut, of(&octets[cut..]));
            // 0 and ffff are the same number in one's complement.
            prop_assert_eq!(fold(parts) % 0xffff, whole % 0xffff);
        }

        #[test]
        fn wide_words_sum_alike(words: [u64; 5]) {
            let octets = words.map(u64::to_le_bytes).concat();
            let mut sum = Sum::new();
            let mut one_by_one = 0;
            for word in words {
                sum.add(word);
                one_by_one = add_u64(one_by_one, word);
            }
            prop_assert_eq!(fold(sum.total()) % 0xffff, of(&octets) % 0xffff);
            prop_assert_eq!(sum.total(), one_by_one);
        }

        #[test]
        fn a_fold_is_zero_only_of_zero(sum: u64) {
            let long = (sum as u128 % 0xffff) as u16;
            let expected = if sum != 0 && long == 0 { 0xffff } else { long };
            prop_assert_eq!(fold(sum), expected);
            prop_assert_eq!(fold(sum >> 48 << 48), (sum >> 48) as u16);
        }
    }
}
