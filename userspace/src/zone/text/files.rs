//! The only place of the zone rooms that opens files.

use super::error::ReadError;
use super::places::Places;
use super::reader::{CheckedFile, Options, ReadZone, check, parse};
use crate::files;
use crate::zone::{Name, Zone};
use std::io;
use std::path::Path;

/// Reads the master file at `path` as the zone `apex`. `$INCLUDE` names files relative to the
/// folder of the file that it stands in, or else of `path`.
pub fn read(path: &Path, apex: &Name, options: Options) -> Result<Zone, ReadError> {
    read_by(|path| std::fs::read(path), path, apex, options).map(|loaded| loaded.zone)
}

/// Like [`read`], with what was noticed on the way, from regular files alone: for who must not wait for what comes out
/// of a FIFO.
pub fn load(path: &Path, apex: &Name, options: Options) -> Result<ReadZone, ReadError> {
    read_by(files::read, path, apex, options)
}

fn read_by(
    octets_of: fn(&Path) -> io::Result<Vec<u8>>,
    path: &Path,
    apex: &Name,
    options: Options,
) -> Result<ReadZone, ReadError> {
    let name = path.to_string_lossy();
    let text = octets_of(path)
        .map_err(|error| ReadError::of_file(&name, format!("cannot read the file: {error}")))?;
    parse(text, &name, apex, options, &mut |path| octets_of(Path::new(path)))
}

/// Like [`load`], but all that is wrong is found, up to `most_faults`.
pub fn check_file(path: &Path, apex: &Name, options: Options, most_faults: usize) -> CheckedFile {
    let name = path.to_string_lossy();
    match std::fs::read(path) {
        Ok(text) => check(text, &name, apex, options, most_faults, &mut |path| std::fs::read(path)),
        Err(error) => CheckedFile {
            zone: None,
            places: Places::default(),
            faults: vec![ReadError::of_file(&name, format!("cannot read the file: {error}"))],
            warnings: Vec::new(),
            has_more: false,
        },
    }
}
