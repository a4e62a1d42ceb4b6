//! Proofs with NSEC (RFC 4034 section 4).

use super::records::first_label;
use super::state::Build;

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
}
