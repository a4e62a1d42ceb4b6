//! The packet as the engine's frame, with all unsafe code that reads or writes a packet.
//!
//! Every access takes the packet's start anew, adds a bounded offset, and checks the very pointer it
//! uses against the packet's end: that is what the verifier can follow. The pointer goes through
//! `pinned` so that the compiler does not compute it a second time, differently, after the check.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use core::arch::asm;
use core::ptr::NonNull;
use xdp_common::Outcome;
use xdp_common::bytes;
use xdp_common::checksum::Sum;
use xdp_common::frame::Frame;
use xdp_common::image::Window;
use xdp_common::image::bounds;
use xdp_common::image::piece::{self, PART};
use xdp_common::launder::forget;
use xdp_common::state::scratch::{MAX_QUERY, QuestionRoom};

use crate::count;
use crate::hook::Hook;

/// Offsets are cut to this, so that the verifier knows a bound: more than any frame without jumbo
/// size.
const OFFSET_MASK: usize = 0xfff;

/// What veth and most drivers leave in front of a packet (XDP_PACKET_HEADROOM is 256, of which the
/// kernel keeps 40 for its own frame record).
pub const HEAD_ROOM: usize = 216;

/// The longest run of headers and question that moves with the start: Ethernet with two tags, IPv6,
/// UDP, DNS header, and the longest question.
const MAX_KEEP: usize = 22 + 40 + 8 + 12 + 255 + 4;

/// Octets that are copied between two checks.
const BLOCK: usize = 32;

/// Where the body of a piece starts at the most, as a mask.
const MAX_FROM: usize = 0x1ff;
const _: () = assert!(MAX_FROM + PART + BLOCK <= size_of::<Window>());
const _: () = assert!(piece::body_at(bounds::MAX_FIXUPS_BEFORE) <= MAX_FROM);

#[map]
static SPILL: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Keeps the compiler from knowing how a pointer or an offset was made, and so from making it a second
/// time, past its check.
#[inline(always)]
pub fn pinned(pointer: usize) -> usize {
    let mut pointer = pointer;
    // SAFETY: a register is moved to itself; no memory is touched.
    unsafe { asm!("{0} = {0}", inout(reg) pointer, options(pure, nomem, nostack)) };
    pointer
}

/// The packet that the program was called for.
pub struct Packet<'a, H> {
    context: &'a H,
    spill: NonNull<u64>,
}

impl<'a, H: Hook> Packet<'a, H> {
    /// The packet of a context; `None` if the kernel has not made the maps, which cannot be.
    #[inline(always)]
    pub fn new(context: &'a H) -> Option<Packet<'a, H>> {
        Some(Packet { context, spill: NonNull::new(SPILL.get_ptr_mut(0)?)? })
    }

    /// Launders a loop's counter; memory on the stack would not do, the verifier knows it too well.
    #[inline(always)]
    fn forgotten(&self, value: usize) -> usize {
        // SAFETY: the value belongs to this CPU and no other reference to it lives.
        forget(unsafe { &mut *self.spill.as_ptr() }, value as u64) as usize
    }

    /// Where the octet at an offset is.
    #[inline(always)]
    fn at(&self, offset: usize) -> usize {
        pinned(self.context.data() + (offset & OFFSET_MASK))
    }

    /// Grows by moving the start into the head room, the rest at the tail; then the first `keep` octets
    /// move there.
    #[inline(always)]
    fn grow_at_head(&mut self, len: usize, by: usize, keep: usize) -> Result<(), Outcome> {
        // The word that ends with what moves: where it can be read, so can all before it. It is read
        // now, since words may be written over it.
        let last: [u8; 8] = self.get(keep.wrapping_sub(8)).ok_or(Outcome::NoRoom)?;
        let head = if by < HEAD_ROOM { by } else { HEAD_ROOM };
        let head = self.forgotten(head) & 0xff;
        self.context.adjust_head(-(head as i32)).ok_or(Outcome::NoRoom)?;
        let tail = by.wrapping_sub(head) & OFFSET_MASK;
        if tail != 0 && self.context.resize(len, tail as i32).is_none() {
            self.context.adjust_head(head as i32).ok_or(Outcome::Torn)?;
            return Err(Outcome::NoRoom);
        }
        self.bring_forward(head, keep, last).ok_or(Outcome::Torn)?;
        count::grown_at_head::<H>();
        Ok(())
    }

    /// Moves `keep` octets, which begin at `from` and end with `last`, to the start of the packet: the headers and the
    /// question, once there is new room before them.
    #[inline(always)]
    fn bring_forward(&mut self, from: usize, keep: usize, last: [u8; 8]) -> Option<()> {
        let mut place = 0;
        while place < MAX_KEEP {
            if place + 8 > keep {
                break;
            }
            let word: [u8; 8] = self.get(from + place)?;
            self.put(place, word)?;
            place += 8;
        }
        self.forgotten(place);
        self.put(pinned(keep.wrapping_sub(8)), last)
    }
}

impl<H: Hook> Frame for Packet<'_, H> {
    const COMPLETES_CHECKSUMS: bool = H::COMPLETES_CHECKSUMS;

    #[inline(always)]
    fn len(&self) -> usize {
        self.context.data_end() - self.context.data()
    }

    #[inline(always)]
    fn get<const W: usize>(&self, at: usize) -> Option<[u8; W]> {
        let start = self.at(at);
        if start + W > self.context.data_end() {
            return None;
        }
        // SAFETY: these octets lie inside the packet, by the check above.
        Some(unsafe { (start as *const [u8; W]).read_unaligned() })
    }

    #[inline(always)]
    fn put<const W: usize>(&mut self, at: usize, octets: [u8; W]) -> Option<()> {
        let start = self.at(at);
        if start + W > self.context.data_end() {
            return None;
        }
        // SAFETY: these octets lie inside the packet, by the check above.
        unsafe { (start as *mut [u8; W]).write_unaligned(octets) };
        Some(())
    }

    #[inline(always)]
    fn resize(&mut self, len: usize, keep: usize) -> Result<(), Outcome> {
        let current = self.forgotten(self.len());
        let by = (len as i32).wrapping_sub(current as i32);
        if by == 0 || self.context.resize(len, by).is_some() {
            return Ok(());
        }
        if by < 0 || !H::HAS_HEAD_ROOM {
            return Err(Outcome::NoRoom);
        }
        self.grow_at_head(len, by as usize, keep)
    }

    #[inline(always)]
    fn copy_out(&self, at: usize, len: usize, room: &mut QuestionRoom) -> Option<u64> {
        let start = self.at(at);
        let end = self.context.data_end();
        let (mut sum, mut place) = (Sum::new(), 0);
        while place < MAX_QUERY {
            if place + 8 > len {
                break;
            }
            let word_at = start + place;
            if word_at + 8 > end {
                return None;
            }
            // SAFETY: these octets lie inside the packet, by the check above.
            let word = unsafe { (word_at as *const u64).read_unaligned() };
            bytes::put(room, place, word.to_le_bytes());
            sum.add(word);
            place += 8;
        }
        self.forgotten(place);
        // The last octets: the word that ends with the message, without what was copied. In front of
        // what is copied are more than eight octets of headers.
        let whole = len & !7;
        let last = self.get(pinned(at + len.wrapping_sub(8))).map(u64::from_le_bytes)?;
        let rest = last >> 8 >> ((7 - (len & 7)) * 8);
        bytes::put(room, whole, rest.to_le_bytes());
        bytes::put(room, whole + 8, [0; 8]);
        sum.add(rest);
        Some(sum.total())
    }

    #[inline(always)]
    fn copy_in(&mut self, to: usize, from: &Window, from_at: usize, len: usize) -> Option<()> {
        let source = from.as_ptr() as usize + pinned(from_at & MAX_FROM);
        let start = self.at(to);
        let end = self.context.data_end();
        let mut next = 0;
        let place = loop {
            // As a place that the compiler knows nothing of, it stays apart from its bound. Else LLVM begins to
            // count before the window, where Linux 7.1 and later let no pointer be, and makes one bound of PART
            // and the length, with which 6.1 goes on past the window.
            let place = pinned(next);
            if place >= PART || place + BLOCK > len {
                break place;
            }
            copy_block(source + place, start + place, end)?;
            next = place + BLOCK;
        };
        // Each exit knows place and length differently.
        let place = self.forgotten(place) & 0x7ff;
        let len = self.forgotten(len) & 0x7ff;
        if place >= len {
            return Some(());
        }
        // What is left goes with octets before it, once more.
        if len >= BLOCK {
            let last = pinned(len.wrapping_sub(BLOCK));
            if last > PART {
                return None;
            }
            return copy_block(source + last, self.at(to + last), end);
        }
        let mut place = 0;
        while place < BLOCK {
            if place + 8 > len {
                break;
            }
            self.put::<8>(to + place, bytes::get(from, from_at + place))?;
            place += 8;
        }
        self.forgotten(place);
        // No piece is shorter than eight octets.
        let last = (self.forgotten(len) & 0x7ff).wrapping_sub(8);
        self.put::<8>(to + last, bytes::get(from, from_at + last))
    }
}

/// Copies a block to a place in the packet, if it ends before `end`. `from` must be a place in a window
/// at least a block before its end.
#[inline(always)]
fn copy_block(from: usize, to: usize, end: usize) -> Option<()> {
    if to + BLOCK > end {
        return None;
    }
    let mut word = 0;
    while word < BLOCK {
        // SAFETY: the octets read lie inside the window (`MAX_FROM`), those written inside the packet, by
        // the check above.
        unsafe {
            let octets = ((from + word) as *const u64).read_unaligned();
            ((to + word) as *mut u64).write_unaligned(octets);
        }
        word += 8;
    }
    Some(())
}
