//! RDATA that is no row of plain fields: LOC, APL, HIP, WKS, A6, ATMA, NSAP, AMTRELAY.

use super::codecs::{decimal, hex_digit};
use super::cursor::Fields;
use super::error::Fault;
use crate::zone::name::wire_name_len;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The types of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Well known services (RFC 1035 section 3.4.2).
    Wks,
    /// OSI address (RFC 1706).
    Nsap,
    /// Location (RFC 1876).
    Loc,
    /// ATM address (ATM Forum af-dans-0152).
    Atma,
    /// IPv6 address in parts (RFC 2874, historic).
    A6,
    /// Address prefixes (RFC 3123).
    Apl,
    /// Host identity (RFC 8005).
    Hip,
    /// Multicast tunnel relay (RFC 8777).
    Amtrelay,
}

/// Reads what is left of the entry as RDATA of a kind.
pub(super) fn read(fields: &mut Fields<'_>, kind: Kind) -> Result<(), Fault> {
    match kind {
        Kind::Wks => wks(fields),
        Kind::Nsap => nsap(fields),
        Kind::Loc => loc(fields),
        Kind::Atma => atma(fields),
        Kind::A6 => a6(fields),
        Kind::Apl => apl(fields),
        Kind::Hip => hip(fields),
        Kind::Amtrelay => amtrelay(fields),
    }
}

/// How many octets at the start of `rdata` are RDATA of a kind; `None` if it is none.
pub(super) fn length(kind: Kind, rdata: &[u8]) -> Option<usize> {
    let octet = |at: usize| rdata.get(at).map(|&octet| usize::from(octet));
    match kind {
        Kind::Wks => (rdata.len() >= 5).then_some(rdata.len()),
        Kind::Nsap => (!rdata.is_empty()).then_some(rdata.len()),
        Kind::Atma => (rdata.len() >= 2).then_some(rdata.len()),
        // RFC 1876 section 2: version 0 has 16 octets; others cannot be told.
        Kind::Loc => (octet(0)? > 0 || rdata.len() == 16).then_some(rdata.len()),
        Kind::A6 => {
            let prefix = octet(0).filter(|&bits| bits <= 128)?;
            let suffix = 1 + (128 - prefix).div_ceil(8);
            let name = if prefix > 0 { wire_name_len(rdata.get(suffix..)?)? } else { 0 };
            Some(suffix + name)
        }
        Kind::Apl => {
            let mut at = 0;
            while at < rdata.len() {
                at += 4 + (octet(at + 3)? & 0x7f);
            }
            Some(at)
        }
        Kind::Hip => {
            let key = usize::from(u16::from_be_bytes([*rdata.get(2)?, *rdata.get(3)?]));
            let mut at = 4 + octet(0)? + key;
            while at < rdata.len() {
                at += wire_name_len(&rdata[at..])?;
            }
            Some(at)
        }
        Kind::Amtrelay => Some(match octet(1)? & 0x7f {
            0 => 2,
            1 => 6,
            2 => 18,
            3 => 2 + wire_name_len(rdata.get(2..)?)?,
            _ => return None,
        }),
    }
}

/// `degrees [minutes [seconds]] N|S degrees [minutes [seconds]] E|W altitude[m] [size[m]
/// [horizontal precision[m] [vertical precision[m]]]]` (RFC 1876 section 3).
fn loc(fields: &mut Fields<'_>) -> Result<(), Fault> {
    let latitude = angle(fields, 90, b'N', b'S')?;
    let longitude = angle(fields, 180, b'E', b'W')?;
    let altitude = fields.parse("an altitude in metres, -100000.00 to 42849672.95", |raw| {
        let (below, digits) = match raw.strip_prefix(b"-") {
            Some(digits) => (true, digits),
            None => (false, raw.strip_prefix(b"+").unwrap_or(raw)),
        };
        let centimetres = i64::try_from(centimetres(digits)?).ok()?;
        let above_base = if below { -centimetres } else { centimetres } + 10_000_000;
        u32::try_from(above_base).ok()
    })?;
    // Defaults of RFC 1876 section 3: 1 m, 10000 m, 10 m.
    let mut precisions = [0x12, 0x16, 0x13];
    for precision in &mut precisions {
        if fields.peek().is_some() {
            *precision = fields.parse("a size in metres, up to 90000000.00", |raw| {
                centimetres(raw).filter(|&size| size <= 9_000_000_000).map(power_of_ten)
            })?;
        }
    }
    fields.out.push(0);
    fields.out.extend_from_slice(&precisions);
    for value in [latitude, longitude, altitude] {
        fields.out.extend_from_slice(&value.to_be_bytes());
    }
    Ok(())
}

/// Thousandths of a second of arc, 2^31 standing for 0.
fn angle(fields: &mut Fields<'_>, max: u64, plus: u8, minus: u8) -> Result<u32, Fault> {
    let place = fields.place();
    let degrees = fields.number(max, "a number of degrees")?;
    let (mut minutes, mut thousandths) = (0, 0);
    let is_direction = |raw: Option<&[u8]>| matches!(raw, Some([octet]) if [plus, minus].contains(&octet.to_ascii_uppercase()));
    if !is_direction(fields.peek()) {
        minutes = fields.number(59, "a number of minutes from 0 to 59, or a direction")?;
    }
    if !is_direction(fields.peek()) {
        let what = "a number of seconds from 0 to 59.999, or a direction";
        thousandths = fields.parse(what, |raw| decimals(raw, 3).filter(|&value| value < 60_000))?;
    }
    let what = format!("{} or {}", plus as char, minus as char);
    let positive = fields.parse(&what, |raw| match raw {
        [octet] if octet.to_ascii_uppercase() == plus => Some(true),
        [octet] if octet.to_ascii_uppercase() == minus => Some(false),
        _ => None,
    })?;
    let value = degrees * 3_600_000 + minutes * 60_000 + thousandths;
    if value > max * 3_600_000 {
        return Err(Fault::new(place, format!("more than {max} degrees")));
    }
    let value = value as u32;
    Ok(if positive { (1 << 31) + value } else { (1 << 31) - value })
}

fn centimetres(raw: &[u8]) -> Option<u64> {
    decimals(raw.strip_suffix(b"m").or(raw.strip_suffix(b"M")).unwrap_or(raw), 2)
}

/// A decimal number with up to `places` digits behind the point, times 10 to the `places`.
fn decimals(raw: &[u8], places: usize) -> Option<u64> {
    let mut parts = raw.splitn(2, |&octet| octet == b'.');
    let whole = decimal(parts.next()?, u64::from(u32::MAX))?;
    let mut value = whole;
    let fraction = parts.next().unwrap_or_default();
    if fraction.len() > places {
        return None;
    }
    for place in 0..places {
        let digit = fraction.get(place).map_or(0, |octet| octet.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(value)
}

/// Four bits of mantissa and four of a power of ten (RFC 1876 section 2); lower digits are lost.
fn power_of_ten(mut centimetres: u64) -> u8 {
    let mut exponent = 0;
    while centimetres > 9 {
        centimetres /= 10;
        exponent += 1;
    }
    (centimetres as u8) << 4 | exponent
}

/// `[!]family:address/prefix` each (RFC 3123 section 5).
fn apl(fields: &mut Fields<'_>) -> Result<(), Fault> {
    let what = "an address prefix as in 1:192.0.2.0/24 or !2:2001:db8::/32";
    while fields.next < fields.tokens.len() {
        let item = fields.parse(what, apl_item)?;
        let (family, prefix, negated, address) = item;
        fields.out.extend_from_slice(&family.to_be_bytes());
        fields.out.push(prefix);
        // RFC 3123 section 4: trailing zero octets are not sent.
        let length = address.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        fields.out.push(u8::from(negated) << 7 | length as u8);
        fields.out.extend_from_slice(&address[..length]);
    }
    Ok(())
}

fn apl_item(raw: &[u8]) -> Option<(u16, u8, bool, [u8; 16])> {
    let text = str::from_utf8(raw).ok()?;
    let (negated, text) = match text.strip_prefix('!') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (family, text) = text.split_once(':')?;
    let (address, prefix) = text.split_once('/')?;
    let mut octets = [0; 16];
    let (family, longest) = match family {
        "1" => {
            octets[..4].copy_from_slice(&address.parse::<Ipv4Addr>().ok()?.octets());
            (1, 32)
        }
        "2" => {
            octets = address.parse::<Ipv6Addr>().ok()?.octets();
            (2, 128)
        }
        _ => return None,
    };
    let prefix = decimal(prefix.as_bytes(), longest)?;
    Some((family, prefix as u8, negated, octets))
}

/// `algorithm HIT key [rendezvous server …]` (RFC 8005 section 6).
fn hip(fields: &mut Fields<'_>) -> Result<(), Fault> {
    let start = fields.out.len();
    let algorithm = fields.number(255, "a public key algorithm from 0 to 255")?;
    fields.out.extend_from_slice(&[0, algorithm as u8, 0, 0]);
    let tag = fields.token("a host identity tag in hexadecimal digits")?;
    fields.hex_of(&[tag])?;
    let tag_length = fields.out.len() - start - 4;
    let key = fields.token("a public key in base 64")?;
    fields.base64_of(&[key])?;
    let key_length = fields.out.len() - start - 4 - tag_length;
    let Ok(tag_octets) = u8::try_from(tag_length) else {
        return Err(fields.expected(tag, "a host identity tag of up to 255 octets"));
    };
    let Ok(key_octets) = u16::try_from(key_length) else {
        return Err(fields.expected(key, "a public key of up to 65535 octets"));
    };
    if tag_length == 0 || key_length == 0 {
        return Err(fields.expected(tag, "a host identity tag with a public key behind it"));
    }
    fields.out[start] = tag_octets;
    fields.out[start + 2..start + 4].copy_from_slice(&key_octets.to_be_bytes());
    while fields.next < fields.tokens.len() {
        fields.name()?;
    }
    Ok(())
}

/// `address protocol service …` (RFC 1035 section 3.4.2).
fn wks(fields: &mut Fields<'_>) -> Result<(), Fault> {
    let address: Ipv4Addr = fields.standard("an IPv4 address")?;
    let protocol = fields.parse("a protocol by number, or TCP or UDP", |raw| {
        known(raw, &[("icmp", 1), ("tcp", 6), ("udp", 17)]).or_else(|| decimal(raw, 255))
    })?;
    fields.out.extend_from_slice(&address.octets());
    fields.out.push(protocol as u8);
    let bits = fields.out.len();
    while fields.next < fields.tokens.len() {
        let port = fields.parse("a port number or a common service", |raw| {
            known(raw, SERVICES).or_else(|| decimal(raw, u16::MAX.into()))
        })? as usize;
        let needed = bits + port / 8 + 1;
        if fields.out.len() < needed {
            fields.out.resize(needed, 0);
        }
        fields.out[needed - 1] |= 0x80 >> (port % 8);
    }
    Ok(())
}

/// Services that stand in WKS records by name; others by port number. The machine's own list is
/// not asked, so that a zone means the same everywhere.
const SERVICES: &[(&str, u64)] = &[
    ("echo", 7),
    ("discard", 9),
    ("systat", 11),
    ("daytime", 13),
    ("netstat", 15),
    ("qotd", 17),
    ("chargen", 19),
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("time", 37),
    ("nicname", 43),
    ("whois", 43),
    ("domain", 53),
    ("tftp", 69),
    ("gopher", 70),
    ("finger", 79),
    ("http", 80),
    ("pop3", 110),
    ("sunrpc", 111),
    ("nntp", 119),
    ("ntp", 123),
    ("imap", 143),
    ("imap2", 143),
    ("snmp", 161),
    ("https", 443),
];

fn known(raw: &[u8], names: &[(&str, u64)]) -> Option<u64> {
    let found = names.iter().find(|(name, _)| raw.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(found.1)
}

/// `0x` and hexadecimal digits with dots anywhere (RFC 1706 section 7).
fn nsap(fields: &mut Fields<'_>) -> Result<(), Fault> {
    let octets = fields.parse("0x and pairs of hexadecimal digits", |raw| {
        let digits = raw.strip_prefix(b"0x").or_else(|| raw.strip_prefix(b"0X"))?;
        dotted_hex(digits)
    })?;
    fields.out.extend_from_slice(&octets);
    Ok(())
}

/// `+digits` for an E.164 number, else an address in hexadecimal digits with dots anywhere.
fn atma(fields: &mut Fields<'_>) -> Result<(), Fault> {
    let octets = fields.parse("+ and digits, or hexadecimal digits", |raw| {
        match raw.strip_prefix(b"+") {
            Some(digits) => {
                let plain: Vec<u8> = digits.iter().copied().filter(|&c| c != b'.').collect();
                let valid = !plain.is_empty() && plain.iter().all(u8::is_ascii_digit);
                valid.then(|| [&[1], &plain[..]].concat())
            }
            None => Some([&[0], &dotted_hex(raw)?[..]].concat()),
        }
    })?;
    fields.out.extend_from_slice(&octets);
    Ok(())
}

fn dotted_hex(raw: &[u8]) -> Option<Vec<u8>> {
    let digits = raw.iter().filter(|&&octet| octet != b'.').map(|&octet| hex_digit(octet));
    let digits: Vec<u8> = digits.collect::<Option<_>>()?;
    let whole = !digits.is_empty() && digits.len().is_multiple_of(2);
    whole.then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// `prefix length [address] [name]` (RFC 2874 section 3.2).
fn a6(fields: &mut Fields<'_>) -> Result<(), Fault> {
    let prefix = fields.number(128, "a prefix length from 0 to 128")? as u8;
    fields.out.push(prefix);
    if prefix < 128 {
        let address: Ipv6Addr = fields.standard("an IPv6 address")?;
        let mut octets = address.octets();
        let first = usize::from(prefix / 8);
        octets[first] &= 0xff >> (prefix % 8);
        fields.out.extend_from_slice(&octets[first..]);
    }
    if prefix > 0 {
        fields.name()?;
    }
    Ok(())
}

/// `precedence discovery-optional type relay` (RFC 8777 section 4.3).
fn amtrelay(fields: &mut Fields<'_>) -> Result<(), Fault> {
    let precedence = fields.number(255, "a precedence from 0 to 255")? as u8;
    let optional = fields.number(1, "a discovery-optional flag of 0 or 1")? as u8;
    let kind = fields.number(3, "a relay type from 0 to 3")? as u8;
    fields.out.extend_from_slice(&[precedence, optional << 7 | kind]);
    match kind {
        0 => fields.parse("a dot for no relay", |raw| (raw == b".").then_some(())),
        1 => {
            let address: Ipv4Addr = fields.standard("an IPv4 address")?;
            fields.out.extend_from_slice(&address.octets());
            Ok(())
        }
        2 => {
            let address: Ipv6Addr = fields.standard("an IPv6 address")?;
            fields.out.extend_from_slice(&address.octets());
            Ok(())
        }
        _ => fields.name(),
    }
}
