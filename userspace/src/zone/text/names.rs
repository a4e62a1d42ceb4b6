//! Domain names in master files (RFC 1035 section 5.1).

use super::error::{Fault, shown};
use super::lexer::{Token, unescape};
use crate::zone::name::MAX_NAME_LEN;

/// The most octets a name of 255 octets takes when each is written as `\DDD`.
const MAX_NAME_TEXT: usize = 4 * MAX_NAME_LEN;

/// Appends the name that a token stands for: `@` is the origin, a name that does not end in a dot
/// is completed with it (RFC 1035 section 5.1).
pub(super) fn push_name(
    token: Token,
    text: &[u8],
    origin: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let raw = token.raw(text);
    let fault = |at: usize, message: &str| {
        Err(Fault::new(token.start as usize + at, format!("{}: {message}", shown(raw))))
    };
    if token.quoted {
        let message = format!("{}: a domain name does not stand in quotes", shown(raw));
        return Err(Fault::new(token.at(), message));
    }
    match raw {
        b"@" => {
            out.extend_from_slice(origin);
            return Ok(());
        }
        b"." => {
            out.push(0);
            return Ok(());
        }
        _ => {}
    }
    if raw.len() > MAX_NAME_TEXT {
        return fault(0, "a domain name is longer than 255 octets");
    }
    let start = out.len();
    let mut label_at = start;
    out.push(0);
    let mut at = 0;
    while let Some(&octet) = raw.get(at) {
        match octet {
            b'.' => {
                let length = out.len() - label_at - 1;
                if length == 0 {
                    return fault(at, "a label is empty");
                }
                if length > 63 {
                    return fault(at.saturating_sub(length), "a label is longer than 63 octets");
                }
                out[label_at] = length as u8;
                label_at = out.len();
                out.push(0);
                at += 1;
            }
            b'\\' => match unescape(&raw[at..]) {
                Ok((octet, length)) => {
                    out.push(octet);
                    at += length;
                }
                Err(message) => return fault(at, message),
            },
            _ => {
                out.push(octet);
                at += 1;
            }
        }
    }
    let length = out.len() - label_at - 1;
    if length > 63 {
        return fault(at.saturating_sub(length), "a label is longer than 63 octets");
    }
    // A last label without octets is the root: the name is absolute.
    if length > 0 {
        out[label_at] = length as u8;
        out.extend_from_slice(origin);
    }
    if out.len() - start > MAX_NAME_LEN {
        let message = if length > 0 {
            "completed with the origin, the domain name is longer than 255 octets"
        } else {
            "a domain name is longer than 255 octets"
        };
        return fault(0, message);
    }
    Ok(())
}
