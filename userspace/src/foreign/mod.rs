//! Configurations of other name servers, as far as sealdns reads them: what they say of rate limits
//! ([`import`](crate::ratelimit::import)), and which zones a server has that sealdns is to stand in front of ([`takeover`]).
//!
//! | file | what |
//! |---|---|
//! | `files.rs` | files, those that they include, places in them |
//! | `named.rs` | BIND's words and statements |
//! | `lines.rs` | Knot's and NSD's sections of `key: value` |
//! | `takeover/` | the zones and addresses of a server, and what it must be told |

pub mod files;
pub mod lines;
pub mod named;
pub mod takeover;

use std::fmt;

pub use files::{Fault, Files, Place};

/// One setting as it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Where; `None` for a default.
    pub place: Option<Place>,
    /// Its name.
    pub key: String,
    /// What it is set to.
    pub values: Vec<String>,
}

impl Setting {
    /// Its only value; empty if there is none or there are several.
    pub fn value(&self) -> &str {
        match self.values.as_slice() {
            [value] => value,
            _ => "",
        }
    }

    /// Its value as a number.
    ///
    /// # Errors
    /// If it is none.
    pub fn number(&self) -> Result<u64, Fault> {
        let number = self.value().parse();
        number.map_err(|_| self.fault(format_args!("`{}` is not a number", self.values.join(" "))))
    }

    /// What is wrong with it.
    pub fn fault(&self, message: impl fmt::Display) -> Fault {
        match &self.place {
            Some(place) => place.fault(format_args!("{}: {message}", self.key)),
            None => Fault(format!("{}: {message}", self.key)),
        }
    }

    /// Whether its value says yes.
    pub fn is_true(&self) -> bool {
        matches!(self.value(), "yes" | "true" | "on" | "1")
    }

    /// As it is written, more or less.
    pub fn text(&self) -> String {
        format!("{} {}", self.key, self.values.join(" ")).trim_end().to_owned()
    }
}
