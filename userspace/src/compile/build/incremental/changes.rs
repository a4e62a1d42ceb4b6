//! Which names a difference changes, and whether this can be compiled without the rest of the zone.

use xdp_common::image::Address;
use xdp_common::image::node::{Node, flag};

use super::input::ChangeInput;
use crate::compile::build::records::first_label;
use crate::compile::error::WholeReason;
use crate::compile::memory::window;
use crate::dnssec::authority::occluder_among;
use crate::zone::difference::RecordRef;
use crate::zone::name::{self, canonical_order, is_at_or_below};
use crate::zone::{Owner, Rtype};

/// A name whose node changes.
pub(super) struct ChangedName<'a> {
    pub wire: &'a [u8],
    /// Its node in the version that is published.
    pub older: Address,
    /// Its records in the version to be; `None` for an empty non-terminal.
    pub owner: Option<Owner<'a>>,
    pub is_cut: bool,
    /// Where in the zone its CNAME led to.
    pub older_alias: Option<&'a [u8]>,
    /// Whether its node is written even if it would be the same.
    pub must_move: bool,
}

/// The names that change, in canonical order.
pub(super) fn changes<'a>(input: &'a ChangeInput<'a>) -> Result<Vec<ChangedName<'a>>, WholeReason> {
    let apex = input.new.apex().as_wire();
    let records = || input.difference.removed().iter().chain(input.difference.added().iter());
    let mut names: Vec<&[u8]> = Vec::new();
    for record in records() {
        check(&record, apex)?;
        if names.last() != Some(&record.owner) {
            names.push(record.owner);
        }
    }
    // A wildcard's answers are those of the name above it, of whose version they must be as a whole.
    let wildcards = names.iter().filter(|wire| first_label(wire) == b"*" && **wire != apex);
    let above: Vec<&[u8]> = wildcards.filter_map(|wire| name::parent(wire)).collect();
    names.extend(&above);
    names.sort_unstable_by(|a, b| canonical_order(a, b));
    names.dedup();
    let mut changed = Vec::with_capacity(names.len());
    for wire in names {
        let must_move = above.contains(&wire);
        changed.extend(changed_name(input, wire, must_move)?);
    }
    Ok(changed)
}

/// A name that changes; `None` if it has no node.
fn changed_name<'a>(
    input: &'a ChangeInput<'a>,
    wire: &'a [u8],
    must_move: bool,
) -> Result<Option<ChangedName<'a>>, WholeReason> {
    let apex = input.new.apex().as_wire();
    let (older, owner) = ((input.node_of)(wire), input.new.find(wire));
    if occluder_among(input.new.apex(), wire, |name| input.new.find(name)).is_some() {
        // Nobody is answered with it, but as glue.
        let is_nobodys = older == 0 && !has_addresses(input, wire);
        return if is_nobodys { Ok(None) } else { Err(WholeReason::Glue) };
    }
    let node = window(input.memory, older).map(Node::new).filter(|_| older != 0);
    let node = node.ok_or(WholeReason::Names)?;
    if owner.is_none() && !input.new.has_names_below(wire) {
        return Err(WholeReason::Names);
    }
    let has = |rtype: Rtype| owner.is_some_and(|owner| owner.rrset(rtype).is_some());
    let is_cut = wire != apex && has(Rtype::NS);
    if node.is(flag::CUT) != is_cut || node.is(flag::DNAME) != (!is_cut && has(Rtype::DNAME)) {
        return Err(WholeReason::Hiding);
    }
    // Other zone cuts may have name servers of this name.
    if is_cut && has_addresses(input, wire) {
        return Err(WholeReason::Glue);
    }
    if input.older.unsendable.iter().any(|one| one.owner.as_wire() == wire) {
        return Err(WholeReason::Unsendable);
    }
    let older_alias = older_alias(input, wire, owner).filter(|_| node.is(flag::CNAME));
    Ok(Some(ChangedName { wire, older, owner, is_cut, older_alias, must_move }))
}

/// Where in the zone the CNAME led to that a name had.
fn older_alias<'a>(
    input: &'a ChangeInput<'a>,
    wire: &[u8],
    owner: Option<Owner<'a>>,
) -> Option<&'a [u8]> {
    let mut removed = input.difference.removed().iter();
    let removed = removed.find(|record| record.owner == wire && record.rtype == Rtype::CNAME);
    let kept = || owner?.rrset(Rtype::CNAME)?.rdatas().next();
    let target = removed.map(|record| record.rdata).or_else(kept)?;
    Some(target).filter(|target| is_at_or_below(target, input.new.apex().as_wire()))
}

/// Whether addresses of a name change.
fn has_addresses(input: &ChangeInput<'_>, wire: &[u8]) -> bool {
    let mut records = input.difference.removed().iter().chain(input.difference.added().iter());
    records.any(|record| record.owner == wire && matches!(record.rtype, Rtype::A | Rtype::AAAA))
}

/// Refuses what changes more than the names that it is of.
fn check(record: &RecordRef<'_>, apex: &[u8]) -> Result<(), WholeReason> {
    let covered = match record.rdata.first_chunk() {
        Some(covered) if record.rtype == Rtype::RRSIG => Rtype(u16::from_be_bytes(*covered)),
        _ => record.rtype,
    };
    match covered {
        Rtype::NSEC | Rtype::NSEC3 => Err(WholeReason::Denial),
        // By the keys it is known until when signatures hold, and by the parameters how names are hashed.
        Rtype::DNSKEY | Rtype::NSEC3PARAM if record.rtype == covered && record.owner == apex => {
            Err(WholeReason::Parameters)
        }
        _ => Ok(()),
    }
}
