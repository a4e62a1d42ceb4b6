//! What is known of a version beside its records, as octets: in the file of the version, and in each frame of the journal.
//!
//! Numbers are big-endian.
//!
//! | octets | what |
//! |---|---|
//! | 32 | digest of the settings ([`settings`](super::settings)) |
//! | 1 | bit 0: it was verified; bit 1: an [`Origin`] follows; bit 2: a report; bit 3: it came from a primary |
//! | 4 | when the first signature ends; 0: never |
//! | 4 | when a signature begins to be valid that is not yet, or a key is used otherwise; 0: never |
//! | 4, 4 | of a version that came from a primary: its serial there, and when a primary had it last |
//! | 32, 32, 4, 2 | origin: both digests, TTL of the DNSKEY records and how many |
//! | 2, n | of each DNSKEY record its length, and the RDATA |
//! | 4, 4, 4 | report: when it was made, when all of a version was looked at, when the first signature ends |
//! | 1, 1 | how absence is proven (0: NSEC, 1: NSEC3, 2: with opt-out), whether that end is exact |
//! | 5 × 8 | signed RRsets, keys, records of the chain, those with opt-out, those beside others |
//! | 4 | how many [`Stamp`]s of files follow |

use std::io::{self, ErrorKind, Read, Write};

use crate::daemon::stamp::Stamp;
use crate::daemon::verified::Verification;
use crate::dnssec::origin::{DIGEST_LEN, Digest, Origin};
use crate::dnssec::policy::Denial;
use crate::dnssec::verify::VerifyReport;
use crate::zone::Serial;

const VERIFIED: u8 = 1;
const HAS_ORIGIN: u8 = 2;
const HAS_REPORT: u8 = 4;
const HAS_PRIMARY: u8 = 8;

/// What is known of a version beside its records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptFacts {
    /// What [`settings`](super::settings) were.
    pub settings: Digest,
    /// Whether its signatures were verified.
    pub is_verified: bool,
    /// What it was made of, if sealdns signed it.
    pub origin: Option<Origin>,
    /// What its files looked like.
    pub stamps: Vec<Stamp>,
    /// When the first of its signatures ends, in seconds since 1970.
    pub expiration: Option<u32>,
    /// When a signature begins to be valid that is not yet, or a key is used otherwise, in seconds since 1970.
    pub begins_at: Option<u32>,
    /// What was found when it was verified, if that is known.
    pub report: Option<KeptReport>,
    /// Where it came from, if that is a primary.
    pub from_primary: Option<FromPrimary>,
}

/// A version that came from a primary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FromPrimary {
    /// Its serial there: differences are asked for by this one, whatever serial sealdns gives it when it signs it.
    pub serial: Serial,
    /// When a primary had it last, or gave it, in seconds since 1970 truncated to 32 bits.
    pub at: u32,
}

/// What was found when a version was verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeptReport {
    /// By all of the version, or by each difference since.
    pub report: VerifyReport,
    /// When all of a version was looked at last, in seconds since 1970.
    pub whole_at: u32,
}

impl KeptFacts {
    /// What is known of a version that was made under these settings.
    pub fn new(settings: Digest, verification: Option<&Verification>) -> KeptFacts {
        let report =
            verification.map(|known| KeptReport { report: known.report, whole_at: known.whole_at });
        KeptFacts {
            settings,
            is_verified: verification.is_some(),
            origin: None,
            stamps: Vec::new(),
            expiration: report.map(|known| known.report.expiration),
            begins_at: None,
            report,
            from_primary: None,
        }
    }

    /// Writes them for [`KeptFacts::read`].
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.settings)?;
        let flag = |is_so: bool, flag: u8| if is_so { flag } else { 0 };
        let flags = flag(self.is_verified, VERIFIED)
            | flag(self.origin.is_some(), HAS_ORIGIN)
            | flag(self.report.is_some(), HAS_REPORT)
            | flag(self.from_primary.is_some(), HAS_PRIMARY);
        out.write_all(&[flags])?;
        let times = [self.expiration, self.begins_at].map(|time| time.unwrap_or(0).to_be_bytes());
        out.write_all(times.as_flattened())?;
        if let Some(FromPrimary { serial, at }) = self.from_primary {
            out.write_all([serial.0, at].map(u32::to_be_bytes).as_flattened())?;
        }
        if let Some(origin) = &self.origin {
            write_origin(origin, out)?;
        }
        if let Some(report) = &self.report {
            report.write(out)?;
        }
        write_stamps(&self.stamps, out)
    }

    /// Reads what [`KeptFacts::write`] wrote; anything else takes no more memory than it has octets.
    pub fn read(from: &mut impl Read) -> io::Result<KeptFacts> {
        let settings = array(from)?;
        let [flags] = array(from)?;
        if flags & !(VERIFIED | HAS_ORIGIN | HAS_REPORT | HAS_PRIMARY) != 0 {
            return Err(ErrorKind::InvalidData.into());
        }
        let [expiration, begins_at] = [array(from)?, array(from)?]
            .map(|octets| Some(u32::from_be_bytes(octets)).filter(|time| *time != 0));
        let has = |flag| flags & flag != 0;
        let mut number = || Ok::<u32, io::Error>(u32::from_be_bytes(array(from)?));
        let from_primary = match has(HAS_PRIMARY) {
            true => Some(FromPrimary { serial: Serial(number()?), at: number()? }),
            false => None,
        };
        Ok(KeptFacts {
            from_primary,
            settings,
            is_verified: has(VERIFIED),
            expiration,
            begins_at,
            origin: has(HAS_ORIGIN).then(|| read_origin(from)).transpose()?,
            report: has(HAS_REPORT).then(|| KeptReport::read(from)).transpose()?,
            stamps: read_stamps(from)?,
        })
    }
}

impl KeptReport {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let KeptReport { report, whole_at } = self;
        let times = [report.verified_at, *whole_at, report.expiration];
        out.write_all(times.map(u32::to_be_bytes).as_flattened())?;
        let denial = match report.denial {
            Denial::Nsec => 0,
            Denial::Nsec3 { opt_out: false } => 1,
            Denial::Nsec3 { opt_out: true } => 2,
        };
        out.write_all(&[denial, report.is_expiration_exact.into()])?;
        let VerifyReport { rrsets, keys, denials, opt_outs, beside_others, .. } = *report;
        let counts = [rrsets, keys, denials, opt_outs, beside_others];
        out.write_all(counts.map(|count| (count as u64).to_be_bytes()).as_flattened())
    }

    fn read(from: &mut impl Read) -> io::Result<KeptReport> {
        let mut time = || Ok::<u32, io::Error>(u32::from_be_bytes(array(from)?));
        let (verified_at, whole_at, expiration) = (time()?, time()?, time()?);
        let [denial, is_exact] = array(from)?;
        let denial = match denial {
            0 => Denial::Nsec,
            1 | 2 => Denial::Nsec3 { opt_out: denial == 2 },
            _ => return Err(ErrorKind::InvalidData.into()),
        };
        let mut count = || {
            let count = u64::from_be_bytes(array(from)?);
            usize::try_from(count).map_err(|_| io::Error::from(ErrorKind::InvalidData))
        };
        let report = VerifyReport {
            rrsets: count()?,
            keys: count()?,
            denials: count()?,
            opt_outs: count()?,
            beside_others: count()?,
            denial,
            expiration,
            is_expiration_exact: is_exact != 0,
            verified_at,
        };
        Ok(KeptReport { report, whole_at })
    }
}

pub(super) fn write_origin(origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    out.write_all(&origin.content)?;
    out.write_all(&origin.manner)?;
    let (ttl, dnskeys) = &origin.dnskeys;
    out.write_all(&ttl.to_be_bytes())?;
    out.write_all(&(dnskeys.len() as u16).to_be_bytes())?;
    for dnskey in dnskeys {
        out.write_all(&(dnskey.len() as u16).to_be_bytes())?;
        out.write_all(dnskey)?;
    }
    Ok(())
}

pub(super) fn read_origin(from: &mut impl Read) -> io::Result<Origin> {
    let (content, manner): ([u8; DIGEST_LEN], _) = (array(from)?, array(from)?);
    let ttl = u32::from_be_bytes(array(from)?);
    let mut dnskeys = Vec::new();
    for _ in 0..u16::from_be_bytes(array(from)?) {
        let mut dnskey = vec![0; u16::from_be_bytes(array(from)?).into()];
        from.read_exact(&mut dnskey)?;
        dnskeys.push(dnskey);
    }
    Ok(Origin { content, manner, dnskeys: (ttl, dnskeys) })
}

fn write_stamps(stamps: &[Stamp], out: &mut impl Write) -> io::Result<()> {
    out.write_all(&(stamps.len() as u32).to_be_bytes())?;
    stamps.iter().try_for_each(|stamp| stamp.write(out))
}

pub(super) fn read_stamps(from: &mut impl Read) -> io::Result<Vec<Stamp>> {
    let mut stamps = Vec::new();
    for _ in 0..u32::from_be_bytes(array(from)?) {
        stamps.push(Stamp::read(from)?);
    }
    Ok(stamps)
}

/// So many octets.
pub(super) fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    from.read_exact(&mut octets)?;
    Ok(octets)
}
