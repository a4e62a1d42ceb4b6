//! The answering engine of sealdns: the code that the kernel and the host both run.
//!
//! No std, no allocation, no clock: what is needed is handed in. The kernel runs it over BPF maps
//! and a packet, the host over its memory and a buffer; [`image::Store`] and [`frame::Frame`] are
//! all that differs.
//!
//! | to … | use |
//! |---|---|
//! | read the headers of a frame, turn them round | [`layers`] |
//! | read a query | [`dns::query`] |
//! | find names, choose what to say, compose it | [`engine`] |
//! | know what an answer is made of while it is made | [`state`] |
//! | know how zones lie in memory | [`image`] |
//! | limit the rate of responses | [`limit`] |
//! | name what became of a packet | [`Outcome`] |
//! | choose what a trace shows | [`trace`] |
#![no_std]

#[cfg(target_endian = "big")]
compile_error!("the image and the checksums are laid out for little-endian machines");

pub mod address;
pub mod bytes;
pub mod checksum;
pub mod cookie;
pub mod dns;
pub mod engine;
pub mod frame;
pub mod image;
pub mod lab;
pub mod launder;
pub mod layers;
pub mod limit;
pub mod maps;
pub mod outcome;
pub mod rtype;
pub mod sha1;
pub mod state;
pub mod trace;

pub use outcome::Outcome;
pub use state::Scratch;
