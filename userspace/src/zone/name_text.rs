//! Domain names in presentation format (RFC 1035 section 5.1). They are read here wherever they come from: master
//! files, the configuration, the command line.

use std::str::FromStr;

use super::name::{MAX_LABEL_LEN, MAX_NAME_LEN, Name, labels};

/// The most octets that a name of 255 octets takes when each is written as `\DDD`.
const MAX_NAME_TEXT: usize = 4 * MAX_NAME_LEN;

/// What is wrong with a text that is to be a domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing stands between two dots, or before the first.
    #[error("a label is empty")]
    EmptyLabel,
    /// More than RFC 1035 section 2.3.4 allows.
    #[error("a label is longer than {MAX_LABEL_LEN} octets")]
    LongLabel,
    /// More than RFC 1035 section 2.3.4 allows.
    #[error("a domain name is longer than {MAX_NAME_LEN} octets")]
    TooLong,
    /// The same, only with the origin.
    #[error("completed with the origin, the domain name is longer than {MAX_NAME_LEN} octets")]
    TooLongCompleted,
    /// There is no text.
    #[error("it is empty")]
    Empty,
    /// A blank or tab that is not escaped.
    #[error("white space stands in a domain name only as \\032 or \\009")]
    WhiteSpace,
    /// A backslash before what it cannot escape.
    #[error("{0}")]
    Escape(&'static str),
}

/// A text that is not a domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a domain name: {fault}")]
pub struct NameError {
    /// The text.
    pub text: String,
    /// Why.
    pub fault: NameFault,
}

impl FromStr for Name {
    type Err = NameError;

    /// Takes a name in any case, with or without the last dot.
    fn from_str(text: &str) -> Result<Name, NameError> {
        let error = |fault| NameError { text: text.to_owned(), fault };
        if text.is_empty() {
            return Err(error(NameFault::Empty));
        }
        if has_white_space(text.as_bytes()) {
            return Err(error(NameFault::WhiteSpace));
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        append(text.as_bytes(), &[0], &mut wire).map_err(|(_, fault)| error(fault))?;
        Name::from_wire(&wire).ok_or_else(|| error(NameFault::TooLong))
    }
}

/// Whether a blank or tab stands in a text without a backslash before it.
fn has_white_space(text: &[u8]) -> bool {
    let mut octets = text.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' => drop(octets.next()),
            b' ' | b'\t' => return true,
            _ => {}
        }
    }
    false
}

/// Appends the wire format of a name, in the case in which it is written; one that does not end in a dot is completed
/// with `origin`. The error has the octet of the text at which the fault is. What is appended then is to be thrown
/// away.
pub(super) fn append(
    text: &[u8],
    origin: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), (usize, NameFault)> {
    if text == b"." {
        out.push(0);
        return Ok(());
    }
    if text.len() > MAX_NAME_TEXT {
        return Err((0, NameFault::TooLong));
    }
    let start = out.len();
    let mut label_at = start;
    out.push(0);
    let mut at = 0;
    while let Some(&octet) = text.get(at) {
        match octet {
            b'.' => {
                let length = out.len() - label_at - 1;
                if length == 0 {
                    return Err((at, NameFault::EmptyLabel));
                }
                if length > MAX_LABEL_LEN {
                    return Err((at.saturating_sub(length), NameFault::LongLabel));
                }
                out[label_at] = length as u8;
                label_at = out.len();
                out.push(0);
                at += 1;
            }
            b'\\' => {
                let (octet, length) =
                    unescape(&text[at..]).map_err(|message| (at, NameFault::Escape(message)))?;
                out.push(octet);
                at += length;
            }
            _ => {
                out.push(octet);
                at += 1;
            }
        }
    }
    let length = out.len() - label_at - 1;
    if length > MAX_LABEL_LEN {
        return Err((at.saturating_sub(length), NameFault::LongLabel));
    }
    // A last label without octets is the root: the name is absolute.
    if length > 0 {
        out[label_at] = length as u8;
        out.extend_from_slice(origin);
    }
    if out.len() - start > MAX_NAME_LEN {
        let is_completed = length > 0 && origin.len() > 1;
        let fault = if is_completed { NameFault::TooLongCompleted } else { NameFault::TooLong };
        return Err((0, fault));
    }
    Ok(())
}

/// The octet that an escape stands for and the length of the escape, `raw` starting with its
/// backslash: `\DDD` is the octet with that decimal value, `\X` is X (RFC 1035 section 5.1).
pub(super) fn unescape(raw: &[u8]) -> Result<(u8, usize), &'static str> {
    let digit = |index: usize| {
        raw.get(index).filter(|octet| octet.is_ascii_digit()).map(|octet| u32::from(octet - b'0'))
    };
    match raw.get(1) {
        None => Err("a backslash stands alone"),
        Some(octet) if !octet.is_ascii_digit() => Ok((*octet, 2)),
        Some(_) => {
            let value = match (digit(1), digit(2), digit(3)) {
                (Some(a), Some(b), Some(c)) => a * 100 + b * 10 + c,
                _ => return Err("a backslash before a digit needs three digits, as in \\032"),
            };
            let octet = u8::try_from(value).map_err(|_| "an escape \\DDD is at most \\255")?;
            Ok((octet, 4))
        }
    }
}

/// A zone's name within a file name, as BIND writes it: what is not a letter, digit, `-` or `_`
/// becomes `%` and two hexadecimal digits. Nothing for the root zone, which has no label.
pub fn in_file_name(zone: &Name) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for label in labels(zone.as_wire()) {
        for &octet in label {
            if octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_' {
                text.push(octet.into());
            } else {
                let _ = write!(text, "%{octet:02X}");
            }
        }
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(text: &str) -> NameFault {
        text.parse::<Name>().err().map(|error| error.fault).expect("a fault")
    }

    #[test]
    fn escapes_are_octets() {
        assert_eq!(unescape(b"\\032x"), Ok((32, 4)));
        assert_eq!(unescape(b"\\.x"), Ok((b'.', 2)));
        assert!(unescape(b"\\256").is_err() && unescape(b"\\03").is_err());
        assert!(unescape(b"\\").is_err());
    }

    #[test]
    fn the_last_dot_may_be_left_out() {
        let wire = |text: &str| text.parse::<Name>().map(|name| name.as_wire().to_vec());
        assert_eq!(wire("."), Ok(vec![0]));
        assert_eq!(wire("WWW.example"), wire("www.Example."));
        assert_eq!(wire("a\\.b.\\032c"), Ok(b"\x03a.b\x02 c\x00".to_vec()));
    }

    #[test]
    fn what_is_no_name_says_why() {
        let long_label = "a".repeat(64);
        let long_name = "abcdefg.".repeat(32);
        for (text, expected) in [
            ("", NameFault::Empty),
            ("a b", NameFault::WhiteSpace),
            ("a..b", NameFault::EmptyLabel),
            (".a", NameFault::EmptyLabel),
            (&long_label, NameFault::LongLabel),
            (&long_name, NameFault::TooLong),
            (&long_name[..long_name.len() - 1], NameFault::TooLong),
            ("a\\", NameFault::Escape("a backslash stands alone")),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
        let error = "a..b".parse::<Name>().expect_err("an error");
        assert_eq!(error.to_string(), "\"a..b\" is not a domain name: a label is empty");
    }

    #[test]
    fn file_names_are_those_of_bind() {
        let name = |wire: &[u8]| in_file_name(&Name::from_wire(wire).unwrap());
        assert_eq!(name(b"\x07Example\x03com\x00"), "example.com.");
        assert_eq!(name(b"\x040/25\x01a\x00"), "0%2F25.a.");
        assert_eq!(name(b"\x03../\x00"), "%2E%2E%2F.");
        assert_eq!(name(b"\x00"), "");
    }

    proptest! {
        /// What is written is read as the same name.
        #[test]
        fn names_are_read_as_they_are_written(
            labels in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..8),
        ) {
            let mut wire: Vec<u8> = Vec::new();
            for label in &labels {
                wire.push(label.len() as u8);
                wire.extend(label);
            }
            wire.push(0);
            let name = Name::from_wire(&wire).expect("a name");
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }
    }
}
