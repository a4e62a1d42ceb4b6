//! Name servers of the zone and of what it delegates: RFC 1034 section 4.2, RFC 2181 section 10.3, RFC 4592 section 4.2,
//! RFC 6672 section 2.

use std::collections::HashSet;

use super::findings::{Findings, shown};
use super::lookup::{Found, Lookup, has_addresses};
use crate::dnssec::authority::NameStatus;
use crate::zone::name::is_at_or_below;
use crate::zone::{Owner, Rtype};

/// Types that the owner of a zone cut has: those of the delegation, and of its own DNSSEC.
const OF_CUTS: [Rtype; 4] = [Rtype::NS, Rtype::DS, Rtype::NSEC, Rtype::RRSIG];

pub(super) fn check(lookup: &Lookup<'_>, findings: &mut Findings) {
    let zone = lookup.zone;
    let servers: HashSet<&[u8]> = zone
        .owners()
        .filter_map(|owner| owner.rrset(Rtype::NS))
        .flat_map(|servers| servers.rdatas())
        .collect();
    for owner in zone.owners() {
        let is_apex = owner.name() == zone.apex().as_wire();
        match lookup.places[zone.index_of(&owner)] {
            NameStatus::Authoritative if is_apex => {
                if owner.rrset(Rtype::DS).is_some() {
                    let message = "the DS records of a zone stand in its parent, not at its apex";
                    findings.error(&owner, Rtype::DS, "ds-at-apex", message.into());
                }
                name_servers(lookup, &owner, findings);
            }
            NameStatus::Authoritative => {
                if owner.rrset(Rtype::DS).is_some() {
                    let message = "nothing is delegated here: the name has no NS records";
                    findings.warn(&owner, Rtype::DS, "ds-without-ns", message.into());
                }
                if owner.rrset(Rtype::DNAME).is_some() && is_wildcard(&owner) {
                    let message = "a DNAME of a wildcard is not defined (RFC 4592 section 4.4)";
                    findings.warn(&owner, Rtype::DNAME, "wildcard-dname", message.into());
                }
            }
            NameStatus::Cut => {
                at_cut(&owner, &servers, findings);
                name_servers(lookup, &owner, findings);
            }
            NameStatus::Occluded => occluded(&owner, &servers, findings),
            NameStatus::Hash => {}
        }
    }
}

fn is_wildcard(owner: &Owner<'_>) -> bool {
    owner.name().starts_with(b"\x01*")
}

fn at_cut(owner: &Owner<'_>, servers: &HashSet<&[u8]>, findings: &mut Findings) {
    if is_wildcard(owner) {
        let message = "a delegation of a wildcard is not defined (RFC 4592 section 4.2)";
        findings.error(owner, Rtype::NS, "wildcard-ns", message.into());
    }
    if owner.rrset(Rtype::DNAME).is_some() {
        let message = "a DNAME stands beside the NS records of a delegation (RFC 6672 section 2.3)";
        findings.error(owner, Rtype::DNAME, "dname-and-ns", message.into());
    }
    let is_server = servers.contains(owner.name());
    for rrset in owner.rrsets() {
        let rtype = rrset.rtype();
        let is_glue = is_server && matches!(rtype, Rtype::A | Rtype::AAAA);
        if !OF_CUTS.contains(&rtype) && rtype != Rtype::DNAME && !is_glue {
            let message = "the name is delegated: no query for it reaches this zone";
            findings.warn(owner, rtype, "occluded", message.into());
        }
    }
}

/// What lies below a cut is glue, if it is something. What lies below a DNAME is no zone's, which the reader tells.
fn occluded(owner: &Owner<'_>, servers: &HashSet<&[u8]>, findings: &mut Findings) {
    let is_server = servers.contains(owner.name());
    for rrset in owner.rrsets() {
        let rtype = rrset.rtype();
        if !(is_server && matches!(rtype, Rtype::A | Rtype::AAAA)) {
            let message =
                "a name above is delegated: no query for it reaches this zone, and it is no glue";
            findings.warn(owner, rtype, "occluded", message.into());
        }
    }
}

/// Whether the name servers of the zone, or of a delegation, can be found.
fn name_servers(lookup: &Lookup<'_>, owner: &Owner<'_>, findings: &mut Findings) {
    let is_cut = lookup.places[lookup.zone.index_of(owner)] == NameStatus::Cut;
    let error = |findings: &mut Findings, code, message| {
        findings.error(owner, Rtype::NS, code, message);
    };
    for server in owner.rrset(Rtype::NS).into_iter().flat_map(|servers| servers.rdatas()) {
        let name = shown(server);
        let own = lookup.zone.find(server).is_some_and(|server| has_addresses(&server));
        if is_cut && is_at_or_below(server, owner.name()) {
            if !own {
                let message = format!("the name server {name} is below the cut and has no address");
                error(findings, "glue-missing", message);
            }
            continue;
        }
        match lookup.find(server) {
            Found::Outside => {}
            // Its addresses are the child's to say; what is here is glue.
            Found::Delegated if is_cut || own => {}
            Found::Delegated => {
                let message = format!("the name server {name} is below a cut and has no address");
                error(findings, "glue-missing", message);
            }
            Found::Redirected(above) => {
                let above = shown(above.name());
                let message = format!("the name server {name} is below the DNAME of {above}");
                error(findings, "ns-below-dname", message);
            }
            Found::Data(target) if target.rrset(Rtype::CNAME).is_some() => {
                let message = format!("the name server {name} is a CNAME (RFC 2181 section 10.3)");
                error(findings, "ns-is-cname", message);
            }
            Found::Data(target) if has_addresses(&target) => {}
            Found::Data(_) | Found::Nothing => {
                let message = format!("the name server {name} is in this zone and has no address");
                error(findings, "ns-without-address", message);
            }
        }
    }
}
