//! The tokens of an entry as a `domain` scanner: for the types that the table of [`super::table`]
//! leaves to it (IPSECKEY, and any that `domain` learns later).

use super::cursor::Fields;
use super::error::Fault;
use super::names::push_name;
use crate::zone::Rtype;
use crate::zone::name_text::unescape;
use domain::base::Name;
use domain::base::charstr::CharStr;
use domain::base::iana;
use domain::base::name::ParsedName;
use domain::base::rdata::{ComposeRecordData, ParseRecordData};
use domain::base::scan::{ConvertSymbols, EntrySymbol, Scanner, ScannerError, Symbol};
use domain::dep::octseq::Parser;
use domain::dep::octseq::str::Str;
use domain::rdata::ZoneRecordData;
use std::fmt;

/// RDATA as `domain` holds it.
pub(super) type Parsed<'a> = ZoneRecordData<&'a [u8], ParsedName<&'a [u8]>>;

/// RDATA in uncompressed wire format as `domain` sees it; `None` if it finds it malformed.
pub(super) fn parse(rtype: Rtype, rdata: &[u8]) -> Option<Parsed<'_>> {
    let mut parser = Parser::from_ref(rdata);
    let parsed = Parsed::parse_rdata(iana::Rtype::from_int(rtype.0), &mut parser).ok()??;
    (parser.remaining() == 0).then_some(parsed)
}

/// Whether `domain` reads this type.
pub(super) fn knows(rtype: Rtype) -> bool {
    // What it does not know it keeps as unknown; the empty RDATA tells, since every type that it
    // knows refuses it or names itself.
    !matches!(parse(rtype, &[]), Some(ZoneRecordData::Unknown(_)))
}

/// Whether RDATA has the form that `domain` knows for the type, without compressed names.
pub(super) fn well_formed(rtype: Rtype, rdata: &[u8]) -> bool {
    let mut composed = Vec::with_capacity(rdata.len());
    parse(rtype, rdata).is_some_and(|parsed| parsed.compose_rdata(&mut composed).is_ok())
        && composed == rdata
}

/// Reads what is left of the entry as RDATA of a type.
pub(super) fn read(fields: &mut Fields<'_>, rtype: Rtype) -> Result<(), Fault> {
    let mut scanner = TokenScanner { fields, fault: None };
    let rtype_of_domain = iana::Rtype::from_int(rtype.0);
    let scanned = ZoneRecordData::scan(rtype_of_domain, &mut scanner);
    let fault = scanner.fault.take();
    match scanned {
        Ok(rdata) => rdata
            .compose_rdata(fields.out)
            .map_err(|_| Fault::new(fields.place(), "the RDATA is longer than 65535 octets")),
        Err(error) => Err(fault.unwrap_or_else(|| {
            let last = fields.next.saturating_sub(1);
            let at = fields.tokens.get(last).map_or(fields.end, |token| token.start);
            Fault::new(at as usize, error.0)
        })),
    }
}

/// An error in the words of `domain`; ours wait in [`TokenScanner::fault`].
#[derive(Debug)]
struct ScanError(&'static str);

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ScanError {}

impl ScannerError for ScanError {
    fn custom(message: &'static str) -> ScanError {
        ScanError(message)
    }

    fn end_of_entry() -> ScanError {
        ScanError("it ends too early")
    }

    fn short_buf() -> ScanError {
        ScanError("the RDATA is longer than 65535 octets")
    }

    fn trailing_tokens() -> ScanError {
        ScanError("the RDATA is complete, but more follows")
    }
}

struct TokenScanner<'f, 'a> {
    fields: &'f mut Fields<'a>,
    /// The last error of ours, with its place.
    fault: Option<Fault>,
}

impl TokenScanner<'_, '_> {
    fn keep<T>(&mut self, result: Result<T, Fault>) -> Result<T, ScanError> {
        result.map_err(|fault| {
            self.fault = Some(fault);
            ScanError("")
        })
    }

    /// The octets of the next token, escapes resolved.
    fn octets(&mut self) -> Result<Vec<u8>, ScanError> {
        let token = self.fields.token("a value");
        let token = self.keep(token)?;
        let out = std::mem::take(self.fields.out);
        let result = self.fields.octets(token);
        let octets = std::mem::replace(self.fields.out, out);
        self.keep(result)?;
        Ok(octets)
    }

    /// Gives `op` the symbols of the next token.
    fn symbols(
        &mut self,
        mut op: impl FnMut(Symbol) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        let token = self.fields.token("a value");
        let token = self.keep(token)?;
        let raw = token.raw(self.fields.text);
        let mut at = 0;
        while let Some(&octet) = raw.get(at) {
            if octet == b'\\' {
                let unescaped = unescape(&raw[at..])
                    .map_err(|message| Fault::new(token.start as usize + at, message));
                let (octet, length) = self.keep(unescaped)?;
                op(if length == 4 {
                    Symbol::DecimalEscape(octet)
                } else {
                    Symbol::SimpleEscape(octet)
                })?;
                at += length;
            } else {
                // Octets that are not ASCII stand for themselves.
                op(if octet.is_ascii() {
                    Symbol::Char(octet.into())
                } else {
                    Symbol::DecimalEscape(octet)
                })?;
                at += 1;
            }
        }
        Ok(())
    }
}

impl Scanner for TokenScanner<'_, '_> {
    type Octets = Vec<u8>;
    type OctetsBuilder = Vec<u8>;
    type Name = Name<Vec<u8>>;
    type Error = ScanError;

    fn has_space(&self) -> bool {
        self.fields.tokens.get(self.fields.next).is_some_and(|token| !token.glued)
    }

    fn continues(&mut self) -> bool {
        self.fields.next < self.fields.tokens.len()
    }

    fn scan_symbols<F>(&mut self, op: F) -> Result<(), ScanError>
    where
        F: FnMut(Symbol) -> Result<(), ScanError>,
    {
        self.symbols(op)
    }

    fn scan_entry_symbols<F>(&mut self, mut op: F) -> Result<(), ScanError>
    where
        F: FnMut(EntrySymbol) -> Result<(), ScanError>,
    {
        while self.continues() {
            self.symbols(|symbol| op(EntrySymbol::Symbol(symbol)))?;
            op(EntrySymbol::EndOfToken)?;
        }
        Ok(())
    }

    fn convert_token<C: ConvertSymbols<Symbol, ScanError>>(
        &mut self,
        convert: C,
    ) -> Result<Vec<u8>, ScanError> {
        converted(convert, |op| self.symbols(op))
    }

    fn convert_entry<C: ConvertSymbols<EntrySymbol, ScanError>>(
        &mut self,
        convert: C,
    ) -> Result<Vec<u8>, ScanError> {
        converted(convert, |op| self.scan_entry_symbols(op))
    }

    fn scan_octets(&mut self) -> Result<Vec<u8>, ScanError> {
        self.octets()
    }

    /// `key="value"` is two tokens to the lexer and one to SVCB.
    fn scan_svcb_octets(&mut self) -> Result<Vec<u8>, ScanError> {
        let mut octets = self.octets()?;
        while self.continues() && !self.has_space() {
            octets.extend_from_slice(&self.octets()?);
        }
        Ok(octets)
    }

    fn scan_ascii_str<F, T>(&mut self, op: F) -> Result<T, ScanError>
    where
        F: FnOnce(&str) -> Result<T, ScanError>,
    {
        let octets = self.octets()?;
        match str::from_utf8(&octets) {
            Ok(text) if text.is_ascii() => op(text),
            _ => Err(ScanError("ASCII characters are expected here")),
        }
    }

    fn scan_name(&mut self) -> Result<Name<Vec<u8>>, ScanError> {
        let token = self.fields.token("a domain name");
        let token = self.keep(token)?;
        let mut wire = Vec::new();
        let pushed = push_name(token, self.fields.text, self.fields.origin, &mut wire);
        self.keep(pushed)?;
        Name::from_octets(wire).map_err(|_| ScanError("this is not a domain name"))
    }

    fn scan_charstr(&mut self) -> Result<CharStr<Vec<u8>>, ScanError> {
        let octets = self.octets()?;
        CharStr::from_octets(octets)
            .map_err(|_| ScanError("a character string has more than 255 octets"))
    }

    fn scan_string(&mut self) -> Result<Str<Vec<u8>>, ScanError> {
        Str::from_utf8(self.octets()?).map_err(|_| ScanError("this is not UTF-8"))
    }

    fn scan_charstr_entry(&mut self) -> Result<Vec<u8>, ScanError> {
        let mut strings = Vec::new();
        loop {
            let octets = self.octets()?;
            let length = u8::try_from(octets.len())
                .map_err(|_| ScanError("a character string has more than 255 octets"))?;
            strings.push(length);
            strings.extend_from_slice(&octets);
            if !self.continues() {
                return Ok(strings);
            }
        }
    }

    fn scan_opt_unknown_marker(&mut self) -> Result<bool, ScanError> {
        let found = self.fields.peek() == Some(b"\\#");
        self.fields.next += usize::from(found);
        Ok(found)
    }

    fn octets_builder(&mut self) -> Result<Vec<u8>, ScanError> {
        Ok(Vec::new())
    }
}

/// The octets that a converter makes of the symbols that `scan` hands to it.
fn converted<S, C: ConvertSymbols<S, ScanError>>(
    mut convert: C,
    scan: impl FnOnce(&mut dyn FnMut(S) -> Result<(), ScanError>) -> Result<(), ScanError>,
) -> Result<Vec<u8>, ScanError> {
    let mut octets = Vec::new();
    scan(&mut |symbol| {
        octets.extend_from_slice(convert.process_symbol(symbol)?.unwrap_or_default());
        Ok(())
    })?;
    octets.extend_from_slice(convert.process_tail()?.unwrap_or_default());
    Ok(octets)
}
