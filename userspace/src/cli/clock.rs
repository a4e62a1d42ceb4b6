//! Times and durations on the command line.

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

/// Takes numbers with the units w, d, h, m, s, such as `14d` or `1w12h`; returns seconds.
pub fn parse_duration(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is not a duration such as 14d, 1w12h or 90m");
    let (mut total, mut number) = (0u32, None::<u32>);
    for octet in text.bytes() {
        if octet.is_ascii_digit() {
            let digit = u32::from(octet - b'0');
            let more = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(digit));
            number = Some(more.ok_or_else(wrong)?);
            continue;
        }
        let unit = match octet {
            b'w' => 604_800,
            b'd' => 86_400,
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return Err(wrong()),
        };
        let part = number.take().and_then(|number| number.checked_mul(unit));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
    }
    if number.is_some() || text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// As [`parse_duration`], but no time at all is refused.
pub fn parse_lifetime(text: &str) -> Result<u32, String> {
    match parse_duration(text)? {
        0 => {
            Err(format!("`{text}` is no time: a signature that ends when it begins is never valid"))
        }
        seconds => Ok(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_times() {
        assert_eq!(parse_duration("14d"), Ok(1_209_600));
        assert_eq!(parse_duration("1w12h"), Ok(648_000));
        for wrong in ["", "14", "d", "14x", "99999999w", "4294967296s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0s", "0w0d", "", "s"] {
            assert!(parse_lifetime(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_lifetime("1s"), Ok(1));
        assert_eq!(parse_time("20260101000000"), Ok(1_767_225_600));
        assert_eq!(parse_time("1767225600"), Ok(1_767_225_600));
        for wrong in ["20261301000000", "tomorrow", "-1"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
