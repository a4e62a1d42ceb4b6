//! Zones that come from primaries: who is asked, what for, and what came of it. When, [`life::refresh`](super::life::refresh)
//! says.
//!
//! | file | what |
//! |---|---|
//! | `at_server.rs` | in front of another server, what that has of one zone, and whether XDP answers |
//! | `primaries.rs` | what was heard of the primaries of one zone; when one was heard of last, across restarts |
//! | `round.rs` | one round: primaries asked one after the other |
//! | `rounds.rs` | rounds of many zones at once, so many and no more |

mod at_server;
mod primaries;
mod round;
mod rounds;

pub use at_server::{AtServer, SerialListener};
pub use primaries::{Confirmations, Primaries};
pub use round::{Answer, Round, RoundEnd};
pub use rounds::Rounds;
