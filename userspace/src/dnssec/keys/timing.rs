//! When a key is used: the times in BIND's `.private` files (format 1.3), as dnssec-signzone and named obey them.
//!
//! A key is in the zone from *Publish* on, signs from *Activate* to *Inactive*, and leaves the zone at *Delete*. From
//! *Revoke* on its DNSKEY record says that it is revoked, and a key-signing key then signs that RRset alone (RFC 5011
//! section 2.1). A key without any of these times is not in use; a file of an older format has none, and its key always
//! is.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// What stands in the place of a time and is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("says `{what}: {value}`, which is no time: one is YYYYMMDDHHMMSS, in UTC")]
pub struct TimeError {
    /// Which time.
    what: String,
    /// What stands there.
    value: String,
}

/// The first format that has times.
const WITH_TIMES: (u32, u32) = (1, 3);

/// When a key is used: times in seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct KeyTimes {
    /// When the key was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
    /// When it comes into the zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<u64>,
    /// When it begins to sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activate: Option<u64>,
    /// When it is revoked (RFC 5011).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke: Option<u64>,
    /// When it ends to sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inactive: Option<u64>,
    /// When it leaves the zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete: Option<u64>,
}

/// What a key is used for at a moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeyState {
    /// It is not in the zone yet.
    Future,
    /// It is in the zone and does not sign yet.
    Published,
    /// It is in the zone and signs.
    Active,
    /// It is in the zone and does not sign any more.
    Inactive,
    /// It is in the zone as revoked, and signs the DNSKEY RRset alone, or nothing.
    Revoked,
    /// It is not in the zone any more.
    Deleted,
}

impl KeyState {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            KeyState::Future => "future",
            KeyState::Published => "published",
            KeyState::Active => "active",
            KeyState::Inactive => "inactive",
            KeyState::Revoked => "revoked",
            KeyState::Deleted => "deleted",
        }
    }

    /// Whether the zone has its DNSKEY record.
    pub const fn is_in_zone(self) -> bool {
        !matches!(self, KeyState::Future | KeyState::Deleted)
    }
}

impl KeyTimes {
    /// The times in the text of a `.private` file; `None` if it is of a format that has none.
    ///
    /// # Errors
    /// [`TimeError`] for what is no time.
    pub fn parse(private: &str) -> Result<Option<KeyTimes>, TimeError> {
        let fields = || private.lines().filter_map(|line| line.split_once(':'));
        let format = fields().find(|(name, _)| *name == "Private-key-format");
        if format.is_none_or(|(_, version)| !has_times(version.trim())) {
            return Ok(None);
        }
        let mut times = KeyTimes::default();
        for (name, value) in fields() {
            let time = match name {
                "Created" => &mut times.created,
                "Publish" => &mut times.publish,
                "Activate" => &mut times.activate,
                "Revoke" => &mut times.revoke,
                "Inactive" => &mut times.inactive,
                "Delete" => &mut times.delete,
                _ => continue,
            };
            let read = parse_time(value.trim());
            *time = Some(read.ok_or_else(|| TimeError {
                what: name.to_owned(),
                value: value.trim().to_owned(),
            })?);
        }
        Ok(Some(times))
    }

    /// What the key is used for at `now`, in seconds since 1970.
    ///
    /// What is to be from the key's making on is so whatever the clock says: a clock that is before a key's making is
    /// wrong, and a zone must not lose its keys over that.
    pub fn state(&self, now: u32) -> KeyState {
        let now = u64::from(now);
        let is_past = |time: Option<u64>| time.is_some_and(|time| time <= now);
        let has_begun = |time: Option<u64>| is_past(time) || time.is_some() && time <= self.created;
        // Where it is not said when it comes into the zone, it is there while it signs.
        let is_gone = is_past(self.delete) || self.publish.is_none() && is_past(self.inactive);
        if is_gone {
            KeyState::Deleted
        } else if !has_begun(self.publish.or(self.activate)) {
            KeyState::Future
        } else if is_past(self.revoke) {
            KeyState::Revoked
        } else if is_past(self.inactive) {
            KeyState::Inactive
        } else if has_begun(self.activate) {
            KeyState::Active
        } else {
            KeyState::Published
        }
    }

    /// When its use changes next after `now`, in seconds since 1970; `None` if never, or not before 2106.
    pub fn next_change(&self, now: u32) -> Option<u32> {
        let times = [self.publish, self.activate, self.revoke, self.inactive, self.delete];
        let state = self.state(now);
        let later = times.into_iter().flatten().filter_map(|time| u32::try_from(time).ok());
        later.filter(|time| *time > now && self.state(*time) != state).min()
    }
}

fn has_times(version: &str) -> bool {
    let numbers = version.strip_prefix('v').and_then(|numbers| numbers.split_once('.'));
    let parsed =
        numbers.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    parsed.is_some_and(|version: (u32, u32)| version >= WITH_TIMES)
}

/// `YYYYMMDDHHMMSS` in UTC. Not as in a signature, where times count modulo 2^32 seconds: a key that is to leave in 2110
/// would be gone.
fn parse_time(text: &str) -> Option<u64> {
    if text.len() != 14 || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let civil = DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
    let time = TimeZone::UTC.to_timestamp(civil).ok()?;
    u64::try_from(time.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_800_000_000;

    #[test]
    fn only_formats_with_times_have_times() {
        let text = |format: &str| format!("{format}Algorithm: 13 (X)\nInactive: 20260101000000\n");
        for none in ["", "Private-key-format: v1.2\n", "Private-key-format: 1.3\n"] {
            assert_eq!(KeyTimes::parse(&text(none)), Ok(None), "{none}");
        }
        for some in ["v1.3", "v1.10", "v2.0"] {
            let times = KeyTimes::parse(&text(&format!("Private-key-format: {some}\n")));
            let inactive = Some(1_767_225_600);
            assert_eq!(times, Ok(Some(KeyTimes { inactive, ..KeyTimes::default() })));
        }
    }

    #[test]
    fn what_is_no_time_is_named() {
        for value in
            ["", "2026", "20260231000000", "2026010100000x", "+2026010100000", "19600101000000"]
        {
            let text = format!("Private-key-format: v1.3\nDelete: {value}\n");
            let error = KeyTimes::parse(&text).unwrap_err().to_string();
            assert!(error.contains("Delete") && error.contains(value), "{error}");
        }
    }

    #[test]
    fn a_clock_before_a_key_s_making_takes_no_key_away() {
        let made = Some(u64::from(NOW));
        let times =
            KeyTimes { created: made, publish: made, activate: made, ..KeyTimes::default() };
        for now in [0, NOW - 1, NOW, u32::MAX] {
            assert_eq!((times.state(now), times.next_change(now)), (KeyState::Active, None));
        }
        let later = KeyTimes { activate: Some(u64::from(NOW) + 9), ..times };
        assert_eq!((later.state(0), later.next_change(0)), (KeyState::Published, Some(NOW + 9)));
    }

    #[test]
    fn the_next_change_is_the_next() {
        // All orders of the times in a few places around now.
        let places = [None, Some(-20), Some(10), Some(20), Some(30)];
        let at = |place: Option<i64>| place.map(|offset| (i64::from(NOW) + offset) as u64);
        let mut indexes = [0; 5];
        loop {
            let [publish, activate, revoke, inactive, delete] =
                indexes.map(|index| at(places[index]));
            let times = KeyTimes { created: None, publish, activate, revoke, inactive, delete };
            let state = times.state(NOW);
            let expected = (NOW + 1..=NOW + 40).find(|now| times.state(*now) != state);
            assert_eq!(times.next_change(NOW), expected, "{times:?}");
            let Some(step) = indexes.iter().position(|index| *index + 1 < places.len()) else {
                break;
            };
            indexes[..step].fill(0);
            indexes[step] += 1;
        }
    }
}
