//! RDATA from its presentation format, by a table of field kinds per RR type.
//!
//! What is not in the table and not RFC 3597's `\#` is read by `domain` (see [`super::scanner`]).

use super::codecs::{decimal, decode_base32, duration, eui, locator, named, point_in_time};
use super::cursor::Fields;
use super::error::Fault;
use super::table::{ALGORITHMS, CERT_TYPES, Field, layout};
use super::well_formed::{digest_fits, well_formed};
use super::{rare, scanner, svcb};
use crate::zone::Rtype;

/// The most octets RDATA has (RFC 1035 section 4.1.3: RDLENGTH is 16 bits).
const MAX_RDATA_LEN: usize = 65_535;

impl Fields<'_> {
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
            let message = "the digest does not have the length of its digest type";
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
            return Err(Fault::new(place, format!("these octets are not valid {rtype} RDATA")));
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
}

fn in_rdata(rtype: Rtype, fault: Fault) -> Fault {
    Fault { message: format!("{rtype}: {}", fault.message), ..fault }
}
