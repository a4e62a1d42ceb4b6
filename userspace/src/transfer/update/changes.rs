//! What is to be changed (RFC 2136 sections 2.5 and 3.4).

use super::draft::{Draft, DraftRrset};
use super::{ANY, IN, NONE, UpdateError, UpdateRecord};
use crate::zone::name::is_at_or_below;
use crate::zone::{Rtype, Soa};

impl Draft<'_> {
    /// That each record may stand there (section 3.4.1), and that none is the signer's.
    pub(super) fn check_changes(&self, records: &[UpdateRecord]) -> Result<(), UpdateError> {
        for record in records {
            if !is_at_or_below(&record.owner, self.apex()) {
                return Err(UpdateError::NotInZone);
            }
            let is_well_formed = match record.class {
                IN => !record.rtype.is_meta(),
                ANY => {
                    let is_type = !record.rtype.is_meta() || record.rtype == Rtype::ANY;
                    is_type && record.ttl == 0 && record.rdata.is_empty()
                }
                NONE => !record.rtype.is_meta() && record.ttl == 0,
                _ => false,
            };
            if !is_well_formed {
                return Err(UpdateError::Malformed);
            }
            if record.rtype != Rtype::ANY && !self.is_taken(&record.owner, record.rtype) {
                return Err(UpdateError::Made(record.rtype));
            }
        }
        Ok(())
    }

    /// Does what one record asks for (section 3.4.2).
    pub(super) fn change(&mut self, record: &UpdateRecord) -> Result<(), UpdateError> {
        let is_apex = record.owner == self.apex();
        match record.class {
            IN => self.add(record, is_apex),
            ANY => self.remove_all(record, is_apex),
            _ => self.remove(record, is_apex),
        }
    }

    /// Section 3.4.2.2: a record comes, unless it cannot be beside what is there. A TTL is that of the whole RRset
    /// (RFC 2181 section 5.2): the new one holds.
    fn add(&mut self, record: &UpdateRecord, is_apex: bool) -> Result<(), UpdateError> {
        let UpdateRecord { owner, rtype, ttl, rdata, .. } = record;
        let rrsets = self.looked_up(owner)?;
        let is_ignored = match *rtype {
            Rtype::CNAME => rrsets.keys().any(|&other| !may_stand_at_cname(other)),
            Rtype::SOA => {
                let now = rrsets.get(&Rtype::SOA).and_then(|soa| soa.rdatas.first());
                let serials = now.and_then(|now| Soa::parse(now)).zip(Soa::parse(rdata));
                let is_newer =
                    serials.is_some_and(|(now, new)| new.serial.is_newer_than(now.serial));
                !is_apex || !is_newer
            }
            other => rrsets.contains_key(&Rtype::CNAME) && !may_stand_at_cname(other),
        };
        if is_ignored {
            return Ok(());
        }
        let rrset: &mut DraftRrset = self.rrsets_mut(owner)?.entry(*rtype).or_default();
        if matches!(*rtype, Rtype::CNAME | Rtype::SOA | Rtype::DNAME) {
            // There is one at the most.
            rrset.rdatas.clear();
        }
        rrset.ttl = *ttl;
        if let Err(place) = rrset.rdatas.binary_search(rdata) {
            rrset.rdatas.insert(place, rdata.clone());
        }
        Ok(())
    }

    /// Section 3.4.2.3: an RRset goes, or all of a name; never SOA and NS of the apex.
    fn remove_all(&mut self, record: &UpdateRecord, is_apex: bool) -> Result<(), UpdateError> {
        let is_kept = |rtype: Rtype| is_apex && matches!(rtype, Rtype::SOA | Rtype::NS);
        let rrsets = self.rrsets_mut(&record.owner)?;
        rrsets.retain(|&rtype, _| {
            let is_meant = record.rtype == Rtype::ANY || rtype == record.rtype;
            !is_meant || is_kept(rtype)
        });
        Ok(())
    }

    /// Section 3.4.2.4: a record goes; neither the SOA record nor the last NS record of the apex.
    fn remove(&mut self, record: &UpdateRecord, is_apex: bool) -> Result<(), UpdateError> {
        let Some(place) = self
            .looked_up(&record.owner)?
            .get(&record.rtype)
            .filter(|_| record.rtype != Rtype::SOA)
            .filter(|rrset| !(is_apex && record.rtype == Rtype::NS && rrset.rdatas.len() == 1))
            .and_then(|rrset| rrset.rdatas.binary_search(&record.rdata).ok())
        else {
            return Ok(());
        };
        let rrsets = self.rrsets_mut(&record.owner)?;
        if let Some(rrset) = rrsets.get_mut(&record.rtype) {
            rrset.rdatas.remove(place);
        }
        rrsets.retain(|_, rrset| !rrset.rdatas.is_empty());
        Ok(())
    }
}

/// Whether a type may stand beside CNAME: those of DNSSEC (RFC 3007 section 3.1.1, RFC 4034 sections 3 and 4), and it
/// itself.
fn may_stand_at_cname(rtype: Rtype) -> bool {
    // SIG KEY NXT
    matches!(rtype, Rtype::CNAME | Rtype::RRSIG | Rtype::NSEC | Rtype(24 | 25 | 30))
}
