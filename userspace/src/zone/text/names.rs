//! Domain names in master files (RFC 1035 section 5.1).

use super::error::{Fault, shown};
use super::lexer::Token;
use crate::zone::name_text;

/// Appends the name that a token stands for: `@` is the origin, a name that does not end in a dot
/// is completed with it (RFC 1035 section 5.1).
pub(super) fn push_name(
    token: Token,
    text: &[u8],
    origin: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let raw = token.raw(text);
    if token.quoted {
        let message = format!("{}: a domain name does not stand in quotes", shown(raw));
        return Err(Fault::new(token.at(), message));
    }
    if raw == b"@" {
        out.extend_from_slice(origin);
        return Ok(());
    }
    name_text::append(raw, origin, out).map_err(|(at, fault)| {
        Fault::new(token.start as usize + at, format!("{}: {fault}", shown(raw)))
    })
}
