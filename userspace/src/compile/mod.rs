//! Signed zones compiled into the image that the engine answers from.

use xdp_common::Outcome;

/// The largest DNS message over TCP in octets (RFC 1035 section 4.2.2).
pub const MAX_TCP_MESSAGE: usize = 65535;

/// Compiled zones in the daemon's memory, answered from by the very engine that XDP runs.
pub struct Image {}

impl Image {
    /// Answers one DNS message as XDP would.
    ///
    /// `limit` is the server's largest response in octets (over UDP it is further limited by what
    /// the client says, and to 512 without EDNS; over TCP it is 65535 and `over_tcp` is set).
    /// `now` is seconds since 1970, truncated to 32 bits. If the outcome
    /// [is answered](Outcome::is_answered), `response` holds the response; otherwise it is empty
    /// and the outcome says why.
    pub fn answer(
        &self,
        query: &[u8],
        over_tcp: bool,
        limit: usize,
        now: u32,
        response: &mut Vec<u8>,
    ) -> Outcome {
        let _ = (query, over_tcp, limit, now);
        response.clear();
        Outcome::Miss
    }
}
