//! What a query asks (RFC 1035 section 4.1, RFC 6891).

use crate::launder::recall;

/// What a query asks. All numbers are in the machine's order.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// One's-complement sum of the question as sent.
    pub question_sum: u64,
    /// The hash of the name.
    pub hash: u64,
    /// The message identifier as it lies in memory, and RD and CD in their places above it.
    pub id_and_flags: u32,
    /// Octets of the name on the wire.
    pub name_len: u32,
    /// Labels of the name, the root not counted.
    pub labels: u32,
    /// QTYPE.
    pub qtype: u32,
    /// 1 if there is an OPT record.
    pub edns: u32,
    /// The EDNS version.
    pub version: u32,
    /// 1 if the DO bit is set.
    pub dnssec_ok: u32,
    /// The client's payload size in octets as sent; `payload_limit` is what it means.
    pub payload: u32,
    /// Where the options start in [`Scratch::question`](super::Scratch::question).
    pub options_at: u32,
    /// Octets of options that are to be looked at.
    pub options_len: u32,
    /// Where the value of the first COOKIE option starts in [`Scratch::question`](super::Scratch::question); 0 if there is none.
    pub cookie_at: u32,
    /// Octets of it.
    pub cookie_len: u32,
    /// 1 if NSID is asked for.
    pub nsid: u32,
    /// 1 if ZONEVERSION is asked for.
    pub zone_version: u32,
    /// 1 if the client has sent a cookie of a right length, to a server that has cookies.
    pub has_cookie: u32,
    /// 1 if that cookie is one that this server has given it: its address is its own.
    pub has_valid_cookie: u32,
}

impl Query {
    /// No query.
    pub const fn new() -> Query {
        Query {
            question_sum: 0,
            hash: 0,
            id_and_flags: 0,
            name_len: 0,
            labels: 0,
            qtype: 0,
            edns: 0,
            version: 0,
            dnssec_ok: 0,
            payload: 0,
            options_at: 0,
            options_len: 0,
            cookie_at: 0,
            cookie_len: 0,
            nsid: 0,
            zone_version: 0,
            has_cookie: 0,
            has_valid_cookie: 0,
        }
    }

    /// 1 if DNSSEC records are wanted, as a number that the verifier does not know.
    #[inline(always)]
    pub fn dnssec(&self) -> usize {
        recall(&self.dnssec_ok) as usize & 1
    }

    /// 1 if the response has an OPT record.
    #[inline(always)]
    pub fn opt(&self) -> usize {
        recall(&self.edns) as usize & 1
    }
}

impl Default for Query {
    fn default() -> Query {
        Query::new()
    }
}
