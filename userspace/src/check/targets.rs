//! Names that records lead to, and addresses: RFC 2181 section 10.3, RFC 2782, RFC 6698 section 3, RFC 7505.

use super::findings::{Findings, shown};
use super::lookup::{Found, Lookup, has_addresses};
use crate::dnssec::authority::NameStatus;
use crate::zone::name::{labels, parent};
use crate::zone::{Owner, Rtype};

/// Types that lead to a host, the octets of RDATA before its name, and the codes of what may be wrong with it.
const LEADING: [(Rtype, usize, [&str; 2]); 2] = [
    (Rtype::MX, 2, ["mx-is-cname", "mx-without-address"]),
    (Rtype::SRV, 6, ["srv-is-cname", "srv-without-address"]),
];

pub(super) fn check(lookup: &Lookup<'_>, findings: &mut Findings) {
    for owner in lookup.zone.owners() {
        let place = lookup.places[lookup.zone.index_of(&owner)];
        literals(&owner, findings);
        if place != NameStatus::Authoritative {
            continue;
        }
        for (rtype, head, codes) in LEADING {
            hosts(lookup, &owner, (rtype, head, codes), findings);
        }
        if let Some(target) = owner.rrset(Rtype::CNAME).and_then(|cname| cname.rdatas().next())
            && matches!(lookup.find(target), Found::Nothing)
            && !lookup.exists(target)
        {
            let message = format!("it leads to {}, which does not exist", shown(target));
            findings.warn(&owner, Rtype::CNAME, "cname-dangling", message);
        }
        if let Some(host) = owner.rrset(Rtype::TLSA).and_then(|_| host_of_service(owner.name()))
            && !may_be_host(lookup, host)
        {
            let message = format!("it is of a service of {}, which has no address", shown(host));
            findings.warn(&owner, Rtype::TLSA, "tlsa-dangling", message);
        }
        let labels_below = parent(owner.name()).into_iter().flat_map(labels);
        if labels_below.into_iter().any(|label| label == b"*") {
            let rtype = owner.rrsets().next().map_or(Rtype::NS, |rrset| rrset.rtype());
            let message = "an asterisk that is not the first label makes no wildcard of this name";
            findings.warn(&owner, rtype, "wildcard-inside", message.into());
        }
    }
}

fn hosts(
    lookup: &Lookup<'_>,
    owner: &Owner<'_>,
    (rtype, head, [is_cname, without_address]): (Rtype, usize, [&'static str; 2]),
    findings: &mut Findings,
) {
    for rdata in owner.rrset(rtype).into_iter().flat_map(|rrset| rrset.rdatas()) {
        // The root says that there is none (RFC 2782, RFC 7505).
        let Some(target) = rdata.get(head..).filter(|target| target.len() > 1) else { continue };
        let name = shown(target);
        match lookup.find(target) {
            Found::Data(host) if host.rrset(Rtype::CNAME).is_some() => {
                let message = format!("it leads to {name}, which is a CNAME");
                findings.warn(owner, rtype, is_cname, message);
            }
            Found::Data(host) if has_addresses(&host) => {}
            Found::Data(_) | Found::Nothing => {
                let message =
                    format!("it leads to {name}, which is in this zone and has no address");
                findings.warn(owner, rtype, without_address, message);
            }
            Found::Redirected(_) => {
                let message = format!("it leads to {name}, which is below a DNAME");
                findings.warn(owner, rtype, is_cname, message);
            }
            Found::Outside | Found::Delegated => {}
        }
    }
}

/// `host` of `_443._tcp.host`; `None` if the name has another form.
fn host_of_service(name: &[u8]) -> Option<&[u8]> {
    let mut labels = labels(name);
    let is_underscored = |label: Option<&[u8]>| label.is_some_and(|label| label.starts_with(b"_"));
    let is_service = is_underscored(labels.next()) && is_underscored(labels.next());
    parent(parent(name)?).filter(|_| is_service)
}

fn may_be_host(lookup: &Lookup<'_>, name: &[u8]) -> bool {
    match lookup.find(name) {
        // A TLSA of a host that is reached by an alias stands at the alias as well as at the host (RFC 7671).
        Found::Data(host) => has_addresses(&host) || host.rrset(Rtype::CNAME).is_some(),
        Found::Nothing => false,
        Found::Outside | Found::Delegated | Found::Redirected(_) => true,
    }
}

/// Addresses where names belong, and IPv4 addresses that are written as IPv6.
fn literals(owner: &Owner<'_>, findings: &mut Findings) {
    for (rtype, head) in [(Rtype::NS, 0), (Rtype::MX, 2)] {
        for rdata in owner.rrset(rtype).into_iter().flat_map(|rrset| rrset.rdatas()) {
            if let Some(target) = rdata.get(head..).filter(|target| is_address(target)) {
                let message = format!("{} is an address: a name belongs here", shown(target));
                findings.warn(owner, rtype, "target-is-address", message);
            }
        }
    }
    for rdata in owner.rrset(Rtype::AAAA).into_iter().flat_map(|rrset| rrset.rdatas()) {
        let Ok(octets) = <[u8; 16]>::try_from(rdata) else { continue };
        let address = std::net::Ipv6Addr::from(octets);
        if let Some(ipv4) = address.to_ipv4_mapped() {
            let message = format!("no client can reach {address}: write {ipv4} in an A record");
            findings.warn(owner, Rtype::AAAA, "aaaa-mapped", message);
        }
    }
}

/// Whether the first four labels are the numbers of an IPv4 address, whatever the origin has added behind.
fn is_address(name: &[u8]) -> bool {
    let number = |label: &&[u8]| {
        let text = str::from_utf8(label).ok()?;
        text.parse::<u8>().ok().filter(|_| !text.starts_with('+'))
    };
    let first = labels(name).take(4);
    first.filter_map(|label| number(&label)).count() == 4
}
