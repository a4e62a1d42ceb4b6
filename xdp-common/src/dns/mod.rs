//! DNS messages as far as the engine must understand them (RFC 1035, RFC 6891).

pub mod edns;
pub mod name;
pub mod query;

pub use crate::rtype;
pub use crate::state::scratch::MAX_PAYLOAD;

/// Octets of the message header (RFC 1035 section 4.1.1).
pub const HEADER_LEN: usize = 12;

/// Octets of QTYPE and QCLASS behind the name.
pub const QUESTION_TAIL_LEN: usize = 4;

/// The payload size of a client that sends no EDNS (RFC 1035 section 4.2.1), and the least that
/// counts of one that does (RFC 6891 section 6.2.3).
pub const MIN_PAYLOAD: usize = 512;

/// EDNS options that are answered (IANA registry "DNS EDNS0 Option Codes").
pub mod option {
    #![allow(missing_docs, reason = "the names are the registry's own")]
    pub const NSID: u16 = 3;
    pub const COOKIE: u16 = 10;
    /// Extended DNS error (RFC 8914).
    pub const EDE: u16 = 15;
    pub const ZONEVERSION: u16 = 19;
}

/// Extended DNS error codes (RFC 8914 section 4).
pub mod extended_error {
    #![allow(missing_docs, reason = "the names are the registry's own")]
    pub const NOT_AUTHORITATIVE: u32 = 20;
}

/// Response codes (RFC 1035 section 4.1.1, RFC 2136, RFC 6891).
pub mod rcode {
    #![allow(missing_docs, reason = "the mnemonics are the registry's own")]
    pub const NOERROR: u32 = 0;
    pub const FORMERR: u32 = 1;
    pub const NXDOMAIN: u32 = 3;
    pub const REFUSED: u32 = 5;
    pub const YXDOMAIN: u32 = 6;
    /// BADVERS, of which 0 stands in the header and 1 in the OPT record.
    pub const BADVERS: u32 = 16;
    /// BADCOOKIE (RFC 7873 section 8), of which 7 stands in the header and 1 in the OPT record.
    pub const BADCOOKIE: u32 = 23;
}
