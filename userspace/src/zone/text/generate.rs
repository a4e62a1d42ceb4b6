//! `$GENERATE`: templates over a range of numbers, as BIND has them.
//!
//! In a template `$` is the number and `$$` a dollar sign; `${offset[,width[,base]]}` adds an
//! offset, fills with zeros to a width, and writes in base `d`, `o`, `x`, `X`, or as hexadecimal
//! digits from the lowest with dots between (`n`, `N`), for reverse zones of IPv6.

/// The highest number and width of a template, in BIND as here.
const MAX_NUMBER: u64 = i32::MAX as u64;

/// The widest a number may be written: more octets than a label or an address needs.
const MAX_WIDTH: u64 = 255;

/// The numbers of a `$GENERATE`; at most 2^31 - 1 each.
pub(super) struct Range {
    start: u32,
    stop: u32,
    step: u32,
}

impl Range {
    /// How many numbers there are.
    pub(super) fn count(&self) -> u32 {
        (self.stop - self.start) / self.step + 1
    }

    pub(super) fn values(&self) -> impl Iterator<Item = u32> + use<> {
        (self.start..=self.stop).step_by(self.step as usize)
    }
}

/// `START-STOP` or `START-STOP/STEP`.
pub(super) fn range(raw: &[u8]) -> Option<Range> {
    let text = str::from_utf8(raw).ok()?;
    let (bounds, step) = text.split_once('/').unwrap_or((text, "1"));
    let (start, stop) = bounds.split_once('-')?;
    let number = |text: &str| super::codecs::decimal(text.as_bytes(), MAX_NUMBER).map(|n| n as u32);
    let range = Range { start: number(start)?, stop: number(stop)?, step: number(step)? };
    (range.start <= range.stop && range.step > 0).then_some(range)
}

/// Writes a template with its numbers filled in.
pub(super) fn expand(template: &[u8], value: u32, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut at = 0;
    while let Some(&octet) = template.get(at) {
        match (octet, template.get(at + 1)) {
            (b'$', Some(b'$')) => {
                out.push(b'$');
                at += 2;
            }
            (b'$', Some(b'{')) => {
                const FORM: &str = "$GENERATE: ${OFFSET,WIDTH,BASE} is expected, with base d, o, \
                                    x, X, n or N";
                let rest = &template[at + 2..];
                let length = rest.iter().position(|&octet| octet == b'}').ok_or(FORM)?;
                modified(&rest[..length], value, out).ok_or(FORM)?;
                at += 2 + length + 1;
            }
            (b'$', _) => {
                out.extend_from_slice(value.to_string().as_bytes());
                at += 1;
            }
            // An escape stays one: `\$` is a dollar sign in the end.
            (b'\\', Some(&next)) => {
                out.extend_from_slice(&[octet, next]);
                at += 2;
            }
            _ => {
                out.push(octet);
                at += 1;
            }
        }
    }
    Ok(())
}

/// What stands in the braces: `offset[,width[,base]]`.
fn modified(modifier: &[u8], value: u32, out: &mut Vec<u8>) -> Option<()> {
    let mut parts = str::from_utf8(modifier).ok()?.split(',');
    let offset: i64 = parts.next()?.trim_ascii().parse().ok()?;
    let width = match parts.next() {
        Some(width) => super::codecs::decimal(width.trim_ascii().as_bytes(), MAX_WIDTH)? as usize,
        None => 0,
    };
    let base = parts.next().unwrap_or("d");
    let value = i64::from(value).checked_add(offset)?;
    if parts.next().is_some() || i32::try_from(value).is_err() {
        return None;
    }
    // Negative numbers stand in two's complement in all bases but the decimal, as in C.
    let bits = value as i32 as u32;
    let written = match base {
        "d" => format!("{value:0width$}"),
        "o" => format!("{bits:0width$o}"),
        "x" => format!("{bits:0width$x}"),
        "X" => format!("{bits:0width$X}"),
        "n" => nibbles(bits, width),
        "N" => nibbles(bits, width).to_ascii_uppercase(),
        _ => return None,
    };
    out.extend_from_slice(written.as_bytes());
    Some(())
}

/// Hexadecimal digits from the lowest, with dots between; the width counts the dots too.
fn nibbles(mut bits: u32, width: usize) -> String {
    let mut written = String::new();
    loop {
        written.extend(char::from_digit(bits & 0xf, 16));
        bits >>= 4;
        if bits == 0 && written.len() >= width {
            return written;
        }
        written.push('.');
        if bits == 0 && written.len() >= width {
            return written;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(template: &str, value: u32) -> Result<String, &'static str> {
        let mut out = Vec::new();
        expand(template.as_bytes(), value, &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn templates_are_those_of_bind() {
        for (template, value, expected) in [
            ("host-$", 7, "host-7"),
            ("a$$b$", 7, "a$b7"),
            ("\\$$", 7, "\\$7"),
            ("${0,3}", 7, "007"),
            ("${-2}", 7, "5"),
            ("${10,4,x}", 7, "0011"),
            ("${0,0,X}", 171, "AB"),
            ("${0,0,o}", 8, "10"),
            ("${0,3,n}", 0x1b, "b.1"),
            ("${0,7,N}", 0x1b, "B.1.0.0"),
            ("${0,4,n}", 1, "1.0."),
        ] {
            assert_eq!(expanded(template, value).as_deref(), Ok(expected), "{template}");
        }
        for bad in ["${", "${}", "${0,0,z}", "${x}", "${0,9999}", "${0,1,d,1}"] {
            assert!(expanded(bad, 1).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_have_bounds_and_a_step() {
        let values =
            |text: &str| range(text.as_bytes()).map(|range| range.values().collect::<Vec<_>>());
        assert_eq!(values("1-3"), Some(vec![1, 2, 3]));
        assert_eq!(values("0-10/5"), Some(vec![0, 5, 10]));
        assert_eq!(range(b"0-11/5").map(|range| range.count()), Some(3));
        assert_eq!(range(b"0-2147483647").map(|range| range.count()), Some(1 << 31));
        for bad in ["3-1", "1-3/0", "1", "-1-3", "1-2147483648", "a-b", "1-2-3"] {
            assert_eq!(values(bad), None, "{bad}");
        }
    }
}
