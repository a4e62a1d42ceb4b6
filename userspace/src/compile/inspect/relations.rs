//! Whether what a node refers to is what it should be: the wildcard below it, the target of its CNAME, its
//! children, and the proofs that names and types are absent (RFC 4035 section 3.1.3, RFC 5155 section 7.2). All of
//! it is worked out again from the names that there are.

use xdp_common::image::children::Block;
use xdp_common::image::node::flag;
use xdp_common::image::zone::denial;
use xdp_common::image::{Address, UNIT};

use super::super::children::levels;
use super::super::memory::ENTRY_LEN;
use super::nodes::NodeRecord;
use super::records::{LocatedPiece, record};
use super::survey::{Survey, TreePosition, place_of};
use crate::dnssec::denial::{Hash, read_hash_owner};
use crate::zone::name::{self, canonical_order, is_at_or_below, wire_name_len};
use crate::zone::{Rtype, name::MAX_NAME_LEN};

/// Octets of a place in the directory of the NSEC3 index.
const START_LEN: usize = size_of::<u32>();

/// Octets of the key of an entry.
const KEY_LEN: usize = 12;

/// Checks one node among the names of its zone.
pub fn check(survey: &mut Survey<'_>, place: usize) {
    let node = survey.names[place].clone();
    let mut wrong = |part: &str, problem: &str| survey.problem(&node.wire, part, problem);
    let has = |rtype: Rtype| node.piece(rtype.0) != 0;
    let is_apex = place == 0;
    if node.is(flag::APEX) != is_apex || node.is(flag::VIRTUAL) {
        wrong("node", "it is the apex without the mark, or has the mark and is not the apex");
    }
    if node.is(flag::CNAME) != has(Rtype::CNAME) || node.is(flag::DNAME) != has(Rtype::DNAME) {
        wrong("node", "its marks for CNAME and DNAME do not fit its types");
    }
    let otherwise = match node.flags & (flag::CUT | flag::CNAME | flag::DNAME) {
        // That it is a referral was checked.
        flag::CUT => node.otherwise,
        flag::CNAME => node.piece(Rtype::CNAME.0),
        // A wildcard's own is another than that which redirects the names below it.
        flag::DNAME if node.wire.starts_with(b"\x01*") => node.otherwise,
        flag::DNAME => node.piece(Rtype::DNAME.0),
        _ => 0,
    };
    let redirects = !node.is(flag::DNAME) || is_redirecting(survey, &node);
    let mut wrong = |part: &str, problem: &str| survey.problem(&node.wire, part, problem);
    if !redirects {
        wrong("DNAME", "names below it are redirected by another record");
    }
    if node.otherwise != otherwise {
        wrong("node", "what it says for other types is not its CNAME, DNAME or referral");
    }
    if !node.is(flag::CUT) && (node.optional_glue != 0 || (node.glue != 0 && !has(Rtype::CNAME))) {
        wrong("node", "it has glue, and is no zone cut");
    }
    if node.is(flag::CUT)
        && node.types.iter().any(|(rtype, _)| !matches!(Rtype(*rtype), Rtype::DS | Rtype::NSEC))
    {
        wrong("node", "it is a zone cut, and has other types than DS");
    }
    if node.any == 0
        && node.types.iter().any(|(rtype, _)| !matches!(Rtype(*rtype), Rtype::NSEC | Rtype::DS))
    {
        wrong("ANY", "it has types, and answers for none of them");
    }
    check_chase(survey, &node);
    // A node of a partial zone says nothing about what is around it, and its proofs are of itself.
    if node.is(flag::PARTIAL) != survey.is_partial() {
        survey.problem(
            &node.wire,
            "node",
            "it is marked as a name of a partial zone and is none, or the other way round",
        );
    }
    if survey.is_partial() {
        return;
    }
    check_around(survey, place, &node);
    match survey.denial {
        denial::NSEC => check_nsec(survey, place, &node),
        denial::NSEC3 => check_nsec3(survey, place, &node),
        _ => check_unsigned(survey, &node),
    }
}

/// Whether what redirects names below a DNAME is the record itself, with its owner's name.
fn is_redirecting(survey: &Survey<'_>, node: &NodeRecord) -> bool {
    let below = [b"\x03www\x01x", &*node.wire].concat();
    let read = |piece, context: &[u8]| {
        let records =
            LocatedPiece::new(survey.memory, piece).and_then(|read| read.records(context));
        records.unwrap_or_default()
    };
    let own = read(node.piece(Rtype::DNAME.0), &node.wire);
    // The longest names have none below them.
    let is_longest = below.len() > MAX_NAME_LEN;
    let redirecting = read(node.otherwise, if is_longest { &node.wire } else { &below });
    !own.is_empty() && own == redirecting
}

/// Where a CNAME or DNAME leads.
fn check_chase(survey: &mut Survey<'_>, node: &NodeRecord) {
    let rtype = if node.is(flag::CNAME) { Rtype::CNAME } else { Rtype::DNAME };
    let target = LocatedPiece::new(survey.memory, node.piece(rtype.0))
        .and_then(|read| read.records(&node.wire))
        .ok()
        .and_then(|records| records.into_iter().next())
        .map(|record| record.rdata);
    let in_zone =
        target.as_deref().is_some_and(|target| is_at_or_below(target, survey.apex.as_wire()));
    let found = target.as_deref().and_then(|target| place_of(&survey.names, target));
    let found = found.map_or(0, |place| survey.names[place].address);
    if node.is(flag::CNAME) {
        let is_led = node.glue == 0 || node.glue == found;
        // What is there and not referred to is in a circle, and looked for.
        if !is_led || node.is(flag::CHASE) != (in_zone && node.glue == 0) {
            survey.problem(&node.wire, "CNAME", "the node that it leads to is not its target's");
        }
    } else if node.is(flag::CHASE) != (node.is(flag::DNAME) && in_zone) {
        survey.problem(
            &node.wire,
            "node",
            "it is marked as leading into the zone and does not, or the other way round",
        );
    }
}

/// The names above and below it.
fn check_around(survey: &mut Survey<'_>, place: usize, node: &NodeRecord) {
    let mut wrong = Vec::new();
    if place != 0 && survey.positions[place].above.is_none() {
        wrong.push("the name above it is missing");
    }
    let star = [b"\x01*", &*node.wire].concat();
    let star = place_of(&survey.names, &star).map_or(0, |place| survey.names[place].address);
    if node.wildcard != star {
        wrong.push("it leads to another wildcard than the one below it");
    }
    let children = match survey.denial {
        denial::NSEC => survey.positions[place].children,
        _ => 0,
    };
    match leaves(survey, node, children) {
        Some(leaves) => drop(survey.leaves.insert(place, leaves)),
        None => wrong
            .push("the index of its children is not whole, or does not have one entry for each"),
    }
    for problem in wrong {
        survey.problem(&node.wire, "node", problem);
    }
}

/// The leaves of the index of a node's children, each with the number of its first child. `None` if they are not so many
/// children, or if a branch says something else of the blocks below it than they do.
fn leaves(survey: &Survey<'_>, node: &NodeRecord, count: u32) -> Option<Vec<(u32, Block)>> {
    let read = |address, len| record(survey.memory, address, len);
    let levels =
        levels(node.children, node.child_count, read).filter(|_| node.child_count == count)?;
    for pair in levels.windows(2) {
        let mut below = pair[0].iter();
        for branch in &pair[1] {
            let entries =
                &read(branch.address, branch.octets())?[..branch.entries as usize * ENTRY_LEN];
            for entry in entries.chunks_exact(ENTRY_LEN) {
                let block = below.next()?;
                if !read(block.address, block.octets())?.starts_with(entry) {
                    return None;
                }
            }
        }
    }
    let mut ordinal = 0;
    let leaves = levels.into_iter().next().unwrap_or_default().into_iter().map(|leaf| {
        ordinal += leaf.entries;
        (ordinal - leaf.entries, leaf)
    });
    Some(leaves.collect())
}

/// Checks the entry of one child in the index of the name above it.
pub fn check_child(survey: &mut Survey<'_>, place: usize) {
    let TreePosition { above: Some(above), ordinal, .. } = survey.positions[place] else { return };
    let child = &survey.names[place];
    let label = name::labels(&child.wire).next().unwrap_or_default();
    let mut key = [0; KEY_LEN];
    let len = label.len().min(KEY_LEN);
    key[..len].copy_from_slice(&label[..len]);
    let leaves = survey.leaves.get(&above).map_or(&[][..], Vec::as_slice);
    let leaf = leaves.partition_point(|(first, _)| *first <= ordinal).checked_sub(1);
    let entry = leaf.and_then(|leaf| {
        let (first, leaf) = leaves[leaf];
        let at = (ordinal - first) as usize * ENTRY_LEN;
        record(survey.memory, leaf.address, leaf.octets())?.get(at..at + ENTRY_LEN)
    });
    if !entry.is_some_and(|entry| is_entry(entry, &key, child.address)) {
        let wire = child.wire.clone();
        survey.problem(&wire, "node", "the index of the name above does not lead to it");
    }
}

/// The families of names in canonical order.
pub fn positions(names: &[NodeRecord]) -> Vec<TreePosition> {
    let mut positions = vec![TreePosition::default(); names.len()];
    let mut path: Vec<usize> = Vec::new();
    for (place, node) in names.iter().enumerate() {
        while let Some(&last) = path.last() {
            if is_at_or_below(&node.wire, &names[last].wire) {
                break;
            }
            positions[last].end = place;
            path.pop();
        }
        if let Some(&above) = path.last()
            && name::parent(&node.wire) == Some(&*names[above].wire)
        {
            positions[place].above = Some(above);
            positions[place].ordinal = positions[above].children;
            positions[above].children += 1;
        }
        path.push(place);
    }
    for place in path {
        positions[place].end = names.len();
    }
    positions
}

/// Whether an entry of an index has this key, as the engine compares it, and leads to this address.
fn is_entry(entry: &[u8], key: &[u8; KEY_LEN], address: Address) -> bool {
    let (high, rest) = key.split_at(8);
    let mut expected: Vec<u8> = high.iter().rev().copied().collect();
    expected.extend(rest.iter().rev());
    expected.extend(address.to_le_bytes());
    entry == expected
}

fn check_unsigned(survey: &mut Survey<'_>, node: &NodeRecord) {
    let all = [node.proofs[0], node.proofs[1], node.encloser_match, node.wildcard_cover];
    let all = all.into_iter().chain([node.first_cover, node.last_cover]);
    if all.into_iter().any(|proof| proof != 0) || node.is(flag::NO_NSEC3) {
        survey.problem(&node.wire, "node", "it has proofs in a zone that is not signed");
    }
}

//--- NSEC

fn check_nsec(survey: &mut Survey<'_>, place: usize, node: &NodeRecord) {
    let last = survey.names[survey.positions[place].end - 1].wire.clone();
    let star = [b"\x01*", &*node.wire].concat();
    // No name is longer: what sorts last of those that are not there does for it.
    let star = if star.len() > MAX_NAME_LEN { node.wire.to_vec() } else { star };
    let mut wrong = Vec::new();
    if !covers(survey, node.proofs[0], &node.wire, false) || node.proofs[1] != 0 {
        wrong.push("the NSEC that proves its types is not its own, nor the one that covers it");
    }
    if !covers(survey, node.first_cover, &node.wire, false) {
        wrong.push("the NSEC for names before its first child is another");
    }
    if !covers(survey, node.last_cover, &last, false) {
        wrong.push("the NSEC for names behind its last child is another");
    }
    if !covers(survey, node.wildcard_cover, &star, node.wildcard != 0) {
        wrong.push("the NSEC that proves that there is no wildcard below it is another");
    }
    if node.encloser_match != 0 || node.is(flag::NO_NSEC3) {
        wrong.push("it has proofs with NSEC3, and the zone has NSEC");
    }
    let own = node.piece(Rtype::NSEC.0);
    if own != 0 && !is_same_denial(survey, own, node) {
        wrong.push("the NSEC in its proofs is not the one that is asked for");
    }
    for problem in wrong {
        survey.problem(&node.wire, "proof", problem);
    }
}

/// Whether the NSEC in a piece is that of a name, or covers it; `to_next`: or ends with it.
fn covers(survey: &Survey<'_>, piece: Address, wire: &[u8], to_next: bool) -> bool {
    let Some(denial) = survey.denials.get(&piece) else { return false };
    let Some(len) = wire_name_len(&denial.rdata) else { return false };
    let next = &denial.rdata[..len];
    let ends = next == survey.apex.as_wire()
        || canonical_order(wire, next).is_lt()
        || (to_next && next == wire);
    canonical_order(&denial.owner, wire).is_le() && ends
}

/// Whether the NSEC that is asked for says what the proof of the name's types says.
fn is_same_denial(survey: &Survey<'_>, own: Address, node: &NodeRecord) -> bool {
    let asked = LocatedPiece::new(survey.memory, own).and_then(|read| read.records(&node.wire));
    let Some(denial) = survey.denials.get(&node.proofs[0]) else { return false };
    asked.is_ok_and(|records| {
        let signatures = records.iter().skip(1).map(|record| &record.rdata);
        denial.owner == *node.wire
            && records.first().is_some_and(|record| record.rdata == denial.rdata)
            && signatures.eq(&denial.signatures)
    })
}

//--- NSEC3

/// Reads an entry of the NSEC3 index.
pub fn hashed(survey: &mut Survey<'_>, place: usize) {
    let apex = survey.apex.as_wire().to_vec();
    let entry = survey
        .entries()
        .and_then(|index| index.get(place * ENTRY_LEN..)?.first_chunk::<ENTRY_LEN>());
    let Some(entry) = entry.copied() else { return };
    let address = Address::from_le_bytes([entry[12], entry[13], entry[14], entry[15]]);
    survey.nsec3(address);
    let hash = survey.denials.get(&address).and_then(|denial| read_hash_owner(&denial.owner));
    let Some(hash) = hash else {
        return survey.problem(&apex, "NSEC3 index", format!("entry {place} leads to no NSEC3"));
    };
    let mut key = [0; KEY_LEN];
    key.copy_from_slice(&hash[..KEY_LEN]);
    if !is_entry(&entry, &key, address) {
        survey.problem(&apex, "NSEC3 index", format!("entry {place} has another hash"));
    }
    survey.hashes.push((hash, address));
}

/// The hash of a name with the parameters that the index has.
fn hash_with(survey: &Survey<'_>, wire: &[u8]) -> Hash {
    survey.parameters().hash(wire)
}

fn matching(survey: &Survey<'_>, hash: &Hash) -> Option<Address> {
    let found = survey.hashes.binary_search_by(|(has, _)| has.cmp(hash)).ok()?;
    Some(survey.hashes[found].1)
}

fn covering(survey: &Survey<'_>, hash: &Hash) -> Address {
    let after = survey.hashes.partition_point(|(has, _)| has <= hash);
    let before = after.checked_sub(1).map_or(survey.hashes.last(), |at| survey.hashes.get(at));
    before.map_or(0, |(_, piece)| *piece)
}

fn check_nsec3(survey: &mut Survey<'_>, place: usize, node: &NodeRecord) {
    // The closest name at or above it that has an NSEC3, and the one below that on the way.
    let (mut provable, mut next_closer) = (place, None);
    let matched = loop {
        let wire = &survey.names[provable].wire;
        if let Some(matched) = matching(survey, &hash_with(survey, wire)) {
            break matched;
        }
        let Some(above) = survey.positions[provable].above else { break 0 };
        next_closer = Some(provable);
        provable = above;
    };
    let hash_of = |place: usize| hash_with(survey, &survey.names[place].wire);
    let cover = next_closer.map_or(0, |below| covering(survey, &hash_of(below)));
    let encloser = &survey.names[provable];
    let star = [b"\x01*", &*encloser.wire].concat();
    let wildcard = match star.len() <= MAX_NAME_LEN && !encloser.is(flag::CUT) {
        true => covering(survey, &hash_with(survey, &star)),
        false => 0,
    };
    let is_right = node.proofs == [matched, if cover == matched { 0 } else { cover }]
        && node.encloser_match == matched
        && node.wildcard_cover == wildcard
        && node.is(flag::NO_NSEC3) == next_closer.is_some()
        && node.first_cover == cover
        && node.last_cover == 0;
    if !is_right {
        let problem = "the NSEC3 that prove what is absent at and below it are others";
        survey.problem(&node.wire, "proof", problem);
    }
}

//--- The zone as a whole

/// Checks that the zone's record says how it is signed, and that its NSEC3 index is in order and found through
/// its directory.
pub fn check_zone(survey: &mut Survey<'_>) {
    let apex = survey.apex.as_wire().to_vec();
    let at_apex = |rtype: Rtype| survey.names.first().is_some_and(|node| node.piece(rtype.0) != 0);
    // While a zone is moved from one to the other it has both; a part of a zone denies nothing.
    let is_right = match survey.denial {
        denial::NONE => {
            survey.is_partial() || !(at_apex(Rtype::NSEC) || at_apex(Rtype::NSEC3PARAM))
        }
        denial::NSEC => !survey.is_partial() && at_apex(Rtype::NSEC),
        denial::NSEC3 => !survey.is_partial() && at_apex(Rtype::NSEC3PARAM),
        _ => false,
    };
    if !is_right {
        survey.problem(&apex, "zone", "its record does not say how the zone is signed");
    }
    if !survey.hashes.is_sorted_by(|a, b| a.0 < b.0) {
        survey.problem(&apex, "NSEC3 index", "it is not in order");
    }
}

/// How many places the directory of the NSEC3 index has; none, and the problem noted, if it cannot be right.
pub fn directory_len(survey: &mut Survey<'_>) -> usize {
    // More than that no zone has.
    const MAX_BITS: u32 = 28;
    let apex = survey.apex.as_wire().to_vec();
    let Some((_, chain)) = survey.chain().filter(|_| survey.denial == denial::NSEC3) else {
        return 0;
    };
    let bits = 64u32.checked_sub(chain.shift()).filter(|bits| *bits <= MAX_BITS);
    // A reader takes a whole entry's octets at a time.
    let octets = bits.map(|bits| (START_LEN << bits) + ENTRY_LEN);
    let directory = octets.and_then(|octets| record(survey.memory, chain.directory(), octets));
    let behind = directory.and_then(|directory| directory.last_chunk::<ENTRY_LEN>());
    if behind != Some(&[0; ENTRY_LEN]) {
        survey.problem(&apex, "NSEC3 index", "its directory is not whole");
        return 0;
    }
    1 << bits.unwrap_or(0)
}

/// Checks a place of the directory: the first entry whose hash starts with these bits, or with more.
pub fn check_start(survey: &mut Survey<'_>, bits: usize) {
    let Some((_, chain)) = survey.chain() else { return };
    let prefix = |hash: &Hash| {
        let high = hash.first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets));
        (high >> chain.shift()) as usize
    };
    let expected = survey.hashes.partition_point(|(hash, _)| prefix(hash) < bits) as u32;
    let at = chain.directory() as usize * UNIT + bits * START_LEN;
    if survey.memory.read(at, START_LEN) != Some(&expected.to_le_bytes()) {
        let apex = survey.apex.as_wire().to_vec();
        survey.problem(
            &apex,
            "NSEC3 index",
            "its directory does not lead to the first hash of each range",
        );
    }
}
