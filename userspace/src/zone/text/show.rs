//! The other way round: RDATA of the types that `domain` lacks in presentation format, or writes as not
//! every server reads it, by the same table of field kinds. Only types that BIND, ldns and Knot all know
//! by name are written so.

use super::rare::Kind;
use super::table::{Field, layout};
use crate::zone::Rtype;
use crate::zone::name::{wire_name_len, write_name};
use data_encoding::{BASE64, HEXLOWER};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// AFSDB RT KEY LOC RRSIG KX CERT APL DHCID SMIMEA CSYNC SPF NID L32 L64 LP EUI48 EUI64 URI.
const SHOWN: &[u16] =
    &[18, 21, 25, 29, 36, 37, 42, 46, 49, 53, 62, 99, 104, 105, 106, 107, 108, 109, 256];

/// Writes RDATA; `None` if it is not of a type that is shown, or malformed. What is written then is
/// to be thrown away.
pub(super) fn write(line: &mut String, rtype: Rtype, rdata: &[u8]) -> Option<()> {
    if !SHOWN.contains(&rtype.0) {
        return None;
    }
    let mut rest = rdata;
    for (index, &field) in layout(rtype)?.iter().enumerate() {
        if index > 0 {
            line.push(' ');
        }
        show(line, field, &mut rest)?;
    }
    rest.is_empty().then_some(())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn number(rest: &mut &[u8], octets: usize) -> Option<u64> {
    Some(take(rest, octets)?.iter().fold(0, |value, &octet| value << 8 | u64::from(octet)))
}

fn show(line: &mut String, field: Field, rest: &mut &[u8]) -> Option<()> {
    match field {
        Field::U8 | Field::Algorithm | Field::Scheme => write!(line, "{}", number(rest, 1)?),
        Field::U16 | Field::CertType => write!(line, "{}", number(rest, 2)?),
        Field::U32 | Field::Seconds => write!(line, "{}", number(rest, 4)?),
        Field::U64 => write!(line, "{}", number(rest, 8)?),
        Field::Time => time(line, number(rest, 4)?),
        Field::Ipv4 => write!(line, "{}", Ipv4Addr::from(number(rest, 4)? as u32)),
        Field::Type => write!(line, "{}", Rtype(number(rest, 2)? as u16)),
        Field::Name => {
            let name = take(rest, wire_name_len(rest)?)?;
            write_name(line, name)
        }
        Field::String => quoted_string(line, rest),
        Field::Strings => {
            quoted_string(line, rest).ok()?;
            while !rest.is_empty() {
                line.push(' ');
                quoted_string(line, rest).ok()?;
            }
            Ok(())
        }
        Field::Octets => quoted(line, take(rest, rest.len())?),
        Field::Hex => {
            HEXLOWER.encode_append(take(rest, rest.len())?, line);
            Ok(())
        }
        Field::Base64 => {
            BASE64.encode_append(take(rest, rest.len())?, line);
            Ok(())
        }
        Field::Bitmap => {
            let mut first = true;
            while !rest.is_empty() {
                let (window, length) = (number(rest, 1)?, number(rest, 1)?);
                for (at, bits) in take(rest, length as usize)?.iter().enumerate() {
                    for bit in (0..8).filter(|bit| bits & (0x80 >> bit) != 0) {
                        let rtype = Rtype((window as u16) << 8 | (8 * at + bit) as u16);
                        write!(line, "{}{rtype}", if first { "" } else { " " }).ok()?;
                        first = false;
                    }
                }
            }
            Ok(())
        }
        Field::Eui(octets) => {
            for (index, octet) in take(rest, octets.into())?.iter().enumerate() {
                write!(line, "{}{octet:02x}", if index == 0 { "" } else { "-" }).ok()?;
            }
            Ok(())
        }
        Field::Locator => {
            let value = number(rest, 8)?;
            let group = |index: u32| value >> (48 - 16 * index) & 0xffff;
            write!(line, "{:04x}:{:04x}:{:04x}:{:04x}", group(0), group(1), group(2), group(3))
        }
        Field::Rare(Kind::Loc) => return loc(line, rest),
        Field::Rare(Kind::Apl) => return apl(line, rest),
        Field::Rare(_)
        | Field::OptionalString
        | Field::Svcb
        | Field::Tag
        | Field::Base32
        | Field::ShortHex
        | Field::Ipv6 => return None,
    }
    .ok()
}

/// Seconds since 1970 as `YYYYMMDDHHmmSS` in UTC (RFC 4034 section 3.2).
fn time(line: &mut String, seconds: u64) -> std::fmt::Result {
    let time = i64::try_from(seconds).ok().and_then(|it| jiff::Timestamp::from_second(it).ok());
    write!(line, "{}", time.ok_or(std::fmt::Error)?.strftime("%Y%m%d%H%M%S"))
}

fn quoted_string(line: &mut String, rest: &mut &[u8]) -> std::fmt::Result {
    let string = number(rest, 1).and_then(|length| take(rest, length as usize));
    quoted(line, string.ok_or(std::fmt::Error)?)
}

/// Octets as a character string in quotes (RFC 1035 section 5.1).
pub(super) fn quoted(line: &mut String, octets: &[u8]) -> std::fmt::Result {
    line.push('"');
    for &octet in octets {
        match octet {
            b'"' | b'\\' => write!(line, "\\{}", octet as char)?,
            b' '..=b'~' => line.push(octet as char),
            _ => write!(line, "\\{octet:03}")?,
        }
    }
    line.push('"');
    Ok(())
}

/// RFC 1876 section 3.
fn loc(line: &mut String, rest: &mut &[u8]) -> Option<()> {
    let octets: &[u8; 16] = take(rest, 16)?.try_into().ok()?;
    if octets[0] != 0 {
        return None;
    }
    let word = |at: usize| {
        let octets = octets.get(at..at + 4)?;
        Some(i64::from(u32::from_be_bytes(octets.try_into().ok()?)))
    };
    for (value, plus, minus) in [(word(4)?, 'N', 'S'), (word(8)?, 'E', 'W')] {
        let value = value - (1 << 31);
        let (thousandths, direction) = (value.abs(), if value < 0 { minus } else { plus });
        let seconds = thousandths / 1000;
        write!(
            line,
            "{} {} {}.{:03} {direction} ",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            thousandths % 1000
        )
        .ok()?;
    }
    let altitude = word(12)? - 10_000_000;
    let sign = if altitude < 0 { "-" } else { "" };
    write!(line, "{sign}{}.{:02}m", altitude.abs() / 100, altitude.abs() % 100).ok()?;
    for precision in &octets[1..4] {
        let centimetres = u64::from(precision >> 4) * 10u64.pow(u32::from(precision & 0xf));
        write!(line, " {}.{:02}m", centimetres / 100, centimetres % 100).ok()?;
    }
    Some(())
}

/// RFC 3123 section 5.
fn apl(line: &mut String, rest: &mut &[u8]) -> Option<()> {
    let mut first = true;
    while !rest.is_empty() {
        let (family, prefix, length) = (number(rest, 2)?, number(rest, 1)?, number(rest, 1)?);
        let address = take(rest, length as usize & 0x7f)?;
        let mut octets = [0; 16];
        octets.get_mut(..address.len())?.copy_from_slice(address);
        let space = if first { "" } else { " " };
        let negated = if length & 0x80 != 0 { "!" } else { "" };
        write!(line, "{space}{negated}{family}:").ok()?;
        match family {
            1 => write!(line, "{}", Ipv4Addr::from(*octets.first_chunk::<4>()?)).ok()?,
            2 => write!(line, "{}", Ipv6Addr::from(octets)).ok()?,
            _ => return None,
        }
        write!(line, "/{prefix}").ok()?;
        first = false;
    }
    Some(())
}
