//! Other implementations on the same input.

pub mod zone_text;
