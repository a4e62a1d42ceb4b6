//! Replies about the daemon as a whole.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::observe::attachment::Attachment;

/// The daemon as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// How long it has run, in seconds.
    pub uptime_seconds: u64,
    /// The folder of its keys.
    pub key_dir: Option<PathBuf>,
    /// Where its sockets listen.
    pub listen: Vec<SocketAddr>,
    /// Where XDP is attached.
    pub xdp: Vec<Attachment>,
    /// Zones of the configuration.
    pub zones: u64,
    /// Those that nothing is answered for.
    pub zones_not_served: u64,
    /// Those that were not tried yet.
    pub zones_loading: u64,
    /// The names of those whose last version could not be loaded, or that are not served.
    pub zones_failed: Vec<String>,
    /// The names of those with an expired signature.
    pub zones_expired: Vec<String>,
    /// What an operator should mend.
    pub problems: Vec<Problem>,
}

/// What `sealdns health` says, made of [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether there is no problem.
    pub healthy: bool,
    /// What an operator should mend.
    pub problems: Vec<Problem>,
    /// All that the daemon says of itself.
    pub status: Status,
}

impl From<Status> for Health {
    fn from(status: Status) -> Health {
        let problems = status.problems.clone();
        Health { healthy: problems.is_empty(), problems, status }
    }
}

/// Something that an operator should mend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: "zone example.com.", "interface eth0".
    pub subject: String,
    /// What is wrong with it; without a full stop.
    pub what: String,
    /// The command that mends it or says more, if there is one.
    pub fix: Option<String>,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Queries are answered rightly now, and will not be for ever, or not as they could be.
    Warning,
    /// Some queries are not answered as they should be.
    Error,
}

impl Problem {
    /// A problem that no command mends.
    pub fn new(severity: Severity, subject: impl Into<String>, what: impl Into<String>) -> Problem {
        Problem { severity, subject: subject.into(), what: what.into(), fix: None }
    }

    /// The same with the command that mends it.
    pub fn with_fix(self, fix: impl Into<String>) -> Problem {
        Problem { fix: Some(fix.into()), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}: {}", self.subject, self.what)?;
        self.fix.iter().try_for_each(|fix| write!(f, "; try: {fix}"))
    }
}

/// The daemon ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// It does.
    pub stopping: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_read_as_it_was_written() {
        let problem = Problem::new(Severity::Warning, "zone a.", "is ill").with_fix("cure a.");
        assert_eq!(problem.to_string(), "warning: zone a.: is ill; try: cure a.");
        for problem in [Problem::new(Severity::Error, "interface eth0", "is gone"), problem] {
            let text = serde_json::to_string(&problem).expect("JSON");
            assert_eq!(serde_json::from_str::<Problem>(&text).expect("a problem"), problem);
        }
    }
}
