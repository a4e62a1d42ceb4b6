//! A difference of a zone that is published compiled into what changes in the slab, without a walk over the zone.
//!
//! A name that changes gets a new node by the same code that compiles whole zones, so that the octets are the same. What
//! else refers to the node that it had is found through what is kept of the zone, and is told the new address by one
//! store: each of these places says the same whichever of the two it leads to.
//!
//! | file | what |
//! |---|---|
//! | `input.rs` | what a change is compiled from, and what comes out |
//! | `changes.rs` | which names change, and whether this can be done here at all |
//! | `nodes.rs`, `drafted.rs` | their nodes, and the places that lead to them |
//! | `surroundings.rs` | the proofs in them |
//! | `chain.rs`, `merged.rs` | with NSEC3, which records of the chain change, and its index |
//! | `children.rs` | with NSEC, the indexes of children |

mod chain;
mod changes;
mod children;
mod drafted;
mod input;
mod merged;
mod nodes;
mod surroundings;

use xdp_common::image::UNIT;
use xdp_common::image::zone::{self as zone_record, denial};

use super::context::{Source, VersionContext};
use super::farewell::farewell_copies;
use super::records::put32;
use super::writer::Writer;
use crate::compile::error::{ChangeError, CompileError, WholeReason};
use crate::compile::memory::window;
use crate::compile::reuse::SlabRecords;
use crate::compile::slab::Slab;
use crate::zone::Serial;
use changes::changes;
use input::Change;
pub use input::{ChangeInput, CompiledChange};
use merged::MergedChain;

/// Writes into the slab what changes. On an error the caller takes the slab back to what it was.
pub fn compile_change<'a>(
    input: &'a ChangeInput<'a>,
    slab: &'a mut Slab,
) -> Result<CompiledChange, ChangeError> {
    let mut writer = Writer { slab, memory: input.memory, extents: Vec::new(), full: false };
    let context = VersionContext::new(Source::Version(input.new), false, input.seed, input.now)
        .map_err(|error| ChangeError::Publish(error.into()))?;
    let compiled = CompiledChange::default();
    let slab = SlabRecords::new(input.memory);
    let chain = MergedChain::default();
    let mut change = Change { input, context, slab, writer: &mut writer, compiled, chain };
    change.run()?;
    let mut compiled = change.compiled;
    if !change.context.unsendable.borrow().is_empty() {
        return Err(WholeReason::Unsendable.into());
    }
    if writer.full {
        let (slab_end, names) = (writer.slab.high_water(), compiled.written.len());
        return Err(ChangeError::Publish(CompileError::Full { slab_end, names }.into()));
    }
    compiled.taken = writer.extents;
    Ok(compiled)
}

impl<'a> Change<'a, '_> {
    fn run(&mut self) -> Result<(), ChangeError> {
        let input = self.input;
        let zone = self.zone_record().ok_or(WholeReason::OtherVersion)?;
        if Serial(zone.serial()) != input.difference.old_serial()
            || input.new.serial() != input.difference.new_serial()
        {
            return Err(WholeReason::OtherVersion.into());
        }
        if zone.denial() != self.context.denial {
            return Err(WholeReason::Denial.into());
        }
        let mut dependent = Vec::new();
        if self.context.denial == denial::NSEC3 {
            self.chain = self.changed_chain()?;
            dependent = self.names_of(&self.chain)?;
        }
        let changed = changes(input, self.context.denial, self.context.seed, dependent)?;
        self.compiled.record = self.writer.take(zone_record::LEN);
        self.nodes(changed)?;
        self.write_zone_record(zone)?;
        // With NSEC the name above a name that goes denies it.
        if self.context.denial != denial::NSEC {
            let octets = self.zone_octets();
            let copies = farewell_copies(&self.compiled.gone, octets, self.slab, self.writer);
            self.compiled.unused.extend(copies.nodes.iter().copied());
            self.compiled.unused.extend(Some(copies.zone).filter(|zone| *zone != 0));
            self.compiled.gone_copies = copies.nodes;
        }
        Ok(())
    }

    /// One of the zone records of the version that is published, which all say the same.
    fn zone_record(&self) -> Option<zone_record::Zone<'a>> {
        let address = *self.input.older.records.first()?;
        window(self.input.memory, address).map(zone_record::Zone::new)
    }

    /// Its octets.
    fn zone_octets(&self) -> &'a [u8] {
        let at = self.input.older.records.first().copied().unwrap_or(0) as usize * UNIT;
        self.input.memory.read(at, zone_record::LEN).unwrap_or_default()
    }

    fn write_zone_record(&mut self, older: zone_record::Zone<'_>) -> Result<(), ChangeError> {
        let negative =
            self.context.negative_soa().map_err(|error| ChangeError::Publish(error.into()))?;
        let soa = if self.slab.holds(older.soa(), &negative) {
            older.soa()
        } else {
            self.compiled.unused.push(older.soa());
            self.writer.place(&negative)
        };
        let chain = self.chain_root()?;
        let serial = self.input.new.serial().0;
        let mut record = self.zone_octets().to_vec();
        put32(&mut record, zone_record::at::SOA, soa);
        put32(&mut record, zone_record::at::CHAIN, chain);
        put32(&mut record, zone_record::at::SERIAL, serial);
        self.writer.write(self.compiled.record, &record);
        self.compiled.unused.push(self.compiled.record);
        self.compiled.heading = (u64::from(soa) | u64::from(chain) << 32, serial);
        Ok(())
    }
}
