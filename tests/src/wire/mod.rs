//! The daemon at one end of a veth pair, and who asks it at the other.

pub mod answers;
pub mod client;
pub mod crossing;
pub mod options;
pub mod pair;
pub mod proxy;
pub mod ratelimit;
pub mod reload;
pub mod slow_tcp;
pub mod stage;
pub mod trace;
pub mod veth;
pub mod wildcard;
