//! What composes answers, as its callers see it: the sockets, and the counter of names that a partial zone misses.

use super::answered::Answered;
use super::reader::{QueryContext, Reader};
use super::signatures::SignatureAnswer;

/// What composes answers: the engine over compiled zones.
pub trait Engine: Send + Sync {
    /// Answers one message; see [`Reader::respond`], whose contract this is.
    fn respond(&self, query: &[u8], asked: &QueryContext<'_>, response: &mut Vec<u8>) -> Answered;

    /// Answers one question for signatures; see [`Reader::signatures`], whose contract this is.
    fn signatures(
        &self,
        query: &[u8],
        asked: &QueryContext<'_>,
        response: &mut Vec<u8>,
    ) -> SignatureAnswer {
        SignatureAnswer { answered: self.respond(query, asked, response), records: 0 }
    }
}

impl Engine for Reader {
    fn respond(&self, query: &[u8], asked: &QueryContext<'_>, response: &mut Vec<u8>) -> Answered {
        Reader::respond(self, query, asked, response)
    }

    fn signatures(
        &self,
        query: &[u8],
        asked: &QueryContext<'_>,
        response: &mut Vec<u8>,
    ) -> SignatureAnswer {
        Reader::signatures(self, query, asked, response)
    }
}
