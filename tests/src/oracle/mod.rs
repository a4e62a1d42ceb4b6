//! Other people's tools on what this program makes.

pub mod answers;
pub mod chains;
pub mod chance;
mod legal;
pub mod owners;
pub mod questions;
pub mod salted;
pub mod signing;
pub mod zone_faults;
pub mod zone_text;
