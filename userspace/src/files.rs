//! Files that are there whole or not at all, also after a loss of power.
//!
//! What is renamed into place before its octets are on the disk may be empty afterwards, and a name that
//! is not on the disk may be gone. So all that is kept in files goes through here: the file is written
//! beside its place and synced, then it gets its name, then the folder is synced.
//!
//! And files that are read by nobody who could end it: of a FIFO one would wait for ever, and a device may have no end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How the name of a file ends that is being written.
const UNFINISHED: &str = ".new";

/// Octets that are gathered before they are written.
const BUFFER: usize = 1 << 20;

/// Opens a regular file to be read; anything else is refused, and not waited for.
pub fn open(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK to open a FIFO is to wait for who writes (fifo(7)). To regular files it means nothing.
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.file_type() {
        kind if kind.is_file() => Ok(file),
        kind if kind.is_dir() => Err(ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::new(ErrorKind::InvalidInput, "this is not a regular file")),
    }
}

/// The octets of a regular file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut octets = Vec::with_capacity(len);
    file.read_to_end(&mut octets)?;
    Ok(octets)
}

/// The text of a regular file.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Puts what `write` writes in the place of `path`, with `mode` less what the umask takes.
///
/// On an error what was there before is still there, and nothing else.
pub fn replace_with(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    put(path, mode, |file| {
        let mut out = BufWriter::with_capacity(BUFFER, file);
        let written = write(&mut out);
        // What is still in the buffer is of no use if the rest could not be written.
        let (_, rest) = out.into_parts();
        written?;
        let mut file = file;
        file.write_all(&rest.map_err(io::Error::other)?)
    })
}

/// Puts these octets in the place of `path`; as [`replace_with`].
pub fn replace(path: &Path, mode: u32, octets: &[u8]) -> io::Result<()> {
    put(path, mode, |mut file| file.write_all(octets))
}

fn put(path: &Path, mode: u32, write: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let temporary = temporary_path(path)?;
    let made = match fs::remove_file(&temporary) {
        // Else left by a process that was killed and had our number.
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => make(&temporary, mode, write),
    };
    let replaced = made.and_then(|()| fs::rename(&temporary, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    replaced.and_then(|()| sync_folder_of(path))
}

/// Writes over the first octets of a file that is there, which a full disk has room for.
pub fn overwrite(path: &Path, octets: &[u8]) -> io::Result<()> {
    write_over(path, octets)?;
    OpenOptions::new().write(true).open(path)?.sync_all()
}

/// The same without waiting for the disk: after a loss of power, but not after the end of the process, the file may have
/// what was there before.
pub fn write_over(path: &Path, octets: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all_at(octets, 0)
}

/// Makes a file that must not be there, and syncs it; no copy of `octets` stays in memory. Its name is on the
/// disk once its folder is synced.
pub fn create(path: &Path, mode: u32, octets: &[u8]) -> io::Result<()> {
    make(path, mode, |mut file| file.write_all(octets))
}

fn make(path: &Path, mode: u32, write: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    write(&file)?;
    file.sync_all()
}

/// Syncs the names in a folder.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Syncs the name of a file.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    sync_folder(folder_of(path))
}

/// Removes what processes left that were killed while they wrote files of this folder. For a folder that
/// nobody else writes to now.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_unfinished(&entry.path()) && fs::remove_file(entry.path()).is_ok() {
            tracing::info!("removed {}, an incomplete file", entry.path().display());
        }
    }
}

/// The folder that a path names a file of.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Where a file is written before it gets its name: another one for each process.
fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
    Ok(folder_of(path).join(format!(".{name}.{}{UNFINISHED}", std::process::id())))
}

fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(UNFINISHED)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, 0o600, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = replace_with(&path, 0o600, |out| {
            out.write_all(&vec![0; 3 * BUFFER])?;
            Err(ErrorKind::StorageFull.into())
        });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(
            (fs::read(&path).unwrap(), names(folder.path())),
            (b"one".into(), vec!["file".into()])
        );
        replace_with(&path, 0o600, |out| out.write_all(&vec![7; 3 * BUFFER + 1])).unwrap();
        assert_eq!(fs::read(&path).unwrap(), vec![7; 3 * BUFFER + 1]);
        overwrite(&path, b"two").unwrap();
        assert!(fs::read(&path).unwrap().starts_with(b"two\x07"));
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn what_was_never_finished_is_swept_and_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(temporary_path(&path).unwrap(), b"half").unwrap();
        fs::write(folder.path().join(".file.1.new"), b"half").unwrap();
        fs::write(folder.path().join(".hidden"), b"of others").unwrap();
        replace(&path, 0o600, b"one").unwrap();
        sweep(folder.path());
        assert_eq!(names(folder.path()), [".hidden", "file"]);
        // Only what is ours is taken away: a file that is to be new and is there is an error.
        assert_eq!(create(&path, 0o600, b"").unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
}
