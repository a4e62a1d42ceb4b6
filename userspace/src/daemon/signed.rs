//! Signed zones on disk: what was served before the daemon was started.
//!
//! So an unchanged zone keeps its signatures and its serial when the daemon is started again, and one whose
//! file is broken or gone is served as it was. What is kept is of use, never needed: what cannot be read is as
//! good as nothing.

use std::fs::DirBuilder;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use ring::digest;

use crate::dnssec::origin::{DIGEST_LEN, Origin};
use crate::files;
use crate::zone::{Name, Zone, in_file_name, stored};

/// The first octets of the file; another format has others.
const MAGIC: &[u8] = b"sealdns signed zone 1\n";

/// Octets that are read at once.
const BUFFER: usize = 1 << 20;

/// Where a signed zone is kept.
///
/// The file: `MAGIC`, both digests of the [`Origin`], the DNSKEY records in it (TTL, how many, and each with
/// its length), the zone, a 1 and what stands beside it or a 0, and the SHA-256 digest of all before.
pub struct SignedFile(PathBuf);

impl SignedFile {
    /// That of a zone in this folder.
    pub fn of(folder: &Path, zone: &Name) -> SignedFile {
        SignedFile(folder.join(format!("{}signed", in_file_name(zone))))
    }

    /// Whether there is one, whatever it holds: then the zone was signed.
    pub fn exists(&self) -> bool {
        self.0.symlink_metadata().is_ok()
    }

    /// Keeps a zone.
    pub fn write(&self, zone: &Zone, origin: &Origin) -> anyhow::Result<()> {
        let folder = self.0.parent().unwrap_or(Path::new("."));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let written = made.and_then(|()| {
            files::replace_with(&self.0, 0o600, |out| {
                let mut out = Summed { inner: out, sum: digest::Context::new(&digest::SHA256) };
                write(zone, origin, &mut out)?;
                let sum = out.sum.finish();
                out.inner.write_all(sum.as_ref())
            })
        });
        written.with_context(|| self.0.display().to_string())
    }

    /// The zone `apex` and what it was made of, if there is one.
    pub fn read(&self, apex: &Name) -> anyhow::Result<Option<(Zone, Origin)>> {
        let file = match files::open(&self.0) {
            Ok(file) => BufReader::with_capacity(BUFFER, file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| self.0.display().to_string()),
        };
        let read = || {
            let mut from = Summed { inner: file, sum: digest::Context::new(&digest::SHA256) };
            let (zone, origin) = read(&mut from)?;
            let mut sum = [0; DIGEST_LEN];
            from.inner.read_exact(&mut sum)?;
            ensure!(from.sum.finish().as_ref() == sum, "its digest does not match");
            ensure!(zone.apex() == apex, "it holds the zone {}", zone.apex());
            Ok((zone, origin))
        };
        read().map(Some).with_context(|| self.0.display().to_string())
    }
}

fn write(zone: &Zone, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    out.write_all(MAGIC)?;
    out.write_all(&origin.content)?;
    out.write_all(&origin.manner)?;
    let (ttl, dnskeys) = &origin.dnskeys;
    out.write_all(&ttl.to_be_bytes())?;
    out.write_all(&(dnskeys.len() as u16).to_be_bytes())?;
    for dnskey in dnskeys {
        out.write_all(&(dnskey.len() as u16).to_be_bytes())?;
        out.write_all(dnskey)?;
    }
    stored::write(zone, out)?;
    out.write_all(&[zone.any_answers().is_some().into()])?;
    zone.any_answers().map_or(Ok(()), |any_answers| stored::write(any_answers, out))
}

fn read(from: &mut impl Read) -> anyhow::Result<(Zone, Origin)> {
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic)?;
    ensure!(magic == *MAGIC, "it is of another version");
    let (content, manner) = (array(from)?, array(from)?);
    let ttl = u32::from_be_bytes(array(from)?);
    let mut dnskeys = Vec::new();
    for _ in 0..u16::from_be_bytes(array(from)?) {
        let mut dnskey = vec![0; u16::from_be_bytes(array(from)?).into()];
        from.read_exact(&mut dnskey)?;
        dnskeys.push(dnskey);
    }
    let mut zone = stored::read(from)?;
    let [has_any_answers] = array(from)?;
    if has_any_answers != 0 {
        zone = zone.with_any_answers(stored::read(from)?);
    }
    Ok((zone, Origin { content, manner, dnskeys: (ttl, dnskeys) }))
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

    #[test]
    fn a_zone_is_kept_with_what_it_was_made_of() {
        let folder = tempfile::tempdir().unwrap();
        let apex = testing::name("example");
        let file = SignedFile::of(&folder.path().join("signed"), &apex);
        assert!(file.read(&apex).unwrap().is_none() && !file.exists());
        let zone = Zone::clone(&testing::zone(7, 10));
        let any_answers = any::unsigned(&zone).unwrap();
        let other_keys = (600, vec![vec![1, 0, 3, 13, 9], vec![2; 300]]);
        for (zone, dnskeys) in [
            (zone.clone(), (0, Vec::new())),
            (zone.clone(), other_keys),
            (zone.clone().with_any_answers(any_answers.clone()), (0, Vec::new())),
        ] {
            let origin = Origin { content: [1; DIGEST_LEN], manner: [2; DIGEST_LEN], dnskeys };
            file.write(&zone, &origin).unwrap();
            let (again, again_origin) = file.read(&apex).unwrap().unwrap();
            assert_eq!((again.arrays(), again_origin), (zone.arrays(), origin));
            let any_answers = [&zone, &again].map(|zone| zone.any_answers().map(Zone::arrays));
            assert_eq!(any_answers[0], any_answers[1]);
        }
        assert!(file.read(&testing::name("other")).is_err());
    }

    #[test]
    fn what_is_cut_short_or_changed_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let apex = testing::name("example");
        let file = SignedFile::of(folder.path(), &apex);
        let dnskeys = (600, vec![vec![1, 0, 3, 13, 9]]);
        let origin = Origin { content: [1; DIGEST_LEN], manner: [2; DIGEST_LEN], dnskeys };
        file.write(&testing::zone(7, 2), &origin).unwrap();
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
}
