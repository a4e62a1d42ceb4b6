//! A version that is kept, compiled, in a file beside its base: what the next start would have to make of the base.
//!
//! It is of use, never needed: what does not belong to the base, or is damaged, is as good as nothing.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use nix::sys::statvfs::statvfs;
use ring::digest;

use super::digests::{BUFFER, KnownDigests, Summed};
use super::facts::array;
use crate::compile::ApartZone;
use crate::datapath::memory::FileMap;
use crate::dnssec::origin::{DIGEST_LEN, Digest};
use crate::dnssec::times::is_before;
use crate::files;
use crate::zone::{Name, in_file_name};

/// The first line of a file, with the number of its format.
const MAGIC: &str = "sealdns compiled zone ";

/// The format that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// The file of a version that was compiled.
///
/// It has a line with `MAGIC` and the format; the [`identity`] of what it was made of; until when it holds, in seconds since
/// 1970, or 0; the zone ([`ApartZone::write`]); and the SHA-256 digest of all before.
#[derive(Debug, Clone)]
pub(super) struct CompiledFile(PathBuf);

/// Of what a version was compiled: the digest of its base, and the key with which its names are hashed. The version of this
/// program counts, too: another one may compile otherwise. The key is not to be read from the file.
pub(super) fn identity(base: &Digest, hash_key: u64) -> Digest {
    let mut sum = digest::Context::new(&digest::SHA256);
    sum.update(env!("CARGO_PKG_VERSION").as_bytes());
    sum.update(&[0]);
    sum.update(base);
    sum.update(&hash_key.to_le_bytes());
    sum.finish().as_ref().try_into().unwrap_or([0; DIGEST_LEN])
}

impl CompiledFile {
    /// That of a zone in this folder.
    pub fn of(folder: &Path, zone: &Name) -> CompiledFile {
        CompiledFile(folder.join(format!("{}compiled", in_file_name(zone))))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a version in the place of what was there, unless that would leave less room on the disk than `spare` octets:
    /// changes need it more.
    pub fn write(
        &self,
        zone: &ApartZone,
        identity: &Digest,
        holds_until: Option<u32>,
        spare: u64,
    ) -> io::Result<()> {
        let folder = self.0.parent().unwrap_or(Path::new("."));
        let disk = statvfs(folder).map_err(io::Error::from)?;
        let room = disk.blocks_available().saturating_mul(disk.fragment_size());
        if room < (zone.octets() as u64).saturating_add(spare) {
            return Err(ErrorKind::StorageFull.into());
        }
        files::replace_with(&self.0, 0o600, |out| {
            let out = Summed::new(out);
            // Small pieces are gathered before they are summed up.
            let mut out = BufWriter::with_capacity(BUFFER, out);
            writeln!(out, "{MAGIC}{FORMAT}")?;
            out.write_all(identity)?;
            out.write_all(&holds_until.unwrap_or(0).to_be_bytes())?;
            zone.write(&mut out)?;
            let out = out.into_inner().map_err(|error| error.into_error())?;
            let digest = out.sum.finish();
            out.inner.write_all(digest.as_ref())
        })
    }

    /// The version that was compiled of what has this identity, if there is one that holds at the time `now`, in seconds
    /// since 1970 truncated to 32 bits.
    ///
    /// # Errors
    /// If there is one and it cannot be read.
    pub fn read(
        &self,
        apex: &Name,
        identity: &Digest,
        now: u32,
        known: &KnownDigests,
    ) -> anyhow::Result<Option<ApartZone>> {
        match files::open(&self.0) {
            Ok(file) => {
                let read = read(&file, apex, identity, now, known);
                read.with_context(|| self.0.display().to_string())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| self.0.display().to_string()),
        }
    }

    /// Removes it, if it is there.
    pub fn remove(&self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// How many names and octets of the slab a file is of, if it is one of a compiled zone; no more than the file is long.
pub(super) fn size_of(path: &Path) -> anyhow::Result<(u64, u64)> {
    let file = files::open(path)?;
    let octets = file.metadata()?.len();
    let mut from = BufReader::new(file);
    read_format(&mut from)?;
    let _: Digest = array(&mut from)?;
    let _: [u8; 4] = array(&mut from)?;
    let (names, slab) = ApartZone::read_size(&mut from)?;
    Ok((names.min(octets), slab.min(octets)))
}

fn read(
    file: &File,
    apex: &Name,
    identity: &Digest,
    now: u32,
    known: &KnownDigests,
) -> anyhow::Result<Option<ApartZone>> {
    let octets = file.metadata()?.len();
    let content = octets.checked_sub(DIGEST_LEN as u64).context("it is cut short")?;
    let mut from = BufReader::new(file);
    let format = read_format(&mut from)?;
    let found: Digest = array(&mut from)?;
    let holds_until = u32::from_be_bytes(array(&mut from)?);
    if found != *identity {
        tracing::info!(zone = %apex, "what was compiled is of another version of the zone, or of sealdns");
        return Ok(None);
    }
    // What a disk refuses to give is an error here. Where the file is mapped it would be the end of the daemon.
    known.checked(file)?;
    let head = format.len() + DIGEST_LEN + size_of_val(&holds_until);
    let zone = octets_of(file)?.slice(head..usize::try_from(content)?);
    let zone = ApartZone::read(apex, &zone).context("it is not what was written")?;
    let is_over = holds_until != 0 && !is_before(now, holds_until);
    if is_over || is_before(now, zone.compiled_at()) {
        tracing::info!(zone = %apex, "what was compiled is of another time");
        return Ok(None);
    }
    Ok(Some(zone))
}

/// The octets of a file: those of the disk, which take no memory of their own, where it can be mapped.
fn octets_of(mut file: &File) -> anyhow::Result<Bytes> {
    if let Ok(map) = FileMap::of(file) {
        return Ok(Bytes::from_owner(map));
    }
    let mut octets = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut octets)?;
    Ok(octets.into())
}

/// The first line, if it is that of a file of the format that is read.
fn read_format(from: &mut impl Read) -> anyhow::Result<String> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') && line.len() < MAX_LINE {
        line.extend(array::<1>(from)?);
    }
    let line = String::from_utf8(line).context(NO_MAGIC)?;
    let number = line.strip_prefix(MAGIC).and_then(|rest| rest.trim_end().parse::<u32>().ok());
    match number {
        Some(FORMAT) if line == format!("{MAGIC}{FORMAT}\n") => Ok(line),
        Some(newer) if newer > FORMAT => bail!(
            "it has format {newer}, and this version of sealdns reads format {FORMAT}: a newer one wrote it"
        ),
        _ => bail!(NO_MAGIC),
    }
}

/// The most octets of the first line.
const MAX_LINE: usize = MAGIC.len() + 11;

const NO_MAGIC: &str = "it is not a compiled zone that sealdns kept";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileExt, PermissionsExt};

    use super::*;
    use crate::server::testing;

    const NOW: u32 = 1_800_000_000;
    const KEY: u64 = 0x5eed;
    const BASE: Digest = [7; DIGEST_LEN];

    fn apex() -> Name {
        testing::name("example")
    }

    /// A file with a zone, which holds for a day.
    fn written() -> (tempfile::TempDir, CompiledFile, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let file = CompiledFile::of(folder.path(), &apex());
        let zone = ApartZone::compile(&testing::zone(7, 60), KEY, NOW).unwrap();
        file.write(&zone, &identity(&BASE, KEY), Some(NOW + 86400), 0).unwrap();
        let octets = fs::read(file.path()).unwrap();
        (folder, file, octets)
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let (_folder, file, octets) = written();
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let read = |base: &Digest, key, now| {
            file.read(&apex(), &identity(base, key), now, &KnownDigests::default())
        };
        let zone = read(&BASE, KEY, NOW).unwrap().unwrap();
        let (names, slab) = size_of(file.path()).unwrap();
        assert_eq!((names, slab), (zone.names() as u64, zone.octets() as u64));
        let mut again = Vec::new();
        zone.write(&mut again).unwrap();
        assert!(octets.ends_with(&[&again[..], &octets[octets.len() - DIGEST_LEN..]].concat()));
        // Of another base, another key, another time.
        for (base, key, now) in [
            ([8; DIGEST_LEN], KEY, NOW),
            (BASE, KEY + 1, NOW),
            (BASE, KEY, NOW - 1),
            (BASE, KEY, NOW + 86400),
        ] {
            assert!(read(&base, key, now).unwrap().is_none());
        }
        assert!(read(&BASE, KEY, NOW + 86399).unwrap().is_some());
        // A disk that would be too full keeps what it has.
        let error = file.write(&zone, &identity(&BASE, KEY), None, u64::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(fs::read(file.path()).unwrap(), octets);
        let newer = String::from_utf8_lossy(&octets[..MAGIC.len()]).into_owned() + "2\nmore";
        fs::write(file.path(), newer + &" ".repeat(DIGEST_LEN)).unwrap();
        let error = format!("{:#}", read(&BASE, KEY, NOW).err().unwrap());
        assert!(
            error.contains("it has format 2") && error.contains("a newer one wrote it"),
            "{error}"
        );
        file.remove();
        assert!(read(&BASE, KEY, NOW).unwrap().is_none());
    }

    #[test]
    fn whatever_octet_is_flipped_it_is_not_used() {
        let (_folder, file, octets) = written();
        let open = fs::OpenOptions::new().write(true).open(file.path()).unwrap();
        let identity = identity(&BASE, KEY);
        for (place, octet) in octets.iter().enumerate() {
            open.write_all_at(&[octet ^ (1 << (place % 8))], place as u64).unwrap();
            assert!(
                !matches!(
                    file.read(&apex(), &identity, NOW, &KnownDigests::default()),
                    Ok(Some(_))
                ),
                "{place}"
            );
            open.write_all_at(&[*octet], place as u64).unwrap();
        }
        assert!(file.read(&apex(), &identity, NOW, &KnownDigests::default()).unwrap().is_some());
    }

    #[test]
    fn wherever_it_is_cut_it_is_not_used() {
        let (_folder, file, octets) = written();
        let open = fs::OpenOptions::new().write(true).open(file.path()).unwrap();
        let identity = identity(&BASE, KEY);
        for len in (0..octets.len() as u64).rev() {
            open.set_len(len).unwrap();
            assert!(
                !matches!(
                    file.read(&apex(), &identity, NOW, &KnownDigests::default()),
                    Ok(Some(_))
                ),
                "{len}"
            );
        }
    }

    /// What a disk says is not all that keeps it from being used: its lists lead nowhere but into its own octets.
    #[test]
    fn no_content_is_read_beyond_its_end() {
        let zone = ApartZone::compile(&testing::zone(7, 60), KEY, NOW).unwrap();
        let mut octets = Vec::new();
        zone.write(&mut octets).unwrap();
        // All that stands before the lists, and the first of each.
        for place in 0..200 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut garbled = octets.clone();
                garbled[place] = value;
                let _ = ApartZone::read(&apex(), &garbled.into());
            }
        }
        for len in 0..200 {
            assert!(ApartZone::read(&apex(), &octets[..len].to_vec().into()).is_none());
        }
    }
}
