//! What stands before the RDATA of a record: TTL, class and type (RFC 1035 section 5.1).

use super::codecs::{decimal, duration};
use super::error::{Fault, shown};
use super::lexer::Token;
use crate::zone::Rtype;

/// The highest TTL (RFC 2181 section 8).
pub(super) const MAX_TTL: u32 = i32::MAX as u32;

/// What stands before the RDATA besides the owner.
pub(super) struct Head {
    pub(super) ttl: Option<u32>,
    pub(super) rtype: Rtype,
    /// How many tokens it took.
    pub(super) tokens: usize,
}

/// TTL and class in either order, each or none, then the type (RFC 1035 section 5.1).
pub(super) fn head(text: &[u8], tokens: &[Token], end: u32) -> Result<Head, Fault> {
    let (mut own_ttl, mut has_class) = (None, false);
    for (index, &token) in tokens.iter().enumerate() {
        let raw = token.raw(text);
        let fault = |message: String| Err(Fault::new(token.at(), message));
        if token.quoted {
            return fault(format!("{} is in quotes where a type is expected", shown(raw)));
        }
        if own_ttl.is_none() && raw.first().is_some_and(u8::is_ascii_digit) {
            own_ttl = Some(ttl(token, text)?);
            continue;
        }
        if !has_class {
            match class(raw) {
                Some(1) => {
                    has_class = true;
                    continue;
                }
                Some(_) => {
                    return fault(format!("class {} is not served: only IN is", shown(raw)));
                }
                None => {}
            }
        }
        return match Rtype::from_mnemonic(raw) {
            Some(rtype) if rtype.is_meta() => {
                fault(format!("{rtype} stands in messages only, not in zones"))
            }
            Some(rtype) => Ok(Head { ttl: own_ttl, rtype, tokens: index + 1 }),
            None => fault(format!(
                "{} is not an RR type{} (unknown types are written as TYPE and their number)",
                shown(raw),
                if own_ttl.is_none() && !has_class { ", a class or a TTL" } else { "" },
            )),
        };
    }
    Err(Fault::new(end as usize, "the record ends too early: an RR type is missing"))
}

/// A class by mnemonic or as `CLASSnnn` (RFC 3597 section 5).
fn class(raw: &[u8]) -> Option<u16> {
    match raw {
        b"IN" | b"in" => Some(1),
        _ if raw.len() == 2 && raw.eq_ignore_ascii_case(b"IN") => Some(1),
        _ if raw.len() == 2 && raw.eq_ignore_ascii_case(b"CH") => Some(3),
        _ if raw.len() == 2 && raw.eq_ignore_ascii_case(b"HS") => Some(4),
        _ => {
            let (prefix, digits) = raw.split_at_checked(5)?;
            if !prefix.eq_ignore_ascii_case(b"CLASS") {
                return None;
            }
            decimal(digits, u16::MAX.into()).map(|class| class as u16)
        }
    }
}

/// A TTL in seconds or with units (RFC 2181 section 8: 31 bits).
pub(super) fn ttl(token: Token, text: &[u8]) -> Result<u32, Fault> {
    let raw = token.raw(text);
    let fault = |message: String| Fault::new(token.at(), message);
    let seconds = duration(raw)
        .ok_or_else(|| fault(format!("{} is not a TTL: seconds, or as in 1h30m", shown(raw))))?;
    u32::try_from(seconds)
        .ok()
        .filter(|&seconds| seconds <= MAX_TTL)
        .ok_or_else(|| fault(format!("the TTL {} is above {MAX_TTL} seconds", shown(raw))))
}
