//! RDATA from its presentation format, by a table of field kinds per RR type.
//!
//! The table holds the types that `domain` lacks (LOC, APL, URI, …) and, since reading into a
//! reused buffer costs a fraction of what typed records cost, those it has whose fields are plain.
//! What is not in the table and not RFC 3597's `\#` is read by `domain` (see [`super::scanner`]).

use super::error::Fault;
use super::lexer::{Token, unescape};
use super::{rare, scanner, svcb};
use crate::zone::Rtype;
use crate::zone::name::{MAX_NAME_LEN, wire_name_len};

/// The most octets RDATA has (RFC 1035 section 4.1.3: RDLENGTH is 16 bits).
const MAX_RDATA_LEN: usize = 65_535;

/// The most octets a name of 255 octets takes when each is written as `\DDD`.
const MAX_NAME_TEXT: usize = 4 * MAX_NAME_LEN;

/// A kind of RDATA field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// 8, 16, 32 and 64 bits, decimal.
    U8,
    U16,
    U32,
    U64,
    /// 32 bits of seconds, with units or without (SOA timers).
    Seconds,
    /// 32 bits of a point in time: `YYYYMMDDHHmmSS` or seconds (RFC 4034 section 3.2).
    Time,
    Name,
    Ipv4,
    Ipv6,
    /// A character string of up to 255 octets (RFC 1035 section 3.3).
    String,
    /// One, or none at the end.
    OptionalString,
    /// One or more to the end.
    Strings,
    /// The octets of one token, to the end, without a length.
    Octets,
    /// Hexadecimal digits to the end, in any number of tokens.
    Hex,
    /// Hexadecimal digits behind an 8-bit length; `-` for none (NSEC3 salt).
    ShortHex,
    /// Base 64 to the end, in any number of tokens.
    Base64,
    /// Base 32 with extended hex alphabet behind an 8-bit length (NSEC3 hash).
    Base32,
    /// Types to the end as a bitmap (RFC 4034 section 4.1.2).
    Bitmap,
    /// One type, 16 bits.
    Type,
    /// DNSSEC algorithm as number or mnemonic, 8 bits (RFC 4034 appendix A.1).
    Algorithm,
    /// CERT type as number or mnemonic, 16 bits (RFC 4398 section 2.1).
    CertType,
    /// DSYNC scheme as number or `NOTIFY`, 8 bits (RFC 9859).
    Scheme,
    /// A property tag: letters and digits behind an 8-bit length (RFC 8659 section 4.1).
    Tag,
    /// So many octets as pairs of hexadecimal digits with hyphens between (RFC 7043).
    Eui(u8),
    /// 64 bits as four groups of hexadecimal digits with colons between (RFC 6742).
    Locator,
    /// Priority, target and parameters of [`svcb`].
    Svcb,
    /// Whole RDATA of a kind of its own, from [`rare`].
    Rare(rare::Kind),
}

/// The fields of the types that the table knows.
pub(super) fn layout(rtype: Rtype) -> Option<&'static [Field]> {
    use Field::*;
    use rare::Kind;
    Some(match rtype.0 {
        1 => &[Ipv4],
        // NS MD MF CNAME MB MG MR PTR NSAP-PTR DNAME
        2..=5 | 7..=9 | 12 | 23 | 39 => &[Name],
        // SOA
        6 => &[Name, Name, U32, Seconds, Seconds, Seconds, Seconds],
        11 => &[Rare(Kind::Wks)],
        // HINFO
        13 => &[String, String],
        // MINFO RP TALINK
        14 | 17 | 58 => &[Name, Name],
        // MX AFSDB RT KX LP
        15 | 18 | 21 | 36 | 107 => &[U16, Name],
        // TXT NINFO SPF AVC RESINFO WALLET CLA
        16 | 56 | 99 | 258 | 261 | 262 | 263 => &[Strings],
        // X25
        19 => &[String],
        // ISDN
        20 => &[String, OptionalString],
        22 => &[Rare(Kind::Nsap)],
        // SIG RRSIG
        24 | 46 => &[Type, Algorithm, U8, U32, Time, Time, U16, Name, Base64],
        // KEY DNSKEY RKEY CDNSKEY
        25 | 48 | 57 | 60 => &[U16, U8, Algorithm, Base64],
        // PX
        26 => &[U16, Name, Name],
        // GPOS
        27 => &[String, String, String],
        28 => &[Ipv6],
        29 => &[Rare(Kind::Loc)],
        // EID NIMLOC
        31 | 32 => &[Hex],
        // SRV
        33 => &[U16, U16, U16, Name],
        34 => &[Rare(Kind::Atma)],
        // NAPTR
        35 => &[U16, U16, String, String, String, Name],
        // CERT
        37 => &[CertType, U16, Algorithm, Base64],
        38 => &[Rare(Kind::A6)],
        // SINK
        40 => &[U8, U8, U8, Base64],
        42 => &[Rare(Kind::Apl)],
        // DS CDS TA DLV
        43 | 59 | 32768 | 32769 => &[U16, Algorithm, U8, Hex],
        // SSHFP
        44 => &[U8, U8, Hex],
        // NSEC
        47 => &[Name, Bitmap],
        // DHCID OPENPGPKEY HHIT BRID
        49 | 61 | 67 | 68 => &[Base64],
        // NSEC3
        50 => &[U8, U8, U16, ShortHex, Base32, Bitmap],
        // NSEC3PARAM
        51 => &[U8, U8, U16, ShortHex],
        // TLSA SMIMEA
        52 | 53 => &[U8, U8, U8, Hex],
        55 => &[Rare(Kind::Hip)],
        // CSYNC
        62 => &[U32, U16, Bitmap],
        // ZONEMD
        63 => &[U32, U8, U8, Hex],
        // SVCB HTTPS
        64 | 65 => &[Svcb],
        // DSYNC
        66 => &[Type, Scheme, U16, Name],
        // NID L64
        104 | 106 => &[U16, Locator],
        // L32
        105 => &[U16, Ipv4],
        108 => &[Eui(6)],
        109 => &[Eui(8)],
        // URI
        256 => &[U16, U16, Octets],
        // CAA
        257 => &[U8, Tag, Octets],
        // DOA
        259 => &[U32, U32, U8, String, Base64],
        260 => &[Rare(Kind::Amtrelay)],
        // IPN
        264 => &[U64],
        _ => return None,
    })
}

/// The tokens of an RDATA, and the buffer its wire format goes to.
pub(super) struct Fields<'a> {
    pub(super) text: &'a [u8],
    pub(super) tokens: &'a [Token],
    /// The token to be read next.
    pub(super) next: usize,
    /// What completes relative names and stands for `@`.
    pub(super) origin: &'a [u8],
    pub(super) out: &'a mut Vec<u8>,
    /// Where the entry ends.
    pub(super) end: u32,
    /// Room for the types of a bitmap, kept from record to record.
    pub(super) types: &'a mut Vec<u16>,
}

impl<'a> Fields<'a> {
    /// Reads what is left of the entry as RDATA of a type.
    pub(super) fn read(&mut self, rtype: Rtype) -> Result<(), Fault> {
        let read = if self.peek() == Some(b"\\#") {
            self.next += 1;
            self.generic(rtype)
        } else if let Some(layout) = layout(rtype) {
            layout.iter().try_for_each(|&field| self.field(field))
        } else if scanner::knows(rtype) {
            scanner::read(self, rtype)
        } else {
            let message = "this type has no presentation format but that of RFC 3597: \
                           \\# LENGTH HEXADECIMAL";
            Err(Fault::new(self.place(), message))
        };
        read.map_err(|fault| in_rdata(rtype, fault))?;
        if let Some(token) = self.tokens.get(self.next) {
            let message = format!("the RDATA is complete, but {} follows", self.shown(*token));
            return Err(in_rdata(rtype, Fault::new(token.at(), message)));
        }
        if !digest_fits(rtype, self.out) {
            let message = "the digest has not the length of its digest type";
            let last = self.tokens.last().map_or(self.end as usize, |token| token.at());
            return Err(in_rdata(rtype, Fault::new(last, message)));
        }
        if self.out.len() > MAX_RDATA_LEN {
            let message = format!("the RDATA is {} octets long; 65535 fit", self.out.len());
            return Err(in_rdata(rtype, Fault::new(self.place(), message)));
        }
        Ok(())
    }

    /// RFC 3597 section 5: `\#`, the length, and that many octets. Of a type that is known they
    /// must be RDATA of that type.
    fn generic(&mut self, rtype: Rtype) -> Result<(), Fault> {
        let place = self.place();
        let length = self.number(MAX_RDATA_LEN as u64, "the length of the RDATA")? as usize;
        self.hex("the RDATA", true)?;
        if self.out.len() != length {
            let message = format!("the RDATA has {} octets, not {length}", self.out.len());
            return Err(Fault::new(place, message));
        }
        if !well_formed(rtype, self.out) {
            return Err(Fault::new(place, format!("these octets are no {rtype} RDATA")));
        }
        Ok(())
    }

    fn field(&mut self, field: Field) -> Result<(), Fault> {
        match field {
            Field::U8 => {
                let value = self.number(u8::MAX.into(), "a number from 0 to 255")?;
                self.out.push(value as u8);
            }
            Field::U16 => {
                let value = self.number(u16::MAX.into(), "a number from 0 to 65535")?;
                self.out.extend_from_slice(&(value as u16).to_be_bytes());
            }
            Field::U32 => {
                let value = self.number(u32::MAX.into(), "a number from 0 to 4294967295")?;
                self.out.extend_from_slice(&(value as u32).to_be_bytes());
            }
            Field::U64 => {
                let value = self.number(u64::MAX, "a number of up to 64 bits")?;
                self.out.extend_from_slice(&value.to_be_bytes());
            }
            Field::Seconds => {
                let what = "a time in seconds or with units as in 1h30m";
                let value =
                    self.parse(what, |raw| duration(raw).filter(|&s| s <= u32::MAX.into()))?;
                self.out.extend_from_slice(&(value as u32).to_be_bytes());
            }
            Field::Time => {
                let value =
                    self.parse("a time, YYYYMMDDHHmmSS in UTC or seconds", point_in_time)?;
                self.out.extend_from_slice(&value.to_be_bytes());
            }
            Field::Name => self.name()?,
            Field::Ipv4 => {
                let address: std::net::Ipv4Addr = self.standard("an IPv4 address")?;
                self.out.extend_from_slice(&address.octets());
            }
            Field::Ipv6 => {
                let address: std::net::Ipv6Addr = self.standard("an IPv6 address")?;
                self.out.extend_from_slice(&address.octets());
            }
            Field::String => self.string()?,
            Field::OptionalString => {
                if self.next < self.tokens.len() {
                    self.string()?;
                }
            }
            Field::Strings => {
                self.string()?;
                while self.next < self.tokens.len() {
                    self.string()?;
                }
            }
            Field::Octets => {
                let token = self.token("a value")?;
                self.octets(token)?;
            }
            Field::Hex => self.hex("hexadecimal digits", false)?,
            Field::ShortHex => self.short(|fields| {
                if fields.peek() == Some(b"-") {
                    fields.next += 1;
                    return Ok(());
                }
                let token = fields.token("a salt in hexadecimal digits, or -")?;
                fields.hex_of(&[token])
            })?,
            Field::Base64 => self.base64()?,
            Field::Base32 => self.short(|fields| {
                let what = "a hash in base 32 with the extended hex alphabet";
                let token = fields.token(what)?;
                let raw = token.raw(fields.text);
                decode_base32(raw, fields.out).ok_or_else(|| fields.expected(token, what))
            })?,
            Field::Bitmap => self.bitmap()?,
            Field::Type => {
                let rtype = self.parse("an RR type", Rtype::from_mnemonic)?;
                self.out.extend_from_slice(&rtype.0.to_be_bytes());
            }
            Field::Algorithm => {
                let what = "a DNSSEC algorithm by number or mnemonic";
                let value = self.parse(what, |raw| {
                    named(raw, ALGORITHMS).or_else(|| decimal(raw, u8::MAX.into()))
                })?;
                self.out.push(value as u8);
            }
            Field::CertType => {
                let value = self.parse("a CERT type by number or mnemonic", |raw| {
                    named(raw, CERT_TYPES).or_else(|| decimal(raw, u16::MAX.into()))
                })?;
                self.out.extend_from_slice(&(value as u16).to_be_bytes());
            }
            Field::Scheme => {
                let value = self.parse("a scheme by number, or NOTIFY", |raw| {
                    named(raw, &[("NOTIFY", 1)]).or_else(|| decimal(raw, u8::MAX.into()))
                })?;
                self.out.push(value as u8);
            }
            Field::Tag => {
                let token = self.token("a property tag")?;
                let raw = token.raw(self.text);
                if raw.is_empty() || raw.len() > 255 || !raw.iter().all(u8::is_ascii_alphanumeric) {
                    return Err(self.expected(token, "a property tag of letters and digits"));
                }
                self.out.push(raw.len() as u8);
                self.out.extend_from_slice(raw);
            }
            Field::Eui(octets) => {
                let token = self.token("an address")?;
                let raw = token.raw(self.text);
                if eui(raw, octets, self.out).is_none() {
                    let what = format!("{octets} pairs of hexadecimal digits with hyphens between");
                    return Err(self.expected(token, &what));
                }
            }
            Field::Locator => {
                let value = self
                    .parse("four groups of hexadecimal digits as in 14:4fff:ff20:ee64", locator)?;
                self.out.extend_from_slice(&value.to_be_bytes());
            }
            Field::Svcb => svcb::read(self)?,
            Field::Rare(kind) => rare::read(self, kind)?,
        }
        Ok(())
    }

    /// The next token as written; `None` if there is none or it stands in quotes.
    pub(super) fn peek(&self) -> Option<&'a [u8]> {
        self.tokens.get(self.next).filter(|token| !token.quoted).map(|token| token.raw(self.text))
    }

    /// Where the next token stands, or the entry ends.
    pub(super) fn place(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end as usize, |token| token.at())
    }

    /// Takes the next token; `what` says for the error what is missing if there is none.
    pub(super) fn token(&mut self, what: &str) -> Result<Token, Fault> {
        let Some(&token) = self.tokens.get(self.next) else {
            return Err(Fault::new(
                self.end as usize,
                format!("it ends too early: {what} is missing"),
            ));
        };
        self.next += 1;
        Ok(token)
    }

    /// Takes the next token if `parse` makes something of its octets.
    pub(super) fn parse<T>(
        &mut self,
        what: &str,
        parse: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T, Fault> {
        let token = self.token(what)?;
        parse(token.raw(self.text)).ok_or_else(|| self.expected(token, what))
    }

    /// Takes the next token as what the standard library reads.
    pub(super) fn standard<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, Fault> {
        self.parse(what, |raw| str::from_utf8(raw).ok()?.parse().ok())
    }

    pub(super) fn number(&mut self, max: u64, what: &str) -> Result<u64, Fault> {
        self.parse(what, |raw| decimal(raw, max))
    }

    /// The fault that a token is not what stands here.
    pub(super) fn expected(&self, token: Token, what: &str) -> Fault {
        Fault::new(token.at(), format!("{} is not {what}", self.shown(token)))
    }

    fn shown(&self, token: Token) -> String {
        shown(token.raw(self.text))
    }

    /// A domain name.
    pub(super) fn name(&mut self) -> Result<(), Fault> {
        let token = self.token("a domain name")?;
        push_name(token, self.text, self.origin, self.out)
    }

    /// A character string.
    pub(super) fn string(&mut self) -> Result<(), Fault> {
        let token = self.token("a character string")?;
        let at = self.out.len();
        self.out.push(0);
        self.octets(token)?;
        let Ok(length) = u8::try_from(self.out.len() - at - 1) else {
            let message = format!(
                "a character string has {} octets; 255 fit (write it as several strings)",
                self.out.len() - at - 1
            );
            return Err(Fault::new(token.at(), message));
        };
        self.out[at] = length;
        Ok(())
    }

    /// The octets of a token, escapes resolved.
    pub(super) fn octets(&mut self, token: Token) -> Result<(), Fault> {
        let raw = token.raw(self.text);
        if !token.escaped {
            self.out.extend_from_slice(raw);
            return Ok(());
        }
        let mut at = 0;
        while let Some(&octet) = raw.get(at) {
            if octet == b'\\' {
                let (octet, length) = unescape(&raw[at..])
                    .map_err(|message| Fault::new(token.start as usize + at, message))?;
                self.out.push(octet);
                at += length;
            } else {
                self.out.push(octet);
                at += 1;
            }
        }
        Ok(())
    }

    /// What `read` appends, behind its length in 8 bits.
    fn short(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        let (at, place) = (self.out.len(), self.place());
        self.out.push(0);
        read(self)?;
        let length = self.out.len() - at - 1;
        self.out[at] = u8::try_from(length)
            .map_err(|_| Fault::new(place, format!("{length} octets; 255 fit")))?;
        Ok(())
    }

    /// All tokens left as hexadecimal digits.
    fn hex(&mut self, what: &str, may_be_empty: bool) -> Result<(), Fault> {
        if !may_be_empty {
            self.token(what)?;
            self.next -= 1;
        }
        let tokens = &self.tokens[self.next.min(self.tokens.len())..];
        self.next = self.tokens.len();
        self.hex_of(tokens)
    }

    pub(super) fn hex_of(&mut self, tokens: &[Token]) -> Result<(), Fault> {
        // The first of two digits that a token left over.
        let mut half = None;
        for &token in tokens {
            for (at, &octet) in token.raw(self.text).iter().enumerate() {
                let Some(digit) = hex_digit(octet) else {
                    let message = "a hexadecimal digit is expected here";
                    return Err(Fault::new(token.start as usize + at, message));
                };
                match half.take() {
                    None => half = Some(digit),
                    Some(high) => self.out.push(high << 4 | digit),
                }
            }
        }
        match (half, tokens.last()) {
            (Some(_), Some(last)) => {
                let message = "the number of hexadecimal digits is odd";
                Err(Fault::new(last.at(), message))
            }
            _ => Ok(()),
        }
    }

    /// All tokens left as base 64; there must be one.
    fn base64(&mut self) -> Result<(), Fault> {
        self.token("base 64")?;
        let tokens = &self.tokens[self.next - 1..];
        self.next = self.tokens.len();
        self.base64_of(tokens)
    }

    pub(super) fn base64_of(&mut self, tokens: &[Token]) -> Result<(), Fault> {
        let mut decoder = Base64 { bits: 0, count: 0, padding: 0 };
        for &token in tokens {
            for (at, &octet) in token.raw(self.text).iter().enumerate() {
                decoder.push(octet, self.out).ok_or_else(|| {
                    let message = "this character does not belong into base 64 here";
                    Fault::new(token.start as usize + at, message)
                })?;
            }
        }
        match tokens.last() {
            Some(last) if decoder.finish().is_none() => {
                let message = "the base 64 is cut short: its length is no multiple of 4";
                Err(Fault::new(last.at(), message))
            }
            _ => Ok(()),
        }
    }

    /// All tokens left as types of a bitmap (RFC 4034 section 4.1.2).
    fn bitmap(&mut self) -> Result<(), Fault> {
        self.types.clear();
        while self.next < self.tokens.len() {
            let rtype = self.parse("an RR type", Rtype::from_mnemonic)?;
            self.types.push(rtype.0);
        }
        if !self.types.is_sorted() {
            self.types.sort_unstable();
        }
        for window in self.types.chunk_by(|a, b| a >> 8 == b >> 8) {
            let mut bits = [0u8; 32];
            for rtype in window {
                let bit = usize::from(rtype & 0xff);
                bits[bit / 8] |= 0x80 >> (bit % 8);
            }
            let length = usize::from(window[window.len() - 1] & 0xff) / 8 + 1;
            self.out.push((window[0] >> 8) as u8);
            self.out.push(length as u8);
            self.out.extend_from_slice(&bits[..length]);
        }
        Ok(())
    }
}

fn in_rdata(rtype: Rtype, fault: Fault) -> Fault {
    Fault { message: format!("{rtype}: {}", fault.message), ..fault }
}

/// A token for people: in quotes, cut if it is long.
pub(super) fn shown(raw: &[u8]) -> String {
    const SHOWN: usize = 40;
    let text = String::from_utf8_lossy(&raw[..raw.len().min(SHOWN)]);
    let dots = if raw.len() > SHOWN { "…" } else { "" };
    let text: String = text.chars().filter(|character| !character.is_control()).collect();
    format!("\"{text}{dots}\"")
}

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

/// A decimal number of digits only, at most `max`.
pub(super) fn decimal(raw: &[u8], max: u64) -> Option<u64> {
    if raw.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for &octet in raw {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    (value <= max).then_some(value)
}

/// Seconds, bare or as numbers with units: `3600`, `1h`, `1W2D` (BIND's extension of RFC 1035).
pub(super) fn duration(raw: &[u8]) -> Option<u64> {
    if let Some(seconds) = decimal(raw, u64::MAX) {
        return Some(seconds);
    }
    let (mut total, mut value, mut digits) = (0u64, 0u64, false);
    for &octet in raw {
        if octet.is_ascii_digit() {
            value = value.checked_mul(10)?.checked_add((octet - b'0').into())?;
            digits = true;
            continue;
        }
        let unit = match octet.to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        if !digits {
            return None;
        }
        total = total.checked_add(value.checked_mul(unit)?)?;
        (value, digits) = (0, false);
    }
    (!digits && !raw.is_empty()).then_some(total)
}

/// A point in time modulo 2^32 seconds: `YYYYMMDDHHmmSS` in UTC, or seconds since 1970
/// (RFC 4034 section 3.2).
fn point_in_time(raw: &[u8]) -> Option<u32> {
    if raw.len() != 14 {
        return decimal(raw, u32::MAX.into()).map(|seconds| seconds as u32);
    }
    let part = |from: usize, to: usize| decimal(&raw[from..to], 9999).map(|part| part as i64);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=longest).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970-03-01 in years that start in March, so that a leap day ends one.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let seconds = (days - 719_468) * 86_400 + hour * 3_600 + minute * 60 + second;
    // Serial arithmetic: the field wraps (RFC 4034 section 3.1.5).
    Some(seconds as u32)
}

fn named(raw: &[u8], names: &[(&str, u64)]) -> Option<u64> {
    let found = names.iter().find(|(name, _)| raw.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(found.1)
}

/// IANA registry "DNS Security Algorithm Numbers".
const ALGORITHMS: &[(&str, u64)] = &[
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("NSEC3DSA", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("NSEC3RSASHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECCGOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

/// RFC 4398 section 2.1.
const CERT_TYPES: &[(&str, u64)] = &[
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

pub(super) fn hex_digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

/// What a character is worth in base 64 (RFC 4648 section 4); 64 for `=`, 255 for what is none.
const BASE64: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    let mut values = [255; 256];
    let mut value = 0;
    while value < alphabet.len() {
        values[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    values
};

struct Base64 {
    bits: u32,
    /// Characters since the last whole group of four, padding included.
    count: u8,
    padding: u8,
}

impl Base64 {
    fn push(&mut self, octet: u8, out: &mut Vec<u8>) -> Option<()> {
        let value = BASE64[usize::from(octet)];
        // Nothing follows padding, and a group has two characters at least.
        let padding = value == 64;
        if value > 64 || (!padding && self.padding > 0) || (padding && self.count < 2) {
            return None;
        }
        if padding {
            self.padding += 1;
        } else {
            self.bits = self.bits << 6 | u32::from(value);
        }
        self.count += 1;
        if self.count == 4 {
            let padding = u32::from(self.padding);
            // RFC 4648 section 3.5: bits that make no octet (two for each `=`) are 0.
            if self.bits & ((1 << (2 * padding)) - 1) != 0 {
                return None;
            }
            let octets = (self.bits << (6 * padding)).to_be_bytes();
            out.extend_from_slice(&octets[1..4 - usize::from(self.padding)]);
            self.bits = 0;
            // A group with padding is the last: nothing may follow, `count` says so.
            self.count = if self.padding > 0 { 5 } else { 0 };
        } else if self.count > 4 {
            return None;
        }
        Some(())
    }

    fn finish(&self) -> Option<()> {
        matches!(self.count, 0 | 5).then_some(())
    }
}

/// Base 64 of one token (RFC 4648 section 4), padding required.
pub(super) fn decode_base64(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut decoder = Base64 { bits: 0, count: 0, padding: 0 };
    raw.iter().try_for_each(|&octet| decoder.push(octet, out))?;
    decoder.finish()
}

/// Base 32 with extended hex alphabet and without padding (RFC 4648 section 7, RFC 5155).
fn decode_base32(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (mut bits, mut count) = (0u32, 0u32);
    for &octet in raw {
        let value = match octet {
            b'0'..=b'9' => octet - b'0',
            b'a'..=b'v' => octet - b'a' + 10,
            b'A'..=b'V' => octet - b'A' + 10,
            _ => return None,
        };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // Five bits or more left over would have been another character; others must be 0.
    (!raw.is_empty() && count < 5 && bits == 0).then_some(())
}

fn eui(raw: &[u8], octets: u8, out: &mut Vec<u8>) -> Option<()> {
    if raw.len() != usize::from(octets) * 3 - 1 {
        return None;
    }
    for (index, pair) in raw.chunks(3).enumerate() {
        let last = index + 1 == usize::from(octets);
        if !last && pair[2] != b'-' {
            return None;
        }
        out.push(hex_digit(pair[0])? << 4 | hex_digit(pair[1])?);
    }
    Some(())
}

fn locator(raw: &[u8]) -> Option<u64> {
    let (mut value, mut groups) = (0u64, 0);
    for group in raw.split(|&octet| octet == b':') {
        if group.is_empty() || group.len() > 4 || groups == 4 {
            return None;
        }
        let mut bits = 0u64;
        for &octet in group {
            bits = bits << 4 | u64::from(hex_digit(octet)?);
        }
        value = value << 16 | bits;
        groups += 1;
    }
    (groups == 4).then_some(value)
}

/// Whether RDATA in uncompressed wire format has the form of its type. Of a type that neither the
/// table nor `domain` knows any RDATA has.
pub(super) fn well_formed(rtype: Rtype, rdata: &[u8]) -> bool {
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
fn digest_fits(rtype: Rtype, rdata: &[u8]) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_or_none() {
        assert_eq!(duration(b"3600"), Some(3600));
        assert_eq!(duration(b"1h"), Some(3600));
        assert_eq!(duration(b"1W2D"), Some(9 * 86_400));
        assert_eq!(duration(b"1d2h3m4s"), Some(93_784));
        for none in [&b""[..], b"h", b"1x", b"1h30", b"1hh", b"-1", b"99999999999999999999w"] {
            assert_eq!(duration(none), None, "{}", String::from_utf8_lossy(none));
        }
    }

    #[test]
    fn times_are_dates_or_seconds() {
        assert_eq!(point_in_time(b"20040509183619"), Some(1_084_127_779));
        assert_eq!(point_in_time(b"19700101000000"), Some(0));
        assert_eq!(point_in_time(b"20000229000000"), Some(951_782_400));
        // 2106-02-07 06:28:16 is 2^32 seconds.
        assert_eq!(point_in_time(b"21060207062816"), Some(0));
        assert_eq!(point_in_time(b"1084127779"), Some(1_084_127_779));
        assert_eq!(point_in_time(b"20010229000000"), None);
        assert_eq!(point_in_time(b"20041309183619"), None);
    }

    #[test]
    fn base64_is_strict() {
        let decode = |text: &[u8]| {
            let mut out = Vec::new();
            decode_base64(text, &mut out).map(|()| out)
        };
        assert_eq!(decode(b"Zm9vYmFy").as_deref(), Some(&b"foobar"[..]));
        assert_eq!(decode(b"Zm9vYmE=").as_deref(), Some(&b"fooba"[..]));
        assert_eq!(decode(b"Zm9vYg==").as_deref(), Some(&b"foob"[..]));
        for bad in [&b"Zg"[..], b"Zg=", b"Zh==", b"Z===", b"Zg==Zg==", b"Zg=a", b"Zm9=v", b"Zm9*"] {
            assert_eq!(decode(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn base32_is_that_of_nsec3() {
        let mut out = Vec::new();
        assert_eq!(decode_base32(b"CPNMUOJ1e8", &mut out), Some(()));
        assert_eq!(out, b"foobar");
        assert!(decode_base32(b"CPNMUOJ1EW", &mut Vec::new()).is_none());
        assert!(decode_base32(b"C", &mut Vec::new()).is_none());
    }
}
