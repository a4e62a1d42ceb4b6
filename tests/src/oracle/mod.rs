//! Other people's tools on what this program makes.

pub mod answers;
pub mod signing;
pub mod zone_text;
