//! The daemon's own DNS service: what XDP passes up over UDP, and everything over TCP.
//!
//! | to … | use |
//! |---|---|
//! | answer one message | [`responder::respond`] |
//! | hold what is served right now | [`Served`], [`Shared`] |
//! | run the sockets | [`udp::serve`], [`tcp::serve`] |
//! | count | [`stats::SocketStats`] |

mod bind;
mod extended_error;
mod keepalive;
pub mod message;
pub mod options;
mod proxy;
pub mod responder;
mod served;
pub mod stats;
pub mod tcp;
pub mod udp;
mod zones;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

pub use served::{ResponseSettings, Served, Shared};
pub use zones::ServedZone;
