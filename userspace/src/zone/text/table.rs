//! Which fields RDATA has, per RR type, and the mnemonics that stand for numbers in some.
//!
//! The table holds the types that `domain` lacks (LOC, APL, URI, …) and, since reading into a
//! reused buffer costs a fraction of what typed records cost, those it has whose fields are plain.
//! What is not in the table and not RFC 3597's `\#` is read by `domain` (see [`super::scanner`]).

use super::rare;
use crate::zone::Rtype;

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
    /// Priority, target and parameters of [`svcb`](super::svcb).
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

/// IANA registry "DNS Security Algorithm Numbers".
pub(super) const ALGORITHMS: &[(&str, u64)] = &[
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
pub(super) const CERT_TYPES: &[(&str, u64)] = &[
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
