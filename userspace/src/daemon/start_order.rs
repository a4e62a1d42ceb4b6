//! In which order zones are loaded when the daemon is started: small ones first, so that ten thousand of them do not
//! wait for one of a million names.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::zone::Name;

/// The zones of `sizes` (octets of each one's file) in the order in which they are loaded.
///
/// What a zone says of names below another zone's apex must not be heard while that other zone is only on its way. So
/// no zone comes before one below it, and has the rank of the largest of these.
pub fn start_order(sizes: &BTreeMap<Name, u64>) -> Vec<Name> {
    let mut ranks = sizes.clone();
    let mut names: Vec<Name> = sizes.keys().cloned().collect();
    names.sort_by_key(|name| Reverse(name.label_count()));
    for name in &names {
        let rank = ranks.get(name).copied().unwrap_or(0);
        let mut above = name.parent();
        while let Some(other) = above {
            if let Some(of_other) = ranks.get_mut(&other) {
                // Those further up have what this one has.
                *of_other = rank.max(*of_other);
                break;
            }
            above = other.parent();
        }
    }
    names.sort_by_cached_key(|name| {
        (ranks.get(name).copied().unwrap_or(0), Reverse(name.label_count()))
    });
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::name::is_at_or_below;

    /// Every choice of three sizes for seven zones, some below others.
    #[test]
    fn small_zones_come_first_and_none_before_one_below_it() {
        let names = [".", "org", "a.org", "b.a.org", "c.b.a.org", "b.org", "com"]
            .map(|name| name.parse::<Name>().unwrap());
        for choice in 0..3usize.pow(names.len() as u32) {
            let size = |place: usize| 10u64.pow((choice / 3usize.pow(place as u32) % 3) as u32);
            let sizes: BTreeMap<Name, u64> =
                names.iter().enumerate().map(|(place, name)| (name.clone(), size(place))).collect();
            let order = start_order(&sizes);
            assert_eq!(order.len(), names.len());
            // The largest of what has to be there before a zone, and itself.
            let need = |name: &Name| {
                let below = |other: &&Name| is_at_or_below(other.as_wire(), name.as_wire());
                names.iter().filter(below).map(|other| sizes[other]).max()
            };
            for (place, name) in order.iter().enumerate() {
                for later in &order[place + 1..] {
                    assert!(!is_at_or_below(later.as_wire(), name.as_wire()), "{order:?}");
                    assert!(need(name) <= need(later), "{order:?} {sizes:?}");
                }
            }
        }
    }
}
