//! What the kernel would send of a zone, checked as the maps hold it now: that records are whole, that names are
//! found where the table says, that every reference leads where it should, and that a validator would accept
//! what the pieces say.
//!
//! The memory is read in slices, between which versions may change: who publishes waits for one slice at most.
//! Signatures are checked on a copy of what was read, by one thread.

use std::sync::PoisonError;

use xdp_common::engine::find::CUT_BESIDE_APEX;
use xdp_common::image::children::Block;
use xdp_common::image::node::flag;
use xdp_common::image::zone::{self as zone_record, denial};
use xdp_common::image::{Address, TOMBSTONE};

use super::super::memory::{Memory, window};
use super::super::reader::Reader;
use super::super::version::Listing;
use super::nodes::NodeRecord;
use super::records::{PieceFault, Record, record};
use super::relations;
use super::survey::Survey;
pub use super::survey::{Findings, MAX_PROBLEMS, Problem, shown};
use crate::dnssec::lasting::Signers;
use crate::dnssec::verify::verify as verify_zone;
use crate::zone::{Name, Rtype, Serial, Soa, Zone, ZoneBuilder, canonical_order};

/// Names or entries that are looked at while the publisher waits: under a millisecond.
const SLICE: usize = 64;

/// A check of one of many things.
type Check = fn(&mut Survey<'_>, usize);

/// Checks the version of a zone that consists of these nodes. `None` if another has taken its place meanwhile.
/// `now` is seconds since 1970, truncated to 32 bits.
pub fn verify(reader: &Reader, apex: &Name, listing: &Listing, now: u32) -> Option<Findings> {
    let memory = &**reader.memory();
    let mut survey = Survey::new(memory, reader.key(), apex, listing);
    let gate = reader.gate();
    let reading = |survey: &mut Survey<'_>, read: &mut dyn FnMut(&mut Survey<'_>)| {
        let _reading = gate.read().unwrap_or_else(PoisonError::into_inner);
        survey.is_current().then(|| read(survey))
    };
    let in_slices = |survey: &mut Survey<'_>, count: usize, check: Check| {
        for start in (0..count).step_by(SLICE) {
            reading(survey, &mut |survey| {
                (start..count.min(start + SLICE)).for_each(|place| check(survey, place));
            })?;
        }
        Some(())
    };
    in_slices(&mut survey, listing.nodes.len(), |survey, place| survey.node(place))?;
    in_slices(&mut survey, 1, |survey, _| survey.zone())?;
    let range_count = survey.range_count;
    in_slices(&mut survey, range_count, relations::hashed)?;
    survey.names.sort_by(|a, b| canonical_order(&a.wire, &b.wire));
    survey.positions = relations::positions(&survey.names);
    let names = survey.names.len();
    in_slices(&mut survey, names, relations::check)?;
    if survey.denial == denial::NSEC {
        in_slices(&mut survey, names, relations::check_child)?;
    }
    in_slices(&mut survey, range_count, relations::check_before)?;
    // What was read while it went is of two versions.
    survey.is_current().then(|| survey.finish(now))
}

/// Checks that every entry of the table is in a bucket where its name is looked for, and leads to a node with
/// the hash that its tag is of. Only the entries: whose names they should be is a matter of the zones.
pub fn verify_table(reader: &Reader) -> Vec<Problem> {
    let memory = &**reader.memory();
    let gate = reader.gate();
    let mut problems = Vec::new();
    for start in (0..memory.bucket_count()).step_by(SLICE) {
        let _reading = gate.read().unwrap_or_else(PoisonError::into_inner);
        for index in start..memory.bucket_count().min(start + SLICE) {
            for slot in memory.bucket(index) {
                if let Some(problem) = entry_problem(memory, reader.key(), index, slot) {
                    let name = format!("(bucket {index})");
                    problems.push(Problem { name, part: "table".into(), problem });
                }
            }
        }
    }
    problems.truncate(MAX_PROBLEMS);
    problems
}

fn entry_problem(memory: &dyn Memory, seed: u64, index: usize, slot: u64) -> Option<String> {
    if slot == 0 || slot == TOMBSTONE {
        return None;
    }
    let node = match NodeRecord::read(memory, slot as Address, seed) {
        Ok(node) => node,
        Err(fault) => return Some(format!("entry {slot:#018x}: the node: {fault}")),
    };
    if (node.is(flag::VIRTUAL) || node.zone == 0) && !is_bare(&node) {
        return Some(format!(
            "{} belongs to no zone, and has more than its name",
            shown(&node.wire)
        ));
    }
    let is_home = |place: u64| {
        let probes = index.wrapping_sub(place as usize) & (memory.bucket_count() - 1);
        place >> 32 == slot >> 32 && probes < xdp_common::image::MAX_PROBES
    };
    let is_found =
        is_home(node.hash) || (node.is(flag::CUT) && is_home(node.hash ^ CUT_BESIDE_APEX));
    (!is_found)
        .then(|| format!("entry {slot:#018x}: {} is not looked for there", shown(&node.wire)))
}

/// Whether a node is nothing but a name above the apexes of zones.
fn is_bare(node: &NodeRecord) -> bool {
    let references =
        [node.zone, node.otherwise, node.glue, node.optional_glue, node.wildcard, node.any];
    let proofs = [node.encloser_match, node.wildcard_cover, node.first_cover, node.last_cover];
    let mut all = references.iter().chain(&proofs).chain(&node.proofs);
    node.flags == flag::VIRTUAL
        && node.types.is_empty()
        && (node.children, node.child_count) == (Block::default(), 0)
        && all.all(|address| *address == 0)
}

impl Survey<'_> {
    //--- The zone's record and its NSEC3 index

    /// Checks the zone's record, and notes how long its NSEC3 index is.
    fn zone(&mut self) {
        let apex = self.apex.as_wire();
        let version = self.version;
        let Some(octets) = record(self.memory, version, zone_record::LEN) else {
            return self.problem(apex, "zone", "its record is outside the slab");
        };
        let labels = usize::from(octets[zone_record::at::LABELS]);
        let reserved = octets[zone_record::at::LABELS + 1];
        let serial: [u8; 4] = std::array::from_fn(|at| octets[zone_record::at::SERIAL + at]);
        let Some(zone) = window(self.memory, version).map(zone_record::Zone::new) else { return };
        self.denial = zone.denial();
        let is_of_apex =
            usize::from(zone.apex_len()) == apex.len() && labels == self.apex.label_count();
        if !is_of_apex || reserved != 0 {
            self.problem(apex, "zone", "its record is not of this zone");
        }
        let negative = self.piece(apex, "SOA of negative answers", zone.soa(), apex);
        let at_apex = self.names.first().map_or(0, |node| node.piece(Rtype::SOA.0));
        let positive = self.piece(apex, "SOA", at_apex, apex);
        let is_same = |(a, b): (&Record, &Record)| {
            (&a.owner, a.rtype, &a.rdata, a.needs_dnssec)
                == (&b.owner, b.rtype, &b.rdata, b.needs_dnssec)
        };
        if negative.len() != positive.len() || !negative.iter().zip(&positive).all(is_same) {
            self.problem(apex, "SOA of negative answers", "it is not that of the apex");
        }
        if let (Some(negative), Some(positive)) = (negative.first(), positive.first()) {
            let soa = Soa::parse(&positive.rdata);
            let ttl = soa.map_or(0, |soa| soa.minimum).min(positive.ttl);
            if negative.ttl != ttl {
                self.problem(apex, "SOA of negative answers", format!("its TTL is not {ttl}"));
            }
            if soa.map(|soa| soa.serial) != Some(Serial(u32::from_le_bytes(serial))) {
                self.problem(apex, "zone", "its serial is not the SOA's");
            }
        }
        let has_index = self.denial == denial::NSEC3;
        let is_there = match has_index {
            true => self.hash_index().is_some() && self.has_parameters(),
            false => zone.chain() == 0,
        };
        if !is_there {
            return self.problem(
                apex,
                "NSEC3 index",
                "it is outside the slab, or not of this zone",
            );
        }
        self.range_count = self.hash_index().map_or(0, |index| index.range_count() as usize);
    }

    //--- What a validator says

    fn finish(mut self, now: u32) -> Findings {
        relations::check_zone(&mut self);
        let builder = std::mem::replace(&mut self.builder, ZoneBuilder::new(self.apex.clone()));
        let zone = builder.finish().and_then(|zone| match self.has_any_answers {
            false => Ok(zone),
            true => {
                let mut any_answers =
                    std::mem::replace(&mut self.any_answers, ZoneBuilder::new(self.apex.clone()));
                // Without an SOA it would be no zone.
                any_answers.copy(&zone, |_, rrset| rrset.rtype() == Rtype::SOA)?;
                Ok(zone.with_any_answers(any_answers.finish()?))
            }
        });
        let zone = match zone {
            Ok(zone) => zone,
            Err(error) => {
                self.problem(self.apex.as_wire(), "zone", error);
                return self.findings;
            }
        };
        // Without a denial of names a zone is not signed: nothing is held of it that could be verified.
        if self.denial != denial::NONE {
            self.validate(&zone, now);
        }
        self.check_ends(&zone, now);
        self.findings.problems.sort();
        self.findings
    }

    /// Whether pieces are sent until as long as their signatures hold, and no longer.
    fn check_ends(&mut self, zone: &Zone, now: u32) {
        let signers = Signers::of(zone);
        for (owner, rtype, said) in std::mem::take(&mut self.ends) {
            let held = |zone: &Zone| {
                let at = zone.find(&owner)?;
                signers.until(&at, &at.rrset(rtype)?, now)
            };
            let is = held(zone).or_else(|| zone.any_answers().and_then(held));
            // Of what has ended another signature may have begun since it was published.
            let is_sent = Serial(said).since(Serial(now)) >= 0;
            if let Some(is) = is.filter(|is| is_sent && *is != said) {
                self.problem(&owner, rtype, PieceFault::NotAfter { stored: said, is });
            }
        }
    }

    fn validate(&mut self, zone: &Zone, now: u32) {
        // Answers need the other cores.
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let verified = match alone {
            Ok(pool) => pool.install(|| verify_zone(zone, now)),
            Err(_) => verify_zone(zone, now),
        };
        match verified {
            Ok(report) => self.findings.signed_rrsets = report.rrsets,
            Err(faults) => {
                for fault in faults {
                    self.problem(fault.owner.as_wire(), fault.rtype, fault.reason);
                }
            }
        }
    }
}
