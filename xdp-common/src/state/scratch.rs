//! The engine's working memory: one per CPU in the kernel, one per worker on the host.
//!
//! It is too large for the kernel's stack of 512 octets, it carries state from one program to the
//! next, and it is where values go that the verifier should forget.

use super::{Absence, Cells, HashState, Layers, LimitState, LowerName, Made, Options, Plan, Query};
use crate::bytes::SLACK;

/// The largest message over UDP in octets, unless the configuration says less, and the payload size that responses
/// announce: what passes every path unfragmented (DNS flag day 2020, RFC 9715).
pub const MAX_PAYLOAD: u16 = 1232;

/// The longest query that the engine reads, in octets of DNS message: what fits a datagram that no
/// path fragments.
pub const MAX_QUERY: usize = MAX_PAYLOAD as usize;

/// Room for a query as it was sent, from its question on.
pub type QuestionRoom = [u8; 2048 + SLACK];

/// Working memory. All zeros is a valid state, and no call relies on what an earlier packet left, but for the
/// turns that the limiter counts.
#[repr(C, align(8))]
pub struct Scratch {
    /// The query as sent, from its question on: so the name lies in whole words.
    pub question: QuestionRoom,
    /// The name that is looked up.
    pub name: LowerName,
    /// The block of NSEC3's hash that is worked on, and its state.
    pub sha1: HashState,
    /// How often the table had changed when the name was looked up.
    pub changes: u64,
    /// Values that the verifier should not know.
    pub cells: Cells,
    /// What the frame's headers say.
    pub layers: Layers,
    /// What the query asks.
    pub query: Query,
    /// What will be said.
    pub plan: Plan,
    /// What is known of a name that does not exist.
    pub absence: Absence,
    /// What the limiter knows of it.
    pub limit: LimitState,
    /// The options of the response.
    pub options: Options,
    /// CNAMEs made from DNAMEs, in the format of pieces.
    pub made: Made,
}

impl Scratch {
    /// Working memory for the host.
    pub const fn new() -> Scratch {
        Scratch {
            question: [0; 2048 + SLACK],
            name: LowerName::new(),
            sha1: HashState::new(),
            changes: 0,
            cells: Cells::new(),
            layers: Layers::new(),
            query: Query::new(),
            plan: Plan::new(),
            absence: Absence::new(),
            limit: LimitState::new(),
            options: Options::new(),
            made: Made::new(),
        }
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}
