//! Something to know about a device, and what to do about it.

use serde::Serialize;

/// Something to know about a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub what: String,
    /// What to do about it: a command, or a setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Who says so, if it is not the device itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Answers are slower, or do not leave from XDP, until it is mended.
    Problem,
    /// Good to know.
    Note,
}

impl Finding {
    /// A problem.
    pub fn problem(what: impl Into<String>) -> Finding {
        Finding { severity: Severity::Problem, what: what.into(), fix: None, source: None }
    }

    /// A note.
    pub fn note(what: impl Into<String>) -> Finding {
        Finding { severity: Severity::Note, ..Finding::problem(what) }
    }

    /// The same with what to do.
    pub fn fix(self, fix: impl Into<String>) -> Finding {
        Finding { fix: Some(fix.into()), ..self }
    }

    /// The same with who says so.
    pub(super) fn source(self, source: &'static str) -> Finding {
        Finding { source: Some(source), ..self }
    }
}
