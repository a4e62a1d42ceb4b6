//! Zone transfers: out of this server, and into it.

pub mod axfr;
pub mod incoming;
pub mod update;
