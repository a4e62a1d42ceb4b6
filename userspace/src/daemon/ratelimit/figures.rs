//! What the limiter decided, in numbers.

use std::collections::{BTreeMap, VecDeque};

use xdp_common::limit::{Class, Verdict};
use xdp_common::maps::{PASSED, Verdicts};

/// Seconds that are looked back on.
const MINUTE: usize = 60;

/// Octets of DNS messages that XDP answered and sent, second by second, of the last minute.
#[derive(Debug, Default)]
pub struct Minute {
    last: Option<(u64, u64)>,
    factors: VecDeque<f64>,
}

impl Minute {
    /// Takes the counters of octets received and sent; called about once a second.
    pub fn tick(&mut self, octets_in: u64, octets_out: u64) {
        let (was_in, was_out) =
            self.last.replace((octets_in, octets_out)).unwrap_or((octets_in, octets_out));
        let (more_in, more_out) =
            (octets_in.saturating_sub(was_in), octets_out.saturating_sub(was_out));
        self.factors.push_back(if more_in == 0 { 0.0 } else { more_out as f64 / more_in as f64 });
        if self.factors.len() > MINUTE {
            self.factors.pop_front();
        }
    }

    /// The second of the last minute in which most was sent for what was received: how many times as much, all
    /// responses of that second together.
    pub fn worst(&self) -> f64 {
        self.factors.iter().copied().fold(0.0, f64::max)
    }
}

/// Decisions by name: `positive.slip`, `passed.drop`, `total.drop`, `exempt`, …
pub fn decisions(verdicts: &Verdicts) -> BTreeMap<String, u64> {
    let classes =
        Class::ALL.into_iter().map(|class| (class.word(), verdicts.classes[class.index()]));
    let others = [("passed", verdicts.classes[PASSED]), ("total", verdicts.totals)];
    let counts = classes.chain(others).flat_map(|(what, counts)| {
        Verdict::ALL.map(|verdict| (format!("{what}.{}", verdict.word()), counts[verdict.index()]))
    });
    let rest = [
        ("exempt", verdicts.exempt),
        ("blocked-prefix", verdicts.blocked_prefix),
        ("blocked-name", verdicts.blocked_name),
    ];
    counts.chain(rest.map(|(what, count)| (what.to_owned(), count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_second_of_a_minute_is_forgotten_after_it() {
        let mut minute = Minute::default();
        minute.tick(5000, 70_000);
        assert_eq!(minute.worst(), 0.0);
        minute.tick(5100, 71_000);
        minute.tick(5300, 71_400);
        assert_eq!(minute.worst(), 10.0);
        (0..58).for_each(|_| minute.tick(5300, 71_400));
        assert_eq!(minute.worst(), 10.0);
        (0..1).for_each(|_| minute.tick(5300, 71_400));
        assert_eq!(minute.worst(), 2.0);
    }

    #[test]
    fn every_decision_has_a_name() {
        let mut verdicts = Verdicts::default();
        verdicts.classes[Class::Nodata.index()][Verdict::Slip.index()] = 3;
        verdicts.classes[PASSED][Verdict::Drop.index()] = 4;
        verdicts.totals[Verdict::Drop.index()] = 5;
        let named = decisions(&verdicts);
        assert_eq!((named["nodata.slip"], named["passed.drop"], named["total.drop"]), (3, 4, 5));
        assert_eq!(named.len(), 9 * 4 + 3);
    }
}
