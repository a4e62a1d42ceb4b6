//! How a zone is signed.

use std::fmt;
use std::str::FromStr;

use super::choice::{choice, word};
use super::lifetime::{DNSKEY_TTL_S, INCEPTION_OFFSET_S, JITTER_S, VALIDITY_S};
use crate::zone::Serial;

/// How the absence of names and types is proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Denial {
    /// NSEC (RFC 4034 section 4).
    #[default]
    Nsec,
    /// NSEC3 without salt and without additional iterations (RFC 5155, RFC 9276 section 3.1).
    Nsec3 {
        /// Delegations without DS get no NSEC3 record (RFC 5155 section 6).
        opt_out: bool,
    },
}

impl Denial {
    const WORDS: [(&str, Denial); 3] = [
        ("nsec", Denial::Nsec),
        ("nsec3", Denial::Nsec3 { opt_out: false }),
        ("nsec3-opt-out", Denial::Nsec3 { opt_out: true }),
    ];
}

impl FromStr for Denial {
    type Err = String;

    fn from_str(text: &str) -> Result<Denial, String> {
        choice(text, &Denial::WORDS)
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(self, &Denial::WORDS))
    }
}

/// What becomes of the SOA serial.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SerialPolicy {
    /// It stays as it is.
    #[default]
    Keep,
    /// One more (RFC 1982 section 3.1); 0 is left out, which some secondaries take for "none".
    Increment,
    /// Seconds since 1970, or one more than it is if that is not greater (RFC 1982).
    UnixTime,
}

impl SerialPolicy {
    /// The serial of the signed zone.
    pub fn apply(self, serial: Serial, now: u32) -> Serial {
        match self {
            SerialPolicy::Keep => serial,
            SerialPolicy::UnixTime if Serial(now).is_newer_than(serial) => Serial(now),
            SerialPolicy::Increment | SerialPolicy::UnixTime => serial.next(),
        }
    }
}

impl SerialPolicy {
    const WORDS: [(&str, SerialPolicy); 3] = [
        ("keep", SerialPolicy::Keep),
        ("increment", SerialPolicy::Increment),
        ("unixtime", SerialPolicy::UnixTime),
    ];
}

impl FromStr for SerialPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<SerialPolicy, String> {
        choice(text, &SerialPolicy::WORDS)
    }
}

impl fmt::Display for SerialPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(self, &SerialPolicy::WORDS))
    }
}

/// What answers QTYPE ANY.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AnyResponse {
    /// One RRset of the name (RFC 8482 section 4.1).
    #[default]
    Rrset,
    /// A synthesised HINFO (RFC 8482 section 4.2): one more signature for each name.
    Hinfo,
}

/// How a zone is signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SigningPolicy {
    /// NSEC or NSEC3.
    pub denial: Denial,
    /// What becomes of the SOA serial.
    pub serial: SerialPolicy,
    /// How long signatures are valid from the time of signing, in seconds.
    pub validity: u32,
    /// Signatures end up to so many seconds earlier, spread by owner name and time of signing, so
    /// that a large zone need not be signed again all at once.
    pub jitter: u32,
    /// Signatures are valid from so many seconds before the time of signing, for validators whose
    /// clocks are behind.
    pub inception_offset: u32,
    /// The TTL of the DNSKEY RRset in seconds, unless the zone's own DNSKEY records have a lower.
    pub dnskey_ttl: u32,
    /// What answers QTYPE ANY.
    pub any: AnyResponse,
    /// Whether the zone has a digest of itself (ZONEMD, RFC 8976).
    pub zonemd: bool,
}

impl Default for SigningPolicy {
    fn default() -> SigningPolicy {
        SigningPolicy {
            denial: Denial::default(),
            serial: SerialPolicy::default(),
            validity: VALIDITY_S,
            jitter: JITTER_S,
            inception_offset: INCEPTION_OFFSET_S,
            dnskey_ttl: DNSKEY_TTL_S,
            any: AnyResponse::default(),
            zonemd: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SerialPolicy;
    use crate::zone::Serial;

    #[test]
    fn serials_never_go_back() {
        assert_eq!(SerialPolicy::Keep.apply(Serial(7), 1_800_000_000).0, 7);
        assert_eq!(SerialPolicy::Increment.apply(Serial(u32::MAX), 0).0, 1);
        assert_eq!(SerialPolicy::UnixTime.apply(Serial(7), 1_800_000_000).0, 1_800_000_000);
        assert_eq!(
            SerialPolicy::UnixTime.apply(Serial(2_026_112_400), 1_800_000_000).0,
            2_026_112_401
        );
        assert_eq!(
            SerialPolicy::UnixTime.apply(Serial(1_800_000_000), 1_800_000_000).0,
            1_800_000_001
        );
    }
}
