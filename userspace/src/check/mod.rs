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
mod keys;
mod lookup;
mod soa;
mod targets;
#[cfg(test)]
mod tests;

use crate::zone::{Name, Owner, Rtype, Zone};
use lookup::Lookup;

/// How many findings are kept; a zone with as many has one cause for most of them.
pub const MAX_FINDINGS: usize = 1000;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Others refuse the zone or cannot resolve what it means.
    Error,
    /// It is likely a mistake.
    Warning,
}

impl Severity {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The owner's place in canonical order ([`Zone::owner`]).
    pub owner: usize,
    /// The type of the records at fault.
    pub rtype: Rtype,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a word.
    pub code: &'static str,
    /// What it is: one sentence without a full stop.
    pub message: String,
}

/// Looks at a zone as a whole: up to [`MAX_FINDINGS`], in canonical order of owners.
pub fn check(zone: &Zone) -> Vec<Finding> {
    let mut findings = Findings { found: Vec::new() };
    let lookup = Lookup::new(zone);
    soa::check(zone, &mut findings);
    keys::check(zone, &mut findings);
    delegations::check(&lookup, &mut findings);
    targets::check(&lookup, &mut findings);
    findings.found.sort_by_key(|finding| finding.owner);
    findings.found
}

/// What was found so far.
struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    fn error(&mut self, owner: &Owner<'_>, rtype: Rtype, code: &'static str, message: String) {
        self.add(owner, rtype, Severity::Error, code, message);
    }

    fn warn(&mut self, owner: &Owner<'_>, rtype: Rtype, code: &'static str, message: String) {
        self.add(owner, rtype, Severity::Warning, code, message);
    }

    fn add(
        &mut self,
        owner: &Owner<'_>,
        rtype: Rtype,
        severity: Severity,
        code: &'static str,
        message: String,
    ) {
        if self.found.len() < MAX_FINDINGS {
            let message = format!("{} {rtype}: {message}", shown(owner.name()));
            self.found.push(Finding { owner: owner.index(), rtype, severity, code, message });
        }
    }
}

/// A name in presentation format.
fn shown(wire: &[u8]) -> String {
    Name::from_wire(wire).map_or_else(|| "?".to_owned(), |name| name.to_string())
}
