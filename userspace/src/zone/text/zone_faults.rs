//! What is wrong or odd about a zone as a whole, said where it stands in its files.

use super::error::{Fault, Place, ReadError, Warning};
use super::places::Places;
use crate::zone::{ZoneFault, ZoneFaultKind};

/// How many warnings are kept; more are only counted.
pub const MAX_WARNINGS: usize = 1_000;

/// What is wrong or odd about a zone as a whole, to be said where it stands.
pub(super) struct ZoneFaults {
    pub(super) found: Vec<ZoneFault>,
    pub(super) soa_at: Option<usize>,
}

impl ZoneFaults {
    pub(super) fn warnings(&self, places: &Places) -> Vec<Warning> {
        let of_first = self.found.iter().filter(|fault| !fault.kind.is_error()).take(MAX_WARNINGS);
        let warning = |fault: &ZoneFault| {
            let place = places.of_record(fault.record.unwrap_or(0))?;
            Some(Warning { place, message: message(places, fault), code: fault.kind.code() })
        };
        of_first.filter_map(warning).collect()
    }

    pub(super) fn error(&self, places: &Places, fault: &ZoneFault) -> ReadError {
        let message = message(places, fault);
        // What is lacking is shown at the SOA, where one adds it; else it is the file's fault.
        match fault.record.or(self.soa_at).and_then(|record| places.source_of(record)) {
            Some((source, at)) => places.error(source, Fault::new(at, message), fault.kind.code()),
            None => ReadError {
                code: fault.kind.code(),
                ..ReadError::of_file(&places.sources[0].name, message)
            },
        }
    }
}

/// The fault in words, with the place of the other record that it takes.
fn message(places: &Places, fault: &ZoneFault) -> String {
    let other = fault.other.and_then(|record| {
        let place = places.of_record(record)?;
        Some(match (fault.record.and_then(|record| places.of_record(record)), place) {
            (Some(this), other) if this.file == other.file => format!("line {}", other.line),
            (_, Place { file, line, .. }) => format!("{file}:{line}"),
        })
    });
    match (&fault.kind, other) {
        (kind @ ZoneFaultKind::SoaAway, _) => format!("{}: {kind}", fault.owner),
        (kind, Some(other)) => format!("{}: {kind} (the other is on {other})", fault.owner),
        (kind, None) => format!("{}: {kind}", fault.owner),
    }
}
