//! Whether octets are RDATA of a type.

use super::table::{Field, layout};
use super::{rare, scanner, svcb};
use crate::zone::Rtype;
use crate::zone::name::wire_name_len;

/// Whether RDATA in uncompressed wire format has the form of its type. Of a type that neither the
/// table nor `domain` knows any RDATA has.
pub(crate) fn well_formed(rtype: Rtype, rdata: &[u8]) -> bool {
    match layout(rtype) {
        Some(layout) => {
            let mut rest = rdata;
            layout.iter().all(|&field| skip(field, &mut rest).is_some())
                && rest.is_empty()
                && digest_fits(rtype, rdata)
        }
        None => !scanner::knows(rtype) || scanner::well_formed(rtype, rdata),
    }
}

/// Whether a digest is as long as those of its type, if that is known: what a digit lost in copying
/// breaks first. DS, CDS, TA, DLV (IANA "Digest Algorithms") and SSHFP (RFC 4255, RFC 6594).
pub(super) fn digest_fits(rtype: Rtype, rdata: &[u8]) -> bool {
    let (start, digest_type) = match rtype.0 {
        // RFC 8078 section 4: algorithm 0 asks for deletion; its digest is one octet.
        59 if rdata.get(2) == Some(&0) => return true,
        43 | 59 | 32768 | 32769 => (4, rdata.get(3)),
        44 => (2, rdata.get(1)),
        _ => return true,
    };
    let expected = match digest_type {
        Some(1) => 20,
        Some(2) => 32,
        Some(4) if rtype.0 != 44 => 48,
        _ => return true,
    };
    rdata.len() == start + expected
}

/// Moves `rest` behind a field.
fn skip(field: Field, rest: &mut &[u8]) -> Option<()> {
    let length = match field {
        Field::U8 | Field::Algorithm | Field::Scheme => 1,
        Field::U16 | Field::Type | Field::CertType => 2,
        Field::U32 | Field::Seconds | Field::Time | Field::Ipv4 => 4,
        Field::U64 | Field::Locator => 8,
        Field::Ipv6 => 16,
        Field::Eui(octets) => octets.into(),
        Field::Name => wire_name_len(rest)?,
        Field::String | Field::ShortHex => 1 + usize::from(*rest.first()?),
        Field::Base32 | Field::Tag => 1 + usize::from(*rest.first().filter(|&&len| len > 0)?),
        Field::OptionalString => rest.first().map_or(0, |&length| 1 + usize::from(length)),
        Field::Strings => {
            let mut at = 1 + usize::from(*rest.first()?);
            while let Some(&length) = rest.get(at) {
                at += 1 + usize::from(length);
            }
            at
        }
        Field::Octets => rest.len(),
        Field::Hex | Field::Base64 => rest.len(),
        Field::Bitmap => {
            let (mut at, mut last) = (0, None);
            while let Some(&window) = rest.get(at) {
                let length = usize::from(*rest.get(at + 1)?);
                if !(1..=32).contains(&length) || last.is_some_and(|last| last >= window) {
                    return None;
                }
                last = Some(window);
                at += 2 + length;
            }
            at
        }
        Field::Svcb => svcb::length(rest)?,
        Field::Rare(kind) => rare::length(kind, rest)?,
    };
    *rest = rest.get(length..)?;
    Some(())
}
