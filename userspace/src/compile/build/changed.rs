//! Which nodes are written: those that are not as the version before has them, and those that refer to one.

use xdp_common::image::node::{self, flag};
use xdp_common::image::zone::denial;

use super::records::{first_label, node_len};
use super::state::Build;

impl Build<'_, '_, '_> {
    pub(super) fn wildcards(&mut self) {
        for place in 0..self.names.len() {
            let children = &self.names[place].children;
            let star = children.binary_search_by(|&child| {
                first_label(self.names[child as usize].wire).cmp(b"*".as_slice())
            });
            self.nodes[place].wildcard = star.ok().map(|found| children[found] as usize);
        }
    }

    /// Takes room for the nodes that are not as they were, and for those that refer to one.
    pub(super) fn take_nodes(&mut self) {
        let mut sources: Vec<(usize, usize)> = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            sources.extend(node.target.map(|target| (target, place)));
        }
        sources.sort_unstable();
        let mut moved: Vec<usize> = (0..self.nodes.len())
            .filter(|&place| self.nodes[place].address != 0 || !self.is_same(place))
            .collect();
        let mut is_moved = vec![false; self.nodes.len()];
        moved.iter().for_each(|&place| is_moved[place] = true);
        while let Some(place) = moved.pop() {
            let mut also = |place: usize| {
                if !std::mem::replace(&mut is_moved[place], true) {
                    moved.push(place);
                }
            };
            let parent = self.names[place].parent;
            if self.context.denial == denial::NSEC || self.nodes[parent].wildcard == Some(place) {
                also(parent);
            }
            let first = sources.partition_point(|&(target, _)| target < place);
            let referring = sources[first..].iter().take_while(|(target, _)| *target == place);
            referring.for_each(|&(_, source)| also(source));
        }
        for (place, is_moved) in is_moved.into_iter().enumerate() {
            let node = &self.nodes[place];
            if !is_moved {
                self.nodes[place].address = node.older;
            } else if node.address == 0 {
                let len = node_len(self.names[place].wire, node.types.len());
                self.nodes[place].address = self.writer.take(len);
            }
        }
    }

    /// Whether a node is as the version before has it, but for where the nodes are that it refers to.
    pub(super) fn is_same(&self, place: usize) -> bool {
        let node = &self.nodes[place];
        let Some((older, window)) = self.older.slab.node(node.older) else { return false };
        if !self.older.fits(self.context.denial_said()) {
            return false;
        }
        let mut record = self.record_of(place, older.zone());
        let mut references = vec![(node::at::WILDCARD, node.wildcard.is_some())];
        references.push((node::at::CHILDREN, self.child_count(place) > 0));
        if node.flags & flag::CNAME != 0 {
            references.push((node::at::GLUE, node.target.is_some()));
        }
        for (at, is_there) in references {
            let is_known = window[at..at + 4] != [0; 4];
            if is_known != is_there {
                return false;
            }
            record[at..at + 4].copy_from_slice(&window[at..at + 4]);
        }
        // Which blocks it has follows from its children and from the blocks that it had.
        let shape = node::at::CHILDREN_SHAPE;
        record[shape..shape + 2].copy_from_slice(&window[shape..shape + 2]);
        window.starts_with(&record)
    }
}
