//! Names in wire format: the walk over labels, lower case, and the hash (RFC 1035, RFC 4343).

use crate::bytes::{low_octets, put, u8_at, u64_at};
use crate::checksum::Sum;
use crate::launder::forget;
use crate::state::name::{NameRoom, Offsets};
use crate::state::scratch::QuestionRoom;

/// The most labels a name can have, the root not counted (255 octets, two for each).
pub const MAX_LABELS: usize = 127;

/// Words of eight octets in the longest name.
pub const MAX_NAME_WORDS: usize = 32;

/// Lower-cases the ASCII letters among eight octets. Length octets (at most 63) lie below `A`, so
/// that a whole wire name is treated alike.
#[inline(always)]
pub const fn lowercase8(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low_bits = word & (0x7f * EACH);
    let from_a = low_bits + (0x80 - b'A' as u64) * EACH;
    let past_z = low_bits + (0x80 - (b'Z' as u64 + 1)) * EACH;
    let upper = from_a & !past_z & !word & (0x80 * EACH);
    word | (upper >> 2)
}

/// One step of the names' hash: a 64-bit multiplication and a fold.
#[inline(always)]
pub const fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

/// The last step: spreads the last word over all bits.
#[inline(always)]
pub const fn finish(hash: u64) -> u64 {
    mix(hash ^ (hash >> 29), 0)
}

/// The keyed hash of the lower-case name of `len` octets at `at`, which zeros follow.
///
/// It decides in which bucket a name is looked for, never whether names are equal; the key keeps
/// outsiders from filling a bucket.
#[inline(always)]
pub fn hash(room: &NameRoom, at: usize, len: usize, seed: u64) -> u64 {
    let mut hash = seed ^ len as u64;
    let mut word = 0;
    while word < MAX_NAME_WORDS {
        if word * 8 >= len {
            break;
        }
        hash = mix(hash, u64_at(room, at + word * 8));
        word += 1;
    }
    finish(hash)
}

/// Walks over the labels of a name in `read`, which yields the octet at a place of the name, and
/// notes where each starts. Returns (wire length, labels without the root), or `None` for what is no
/// name: a pointer, another label type, more than 255 octets.
#[inline(always)]
pub fn walk(
    read: impl Fn(usize) -> u8,
    offsets: &mut Offsets,
    forgotten: &mut u64,
) -> Option<(usize, usize)> {
    let (mut at, mut labels, mut ended) = (0usize, 0usize, 0u64);
    while labels < MAX_LABELS {
        let len = read(at) as usize;
        offsets[labels & 127] = at as u8;
        if len == 0 {
            ended = 1;
            break;
        }
        if len > 63 {
            break;
        }
        at += len + 1;
        if at >= 255 {
            break;
        }
        labels += 1;
    }
    // 127 labels of one octet: only the root is left.
    if labels == MAX_LABELS && read(254) == 0 {
        offsets[127] = 254;
        ended = 1;
    }
    let at = forget(forgotten, at as u64) as usize & 0xff;
    let labels = forget(forgotten, labels as u64) as usize & 0x7f;
    if forget(forgotten, ended) == 0 { None } else { Some((at + 1, labels)) }
}

/// Copies the question's name of `len` octets to `name` in lower case, with zeros after it. Returns its hash and the
/// one's-complement sum of the name as sent.
#[inline(always)]
pub fn lowercase(
    question: &QuestionRoom,
    name: &mut NameRoom,
    len: usize,
    seed: u64,
    forgotten: &mut u64,
) -> (u64, u64) {
    let (mut hash, mut sum) = (seed ^ len as u64, Sum::new());
    let words = len >> 3;
    let mut word = 0;
    while word < MAX_NAME_WORDS {
        if word >= words {
            break;
        }
        let sent = u64_at(question, word * 8);
        sum.add(sent);
        let lower = lowercase8(sent);
        put(name, word * 8, lower.to_le_bytes());
        hash = mix(hash, lower);
        word += 1;
    }
    let tail = len & !7;
    let sent = low_octets(u64_at(question, tail), len);
    sum.add(sent);
    let lower = lowercase8(sent);
    put(name, tail, lower.to_le_bytes());
    put(name, tail + 8, [0; 16]);
    if len & 7 != 0 {
        hash = mix(hash, lower);
    }
    (forget(forgotten, finish(hash)), forget(forgotten, sum.total()))
}

/// The twelve octets of a label that indexes are sorted by: its first octets, zeros after its end.
#[inline(always)]
pub fn label_key(room: &NameRoom, at: usize) -> (u64, u32) {
    let len = (u8_at(room, at) & 63) as usize;
    let kept = |word, octets| if octets < 8 { low_octets(word, octets) } else { word };
    let high = kept(u64_at(room, at + 1), len);
    let low = kept(u64_at(room, at + 9), len.saturating_sub(8));
    (high.swap_bytes(), (low as u32).swap_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::SLACK;
    use crate::checksum::{fold, of};
    use proptest::prelude::*;

    fn walked(wire: &[u8]) -> Option<(usize, usize)> {
        let mut room = [0u8; 600];
        room[..wire.len()].copy_from_slice(wire);
        walk(|at| room[at], &mut [0; 128], &mut 0)
    }

    #[test]
    fn the_limits_of_rfc_1035_section_3_1() {
        assert_eq!(walked(b"\0"), Some((1, 0)));
        assert_eq!(walked(b"\x03www\x07example\0"), Some((13, 2)));
        let mut longest = [1u8; 255];
        longest[254] = 0;
        assert_eq!(walked(&longest), Some((255, 127)));
        assert_eq!(walked(&[1u8; 256]), None);
        let mut long = [b'a'; 256];
        for start in [0, 64, 128, 192] {
            long[start] = 63;
        }
        assert_eq!(walked(&long), None);
        long[192] = 61;
        long[254] = 0;
        assert_eq!(walked(&long), Some((255, 4)));
        assert_eq!(walked(b"\xc0\x0c"), None);
        assert_eq!(walked(b"\x40a\0"), None);
    }

    proptest! {
        #[test]
        fn lower_case_is_ascii_lower_case(octets: [u8; 8]) {
            let lower = lowercase8(u64::from_le_bytes(octets)).to_le_bytes();
            prop_assert_eq!(lower, octets.map(|octet| octet.to_ascii_lowercase()));
        }

        #[test]
        fn the_hash_of_a_question_is_that_of_the_name(
            labels in proptest::collection::vec("[A-Za-z0-9]{1,20}", 0..8), seed: u64,
        ) {
            let (mut question, mut name) = ([0; 2048 + SLACK], [0xee; 512 + SLACK]);
            let mut at = 0;
            for label in &labels {
                question[at] = label.len() as u8;
                question[at + 1..at + 1 + label.len()].copy_from_slice(label.as_bytes());
                at += 1 + label.len();
            }
            let len = at + 1;
            question[at + 1..at + 5].copy_from_slice(b"\x00\x01\x00\x01");
            let (hash_of_question, sum) = lowercase(&question, &mut name, len, seed, &mut 0);
            let mut room = [0; 544];
            room[..len].copy_from_slice(&name[..len].to_ascii_lowercase());
            prop_assert_eq!(hash_of_question, hash(&room, 0, len, seed));
            let sent = &question[..len];
            prop_assert_eq!(fold(sum) % 0xffff, of(sent) % 0xffff);
        }
    }

    #[test]
    fn label_keys_are_padded_with_zeros() {
        let mut room = [0xffu8; 544];
        room[..4].copy_from_slice(b"\x03abc");
        assert_eq!(label_key(&room, 0), (0x6162_6300_0000_0000, 0));
        room[..14].copy_from_slice(b"\x0dabcdefghijklm");
        assert_eq!(label_key(&room, 0), (0x6162_6364_6566_6768, 0x696a_6b6c));
    }
}
