//! Capabilities: what a process that stays root keeps of them (capabilities(7)).

use anyhow::Context;
use caps::{CapSet, Capability};

/// Gives up every capability but these, for good, and the way to get any back.
///
/// To be called before threads are started: capabilities belong to a thread.
pub fn keep_only(kept: &[Capability]) -> anyhow::Result<()> {
    let has = caps::read(None, CapSet::Permitted)?;
    if has.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::all().into_iter().filter(|one| !kept.contains(one)) {
            // One that this kernel does not know is not there.
            if caps::has_cap(None, CapSet::Bounding, capability).unwrap_or(false) {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
    }
    let kept = has.into_iter().filter(|one| kept.contains(one)).collect();
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).context("giving up capabilities")?;
    }
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).context("giving up capabilities")?;
    }
    nix::sys::prctl::set_no_new_privs().context("giving up new privileges")
}
