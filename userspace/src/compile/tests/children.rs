//! Indexes of children in blocks: what a change writes of them, and whether every gap is found in them.

use std::ops::RangeInclusive;

use xdp_common::image::UNIT;
use xdp_common::image::children::{Block, MAX_BRANCH, MAX_LEAF, MAX_ROOT};

use super::*;
use crate::compile::children::levels;
use crate::compile::inspect::nodes::NodeRecord;
use crate::compile::inspect::verify::{Problem, verify};
use crate::zone::Version;
use crate::zone::difference::{Difference as Changes, Rules};

const SEED: u64 = 0x5eed;

/// What a change of one child's records writes besides the index: the child and what changed of it; the apex, its SOA
/// twice, the zone's record.
const CHANGED: usize = 6;

/// The same when a child comes or goes: its node and two RRsets, the node before and its NSEC.
const CAME_OR_WENT: usize = 9;

/// A zone with these children, in a chain of NSEC records that nobody has signed: for many names that is faster.
struct Family {
    image: Image,
    memory: Arc<Mapping>,
    children: BTreeSet<String>,
    serial: u32,
    published: Option<Version>,
}

impl Family {
    fn new(children: BTreeSet<String>, size: Size) -> Family {
        let memory = Arc::new(Mapping::anonymous(size).expect("memory"));
        let image = Image::new(Arc::clone(&memory) as Arc<dyn Memory>, SEED);
        Family { image, memory, children, serial: 0, published: None }
    }

    /// Publishes what there is, of one child with other records.
    fn publish(&mut self, other: Option<&str>) -> Difference {
        let version = self.version(other);
        let (difference, retired) = self.image.publish(&version).expect("published");
        self.image.release(retired);
        assert_eq!(difference.written + difference.kept, self.image.usage().records);
        self.published = Some(Version::of(version));
        self.check_blocks();
        difference
    }

    /// Publishes what there is, of one child with other records, as what it changes of what is published.
    fn publish_change(&mut self, other: Option<&str>) -> Difference {
        let version = self.version(other);
        let before = self.published.take().expect("a version");
        let changes = Changes::between(&before.flat().expect("a zone"), &version);
        let next = before.apply(&changes, Rules::Strict).expect("it fits");
        let (difference, retired) =
            self.image.publish_change(&next, &changes).expect("without the rest of the zone");
        self.image.release(retired);
        self.published = Some(next);
        self.check_blocks();
        let (apex, reader) = (name("example."), self.image.reader());
        let findings = verify(&reader, &apex, &self.image.nodes(&apex), NOW).expect("one version");
        // Nobody has signed it.
        let problems = findings.problems.iter().filter(|problem| problem.part != "DNSKEY");
        assert_eq!(problems.collect::<Vec<_>>(), Vec::<&Problem>::new());
        difference
    }

    /// What there is as the next version, of one child with other records.
    fn version(&mut self, other: Option<&str>) -> Zone {
        self.serial += 1;
        let nexts = self.children.iter().skip(1).map(String::as_str).chain(["@"]);
        let first = self.children.first().map_or("@", String::as_str);
        let mut records = format!("@ NSEC {first} NS SOA NSEC\n");
        for (child, next) in self.children.iter().zip(nexts) {
            let text = if other == Some(child) { "other" } else { "same" };
            records += &format!("{child} TXT {text}\n{child} NSEC {next} TXT NSEC\n");
        }
        zone("example.", self.serial, &records)
    }

    /// The blocks of the index of the apex' children, the leaves first.
    fn blocks(&self) -> Vec<Vec<Block>> {
        let apex = self.image.nodes(&name("example.")).nodes[0].1;
        let node = NodeRecord::read(&*self.memory, apex, SEED).expect("whole");
        assert_eq!(node.child_count as usize, self.children.len());
        let read = |address, len| self.memory.read(address as usize * UNIT, len);
        levels(node.children, node.child_count, read).expect("whole")
    }

    fn check_blocks(&self) {
        let blocks = self.blocks();
        for (depth, level) in blocks.iter().enumerate() {
            let is_root = depth + 1 == blocks.len();
            let lens: RangeInclusive<usize> = match (is_root, depth) {
                (true, 0) => 1..=MAX_LEAF,
                (true, _) => 2..=MAX_ROOT,
                (false, 0) => MAX_LEAF / 3..=MAX_LEAF,
                (false, _) => MAX_BRANCH / 3..=MAX_BRANCH,
            };
            let lens_are = level.iter().map(|block| block.entries as usize);
            assert!(lens_are.clone().all(|len| lens.contains(&len)), "{lens_are:?}");
        }
    }

    /// Asks for a name that does not exist, which the NSEC before it must cover, or for a child.
    fn ask(&self, reader: &Reader, label: &str) {
        let said = ask(reader, &format!("{label}.example."), Rtype::TXT);
        if self.children.contains(label) {
            assert_eq!(said.answer.len(), 1, "{label}");
            return;
        }
        let before = self.children.range(..label.to_owned()).next_back();
        let owner = before.map_or("example.".to_owned(), |one| format!("{one}.example."));
        assert_eq!(said.code, ResponseCode::NXDomain, "{label}");
        assert!(said.authority.contains(&format!("{owner} NSEC")), "{label}: {:?}", said.authority);
    }

    /// Asks for so many children, the gaps behind them, and those at both ends.
    fn ask_all(&self, step: usize) {
        let reader = self.image.reader();
        for child in self.children.iter().step_by(step).chain(self.children.last()) {
            self.ask(&reader, child);
            self.ask(&reader, &format!("{child}-"));
        }
        self.ask(&reader, "-");
    }
}

/// Every third has a long label: keys are the same within groups of these.
fn numbered(count: usize) -> BTreeSet<String> {
    let label = |number: usize| match number % 3 {
        0 => format!("n{:04}-long-{:03}", number / 1000, number % 1000),
        _ => format!("n{number:07}"),
    };
    (0..count).map(label).collect()
}

#[test]
fn a_change_writes_one_block_of_each_level() {
    for (count, level_count) in [(100, 1), (126, 1), (127, 2), (1000, 2), (20_000, 2), (100_000, 3)]
    {
        let size = Size {
            slab: (8 + count / 128) << 16,
            buckets: (count / 4).max(64).next_power_of_two(),
        };
        let mut family = Family::new(numbered(count), size);
        family.publish(None);
        assert_eq!(family.blocks().len(), level_count, "{count}");
        family.ask_all(count / 50 + 1);
        let child = family.children.iter().nth(count / 3).expect("one of them").clone();
        let changed = family.publish(Some(&child));
        assert!(changed.written <= CHANGED + level_count, "{count}: {changed:?}");
        family.children.remove(&child);
        family.children.insert(child + "-came");
        let came = family.publish(None);
        // The node before may be in another block, and a block that is full is divided.
        assert!(came.written <= 2 * CAME_OR_WENT + 3 * level_count, "{count}: {came:?}");
        family.ask_all(count / 50 + 1);
        let retired = family.image.remove(&name("example."));
        family.image.release(retired);
        assert_eq!((family.image.usage().records, family.image.usage().slab_octets), (0, 0));
    }
}

/// Names that come and go at random, and always at the same place: blocks are divided and joined.
#[test]
fn children_that_come_and_go_write_few_blocks() {
    let mut family = Family::new(numbered(500), Size { slab: 64 << 16, buckets: 1 << 10 });
    family.publish(None);
    let (mut random, mut renewed) = (0x9e37_79b9_u64, 0);
    for step in 0..300 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let place = match step {
            0..100 => (random >> 33) as usize % family.children.len(),
            // All behind one, then all from one on.
            _ => 200,
        };
        let before = family.blocks()[0].len();
        let at = family.children.iter().nth(place).expect("one of them").clone();
        let is_new = match step {
            0..100 => random >> 63 == 0,
            _ => step < 230,
        };
        if is_new {
            family.children.insert(format!("{at}-{step}"));
        } else {
            family.children.remove(&at);
        }
        let difference = family.publish(None);
        let is_divided = usize::from(family.blocks()[0].len() != before);
        // The leaf of the child, that of the name before it, a leaf that was divided or joined; the root.
        let most = CAME_OR_WENT + 2 + is_divided + 1;
        // Once in a while all nodes are written, since a zone has only so many records that they refer to.
        let is_renewed = difference.names >= family.children.len() && renewed < step / 60;
        renewed += usize::from(is_renewed);
        assert!(difference.written <= most || is_renewed, "step {step}: {difference:?}");
        if step % 20 == 0 {
            family.ask_all(1);
        }
    }
    family.ask_all(1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever comes and goes at once, the index is that of the children there are.
    #[test]
    fn any_versions_follow_each_other(
        versions in proptest::collection::vec(
            (0usize..700, proptest::collection::vec(0usize..700, 0..8)), 1..5),
    ) {
        let mut family = Family::new(BTreeSet::new(), Size { slab: 64 << 16, buckets: 1 << 10 });
        let all: Vec<String> = numbered(700).into_iter().collect();
        for (ends, cuts) in versions {
            // Runs of children between the cuts, every other one.
            let mut cuts = cuts;
            cuts.push(ends);
            cuts.sort_unstable();
            let number = |place: usize| cuts.partition_point(|&cut| cut <= place);
            let chosen = all.iter().enumerate().filter(|(place, _)| number(*place) % 2 == 0);
            family.children = chosen.map(|(_, child)| child.clone()).collect();
            family.publish(None);
            family.ask_all(7);
        }
        family.children.clear();
        family.publish(None);
        prop_assert_eq!(family.blocks().len(), 0);
        family.ask_all(1);
    }
}

/// The least and the most that a change of one name writes of an index: where it was in a block with the name before it, and
/// where they were in different ones that were divided and joined.
const BLOCKS_WRITTEN: RangeInclusive<usize> = 1..=7;

/// Names that come and go one by one as differences, everywhere and always at the same place: the work is that of the
/// change, and blocks are divided and joined.
#[test]
fn a_difference_writes_the_blocks_on_the_way_to_it() {
    let mut family = Family::new(numbered(2000), Size { slab: 128 << 16, buckets: 1 << 12 });
    family.publish(None);
    let mut random = 0x9e37_79b9_u64;
    let (mut least, mut most) = (usize::MAX, 0);
    for step in 0..300 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let before: BTreeSet<_> =
            family.blocks().concat().iter().map(|block| (block.address, block.shape())).collect();
        let place = if step < 100 { (random >> 33) as usize % family.children.len() } else { 200 };
        let at = family.children.iter().nth(place).expect("one of them").clone();
        let is_new = if step < 100 { random >> 63 == 0 } else { step < 250 };
        if is_new {
            family.children.insert(format!("{at}-{step}"));
        } else {
            family.children.remove(&at);
        }
        family.publish_change(None);
        let after = family.blocks().concat();
        let is_new = |block: &&Block| !before.contains(&(block.address, block.shape()));
        let written = after.iter().filter(is_new).count();
        (least, most) = (least.min(written), most.max(written));
        // A child whose records change moves, and no block; the first one of a leaf has an entry in the root, too.
        let leaves = &family.blocks()[0];
        let before: u32 = leaves[..step % leaves.len()].iter().map(|leaf| leaf.entries).sum();
        let moved = family.children.iter().nth(before as usize).cloned();
        family.publish_change(moved.as_deref());
        assert_eq!(family.blocks().concat(), after);
        if step % 20 == 0 {
            family.ask_all(5);
        }
    }
    family.ask_all(1);
    assert!(BLOCKS_WRITTEN.contains(&least) && BLOCKS_WRITTEN.contains(&most), "{least} {most}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever comes and goes at once in a difference.
    #[test]
    fn any_differences_follow_each_other(
        versions in proptest::collection::vec(
            (0usize..700, proptest::collection::vec(0usize..700, 0..8)), 2..6),
    ) {
        let mut family = Family::new(BTreeSet::new(), Size { slab: 64 << 16, buckets: 1 << 10 });
        let all: Vec<String> = numbered(700).into_iter().collect();
        family.publish(None);
        for (ends, mut cuts) in versions {
            cuts.push(ends);
            cuts.sort_unstable();
            let number = |place: usize| cuts.partition_point(|&cut| cut <= place);
            let chosen = all.iter().enumerate().filter(|(place, _)| number(*place) % 2 == 0);
            family.children = chosen.map(|(_, child)| child.clone()).collect();
            family.publish_change(None);
            family.ask_all(7);
        }
        family.children.clear();
        family.publish_change(None);
        prop_assert_eq!(family.blocks().len(), 0);
        family.ask_all(1);
    }
}
