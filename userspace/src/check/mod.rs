//! What is wrong with a zone though each of its records is right: what resolvers, secondaries or parents will not take
//! as it is meant. The verdicts are those of `named-checkzone` and `kzonecheck` where these have one.
//!
//! | what | where |
//! |---|---|
//! | delegations, glue, what lies below them | `delegations` |
//! | names that records lead to | `targets` |
//! | the SOA | `soa` |
//! | CDS, CDNSKEY and other records of the apex | `keys` |

mod delegations;
mod findings;
mod keys;
mod lookup;
mod soa;
mod targets;
#[cfg(test)]
mod tests;

pub use findings::{Finding, MAX_FINDINGS, Severity};

use crate::zone::Zone;
use findings::Findings;
use lookup::Lookup;

/// Looks at a zone as a whole: up to [`MAX_FINDINGS`], in canonical order of owners.
pub fn check(zone: &Zone) -> Vec<Finding> {
    let mut findings = Findings { zone: zone.clone(), found: Vec::new() };
    let lookup = Lookup::new(zone);
    soa::check(zone, &mut findings);
    keys::check(zone, &mut findings);
    delegations::check(&lookup, &mut findings);
    targets::check(&lookup, &mut findings);
    findings.found.sort_by_key(|finding| finding.owner);
    findings.found
}
