//! RR types that the engine treats apart (IANA registry "Resource Record (RR) TYPEs").
#![allow(missing_docs, reason = "the mnemonics are the registry's own")]
pub const NS: u16 = 2;
pub const CNAME: u16 = 5;
pub const SOA: u16 = 6;
pub const PTR: u16 = 12;
pub const MX: u16 = 15;
pub const OPT: u16 = 41;
pub const DS: u16 = 43;
pub const RRSIG: u16 = 46;
pub const DNSKEY: u16 = 48;
pub const ANY: u16 = 255;

/// Whether a QTYPE asks for something other than one RRset: OPT, RRSIG (its records belong to
/// other RRsets), and the meta and QTYPE ranges (RFC 6895 section 3.1), ANY among them, which one RRset
/// of the name answers all the same (RFC 8482).
#[inline(always)]
pub const fn is_meta_or_any(qtype: u16) -> bool {
    qtype == 0 || qtype == OPT || qtype == RRSIG || (qtype >= 128 && qtype <= ANY)
}
