//! Programs on devices: how they are attached, which path a device takes, what is pinned, and what goes and comes again.

pub mod again;
pub mod attach;
pub mod paths;
pub mod pinned;
pub mod probe;
