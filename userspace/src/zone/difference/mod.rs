//! What changes one version of a zone into another: records removed and records added, as incremental transfer
//! sends them (RFC 1995).
//!
//! | file | what |
//! |---|---|
//! | `records.rs` | records in canonical order, of any zone |
//! | `apply.rs` | a version made of another one and a difference |
//! | `sequence.rs` | a difference as the records of an IXFR, and read from them |

mod apply;
mod records;
mod sequence;
#[cfg(test)]
mod tests;

use itertools::{EitherOrBoth, Itertools as _};

use super::name::{Name, canonical_order};
use super::rtype::Rtype;
use super::serial::Serial;
use super::tree::{Owner, Rrset, Zone};

pub use apply::{ApplyError, Rules};
pub use records::{RecordRef, Records};
pub use sequence::SequenceError;

/// What changes one version of a zone into another: the records that only the older one has, and those that only
/// the newer one has. An RRset whose TTL changed leaves with all its records and comes again.
///
/// The TTL of a signature is that of the RRset that it covers (RFC 4034 section 3): it is told of a signature that
/// comes or goes, and is no change by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    apex: Name,
    old: Serial,
    new: Serial,
    removed: Records,
    added: Records,
}

impl Difference {
    /// The difference of two versions of one zone.
    ///
    /// # Panics
    /// If their apexes are not the same, or if a side exceeds 4 GiB, which no zone does.
    pub fn between(old: &Zone, new: &Zone) -> Difference {
        assert_eq!(old.apex(), new.apex(), "two zones have no difference");
        let mut difference = Difference {
            apex: old.apex().clone(),
            old: old.serial(),
            new: new.serial(),
            removed: Records::default(),
            added: Records::default(),
        };
        let order = |old: &Owner<'_>, new: &Owner<'_>| canonical_order(old.name(), new.name());
        for pair in old.owners().merge_join_by(new.owners(), order) {
            match pair {
                EitherOrBoth::Left(old) => difference.removed.push_owner(&old),
                EitherOrBoth::Right(new) => difference.added.push_owner(&new),
                EitherOrBoth::Both(old, new) => difference.compare_owners(&old, &new),
            }
        }
        difference
    }

    fn compare_owners(&mut self, old: &Owner<'_>, new: &Owner<'_>) {
        let order = |old: &Rrset<'_>, new: &Rrset<'_>| old.rtype().cmp(&new.rtype());
        for pair in old.rrsets().merge_join_by(new.rrsets(), order) {
            match pair {
                EitherOrBoth::Left(rrset) => self.removed.push_rrset(old, &rrset),
                EitherOrBoth::Right(rrset) => self.added.push_rrset(new, &rrset),
                EitherOrBoth::Both(of_old, of_new) => {
                    self.compare_rrsets((old, &of_old), (new, &of_new));
                }
            }
        }
    }

    fn compare_rrsets(&mut self, old: (&Owner<'_>, &Rrset<'_>), new: (&Owner<'_>, &Rrset<'_>)) {
        let is_same_ttl = old.1.rtype() == Rtype::RRSIG || old.1.ttl() == new.1.ttl();
        for pair in old.1.rdatas().merge_join_by(new.1.rdatas(), |old, new| old.cmp(new)) {
            if is_same_ttl && pair.has_left() && pair.has_right() {
                continue;
            }
            let (gone, come) = pair.left_and_right();
            gone.into_iter().for_each(|rdata| self.removed.push_of(old.0, old.1, rdata));
            come.into_iter().for_each(|rdata| self.added.push_of(new.0, new.1, rdata));
        }
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
