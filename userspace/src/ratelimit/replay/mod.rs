//! A capture through the limiter's own arithmetic, by the capture's own clock.
//!
//! Which policy counts and what is blocked is decided as the daemon's sockets decide it
//! ([`CompiledLimits`](super::compiled::CompiledLimits)). Only the table that XDP has is kept, and the list of netblocks that were over a
//! limit; both have bounds.

pub mod capture;
pub mod limiter;
pub mod response;
