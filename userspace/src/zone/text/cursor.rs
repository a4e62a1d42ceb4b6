//! The tokens of an RDATA, taken one after the other.

use data_encoding::{BASE64, Encoding, HEXLOWER_PERMISSIVE};

use super::codecs::{Undecodable, decimal, decode};
use super::error::{Fault, shown};
use super::lexer::Token;
use super::names::push_name;
use crate::zone::Rtype;
use crate::zone::name_text::unescape;

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

    pub(super) fn shown(&self, token: Token) -> String {
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
    pub(super) fn short(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (at, place) = (self.out.len(), self.place());
        self.out.push(0);
        read(self)?;
        let length = self.out.len() - at - 1;
        self.out[at] = u8::try_from(length)
            .map_err(|_| Fault::new(place, format!("{length} octets; 255 fit")))?;
        Ok(())
    }

    /// All tokens left as hexadecimal digits.
    pub(super) fn hex(&mut self, what: &str, may_be_empty: bool) -> Result<(), Fault> {
        if !may_be_empty {
            self.token(what)?;
            self.next -= 1;
        }
        let tokens = &self.tokens[self.next.min(self.tokens.len())..];
        self.next = self.tokens.len();
        self.hex_of(tokens)
    }

    pub(super) fn hex_of(&mut self, tokens: &[Token]) -> Result<(), Fault> {
        let (octet, length) =
            ("a hexadecimal digit is expected here", "the number of hexadecimal digits is odd");
        self.decode(&HEXLOWER_PERMISSIVE, tokens, octet, length)
    }

    /// All tokens left as base 64; there must be one.
    pub(super) fn base64(&mut self) -> Result<(), Fault> {
        self.token("base 64")?;
        let tokens = &self.tokens[self.next - 1..];
        self.next = self.tokens.len();
        self.base64_of(tokens)
    }

    pub(super) fn base64_of(&mut self, tokens: &[Token]) -> Result<(), Fault> {
        let octet = "this character is not base 64, or not at this place";
        let length = "the base 64 is cut short: its length is no multiple of 4";
        self.decode(&BASE64, tokens, octet, length)
    }

    /// Decodes tokens as one text. The messages are for an octet that does not belong there, and for too few.
    fn decode(
        &mut self,
        encoding: &Encoding,
        tokens: &[Token],
        octet: &str,
        length: &str,
    ) -> Result<(), Fault> {
        let joined: Vec<u8>;
        let raw = match tokens {
            [token] => token.raw(self.text),
            _ => {
                joined = tokens.iter().flat_map(|token| token.raw(self.text)).copied().collect();
                &joined
            }
        };
        decode(encoding, raw, self.out).map_err(|fault| match fault {
            Undecodable::Octet(at) => Fault::new(place_of(tokens, at), octet),
            Undecodable::Length => {
                Fault::new(tokens.last().map_or(self.end as usize, |token| token.at()), length)
            }
        })
    }

    /// All tokens left as types of a bitmap (RFC 4034 section 4.1.2).
    pub(super) fn bitmap(&mut self) -> Result<(), Fault> {
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

/// Where an octet of tokens, taken as one text, stands.
fn place_of(tokens: &[Token], mut at: usize) -> usize {
    for token in tokens {
        let len = (token.end - token.start) as usize;
        if at < len {
            return token.start as usize + at;
        }
        at -= len;
    }
    tokens.last().map_or(0, |token| token.end as usize)
}
