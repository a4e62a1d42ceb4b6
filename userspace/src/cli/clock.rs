//! Times on the command line.

use nix::sys::resource::{UsageWho, getrusage};

/// Seconds since 1970, truncated to 32 bits (RFC 4034 section 3.1.5).
pub fn now() -> u32 {
    jiff::Timestamp::now().as_second() as u32
}

/// CPU seconds that this process has used, in user and in system mode.
pub fn cpu_seconds() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        [usage.user_time(), usage.system_time()]
            .iter()
            .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
            .sum()
    })
}

/// Takes seconds since 1970, or `YYYYMMDDHHMMSS` in UTC as DNSSEC tools write it.
pub fn parse_time(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is neither seconds since 1970 nor YYYYMMDDHHMMSS");
    if text.len() == 14 && text.bytes().all(|octet| octet.is_ascii_digit()) {
        let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", text).map_err(|_| wrong())?;
        let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
        return Ok(zoned.timestamp().as_second() as u32);
    }
    text.parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_or_a_date() {
        assert_eq!(parse_time("20260101000000"), Ok(1_767_225_600));
        assert_eq!(parse_time("1767225600"), Ok(1_767_225_600));
        for wrong in ["20261301000000", "tomorrow", "-1"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
