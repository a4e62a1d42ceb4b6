//! Versions of zones on disk: what was served before the daemon was started.
//!
//! So what was served is served again at once when the daemon is started, before its file is read; an unchanged zone
//! keeps its signatures and its serial, and one whose file is broken or gone is served as it was. What was verified
//! before it was kept is known by its digest, and its signatures are not computed again. What is kept is of use, never
//! needed: what cannot be read is as good as nothing.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use ring::digest;

use crate::config::{self, Dnssec};
use crate::daemon::stamp::Stamp;
use crate::daemon::state::KeepableVersion;
use crate::dnssec::origin::{DIGEST_LEN, Digest, Origin};
use crate::files;
use crate::zone::{Name, Rtype, Zone, in_file_name, stored};

/// The first line of a file, with the number of its format.
const MAGIC: &str = "sealdns zone ";

/// The format that is written, and the newest that is read.
const FORMAT: u32 = 2;

/// The first line of format 1, which has signed zones only, without their files' stamps.
const MAGIC_1: &str = "sealdns signed zone 1";

/// Octets of a zone that somebody else signed, or nobody, from which on it is kept: a smaller one is read and verified
/// in less time than it takes to sync a file.
const KEPT_FROM: usize = 64 << 10;

/// Octets that are read at once.
const BUFFER: usize = 1 << 20;

/// Where a version is kept.
///
/// The file: a line with `MAGIC` and the format, the digest of the section's settings, whether the version was
/// verified, both digests of the [`Origin`] and the DNSKEY records in it (TTL, how many, and each with its length) if
/// there is one, the [`Stamp`]s of its files, the RRsets that are withheld (how many, and each one's owner and type),
/// the zone, a 1 and what stands beside it or a 0, and the SHA-256 digest
/// of all before.
pub struct KeptFile(PathBuf);

/// A version that was served.
pub struct KeptVersion {
    /// Its records.
    pub zone: Zone,
    /// What it was made of, if sealdns signed it.
    pub origin: Option<Origin>,
    /// Whether its signatures were verified.
    pub is_verified: bool,
    /// What its files looked like.
    pub stamps: Vec<Stamp>,
    /// What [`settings`] were.
    pub settings: Digest,
}

/// A digest of what a zone's section and policy say of how its file becomes what is served, and of the version of
/// sealdns. Of zones that sealdns signs the [`Origin`] tells more.
pub fn settings(section: &config::Zone, policy: &config::Policy) -> Digest {
    let any = (section.dnssec == Dnssec::Off).then_some(policy.any);
    let said =
        format!("{} {:?} {:?} {any:?}", env!("CARGO_PKG_VERSION"), section.dnssec, section.verify);
    let digest = digest::digest(&digest::SHA256, said.as_bytes());
    digest.as_ref().try_into().unwrap_or([0; DIGEST_LEN])
}

impl KeptFile {
    /// That of a zone in this folder.
    pub fn of(folder: &Path, zone: &Name) -> KeptFile {
        KeptFile(folder.join(format!("{}signed", in_file_name(zone))))
    }

    /// Whether there is one, whatever it holds.
    pub fn exists(&self) -> bool {
        self.0.symlink_metadata().is_ok()
    }

    /// Keeps a version. If it cannot be kept, none is: an older one is not what was served last.
    pub fn write(&self, version: &KeepableVersion<'_>, settings: &Digest) -> anyhow::Result<()> {
        if version.origin.is_none() && version.zone.octets() < KEPT_FROM {
            return self.remove();
        }
        let folder = self.0.parent().unwrap_or(Path::new("."));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let written = made.and_then(|()| {
            files::replace_with(&self.0, 0o600, |out| {
                let mut out = Summed { inner: out, sum: digest::Context::new(&digest::SHA256) };
                write(version, settings, &mut out)?;
                let sum = out.sum.finish();
                out.inner.write_all(sum.as_ref())
            })
        });
        if written.is_err() && version.origin.is_none() {
            // The first error is the one to be told.
            let _ = self.remove();
        }
        written.with_context(|| self.0.display().to_string())
    }

    /// As [`KeptFile::read`]; what cannot be read is told in the log.
    pub fn read_or_warn(&self, apex: &Name) -> Option<KeptVersion> {
        self.read(apex).unwrap_or_else(|error| {
            tracing::warn!(zone = %apex, "the version that was served before cannot be read: {error:#}");
            None
        })
    }

    /// Removes what is kept.
    pub fn remove(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(&self.0) {
            Err(error)
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Err(error).with_context(|| self.0.display().to_string())
            }
            _ => Ok(()),
        }
    }

    /// The version of the zone `apex` that is kept, if there is one.
    pub fn read(&self, apex: &Name) -> anyhow::Result<Option<KeptVersion>> {
        let file = match files::open(&self.0) {
            Ok(file) => BufReader::with_capacity(BUFFER, file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| self.0.display().to_string()),
        };
        let read = || {
            let mut from = Summed { inner: file, sum: digest::Context::new(&digest::SHA256) };
            let version = read(&mut from)?;
            let mut sum = [0; DIGEST_LEN];
            from.inner.read_exact(&mut sum)?;
            ensure!(from.sum.finish().as_ref() == sum, "its digest does not match");
            ensure!(version.zone.apex() == apex, "it holds the zone {}", version.zone.apex());
            Ok(version)
        };
        read().map(Some).with_context(|| self.0.display().to_string())
    }
}

fn write(version: &KeepableVersion<'_>, settings: &Digest, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{MAGIC}{FORMAT}")?;
    out.write_all(settings)?;
    out.write_all(&[version.is_verified.into(), version.origin.is_some().into()])?;
    if let Some(origin) = version.origin {
        write_origin(origin, out)?;
    }
    out.write_all(&(version.stamps.len() as u32).to_be_bytes())?;
    for stamp in version.stamps {
        stamp.write(out)?;
    }
    let withheld: Vec<_> = version.zone.withheld().collect();
    out.write_all(&(withheld.len() as u32).to_be_bytes())?;
    for (owner, rtype) in withheld {
        stored::write_name(owner.as_wire(), out)?;
        out.write_all(&rtype.0.to_be_bytes())?;
    }
    stored::write(version.zone, out)?;
    let any_answers = version.zone.any_answers();
    out.write_all(&[any_answers.is_some().into()])?;
    any_answers.map_or(Ok(()), |any_answers| stored::write(any_answers, out))
}

fn write_origin(origin: &Origin, out: &mut impl Write) -> io::Result<()> {
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

fn read(from: &mut impl Read) -> anyhow::Result<KeptVersion> {
    let mut version = match read_format(from)? {
        1 => KeptVersion {
            origin: Some(read_origin(from)?),
            zone: stored::read(from)?,
            // Format 1 was only written once the zone had been verified.
            is_verified: true,
            stamps: Vec::new(),
            settings: [0; DIGEST_LEN],
        },
        _ => {
            let settings = array(from)?;
            let [is_verified, has_origin] = array(from)?.map(|octet| octet != 0);
            let origin = if has_origin { Some(read_origin(from)?) } else { None };
            let mut stamps = Vec::new();
            for _ in 0..u32::from_be_bytes(array(from)?) {
                stamps.push(Stamp::read(from)?);
            }
            let mut withheld = BTreeSet::new();
            for _ in 0..u32::from_be_bytes(array(from)?) {
                let owner = stored::read_name(from)?.context("a name is missing")?;
                withheld.insert((owner, Rtype(u16::from_be_bytes(array(from)?))));
            }
            let zone = stored::read(from)?.withholding(withheld);
            KeptVersion { zone, origin, is_verified, stamps, settings }
        }
    };
    let [has_any_answers] = array(from)?;
    if has_any_answers != 0 {
        version.zone = version.zone.with_any_answers(stored::read(from)?);
    }
    Ok(version)
}

/// The number of the format, from the first line.
fn read_format(from: &mut impl Read) -> anyhow::Result<u32> {
    let mut line = Vec::new();
    while line.len() <= MAGIC_1.len() {
        let [octet] = array(from)?;
        if octet == b'\n' {
            break;
        }
        line.push(octet);
    }
    if line == MAGIC_1.as_bytes() {
        return Ok(1);
    }
    let number = line.strip_prefix(MAGIC.as_bytes()).and_then(|rest| str::from_utf8(rest).ok());
    match number.and_then(|number| number.parse().ok()) {
        Some(FORMAT) => Ok(FORMAT),
        Some(newer) if newer > FORMAT => bail!(
            "it has format {newer}, and this version of sealdns reads formats up to {FORMAT}: a newer one wrote it"
        ),
        _ => bail!("it is not a zone that sealdns kept"),
    }
}

fn read_origin(from: &mut impl Read) -> io::Result<Origin> {
    let (content, manner) = (array(from)?, array(from)?);
    let ttl = u32::from_be_bytes(array(from)?);
    let mut dnskeys = Vec::new();
    for _ in 0..u16::from_be_bytes(array(from)?) {
        let mut dnskey = vec![0; u16::from_be_bytes(array(from)?).into()];
        from.read_exact(&mut dnskey)?;
        dnskeys.push(dnskey);
    }
    Ok(Origin { content, manner, dnskeys: (ttl, dnskeys) })
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    from.read_exact(&mut octets)?;
    Ok(octets)
}

/// Sums up what goes through.
struct Summed<T> {
    inner: T,
    sum: digest::Context,
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let len = self.inner.write(octets)?;
        self.sum.update(&octets[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(octets)?;
        self.sum.update(&octets[..len]);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::any;
    use crate::server::testing;
    use crate::zone::Version;

    const SETTINGS: Digest = [3; DIGEST_LEN];

    fn origin(dnskeys: (u32, Vec<Vec<u8>>)) -> Origin {
        Origin { content: [1; DIGEST_LEN], manner: [2; DIGEST_LEN], dnskeys }
    }

    /// The stamp of a file that is there.
    fn stamps(folder: &Path) -> Vec<Stamp> {
        let path = folder.join("a zone\u{fe}");
        std::fs::write(&path, "text").unwrap();
        vec![Stamp::of(&path).unwrap(); 2]
    }

    #[test]
    fn a_version_is_kept_with_what_it_was_made_of() {
        let folder = tempfile::tempdir().unwrap();
        let apex = testing::name("example");
        let file = KeptFile::of(&folder.path().join("signed"), &apex);
        assert!(file.read(&apex).unwrap().is_none() && !file.exists());
        let zone = Zone::clone(&testing::zone(7, 5000));
        assert!(zone.octets() > KEPT_FROM);
        let with_any = zone.clone().with_any_answers(any::unsigned(&zone).unwrap());
        let soa = (apex.clone(), Rtype::SOA);
        let withholding = zone.clone().withholding([soa, (apex.clone(), Rtype::NS)].into());
        let other_keys = (600, vec![vec![1, 0, 3, 13, 9], vec![2; 300]]);
        let stamps = stamps(folder.path());
        for (zone, origin, is_verified, stamps) in [
            (&zone, Some(origin((0, Vec::new()))), true, &stamps[..]),
            (&zone, Some(origin(other_keys)), true, &stamps[..1]),
            (&with_any, None, false, &stamps[..]),
            (&withholding, None, false, &stamps[..1]),
            (&zone, None, true, &[]),
        ] {
            let origin = origin.as_ref();
            let version = &Version::of(zone.clone());
            let version = KeepableVersion { zone: version, origin, is_verified, stamps };
            file.write(&version, &SETTINGS).unwrap();
            let again = file.read(&apex).unwrap().unwrap();
            assert_eq!((again.zone.arrays(), again.origin.as_ref()), (zone.arrays(), origin));
            assert_eq!((again.is_verified, &again.stamps[..]), (is_verified, stamps));
            assert_eq!(again.settings, SETTINGS);
            assert!(again.zone.withheld().eq(zone.withheld()));
            assert!(again.stamps.iter().all(Stamp::holds));
            let any_answers = [zone, &again.zone].map(|zone| zone.any_answers().map(Zone::arrays));
            assert_eq!(any_answers[0], any_answers[1]);
        }
        assert!(file.read(&testing::name("other")).is_err());
        // A small zone that is not ours to sign is not kept, and nothing older in its place.
        let small = &testing::version(8, 2);
        let version = KeepableVersion { zone: small, origin: None, is_verified: true, stamps: &[] };
        file.write(&version, &SETTINGS).unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn what_is_cut_short_or_changed_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let apex = testing::name("example");
        let file = KeptFile::of(folder.path(), &apex);
        let (zone, origin) = (testing::zone(7, 2), origin((600, vec![vec![1, 0, 3, 13, 9]])));
        let stamps = stamps(folder.path());
        let zone = &Version::of(Zone::clone(&zone));
        let (origin, stamps) = (Some(&origin), &stamps[..]);
        let version = KeepableVersion { zone, origin, is_verified: true, stamps };
        file.write(&version, &SETTINGS).unwrap();
        let whole = std::fs::read(&file.0).unwrap();
        for at in 0..whole.len() {
            std::fs::write(&file.0, &whole[..at]).unwrap();
            assert!(file.read(&apex).is_err(), "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(&file.0, changed).unwrap();
            assert!(file.read(&apex).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn older_formats_are_read_and_newer_ones_are_said() {
        let folder = tempfile::tempdir().unwrap();
        let apex = testing::name("example");
        let file = KeptFile::of(folder.path(), &apex);
        let (zone, origin) = (testing::zone(7, 2), origin((600, vec![vec![9; 20]])));
        let mut octets = format!("{MAGIC_1}\n").into_bytes();
        write_origin(&origin, &mut octets).unwrap();
        stored::write(&Version::of(Zone::clone(&zone)), &mut octets).unwrap();
        octets.push(0);
        let sum = digest::digest(&digest::SHA256, &octets);
        octets.extend(sum.as_ref());
        std::fs::write(&file.0, &octets).unwrap();
        let again = file.read(&apex).unwrap().unwrap();
        assert_eq!((again.zone.arrays(), again.origin), (zone.arrays(), Some(origin)));
        std::fs::write(&file.0, "sealdns zone 3\nmore").unwrap();
        let error = format!("{:#}", file.read(&apex).err().unwrap());
        assert!(error.contains("it has format 3") && error.contains("formats up to 2"), "{error}");
    }
}
