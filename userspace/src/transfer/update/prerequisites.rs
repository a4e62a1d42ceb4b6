//! What must hold before anything is changed (RFC 2136 sections 2.4 and 3.2).

use std::collections::BTreeMap;

use super::draft::Draft;
use super::{ANY, IN, NONE, UpdateError, UpdateRecord};
use crate::zone::Rtype;
use crate::zone::name::is_at_or_below;

impl Draft<'_> {
    /// That all of it holds.
    pub(super) fn check_prerequisites(
        &mut self,
        records: &[UpdateRecord],
    ) -> Result<(), UpdateError> {
        // RRsets of which the records are told must be there as they are told (section 2.4.2).
        let mut demanded: BTreeMap<(&[u8], Rtype), Vec<&[u8]>> = BTreeMap::new();
        for record in records {
            let UpdateRecord { owner, rtype, class, ttl, rdata } = record;
            if *ttl != 0 {
                return Err(UpdateError::Malformed);
            }
            if !is_at_or_below(owner, self.apex()) {
                return Err(UpdateError::NotInZone);
            }
            let is_whole = matches!(*class, ANY | NONE);
            if is_whole && !rdata.is_empty()
                || rtype.is_meta() && !(is_whole && *rtype == Rtype::ANY)
            {
                return Err(UpdateError::Malformed);
            }
            let rrsets = self.looked_up(owner)?;
            let is_there = rrsets.contains_key(rtype);
            match (*class, *rtype) {
                (ANY, Rtype::ANY) if rrsets.is_empty() => return Err(UpdateError::NameNotInUse),
                (NONE, Rtype::ANY) if !rrsets.is_empty() => return Err(UpdateError::NameInUse),
                (ANY | NONE, Rtype::ANY) => {}
                (ANY, _) if !is_there => return Err(UpdateError::NoRrset),
                (NONE, _) if is_there => return Err(UpdateError::RrsetExists),
                (ANY | NONE, _) => {}
                (IN, _) => demanded.entry((owner, *rtype)).or_default().push(rdata),
                _ => return Err(UpdateError::Malformed),
            }
        }
        for ((owner, rtype), mut rdatas) in demanded {
            rdatas.sort_unstable();
            rdatas.dedup();
            let rrsets = self.looked_up(owner)?;
            let found = rrsets.get(&rtype).map_or(&[][..], |rrset| &rrset.rdatas);
            if !found.iter().map(Vec::as_slice).eq(rdatas) {
                return Err(UpdateError::NoRrset);
            }
        }
        Ok(())
    }
}
