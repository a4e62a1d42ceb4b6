//! How much more is sent than was received: the response of each second that was largest for its query.

/// Seconds that are remembered, a power of two: more than [`MINUTE_S`].
pub const SECONDS: usize = 64;

/// Seconds that are looked back on.
pub const MINUTE_S: u32 = 60;

/// The response of a second that was largest for its query, in octets of DNS message.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Amplified {
    /// Which second, since 1970.
    pub second: u32,
    /// Octets of the query; 0 if there was none.
    pub query: u16,
    /// Octets of the response.
    pub response: u16,
}

impl Amplified {
    /// Whether `other` has more octets of response for each octet of query.
    #[inline(always)]
    pub const fn is_less_than(&self, other: &Amplified) -> bool {
        // Fractions compared without dividing. No query at all is less than any.
        self.response as u32 * (other.query as u32) < other.response as u32 * self.query as u32
            || self.query == 0
    }

    /// The same in one word, which can be exchanged.
    pub const fn to_word(self) -> u64 {
        (self.second as u64) << 32 | (self.query as u64) << 16 | self.response as u64
    }

    /// What [`to_word`](Amplified::to_word) was given.
    pub const fn from_word(word: u64) -> Amplified {
        Amplified { second: (word >> 32) as u32, query: (word >> 16) as u16, response: word as u16 }
    }

    /// Notes a response that was sent, in the place of its second.
    #[inline(always)]
    pub fn see(&mut self, other: Amplified) {
        if self.second != other.second || self.is_less_than(&other) {
            *self = other;
        }
    }
}

/// The worst response of the last minute, of those that several CPUs and sockets noted.
pub fn worst<'a>(noted: impl IntoIterator<Item = &'a Amplified>, now_s: u32) -> Option<Amplified> {
    let is_recent = |one: &&Amplified| one.query != 0 && now_s.wrapping_sub(one.second) < MINUTE_S;
    noted.into_iter().filter(is_recent).fold(None, |worst, one| match worst {
        Some(worst) if !Amplified::is_less_than(&worst, one) => Some(worst),
        _ => Some(*one),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn one(second: u32, query: u16, response: u16) -> Amplified {
        Amplified { second, query, response }
    }

    #[test]
    fn the_worst_of_a_second_stays_until_the_place_is_anothers() {
        let mut place = Amplified::default();
        for (seen, stays) in [
            (one(9, 40, 400), one(9, 40, 400)),
            (one(9, 100, 900), one(9, 40, 400)),
            (one(9, 30, 301), one(9, 30, 301)),
            (one(9, u16::MAX, u16::MAX), one(9, 30, 301)),
            (one(9 + SECONDS as u32, 50, 60), one(9 + SECONDS as u32, 50, 60)),
        ] {
            place.see(seen);
            assert_eq!(place, stays);
        }
    }

    #[test]
    fn a_word_holds_all_of_it() {
        let all = one(u32::MAX - 1, 0x1234, 0xfedc);
        assert_eq!(Amplified::from_word(all.to_word()), all);
        assert_eq!(Amplified::from_word(0), Amplified::default());
    }

    #[test]
    fn the_worst_of_all_is_of_the_last_minute() {
        let noted =
            [one(100, 40, 1232), one(159, 50, 500), one(160, 20, 100), Amplified::default()];
        assert_eq!(worst(&noted, 159), Some(one(100, 40, 1232)));
        assert_eq!(worst(&noted, 160), Some(one(159, 50, 500)));
        assert_eq!(worst(&noted, 300), None);
        assert_eq!(worst(&[], 0), None);
    }
}
