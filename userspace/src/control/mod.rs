//! How the other sealdns commands talk to the daemon: one JSON object per line over a Unix socket,
//! a request and then its response. The socket's mode is who may. Both say which version they speak.

pub mod client;
pub mod file;
pub mod protocol;
pub mod ratelimit;
pub mod reply;
pub mod socket;
