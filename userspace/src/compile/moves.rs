//! A version's records moved to another place in the slab: every address that stands in one of them is known here, by kind
//! of record.
//!
//! Records move by whole chunks ([`Moves`]), so what lies in one window stays so. Pieces refer to nothing.

use xdp_common::image::chain::{self, MAX_BITS, PAGE_LEN, range_at};
use xdp_common::image::children::{Block, ENTRY_LEN, REFERENCE_LEN};
use xdp_common::image::node::{self, TOO_MANY_TYPES, TYPE_LEN};
use xdp_common::image::{Address, UNIT, zone as zone_record};
use xdp_common::maps::CHUNK_LEN;

use super::hashes::page_count;
use super::memory::Memory;
use super::slab::Extent;
use super::sorted::SortedList;
use super::version::CompiledZone;

/// Units of a chunk.
const CHUNK_UNITS: usize = CHUNK_LEN / UNIT;

/// Where the addresses stand in a node, but for those of the pieces of its types.
const IN_NODE: [usize; 13] = [
    node::at::ZONE,
    node::at::OTHERWISE,
    node::at::PROOFS,
    node::at::PROOFS + 4,
    node::at::GLUE,
    node::at::OPTIONAL_GLUE,
    node::at::WILDCARD,
    node::at::ENCLOSER_MATCH,
    node::at::WILDCARD_COVER,
    node::at::FIRST_COVER,
    node::at::CHILDREN,
    node::at::LAST_COVER,
    node::at::ANY,
];

/// Where the address stands in an entry of an index.
const IN_ENTRY: usize = 12;

/// Where the address of the piece stands in an entry of a node's table of types.
const IN_TYPE: usize = 4;

/// Octets of the longest part of a node that is before its name.
const NODE_HEAD: usize = node::at::TYPES + TOO_MANY_TYPES * TYPE_LEN;

/// A record is not what its kind has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record refers to what is none")]
pub struct Dangling;

/// Where chunks are moved to.
pub struct Moves(Vec<usize>);

impl Moves {
    /// The chunks of the place that they are moved to, in order of those that are moved.
    pub fn new(chunks: Vec<usize>) -> Moves {
        Moves(chunks)
    }

    /// The chunks that they are moved to.
    pub fn chunks(&self) -> &[usize] {
        &self.0
    }

    /// Where an address leads that led to a record before.
    fn moved(&self, address: Address) -> Result<Address, Dangling> {
        if address == 0 {
            return Ok(0);
        }
        let (chunk, unit) = (address as usize / CHUNK_UNITS, address as usize % CHUNK_UNITS);
        let chunk = self.0.get(chunk).ok_or(Dangling)?;
        Address::try_from(chunk * CHUNK_UNITS + unit).map_err(|_| Dangling)
    }

    /// Moves the address that stands at a place of a record.
    fn in_record(&self, record: &mut [u8], at: usize) -> Result<Address, Dangling> {
        let field = record.get_mut(at..at + size_of::<Address>()).ok_or(Dangling)?;
        let before = Address::from_le_bytes(field.try_into().map_err(|_| Dangling)?);
        field.copy_from_slice(&self.moved(before)?.to_le_bytes());
        Ok(before)
    }
}

/// A version whose records lie where they were moved to: what is kept of it, with the addresses that it has there. The
/// addresses in its records are still those that they had before, and are made to be the new ones. Nobody may read them
/// yet.
pub fn relocate(
    zone: &CompiledZone,
    memory: &dyn Memory,
    moves: &Moves,
) -> Result<CompiledZone, Dangling> {
    let mover = Mover { memory, moves };
    for &node in zone.nodes.iter() {
        mover.node(node)?;
    }
    let mut chains = Vec::new();
    for &record in &zone.records {
        chains.extend(mover.zone_record(record)?);
    }
    // All zone records of a version have the same.
    chains.sort_unstable();
    chains.dedup();
    chains.into_iter().try_for_each(|root| mover.chain(root))?;
    let records = zone.records.iter().map(|&record| moves.moved(record));
    Ok(CompiledZone {
        nodes: SortedList::of(&all(zone.nodes.iter().map(|&node| moves.moved(node)))?),
        extents: moved_extents(zone, moves)?,
        aliases: moved_pairs(&zone.aliases, moves)?,
        hosts: moved_pairs(&zone.hosts, moves)?,
        by_hash: moved_pairs(&zone.by_hash, moves)?,
        dependents: zone.dependents,
        records: all(records)?,
        octets: zone.octets,
        is_partial: zone.is_partial,
        unsendable: zone.unsendable.clone(),
        is_gone: Default::default(),
    })
}

fn all<T>(moved: impl Iterator<Item = Result<T, Dangling>>) -> Result<Vec<T>, Dangling> {
    moved.collect()
}

fn moved_extents(zone: &CompiledZone, moves: &Moves) -> Result<SortedList<Extent>, Dangling> {
    let moved = zone.extents.iter().map(|extent| {
        let address = moves.moved(extent.address)?;
        Ok(Extent { address, ..*extent })
    });
    let mut moved = all(moved)?;
    moved.sort_unstable_by_key(|extent| extent.address);
    Ok(SortedList::of(&moved))
}

fn moved_pairs(
    list: &SortedList<(u32, Address)>,
    moves: &Moves,
) -> Result<SortedList<(u32, Address)>, Dangling> {
    let moved = list.iter().map(|&(key, node)| Ok((key, moves.moved(node)?)));
    let mut moved = all(moved)?;
    moved.sort_unstable();
    Ok(SortedList::of(&moved))
}

/// Makes the addresses in records be those that they have now. Records are named by the addresses that they had.
struct Mover<'a> {
    memory: &'a dyn Memory,
    moves: &'a Moves,
}

impl Mover<'_> {
    /// Where a record is now, in octets.
    fn octets_at(&self, record: Address) -> Result<usize, Dangling> {
        if record == 0 {
            return Err(Dangling);
        }
        Ok(self.moves.moved(record)? as usize * UNIT)
    }

    fn read(&self, at: usize, len: usize) -> Result<&[u8], Dangling> {
        self.memory.read(at, len).ok_or(Dangling)
    }

    fn node(&self, node: Address) -> Result<(), Dangling> {
        let at = self.octets_at(node)?;
        let head = self.read(at, node::at::TYPES)?;
        let field = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let shape = field(node::at::CHILDREN_SHAPE);
        let types = usize::from(field(node::at::TYPE_COUNT));
        let len = node::at::TYPES + types * TYPE_LEN;
        let mut room = [0; NODE_HEAD];
        let record = room.get_mut(..len).ok_or(Dangling)?;
        record.copy_from_slice(self.read(at, len)?);
        for place in IN_NODE {
            let before = self.moves.in_record(record, place)?;
            if place == node::at::CHILDREN && before != 0 {
                self.block(Block::new(before, shape))?;
            }
        }
        for number in 0..types {
            self.moves.in_record(record, node::at::TYPES + number * TYPE_LEN + IN_TYPE)?;
        }
        self.memory.write(at, record);
        Ok(())
    }

    /// A block of an index of children, and all below it.
    fn block(&self, block: Block) -> Result<(), Dangling> {
        let at = self.octets_at(block.address)?;
        let mut record = self.read(at, block.octets())?.to_vec();
        let entries = block.entries as usize;
        for entry in 0..entries {
            self.moves.in_record(&mut record, entry * ENTRY_LEN + IN_ENTRY)?;
        }
        for reference in (0..entries).filter(|_| block.depth > 0) {
            let place = entries * ENTRY_LEN + reference * REFERENCE_LEN;
            let below = self.moves.in_record(&mut record, place)?;
            let shape = u16::from_le_bytes([record[place + 4], record[place + 5]]);
            let below = Block::new(below, shape);
            if below.depth >= block.depth {
                return Err(Dangling);
            }
            self.block(below)?;
        }
        self.memory.write(at, &record);
        Ok(())
    }

    /// A zone record; the address that the root of its NSEC3 index had, if it has one.
    fn zone_record(&self, zone: Address) -> Result<Option<Address>, Dangling> {
        let at = self.octets_at(zone)?;
        let mut record = self.read(at, zone_record::LEN)?.to_vec();
        self.moves.in_record(&mut record, zone_record::at::SOA)?;
        let chain = self.moves.in_record(&mut record, zone_record::at::CHAIN)?;
        self.memory.write(at, &record);
        Ok(Some(chain).filter(|chain| *chain != 0))
    }

    /// The root of an NSEC3 index, and all below it.
    fn chain(&self, root: Address) -> Result<(), Dangling> {
        let at = self.octets_at(root)?;
        let shift = self.read(at, chain::at::PAGES)?[chain::at::SHIFT];
        let bits = 64u32.checked_sub(shift.into()).filter(|bits| *bits <= MAX_BITS);
        let bits = bits.ok_or(Dangling)?;
        let pages = page_count(bits) as usize;
        let mut record = self.read(at, chain::at::PAGES + pages * chain::REFERENCE_LEN)?.to_vec();
        self.moves.in_record(&mut record, chain::at::APEX_MATCH)?;
        self.moves.in_record(&mut record, chain::at::SALT)?;
        let mut ranges = 1usize << bits;
        for page in 0..pages {
            let place = chain::at::PAGES + page * chain::REFERENCE_LEN;
            let page = self.moves.in_record(&mut record, place)?;
            self.page(page, ranges.min(PAGE_LEN))?;
            ranges = ranges.saturating_sub(PAGE_LEN);
        }
        self.memory.write(at, &record);
        Ok(())
    }

    /// A page with so many ranges.
    fn page(&self, page: Address, ranges: usize) -> Result<(), Dangling> {
        let at = self.octets_at(page)?;
        let mut record = self.read(at, ranges * chain::REFERENCE_LEN)?.to_vec();
        for range in 0..ranges {
            let range = self.moves.in_record(&mut record, range * chain::REFERENCE_LEN)?;
            self.range(range)?;
        }
        self.memory.write(at, &record);
        Ok(())
    }

    fn range(&self, range: Address) -> Result<(), Dangling> {
        let at = self.octets_at(range)?;
        let head = self.read(at, range_at::ENTRIES)?;
        let count = head[range_at::COUNT..][..4].try_into().map_or(0, u32::from_le_bytes) as usize;
        if count >= chain::MAX_SCAN {
            return Err(Dangling);
        }
        let mut record = self.read(at, range_at::ENTRIES + count * ENTRY_LEN)?.to_vec();
        self.moves.in_record(&mut record, range_at::BEFORE)?;
        for entry in 0..count {
            let place = range_at::ENTRIES + entry * ENTRY_LEN + IN_ENTRY;
            self.moves.in_record(&mut record, place)?;
        }
        self.memory.write(at, &record);
        Ok(())
    }
}
