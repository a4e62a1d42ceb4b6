//! How much of a zone is tried and collected: a validator that tries every key for every signature can be kept busy by a
//! zone made for it (KeyTrap, CVE-2023-50387).

/// How many keys of the same tag and algorithm are tried for a signature. Two meet by accident with
/// a chance of 1 in 65,536; signers avoid it.
pub const MAX_KEYS_PER_TAG: usize = 4;

/// How many signatures of one RRset are tried: a zone has one per key, and a few more while keys
/// are replaced.
pub const MAX_SIGNATURES: usize = 8;

/// How many zone keys are looked at.
pub const MAX_KEYS: usize = 64;

/// How many faults are collected before the rest of the zone is left alone.
pub const MAX_FAULTS: usize = 1000;
