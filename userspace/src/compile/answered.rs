//! What became of a query, for who sends the response: the rate limiter, counters, the log.

use xdp_common::Outcome;
use xdp_common::limit::response_key::ResponseKey;

/// What became of a query, besides the response itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// What the answer is called, or why there is none.
    pub outcome: Outcome,
    /// What of the response the rate limiter counts together.
    pub key: ResponseKey,
    /// The cookie that the client has sent, if the server has cookies.
    pub cookie: Option<Cookie>,
    /// Octets of the question as the response repeats it.
    pub question_octets: usize,
    /// The DO bit, if the response has an OPT record.
    pub dnssec_ok: Option<bool>,
}

impl Answered {
    /// Nothing more is known.
    pub fn of(outcome: Outcome) -> Answered {
        Answered {
            outcome,
            key: ResponseKey::default(),
            cookie: None,
            question_octets: 0,
            dnssec_ok: None,
        }
    }
}

/// The cookie of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cookie {
    /// Whether it is one that this server has given the client: its address is its own.
    pub is_valid: bool,
    /// The option with the cookie that it is answered with.
    pub option: Vec<u8>,
}
