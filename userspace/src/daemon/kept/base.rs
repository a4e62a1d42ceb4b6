//! A version of a zone as a whole, in a file: the base from which the journal leads on.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Take, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use ring::digest;

use super::facts::{KeptFacts, array, read_origin, read_stamps};
use crate::dnssec::origin::{DIGEST_LEN, Digest};
use crate::dnssec::times::SignatureTimes;
use crate::files;
use crate::journal::Place;
use crate::zone::{Name, Rtype, Version, Zone, in_file_name, stored};

/// The first line of a file, with the number of its format.
const MAGIC: &str = "sealdns zone ";

/// The format that is written, and the newest that is read.
const FORMAT: u32 = 3;

/// The first line of format 1, which has signed zones only, without their files' stamps.
const MAGIC_1: &str = "sealdns signed zone 1";

/// Octets that are read or written at once.
const BUFFER: usize = 1 << 20;

/// The file of a base.
///
/// It has a line with `MAGIC` and the format; a 1 and the [`Place`] in the journal at which the version stands (sequence
/// number and hash), or a 0 if the chain of the journal begins with it; its [`KeptFacts`], and if a report is among them the
/// times of its signatures (the latest inception; how many ends there are, and of each the time and how many signatures
/// end then; 0 and 0: they are not known); the RRsets that are withheld
/// (how many, and each one's owner and type); the zone; a 1 and what stands beside it, or a 0; and the SHA-256 digest of
/// all before. Format 2 has no place, and another order and fewer of the facts.
#[derive(Debug, Clone)]
pub(super) struct BaseFile(PathBuf);

/// A version that is kept as a whole.
pub(super) struct Base {
    pub zone: Zone,
    pub facts: KeptFacts,
    /// When its signatures are valid, if that is known.
    pub times: Option<SignatureTimes>,
    /// Where it stands in the journal.
    pub place: Place,
    /// Octets of its file.
    pub octets: u64,
}

/// What became of a base that was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// Where it stands in the journal.
    pub place: Place,
    /// Octets of its file.
    pub octets: u64,
}

impl BaseFile {
    /// That of a zone in this folder.
    pub fn of(folder: &Path, zone: &Name) -> BaseFile {
        BaseFile(folder.join(format!("{}signed", in_file_name(zone))))
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
                let out = Summed { inner: out, sum: digest::Context::new(&digest::SHA256) };
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
        let place = place.unwrap_or_else(|| Place::beginning(sum.unwrap_or_default()));
        Ok(Written { place, octets })
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
    pub fn read(&self, apex: &Name) -> anyhow::Result<Option<Base>> {
        let file = match files::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| self.0.display().to_string()),
        };
        read(file, apex).map(Some).with_context(|| self.0.display().to_string())
    }
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
    stored::write(zone, out)?;
    let any_answers = zone.any_answers();
    out.write_all(&[any_answers.is_some().into()])?;
    any_answers.map_or(Ok(()), |any_answers| stored::write(any_answers, out))
}

/// What is read of a file, its digest but for the last octets, which are the digest.
type From = BufReader<Summed<Take<File>>>;

fn read(file: File, apex: &Name) -> anyhow::Result<Base> {
    let octets = file.metadata()?.len();
    let content = octets.checked_sub(DIGEST_LEN as u64).context("it is cut short")?;
    let summed = Summed { inner: file.take(content), sum: digest::Context::new(&digest::SHA256) };
    // Large pieces are read and summed up, and small ones taken from them.
    let mut from = BufReader::with_capacity(BUFFER, summed);
    let (zone, (facts, times), place) = read_content(&mut from)?;
    let is_more = from.read(&mut [0])? > 0;
    let Summed { inner, sum } = from.into_inner();
    let (mut expected, found) = ([0; DIGEST_LEN], sum.finish());
    inner.into_inner().read_exact(&mut expected)?;
    ensure!(found.as_ref() == expected && !is_more, "its digest does not match");
    ensure!(zone.apex() == apex, "it holds the zone {}", zone.apex());
    let place = place.unwrap_or(Place::beginning(expected));
    Ok(Base { zone, facts, times, place, octets })
}

/// A version, what is known of it, and where it stands in the journal.
type Content = (Zone, (KeptFacts, Option<SignatureTimes>), Option<Place>);

fn read_content(from: &mut From) -> anyhow::Result<Content> {
    let format = read_format(from)?;
    let has_place = format == FORMAT && array(from)? == [1];
    let place = match has_place {
        true => Some(Place { sequence: u64::from_be_bytes(array(from)?), hash: array(from)? }),
        false => None,
    };
    let facts = match format {
        1 => facts_of_format_1(from)?,
        2 => facts_of_format_2(from)?,
        _ => KeptFacts::read(from)?,
    };
    let times = match format == FORMAT && facts.report.is_some() {
        true => read_times(from)?,
        false => None,
    };
    let withheld = if format == 1 { BTreeSet::new() } else { read_withheld(from)? };
    let zone = stored::read(from)?.withholding(withheld);
    let [has_any_answers] = array(from)?;
    let zone = match has_any_answers {
        0 => zone,
        _ => zone.with_any_answers(stored::read(from)?),
    };
    Ok((zone, (facts, times), place))
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
    let settings: Digest = [0; DIGEST_LEN];
    let (expiration, begins_at, report) = (None, None, None);
    let stamps = Vec::new();
    Ok(KeptFacts { settings, is_verified: true, origin, stamps, expiration, begins_at, report })
}

fn facts_of_format_2(from: &mut impl Read) -> io::Result<KeptFacts> {
    let settings = array(from)?;
    let [is_verified, has_origin] = array(from)?.map(|octet| octet != 0);
    let origin = has_origin.then(|| read_origin(from)).transpose()?;
    let stamps = read_stamps(from)?;
    let (expiration, begins_at, report) = (None, None, None);
    Ok(KeptFacts { settings, is_verified, origin, stamps, expiration, begins_at, report })
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
