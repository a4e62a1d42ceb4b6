//! Where the records of a zone stand in its master files.

use std::cell::OnceCell;
use std::rc::Rc;

use super::error::{Fault, Place, ReadError, line_and_column, line_starts, shown_line};
use crate::zone::{Owner, Rtype, Zone};

/// A file that was read, kept to show its lines.
pub(super) struct Source {
    pub name: String,
    text: Rc<Vec<u8>>,
    /// Where its lines start, found when a place is asked for.
    line_starts: OnceCell<Vec<u32>>,
    /// Which source included it, and where.
    pub parent: Option<(usize, u32)>,
}

impl Source {
    pub fn new(name: String, text: Rc<Vec<u8>>, parent: Option<(usize, u32)>) -> Source {
        Source { name, text, line_starts: OnceCell::new(), parent }
    }
}

/// Where records stand.
#[derive(Default)]
pub struct Places {
    /// The files, the outermost first.
    pub(super) sources: Vec<Source>,
    /// Where in its source each record starts, in the order of reading.
    starts: Vec<u32>,
    /// From which record on the places are of which source.
    stretches: Vec<(usize, usize)>,
    /// Of each RRset of the zone, in canonical order, the first record that was read. Empty unless the zone was checked.
    pub(super) rrsets: Vec<u32>,
}

impl Places {
    /// Starts a file.
    pub(super) fn add(&mut self, source: Source) {
        self.sources.push(source);
        self.go_on_in(self.sources.len() - 1);
    }

    /// The next records are of this source.
    pub(super) fn go_on_in(&mut self, source: usize) {
        self.stretches.push((self.starts.len(), source));
    }

    /// Adds the next record.
    pub(super) fn push(&mut self, at: u32) {
        self.starts.push(at);
    }

    /// How many records there are.
    pub(super) fn records(&self) -> usize {
        self.starts.len()
    }

    /// Where a zone that was checked has the first record of an RRset; the owner's first one if there is none of the
    /// type.
    pub fn of_rrset(&self, zone: &Zone, owner: &Owner<'_>, rtype: Rtype) -> Option<Place> {
        self.of_record(*self.rrsets.get(zone.rrset_index_of(owner, rtype))? as usize)
    }

    /// The outermost file as a whole.
    pub fn of_file(&self) -> Place {
        let file = self.sources.first().map_or_else(String::new, |source| source.name.clone());
        Place { file, line: 0, column: 0 }
    }

    /// Where a record stands, by its number in the order of reading.
    pub(super) fn of_record(&self, record: usize) -> Option<Place> {
        let (source, at) = self.source_of(record)?;
        Some(self.place(source, at))
    }

    /// Source and octet of a record by its number.
    pub(super) fn source_of(&self, record: usize) -> Option<(usize, usize)> {
        let at = *self.starts.get(record)?;
        let stretch = self.stretches.partition_point(|&(first, _)| first <= record);
        let (_, source) = *self.stretches.get(stretch.checked_sub(1)?)?;
        Some((source, at as usize))
    }

    fn place(&self, source: usize, at: usize) -> Place {
        let Source { name, text, line_starts: starts, .. } = &self.sources[source];
        let starts = starts.get_or_init(|| line_starts(text));
        let (line, column) = line_and_column(text, starts, at);
        Place { file: name.clone(), line, column }
    }

    /// A fault with its line, and the files that led to it.
    pub(super) fn error(&self, source: usize, fault: Fault, code: &'static str) -> ReadError {
        let place = self.place(source, fault.at);
        let (source_line, caret) = shown_line(&self.sources[source].text, fault.at);
        let mut included_from = Vec::new();
        let mut parent = self.sources[source].parent;
        while let Some((source, at)) = parent {
            included_from.push(self.place(source, at as usize));
            parent = self.sources[source].parent;
        }
        ReadError {
            message: fault.message,
            code,
            place,
            source_line: source_line.into(),
            caret,
            included_from: included_from.into(),
        }
    }
}
