//! The answering engine of sealdns: the code that the kernel and the host both run.
//!
//! No std, no allocation, no clock: what is needed is handed in.
#![no_std]

pub mod outcome;

pub use outcome::Outcome;
