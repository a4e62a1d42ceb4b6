//! The search among children against a plain one, in indexes of all shapes.

extern crate std;

use core::ops::Deref;
use std::format;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::bytes::SLACK;
use crate::image::children::{ENTRY_LEN, MAX_BRANCH, MAX_DEPTH, MAX_LEAF, MAX_ROOT};
use crate::image::node::at;
use crate::image::{Bucket, Window};

/// What names below it, and what it says of those before its first child.
const APEX: &[u8] = b"\x01z\0";
const FIRST_COVER: Address = 0xffff_0000;

/// How many entries blocks have, turn and turn about.
#[derive(Clone, Debug)]
struct Shape {
    leaves: Vec<usize>,
    branches: Vec<usize>,
    root: usize,
}

/// A slab with one encloser and its children, of which each one's last cover is its number.
struct Slab {
    octets: Vec<u8>,
    encloser: Address,
    depth: u32,
}

impl Store for Slab {
    const SYNTHESIS: bool = false;
    const UNBOUNDED: bool = false;

    fn seed(&self) -> u64 {
        0
    }

    fn max_labels(&self) -> usize {
        2
    }

    fn bucket(&self, _: u64, _: usize) -> Option<impl Deref<Target = Bucket>> {
        None::<&Bucket>
    }

    fn record(&self, address: Address) -> Option<&Window> {
        let at = address as usize * UNIT;
        self.octets.get(at..at + size_of::<Window>())?.try_into().ok()
    }

    fn entry(&self, address: Address) -> Option<&Entry> {
        let at = address as usize * UNIT;
        self.octets.get(at..at + ENTRY_LEN)?.try_into().ok()
    }
}

impl Slab {
    /// The index of children with these labels, which are in order.
    fn new(labels: &[Vec<u8>], shape: &Shape) -> Slab {
        let mut slab = Slab { octets: vec![0; 64], encloser: 0, depth: 0 };
        let nodes: Vec<Address> =
            labels.iter().zip(1..).map(|(label, number)| slab.child(label, number)).collect();
        let entries: Vec<Entry> =
            labels.iter().zip(&nodes).map(|(label, &node)| entry(label, node)).collect();
        let root = slab.index(&entries, shape);
        let mut record = node_of(APEX);
        record[at::FIRST_COVER..][..4].copy_from_slice(&FIRST_COVER.to_le_bytes());
        slab.encloser = slab.place(&record);
        slab.depth = root.depth;
        // Windows of the last records end in the slab.
        slab.place(&[0; size_of::<Window>()]);
        slab.lead_to(root);
        slab
    }

    /// Has the encloser refer to a root.
    fn lead_to(&mut self, root: Block) {
        let encloser = &mut self.octets[self.encloser as usize * UNIT..];
        encloser[at::CHILDREN..][..4].copy_from_slice(&root.address.to_le_bytes());
        encloser[at::CHILDREN_SHAPE..][..2].copy_from_slice(&root.shape().to_le_bytes());
    }

    fn place(&mut self, octets: &[u8]) -> Address {
        let address = (self.octets.len() / UNIT) as Address;
        self.octets.extend(octets);
        self.octets.resize(self.octets.len().next_multiple_of(UNIT), 0xee);
        address
    }

    fn child(&mut self, label: &[u8], number: Address) -> Address {
        let mut record = node_of(&[&[label.len() as u8], label, APEX].concat());
        record[at::LAST_COVER..][..4].copy_from_slice(&number.to_le_bytes());
        self.place(&record)
    }

    fn index(&mut self, entries: &[Entry], shape: &Shape) -> Block {
        let (mut lens, mut blocks) = (shape.leaves.iter().cycle(), Vec::new());
        let mut left = entries;
        while !left.is_empty() {
            let (these, rest) = left.split_at(left.len().min(*lens.next().expect("a length")));
            let address = self.place(these.as_flattened());
            blocks.push((these[0], Block { address, entries: these.len() as u32, depth: 0 }));
            left = rest;
        }
        let (mut lens, mut depth) = (shape.branches.iter().cycle(), 0);
        while blocks.len() > 1 {
            depth += 1;
            let (mut above, mut left) = (Vec::new(), &blocks[..]);
            let is_root = blocks.len() <= shape.root;
            while !left.is_empty() {
                let len = if is_root { left.len() } else { *lens.next().expect("a length") };
                let (these, rest) = left.split_at(left.len().min(len));
                let mut octets: Vec<u8> = these.iter().flat_map(|(entry, _)| *entry).collect();
                for (_, block) in these {
                    octets.extend(block.address.to_le_bytes());
                    octets.extend(u32::from(block.shape()).to_le_bytes());
                }
                let address = self.place(&octets);
                above.push((these[0].0, Block { address, entries: these.len() as u32, depth }));
                left = rest;
            }
            blocks = above;
        }
        blocks.first().map_or_else(Block::default, |(_, root)| *root)
    }

    fn cover(&self, label: &[u8]) -> Result<Address, Outcome> {
        let mut name: NameRoom = [0; 512 + SLACK];
        let wire = [&[label.len() as u8], label, APEX].concat();
        name[..wire.len()].copy_from_slice(&wire);
        let encloser = Node::new(self.record(self.encloser).expect("in the slab"));
        nsec_cover(self, &name, &mut Cells::new(), 0, encloser)
    }
}

fn node_of(wire: &[u8]) -> Vec<u8> {
    let mut record = vec![0; at::TYPES];
    record[at::NAME_LEN] = wire.len() as u8;
    record.extend(wire);
    record
}

fn entry(label: &[u8], node: Address) -> Entry {
    let mut padded = [0; 12];
    let len = label.len().min(12);
    padded[..len].copy_from_slice(&label[..len]);
    let mut entry = [0; ENTRY_LEN];
    entry[..8].copy_from_slice(&padded[..8]);
    entry[..8].reverse();
    entry[8..12].copy_from_slice(&padded[8..]);
    entry[8..12].reverse();
    entry[12..].copy_from_slice(&node.to_le_bytes());
    entry
}

/// What a plain search says: the number of the last label that sorts before.
fn plain(labels: &[Vec<u8>], label: &[u8]) -> Result<Address, Outcome> {
    let before = labels.partition_point(|has| &has[..] < label);
    Ok(if before == 0 { FIRST_COVER } else { before as Address })
}

/// Labels right beside these, and these.
fn around(labels: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut asked = vec![vec![0], vec![0xff; 63]];
    for label in labels {
        let end = label.len() - 1;
        let (mut before, mut after) = (label.clone(), label.clone());
        before[end] = before[end].wrapping_sub(1);
        after[end] = after[end].wrapping_add(1);
        let longer = [label, &[0][..]].concat();
        asked.extend([before, after, label.clone(), label[..end].to_vec(), longer]);
    }
    asked.retain(|label| (1..=63).contains(&label.len()));
    asked
}

fn check(labels: &[Vec<u8>], shape: &Shape) -> u32 {
    let slab = Slab::new(labels, shape);
    for label in around(labels) {
        assert_eq!(slab.cover(&label), plain(labels, &label), "{label:x?} with {shape:?}");
    }
    slab.depth
}

/// As the compiler makes them.
fn full() -> Shape {
    Shape { leaves: vec![MAX_LEAF, 88, 42], branches: vec![MAX_BRANCH, 28], root: MAX_ROOT }
}

fn numbered(count: usize, prefix: &str) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("{prefix}{:06}", number * 2).into_bytes()).collect()
}

#[test]
fn every_gap_is_found_however_many_children_there_are() {
    for count in 0..=130 {
        check(&numbered(count, "n"), &full());
        // All keys are the same.
        check(&numbered(count, "as-long-as-a-key-"), &full());
    }
    assert_eq!(check(&numbered(1000, "n"), &full()), 1);
    assert_eq!(check(&numbered(20_000, "n"), &full()), 1);
    assert_eq!(check(&numbered(20_000, "n-long-as-a-key-"), &Shape { root: 40, ..full() }), 2);
}

/// An index with full blocks on all levels there can be, of which only the first entry is before what is asked for: of
/// all searches that takes the most steps. It needs only two children, since nobody comes to the others.
#[test]
fn the_longest_search_ends_within_its_bound() {
    let labels = [b"a".to_vec(), b"z".to_vec()];
    let mut slab = Slab::new(&labels, &full());
    let leaf = Node::new(slab.record(slab.encloser).expect("in the slab")).children();
    let [first, others] = [0, 1].map(|place| *slab.entry(leaf.entry(place)).expect("in the slab"));
    let lens = [MAX_LEAF, MAX_BRANCH, MAX_BRANCH, MAX_ROOT];
    assert_eq!(lens.len(), MAX_DEPTH + 1);
    let mut below = Block::default();
    for (depth, len) in (0..).zip(lens) {
        let mut octets = first.to_vec();
        octets.extend(std::iter::repeat_n(others, len - 1).flatten());
        if depth > 0 {
            let reference =
                (u64::from(below.address) | u64::from(below.shape()) << 32).to_le_bytes();
            octets.extend(std::iter::repeat_n(reference, len).flatten());
        }
        below = Block { address: slab.place(&octets), entries: len as u32, depth };
        assert_eq!(octets.len(), below.octets());
    }
    slab.lead_to(below);
    assert_eq!(slab.cover(b"m"), Ok(1));
    assert_eq!(slab.cover(b"0"), Ok(FIRST_COVER));
}

#[test]
fn a_damaged_index_is_an_error() {
    let mut slab = Slab::new(&numbered(500, "n"), &full());
    let root = Node::new(slab.record(slab.encloser).expect("in the slab")).children();
    // Branches that refer to themselves: a search goes down for ever.
    for place in 0..root.entries {
        let at = root.reference(place) as usize * UNIT;
        slab.octets[at..at + 4].copy_from_slice(&root.address.to_le_bytes());
        slab.octets[at + 4..at + 6].copy_from_slice(&root.shape().to_le_bytes());
    }
    assert_eq!(slab.cover(b"zzz"), Err(Outcome::Broken));
    let end = (slab.octets.len() / UNIT) as Address;
    slab.lead_to(Block { address: end, ..root });
    assert_eq!(slab.cover(b"zzz"), Err(Outcome::Broken));
}

/// Labels that share octets up to and beyond the end of their keys, of all lengths, with octets of all values.
fn labels() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let octet = prop_oneof![Just(0u8), Just(1), Just(b'a'), Just(b'b'), Just(0xff)];
    let prefix = prop_oneof![Just(0usize), Just(4), Just(7), 10usize..14, Just(23), Just(58)];
    let label = (prefix, proptest::collection::vec(octet, 1..5))
        .prop_map(|(prefix, rest)| [vec![b'a'; prefix], rest].concat());
    proptest::collection::btree_set(label, 0..200).prop_map(|labels| labels.into_iter().collect())
}

proptest! {
    #[test]
    fn ties_of_keys_are_told_apart_in_blocks_of_any_length(
        labels in labels(),
        leaves in proptest::collection::vec(1usize..9, 1..5),
        branches in proptest::collection::vec(2usize..9, 1..5),
        root in 4usize..20,
    ) {
        check(&labels, &Shape { leaves, branches, root });
    }
}
