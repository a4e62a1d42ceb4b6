//! The room `datapath`.

pub mod memory;
pub mod object;
