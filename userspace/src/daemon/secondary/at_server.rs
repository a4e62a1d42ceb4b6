//! In front of another server: what that was heard to have of a zone, and whether XDP answers for it.
//!
//! XDP answers for a zone while the version that is published has the serial that the server said last. All else is
//! passed to the server: a zone of which nothing was heard yet, one whose newer serial is known, and one that the
//! server does not have (any more). What the server does between two questions is not known: that is the blind window,
//! as long as `poll` at the most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::zone::{Name, Serial};

/// Hears which serial the server says that it has of a zone, or why it has none.
pub trait SerialListener: Send + Sync {
    /// It has said so of the zone that this is the identity of. May block.
    fn hear(&self, name: &Name, identity: &Arc<()>, said: Result<Serial, String>);
}

/// What was heard of a zone at the server, and what follows of it.
#[derive(Debug)]
pub struct AtServer {
    /// What it said last: a serial, or why it has none.
    said: Option<Result<Serial, String>>,
    /// Since when that is another serial than the published one.
    behind_since: Option<Instant>,
    /// Why the zone is passed to the server; `None`: XDP answers for it.
    passed: Option<String>,
}

impl Default for AtServer {
    fn default() -> AtServer {
        AtServer { said: None, behind_since: None, passed: Some(NOT_ASKED.to_owned()) }
    }
}

/// Why a zone is passed of which nothing was heard.
const NOT_ASKED: &str = "the server has not said which serial it has";

impl AtServer {
    /// The server has said its serial, or why it has none.
    pub fn hear(&mut self, said: Result<Serial, String>) {
        self.said = Some(said);
    }

    /// The serial that it said last.
    pub fn serial(&self) -> Option<Serial> {
        self.said.as_ref()?.as_ref().ok().copied()
    }

    /// Why the server has no version of it, if it has said so.
    pub fn lack(&self) -> Option<&str> {
        self.said.as_ref()?.as_ref().err().map(String::as_str)
    }

    /// Whether an older version is answered while a newer serial is known.
    pub fn is_borne(&self) -> bool {
        self.passed.is_none() && self.behind_since.is_some()
    }

    /// Why the zone is passed to the server; `None`: XDP answers for it.
    pub fn passed(&self) -> Option<&str> {
        self.passed.as_deref()
    }

    /// Decides whether XDP answers from the version with this serial, which an older one may do for `serve_behind` where it
    /// did before. Says whether the decision is another than the last one.
    pub fn decide(
        &mut self,
        published: Option<Serial>,
        serve_behind: Duration,
        now: Instant,
    ) -> bool {
        let was_passed = self.passed.is_some();
        self.passed = self.reason(published, serve_behind, now);
        self.passed.is_some() != was_passed
    }

    fn reason(
        &mut self,
        published: Option<Serial>,
        serve_behind: Duration,
        now: Instant,
    ) -> Option<String> {
        let Some(published) = published else {
            return Some("no version of it is published".to_owned());
        };
        match &self.said {
            None => Some(NOT_ASKED.to_owned()),
            Some(Err(why)) => Some(format!("the server does not have it: {why}")),
            Some(Ok(serial)) if *serial == published => {
                self.behind_since = None;
                None
            }
            Some(Ok(serial)) => {
                let since = *self.behind_since.get_or_insert(now);
                let is_borne =
                    self.passed.is_none() && now.saturating_duration_since(since) < serve_behind;
                let why =
                    || format!("the server has serial {serial}, and {published} is published");
                (!is_borne).then(why)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    #[test]
    fn what_is_current_is_answered_and_all_else_passed() {
        let now = Instant::now();
        let mut zone = AtServer::default();
        assert!(zone.passed().is_some(), "nothing was heard yet");
        assert!(!zone.decide(Some(Serial(7)), AT_ONCE, now), "nor now");
        zone.hear(Ok(Serial(7)));
        assert!(zone.decide(Some(Serial(7)), AT_ONCE, now));
        assert_eq!(zone.passed(), None);
        for said in [Ok(Serial(8)), Ok(Serial(6)), Err("REFUSED".to_owned())] {
            zone.hear(said);
            assert!(zone.decide(Some(Serial(7)), AT_ONCE, now));
            assert!(zone.passed().is_some());
            zone.hear(Ok(Serial(7)));
            assert!(zone.decide(Some(Serial(7)), AT_ONCE, now));
        }
        assert!(zone.decide(None, AT_ONCE, now), "it has expired");
        assert!(zone.passed().is_some());
    }

    #[test]
    fn an_older_version_is_borne_for_a_while_where_it_was_answered() {
        let (start, bear) = (Instant::now(), Duration::from_secs(10));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut zone = AtServer::default();
        zone.hear(Ok(Serial(8)));
        zone.decide(Some(Serial(7)), bear, at(0));
        assert!(zone.passed().is_some(), "what was never answered is not borne");
        zone.decide(Some(Serial(8)), bear, at(1));
        assert_eq!(zone.passed(), None);
        zone.hear(Ok(Serial(9)));
        for (seconds, is_borne) in [(2, true), (11, true), (12, false), (13, false)] {
            zone.decide(Some(Serial(8)), bear, at(seconds));
            assert_eq!(zone.passed().is_none(), is_borne, "after {seconds} s");
        }
        zone.decide(Some(Serial(9)), bear, at(14));
        assert_eq!(zone.passed(), None);
        zone.hear(Ok(Serial(10)));
        zone.decide(Some(Serial(9)), bear, at(20));
        assert_eq!(zone.passed(), None, "the time begins anew");
    }
}
