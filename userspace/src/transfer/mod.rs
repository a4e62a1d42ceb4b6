//! Zone transfers.

pub mod axfr;
