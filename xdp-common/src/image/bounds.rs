//! How much the programs in the kernel do for one answer: what [`Store`](super::Store)'s constants are unless a
//! host has others. Small, so that the verifier's work is; what exceeds them is the daemon's.

/// Pieces of an answer: those of NXDOMAIN with NSEC3 are four, two more are a CNAME and its proof.
pub const MAX_PIECES: usize = 6;
/// Types at a name that are looked through.
pub const MAX_TYPES: usize = 32;
/// CNAMEs that are made from DNAMEs.
pub const MAX_MADE: usize = 1;
/// CNAMEs that are followed.
pub const MAX_CHAIN: usize = 3;
/// Probes for a closest encloser.
pub const MAX_ENCLOSER_STEPS: usize = 12;
/// Runs of [`PART`](super::piece::PART) octets in a piece.
pub const MAX_PARTS: usize = 1;
/// Pointers to fix in a piece.
pub const MAX_FIXUPS: usize = 32;
/// Pointers before the body of a piece.
pub const MAX_FIXUPS_BEFORE: usize = 64;
/// Records in a piece whose owner names are not the question's.
pub const MAX_OWNERS: usize = 32;
/// Octets of an NSEC3 salt: with the longest name they and the padding of the hash fill five blocks. Most salts
/// have eight. Additional iterations there are none.
pub const MAX_SALT: usize = 55;
/// Options of a query.
pub const MAX_OPTIONS: usize = 8;
