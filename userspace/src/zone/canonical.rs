//! Canonical form and order of records (RFC 4034 section 6).

use std::ops::Range;

use super::name::{lowercase, wire_name_len};
use super::rtype::Rtype;

/// The start of what, compared as octets, orders names below one apex canonically: their labels
/// from the right, a 0 octet before each but the first, octets 0 and 1 within labels written as 1 1
/// and 1 2 so that they sort behind the end of a label.
pub(super) fn canonical_prefix(name: &[u8], apex_len: usize) -> u128 {
    let below = &name[..name.len().saturating_sub(apex_len)];
    let mut starts = [0u8; 128];
    let (mut at, mut count) = (0usize, 0usize);
    while let Some(&length) = below.get(at) {
        starts[count] = at as u8;
        at += 1 + usize::from(length);
        count += 1;
    }
    let (mut prefix, mut room) = (0u128, 16u32);
    let mut push = |octet: u8| {
        room -= 1;
        prefix |= u128::from(octet) << (8 * room);
        room > 0
    };
    for (index, &start) in starts[..count].iter().rev().enumerate() {
        if index > 0 && !push(0) {
            break;
        }
        let start = usize::from(start);
        let label = &below[start + 1..start + 1 + usize::from(below[start])];
        for &octet in label {
            let whole = if octet > 1 { push(octet) } else { push(1) && push(octet + 1) };
            if !whole {
                return prefix;
            }
        }
    }
    prefix
}

/// Where names stand in RDATA that canonical form lower-cases: octets to skip before the first
/// name, and how many names follow each other (RFC 4034 section 6.2 with RFC 6840 section 5.1,
/// which takes NSEC out; HINFO has no names; NXT and A6 are obsolete).
fn names_in_rdata(rtype: Rtype) -> Option<(usize, usize)> {
    Some(match rtype.0 {
        // NS MD MF CNAME MB MG MR PTR, DNAME
        2..=5 | 7..=9 | 12 | 39 => (0, 1),
        // SOA, MINFO, RP
        6 | 14 | 17 => (0, 2),
        // MX, AFSDB, RT, KX
        15 | 18 | 21 | 36 => (2, 1),
        // SIG, RRSIG
        24 | 46 => (18, 1),
        // PX
        26 => (2, 2),
        // SRV
        33 => (6, 1),
        _ => return None,
    })
}

/// Where names stand in RDATA that canonical form lower-cases, which are those that may come with compression, too
/// (RFC 3597 section 4): octets before the first one, and how many follow each other. `None`: there are none.
pub(crate) fn rdata_names(rtype: Rtype, rdata: &[u8]) -> Option<(usize, usize)> {
    if rtype.0 != 35 {
        return names_in_rdata(rtype);
    }
    // NAPTR: order and preference, then three character strings, then a name (RFC 3403).
    let mut at = 4;
    for _ in 0..3 {
        // What is cut short has its name where there is nothing.
        at += 1 + usize::from(rdata.get(at).copied().unwrap_or(0));
    }
    Some((at, 1))
}

/// Puts RDATA into canonical form in place; `None` if a name in it is malformed.
pub(crate) fn canonical_rdata(rtype: Rtype, rdata: &mut [u8]) -> Option<()> {
    let names = lower_case_part(rtype, rdata)?;
    lowercase(&mut rdata[names]);
    Some(())
}

/// Whether RDATA is in canonical form.
pub(super) fn is_canonical_rdata(rtype: Rtype, rdata: &[u8]) -> bool {
    let names = lower_case_part(rtype, rdata);
    names.is_some_and(|names| !rdata[names].iter().any(u8::is_ascii_uppercase))
}

/// Where RDATA has names that canonical form lower-cases; `None` if one of them is malformed.
fn lower_case_part(rtype: Rtype, rdata: &[u8]) -> Option<Range<usize>> {
    let Some((start, count)) = rdata_names(rtype, rdata) else { return Some(0..0) };
    let mut end = start;
    for _ in 0..count {
        end += wire_name_len(rdata.get(end..)?)?;
    }
    Some(start..end)
}
