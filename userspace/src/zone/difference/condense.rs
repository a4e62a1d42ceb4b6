//! Differences that lead on from each other made into one (RFC 1995 section 5): what comes and goes again in between is
//! left out.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::apply::ApplyError;
use super::between::Difference;
use super::records::{RecordRef, Records};
use crate::zone::name::Name;
use crate::zone::rtype::Rtype;

/// What becomes of one record: the TTL with which it goes, and that with which it comes.
#[derive(Default, Clone, Copy)]
struct Fate {
    removed: Option<u32>,
    added: Option<u32>,
}

/// Records by owner, type and RDATA.
type Fates<'a> = BTreeMap<(&'a [u8], Rtype, &'a [u8]), Fate>;

impl Difference {
    /// The difference that does at once what these do one after the other; each begins with the serial to which the one
    /// before leads. `None` if there are none.
    ///
    /// # Errors
    /// If one removes what another one has removed, or adds what another one has added: then they fit no version.
    pub fn condensed(differences: &[Difference]) -> Result<Option<Difference>, ApplyError> {
        let Some((first, last)) = differences.first().zip(differences.last()) else {
            return Ok(None);
        };
        let mut fates = Fates::new();
        for difference in differences {
            for record in difference.removed.iter() {
                remove(&mut fates, record)?;
            }
            for record in difference.added.iter() {
                add(&mut fates, record)?;
            }
        }
        let [removed, added] = [|fate: &Fate| fate.removed, |fate: &Fate| fate.added].map(|side| {
            let records = fates.iter().filter(|(key, fate)| !is_same(key.1, fate));
            Records::sorted(records.filter_map(|(&(owner, rtype, rdata), fate)| {
                Some(RecordRef { owner, rtype, ttl: side(fate)?, rdata })
            }))
        });
        let (apex, old, new) = (first.apex.clone(), first.old, last.new);
        Ok(Some(Difference { apex, old, new, removed, added }))
    }
}

fn remove<'a>(fates: &mut Fates<'a>, record: RecordRef<'a>) -> Result<(), ApplyError> {
    let RecordRef { owner, rtype, ttl, rdata } = record;
    match fates.entry((owner, rtype, rdata)) {
        Entry::Vacant(vacant) => {
            vacant.insert(Fate { removed: Some(ttl), added: None });
        }
        Entry::Occupied(mut fate) if fate.get().added.is_some() => {
            fate.get_mut().added = None;
            if fate.get().removed.is_none() {
                fate.remove();
            }
        }
        Entry::Occupied(_) => return Err(ApplyError::Missing { owner: name(owner), rtype }),
    }
    Ok(())
}

fn add<'a>(fates: &mut Fates<'a>, record: RecordRef<'a>) -> Result<(), ApplyError> {
    let RecordRef { owner, rtype, ttl, rdata } = record;
    let fate = fates.entry((owner, rtype, rdata)).or_default();
    if fate.added.replace(ttl).is_some() {
        return Err(ApplyError::Present { owner: name(owner), rtype });
    }
    Ok(())
}

/// Whether a record that goes comes again as it was. The TTL of a signature is no change by itself.
fn is_same(rtype: Rtype, fate: &Fate) -> bool {
    let both = fate.removed.zip(fate.added);
    both.is_some_and(|(removed, added)| removed == added || rtype == Rtype::RRSIG)
}

fn name(owner: &[u8]) -> Name {
    Name::from_wire(owner).unwrap_or_else(Name::root)
}
