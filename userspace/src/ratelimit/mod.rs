//! Rate limits: what is limited, who decides by it, how it is changed, and what came of it.
//!
//! | to … | use |
//! |---|---|
//! | say what is limited | [`limits::Limits`] |
//! | decide by it, over memory of the daemon's | [`limiter::Limiter`] |
//! | read one setting | [`settings::setting`] |
//! | put saved changes and commands over the configuration | [`effective::EffectiveLimits`], [`changes::Changes`] |
//! | say what was decided | [`figures`] |
//! | try limits on a capture | [`replay`] |
//! | translate the configurations of BIND and Knot | [`import`] |
//!
//! The section of the configuration is [`config::ratelimit`](crate::config::ratelimit); what the programs are given is
//! in their maps by [`datapath::limiting`](crate::datapath::limiting).

pub mod changes;
pub mod compiled;
pub mod effective;
pub mod figures;
pub mod import;
pub mod limiter;
pub mod limits;
pub mod replay;
pub mod settings;
