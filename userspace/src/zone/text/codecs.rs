//! What one field of RDATA is written as: numbers, times, base 16, 32 and 64.

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

/// What a character is worth in base 64 (RFC 4648 section 4); 64 for `=`, 255 for what is none.
const BASE64: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    let mut values = [255; 256];
    let mut value = 0;
    while value < alphabet.len() {
        values[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    values
};

#[derive(Default)]
pub(super) struct Base64 {
    bits: u32,
    /// Characters since the last whole group of four, padding included.
    count: u8,
    padding: u8,
}

impl Base64 {
    pub(super) fn push(&mut self, octet: u8, out: &mut Vec<u8>) -> Option<()> {
        let value = BASE64[usize::from(octet)];
        // Nothing follows padding, and a group has two characters at least.
        let padding = value == 64;
        if value > 64 || (!padding && self.padding > 0) || (padding && self.count < 2) {
            return None;
        }
        if padding {
            self.padding += 1;
        } else {
            self.bits = self.bits << 6 | u32::from(value);
        }
        self.count += 1;
        if self.count == 4 {
            let padding = u32::from(self.padding);
            // RFC 4648 section 3.5: bits that make no octet (two for each `=`) are 0.
            if self.bits & ((1 << (2 * padding)) - 1) != 0 {
                return None;
            }
            let octets = (self.bits << (6 * padding)).to_be_bytes();
            out.extend_from_slice(&octets[1..4 - usize::from(self.padding)]);
            self.bits = 0;
            // A group with padding is the last: nothing may follow, `count` says so.
            self.count = if self.padding > 0 { 5 } else { 0 };
        } else if self.count > 4 {
            return None;
        }
        Some(())
    }

    pub(super) fn finish(&self) -> Option<()> {
        matches!(self.count, 0 | 5).then_some(())
    }
}

/// Base 64 of one token (RFC 4648 section 4), padding required.
pub(super) fn decode_base64(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut decoder = Base64::default();
    raw.iter().try_for_each(|&octet| decoder.push(octet, out))?;
    decoder.finish()
}

/// Base 32 with extended hex alphabet and without padding (RFC 4648 section 7, RFC 5155).
pub(super) fn decode_base32(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (mut bits, mut count) = (0u32, 0u32);
    for &octet in raw {
        let value = match octet {
            b'0'..=b'9' => octet - b'0',
            b'a'..=b'v' => octet - b'a' + 10,
            b'A'..=b'V' => octet - b'A' + 10,
            _ => return None,
        };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // Five bits or more left over would have been another character; others must be 0.
    (!raw.is_empty() && count < 5 && bits == 0).then_some(())
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
            decode_base64(text, &mut out).map(|()| out)
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
