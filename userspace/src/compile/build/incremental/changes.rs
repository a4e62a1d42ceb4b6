//! Which names a difference changes, and whether this can be compiled without the rest of the zone.

use std::collections::{HashMap, HashSet};

use xdp_common::image::Address;
use xdp_common::image::node::{Node, flag};
use xdp_common::image::zone::denial;

use super::input::ChangeInput;
use crate::compile::build::records::{alias_key, first_label};
use crate::compile::error::WholeReason;
use crate::compile::memory::window;
use crate::compile::reuse::SlabRecords;
use crate::dnssec::authority::occluder_among;
use crate::zone::difference::RecordRef;
use crate::zone::name::{self, ancestors, canonical_order, is_at_or_below, wire_name_len};
use crate::zone::{Owner, Rtype};

/// A name whose node may change.
pub(super) struct ChangedName<'a> {
    pub wire: &'a [u8],
    /// Its node in the version that is published; 0 if it comes.
    pub older: Address,
    /// Its records in the version to be; `None` for an empty non-terminal, and if it is hidden.
    pub owner: Option<Owner<'a>>,
    /// The same, hidden or not.
    pub in_zone: Option<Owner<'a>>,
    pub is_cut: bool,
    /// Whether it is there in the version to be.
    pub exists: bool,
    /// Name servers that it had as a zone cut, and has no more.
    pub removed_servers: Vec<&'a [u8]>,
    /// Where in the zone its CNAME led to.
    pub older_alias: Option<&'a [u8]>,
    /// Whether its node is written even if it would be the same.
    pub must_move: bool,
}

/// The names that may change, in canonical order: those of the difference, `dependent`, whose proofs may be others, and
/// what refers to them.
pub(super) fn changes<'a>(
    input: &'a ChangeInput<'a>,
    denial: u8,
    seed: u64,
    dependent: Vec<&'a [u8]>,
) -> Result<Vec<ChangedName<'a>>, WholeReason> {
    let apex = input.new.apex().as_wire();
    let mut names = Names { input, all: dependent, must_move: HashSet::new() };
    let (mut denials, mut records) = (Vec::new(), HashMap::<&[u8], OwnerRecords<'_>>::new());
    let removed = input.difference.removed().iter().map(|record| (record, true));
    for (record, is_removed) in removed.chain(input.difference.added().iter().map(|it| (it, false)))
    {
        let covered = covered(&record);
        check(&record, covered, apex, denial)?;
        // Its owner is no name that anybody is answered with.
        if covered == Rtype::NSEC3 {
            continue;
        }
        names.add(record.owner);
        let of_owner = records.entry(record.owner).or_default();
        of_owner.is_host |= matches!(record.rtype, Rtype::A | Rtype::AAAA | Rtype::NS);
        if is_removed && record.rtype == Rtype::NS {
            of_owner.removed_servers.push(record.rdata);
        }
        if is_removed && record.rtype == Rtype::CNAME {
            of_owner.removed_cname = Some(record.rdata);
        }
        if covered == Rtype::NSEC && denial == denial::NSEC && denials.last() != Some(&record.owner)
        {
            denials.push(record.owner);
        }
    }
    for wire in names.hiding() {
        for below in names.add_below(wire) {
            names.add_served_by(below, seed);
        }
    }
    names.add_above();
    names.add_referring(seed);
    for (host, _) in records.iter().filter(|(_, records)| records.is_host) {
        names.add_served_by(host, seed);
    }
    for owner in denials {
        names.add_covered(owner);
    }
    let Names { all, must_move, .. } = names.sorted();
    let mut changed = Vec::with_capacity(all.len());
    for wire in all {
        let records = records.remove(wire).unwrap_or_default();
        changed.extend(changed_name(input, wire, records, must_move.contains(wire))?);
    }
    Ok(changed)
}

/// What is asked of the records of one owner that change.
#[derive(Clone, Default)]
struct OwnerRecords<'a> {
    /// Whether its addresses change, or whether it is a zone cut or below one may.
    is_host: bool,
    removed_cname: Option<&'a [u8]>,
    removed_servers: Vec<&'a [u8]>,
}

/// Names that may change, while they are gathered.
struct Names<'a> {
    input: &'a ChangeInput<'a>,
    all: Vec<&'a [u8]>,
    must_move: HashSet<&'a [u8]>,
}

impl<'a> Names<'a> {
    fn add(&mut self, wire: &'a [u8]) {
        if self.all.last() != Some(&wire) {
            self.all.push(wire);
        }
    }

    fn sorted(mut self) -> Names<'a> {
        self.sort();
        self
    }

    fn sort(&mut self) {
        self.all.sort_unstable_by(|a, b| canonical_order(a, b));
        self.all.dedup();
    }

    /// Whether a name is there in only one of the two versions.
    fn comes_or_goes(&self, wire: &[u8]) -> bool {
        ((self.input.node_of)(wire) != 0) != exists(self.input, wire)
    }

    /// Those that come to hide the names below them, or cease to: zone cuts and DNAMEs.
    fn hiding(&self) -> Vec<&'a [u8]> {
        let slab = SlabRecords::new(self.input.memory);
        let hid = |wire: &[u8]| {
            let older = (self.input.node_of)(wire);
            let node = slab.node(older).filter(|_| older != 0);
            node.is_some_and(|(node, _)| node.is(flag::CUT | flag::DNAME))
        };
        let apex = self.input.new.apex().as_wire();
        let hides = |wire: &[u8]| {
            let owner = self.input.new.find(wire).filter(|_| exists(self.input, wire));
            let has = |rtype| owner.is_some_and(|owner| owner.rrset(rtype).is_some());
            has(Rtype::DNAME) || (wire != apex && has(Rtype::NS))
        };
        let mut names = self.all.clone();
        names.sort_unstable();
        names.dedup();
        names.retain(|wire| hid(wire) != hides(wire));
        names
    }

    /// Adds the names below one, of both versions, that have a node or records; returns those with records in the version
    /// to be.
    fn add_below(&mut self, wire: &'a [u8]) -> Vec<&'a [u8]> {
        self.all.extend(self.input.nodes_below(wire));
        let is_below = |other: &&[u8]| is_at_or_below(other, wire);
        let owners = self.input.new.from(wire).map(|owner| owner.name());
        let below: Vec<&[u8]> =
            owners.take_while(is_below).filter(|other| *other != wire).collect();
        self.all.extend(&below);
        below
    }

    /// Adds the empty non-terminals that come and go with names below them.
    fn add_above(&mut self) {
        self.sort();
        let apex_len = self.input.new.apex().as_wire().len();
        let mut above = Vec::new();
        for wire in self.all.iter().filter(|wire| self.comes_or_goes(wire)) {
            let ancestors = ancestors(wire).skip(1).take_while(|above| above.len() > apex_len);
            above.extend(ancestors.take_while(|above| self.comes_or_goes(above)));
        }
        self.all.extend(above);
        self.sort();
    }

    /// Adds the names whose nodes refer to one that comes or goes, and those above wildcards: a wildcard's answers are
    /// those of the name above it, of whose version they must be as a whole.
    fn add_referring(&mut self, seed: u64) {
        let mut referring = Vec::new();
        let slab = SlabRecords::new(self.input.memory);
        let apex = self.input.new.apex().as_wire();
        let is_wildcard = |wire: &&[u8]| *wire != apex && first_label(wire) == b"*";
        for &wire in &self.all {
            // Above a wildcard there may be another one.
            let wildcards = ancestors(wire).take_while(is_wildcard);
            referring.extend(wildcards.filter_map(name::parent));
            if !self.comes_or_goes(wire) {
                continue;
            }
            let key = alias_key(wire, seed);
            for source in self.input.sources(key) {
                let source = slab.name_of(source);
                let cname = self.input.new.find(source).and_then(|it| it.rrset(Rtype::CNAME));
                if cname.and_then(|cname| cname.rdatas().next()) == Some(wire) {
                    referring.push(source);
                }
            }
        }
        self.must_move.extend(&referring);
        self.all.extend(referring);
    }

    /// Adds the zone cuts whose referrals may have the addresses of a host: the one above it, and those that it serves.
    fn add_served_by(&mut self, host: &[u8], seed: u64) {
        let (new, slab) = (self.input.new, SlabRecords::new(self.input.memory));
        let above = occluder_among(new.apex(), host, |name| new.find(name));
        self.all.extend(above.map(|above| above.owner().name()));
        let served = self.input.served_by(alias_key(host, seed));
        self.all.extend(served.map(|cut| slab.name_of(cut)));
    }

    /// Adds the names in whose nodes the NSEC of an owner stands, or stood: those above it, and the empty non-terminals
    /// between it and the next owner.
    fn add_covered(&mut self, owner: &'a [u8]) {
        let apex_len = self.input.new.apex().as_wire().len();
        let in_zone = |wire: &&[u8]| wire.len() >= apex_len;
        self.all.extend(ancestors(owner).take_while(in_zone));
        let nsec = self.input.new.find(owner).and_then(|owner| owner.rrset(Rtype::NSEC));
        let Some(rdata) = nsec.and_then(|nsec| nsec.rdatas().next()) else { return };
        let next = wire_name_len(rdata).map_or(&[][..], |len| &rdata[..len]);
        let is_between = |wire: &&[u8]| in_zone(wire) && !is_at_or_below(owner, wire);
        self.all.extend(ancestors(next).skip(1).take_while(is_between));
    }
}

/// Whether a name is there in the version to be.
pub(super) fn exists(input: &ChangeInput<'_>, wire: &[u8]) -> bool {
    let is_hidden =
        || occluder_among(input.new.apex(), wire, |name| input.new.find(name)).is_some();
    let is_there = input.new.find(wire).is_some() || input.new.has_names_below(wire);
    is_there && !is_hidden()
}

/// A name that changes; `None` if it has no node.
fn changed_name<'a>(
    input: &'a ChangeInput<'a>,
    wire: &'a [u8],
    records: OwnerRecords<'a>,
    must_move: bool,
) -> Result<Option<ChangedName<'a>>, WholeReason> {
    let apex = input.new.apex().as_wire();
    let (older, owner) = ((input.node_of)(wire), input.new.find(wire));
    let exists = exists(input, wire);
    if older == 0 && !exists {
        // Nobody is answered with it, but as glue.
        return Ok(None);
    }
    let node = window(input.memory, older).map(Node::new).filter(|_| older != 0);
    let had = |mask: u16| node.is_some_and(|node| node.is(mask));
    let in_zone = owner;
    let owner = owner.filter(|_| exists);
    let has = |rtype: Rtype| owner.is_some_and(|owner| owner.rrset(rtype).is_some());
    let is_cut = wire != apex && has(Rtype::NS);
    if input.older.unsendable.iter().any(|one| one.owner.as_wire() == wire) {
        return Err(WholeReason::Unsendable);
    }
    let kept = || in_zone?.rrset(Rtype::CNAME)?.rdatas().next();
    let older_alias = records.removed_cname.or_else(kept).filter(|_| had(flag::CNAME));
    let older_alias = older_alias.filter(|target| is_at_or_below(target, apex));
    // What is there and not referred to is in a circle.
    let is_led_nowhere = node.is_some_and(|node| node.target() == 0);
    if older_alias.is_some_and(|target| is_led_nowhere && (input.node_of)(target) != 0) {
        return Err(WholeReason::CnameCircle);
    }
    let removed_servers = records.removed_servers;
    Ok(Some(ChangedName {
        wire,
        older,
        owner,
        in_zone,
        is_cut,
        exists,
        removed_servers,
        older_alias,
        must_move,
    }))
}

/// The type that a signature is of, or that of any other record.
pub(super) fn covered(record: &RecordRef<'_>) -> Rtype {
    match record.rdata.first_chunk() {
        Some(covered) if record.rtype == Rtype::RRSIG => Rtype(u16::from_be_bytes(*covered)),
        _ => record.rtype,
    }
}

/// Refuses what changes more than the names that it is of.
fn check(
    record: &RecordRef<'_>,
    covered: Rtype,
    apex: &[u8],
    denial: u8,
) -> Result<(), WholeReason> {
    match covered {
        Rtype::NSEC3 if denial != denial::NSEC3 => Err(WholeReason::Denial),
        // By the keys it is known until when signatures hold, and by the parameters how names are hashed.
        Rtype::DNSKEY | Rtype::NSEC3PARAM if record.rtype == covered && record.owner == apex => {
            Err(WholeReason::Parameters)
        }
        _ => Ok(()),
    }
}
