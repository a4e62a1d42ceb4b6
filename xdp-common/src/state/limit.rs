//! What the limiter remembers of a query.

use crate::launder::recall;

/// Places for the prefix lengths at which a query is counted, a power of two: the last ones are empty. What the limiter
/// masks with one less is a place to every verifier; that of Linux 6.1 forgets what a comparison with five said.
pub const LEVEL_PLACES: usize = 8;

/// Turns to slip that are told apart.
const TURNS: usize = 64;

/// What the limiter remembers between its decisions on one query; and, from one query to the next, whose turn
/// it is to be slipped.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct LimitState {
    /// 0, or one more than the [`Hit::number`](crate::limit::Hit::number) of the total that the query is over.
    pub over: u32,
    /// 1 if it is to be slipped for that, 0 if it is to be dropped.
    pub slips: u32,
    /// Responses over a limit since the last one that was slipped or leaked, by the account's hash.
    turns: [u8; TURNS],
    /// What a response costs that is sent, beyond the one that its query has: sixteenths, as [`PlannedResponse::weight`](crate::limit::decide::PlannedResponse::weight).
    pub owed: u64,
    /// The accounts of the query's netblocks.
    pub hashes: [u64; LEVEL_PLACES],
    /// A value that is read back at once.
    pub forgotten: u64,
}

impl LimitState {
    /// Nothing is known.
    pub const fn new() -> LimitState {
        LimitState {
            over: 0,
            slips: 0,
            turns: [0; TURNS],
            owed: 0,
            hashes: [0; LEVEL_PLACES],
            forgotten: 0,
        }
    }

    /// Whether it is the turn of a response over its limit, if every `every`-th has one; 0 for none.
    #[inline(always)]
    pub fn is_turn(&mut self, every: u32, hash: u64) -> bool {
        let turn = &mut self.turns[(hash >> 32) as usize % TURNS];
        let count = recall(turn) as u32 + 1;
        let is_turn = every != 0 && count >= every;
        *turn = if is_turn { 0 } else { (count & 0xff) as u8 };
        is_turn
    }
}

impl Default for LimitState {
    fn default() -> LimitState {
        LimitState::new()
    }
}
