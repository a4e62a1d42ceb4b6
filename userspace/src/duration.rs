//! Durations as people write them: numbers with the units w, d, h, m and s, in either case, such as `90s`, `1h30m`, `1W2D`.
//!
//! The grammar is that of TTLs in master files (BIND's extension of RFC 1035 section 5.1), so that zones, configuration
//! and command line have the same one. Crates that read durations have others: `M` is a month for humantime, `1h ago`
//! a duration for jiff, and neither has both weeks and what master files need, upper case.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

/// The units, largest first, and their seconds.
const UNITS: [(u8, u32); 5] =
    [(b'w', 604_800), (b'd', 86_400), (b'h', 3_600), (b'm', 60), (b's', 1)];

/// The longest duration of configuration and command line, in seconds: 7101 weeks, as many as 32 bits of seconds hold.
const MOST: u32 = u32::MAX - u32::MAX % 604_800;

/// Reads numbers with units; gives seconds. `None` for what is written otherwise, and for more than 64 bits of seconds.
pub fn parse(text: &[u8]) -> Option<u64> {
    let (mut total, mut number) = (0u64, None::<u64>);
    for octet in text {
        if octet.is_ascii_digit() {
            let tens = number.unwrap_or(0).checked_mul(10)?;
            number = Some(tens.checked_add((octet - b'0').into())?);
            continue;
        }
        let (_, seconds) = UNITS.iter().find(|(unit, _)| *unit == octet.to_ascii_lowercase())?;
        total = total.checked_add(number.take()?.checked_mul((*seconds).into())?)?;
    }
    (number.is_none() && !text.is_empty()).then_some(total)
}

/// A text that is not a duration, or none within bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{text}\" is not a duration from {} to {}: write numbers with the units w, d, h, m, s, such as \"1h30m\" or \"2w\"",
    Exact(*least), Exact(*most)
)]
pub struct DurationError {
    text: String,
    least: u32,
    most: u32,
}

/// Reads a duration of at least `least` and at most `most` seconds; gives seconds.
pub fn within(text: &str, least: u32, most: u32) -> Result<u32, DurationError> {
    let seconds = parse(text.trim().as_bytes()).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.filter(|seconds| (least..=most).contains(seconds)).ok_or_else(|| DurationError {
        text: text.to_owned(),
        least,
        most,
    })
}

/// Reads a duration of at least `least` seconds; gives seconds.
pub fn at_least(least: u32, text: &str) -> Result<u32, DurationError> {
    within(text, least, MOST)
}

/// A number of seconds, written as [`parse`] reads it, in the largest unit that it is a multiple of.
#[derive(Debug, Clone, Copy)]
pub struct Exact(pub u32);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |seconds: u32| self.0 > 0 && self.0.is_multiple_of(seconds);
        let found = UNITS.iter().find(|(_, seconds)| fits(*seconds));
        let (unit, seconds) = *found.unwrap_or(&(b's', 1));
        write!(f, "{}{}", self.0 / seconds, char::from(unit))
    }
}

/// A number of seconds in words, in the unit that says most with one number, rounded down: `3 days`.
#[derive(Debug, Clone, Copy)]
pub struct Rounded(pub u32);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 second"),
            seconds @ 0..120 => write!(f, "{seconds} seconds"),
            seconds @ 120..7_200 => write!(f, "{} minutes", seconds / 60),
            seconds @ 7_200..172_800 => write!(f, "{} hours", seconds / 3_600),
            seconds => write!(f, "{} days", seconds / 86_400),
        }
    }
}

/// A duration of one second at least, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u32);

impl Period {
    /// Of so many seconds; of one if that is none.
    pub const fn from_seconds(seconds: u32) -> Period {
        Period(if seconds == 0 { 1 } else { seconds })
    }

    /// In seconds; at least 1.
    pub fn seconds(self) -> u32 {
        self.0
    }

    /// As the standard library has it.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl std::str::FromStr for Period {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Period, DurationError> {
        at_least(1, text).map(Period)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Exact(self.0).fmt(f)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_with_units_are_a_duration() {
        let cases = [("1h", 3600), ("1W2D", 9 * 86_400), ("1d2h3m4s", 93_784), ("0s", 0)];
        for (text, seconds) in cases {
            assert_eq!(parse(text.as_bytes()), Some(seconds), "{text}");
        }
        for wrong in
            ["", "14", "d", "14x", "1h 30m", "-1s", "1.5h", "h1", "1h30", "99999999999999w"]
        {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_duration_keeps_to_its_bounds() {
        assert_eq!("2w".parse(), Ok(Period(1_209_600)));
        assert_eq!("7101w".parse(), Ok(Period(MOST)));
        for wrong in ["0s", "0w0d", "7102w", "4294967296s"] {
            let error = wrong.parse::<Period>().unwrap_err();
            let start = format!("\"{wrong}\" is not a duration from 1s to 7101w: write ");
            assert!(error.to_string().starts_with(&start), "{error}");
        }
        assert_eq!(within("1h", 0, 3600), Ok(3600));
        assert_eq!(within("0s", 0, 3600), Ok(0));
        assert!(within("61m", 0, 3600).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_exactly_reads_the_same(seconds in 0..=MOST, unit in 0usize..5) {
            for seconds in [seconds, seconds - seconds % UNITS[unit].1] {
                prop_assert_eq!(within(&Exact(seconds).to_string(), 0, MOST), Ok(seconds));
            }
        }
    }

    #[test]
    fn a_duration_in_words_has_one_number() {
        let of = |seconds| Rounded(seconds).to_string();
        assert_eq!([of(1), of(119), of(7199)], ["1 second", "119 seconds", "119 minutes"]);
        assert_eq!([of(172_799), of(u32::MAX)], ["47 hours", "49710 days"]);
    }
}
