//! What the limiter is told, in its maps.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapError};
use xdp_common::dns::name::hash;
use xdp_common::limit::list::flag;
use xdp_common::limit::policy::{Circumstances, MAX_POLICIES};
use xdp_common::limit::response_key::MAX_DEPTH;
use xdp_common::limit::{ListEntry, NameEntry, Rules};
use xdp_common::maps;

use super::load::LoadedPrograms;
use super::memory::Value;
use crate::ratelimit::limits::{Limits, Prefixes};
use crate::zone::Name;

/// What stands in the maps.
#[derive(Default)]
pub struct ListsInMaps {
    exempt: Prefixes,
    block: Prefixes,
    names: BTreeMap<u64, NameEntry>,
}

impl ListsInMaps {
    /// Brings the maps from what stands in them to what `limits` says, and puts into `config` what the programs
    /// must be told for it to count. Until they are told, the policies before are in force. What is not wanted
    /// any more is to be [cleared](ListsInMaps::clear) once they are.
    pub fn write(
        &mut self,
        loaded: &mut LoadedPrograms,
        limits: &Limits,
        circumstances: Circumstances,
        config: &mut maps::Config,
    ) -> anyhow::Result<()> {
        let names = names(limits, config.seed)?;
        set_prefixes(loaded, maps::EXEMPT, &mut self.exempt, limits.exempt_prefixes())?;
        set_prefixes(loaded, maps::BLOCK, &mut self.block, limits.blocked_prefixes())?;
        let mut map = HashMap::<_, u64, Value<NameEntry>>::try_from(loaded.map_mut(maps::NAMES)?)?;
        for (hash, entry) in &names {
            if self.names.get(hash) != Some(entry) {
                map.insert(hash, Value(*entry), 0).context("writing the map of names")?;
                self.names.insert(*hash, *entry);
            }
        }
        let half = MAX_POLICIES as u32;
        let at = if config.policies_at == 0 { half } else { 0 };
        let policies = [&limits.policy].into_iter().chain(limits.overrides.values());
        let mut map = Array::<_, Value<Rules>>::try_from(loaded.map_mut(maps::POLICY)?)?;
        for (place, policy) in (at..at + half).zip(policies) {
            map.set(place, Value(Rules::new(policy, circumstances)), 0)
                .context("writing a policy")?;
        }
        config.policies_at = at;
        config.limits = limits.bits();
        config.name_depths = depths(limits);
        Ok(())
    }

    /// Removes from the maps what is not wanted any more.
    pub fn clear(
        &mut self,
        loaded: &mut LoadedPrograms,
        limits: &Limits,
        seed: u64,
    ) -> anyhow::Result<()> {
        let names = names(limits, seed)?;
        clear_prefixes(loaded, maps::EXEMPT, &mut self.exempt, &limits.exempt_prefixes())?;
        clear_prefixes(loaded, maps::BLOCK, &mut self.block, &limits.blocked_prefixes())?;
        let mut map = HashMap::<_, u64, Value<NameEntry>>::try_from(loaded.map_mut(maps::NAMES)?)?;
        for hash in unwanted(&self.names, &names) {
            is_gone(map.remove(&hash)).context("clearing the map of names")?;
            self.names.remove(&hash);
        }
        Ok(())
    }
}

/// Keys of what is there and not wanted.
fn unwanted<K: Ord + Copy, V>(there: &BTreeMap<K, V>, wanted: &BTreeMap<K, V>) -> Vec<K> {
    there.keys().filter(|key| !wanted.contains_key(key)).copied().collect()
}

/// What was not there need not be removed.
fn is_gone(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        removed => removed,
    }
}

fn set_prefixes(
    loaded: &mut LoadedPrograms,
    name: &str,
    there: &mut Prefixes,
    wanted: Prefixes,
) -> anyhow::Result<()> {
    let mut map = LpmTrie::<_, [u8; 16], Value<ListEntry>>::try_from(loaded.map_mut(name)?)?;
    for (key, entry) in wanted {
        if there.get(&key) != Some(&entry) {
            let (prefix, address) = key;
            map.insert(&Key::new(prefix, address), Value(entry), 0)
                .with_context(|| format!("writing the map {name}"))?;
            there.insert(key, entry);
        }
    }
    Ok(())
}

fn clear_prefixes(
    loaded: &mut LoadedPrograms,
    name: &str,
    there: &mut Prefixes,
    wanted: &Prefixes,
) -> anyhow::Result<()> {
    let mut map = LpmTrie::<_, [u8; 16], Value<ListEntry>>::try_from(loaded.map_mut(name)?)?;
    for key in unwanted(there, wanted) {
        let (prefix, address) = key;
        is_gone(map.remove(&Key::new(prefix, address)))
            .with_context(|| format!("clearing the map {name}"))?;
        there.remove(&key);
    }
    Ok(())
}

/// Names by their hashes.
fn names(limits: &Limits, seed: u64) -> anyhow::Result<BTreeMap<u64, NameEntry>> {
    let mut names = BTreeMap::new();
    for (name, policy) in limits.overrides.keys().zip(1..) {
        let entry = NameEntry { flags: flag::POLICY, policy, ..NameEntry::default() };
        names.insert(hash_of(name, seed)?, entry);
    }
    for (name, block) in &limits.block_names {
        let entry: &mut NameEntry = names.entry(hash_of(name, seed)?).or_default();
        entry.flags |= block.entry().flags;
        entry.expires_s = block.until;
    }
    Ok(names)
}

fn hash_of(name: &Name, seed: u64) -> anyhow::Result<u64> {
    if name.label_count() > MAX_DEPTH {
        bail!("{name} has more than {MAX_DEPTH} labels, and a name in a list may not have more");
    }
    let wire = name.as_wire();
    let mut room = [0; size_of::<xdp_common::state::name::NameRoom>()];
    room[..wire.len()].copy_from_slice(wire);
    Ok(hash(&room, 0, wire.len(), seed))
}

/// The numbers of labels that listed names have, a bit for each.
fn depths(limits: &Limits) -> u32 {
    let names = limits.overrides.keys().chain(limits.block_names.keys());
    names.fold(0, |depths, name| depths | 1 << name.label_count().min(MAX_DEPTH))
}
