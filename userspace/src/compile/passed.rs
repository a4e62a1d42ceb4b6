//! In front of another server: zones that are in the image, and passed on to that until it is said that they are answered.
//!
//! Whether it is passed on stands in the record of a zone, which all of its names lead to: so it takes no walk over the zone.

use std::collections::BTreeSet;

use xdp_common::image::zone as zone_record;
use xdp_common::image::{Address, UNIT};

use super::image::Image;
use crate::zone::Name;

impl Image {
    /// Another server answers for zones from now on until [`Image::set_answered`] says otherwise: what is published of them
    /// is there, and not sent. To be called before anything is published.
    pub fn stand_in_front(&mut self) {
        self.answered = Some(BTreeSet::new());
    }

    /// In front of another server, answers for a zone from now on, or passes queries for its names on. That takes a store
    /// for each of its zone records, however large it is.
    pub fn set_answered(&mut self, apex: &Name, is_answered: bool) {
        let Some(answered) = &mut self.answered else { return };
        match is_answered && self.zones.contains_key(apex) {
            true => answered.insert(apex.clone()),
            false => answered.remove(apex),
        };
        // CNAME and DNAME lead from zones above into it.
        let mut at = Some(apex.clone());
        while let Some(zone) = at {
            self.tell_passed(&zone);
            at = zone.parent();
        }
    }

    /// Whether queries are passed on for names of a zone that is published, or of this one, which is about to be.
    pub fn passes_zones(&self, next: Option<&Name>) -> bool {
        self.answered.as_ref().is_some_and(|answered| {
            answered.len() < self.zones.len() || next.is_some_and(|next| !answered.contains(next))
        })
    }

    fn is_passed(&self, apex: &Name) -> bool {
        let Some(answered) = &self.answered else { return false };
        let below = self.zones.range::<Name, _>(apex..).map(|(zone, _)| zone);
        !answered.contains(apex)
            || below
                .take_while(|zone| zone.is_at_or_below(apex))
                .any(|zone| !answered.contains(zone))
    }

    /// Writes into the zone records of the version that is published whether queries for its names are passed on.
    pub(super) fn tell_passed(&self, apex: &Name) {
        let Some(zone) = self.zones.get(apex) else { return };
        self.tell_passed_in(apex, &zone.records);
    }

    /// The same for these zone records.
    pub(super) fn tell_passed_in(&self, apex: &Name, records: &[Address]) {
        if self.answered.is_none() {
            return;
        }
        let is_passed = self.is_passed(apex);
        const { assert!(zone_record::at::SERIAL.is_multiple_of(8)) };
        const { assert!(zone_record::at::PASSED == zone_record::at::SERIAL + 7) };
        for &record in records {
            let at = record as usize * UNIT + zone_record::at::SERIAL;
            let word = self.memory.read(at, 8).and_then(|octets| octets.first_chunk::<8>());
            let Some(&(mut word)) = word else { continue };
            word[7] = is_passed.into();
            self.memory.replace(at, u64::from_le_bytes(word));
        }
    }
}
