//! Indexes of children as they lie in memory: which blocks one consists of.

use xdp_common::image::Address;
use xdp_common::image::children::{
    Block, MAX_BRANCH, MAX_DEPTH, MAX_LEAF, MAX_ROOT, REFERENCE_LEN,
};

/// The blocks of the index of so many children, the leaves first, the root last. `None` if they cannot be read, or are
/// not such blocks as they should be. What their entries say is not looked at.
pub fn levels<'a>(
    root: Block,
    children: u32,
    read: impl Fn(Address, usize) -> Option<&'a [u8]>,
) -> Option<Vec<Vec<Block>>> {
    if root == Block::default() {
        return (children == 0).then(Vec::new);
    }
    let may_be_root = if root.depth == 0 { 1..=MAX_LEAF } else { 2..=MAX_ROOT };
    if !may_be_root.contains(&(root.entries as usize)) || root.depth as usize > MAX_DEPTH {
        return None;
    }
    let mut levels = vec![vec![root]];
    for depth in (0..root.depth).rev() {
        let most = if depth == 0 { MAX_LEAF } else { MAX_BRANCH };
        let mut below = Vec::new();
        for block in levels.last()? {
            let octets = read(block.address, block.octets())?;
            let references = &octets[octets.len() - block.entries as usize * REFERENCE_LEN..];
            for reference in references.chunks_exact(REFERENCE_LEN) {
                let (address, rest) = reference.split_first_chunk()?;
                let [low, high, 0, 0] = *rest else { return None };
                let one = Block::new(u32::from_le_bytes(*address), u16::from_le_bytes([low, high]));
                if one.depth != depth || !(1..=most).contains(&(one.entries as usize)) {
                    return None;
                }
                below.push(one);
            }
            if below.len() > children as usize {
                return None;
            }
        }
        levels.push(below);
    }
    let leaves = levels.last()?;
    let is_complete = leaves.iter().map(|leaf| u64::from(leaf.entries)).sum::<u64>()
        == u64::from(children)
        && leaves.iter().all(|leaf| read(leaf.address, leaf.octets()).is_some());
    levels.reverse();
    is_complete.then_some(levels)
}
