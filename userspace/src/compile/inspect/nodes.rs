//! Nodes read back: what stands in the record of a name, and whether the record is whole.

use xdp_common::image::children::Block;
use xdp_common::image::node::{self, Node, at, flag};
use xdp_common::image::{Address, UNIT};

use super::super::memory::{Memory, window};
use super::super::table::node_hash;
use super::records::record;
use crate::zone::name;

/// All flags that there are.
const FLAGS: u16 = flag::APEX
    | flag::CUT
    | flag::DNAME
    | flag::CNAME
    | flag::VIRTUAL
    | flag::CHASE
    | flag::NO_NSEC3
    | flag::PARTIAL;

/// What is wrong with a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences say it")]
pub enum NodeFault {
    #[error("no node can be at its address {0:#x}")]
    Outside(Address),
    #[error("its name is not a valid name in lower case")]
    Name,
    #[error("it counts {found} labels, and its name has {is}")]
    Labels { found: usize, is: usize },
    #[error("the hash in it is not that of its name")]
    Hash,
    #[error("the flag bits {0:#06x} are not known")]
    Flags(u16),
    #[error("it has more types than a node can have, or one of them twice")]
    Types,
    #[error("it has more types than a node has room for: queries for it are answered SERVFAIL")]
    TooManyTypes,
    #[error("unused octets are not zero")]
    Unused,
}

/// A node as its record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "as the methods of `Node` say")]
pub struct NodeRecord {
    pub address: Address,
    /// Octets of the record.
    pub octets: usize,
    pub wire: Box<[u8]>,
    pub hash: u64,
    pub flags: u16,
    pub types: Vec<(u16, Address)>,
    pub zone: Address,
    pub otherwise: Address,
    pub proofs: [Address; 2],
    pub glue: Address,
    pub optional_glue: Address,
    pub wildcard: Address,
    pub encloser_match: Address,
    pub wildcard_cover: Address,
    pub first_cover: Address,
    pub children: Block,
    pub child_count: u32,
    pub last_cover: Address,
    pub any: Address,
}

impl NodeRecord {
    /// Reads the node at an address; `seed` keys the names' hash.
    pub fn read(memory: &dyn Memory, address: Address, seed: u64) -> Result<NodeRecord, NodeFault> {
        let outside = NodeFault::Outside(address);
        let head = record(memory, address, at::TYPES).ok_or_else(|| outside.clone())?;
        let node = Node::new(window(memory, address).ok_or_else(|| outside.clone())?);
        let type_count = node.type_count();
        if type_count > node::MAX_TYPES {
            let is_known = type_count == node::TOO_MANY_TYPES;
            return Err(if is_known { NodeFault::TooManyTypes } else { NodeFault::Types });
        }
        let name_at = node.name_at();
        let octets = name_at + node.name_len().next_multiple_of(UNIT);
        let whole = record(memory, address, octets).ok_or(outside)?;
        let (wire, padding) = whole[name_at..].split_at(node.name_len());
        if name::wire_name_len(wire) != Some(wire.len()) || !is_lowercase(wire) {
            return Err(NodeFault::Name);
        }
        let types: Vec<_> = (0..type_count).map(|index| node.type_at(index)).collect();
        let mut numbers: Vec<u16> = types.iter().map(|(rtype, _)| *rtype).collect();
        numbers.sort_unstable();
        let labels = name::labels(wire).count();
        let flags = u16::from_le_bytes([head[at::FLAGS], head[at::FLAGS + 1]]);
        // The upper half of an entry's type, and what stands behind the name.
        let entries = whole[at::TYPES..name_at].chunks_exact(node::TYPE_LEN);
        let unused = entries.flat_map(|entry| &entry[2..4]);
        for (is_wrong, fault) in [
            (node.labels() != labels, NodeFault::Labels { found: node.labels(), is: labels }),
            (node.hash() != node_hash(wire, seed), NodeFault::Hash),
            (flags & !FLAGS != 0, NodeFault::Flags(flags & !FLAGS)),
            (numbers.windows(2).any(|pair| pair[0] == pair[1]), NodeFault::Types),
            (unused.chain(padding).any(|octet| *octet != 0), NodeFault::Unused),
        ] {
            if is_wrong {
                return Err(fault);
            }
        }
        Ok(NodeRecord {
            address,
            octets,
            wire: wire.into(),
            hash: node.hash(),
            flags,
            types,
            zone: node.zone(),
            otherwise: node.otherwise(),
            proofs: node.proofs(),
            glue: node.glue(),
            optional_glue: node.optional_glue(),
            wildcard: node.wildcard(),
            encloser_match: node.encloser_match(),
            wildcard_cover: node.wildcard_cover(),
            first_cover: node.first_cover(),
            children: node.children(),
            child_count: node.child_count(),
            last_cover: node.last_cover(),
            any: node.any(),
        })
    }

    /// Whether one of the flags in `mask` is set.
    pub fn is(&self, mask: u16) -> bool {
        self.flags & mask != 0
    }

    /// The piece of a type; 0 if there is none.
    pub fn piece(&self, rtype: u16) -> Address {
        self.types.iter().find(|(has, _)| *has == rtype).map_or(0, |(_, piece)| *piece)
    }

    /// What kind of name it is, in words.
    pub fn kind(&self) -> &'static str {
        const KINDS: [(u16, &str); 5] = [
            (flag::VIRTUAL, "above-apexes"),
            (flag::APEX, "apex"),
            (flag::CUT, "zone-cut"),
            (flag::DNAME, "dname"),
            (flag::CNAME, "cname"),
        ];
        let known = KINDS.iter().find(|(mask, _)| self.is(*mask)).map(|(_, word)| *word);
        known.unwrap_or(match () {
            () if self.types.is_empty() => "empty-non-terminal",
            () if self.wire.starts_with(b"\x01*") => "wildcard",
            () => "name",
        })
    }
}

fn is_lowercase(wire: &[u8]) -> bool {
    !wire.iter().any(u8::is_ascii_uppercase)
}
