//! Times on the command line.

use crate::zone::text::point_in_time;

/// Takes seconds since 1970, or `YYYYMMDDHHMMSS` in UTC as DNSSEC tools write it.
pub fn parse_time(text: &str) -> Result<u32, String> {
    point_in_time(text.as_bytes())
        .ok_or_else(|| format!("`{text}` is neither seconds since 1970 nor YYYYMMDDHHMMSS"))
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
