//! The state of an answer while it is made: plain values, and nothing of what is done with them. All rooms above
//! import it; it imports none of them.
//!
//! | value | what it says | filled in by |
//! |---|---|---|
//! | [`Layers`] | where the headers of the frame are | [`layers`](crate::layers) |
//! | [`Query`] | what the query asks | [`dns::query`](crate::dns::query) |
//! | [`LowerName`] | the name that is looked up | [`dns::query`](crate::dns::query), [`engine::alias`](crate::engine::alias) |
//! | [`Plan`] | what will be said | [`engine`](crate::engine) |
//! | [`Step`], [`Absence`] | where planning goes on; what is known of a name that does not exist | [`engine`](crate::engine) |
//! | [`Options`] | the options of the response | [`engine::options`](crate::engine::options) |
//! | [`Made`] | CNAMEs made from DNAMEs | [`engine`](crate::engine) |
//! | [`HashState`], [`LimitState`] | what hashing and limiting remember | [`sha1`](crate::sha1), [`limit`](crate::limit) |
//! | [`Cells`] | what the verifier should not know | all |
//! | [`Scratch`] | all of them | |
//! | [`Config`], [`EdnsSettings`] | what the daemon tells the programs | the daemon |

pub mod absence;
pub mod cells;
pub mod config;
pub mod hash;
pub mod layers;
pub mod limit;
pub mod made;
pub mod name;
pub mod options;
pub mod plan;
pub mod query;
pub mod scratch;
pub mod step;

pub use absence::Absence;
pub use cells::Cells;
pub use config::{Config, EdnsSettings};
pub use hash::HashState;
pub use layers::Layers;
pub use limit::LimitState;
pub use made::Made;
pub use name::LowerName;
pub use options::Options;
pub use plan::{Context, Plan};
pub use query::Query;
pub use scratch::Scratch;
pub use step::Step;
