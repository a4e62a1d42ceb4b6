//! CNAMEs made from DNAMEs (RFC 6672 section 3.1): pieces that lie in working memory and not in the store.
//!
//! The kernel makes one for an answer. The host follows a DNAME that leads below another one, and needs a place
//! for each.

use crate::bytes::SLACK;
use crate::image::piece::{RDATA_AT, body_at};
use crate::image::{Address, WINDOW, Window};

/// The most that any host of the engine makes for one answer: as many as it follows CNAMEs, and one before the
/// first and one behind the last of them.
pub const MAX_MADE: usize = 10;

/// Octets from one to the next: the longest name, and a word that is written behind it.
const ROOM: usize = (body_at(0) + RDATA_AT + 256 + 16).next_multiple_of(8);

/// The address of the first piece that is made. Those of the others are lower by one each: no record lies there,
/// since a slab is smaller than the 32 GiB that addresses reach.
pub const SYNTHESIS: Address = Address::MAX;

/// The pieces.
#[repr(C, align(8))]
pub struct Made {
    first: Window,
    /// Each starts [`ROOM`] octets behind the one before, and its window reaches over those behind it.
    others: [u8; (MAX_MADE - 2) * ROOM + WINDOW + SLACK],
}

impl Made {
    /// None yet.
    pub const fn new() -> Made {
        Made { first: [0; WINDOW + SLACK], others: [0; (MAX_MADE - 2) * ROOM + WINDOW + SLACK] }
    }

    /// The only one that there is in the kernel.
    #[inline(always)]
    pub fn first(&self) -> &Window {
        &self.first
    }

    /// The same, to be made.
    #[inline(always)]
    pub fn first_mut(&mut self) -> &mut Window {
        &mut self.first
    }

    /// One by its number, from 0; what there is no room for takes the last place.
    pub fn get(&self, number: usize) -> &Window {
        match number.min(MAX_MADE - 1).checked_sub(1) {
            None => &self.first,
            Some(other) => self.others[other * ROOM..].first_chunk().unwrap_or(&self.first),
        }
    }

    /// The same, to be made.
    pub fn get_mut(&mut self, number: usize) -> &mut Window {
        match number.min(MAX_MADE - 1).checked_sub(1) {
            None => &mut self.first,
            Some(other) => self.others[other * ROOM..].first_chunk_mut().unwrap_or(&mut self.first),
        }
    }
}

impl Default for Made {
    fn default() -> Made {
        Made::new()
    }
}

/// The address of one by its number.
#[inline(always)]
pub const fn address(number: usize) -> Address {
    SYNTHESIS - number as Address
}

/// The number of the piece with this address, if it is one that is made.
pub const fn number(address: Address) -> Option<usize> {
    let number = (SYNTHESIS - address) as usize;
    if number < MAX_MADE { Some(number) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_place_of_its_own() {
        let mut made = Made::new();
        for number in 0..MAX_MADE {
            made.get_mut(number)[..ROOM].fill(number as u8 + 1);
        }
        for number in 0..MAX_MADE {
            assert!(made.get(number)[..ROOM].iter().all(|&octet| octet == number as u8 + 1));
            assert_eq!(super::number(address(number)), Some(number));
        }
        assert_eq!(super::number(address(MAX_MADE)), None);
        assert_eq!(super::number(0), None);
    }
}
