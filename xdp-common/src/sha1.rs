//! SHA-1 (FIPS 180-4) for NSEC3 owner names and nothing else (RFC 5155 section 5).
//!
//! The kernel has no library to call. The schedule's eighty words lie in scratch memory: each is a fixed
//! distance behind those that it is made from, whereas places in a ring must be computed.

use crate::bytes::{get, put, u64_at};
use crate::image::Window;
use crate::image::bounds::MAX_SALT;
use crate::launder::{forget, recall};
use crate::state::HashState;
use crate::state::name::NameRoom;

/// Blocks of 64 octets for the longest name and the longest salt of [`MAX_SALT`]: 255 and 55 octets, one of padding,
/// eight of length.
pub const MAX_BLOCKS: usize = 5;

/// Octets of a hash.
const HASH_LEN: usize = 20;

/// Octets of a block.
const BLOCK_LEN: usize = 64;

/// Hashes the suffix of `name` from `at` on, `len` octets, and a salt behind it, the first `salt_len` octets of a
/// record, at most [`MAX_SALT`]. Returns the first twelve octets of the hash as numbers. The zeros behind the name are
/// overwritten by padding and restored only as far as later words need them: no name is looked up after it is hashed
/// without being lower-cased anew.
#[inline(always)]
pub fn hash_name(
    name: &mut NameRoom,
    state: &mut HashState,
    at: usize,
    len: usize,
    salt: &Window,
    salt_len: usize,
) -> (u64, u32) {
    // Whole words, as many as the longest salt has: what is too much becomes padding.
    let mut place = 0;
    while place < MAX_SALT {
        put(name, at + len + place, u64_at(salt, place).to_le_bytes());
        place += 8;
    }
    let len = len + salt_len;
    pad(name, at + len);
    let blocks = (len + 9 + 63) >> 6;
    state.hash = HashState::new().hash;
    let mut block = 0;
    while block < MAX_BLOCKS {
        if block >= blocks {
            break;
        }
        let mut word = 0;
        while word < 16 {
            let octets: [u8; 4] = get(name, at + block * 64 + word * 4);
            state.schedule[word] = u32::from_be_bytes(octets);
            word += 1;
        }
        if block + 1 == blocks {
            state.schedule[14] = 0;
            state.schedule[15] = (len * 8) as u32;
        }
        compress(state);
        block += 1;
    }
    forget(&mut state.forgotten, block as u64);
    first_of(state)
}

/// The first twelve octets of the hash.
#[inline(always)]
fn first_of(state: &HashState) -> (u64, u32) {
    let hash = &state.hash;
    ((hash[0] as u64) << 32 | hash[1] as u64, hash[2])
}

/// The same with any salt and additional iterations (RFC 5155 section 5), for the host.
pub fn hash_iterated(
    name: &[u8],
    state: &mut HashState,
    salt: &[u8],
    iterations: usize,
) -> (u64, u32) {
    digest(state, name, salt);
    for _ in 0..iterations {
        let mut last = [0; HASH_LEN];
        for (octets, word) in last.chunks_exact_mut(4).zip(state.hash) {
            octets.copy_from_slice(&word.to_be_bytes());
        }
        digest(state, &last, salt);
    }
    first_of(state)
}

/// Hashes two runs of octets, one behind the other.
fn digest(state: &mut HashState, first: &[u8], second: &[u8]) {
    state.hash = HashState::new().hash;
    let len = first.len() + second.len();
    let mut octets = first.iter().chain(second).copied().chain([0x80]);
    let blocks = (len + 9).div_ceil(BLOCK_LEN);
    for block in 0..blocks {
        let mut next = || octets.next().unwrap_or(0);
        for word in &mut state.schedule[..16] {
            *word = u32::from_be_bytes([next(), next(), next(), next()]);
        }
        if block + 1 == blocks {
            state.schedule[14] = 0;
            state.schedule[15] = (len * 8) as u32;
        }
        compress(state);
    }
}

/// Writes the padding behind the name: one bit, then zeros to the end of the next block.
#[inline(always)]
fn pad(name: &mut NameRoom, end: usize) {
    let mut place = 0;
    while place < 72 {
        put(name, end + place, [0; 8]);
        place += 8;
    }
    put(name, end, [0x80]);
}

/// One block (FIPS 180-4 section 6.1.2).
#[inline(always)]
fn compress(state: &mut HashState) {
    let schedule = &mut state.schedule;
    let before = state.hash;
    let after = twenty(schedule, before, 0, 0x5a82_7999, |b, c, d| d ^ (b & (c ^ d)));
    let after = twenty(schedule, after, 20, 0x6ed9_eba1, |b, c, d| b ^ c ^ d);
    let after = twenty(schedule, after, 40, 0x8f1b_bcdc, |b, c, d| (b & c) | (d & (b | c)));
    let after = twenty(schedule, after, 60, 0xca62_c1d6, |b, c, d| b ^ c ^ d);
    let mut word = 0;
    while word < 5 {
        state.hash[word] = before[word].wrapping_add(after[word]);
        word += 1;
    }
}

/// Twenty rounds from `first` on, which share a constant and a function.
#[inline(always)]
fn twenty(
    schedule: &mut [u32; 80],
    before: [u32; 5],
    first: usize,
    constant: u32,
    function: impl Fn(u32, u32, u32) -> u32,
) -> [u32; 5] {
    let [mut a, mut b, mut c, mut d, mut e] = before;
    let mut one = |round, a: u32, b: &mut u32, c, d, e: &mut u32| {
        let word = scheduled(schedule, round).wrapping_add(constant);
        let sum = e.wrapping_add(word).wrapping_add(function(*b, c, d));
        *e = sum.wrapping_add(a.rotate_left(5));
        *b = b.rotate_left(30);
    };
    let mut round = first;
    while round < first + 20 {
        // After five rounds each variable is where it was: none has to be moved.
        one(round, a, &mut b, c, d, &mut e);
        one(round + 1, e, &mut a, b, c, &mut d);
        one(round + 2, d, &mut e, a, b, &mut c);
        one(round + 3, c, &mut d, e, a, &mut b);
        one(round + 4, b, &mut c, d, e, &mut a);
        round += 5;
    }
    [a, b, c, d, e]
}

/// The word of the schedule for a round.
#[inline(always)]
fn scheduled(schedule: &mut [u32; 80], round: usize) -> u32 {
    // Read from memory each time: kept on the stack, sixteen words would leave no room on it.
    if round < 16 {
        return recall(&schedule[round]);
    }
    let word = recall(&schedule[round - 3])
        ^ recall(&schedule[round - 8])
        ^ recall(&schedule[round - 14])
        ^ recall(&schedule[round - 16]);
    let word = word.rotate_left(1);
    schedule[round] = word;
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::SLACK;
    use crate::image::WINDOW;

    fn hashed(octets: &[u8]) -> (u64, u32) {
        let mut name = [0xee; 512 + SLACK];
        name[..octets.len()].copy_from_slice(octets);
        let salt = [0xee; WINDOW + SLACK];
        hash_name(&mut name, &mut HashState::new(), 0, octets.len(), &salt, 0)
    }

    #[test]
    fn the_examples_of_fips_180() {
        assert_eq!(hashed(b"abc"), (0xa999_3e36_4706_816a, 0xba3e_2571));
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hashed(two_blocks), (0x8498_3e44_1c3b_d26e, 0xbaae_4aa1));
    }

    #[test]
    fn every_length_of_a_name_ends_in_the_right_block() {
        // SHA-1 of n octets `a`, computed by sha1sum.
        let expected =
            [(55, 0xc1c8_bbdc), (56, 0xc2db_330f), (64, 0x0098_ba82), (255, 0x5afd_9729)];
        for (len, first) in expected {
            assert_eq!(hashed(&[b'a'; 256][..len]).0 >> 32, first, "{len} octets");
        }
    }

    /// Where the name ends and where the salt begins is all the same to the hash.
    #[test]
    fn every_salt_is_hashed_behind_every_name() {
        let mut state = HashState::new();
        let mut salt = [0xee; WINDOW + SLACK];
        for name_len in (1..=255).step_by(3) {
            for salt_len in 0..=255 {
                let all = [b'a'; 510];
                salt[..salt_len].fill(b'a');
                let mut name = [0xee; 512 + SLACK];
                name[..name_len].fill(b'a');
                digest(&mut state, &all[..name_len + salt_len], &[]);
                let expected = first_of(&state);
                let by_host = hash_iterated(&name[..name_len], &mut state, &all[..salt_len], 0);
                assert_eq!(by_host, expected);
                if salt_len <= MAX_SALT {
                    let said = hash_name(&mut name, &mut state, 0, name_len, &salt, salt_len);
                    assert_eq!(said, expected, "{name_len}, {salt_len}");
                }
                salt[..salt_len].fill(0xee);
            }
        }
    }

    #[test]
    fn the_iterations_of_rfc_5155_appendix_a() {
        let salt = b"\xaa\xbb\xcc\xdd";
        let hash = hash_iterated(b"\x07example\0", &mut HashState::new(), salt, 12);
        // 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom, in base32hex.
        assert_eq!(hash, (0x0653_68ab_eed7_ec6e, 0x9feb_a96b));
    }
}
