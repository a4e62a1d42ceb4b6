//! What a check finds.

use crate::zone::{Name, Owner, Rtype, Zone};

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
    /// The owner's place in canonical order ([`Zone::owner`](crate::zone::Zone::owner)).
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

/// What was found so far.
pub(super) struct Findings {
    /// The zone whose owners they are of.
    pub(super) zone: Zone,
    pub(super) found: Vec<Finding>,
}

impl Findings {
    pub(super) fn error(
        &mut self,
        owner: &Owner<'_>,
        rtype: Rtype,
        code: &'static str,
        message: String,
    ) {
        self.add(owner, rtype, Severity::Error, code, message);
    }

    pub(super) fn warn(
        &mut self,
        owner: &Owner<'_>,
        rtype: Rtype,
        code: &'static str,
        message: String,
    ) {
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
            let owner = self.zone.index_of(owner);
            self.found.push(Finding { owner, rtype, severity, code, message });
        }
    }
}

/// A name in presentation format.
pub(super) fn shown(wire: &[u8]) -> String {
    Name::from_wire(wire).map_or_else(|| "?".to_owned(), |name| name.to_string())
}
