//! Zone transfers: out of this server, and into it.

pub mod access;
pub mod axfr;
pub mod catalog;
pub mod client;
pub mod incoming;
pub mod ixfr;
pub mod notified;
pub mod records;
pub mod tls;
pub mod tsig;
pub mod update;
