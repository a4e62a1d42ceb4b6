//! The gap in which a name lies that does not exist: the NSEC (RFC 4034) or the NSEC3 (RFC 5155) that covers the next
//! closer name.
//!
//! Only the next closer name is ever looked up in a gap index: what depends on the closest encloser
//! alone was compiled into its node.

use crate::Outcome;
use crate::bytes::{low_octets, u8_at, u64_at};
use crate::dns::name;
use crate::engine::find;
use crate::image::bounds::MAX_SALT;
use crate::image::chain::{self, Chain, MAX_SCAN, PAGE_LEN, range_entry, range_head};
use crate::image::children::{Block, MAX_STEPS};
use crate::image::node::Node;
use crate::image::zone::Zone;
use crate::image::{Address, Entry, Store, UNIT};
use crate::launder::{forget, recall};
use crate::sha1;
use crate::state::cells::GapSearch;
use crate::state::name::NameRoom;
use crate::state::{Absence, Cells, HashState, Scratch, Step};

/// Cache lines of an NSEC3 with one signature over P-256.
const PROOF_LINES: usize = 5;

/// Octets of the words that the longest label is compared in.
const MAX_LABEL_ROOM: usize = 64;

/// Finds the NSEC3 that covers the hash of the next closer name: the last one not after it, or the last
/// of all (RFC 5155 section 7.1).
#[inline(always)]
pub fn next_closer_cover<S: Store>(store: &S, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let Scratch { absence, cells, name, sha1, .. } = scratch;
    let at = recall(&absence.next_closer) as usize & 0xff;
    let len = (absence.context().len as usize).wrapping_sub(at) & 0xff;
    let encloser = recall(&absence.encloser);
    let encloser = Node::new(store.record(encloser).ok_or(Outcome::Broken)?);
    let zone = Zone::new(store.record(encloser.zone()).ok_or(Outcome::Broken)?);
    absence.chain = zone.chain();
    let window = store.record(zone.chain()).ok_or(Outcome::Broken)?;
    let (high, low) =
        hash_next_closer(store, &mut name.octets, sha1, Chain::new(window), absence, at, len)?;
    let cover = nsec3_cover(store, absence, cells, high, low)?;
    absence.cover = cover;
    // It arrives while the rest is planned.
    find::fetch::<PROOF_LINES>(store.record(cover).ok_or(Outcome::Broken)?);
    Ok(Step::Conclude)
}

/// The first octets of the hash of the next closer name, `len` octets of `name` from `at` on. Where its work is
/// bounded, additional iterations and long salts are the host's.
#[inline(always)]
fn hash_next_closer<S: Store>(
    store: &S,
    name: &mut NameRoom,
    state: &mut HashState,
    chain: Chain<'_>,
    absence: &Absence,
    at: usize,
    len: usize,
) -> Result<(u64, u32), Outcome> {
    let (salt_len, iterations) = (chain.salt_len(), chain.iterations());
    // Without a salt any record will do.
    let salt = if salt_len != 0 { chain.salt() } else { recall(&absence.chain) };
    let salt = store.record(salt).ok_or(Outcome::Broken)?;
    if S::UNBOUNDED {
        let name = name.get(at..at + len).unwrap_or_default();
        return Ok(sha1::hash_iterated(name, state, &salt[..salt_len], iterations));
    }
    if iterations != 0 || salt_len > MAX_SALT {
        return Err(Outcome::Hashing);
    }
    Ok(sha1::hash_name(name, state, at, len, salt, salt_len))
}

/// The NSEC that covers the next closer name, which starts at `at` of `name`: that of the last name at or below the sibling before
/// it, or the encloser's own if there is no such sibling.
#[inline(always)]
pub(super) fn nsec_cover<S: Store>(
    store: &S,
    name: &NameRoom,
    cells: &mut Cells,
    at: usize,
    encloser: Node<'_>,
) -> Result<Address, Outcome> {
    let key = name::label_key(name, at);
    cells.gap.before = 0;
    go_into(&mut cells.gap, encloser.children(), 0);
    let mut step = 0;
    while step < MAX_STEPS {
        let block = recall(&cells.gap.block) as Address;
        let low = recall(&cells.gap.place) as u32;
        let size = recall(&cells.gap.count) as u32;
        if size == 0 {
            let block = Block::new(block, recall(&cells.gap.shape) as u16);
            // Before the first entry of the root there is no child, and below a leaf no block.
            if low == 0 || block.depth == 0 {
                break;
            }
            let reference = store.entry(block.reference(low - 1)).ok_or(Outcome::Broken)?;
            let below = Block::new(word(reference, 0), word(reference, 4) as u16);
            // Its first entry is the one that led to it.
            go_into(&mut cells.gap, below, 1);
        } else {
            let middle = low + (size >> 1);
            let entry = store.entry(entry_address(block, middle)).ok_or(Outcome::Broken)?;
            let (high, low_part, child) = key_of(entry);
            cells.gap.is_before = ((high, low_part) < key) as u64;
            if (high, low_part) == key {
                let child = Node::new(store.record(child).ok_or(Outcome::Broken)?);
                note_label_order(child, name, cells, at);
            }
            if recall(&cells.gap.is_before) != 0 {
                cells.gap.before = child as u64;
                cells.gap.place = middle as u64 + 1;
                cells.gap.count = (size - (size >> 1) - 1) as u64;
            } else {
                cells.gap.count = (size >> 1) as u64;
            }
        }
        step += 1;
    }
    if forget(&mut cells.forgotten, step as u64) >= MAX_STEPS as u64 {
        return Err(Outcome::Broken);
    }
    let child = recall(&cells.gap.before) as Address;
    if child == 0 {
        return Ok(encloser.first_cover());
    }
    let child = store.record(child).ok_or(Outcome::Broken)?;
    // The last name at or below most children is the child itself, and its NSEC right behind it.
    find::fetch::<{ find::NODE_LINES }>(child);
    Ok(Node::new(child).last_cover())
}

/// Goes on with the entries of a block from `place` on.
#[inline(always)]
fn go_into(search: &mut GapSearch, block: Block, place: u32) {
    search.block = block.address as u64;
    search.shape = block.shape() as u64;
    search.place = place as u64;
    search.count = block.entries.saturating_sub(place) as u64;
}

/// Notes in [`is_before`](GapSearch::is_before) whether the first label of a child sorts before the label at `at`: octets, then
/// lengths (RFC 4034 section 6.1).
#[inline(always)]
fn note_label_order(child: Node<'_>, name: &NameRoom, cells: &mut Cells, at: usize) {
    let name_at = child.name_at();
    // What lies behind the shorter label counts for nothing; up to where they differ it is the same for both.
    let mut place = 0;
    while place < MAX_LABEL_ROOM {
        if child.name_word(name_at, 1 + place) != u64_at(name, at + 1 + place) {
            break;
        }
        place += 8;
    }
    let place = forget(&mut cells.forgotten, place as u64) as usize & (2 * MAX_LABEL_ROOM - 1);
    let child_len = child.name_word(name_at, 0) as u8 as usize & 63;
    let len = u8_at(name, at) as usize & 63;
    let a = label_word(child.name_word(name_at, 1 + place), child_len, place);
    let b = label_word(u64_at(name, at + 1 + place), len, place);
    cells.gap.is_before = ((a, child_len) < (b, len)) as u64;
}

/// The eight octets of a label from `place` on as a number that sorts as they do, with zeros behind the label's end.
#[inline(always)]
fn label_word(word: u64, len: usize, place: usize) -> u64 {
    let left = len.saturating_sub(place);
    (if left < 8 { low_octets(word, left) } else { word }).swap_bytes()
}

/// The NSEC3 with the last hash that is not after this one.
#[inline(always)]
fn nsec3_cover<S: Store>(
    store: &S,
    absence: &Absence,
    cells: &mut Cells,
    high: u64,
    low: u32,
) -> Result<Address, Outcome> {
    let root = recall(&absence.chain);
    let chain = Chain::new(store.record(root).ok_or(Outcome::Broken)?);
    let number = (high >> chain.shift()) as u32;
    let pages = root.wrapping_add((chain::at::PAGES / UNIT) as Address);
    let page = reference(store, pages, number / PAGE_LEN as u32).ok_or(Outcome::Broken)?;
    let range = reference(store, page, number % PAGE_LEN as u32).ok_or(Outcome::Broken)?;
    let (before, count) = range_head(store.entry(range).ok_or(Outcome::Broken)?);
    cells.gap.block = range as u64;
    cells.gap.count = count as u64;
    cells.gap.before = before as u64;
    let mut step = 0;
    while step < MAX_SCAN {
        if step as u64 >= recall(&cells.gap.count) {
            break;
        }
        let range = recall(&cells.gap.block) as Address;
        let entry = store.entry(range_entry(range, step as u32)).ok_or(Outcome::Broken)?;
        let (entry_high, entry_low, piece) = key_of(entry);
        if (entry_high, entry_low) > (high, low) {
            break;
        }
        cells.gap.before = piece as u64;
        step += 1;
    }
    if forget(&mut cells.forgotten, step as u64) >= MAX_SCAN as u64 {
        return Err(Outcome::Broken);
    }
    Ok(recall(&cells.gap.before) as Address)
}

/// The reference at a place of a root or a page of the NSEC3 index.
#[inline(always)]
fn reference<S: Store>(store: &S, references: Address, place: u32) -> Option<Address> {
    Some(chain::reference(store.entry(chain::reference_entry(references, place))?, place))
}

/// The address of an entry of an index.
#[inline(always)]
fn entry_address(index: Address, place: u32) -> Address {
    index.wrapping_add(place.wrapping_mul((size_of::<Entry>() / UNIT) as u32))
}

/// The key of an entry in two parts, and its address.
#[inline(always)]
fn key_of(entry: &Entry) -> (u64, u32, Address) {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *entry;
    // One load, where two of half the width become one for each octet.
    let rest = u64::from_le_bytes(rest);
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), rest as u32, (rest >> 32) as Address)
}

#[inline(always)]
fn word(entry: &Entry, at: usize) -> u32 {
    u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
}

#[cfg(test)]
mod tests;
