//! The room `dnssec`.
