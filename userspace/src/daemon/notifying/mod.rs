//! Other servers told of new serials (NOTIFY, RFC 1996): when each is told, again if it does not answer.
//!
//! | what | when |
//! |---|---|
//! | the first message of a serial | at once, but a second after the last message to the same server: serials that come faster are told together |
//! | the same again, without an answer or with an error | after 2 seconds, then after twice as long each time, at most a minute |
//! | no more | when the server has acknowledged the serial, or after ten messages, some six minutes, until there is another serial |
//!
//! `targets.rs` is a pure function of what happened and of the time; `socket.rs` sends and receives.

mod socket;
mod targets;
#[cfg(test)]
mod tests;

pub use socket::serve;
pub use targets::{NewSerial, Notifier};
