//! RR types by number, with the few that the server itself must know by name.

use std::fmt;
use std::str::FromStr;

/// An RR type (RFC 1035 section 3.2.2; IANA registry "Resource Record (RR) TYPEs"). It is written
/// as its mnemonic, or as `TYPE` and its number (RFC 3597 section 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rtype(pub u16);

#[allow(missing_docs, reason = "the mnemonics are the registry's own")]
impl Rtype {
    pub const A: Rtype = Rtype(1);
    pub const NS: Rtype = Rtype(2);
    pub const CNAME: Rtype = Rtype(5);
    pub const SOA: Rtype = Rtype(6);
    pub const PTR: Rtype = Rtype(12);
    pub const HINFO: Rtype = Rtype(13);
    pub const MX: Rtype = Rtype(15);
    pub const TXT: Rtype = Rtype(16);
    pub const AAAA: Rtype = Rtype(28);
    pub const SRV: Rtype = Rtype(33);
    pub const DNAME: Rtype = Rtype(39);
    pub const OPT: Rtype = Rtype(41);
    pub const DS: Rtype = Rtype(43);
    pub const RRSIG: Rtype = Rtype(46);
    pub const NSEC: Rtype = Rtype(47);
    pub const DNSKEY: Rtype = Rtype(48);
    pub const NSEC3: Rtype = Rtype(50);
    pub const NSEC3PARAM: Rtype = Rtype(51);
    pub const TLSA: Rtype = Rtype(52);
    pub const CDS: Rtype = Rtype(59);
    pub const CDNSKEY: Rtype = Rtype(60);
    pub const ZONEMD: Rtype = Rtype(63);
    pub const TSIG: Rtype = Rtype(250);
    pub const IXFR: Rtype = Rtype(251);
    pub const AXFR: Rtype = Rtype(252);
    pub const ANY: Rtype = Rtype(255);
}

impl Rtype {
    /// Whether the type stands in questions and messages only, so that no zone holds it: 0 and
    /// 65535 (reserved), OPT, and 128 to 255 (RFC 6895 section 3.1).
    pub fn is_meta(self) -> bool {
        matches!(self.0, 0 | 41 | 128..=255 | 65535)
    }

    /// The type that a mnemonic of any case or `TYPEnnn` stands for.
    pub fn from_mnemonic(text: &[u8]) -> Option<Rtype> {
        // The types that fill zones are found without walking the registry: a reader asks for
        // every record.
        let mut upper = [0; 10];
        if let Some(upper) = upper.get_mut(..text.len()) {
            upper.copy_from_slice(text);
            upper.make_ascii_uppercase();
            match &*upper {
                b"A" => return Some(Rtype::A),
                b"NS" => return Some(Rtype::NS),
                b"DS" => return Some(Rtype::DS),
                b"MX" => return Some(Rtype::MX),
                b"TXT" => return Some(Rtype::TXT),
                b"PTR" => return Some(Rtype::PTR),
                b"SRV" => return Some(Rtype::SRV),
                b"AAAA" => return Some(Rtype::AAAA),
                b"NSEC" => return Some(Rtype::NSEC),
                b"CNAME" => return Some(Rtype::CNAME),
                b"NSEC3" => return Some(Rtype::NSEC3),
                b"RRSIG" => return Some(Rtype::RRSIG),
                // The registry's spelling; `domain` knows it without the hyphen.
                b"NSAP-PTR" => return Some(Rtype(23)),
                _ => {}
            }
        }
        if text.len() > 4 && text[..4].eq_ignore_ascii_case(b"TYPE") {
            // `parse` would take a sign.
            let digits = text[4..].iter().all(u8::is_ascii_digit);
            let number = str::from_utf8(&text[4..]).ok().filter(|_| digits)?;
            return number.parse().ok().map(Rtype);
        }
        domain::base::iana::Rtype::from_mnemonic(text).map(|rtype| Rtype(rtype.to_int()))
    }
}

impl fmt::Display for Rtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            23 => f.write_str("NSAP-PTR"),
            number => fmt::Display::fmt(&domain::base::iana::Rtype::from_int(number), f),
        }
    }
}

/// A text is not the name of an RR type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an RR type; unknown types are written as TYPE and their number")]
pub struct UnknownRtype(pub String);

impl FromStr for Rtype {
    type Err = UnknownRtype;

    fn from_str(text: &str) -> Result<Rtype, UnknownRtype> {
        Rtype::from_mnemonic(text.as_bytes()).ok_or_else(|| UnknownRtype(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_from_its_mnemonic() {
        for number in 0..=u16::MAX {
            let rtype = Rtype(number);
            assert_eq!(rtype.to_string().parse(), Ok(rtype));
            assert_eq!(format!("type{number}").parse(), Ok(rtype));
        }
        assert_eq!("cname".parse(), Ok(Rtype::CNAME));
        for none in ["", "TYPE", "TYPE65536", "TYPE+1", "A1", "TYPE-1"] {
            assert!(none.parse::<Rtype>().is_err(), "{none}");
        }
    }
}
