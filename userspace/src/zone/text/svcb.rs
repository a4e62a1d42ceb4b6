//! SVCB and HTTPS RDATA (RFC 9460).
//!
//! Read and written here and not by `domain` 0.12.3: that takes `z` and `9` for characters no key
//! has, so it refuses `key65399`, and writes `no-default-alpn` as `nodefaultalpn`.

use super::codecs::{decimal, decode};
use super::cursor::Fields;
use super::error::{Fault, shown};
use super::lexer::Token;
use super::show;
use crate::zone::name::{wire_name_len, write_name};
use data_encoding::BASE64;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// IANA registry "Service Parameter Keys (SvcParamKeys)".
const KEYS: &[(&str, u16)] = &[
    ("mandatory", MANDATORY),
    ("alpn", ALPN),
    ("no-default-alpn", NO_DEFAULT_ALPN),
    ("port", PORT),
    ("ipv4hint", IPV4HINT),
    ("ech", ECH),
    ("ipv6hint", IPV6HINT),
    ("dohpath", 7),
    ("ohttp", OHTTP),
    ("tls-supported-groups", TLS_SUPPORTED_GROUPS),
];

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
const OHTTP: u16 = 8;
const TLS_SUPPORTED_GROUPS: u16 = 9;

/// Reads `priority target [key[=value] …]` (RFC 9460 section 2.1).
pub(super) fn read(fields: &mut Fields<'_>) -> Result<(), Fault> {
    let place = fields.place();
    let priority = fields.number(u16::MAX.into(), "a priority from 0 to 65535")?;
    fields.out.extend_from_slice(&(priority as u16).to_be_bytes());
    fields.name()?;
    let mut params: Vec<(u16, Vec<u8>)> = Vec::new();
    while let Some(&token) = fields.tokens.get(fields.next) {
        let (key, value) = param(fields)?;
        if params.iter().any(|(other, _)| *other == key) {
            return Err(fields.expected(token, "a new key: it was given before"));
        }
        params.push((key, value));
    }
    // RFC 9460 section 2.2: on the wire the keys are in ascending order.
    params.sort_by_key(|(key, _)| *key);
    consistent(&params).map_err(|message| Fault::new(place, message))?;
    for (key, value) in &params {
        let Ok(length) = u16::try_from(value.len()) else {
            return Err(Fault::new(place, "a value is longer than 65535 octets"));
        };
        if !sound(*key, value) {
            return Err(Fault::new(place, format!("the value of key{key} is malformed")));
        }
        fields.out.extend_from_slice(&key.to_be_bytes());
        fields.out.extend_from_slice(&length.to_be_bytes());
        fields.out.extend_from_slice(value);
    }
    Ok(())
}

/// How many octets at the start of `rdata` are SVCB RDATA; `None` if it is none.
pub(super) fn length(rdata: &[u8]) -> Option<usize> {
    let mut at = 2 + wire_name_len(rdata.get(2..)?)?;
    let mut params = Vec::new();
    while at < rdata.len() {
        let header = rdata.get(at..at + 4)?;
        let key = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let value = rdata.get(at + 4..at + 4 + length)?;
        if params.last().is_some_and(|(last, _)| *last >= key) {
            return None;
        }
        params.push((key, value.to_vec()));
        at += 4 + length;
    }
    let sound = params.iter().all(|(key, value)| sound(*key, value));
    (sound && consistent(&params).is_ok()).then_some(at)
}

/// Whether a value has the wire format of its key (RFC 9460 sections 7 and 8).
fn sound(key: u16, value: &[u8]) -> bool {
    let length = value.len();
    match key {
        MANDATORY | TLS_SUPPORTED_GROUPS => length > 0 && length.is_multiple_of(2),
        ALPN => {
            let mut at = 0;
            while at < length && value[at] > 0 {
                at += 1 + usize::from(value[at]);
            }
            length > 0 && at == length
        }
        NO_DEFAULT_ALPN | OHTTP => length == 0,
        PORT => length == 2,
        IPV4HINT => length > 0 && length.is_multiple_of(4),
        IPV6HINT => length > 0 && length.is_multiple_of(16),
        ECH => length > 0,
        _ => true,
    }
}

/// Writes RDATA that [`length`] found well formed.
pub(super) fn write(rdata: &[u8], line: &mut String) -> std::fmt::Result {
    let Some((priority, rest)) = rdata.split_first_chunk::<2>() else { return Ok(()) };
    let (target, mut rest) = rest.split_at(wire_name_len(rest).unwrap_or(rest.len()));
    write!(line, "{} ", u16::from_be_bytes(*priority))?;
    write_name(line, target)?;
    while let Some(([a, b, c, d], after)) = rest.split_first_chunk::<4>() {
        let key = u16::from_be_bytes([*a, *b]);
        let length = usize::from(u16::from_be_bytes([*c, *d])).min(after.len());
        let (value, after) = after.split_at(length);
        rest = after;
        line.push(' ');
        // Names younger than RFC 9460 are not known everywhere (Knot 3.2); `keyNNN` is.
        let name = KEYS.iter().find(|(_, known)| *known == key && key <= IPV6HINT);
        match name {
            Some((name, _)) => line.push_str(name),
            None => write!(line, "key{key}")?,
        }
        if value.is_empty() {
            continue;
        }
        line.push('=');
        match key {
            MANDATORY => {
                for (index, key) in value.chunks_exact(2).enumerate() {
                    let key = u16::from_be_bytes([key[0], key[1]]);
                    line.push_str(if index > 0 { "," } else { "" });
                    match KEYS.iter().find(|(_, known)| *known == key && key <= IPV6HINT) {
                        Some((name, _)) => line.push_str(name),
                        None => write!(line, "key{key}")?,
                    }
                }
            }
            ALPN => {
                let mut list = Vec::new();
                let mut rest = value;
                while let Some((&length, after)) = rest.split_first() {
                    let (item, after) = after.split_at(usize::from(length).min(after.len()));
                    if !list.is_empty() {
                        list.push(b',');
                    }
                    for &octet in item {
                        if matches!(octet, b',' | b'\\') {
                            list.push(b'\\');
                        }
                        list.push(octet);
                    }
                    rest = after;
                }
                show::quoted(line, &list)?;
            }
            PORT => write!(line, "{}", u16::from_be_bytes([value[0], value[1]]))?,
            IPV4HINT => {
                for (index, octets) in value.as_chunks::<4>().0.iter().enumerate() {
                    line.push_str(if index > 0 { "," } else { "" });
                    write!(line, "{}", Ipv4Addr::from(*octets))?;
                }
            }
            IPV6HINT => {
                for (index, octets) in value.as_chunks::<16>().0.iter().enumerate() {
                    line.push_str(if index > 0 { "," } else { "" });
                    write!(line, "{}", Ipv6Addr::from(*octets))?;
                }
            }
            ECH => line.push_str(&BASE64.encode(value)),
            _ => show::quoted(line, value)?,
        }
    }
    Ok(())
}

/// What must hold between parameters in ascending order of keys (RFC 9460 sections 7.1.1 and 8).
fn consistent(params: &[(u16, Vec<u8>)]) -> Result<(), &'static str> {
    let has = |key: u16| params.iter().any(|(other, _)| *other == key);
    if has(NO_DEFAULT_ALPN) && !has(ALPN) {
        return Err("no-default-alpn needs alpn");
    }
    if let Some((MANDATORY, keys)) = params.first() {
        let keys: Vec<u16> =
            keys.chunks_exact(2).map(|key| u16::from_be_bytes([key[0], key[1]])).collect();
        if keys.contains(&MANDATORY) {
            return Err("mandatory lists itself");
        }
        if !keys.is_sorted_by(|a, b| a < b) {
            return Err("mandatory lists a key twice");
        }
        if !keys.iter().all(|&key| has(key)) {
            return Err("mandatory lists a key that the record does not have");
        }
    }
    Ok(())
}

/// One `key[=value]`; the lexer makes two tokens of `key="value"`.
fn param(fields: &mut Fields<'_>) -> Result<(u16, Vec<u8>), Fault> {
    let token = fields.token("a key")?;
    let raw = token.raw(fields.text);
    let (name, rest) = match raw.iter().position(|&octet| octet == b'=') {
        Some(at) => (&raw[..at], Some(&raw[at + 1..])),
        None => (raw, None),
    };
    let key = key(name)
        .filter(|_| !token.quoted)
        .ok_or_else(|| Fault::new(token.at(), format!("{} is not a SvcParamKey", shown(name))))?;
    let mut value = Vec::new();
    if let Some(rest) = rest {
        let start = token.end - rest.len() as u32;
        unquote(fields, Token { start, ..token }, &mut value)?;
        while let Some(&next) = fields.tokens.get(fields.next).filter(|token| token.glued) {
            fields.next += 1;
            unquote(fields, next, &mut value)?;
        }
    }
    // `keyNNN` has its octets as they are, whether the key has a name or not.
    if name.starts_with(b"key") {
        return Ok((key, value));
    }
    let wire = value_to_wire(token, key, rest.is_some(), &value)?;
    Ok((key, wire))
}

fn unquote(fields: &mut Fields<'_>, token: Token, value: &mut Vec<u8>) -> Result<(), Fault> {
    let at = fields.out.len();
    fields.octets(token)?;
    value.extend_from_slice(&fields.out[at..]);
    fields.out.truncate(at);
    Ok(())
}

fn key(name: &[u8]) -> Option<u16> {
    if let Some((_, key)) = KEYS.iter().find(|(known, _)| known.as_bytes() == name) {
        return Some(*key);
    }
    let digits = name.strip_prefix(b"key")?;
    // RFC 9460 section 2.1: no leading zeros.
    let plain = digits.len() == 1 || !digits.starts_with(b"0");
    decimal(digits, u16::MAX.into()).filter(|_| plain).map(|key| key as u16)
}

fn value_to_wire(token: Token, key: u16, has_value: bool, value: &[u8]) -> Result<Vec<u8>, Fault> {
    let fault = |message: &str| Err(Fault::new(token.at(), message));
    match key {
        NO_DEFAULT_ALPN | OHTTP if has_value => return fault("this key has no value"),
        MANDATORY | ALPN | PORT | IPV4HINT | ECH | IPV6HINT | TLS_SUPPORTED_GROUPS
            if value.is_empty() =>
        {
            return fault("this key needs a value");
        }
        _ => {}
    }
    let items = || value.split(|&octet| octet == b',');
    let numbers =
        |parse: fn(&[u8]) -> Option<u16>| -> Option<Vec<u16>> { items().map(parse).collect() };
    let wire = match key {
        MANDATORY => numbers(self::key).map(|mut keys| {
            keys.sort_unstable();
            keys.iter().flat_map(|key| key.to_be_bytes()).collect()
        }),
        TLS_SUPPORTED_GROUPS => {
            let number = |raw: &[u8]| decimal(raw, u16::MAX.into()).map(|group| group as u16);
            numbers(number)
                .map(|groups| groups.iter().flat_map(|group| group.to_be_bytes()).collect())
        }
        ALPN => value_list(value),
        PORT => decimal(value, u16::MAX.into()).map(|port| (port as u16).to_be_bytes().to_vec()),
        IPV4HINT => items()
            .map(|raw| Some(str::from_utf8(raw).ok()?.parse::<Ipv4Addr>().ok()?.octets()))
            .collect::<Option<Vec<_>>>()
            .map(|addresses| addresses.concat()),
        IPV6HINT => items()
            .map(|raw| Some(str::from_utf8(raw).ok()?.parse::<Ipv6Addr>().ok()?.octets()))
            .collect::<Option<Vec<_>>>()
            .map(|addresses| addresses.concat()),
        ECH => {
            let mut wire = Vec::new();
            decode(&BASE64, value, &mut wire).ok().map(|()| wire)
        }
        _ => Some(value.to_vec()),
    };
    match wire {
        Some(wire) => Ok(wire),
        None => {
            let name = KEYS.iter().find(|(_, known)| *known == key).map_or("key", |known| known.0);
            fault(&format!("the value of {name} is malformed"))
        }
    }
}

/// A list with commas between its items, in which `\,` and `\\` stand for themselves, as character
/// strings (RFC 9460 appendix A.1); `None` if an item is empty or has more than 255 octets.
fn value_list(value: &[u8]) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    let mut item = Vec::new();
    let mut octets = value.iter();
    loop {
        match octets.next() {
            Some(b'\\') => item.push(*octets.next().filter(|&&octet| b",\\".contains(&octet))?),
            Some(&octet) if octet != b',' => item.push(octet),
            end_of_item => {
                let length = u8::try_from(item.len()).ok().filter(|&length| length > 0)?;
                wire.push(length);
                wire.append(&mut item);
                if end_of_item.is_none() {
                    return Some(wire);
                }
            }
        }
    }
}
