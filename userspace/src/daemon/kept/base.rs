//! A version of a zone as a whole, in a file: the base from which the journal leads on.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{self, BufWriter, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use bytes::{Buf, Bytes};

use super::digests::{BUFFER, KnownDigests, Summed};
use super::facts::{KeptFacts, array, read_origin, read_stamps};
use crate::daemon::store::LARGE;
use crate::datapath::memory::FileMap;
use crate::dnssec::origin::{DIGEST_LEN, Digest};
use crate::dnssec::times::SignatureTimes;
use crate::files;
use crate::journal::Place;
use crate::zone::{Name, Rtype, Version, Zone, in_file_name, stored, stored_arrays};

/// The first line of a file, with the number of its format.
const MAGIC: &str = "sealdns zone ";

/// The format that is written, and the newest that is read.
const FORMAT: u32 = 4;

/// The first line of format 1, which has signed zones only, without their files' stamps.
const MAGIC_1: &str = "sealdns signed zone 1";

/// How the name of a file ends.
const EXTENSION: &str = "signed";

/// The file of a base.
///
/// It has a line with `MAGIC` and the format; a 1 and the [`Place`] in the journal at which the version stands (sequence
/// number and hash), or a 0 if the chain of the journal begins with it; its [`KeptFacts`], and if a report is among them the
/// times of its signatures (the latest inception; how many ends there are, and of each the time and how many signatures
/// end then; 0 and 0: they are not known); the RRsets that are withheld
/// (how many, and each one's owner and type); the zone, as [`stored_arrays`] has it; a 1 and what stands beside it, or a 0;
/// and the SHA-256 digest of all before. Numbers are big-endian where `stored_arrays` does not say otherwise. Format 3 has the
/// zone as [`stored`] has it, and so has format 2, which has no place, and another order and fewer of the facts.
///
/// A large zone is used where it lies in the file, which is mapped: nobody writes to a base any more once it has its name.
#[derive(Debug, Clone)]
pub(super) struct BaseFile(PathBuf);

/// A version that is kept as a whole.
pub(super) struct Base {
    pub zone: Zone,
    /// The file that the zone and what stands beside it lie in, if it is large.
    pub files: Vec<FileMap>,
    pub facts: KeptFacts,
    /// When its signatures are valid, if that is known.
    pub times: Option<SignatureTimes>,
    /// Where it stands in the journal.
    pub place: Place,
    /// Of its file, but for the digest itself.
    pub digest: Digest,
    /// Octets of its file.
    pub octets: u64,
}

/// What became of a base that was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// Where it stands in the journal.
    pub place: Place,
    /// The digest of its file, but for that itself.
    pub digest: Digest,
    /// Octets of its file.
    pub octets: u64,
}

impl BaseFile {
    /// That of a zone in this folder.
    pub fn of(folder: &Path, zone: &Name) -> BaseFile {
        BaseFile(folder.join(format!("{}{EXTENSION}", in_file_name(zone))))
    }

    /// A file that is to take the place of this one.
    pub fn successor(&self) -> BaseFile {
        BaseFile(self.0.with_extension("rebased"))
    }

    /// Whether a file of this name is a successor that did not come to its place.
    pub fn is_successor(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "rebased")
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether there is one, whatever it holds.
    pub fn exists(&self) -> bool {
        self.0.symlink_metadata().is_ok()
    }

    /// Writes a version in the place of what was there: that at a place of the journal, or else one with which a chain
    /// begins.
    pub fn write(
        &self,
        zone: &Version,
        (facts, times): (&KeptFacts, Option<&SignatureTimes>),
        place: Option<Place>,
    ) -> anyhow::Result<Written> {
        let folder = self.0.parent().unwrap_or(Path::new("."));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let mut sum = None;
        let written = made.and_then(|()| {
            files::replace_with(&self.0, 0o600, |out| {
                let out = Summed::new(out);
                // Small pieces are gathered before they are summed up.
                let mut out = BufWriter::with_capacity(BUFFER, out);
                write(zone, (facts, times), place.as_ref(), &mut out)?;
                let out = out.into_inner().map_err(|error| error.into_error())?;
                let digest = out.sum.finish();
                sum = digest.as_ref().try_into().ok();
                out.inner.write_all(digest.as_ref())
            })
        });
        let written = written.and_then(|()| std::fs::metadata(&self.0));
        let octets = written.with_context(|| self.0.display().to_string())?.len();
        let digest = sum.unwrap_or_default();
        let place = place.unwrap_or_else(|| Place::beginning(digest));
        Ok(Written { place, digest, octets })
    }

    /// Puts a successor in the place of this file.
    pub fn succeed_by(&self, successor: &BaseFile) -> io::Result<()> {
        std::fs::rename(&successor.0, &self.0)?;
        files::sync_folder_of(&self.0)
    }

    /// Removes it.
    pub fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.0) {
            Err(error)
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// The version of the zone `apex` that is kept, if there is one.
    pub fn read(&self, apex: &Name, known: &KnownDigests) -> anyhow::Result<Option<Base>> {
        let file = match files::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| self.0.display().to_string()),
        };
        read(file, apex, known).map(Some).with_context(|| self.0.display().to_string())
    }
}

/// The base of the zone that is kept compiled in this file.
pub(super) fn path_beside(compiled: &Path) -> PathBuf {
    compiled.with_extension(EXTENSION)
}

fn write(
    zone: &Version,
    (facts, times): (&KeptFacts, Option<&SignatureTimes>),
    place: Option<&Place>,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "{MAGIC}{FORMAT}")?;
    out.write_all(&[place.is_some().into()])?;
    if let Some(place) = place {
        out.write_all(&place.sequence.to_be_bytes())?;
        out.write_all(&place.hash)?;
    }
    facts.write(out)?;
    if facts.report.is_some() {
        write_times(times, out)?;
    }
    let withheld: Vec<_> = zone.withheld().collect();
    out.write_all(&(withheld.len() as u32).to_be_bytes())?;
    for (owner, rtype) in withheld {
        stored::write_name(owner.as_wire(), out)?;
        out.write_all(&rtype.0.to_be_bytes())?;
    }
    stored_arrays::write(zone, out)?;
    let any_answers = zone.any_answers();
    out.write_all(&[any_answers.is_some().into()])?;
    any_answers.map_or(Ok(()), |any_answers| stored_arrays::write(any_answers, out))
}

fn read(mut file: File, apex: &Name, known: &KnownDigests) -> anyhow::Result<Base> {
    let octets = file.metadata()?.len();
    let content = octets.checked_sub(DIGEST_LEN as u64).context("it is cut short")?;
    // What is newer may have another digest.
    read_format(&mut file)?;
    // What a disk refuses to give is an error here. Where the file is mapped it would be the end of the daemon.
    let digest = known.checked(&file)?;
    let map = if octets < LARGE as u64 { None } else { FileMap::of(&file).ok() };
    let all = match &map {
        Some(map) => Bytes::from_owner(map.clone()),
        None => {
            let mut all = Vec::with_capacity(usize::try_from(octets)?);
            file.rewind()?;
            file.read_to_end(&mut all)?;
            all.into()
        }
    };
    let mut rest = all.slice(..usize::try_from(content)?);
    let (zone, (facts, times), place) = read_content(&mut rest)?;
    ensure!(rest.is_empty(), "there is more than a zone in it");
    ensure!(zone.apex() == apex, "it holds the zone {}", zone.apex());
    // The facts beside a small zone are not kept in memory with it.
    let zone = if map.is_some() { zone } else { apart(zone) };
    let files = Vec::from_iter(map.filter(|map| is_within(&zone, map)));
    let place = place.unwrap_or(Place::beginning(digest));
    Ok(Base { zone, files, facts, times, place, digest, octets })
}

/// The same zone in memory of its own.
fn apart(zone: Zone) -> Zone {
    let (zone, any_answers) = zone.split_any_answers();
    let octets = Bytes::from(zone.arrays().concat());
    let zone = zone.within(&octets);
    match any_answers {
        Some(any_answers) => zone.with_any_answers(apart(any_answers)),
        None => zone,
    }
}

/// Whether a zone lies in a file that is mapped: those of older formats do not.
fn is_within(zone: &Zone, file: &FileMap) -> bool {
    let (octets, names) = (file.as_ref().as_ptr_range(), zone.arrays()[2].as_ptr());
    octets.contains(&names)
}

/// A version, what is known of it, and where it stands in the journal.
type Content = (Zone, (KeptFacts, Option<SignatureTimes>), Option<Place>);

/// Takes them off the front of octets, which the zone shares from then on.
fn read_content(from: &mut Bytes) -> anyhow::Result<Content> {
    let mut head = from.as_ref();
    let format = read_format(&mut head)?;
    let has_place = format >= 3 && array(&mut head)? == [1];
    let place = match has_place {
        true => {
            let sequence = u64::from_be_bytes(array(&mut head)?);
            Some(Place { sequence, hash: array(&mut head)? })
        }
        false => None,
    };
    let facts = match format {
        1 => facts_of_format_1(&mut head)?,
        2 => facts_of_format_2(&mut head)?,
        _ => KeptFacts::read(&mut head)?,
    };
    let times = match format >= 3 && facts.report.is_some() {
        true => read_times(&mut head)?,
        false => None,
    };
    let withheld = if format == 1 { BTreeSet::new() } else { read_withheld(&mut head)? };
    from.advance(from.len() - head.len());
    let zone = read_zone(format, from)?.withholding(withheld);
    let [has_any_answers] = array(&mut from.reader())?;
    let zone = match has_any_answers {
        0 => zone,
        _ => zone.with_any_answers(read_zone(format, from)?),
    };
    Ok((zone, (facts, times), place))
}

fn read_zone(format: u32, from: &mut Bytes) -> io::Result<Zone> {
    match format {
        ..=3 => stored::read(&mut from.reader()),
        _ => stored_arrays::take(from),
    }
}

fn write_times(times: Option<&SignatureTimes>, out: &mut impl Write) -> io::Result<()> {
    let ends: Vec<(u32, u32)> = times.map(|times| times.ends().collect()).unwrap_or_default();
    let inception = times.and_then(SignatureTimes::latest_inception).unwrap_or(0);
    out.write_all(&inception.to_be_bytes())?;
    out.write_all(&(ends.len() as u32).to_be_bytes())?;
    for (end, count) in ends {
        out.write_all([end, count].map(u32::to_be_bytes).as_flattened())?;
    }
    Ok(())
}

fn read_times(from: &mut impl Read) -> io::Result<Option<SignatureTimes>> {
    let inception = u32::from_be_bytes(array(from)?);
    let mut ends = Vec::new();
    for _ in 0..u32::from_be_bytes(array(from)?) {
        ends.push((u32::from_be_bytes(array(from)?), u32::from_be_bytes(array(from)?)));
    }
    Ok((!ends.is_empty()).then(|| SignatureTimes::of_ends(inception, ends)))
}

fn read_withheld(from: &mut impl Read) -> anyhow::Result<BTreeSet<(Name, Rtype)>> {
    let mut withheld = BTreeSet::new();
    for _ in 0..u32::from_be_bytes(array(from)?) {
        let owner = stored::read_name(from)?.context("a name is missing")?;
        withheld.insert((owner, Rtype(u16::from_be_bytes(array(from)?))));
    }
    Ok(withheld)
}

/// Format 1 was only written once the zone had been verified.
fn facts_of_format_1(from: &mut impl Read) -> io::Result<KeptFacts> {
    let origin = Some(read_origin(from)?);
    Ok(KeptFacts { is_verified: true, origin, ..KeptFacts::new([0; DIGEST_LEN], None) })
}

fn facts_of_format_2(from: &mut impl Read) -> io::Result<KeptFacts> {
    let settings = array(from)?;
    let [is_verified, has_origin] = array(from)?.map(|octet| octet != 0);
    let origin = has_origin.then(|| read_origin(from)).transpose()?;
    let stamps = read_stamps(from)?;
    Ok(KeptFacts { is_verified, origin, stamps, ..KeptFacts::new(settings, None) })
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
        Some(known @ 2..=FORMAT) => Ok(known),
        Some(newer) if newer > FORMAT => bail!(
            "it has format {newer}, and this version of sealdns reads formats up to {FORMAT}: a newer one wrote it"
        ),
        _ => bail!("it is not a zone that sealdns kept"),
    }
}
