//! What was found, as JSON.

use serde_json::{Value, json};
use tests::measure::{
    figures::Figures,
    flood::{meter::Reading, trial::Trial},
};
use xdp_common::lab::counter;

use super::targets::Target;

/// By how many octets replies may differ and still be called equal: compression differs.
const SAME_OCTETS: f64 = 1.0;
/// The part of the queries that must be answered at four fifths of the knee. The time when programs of no
/// priority have the core counts for no answer, so it may pass; more than it may not.
const UNDISTURBED: f64 = 0.8;
/// The part of the replies that may be unlike the others.
const STRAY: f64 = 0.001;

/// One target, one mix, all rounds.
pub struct Row {
    pub mix: &'static str,
    /// The response code that its answers must have.
    pub rcode: usize,
    pub target: Target,
    pub trials: Vec<Trial>,
}

impl Row {
    fn figures(&self, of: impl Fn(&Trial) -> f64) -> Figures {
        Figures(self.trials.iter().map(of).collect())
    }

    /// The median over the floods.
    fn flood(&self, of: impl Fn(&Reading) -> f64) -> f64 {
        self.figures(|trial| of(&trial.flood)).median()
    }

    fn rcodes(&self) -> Value {
        let shares = (0..16).map(|rcode| {
            (rcode.to_string(), self.flood(|reading| reading.part(counter::RCODES + rcode)))
        });
        shares
            .filter(|(_, share)| *share > 0.0)
            .map(|(rcode, share)| (rcode, json!(share)))
            .collect()
    }

    /// Why its figures cannot be compared with those of sealdns, if they cannot.
    fn fault(&self, sealdns: &Row) -> Option<String> {
        let answered = self.figures(|trial| trial.below_knee.share()).median();
        if answered < UNDISTURBED {
            return Some(format!("only {:.1} % answered below the knee", answered * 100.0));
        }
        if self.target == Target::Reflector {
            return None;
        }
        let right = self.flood(|reading| reading.part(counter::RCODES + self.rcode));
        if right < 1.0 - STRAY {
            return Some(format!("{:.1} % have another response code", (1.0 - right) * 100.0));
        }
        let shares = [("TC", counter::TRUNCATED), ("an answer section", counter::WITH_ANSWERS)];
        for (what, counter) in shares {
            let share = |row: &Row| row.flood(|reading| reading.part(counter));
            if (share(self) - share(sealdns)).abs() > STRAY {
                let percent = share(self) * 100.0;
                return Some(format!("{percent:.1} % have {what}, unlike those of sealdns"));
            }
        }
        let octets = [self, sealdns].map(|row| row.flood(Reading::octets));
        if (octets[0] - octets[1]).abs() > SAME_OCTETS {
            return Some(format!("frames of {:.1} octets against {:.1}", octets[0], octets[1]));
        }
        None
    }

    fn json(&self, sealdns: &Row) -> Value {
        json!({
            "mix": self.mix,
            "target": self.target.word(),
            "title": self.target.title(),
            "void": self.fault(sealdns),
            "flood": {
                "asked_per_second": self.figures(|trial| trial.flood.asked()).json(),
                "answers_per_second": self.figures(|trial| trial.flood.answered()).json(),
                "cpu_ns_per_answer": self.figures(|trial| trial.flood.ns_per_answer()).json(),
                "core_used": self.figures(|trial| trial.flood.core_used()).json(),
            },
            "knee": {
                "queries_per_second": self.figures(|trial| trial.knee).json(),
                "is_generator_bound": self.trials.iter().any(|trial| trial.is_generator_bound),
            },
            "below_knee": {
                "answered": self.figures(|trial| trial.below_knee.share()).json(),
                "cpu_ns_per_answer": self.figures(|trial| trial.below_knee.ns_per_answer()).json(),
            },
            "reply_octets": self.flood(Reading::octets),
            "rcodes": self.rcodes(),
            "with_answers": self.flood(|reading| reading.part(counter::WITH_ANSWERS)),
            "truncated": self.flood(|reading| reading.part(counter::TRUNCATED)),
            "by_xdp": self.flood(|reading| reading.by_xdp),
            "by_tcx": self.figures(|trial| trial.by_tcx).median(),
        })
    }
}

/// All rows.
pub fn rows(rows: &[Row]) -> Value {
    let of_sealdns = |row: &Row| {
        rows.iter().find(|other| other.mix == row.mix && other.target == Target::Sealdns)
    };
    rows.iter().map(|row| row.json(of_sealdns(row).unwrap_or(row))).collect()
}
