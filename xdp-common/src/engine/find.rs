//! Finding nodes by name, and at a node the piece of a type.

use crate::Outcome;
use crate::bytes::{is_zero, u64_at};
use crate::dns::name::{self, MAX_NAME_WORDS};
use crate::dns::rtype;
use crate::image::node::{Node, flag};
use crate::image::{Address, MAX_PROBES, Store, Window};
use crate::launder::{forget, recall};
use crate::state::name::NameRoom;
use crate::state::{Cells, LowerName, Query};

/// Mixed into the hash of a zone cut's name where the name is also the apex of a zone that is
/// served: the cut's node must not hide the apex, but questions for DS are its to answer
/// (RFC 4035 section 3.1.4.1).
pub const CUT_BESIDE_APEX: u64 = 0xd5d5_d5d5_d5d5_d5d5;

/// The node of the question's name; 0 if there is none. `None` if the image is damaged.
#[inline(always)]
pub fn question<S: Store>(
    store: &S,
    query: &Query,
    name: &LowerName,
    cells: &mut Cells,
) -> Option<Address> {
    let len = recall(&query.name_len) as usize & 0xff;
    let hash = query.hash;
    if query.qtype == rtype::DS as u32 {
        let cut = suffix(store, &name.octets, cells, 0, len, hash ^ CUT_BESIDE_APEX, hash)?;
        if cut != 0 {
            return Some(cut);
        }
    }
    suffix(store, &name.octets, cells, 0, len, hash, hash)
}

/// The node whose name is the suffix of `name` that starts at `at` and has `len` octets.
/// `place` says where in the table to look, `hash` is what the node must carry. 0 if there is none;
/// `None` if the image is damaged.
#[inline(always)]
pub fn suffix<S: Store>(
    store: &S,
    name: &NameRoom,
    cells: &mut Cells,
    at: usize,
    len: usize,
    place: u64,
    hash: u64,
) -> Option<Address> {
    let tag = place >> 32;
    // Loops narrow what they compare with: the length is taken from memory for each.
    cells.name_len = len as u64;
    let mut probe = 0;
    while probe < MAX_PROBES {
        let len = recall(&cells.name_len) as usize & 0xff;
        let bucket = store.bucket(place, probe)?;
        let (mut candidate, mut slot) = (0u64, 0);
        while slot < 8 {
            // The address, if the tag is this one.
            let differs = bucket[slot] ^ (tag << 32);
            candidate |= differs & 0u64.wrapping_sub(is_zero(differs >> 32));
            slot += 1;
        }
        let candidate = forget(&mut cells.forgotten, candidate) as Address;
        if candidate != 0 {
            let window = store.record(candidate)?;
            fetch::<NODE_LINES>(window);
            let node = Node::new(window);
            if node.hash() == hash && node.name_len() == len && is_named(node, name, cells, at, len)
            {
                return Some(candidate);
            }
        }
        if bucket[7] == 0 {
            break;
        }
        probe += 1;
    }
    forget(&mut cells.forgotten, probe as u64);
    Some(0)
}

/// Cache lines that a name is likely to need: its node, and the pieces that the compiler writes right
/// behind it.
pub(super) const NODE_LINES: usize = 9;

/// Touches a record's first lines, and what lies behind it, so that memory is waited for once and not line
/// by line.
#[inline(always)]
pub(super) fn fetch<const LINES: usize>(window: &Window) {
    let mut line = 0;
    while line < LINES {
        recall(&window[line * 64]);
        line += 1;
    }
}

/// Whether the node's name is that suffix: all octets are compared, a hash alone never decides.
#[inline(always)]
fn is_named(node: Node<'_>, name: &NameRoom, cells: &mut Cells, at: usize, len: usize) -> bool {
    let name_at = node.name_at();
    let (mut difference, mut word) = (0u64, 0);
    while word < MAX_NAME_WORDS {
        if word * 8 >= len {
            break;
        }
        difference |= node.name_word(name_at, word * 8) ^ u64_at(name, at + word * 8);
        word += 1;
    }
    forget(&mut cells.forgotten, difference) == 0
}

/// The node of the closest encloser of `name` and how many labels it has, given that the
/// name itself does not exist; address 0 if no zone encloses the name.
///
/// Existence of suffixes is monotonic: empty non-terminals and the names above every apex are in the
/// table. So the search halves, and its steps depend on the zones' depth, not on the client's labels.
/// It starts one label up: most names that do not exist lie right below one that does.
#[inline(always)]
pub fn encloser<S: Store>(
    store: &S,
    name: &LowerName,
    cells: &mut Cells,
    name_len: usize,
    labels: usize,
) -> Result<(Address, usize), Outcome> {
    cells.encloser.exists = 0;
    cells.encloser.absent =
        if labels <= store.max_labels() { labels } else { store.max_labels() + 1 } as u64;
    cells.encloser.node = 0;
    let mut step = 0;
    while step < S::MAX_ENCLOSER_STEPS {
        let low = recall(&cells.encloser.exists) as usize;
        let high = recall(&cells.encloser.absent) as usize;
        let known = recall(&cells.encloser.node) as Address;
        let depth = if high > low + 1 {
            if step == 0 { high - 1 } else { (low + high) >> 1 }
        } else if known == 0 {
            // Only the root is left.
            0
        } else if !Node::new(store.record(known).ok_or(Outcome::Broken)?).is(flag::VIRTUAL) {
            return Ok((known, low & 0x7f));
        } else if low == 0 {
            return Ok((0, 0));
        } else {
            // What stands above an apex belongs to no zone: a zone further up may enclose the name.
            cells.encloser.absent = low as u64;
            low - 1
        };
        let found = at_depth(store, name, cells, name_len, labels, depth).ok_or(Outcome::Broken)?;
        if found != 0 {
            cells.encloser.exists = depth as u64;
            cells.encloser.node = found as u64;
        } else if depth == 0 {
            return Ok((0, 0));
        } else {
            cells.encloser.absent = depth as u64;
        }
        step += 1;
    }
    Err(Outcome::Miss)
}

/// The node of the last `depth` labels of `name`; 0 if there is none.
#[inline(always)]
fn at_depth<S: Store>(
    store: &S,
    name: &LowerName,
    cells: &mut Cells,
    name_len: usize,
    labels: usize,
    depth: usize,
) -> Option<Address> {
    let at = name.offsets[labels.wrapping_sub(depth) & 127] as usize;
    let len = name_len.wrapping_sub(at) & 0xff;
    let hash = name::hash(&name.octets, at, len, store.seed());
    let hash = forget(&mut cells.forgotten, hash);
    let at = recall(&name.offsets[labels.wrapping_sub(depth) & 127]) as usize;
    let len = name_len.wrapping_sub(at) & 0xff;
    suffix(store, &name.octets, cells, at, len, hash, hash)
}

/// The piece of one type, or for ANY of what stands for all; 0 if the node does not have it.
#[inline(always)]
pub(super) fn type_piece<S: Store>(
    node: Node<'_>,
    qtype: u16,
    cells: &mut Cells,
) -> Result<Address, Outcome> {
    let count = node.type_count();
    if count > S::MAX_TYPES {
        return Err(if S::UNBOUNDED { Outcome::Oversize } else { S::EXCEEDED });
    }
    let (mut found, mut index) = (0u64, 0);
    while index < S::MAX_TYPES {
        if index >= count {
            break;
        }
        let (rtype, piece) = node.type_at(index);
        if rtype == qtype {
            found = piece as u64;
            break;
        }
        index += 1;
    }
    // Arithmetic and no branch: no type of a zone is ANY, so that nothing was found.
    let is_any = 0u64.wrapping_sub(is_zero((qtype ^ rtype::ANY) as u64));
    Ok(forget(&mut cells.forgotten, found | (node.any() as u64 & is_any)) as Address)
}
