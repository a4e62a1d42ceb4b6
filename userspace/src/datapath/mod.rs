//! The room `datapath`.

pub mod object;
