//! The last serial that was served of a zone, kept so that it does not go back when the daemon is started
//! again.
//!
//! What is kept is a hint: a zone is served without it, and one that is garbled is as good as none.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::files;
use crate::zone::{Name, Serial, in_file_name};

/// Where a zone's last serial is kept.
pub struct SerialFile(PathBuf);

impl SerialFile {
    /// That of a zone in this folder.
    pub fn of(folder: &Path, zone: &Name) -> SerialFile {
        SerialFile(folder.join(format!("{}serial", in_file_name(zone))))
    }

    /// Whether there is one, whatever it holds: then the zone was served.
    pub fn exists(&self) -> bool {
        self.0.symlink_metadata().is_ok()
    }

    /// The serial, if there is one.
    pub fn read(&self) -> anyhow::Result<Option<Serial>> {
        let octets = match files::read(&self.0) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| self.0.display().to_string()),
        };
        let serial = str::from_utf8(&octets).ok().and_then(|text| text.trim_ascii().parse().ok());
        let holds_none = || format!("{} holds no serial", self.0.display());
        serial.map(|serial| Some(Serial(serial))).with_context(holds_none)
    }

    /// Keeps a serial without waiting for the disk, if there is another one in whose place it can be written.
    pub fn hint(&self, serial: Serial) -> anyhow::Result<()> {
        let text = text_of(serial);
        match std::fs::metadata(&self.0).is_ok_and(|found| found.len() == text.len() as u64) {
            true => files::write_over(&self.0, text.as_bytes())
                .with_context(|| self.0.display().to_string()),
            false => self.write(serial),
        }
    }

    /// Keeps a serial.
    pub fn write(&self, serial: Serial) -> anyhow::Result<()> {
        let text = text_of(serial);
        let folder = self.0.parent().unwrap_or(Path::new("."));
        let written = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .and_then(|()| files::replace(&self.0, 0o600, text.as_bytes()))
            .or_else(|error| files::overwrite(&self.0, text.as_bytes()).map_err(|_| error));
        written.with_context(|| self.0.display().to_string())
    }
}

/// Always as many octets: should the disk be full, there is room for them in the old ones' place.
fn text_of(serial: Serial) -> String {
    format!("{:010}\n", serial.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_kept_under_names_that_stay_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        for zone in ["example.", ".", "\\.\\./x.", "a/b."] {
            let file = SerialFile::of(folder.path(), &zone.parse().unwrap());
            assert_eq!(file.0.parent(), Some(folder.path()), "{zone}");
            assert_eq!((file.read().unwrap(), file.exists()), (None, false));
            for serial in [0, 4_000_000_000, 7, u32::MAX].map(Serial) {
                file.write(serial).unwrap();
                assert_eq!((file.read().unwrap(), file.exists()), (Some(serial), true));
                let hinted = serial.next();
                file.hint(hinted).unwrap();
                assert_eq!(file.read().unwrap(), Some(hinted));
            }
        }
    }

    /// Whatever lies in the file: it is a serial or it is said to be none.
    #[test]
    fn what_is_no_serial_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = SerialFile::of(folder.path(), &"example.".parse().unwrap());
        let whole = b"2026112701\n";
        let mut contents: Vec<Vec<u8>> =
            (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
        for octet in 0..=255 {
            contents.push(vec![octet]);
            contents.push([&[octet], &whole[..]].concat());
            contents.push(vec![octet; 4096]);
        }
        for absurd in ["-1", "4294967296", "99999999999999999999999", "1.5", "0x7", "1 2", "7\n8\n"]
        {
            contents.push(absurd.as_bytes().to_vec());
        }
        let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        for content in contents {
            std::fs::write(&file.0, &content).unwrap();
            let text = content.trim_ascii();
            let text = text.strip_prefix(b"+").unwrap_or(text);
            let number = digits(text).then(|| {
                text.iter()
                    .fold(0u64, |sum, digit| (sum * 10 + u64::from(digit - b'0')).min(1 << 40))
            });
            let expected = number.and_then(|number| u32::try_from(number).ok()).map(Serial);
            assert_eq!(file.read().ok().flatten(), expected, "{content:?}");
            assert_eq!(file.read().is_err(), expected.is_none(), "{content:?}");
            file.write(Serial(9)).unwrap();
            assert_eq!(file.read().unwrap(), Some(Serial(9)));
        }
    }
}
