//! What the limiter decided, in numbers.

use std::collections::VecDeque;

use xdp_common::limit::Limited;

/// Seconds that are looked back on.
const MINUTE: usize = 60;

/// Octets of DNS messages that XDP answered and sent, second by second, of the last minute.
#[derive(Debug, Default)]
pub struct Minute {
    last: Option<(u64, u64)>,
    factors: VecDeque<f64>,
    queries: Option<u64>,
    qps: u64,
}

impl Minute {
    /// Takes the counters of octets received and sent, and of queries; called about once a second.
    pub fn tick(&mut self, octets_in: u64, octets_out: u64, queries: u64) {
        self.qps = queries.saturating_sub(self.queries.replace(queries).unwrap_or(queries));
        let (was_in, was_out) =
            self.last.replace((octets_in, octets_out)).unwrap_or((octets_in, octets_out));
        let (more_in, more_out) =
            (octets_in.saturating_sub(was_in), octets_out.saturating_sub(was_out));
        self.factors.push_back(if more_in == 0 { 0.0 } else { more_out as f64 / more_in as f64 });
        if self.factors.len() > MINUTE {
            self.factors.pop_front();
        }
    }

    /// Queries in the second before.
    pub fn qps(&self) -> u64 {
        self.qps
    }

    /// The second of the last minute in which most was sent for what was received: how many times as much, all
    /// responses of that second together.
    pub fn worst(&self) -> f64 {
        self.factors.iter().copied().fold(0.0, f64::max)
    }
}

/// One entry for each netblock and limit, with the sums of what was done: XDP, TCX and the sockets count
/// apart, and so do names.
pub fn joined(entries: impl Iterator<Item = Limited>) -> Vec<Limited> {
    let mut limited: Vec<Limited> = Vec::new();
    for other in entries {
        let is_same = |one: &&mut Limited| {
            (one.netblock, one.prefix, one.hit) == (other.netblock, other.prefix, other.hit)
        };
        match limited.iter_mut().find(is_same) {
            None => limited.push(other),
            Some(one) => {
                one.since_s = match (one.since_s, other.since_s) {
                    (0, since) | (since, 0) => since,
                    (one, other) => one.min(other),
                };
                one.last_s = one.last_s.max(other.last_s);
                one.slips += other.slips;
                one.drops += other.drops;
            }
        }
    }
    limited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_second_of_a_minute_is_forgotten_after_it() {
        let mut minute = Minute::default();
        minute.tick(5000, 70_000, 7);
        assert_eq!(minute.worst(), 0.0);
        minute.tick(5100, 71_000, 7);
        minute.tick(5300, 71_400, 7);
        assert_eq!(minute.worst(), 10.0);
        (0..58).for_each(|_| minute.tick(5300, 71_400, 7));
        assert_eq!(minute.worst(), 10.0);
        (0..1).for_each(|_| minute.tick(5300, 71_400, 7));
        assert_eq!(minute.worst(), 2.0);
    }

    #[test]
    fn what_several_limiters_did_is_summed() {
        let one = Limited {
            prefix: 120,
            since_s: 9,
            last_s: 20,
            slips: 1,
            drops: 2,
            ..Limited::default()
        };
        let other = Limited { since_s: 7, last_s: 11, ..one };
        let elsewhere = Limited { prefix: 128, ..one };
        let joined = joined([one, other, elsewhere].into_iter());
        assert_eq!(joined.len(), 2);
        let sum = joined[0];
        assert_eq!((sum.since_s, sum.last_s, sum.slips, sum.drops), (7, 20, 2, 4));
    }
}
