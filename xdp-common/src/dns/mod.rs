//! DNS messages as far as the engine must understand them (RFC 1035, RFC 6891).

pub mod edns;
pub mod name;
pub mod query;

/// Octets of the message header (RFC 1035 section 4.1.1).
pub const HEADER_LEN: usize = 12;

/// Octets of QTYPE and QCLASS behind the name.
pub const QUESTION_TAIL_LEN: usize = 4;

/// The payload size of a client that sends no EDNS (RFC 1035 section 4.2.1), and the least that
/// counts of one that does (RFC 6891 section 6.2.3).
pub const MIN_PAYLOAD: usize = 512;

/// RR types that the engine treats apart (IANA registry "Resource Record (RR) TYPEs").
pub mod rtype {
    #![allow(missing_docs, reason = "the mnemonics are the registry's own")]
    pub const CNAME: u16 = 5;
    pub const OPT: u16 = 41;
    pub const DS: u16 = 43;
    pub const RRSIG: u16 = 46;
    pub const DNSKEY: u16 = 48;
    pub const ANY: u16 = 255;

    /// Whether a QTYPE asks for something other than one RRset: OPT, RRSIG (its records belong to
    /// other RRsets), and the meta and QTYPE ranges (RFC 6895 section 3.1).
    #[inline(always)]
    pub const fn is_meta(qtype: u16) -> bool {
        qtype == 0 || qtype == OPT || qtype == RRSIG || (qtype >= 128 && qtype <= 255)
    }
}

/// Response codes (RFC 1035 section 4.1.1, RFC 2136, RFC 6891).
pub mod rcode {
    #![allow(missing_docs, reason = "the mnemonics are the registry's own")]
    pub const NOERROR: u32 = 0;
    pub const NXDOMAIN: u32 = 3;
    pub const YXDOMAIN: u32 = 6;
    /// BADVERS, of which 0 stands in the header and 1 in the OPT record.
    pub const BADVERS: u32 = 16;
}
