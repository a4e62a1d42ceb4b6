//! What composes answers, as those see it who are asked: sockets, and whoever counts what they miss.

use xdp_common::Outcome;
use xdp_common::limit::account::Account;

use super::reader::{Asked, Reader};
use super::signatures::Found;

/// What composes answers: the engine over compiled zones.
pub trait Engine: Send + Sync {
    /// Answers one message; see [`Reader::respond`], whose contract this is.
    fn respond(&self, query: &[u8], asked: &Asked<'_>, response: &mut Vec<u8>) -> Outcome;

    /// Answers one question for signatures; see [`Reader::signatures`], whose contract this is.
    fn signatures(&self, query: &[u8], asked: &Asked<'_>, response: &mut Vec<u8>) -> Found {
        Found { outcome: self.respond(query, asked, response), records: 0 }
    }

    /// What of the answer that this thread was given last the rate limiter counts together.
    fn account(&self) -> Account {
        Account::default()
    }
}

impl Engine for Reader {
    fn respond(&self, query: &[u8], asked: &Asked<'_>, response: &mut Vec<u8>) -> Outcome {
        Reader::respond(self, query, asked, response)
    }

    fn signatures(&self, query: &[u8], asked: &Asked<'_>, response: &mut Vec<u8>) -> Found {
        Reader::signatures(self, query, asked, response)
    }

    fn account(&self) -> Account {
        Reader::account(self)
    }
}
