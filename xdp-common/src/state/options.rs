//! The options of a response finished (RFC 6891 section 6.1.2).

use super::config::MAX_NSID;
use crate::bytes::{put, u32_at, u64_at};
use crate::checksum;
use crate::cookie;
use crate::image::Window;
use crate::launder::recall;

/// Octets of an option's code and length.
pub const HEAD_LEN: usize = 4;

/// Where the options start in [`Options`]: at a whole word, with room for the rest of the record before it.
pub const START: usize = 16;

/// Octets of the option with a client's cookie and a server's.
const COOKIE_LEN: usize = HEAD_LEN + cookie::CLIENT_LEN + cookie::SERVER_LEN;
const _: () = assert!(COOKIE_LEN == 28);

/// The most octets of options of a response.
pub const MAX_LEN: usize = COOKIE_LEN + (HEAD_LEN + 2) + (HEAD_LEN + 6) + (HEAD_LEN + MAX_NSID);
const _: () = assert!(MAX_LEN <= 0xff);

/// The options of a response, finished, with room for the head of the OPT record before them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// One's-complement sum of the options.
    pub sum: u64,
    /// Octets of options.
    pub len: u32,
    _zero: u32,
    octets: Window,
}

impl Options {
    /// None.
    pub const fn new() -> Options {
        Options { sum: 0, len: 0, _zero: 0, octets: [0; _] }
    }

    /// Forgets them.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// How many octets there are of them, as a number that the verifier does not know.
    #[inline(always)]
    pub fn len(&self) -> usize {
        recall(&self.len) as usize & 0xff
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their folded sum, as if they started at an even place.
    #[inline(always)]
    pub fn sum(&self) -> u16 {
        checksum::fold(recall(&self.sum))
    }

    /// Leaves the cookie, which is the first of them.
    #[inline(always)]
    pub fn keep_cookie(&mut self) {
        self.len = COOKIE_LEN as u32;
        let words = [0, 8, 16].map(|at| u64_at(&self.octets, START + at));
        let sum = u32_at(&self.octets, START + 24) as u64;
        self.sum = words.into_iter().fold(sum, checksum::add_u64);
    }

    /// Where they are, with room in front of them, and where the first starts.
    #[inline(always)]
    pub fn room(&self) -> (&Window, usize) {
        (&self.octets, START)
    }

    /// The cookie, which is the first of them if the client has sent one.
    pub fn cookie(&self) -> &[u8] {
        &self.octets[START..START + COOKIE_LEN]
    }

    /// The options.
    pub fn octets(&self) -> &[u8] {
        &self.octets[START..START + self.len()]
    }

    /// Adds octets, which must be an even number except for the last.
    #[inline(always)]
    pub fn add(&mut self, word: u64, len: usize) {
        let at = self.len();
        put(&mut self.octets, START + at, word.to_le_bytes());
        self.sum = checksum::add_u64(recall(&self.sum), word);
        self.len = (at + len) as u32;
    }

    /// Adds an option's code, the octets of its value, and the first four of them.
    #[inline(always)]
    pub fn begin(&mut self, code: u16, len: usize, first: [u8; 4], first_len: usize) {
        let ([a, b], [c, d]) = (code.to_be_bytes(), (len as u16).to_be_bytes());
        let [e, f, g, h] = first;
        self.add(u64::from_le_bytes([a, b, c, d, e, f, g, h]), HEAD_LEN + first_len);
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}
