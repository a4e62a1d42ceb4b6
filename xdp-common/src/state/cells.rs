//! Places in memory for values that the verifier should not know: what leaves a loop, and what a loop goes on with.
//!
//! See [`launder`](crate::launder) for why. Each step of an answer has cells of its own, named for what lies there.

/// The cells.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Cells {
    /// Any value that is read back at once by [`forget`](crate::launder::forget).
    pub forgotten: u64,
    /// Octets of the name that is looked up.
    pub name_len: u64,
    /// The search for the closest encloser.
    pub encloser: EncloserSearch,
    /// The search for the record that covers a name.
    pub gap: GapSearch,
    /// What is listed for the name of a question.
    pub listed: ListedCells,
    /// Octets of the labels that a made CNAME takes from the name.
    pub prefix_len: u64,
    /// Octets of a made CNAME.
    pub cname_len: u64,
    /// Where the next option of the query starts.
    pub option_at: u64,
    /// One more than the place of the secret that a cookie was made with; 0 for none.
    pub secret: u64,
    /// Where the options of the response will end.
    pub options_end: u64,
    /// 1 if a piece is more than is written.
    pub is_exceeded: u64,
    /// The sum of what is written of the message.
    pub message_sum: u64,
    /// Where in its piece the record is whose owner name is written.
    pub record_at: u64,
}

/// The search for the closest encloser, by halving.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EncloserSearch {
    /// The greatest number of labels of which it is known that such a suffix exists.
    pub exists: u64,
    /// The least of which it is known that it does not.
    pub absent: u64,
    /// The node of the suffix that exists.
    pub node: u64,
}

/// The search in an index, of NSEC by halving one block after the other, of NSEC3 one by one.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GapSearch {
    /// Where the block is that is searched.
    pub block: u64,
    /// Its [shape](crate::image::children::Block::shape).
    pub shape: u64,
    /// The first entry that may be after what is looked for.
    pub place: u64,
    /// How many entries may be.
    pub count: u64,
    /// What the last entry refers to that is not after it.
    pub before: u64,
    /// 1 if the entry that is looked at is before it.
    pub is_before: u64,
}

/// What is listed for a name and the names above it, as far as they were looked up.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ListedCells {
    /// Flags of blocks.
    pub block: u64,
    /// The place of the policy.
    pub policy: u64,
}

impl Cells {
    /// All zero.
    pub const fn new() -> Cells {
        Cells {
            forgotten: 0,
            name_len: 0,
            encloser: EncloserSearch { exists: 0, absent: 0, node: 0 },
            gap: GapSearch { block: 0, shape: 0, place: 0, count: 0, before: 0, is_before: 0 },
            listed: ListedCells { block: 0, policy: 0 },
            prefix_len: 0,
            cname_len: 0,
            option_at: 0,
            secret: 0,
            options_end: 0,
            is_exceeded: 0,
            message_sum: 0,
            record_at: 0,
        }
    }
}

impl Default for Cells {
    fn default() -> Cells {
        Cells::new()
    }
}
