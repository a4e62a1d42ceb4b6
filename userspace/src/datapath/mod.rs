//! The room `datapath`.
