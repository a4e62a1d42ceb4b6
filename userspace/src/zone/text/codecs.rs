//! What one field of RDATA is written as: numbers, times, base 16, 32 and 64.

use data_encoding::{BASE32_DNSSEC, DecodeError, DecodeKind, Encoding};

/// A decimal number of digits only, at most `max`.
pub(super) fn decimal(raw: &[u8], max: u64) -> Option<u64> {
    if raw.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for &octet in raw {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    (value <= max).then_some(value)
}

/// Seconds, bare or as numbers with units: `3600`, `1h`, `1W2D` (BIND's extension of RFC 1035).
pub(super) fn duration(raw: &[u8]) -> Option<u64> {
    decimal(raw, u64::MAX).or_else(|| crate::duration::parse(raw))
}

/// A point in time modulo 2^32 seconds: `YYYYMMDDHHmmSS` in UTC, or seconds since 1970
/// (RFC 4034 section 3.2).
pub fn point_in_time(raw: &[u8]) -> Option<u32> {
    if raw.len() != 14 {
        return decimal(raw, u32::MAX.into()).map(|seconds| seconds as u32);
    }
    let part = |from: usize, to: usize| decimal(&raw[from..to], 9999).map(|part| part as i64);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=longest).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970-03-01 in years that start in March, so that a leap day ends one.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let seconds = (days - 719_468) * 86_400 + hour * 3_600 + minute * 60 + second;
    // Serial arithmetic: the field wraps (RFC 4034 section 3.1.5).
    Some(seconds as u32)
}

pub(super) fn named(raw: &[u8], names: &[(&str, u64)]) -> Option<u64> {
    let found = names.iter().find(|(name, _)| raw.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(found.1)
}

pub(super) fn hex_digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

/// Why octets are not what an encoding makes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Undecodable {
    /// The octet at this place cannot stand there.
    Octet(usize),
    /// There are too few.
    Length,
}

/// Decodes base 16, 32 or 64 (RFC 4648) behind what is in `out`. Bits that make no octet are 0 (its section 3.5), and
/// nothing follows padding.
pub(super) fn decode(
    encoding: &Encoding,
    raw: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Undecodable> {
    let start = out.len();
    let decoded = encoding.decode_len(raw.len()).and_then(|len| {
        out.resize(start + len, 0);
        encoding.decode_mut(raw, &mut out[start..]).map_err(|partial| partial.error)
    });
    let whole = &raw[..raw.len().saturating_sub(4)];
    let fault = match decoded {
        // The library takes several texts with padding one after the other.
        Ok(_) if whole.contains(&b'=') => {
            Undecodable::Octet(raw.iter().position(|octet| *octet == b'=').unwrap_or(0))
        }
        Ok(len) => {
            out.truncate(start + len);
            return Ok(());
        }
        Err(DecodeError { kind: DecodeKind::Length, .. }) => {
            let symbols = encoding.specification();
            let is_known = |octet: u8| {
                let octet = char::from(octet);
                symbols.symbols.contains(octet)
                    || symbols.translate.from.contains(octet)
                    || symbols.padding == Some(octet)
            };
            let unknown = raw.iter().position(|octet| !is_known(*octet));
            unknown.map_or(Undecodable::Length, Undecodable::Octet)
        }
        Err(error) => Undecodable::Octet(error.position),
    };
    out.truncate(start);
    Err(fault)
}

/// Base 32 with extended hex alphabet and without padding (RFC 4648 section 7, RFC 5155).
pub(super) fn decode_base32(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    decode(&BASE32_DNSSEC, raw, out).ok().filter(|()| !raw.is_empty())
}

pub(super) fn eui(raw: &[u8], octets: u8, out: &mut Vec<u8>) -> Option<()> {
    if raw.len() != usize::from(octets) * 3 - 1 {
        return None;
    }
    for (index, pair) in raw.chunks(3).enumerate() {
        let last = index + 1 == usize::from(octets);
        if !last && pair[2] != b'-' {
            return None;
        }
        out.push(hex_digit(pair[0])? << 4 | hex_digit(pair[1])?);
    }
    Some(())
}

pub(super) fn locator(raw: &[u8]) -> Option<u64> {
    let (mut value, mut groups) = (0u64, 0);
    for group in raw.split(|&octet| octet == b':') {
        if group.is_empty() || group.len() > 4 || groups == 4 {
            return None;
        }
        let mut bits = 0u64;
        for &octet in group {
            bits = bits << 4 | u64::from(hex_digit(octet)?);
        }
        value = value << 16 | bits;
        groups += 1;
    }
    (groups == 4).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64;

    #[test]
    fn durations_have_units_or_none() {
        assert_eq!(duration(b"3600"), Some(3600));
        assert_eq!(duration(b"1h"), Some(3600));
        assert_eq!(duration(b"1W2D"), Some(9 * 86_400));
        assert_eq!(duration(b"1d2h3m4s"), Some(93_784));
        for none in [&b""[..], b"h", b"1x", b"1h30", b"1hh", b"-1", b"99999999999999999999w"] {
            assert_eq!(duration(none), None, "{}", String::from_utf8_lossy(none));
        }
    }

    #[test]
    fn times_are_dates_or_seconds() {
        assert_eq!(point_in_time(b"20040509183619"), Some(1_084_127_779));
        assert_eq!(point_in_time(b"19700101000000"), Some(0));
        assert_eq!(point_in_time(b"20000229000000"), Some(951_782_400));
        // 2106-02-07 06:28:16 is 2^32 seconds.
        assert_eq!(point_in_time(b"21060207062816"), Some(0));
        assert_eq!(point_in_time(b"1084127779"), Some(1_084_127_779));
        assert_eq!(point_in_time(b"20010229000000"), None);
        assert_eq!(point_in_time(b"20041309183619"), None);
    }

    #[test]
    fn base64_is_strict() {
        let decode = |text: &[u8]| {
            let mut out = Vec::new();
            decode(&BASE64, text, &mut out).ok().map(|()| out)
        };
        assert_eq!(decode(b"Zm9vYmFy").as_deref(), Some(&b"foobar"[..]));
        assert_eq!(decode(b"Zm9vYmE=").as_deref(), Some(&b"fooba"[..]));
        assert_eq!(decode(b"Zm9vYg==").as_deref(), Some(&b"foob"[..]));
        for bad in [&b"Zg"[..], b"Zg=", b"Zh==", b"Z===", b"Zg==Zg==", b"Zg=a", b"Zm9=v", b"Zm9*"] {
            assert_eq!(decode(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn base32_is_that_of_nsec3() {
        let mut out = Vec::new();
        assert_eq!(decode_base32(b"CPNMUOJ1e8", &mut out), Some(()));
        assert_eq!(out, b"foobar");
        assert!(decode_base32(b"CPNMUOJ1EW", &mut Vec::new()).is_none());
        assert!(decode_base32(b"C", &mut Vec::new()).is_none());
    }
}
