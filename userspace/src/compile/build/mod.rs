//! A zone compiled: its nodes, pieces and gap indexes written into the slab.
//!
//! Nothing refers to what lies outside the zone's own records, so that a version of a zone is whole in
//! itself: an answer that starts at one of its nodes is right for its serial. What it has in common with
//! the version before lies where it lay, and is of both.

mod changed;
mod children;
mod context;
mod division;
mod drafts;
mod farewell;
mod incremental;
mod nsec;
mod nsec3;
mod pieces;
mod records;
mod state;
mod targets;
mod writer;

use std::collections::BTreeSet;

use xdp_common::image::zone::{self as zone_record, denial};
use xdp_common::image::{Address, UNIT};

use super::error::{CompileError, Unsendable};
use super::memory::Memory;
use super::names;
use super::reuse::PreviousNodes;
use super::slab::{Extent, Slab};
use super::sorted::SortedList;
use super::version::{Compiled, CompiledZone};
use crate::zone::{Name, Zone, name};
use farewell::farewell_copies;
pub use incremental::{ChangeInput, CompiledChange, compile_change};
pub use records::node_head;
use records::put32;
use state::Build;
use writer::Writer;

/// How many addresses of zone records are gathered before those that are the same are dropped.
const GATHERED_RECORDS: usize = 1 << 16;

/// Writes a zone into the slab, but for what is there already of the version before. On an error the
/// caller takes the slab back to what it was; if there is no room, [`CompileError::Full`] says how much
/// there must be.
///
/// With `part` only these names are in it, and the apex, as nodes from which nothing follows but what they
/// say themselves ([`flag::PARTIAL`](xdp_common::image::node::flag::PARTIAL)).
///
/// What no message can carry is added to `unsendable`. `now` is seconds since 1970 truncated to 32 bits: of
/// signatures that hold at different times it says which.
#[expect(clippy::too_many_arguments, reason = "two callers, and each is another thing")]
pub fn compile(
    zone: &Zone,
    part: Option<&BTreeSet<Name>>,
    older: Option<&CompiledZone>,
    seed: u64,
    now: u32,
    slab: &mut Slab,
    memory: &dyn Memory,
    unsendable: &mut Vec<Unsendable>,
) -> Result<Compiled, CompileError> {
    let mut writer = Writer { slab, memory, extents: Vec::new(), full: false };
    let older_walk = PreviousNodes::new(older, memory);
    let build = Build::new(zone, part, older_walk, seed, now, &mut writer);
    let result = build.and_then(|mut build| {
        let built = build.run()?;
        unsendable.append(&mut build.context.unsendable.into_inner());
        unsendable.sort();
        unsendable.dedup();
        Ok(built)
    });
    let Writer { mut extents, full, slab, .. } = writer;
    let failed = match result {
        Ok((compiled, _)) if full => {
            let (slab_end, names) = (slab.high_water(), compiled.zone.nodes.len());
            CompileError::Full { slab_end, names }
        }
        Ok((mut compiled, mut used)) => {
            extents.sort_unstable_by_key(|extent| extent.address);
            used.sort_unstable();
            let is_used = |extent: &Extent| used.binary_search(&extent.address).is_ok();
            let before = older.into_iter().flat_map(|older| older.extents.iter());
            let (mut kept, retired): (Vec<Extent>, _) = before.partition(|extent| is_used(extent));
            compiled.retired = retired;
            let (new, needless): (Vec<Extent>, _) = extents.iter().partition(|one| is_used(one));
            compiled.fresh = new.len();
            compiled.retired.extend::<Vec<Extent>>(needless);
            kept.extend(new);
            kept.sort_unstable_by_key(|extent| extent.address);
            compiled.zone.extents = SortedList::of(&kept);
            let octets = kept.iter().map(|extent| extent.len as usize);
            compiled.zone.octets = octets.map(|octets| octets.next_multiple_of(UNIT)).sum();
            compiled.zone.is_partial = part.is_some();
            compiled.taken = extents;
            return Ok(compiled);
        }
        Err(error) => error,
    };
    Err(failed)
}

impl Build<'_, '_, '_> {
    /// The version, and the addresses of all that it uses.
    fn run(&mut self) -> Result<(Compiled, Vec<Address>), CompileError> {
        if self.context.denial == denial::NSEC3 {
            self.hashed_names()?;
        }
        for place in 0..self.names.len() {
            self.node(place);
        }
        self.older.finish();
        self.resolve_targets();
        match self.context.denial {
            denial::NSEC => self.nsec_proofs(),
            denial::NSEC3 => self.nsec3_proofs(),
            _ => {}
        }
        self.wildcards();
        self.take_nodes();
        self.children();
        let zone = self.writer.take(zone_record::LEN);
        let soa = self.context.negative_soa()?;
        let soa = self.place(&soa, self.older.soa());
        let chain = self.hash_index()?;
        let mut record = [0u8; zone_record::LEN];
        put32(&mut record, zone_record::at::SOA, soa);
        put32(&mut record, zone_record::at::CHAIN, chain);
        record[zone_record::at::DENIAL] = self.context.denial_said();
        record[zone_record::at::APEX_LEN] = self.context.apex.len() as u8;
        record[zone_record::at::LABELS] = name::labels(self.context.apex).count() as u8;
        put32(&mut record, zone_record::at::SERIAL, self.zone.serial().0);
        self.writer.write(zone, &record);

        let mut compiled = Compiled {
            heading: (u64::from(soa) | u64::from(chain) << 32, self.zone.serial().0),
            max_labels: names::max_labels(&self.names),
            gone: std::mem::take(&mut self.older.gone),
            ..Compiled::default()
        };
        let (mut records, mut nodes) = (Vec::new(), Vec::with_capacity(self.nodes.len()));
        for place in 0..self.nodes.len() {
            let node = &self.nodes[place];
            let (address, older) = (node.address, node.older);
            if address == older {
                records.extend(self.older.slab.node(older).map(|(node, _)| node.zone()));
            } else {
                let record = self.record_of(place, zone);
                self.writer.write(address, &record);
                compiled.written.push(address);
                records.push(zone);
                compiled.replaced.extend(Some(older).filter(|&older| older != 0));
            }
            nodes.push(address);
            if records.len() > GATHERED_RECORDS {
                records.sort_unstable();
                records.dedup();
            }
        }
        records.sort_unstable();
        records.dedup();
        // With NSEC what is said of a name that is gone is its encloser's, which was written anew. Else
        // the zone record must say that it is gone before it goes.
        if self.context.denial_said() != denial::NSEC
            && records.iter().any(|&record| record != zone)
        {
            let octets = self.older.zone_octets().unwrap_or_default();
            let copies = farewell_copies(&compiled.gone, octets, self.older.slab, self.writer);
            compiled.gone_copies = copies.nodes;
        }
        compiled.zone.nodes = SortedList::of(&nodes);
        compiled.zone.aliases = self.aliases();
        compiled.zone.hosts = self.hosts();
        compiled.zone.by_hash = self.by_hash();
        compiled.zone.dependents = self.nodes.iter().filter(|node| node.is_dependent()).count();
        self.used.extend(nodes);
        self.used.extend(&records);
        compiled.zone.records = records;
        Ok((compiled, std::mem::take(&mut self.used)))
    }
}
