//! The neighbours of a name in the NSEC chain (RFC 4034 section 4) and in the NSEC3 chain (RFC 5155).

use super::states::{hides, hiding_owner, ordinary};
use crate::zone::name::behind_subtree;
use crate::zone::{Owner, Version};

/// The owner before a name in the NSEC chain; the name itself need not be there. None stands before the apex, for
/// which it is the apex. Hashes are no names of this chain, if the zone has such.
pub(super) fn nsec_before<'v>(version: &'v Version, name: &[u8]) -> Option<Owner<'v>> {
    let nearest = version.before(name).find(|owner| !owner.is_hash());
    let nearest = nearest.or_else(|| at_apex(version))?;
    // All names from one that hides them to the last of them are hidden.
    hiding_owner(version, nearest.name()).or(Some(nearest))
}

/// The owner that follows one in the NSEC chain; the apex follows the last one.
pub(super) fn nsec_after<'v>(version: &'v Version, name: &[u8]) -> Option<Owner<'v>> {
    let next = match hides(version, ordinary(version, name).as_ref()) {
        true => behind_subtree(name)
            .and_then(|behind| version.from(&behind).find(|owner| !owner.is_hash())),
        false => version.from(name).find(|owner| owner.name() != name && !owner.is_hash()),
    };
    next.or_else(|| at_apex(version))
}

/// The owners before a hashed one in the NSEC3 chain, which is a ring: the nearest first, and round to all.
pub(super) fn nsec3_before<'v>(
    version: &'v Version,
    hashed: &[u8],
) -> impl Iterator<Item = Owner<'v>> + use<'v> {
    let round = move || version.hashed_from(version.apex().as_wire()).rev();
    version.hashed_before(hashed).chain(std::iter::once_with(round).flatten())
}

/// The owners after a hashed one in the NSEC3 chain, which is a ring: the nearest first, and round to all.
pub(super) fn nsec3_after<'v>(
    version: &'v Version,
    hashed: &[u8],
) -> impl Iterator<Item = Owner<'v>> {
    let round = move || version.hashed_from(version.apex().as_wire());
    let after = version.hashed_from(hashed).filter(move |owner| owner.name() != hashed);
    after.chain(std::iter::once_with(round).flatten())
}

fn at_apex(version: &Version) -> Option<Owner<'_>> {
    version.find(version.apex().as_wire())
}
