//! Whether what a node refers to is what it should be: the wildcard below it, the target of its CNAME, its
//! children, and the proofs that names and types are absent (RFC 4035 section 3.1.3, RFC 5155 section 7.2). All of
//! it is worked out again from the names that there are.

use xdp_common::image::Address;
use xdp_common::image::chain::PAGE_LEN;
use xdp_common::image::children::Block;
use xdp_common::image::node::flag;
use xdp_common::image::zone::denial;

use super::super::children::levels;
use super::super::hashes::{HashIndex, hash_key, range_octets, reference_octets};
use super::super::memory::ENTRY_LEN;
use super::nodes::NodeRecord;
use super::records::{LocatedPiece, record};
use super::survey::{Survey, TreePosition, place_of};
use crate::dnssec::denial::{Hash, read_hash_owner};
use crate::zone::name::{self, canonical_order, is_at_or_below, wire_name_len};
use crate::zone::{Rtype, name::MAX_NAME_LEN};

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

/// Reads a range of the NSEC3 index, and with the first of each page that page.
pub fn hashed(survey: &mut Survey<'_>, number: usize) {
    let apex = survey.apex.as_wire().to_vec();
    let Some(index) = survey.hash_index() else { return };
    let number = number as u32;
    if number.is_multiple_of(PAGE_LEN as u32) && !is_whole_page(survey, index, number) {
        survey.problem(&apex, "NSEC3 index", format!("the page of range {number} is not whole"));
    }
    let range = index.range(number).filter(|range| {
        let octets = range_octets(range.before, &range.entries().collect::<Vec<_>>());
        let at = index.range_address(number).unwrap_or(0);
        record(survey.memory, at, octets.len()) == Some(&octets[..])
    });
    let Some(range) = range else {
        return survey.problem(&apex, "NSEC3 index", format!("range {number} is not whole"));
    };
    for (key, address) in range.entries() {
        survey.nsec3(address);
        let hash = survey.denials.get(&address).and_then(|denial| read_hash_owner(&denial.owner));
        let problem = match hash {
            None => "leads to no NSEC3",
            Some(hash) if hash_key(&hash) != key => "has another hash",
            Some(_) if index.number(key) != number => "belongs to another range",
            Some(hash) => {
                survey.hashes.push((hash, address));
                continue;
            }
        };
        let problem = format!("an entry of range {number} {problem}");
        survey.problem(&apex, "NSEC3 index", problem);
    }
}

/// Whether the page that begins with a range is a record with nothing but references.
fn is_whole_page(survey: &Survey<'_>, index: HashIndex<'_>, first: u32) -> bool {
    let number = first / PAGE_LEN as u32;
    let octets = reference_octets(index.ranges_of(number).unwrap_or_default().into_iter());
    let page = index.page(number).unwrap_or(0);
    !octets.is_empty() && record(survey.memory, page, octets.len()) == Some(&octets[..])
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
    let second = if cover == matched { 0 } else { cover };
    // Below a zone cut nothing is denied; the apex's record may be that of a million delegations.
    let is_denied_only = next_closer.is_some() && node.is(flag::CUT);
    let is_at_root = is_denied_only && provable == 0 && !node.wire.starts_with(b"\x01*");
    let around = match is_denied_only {
        true => [0; 3],
        false => [matched, wildcard, cover],
    };
    let is_right = node.proofs == [if is_at_root { 0 } else { matched }, second]
        && [node.encloser_match, node.wildcard_cover, node.first_cover] == around
        && node.is(flag::NO_NSEC3) == next_closer.is_some()
        && node.last_cover == 0;
    if !is_right {
        let problem = "the NSEC3 that prove what is absent at and below it are others";
        survey.problem(&node.wire, "proof", problem);
    }
}

//--- The zone as a whole

/// Checks that the zone's record says how it is signed, and that its NSEC3 index is in order and its root says what is in
/// it.
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
    if let Some((_, chain)) = survey.chain() {
        let matched = matching(survey, &hash_with(survey, &apex)).unwrap_or(0);
        if chain.count() as usize != survey.hashes.len() || chain.apex_match() != matched {
            survey.problem(&apex, "NSEC3 index", "its root does not fit the records");
        }
    }
}

/// Checks what stands before a range of the NSEC3 index: the last record of those before it.
pub fn check_before(survey: &mut Survey<'_>, number: usize) {
    let Some(index) = survey.hash_index() else { return };
    let is_before = |(hash, _): &(Hash, Address)| (index.number(hash_key(hash)) as usize) < number;
    let before = survey.hashes.partition_point(is_before).checked_sub(1);
    let before = before.map_or(survey.hashes.last(), |at| survey.hashes.get(at));
    let range = index.range(number as u32).map(|range| range.before);
    if range != before.map(|(_, piece)| *piece) {
        let apex = survey.apex.as_wire().to_vec();
        let problem = format!("what stands before range {number} is not the last record before it");
        survey.problem(&apex, "NSEC3 index", problem);
    }
}
