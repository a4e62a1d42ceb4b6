//! The daemon: zones from files to what is served, and everything that changes it at run time.
//!
//! Start: the state directory is locked, sockets are bound and XDP is attached while we may; privileges are
//! given up; sockets are served and zones are loaded; "ready". From then on signals, the control socket and the clock
//! bring zones up to date, each for itself, and a zone that cannot be loaded leaves its older
//! version serving.

mod cache;
mod catalogs;
pub mod cookies;
mod descriptors;
mod hash_key;
pub mod health;
pub mod kept;
mod life;
mod listening;
pub mod locks;
mod notifying;
mod parts;
pub mod prepare;
mod presented;
pub mod privileges;
pub mod ratelimit;
mod requests;
mod run;
mod secondary;
mod secret_file;
pub mod serials;
mod serving;
mod shared_plane;
pub mod signing;
mod source;
pub mod stamp;
mod start_order;
pub mod startup;
pub mod state;
pub mod store;
mod supervise;
mod tls_files;
mod trace;
mod tsig_keys;
mod verification;
pub mod verified;
mod workers;
mod zones;

#[cfg(test)]
mod tests;

pub use parts::Daemon;
pub use run::{OpenPlane, run};
pub use serving::{hold_hangup, let_hangup_come};
pub use source::Source;
