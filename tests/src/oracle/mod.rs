//! Other people's programs on what this program makes and says.

pub mod accepted;
pub mod answers;
pub mod chains;
pub mod delegations;
pub mod key_times;
pub mod legal;
pub mod owners;
pub mod rfc;
pub mod salted;
pub mod signing;
pub mod zone_faults;
pub mod zone_text;
