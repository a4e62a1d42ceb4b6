//! When something that failed is tried again: later and later, at most an hour.

use std::time::{Duration, Instant};

/// How long is waited after the first failure, in seconds.
const FIRST: u32 = 60;

/// How long at most: seldom enough not to fill the log.
const MOST: u32 = 3600;

/// It is also no more than this part of the time that there is, so that many attempts are made in it.
const ATTEMPTS: u32 = 16;

/// When something is tried again that failed. Not by a time of day, which may be set back by years.
#[derive(Debug, Clone)]
pub struct Retry {
    failures: u32,
    at: Option<Instant>,
    seed: u32,
}

impl Retry {
    /// Nothing has failed. `seed` shortens waits by up to a quarter: what failed together is not tried together.
    pub fn new(seed: u32) -> Retry {
        Retry { failures: 0, at: None, seed }
    }

    /// It failed; `time` is what there is for it, in seconds.
    pub fn fail(&mut self, now: Instant, time: u32) {
        let most = (time / ATTEMPTS).clamp(1, MOST);
        let wait = FIRST.saturating_mul(1 << self.failures.min(16)).min(most);
        self.failures = self.failures.saturating_add(1);
        let wait_ms = u64::from(wait) * 1000;
        // Another part each time.
        let part = self.seed.rotate_left(self.failures) % 1024;
        let shortened_ms = wait_ms - wait_ms / 4 * u64::from(part) / 1024;
        self.at = Some(now + Duration::from_millis(shortened_ms));
    }

    /// It succeeded.
    pub fn succeed(&mut self) {
        (self.failures, self.at) = (0, None);
    }

    /// In how many seconds it is tried again, rounded up; not more than none: since when it may be. None if
    /// nothing failed.
    pub fn wait(&self, now: Instant) -> Option<i64> {
        let at = self.at?;
        let left = at.saturating_duration_since(now);
        let over = now.saturating_duration_since(at);
        Some(left.as_millis().div_ceil(1000) as i64 - over.as_secs() as i64)
    }
}
