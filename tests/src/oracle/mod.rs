//! Other people's tools on what this program makes.

pub mod answers;
pub mod chance;
mod legal;
pub mod owners;
pub mod questions;
pub mod signing;
pub mod zone_text;
