//! A difference, made of two versions of a zone.

use itertools::{EitherOrBoth, Itertools as _};

use super::records::{RecordRef, Records};
use crate::zone::arrays::{Owner, Rrset};
use crate::zone::name::{Name, canonical_order};
use crate::zone::rtype::Rtype;
use crate::zone::serial::Serial;
use crate::zone::tree::Zone;

/// What changes one version of a zone into another: the records that only the older one has, and those that only
/// the newer one has. An RRset whose TTL changed leaves with all its records and comes again.
///
/// The TTL of a signature is that of the RRset that it covers (RFC 4034 section 3): it is told of a signature that
/// comes or goes, and is no change by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    pub(super) apex: Name,
    pub(super) old: Serial,
    pub(super) new: Serial,
    pub(super) removed: Records,
    pub(super) added: Records,
}

impl Difference {
    /// The difference of two versions of one zone.
    ///
    /// # Panics
    /// If their apexes are not the same, or if a side exceeds 4 GiB, which no zone does.
    pub fn between(old: &Zone, new: &Zone) -> Difference {
        assert_eq!(old.apex(), new.apex(), "two zones have no difference");
        let serials = [old.serial(), new.serial()];
        Difference::of_pairs(old.apex(), serials, pairs(old, new), &|_, _| true)
    }

    /// The difference of two versions with these serials, of whose owners these may differ. They come in canonical
    /// order. Of which types it is told at which owners `is_meant` says.
    pub(in crate::zone) fn of_pairs<'a>(
        apex: &Name,
        [old, new]: [Serial; 2],
        owners: impl Iterator<Item = OwnerPair<'a>>,
        is_meant: &dyn Fn(&[u8], Rtype) -> bool,
    ) -> Difference {
        let (mut removed, mut added) = (Records::default(), Records::default());
        compare(owners, &mut |side, owner, rrset, rdata| match side {
            _ if !is_meant(owner.name(), rrset.rtype()) => {}
            Side::Old => removed.push_of(owner, rrset, rdata),
            Side::New => added.push_of(owner, rrset, rdata),
        });
        Difference { apex: apex.clone(), old, new, removed, added }
    }

    /// The difference of these records, of any order: removed from the version with serial `old`, and added to the
    /// one with serial `new`. Owners and RDATA are in canonical form; what comes twice stays once. A record whose
    /// RRset gets another TTL is among both.
    ///
    /// # Panics
    /// If a side exceeds 4 GiB.
    pub fn of_records<'a>(
        apex: &Name,
        [old, new]: [Serial; 2],
        removed: impl Iterator<Item = RecordRef<'a>>,
        added: impl Iterator<Item = RecordRef<'a>>,
    ) -> Difference {
        let (removed, added) = (Records::sorted(removed), Records::sorted(added));
        Difference { apex: apex.clone(), old, new, removed, added }
    }

    /// The apex of the zone.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// The serial of the version that it changes.
    pub fn old_serial(&self) -> Serial {
        self.old
    }

    /// The serial of the version that it leads to.
    pub fn new_serial(&self) -> Serial {
        self.new
    }

    /// The records that the newer version does not have, the SOA record among them if it changes.
    pub fn removed(&self) -> &Records {
        &self.removed
    }

    /// The records that the older version does not have, the SOA record among them if it changes.
    pub fn added(&self) -> &Records {
        &self.added
    }

    /// Whether the two versions are the same.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }

    /// What leads back.
    pub fn reversed(self) -> Difference {
        Difference {
            apex: self.apex,
            old: self.new,
            new: self.old,
            removed: self.added,
            added: self.removed,
        }
    }
}

/// How many records change from one version of a zone to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Size {
    /// Records that the newer version does not have.
    pub removed: u64,
    /// Records that the older version does not have.
    pub added: u64,
}

impl Size {
    /// That of a difference.
    pub fn of(difference: &Difference) -> Size {
        let [removed, added] = [difference.removed(), difference.added()].map(Records::len);
        Size { removed: removed as u64, added: added as u64 }
    }

    /// The size of the difference of these owners of two versions, without the memory that the difference would take.
    pub(in crate::zone) fn of_pairs<'a>(owners: impl Iterator<Item = OwnerPair<'a>>) -> Size {
        let mut size = Size::default();
        compare(owners, &mut |side, _, _, _| match side {
            Side::Old => size.removed += 1,
            Side::New => size.added += 1,
        });
        size
    }

    /// All records that come or go.
    pub fn records(self) -> u64 {
        self.removed + self.added
    }
}

/// An owner of an older version, of a newer one, or of both.
pub(in crate::zone) type OwnerPair<'a> = EitherOrBoth<Owner<'a>, Owner<'a>>;

/// The version that has a record, where only one has it.
#[derive(Clone, Copy)]
enum Side {
    Old,
    New,
}

/// Is shown each record that only one version has, in canonical order of owners and types.
type Visitor<'v> = dyn FnMut(Side, &Owner<'_>, &Rrset<'_>, &[u8]) + 'v;

/// The owners of two versions, by name.
fn pairs<'a>(old: &'a Zone, new: &'a Zone) -> impl Iterator<Item = OwnerPair<'a>> {
    let order = |old: &Owner<'_>, new: &Owner<'_>| canonical_order(old.name(), new.name());
    old.owners().merge_join_by(new.owners(), order)
}

fn compare<'a>(owners: impl Iterator<Item = OwnerPair<'a>>, visit: &mut Visitor<'_>) {
    let all = |side, owner: Owner<'_>, visit: &mut Visitor<'_>| {
        owner.rrsets().for_each(|rrset| visit_rrset(side, &owner, &rrset, visit));
    };
    for pair in owners {
        match pair {
            EitherOrBoth::Left(old) => all(Side::Old, old, visit),
            EitherOrBoth::Right(new) => all(Side::New, new, visit),
            EitherOrBoth::Both(old, new) => compare_owners(&old, &new, visit),
        }
    }
}

fn compare_owners(old: &Owner<'_>, new: &Owner<'_>, visit: &mut Visitor<'_>) {
    // Nearly all owners of two versions are the same.
    if old.has_same_rrsets(new) {
        return;
    }
    let order = |old: &Rrset<'_>, new: &Rrset<'_>| old.rtype().cmp(&new.rtype());
    for pair in old.rrsets().merge_join_by(new.rrsets(), order) {
        match pair {
            EitherOrBoth::Left(rrset) => visit_rrset(Side::Old, old, &rrset, visit),
            EitherOrBoth::Right(rrset) => visit_rrset(Side::New, new, &rrset, visit),
            EitherOrBoth::Both(of_old, of_new) => {
                compare_rrsets((old, &of_old), (new, &of_new), visit);
            }
        }
    }
}

fn compare_rrsets(
    old: (&Owner<'_>, &Rrset<'_>),
    new: (&Owner<'_>, &Rrset<'_>),
    visit: &mut Visitor<'_>,
) {
    let is_same_ttl = old.1.rtype() == Rtype::RRSIG || old.1.ttl() == new.1.ttl();
    if is_same_ttl && old.1.octets() == new.1.octets() {
        return;
    }
    for pair in old.1.rdatas().merge_join_by(new.1.rdatas(), Ord::cmp) {
        if is_same_ttl && pair.has_left() && pair.has_right() {
            continue;
        }
        let (gone, come) = pair.left_and_right();
        gone.into_iter().for_each(|rdata| visit(Side::Old, old.0, old.1, rdata));
        come.into_iter().for_each(|rdata| visit(Side::New, new.0, new.1, rdata));
    }
}

fn visit_rrset(side: Side, owner: &Owner<'_>, rrset: &Rrset<'_>, visit: &mut Visitor<'_>) {
    rrset.rdatas().for_each(|rdata| visit(side, owner, rrset, rdata));
}
