//! Proofs with NSEC (RFC 4034 section 4), and the indexes of children in which they are searched.

use super::records::{first_label, label_key, push_entry};
use super::state::{Build, PlacedNode};
use crate::compile::memory::ENTRY_LEN;
use xdp_common::image::zone::denial;

impl Build<'_, '_, '_> {
    /// Gives every name the NSEC that denies its types, what covers names before its first child, and
    /// the last NSEC at or below it.
    pub(super) fn nsec_proofs(&mut self) {
        // An empty non-terminal has no NSEC; the one before it covers it.
        let mut before = 0;
        for node in &mut self.nodes {
            if node.proofs[0] != 0 {
                before = node.proofs[0];
            }
            node.proofs[0] = before;
            node.first_cover = before;
        }
        for place in 0..self.nodes.len() {
            let last = self.names[place].end - 1;
            self.nodes[place].last_cover = self.nodes[last].first_cover;
        }
        for place in 0..self.nodes.len() {
            let children = &self.names[place].children;
            let star = children.partition_point(|&child| {
                first_label(self.names[child as usize].wire) < b"*".as_slice()
            });
            self.nodes[place].wildcard_cover = match star.checked_sub(1) {
                Some(before) => self.nodes[children[before] as usize].last_cover,
                None => self.nodes[place].first_cover,
            };
        }
    }

    /// With NSEC writes the index of children of each name, unless it is there.
    pub(super) fn children(&mut self) {
        if self.context.denial_said() != denial::NSEC {
            return;
        }
        for place in 0..self.names.len() {
            let children = &self.names[place].children;
            if children.is_empty() {
                continue;
            }
            let PlacedNode { address, older, .. } = self.nodes[place];
            let known = self.older.slab.node(older).filter(|_| older != 0);
            let known = known.map_or(0, |(node, _)| node.children().0);
            let count = children.len() as u32;
            if address == older {
                self.used.push(known);
                self.nodes[place].children = (known, count);
                continue;
            }
            let mut index = Vec::with_capacity(children.len() * ENTRY_LEN);
            for &child in children {
                let label = first_label(self.names[child as usize].wire);
                push_entry(&mut index, label_key(label), self.nodes[child as usize].address);
            }
            self.nodes[place].children = (self.place(&index, known), count);
        }
    }
}
