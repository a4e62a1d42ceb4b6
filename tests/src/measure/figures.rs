//! The same figure, taken several times.

use serde_json::{Value, json};

/// One value of each round.
#[derive(Clone, Default, Debug)]
pub struct Figures(pub Vec<f64>);

impl Figures {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The middle one; not a number if there is none.
    pub fn median(&self) -> f64 {
        self.sorted().get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Median, least and greatest.
    pub fn json(&self) -> Value {
        let sorted = self.sorted();
        json!({ "median": self.median(), "min": sorted.first(), "max": sorted.last() })
    }
}
