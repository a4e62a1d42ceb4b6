//! A packet or a buffer: the octets that the engine reads a query from and writes a response to.

use crate::Outcome;
use crate::bytes::{self, SLACK};
use crate::checksum;
use crate::image::Window;
use crate::state::scratch::{MAX_QUERY, QuestionRoom};

/// Octets with a beginning and an end, which can be made longer at the end.
pub trait Frame {
    /// Whether a UDP checksum that is only the sum of the pseudo-header is completed on the way out,
    /// if the query's was one.
    const COMPLETES_CHECKSUMS: bool = false;

    /// How many octets there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `W` octets at `at`; `None` past the end.
    fn get<const W: usize>(&self, at: usize) -> Option<[u8; W]>;

    /// Overwrites `W` octets at `at`; `None`, and nothing written, past the end.
    fn put<const W: usize>(&mut self, at: usize, octets: [u8; W]) -> Option<()>;

    /// Makes the frame `len` octets long. The first `keep` octets (at least eight) stay; all others are
    /// undefined until written. [`Outcome::NoRoom`], and the frame unchanged, if there is no room;
    /// [`Outcome::Torn`] if it is no longer what came.
    fn resize(&mut self, len: usize, keep: usize) -> Result<(), Outcome>;

    /// Copies `len` octets (at most [`MAX_QUERY`]) from `at` to the start of `room`, zeroes the eight
    /// after them, and returns their one's-complement sum; `None` past the end.
    fn copy_out(&self, at: usize, len: usize, room: &mut QuestionRoom) -> Option<u64>;

    /// Copies `len` octets from `from_at` of a record to `to`. Up to 31 octets after them may be
    /// overwritten too: parts are written in order, and the next part comes there. `None` past
    /// the end.
    fn copy_in(&mut self, to: usize, from: &Window, from_at: usize, len: usize) -> Option<()>;
}

/// A frame in a slice of fixed capacity, for the host.
pub struct SliceFrame<'a> {
    octets: &'a mut [u8],
    len: usize,
}

impl<'a> SliceFrame<'a> {
    /// A frame whose first `len` octets are there and which can grow to the end of `octets`.
    pub fn new(octets: &'a mut [u8], len: usize) -> SliceFrame<'a> {
        let len = len.min(octets.len());
        SliceFrame { octets, len }
    }

    /// The octets of the frame.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

impl Frame for SliceFrame<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn get<const W: usize>(&self, at: usize) -> Option<[u8; W]> {
        self.octets[..self.len].get(at..)?.first_chunk().copied()
    }

    fn put<const W: usize>(&mut self, at: usize, octets: [u8; W]) -> Option<()> {
        *self.octets[..self.len].get_mut(at..)?.first_chunk_mut()? = octets;
        Some(())
    }

    fn resize(&mut self, len: usize, _keep: usize) -> Result<(), Outcome> {
        if len > self.octets.len() {
            return Err(Outcome::NoRoom);
        }
        self.len = len;
        Ok(())
    }

    fn copy_out(&self, at: usize, len: usize, room: &mut QuestionRoom) -> Option<u64> {
        let octets = self.octets[..self.len].get(at..)?.get(..len.min(MAX_QUERY))?;
        room[..len].copy_from_slice(octets);
        room[len..len + SLACK].fill(0);
        Some(checksum::of(octets) as u64)
    }

    fn copy_in(&mut self, to: usize, from: &Window, from_at: usize, len: usize) -> Option<()> {
        let from = from.get(from_at..)?.get(..len)?;
        self.octets[..self.len].get_mut(to..)?.get_mut(..len)?.copy_from_slice(from);
        Some(())
    }
}

/// A big-endian 16-bit number at `at`.
#[inline(always)]
pub fn be16<F: Frame>(frame: &F, at: usize) -> Option<u16> {
    frame.get(at).map(u16::from_be_bytes)
}

/// A little-endian 64-bit number at `at`: eight octets as they lie, for sums.
#[inline(always)]
pub fn le64<F: Frame>(frame: &F, at: usize) -> Option<u64> {
    frame.get(at).map(u64::from_le_bytes)
}

/// A little-endian 32-bit number at `at`.
#[inline(always)]
pub fn le32<F: Frame>(frame: &F, at: usize) -> Option<u32> {
    frame.get(at).map(u32::from_le_bytes)
}

/// A little-endian 16-bit number at `at`.
#[inline(always)]
pub fn le16<F: Frame>(frame: &F, at: usize) -> Option<u16> {
    frame.get(at).map(u16::from_le_bytes)
}

/// Two octets of a record: a convenience for readers of windows.
#[inline(always)]
pub fn window_be16(window: &Window, at: usize) -> u16 {
    u16::from_be_bytes(bytes::get(window, at))
}
