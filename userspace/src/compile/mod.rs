//! Signed zones compiled into the image that the engine answers from.
//!
//! | to … | use |
//! |---|---|
//! | publish and withdraw zones | [`Image`] |
//! | compile a large one without the image | [`ApartZone`] |
//! | know whether a zone could be published | [`check()`] |
//! | answer from what is published | [`Reader`] |
//! | know what memory that needs | [`Memory`] |

mod answered;
mod apart;
mod build;
mod change;
mod check;
mod children;
mod engine;
mod error;
mod hashes;
mod image;
pub mod inspect;
mod memory;
mod moves;
mod names;
mod passed;
mod piece;
mod place;
mod reader;
mod reuse;
mod signatures;
mod slab;
mod sorted;
mod stored;
mod table;
#[cfg(test)]
mod tests;
mod version;

pub use answered::{Answered, Cookie};
pub use apart::ApartZone;
pub use check::{check, faults};
pub use engine::Engine;
pub use error::{
    ChangeError, CompileError, FaultyRecord, PublishError, Unsendable, UnsendableKind, WholeReason,
};
pub use image::{Difference, Image, RetiredExtents, Usage, ZoneUsage};
pub use memory::Memory;
pub use moves::Dangling;
pub use piece::MAX_TCP_MESSAGE;
pub use place::{PlacedZone, Room};
pub use reader::{QueryContext, Reader};
pub use signatures::SignatureAnswer;
pub use table::buckets_for;
pub use version::Listing;
