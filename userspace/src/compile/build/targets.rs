//! Where CNAMEs and DNAMEs lead.

use xdp_common::image::Address;
use xdp_common::image::node::flag;

use super::context::VersionContext;
use super::records::alias_key;
use super::state::Build;
use crate::compile::names;
use crate::compile::sorted::SortedList;
use crate::zone::{Owner, Rtype, name};

impl<'a> Build<'a, '_, '_> {
    /// Looks up what CNAMEs and DNAMEs point to. CNAMEs of a circle are the host's to follow: it knows which
    /// names it has left already.
    pub(super) fn resolve_targets(&mut self) {
        for place in 0..self.names.len() {
            if let Some(target) = self.target_of(place, Rtype::DNAME)
                && name::is_at_or_below(target, self.context.apex)
            {
                self.nodes[place].flags |= flag::CHASE;
            }
            let Some(target) = self.target_of(place, Rtype::CNAME) else { continue };
            match names::find(&self.names, target) {
                Some(found) => self.nodes[place].target = Some(found),
                // Below a cut, at a wildcard, or nowhere: the host looks.
                None if name::is_at_or_below(target, self.context.apex) => {
                    self.nodes[place].flags |= flag::CHASE;
                }
                None => {}
            }
        }
        // Every name is visited once; what a walk comes back to is where its circle closes.
        let mut walked_from = vec![None; self.names.len()];
        for start in 0..self.names.len() {
            let mut at = Some(start);
            while let Some(place) = at.filter(|&place| walked_from[place].is_none()) {
                walked_from[place] = Some(start);
                at = self.nodes[place].target;
            }
            while let Some(place) = at.filter(|&place| walked_from[place] == Some(start)) {
                self.nodes[place].flags |= flag::CHASE;
                at = self.nodes[place].target.take();
            }
        }
    }

    /// Which nodes lead to which names in the zone.
    pub(super) fn aliases(&self) -> SortedList<(u32, Address)> {
        if self.context.is_partial {
            return SortedList::default();
        }
        let mut aliases = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            let target = match node.flags & flag::CNAME {
                0 => None,
                _ => self.target_of(place, Rtype::CNAME),
            };
            let inside = target.filter(|target| name::is_at_or_below(target, self.context.apex));
            aliases
                .extend(inside.map(|target| (alias_key(target, self.context.seed), node.address)));
        }
        aliases.sort_unstable();
        SortedList::of(&aliases)
    }

    /// Which zone cuts have which name servers elsewhere in the zone.
    pub(super) fn hosts(&self) -> SortedList<(u32, Address)> {
        let mut hosts = Vec::new();
        for (existing, node) in self.names.iter().zip(&self.nodes) {
            let cut = existing.owner.filter(|_| existing.is_cut && !self.context.is_partial);
            let keys = cut.into_iter().flat_map(|cut| self.context.host_keys(&cut));
            hosts.extend(keys.map(|key| (key, node.address)));
        }
        hosts.sort_unstable();
        hosts.dedup();
        SortedList::of(&hosts)
    }

    pub(super) fn target_of(&self, place: usize, rtype: Rtype) -> Option<&'a [u8]> {
        self.names[place].owner?.rrset(rtype)?.rdatas().next()
    }
}

impl<'a> VersionContext<'a> {
    /// The keys of the name servers of a zone cut that are in the zone, and not at or below the cut.
    pub(super) fn host_keys(&self, cut: &Owner<'a>) -> impl Iterator<Item = u32> + use<'a> {
        let (apex, seed, cut_name) = (self.apex, self.seed, cut.name());
        let servers = cut.rrset(Rtype::NS).into_iter().flat_map(|servers| servers.rdatas());
        let is_elsewhere = move |server: &&[u8]| {
            name::is_at_or_below(server, apex) && !name::is_at_or_below(server, cut_name)
        };
        servers.filter(is_elsewhere).map(move |server| alias_key(server, seed))
    }
}
