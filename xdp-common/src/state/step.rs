//! A step of planning.

use super::plan::Context;
use crate::Outcome;
use crate::image::Address;

/// Where planning goes on.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The plan is complete.
    Done(Outcome),
    /// At this node, for the context's name.
    At(Address, Context),
    /// At the context's name, which must be looked up: it stands in the RDATA of the last part.
    Chase(Context),
    /// At the context's name, which stands in [`Scratch::name`](super::Scratch::name) with this many labels and does not
    /// exist.
    Absent(usize, Context),
    /// At the closest encloser, which owns a DNAME.
    Redirect,
    /// At the next closer name, whose hash is wanted.
    Hash,
    /// At the closest encloser, below which all is known to be absent that must be.
    Conclude,
}
