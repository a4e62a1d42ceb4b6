//! Keys on disk, in BIND's format: `K<zone>+<algorithm>+<tag>.key` and `.private`.
//!
//! This is the one module of the rooms from `compile` downwards that touches files: private keys
//! are read and written in one place, so that their rights are checked in one place.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::{Algorithm, Key, KeyError, KeyLayout, NewKey, Role, assign_roles};
use crate::zone::Name;
use crate::zone::name::labels;

/// The largest key file that is read, in octets: an RSA key of 8192 bits takes 6 KB.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// What is wrong with the keys on disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused something.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A private key can be read by others.
    #[error("private key {path} has mode {mode:04o}; run chmod 600 {path}", path = path.display())]
    Rights {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A public key has no private part.
    #[error("{path} has no .private file beside it; put it there, or move the .key file away",
            path = path.display())]
    NoPrivate {
        /// The `.key` file.
        path: PathBuf,
    },
    /// A file is too large to be a key.
    #[error("{path} is larger than {MAX_KEY_FILE} octets, which no key file is",
            path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file name gives other numbers than the key within.
    #[error("{path} holds key {tag} of algorithm {algorithm}, which its name denies; rename it \
             to {expected}", path = path.display())]
    OtherName {
        /// The file.
        path: PathBuf,
        /// The key's tag.
        tag: u16,
        /// The key's algorithm.
        algorithm: Algorithm,
        /// The name that it should have.
        expected: String,
    },
    /// The content of a file is no key.
    #[error("{path} {error}", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        error: KeyError,
    },
    /// No key can be made.
    #[error("{0}")]
    Make(KeyError),
}

/// A directory of keys.
#[derive(Clone, Debug)]
pub struct KeyStore {
    dir: PathBuf,
}

impl KeyStore {
    /// The keys in this directory, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> KeyStore {
        KeyStore { dir: dir.into() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The zone's keys, sorted by algorithm, role and tag; none if there are none yet.
    ///
    /// Refuses private keys that group or others can read, pairs that do not belong together,
    /// and public keys without a private one.
    pub fn load(&self, zone: &Name) -> Result<Vec<Key>, StoreError> {
        let prefix = format!("K{}+", file_name(zone));
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| self.io(&self.dir, error))?,
        };
        let mut keys = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| self.io(&self.dir, error))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(stem) = name.strip_suffix(".key").filter(|stem| stem.starts_with(&prefix)) {
                keys.push(self.load_pair(zone, &path, stem)?);
            }
        }
        assign_roles(&mut keys);
        keys.sort_by_key(|key| (key.algorithm(), key.role() == Role::Zsk, key.tag()));
        Ok(keys)
    }

    /// The zone's keys; makes them if there are none. `true` if they were made. `now` is the time
    /// in seconds since 1970.
    pub fn load_or_generate(
        &self,
        zone: &Name,
        layout: KeyLayout,
        algorithm: Algorithm,
        now: u32,
    ) -> Result<(Vec<Key>, bool), StoreError> {
        // Another process may be about to do the same: one of them makes all keys, the other waits
        // and finds all of them.
        let _lock = self.lock()?;
        let keys = self.load(zone)?;
        if !keys.is_empty() {
            return Ok((keys, false));
        }
        for &role in layout.roles() {
            self.generate(zone, role, algorithm, now)?;
        }
        Ok((self.load(zone)?, true))
    }

    /// Makes a key whose tag no other key of the zone has, and stores it. `now` is the time in
    /// seconds since 1970.
    pub fn generate(
        &self,
        zone: &Name,
        role: Role,
        algorithm: Algorithm,
        now: u32,
    ) -> Result<Key, StoreError> {
        let taken: Vec<u16> = self.load(zone)?.iter().map(Key::tag).collect();
        let made =
            NewKey::generate(zone, role, algorithm, &taken, now).map_err(StoreError::Make)?;
        self.make_dir()?;
        // A pair is found by its .key file, which therefore comes second: a crash in between
        // leaves a private key that nothing was signed with, never half a pair in use.
        let stem = stem(&made.key);
        self.write(&format!("{stem}.private"), &made.private)?;
        self.write(&format!("{stem}.key"), &made.public)?;
        let dir = File::open(&self.dir).and_then(|dir| dir.sync_all());
        dir.map_err(|error| self.io(&self.dir, error))?;
        Ok(made.key)
    }

    /// The name of a key's files in the directory, without their endings.
    pub fn path_of(&self, key: &Key) -> PathBuf {
        self.dir.join(stem(key))
    }

    fn make_dir(&self) -> Result<(), StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|error| self.io(&self.dir, error))
    }

    /// Holds the directory until the lock is dropped.
    fn lock(&self) -> Result<Flock<File>, StoreError> {
        self.make_dir()?;
        let dir = File::open(&self.dir).map_err(|error| self.io(&self.dir, error))?;
        Flock::lock(dir, FlockArg::LockExclusive)
            .map_err(|(_, errno)| self.io(&self.dir, errno.into()))
    }

    fn load_pair(&self, zone: &Name, path: &Path, name: &str) -> Result<Key, StoreError> {
        let (public, _) = self.read(path)?;
        let private_path = self.dir.join(format!("{name}.private"));
        let (private, mode) = match self.read(&private_path) {
            Err(StoreError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NoPrivate { path: path.into() });
            }
            other => other?,
        };
        if mode & 0o077 != 0 {
            return Err(StoreError::Rights { path: private_path, mode });
        }
        let key = Key::from_bind(zone, &public, &private).map_err(|error| {
            let about_private = matches!(error, KeyError::Private(_) | KeyError::Mismatch);
            let path = if about_private { private_path } else { path.into() };
            StoreError::Key { path, error }
        })?;
        let expected = stem(&key);
        if name != expected {
            let (tag, algorithm) = (key.tag(), key.algorithm());
            return Err(StoreError::OtherName { path: path.into(), tag, algorithm, expected });
        }
        Ok(key)
    }

    /// The text and the mode of a file, both of the very file that was opened.
    fn read(&self, path: &Path) -> Result<(String, u32), StoreError> {
        let file = File::open(path).map_err(|error| self.io(path, error))?;
        let mode = file.metadata().map_err(|error| self.io(path, error))?.mode() & 0o7777;
        let mut text = String::new();
        let read = file.take(MAX_KEY_FILE + 1).read_to_string(&mut text);
        if read.map_err(|error| self.io(path, error))? as u64 > MAX_KEY_FILE {
            return Err(StoreError::TooLarge { path: path.into() });
        }
        Ok((text, mode))
    }

    /// Writes a new file whole or not at all; never replaces one.
    fn write(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        let temporary = self.dir.join(format!(".{name}.{}", std::process::id()));
        // Left by a process that was killed and had our number.
        let _ = fs::remove_file(&temporary);
        let written = (|| {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            // Unlike rename, link fails if the name is taken.
            fs::hard_link(&temporary, &path)
        })();
        let _ = fs::remove_file(&temporary);
        written.map_err(|error| self.io(&path, error))
    }

    fn io(&self, path: &Path, error: io::Error) -> StoreError {
        StoreError::Io { path: path.into(), error }
    }
}

/// The name of a key's files without their endings.
fn stem(key: &Key) -> String {
    format!("K{}+{:03}+{:05}", file_name(key.zone()), key.algorithm().number(), key.tag())
}

/// A zone's name within a file name, as BIND writes it: what is not a letter, digit, `-` or `_`
/// becomes `%` and two hexadecimal digits.
fn file_name(zone: &Name) -> String {
    let mut text = String::new();
    for label in labels(zone.as_wire()) {
        for &octet in label {
            if octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_' {
                text.push(octet.into());
            } else {
                text.push_str(&format!("%{octet:02X}"));
            }
        }
        text.push('.');
    }
    if text.is_empty() { ".".into() } else { text }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: u32 = 1_800_000_000;

    fn zone() -> Name {
        Name::from_wire(b"\x07example\x00").unwrap()
    }

    fn store() -> (tempfile::TempDir, KeyStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyStore::new(dir.path().join("state/keys"));
        (dir, store)
    }

    #[test]
    fn keys_are_made_on_first_use_and_found_again() {
        let (_dir, store) = store();
        let layout = KeyLayout::KskZsk;
        let (made, new) =
            store.load_or_generate(&zone(), layout, Algorithm::default(), NOW).unwrap();
        assert!(new);
        assert_eq!(made.iter().map(Key::role).collect::<Vec<_>>(), [Role::Ksk, Role::Zsk]);
        let (again, new) =
            store.load_or_generate(&zone(), layout, Algorithm::default(), NOW).unwrap();
        assert!(!new);
        assert_eq!(format!("{made:?}"), format!("{again:?}"));
        assert!(
            store
                .load(&Name::from_wire(b"\x03xample\x00").unwrap_or(Name::root()))
                .unwrap()
                .is_empty()
        );
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(store.dir()), 0o700);
        for entry in fs::read_dir(store.dir()).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
        assert_eq!(fs::read_dir(store.dir()).unwrap().count(), 4);
    }

    #[test]
    fn two_who_need_keys_at_once_make_them_once() {
        let (_dir, store) = store();
        let tags = || {
            let made =
                store.load_or_generate(&zone(), KeyLayout::KskZsk, Algorithm::default(), NOW);
            made.unwrap().0.iter().map(Key::tag).collect::<Vec<_>>()
        };
        let all: Vec<Vec<u16>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(tags)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(all[0].len(), 2);
        assert!(all.iter().all(|tags| *tags == all[0]), "{all:?}");
    }

    #[test]
    fn a_private_key_that_others_can_read_is_refused() {
        let (_dir, store) = store();
        let key = store.generate(&zone(), Role::Csk, Algorithm::Ed25519, NOW).unwrap();
        let private = format!("{}.private", store.path_of(&key).display());
        for mode in [0o644, 0o640, 0o604] {
            fs::set_permissions(&private, fs::Permissions::from_mode(mode)).unwrap();
            let error = store.load(&zone()).unwrap_err().to_string();
            let expected =
                format!("private key {private} has mode {mode:04o}; run chmod 600 {private}");
            assert_eq!(error, expected);
        }
        fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(store.load(&zone()).unwrap().len(), 1);
    }

    #[test]
    fn files_that_do_not_belong_together_are_named() {
        let (_dir, store) = store();
        let one = store.generate(&zone(), Role::Ksk, Algorithm::default(), NOW).unwrap();
        let other = store.generate(&zone(), Role::Zsk, Algorithm::default(), NOW).unwrap();
        let path = |key: &Key, ending: &str| store.dir().join(format!("{}{ending}", stem(key)));
        fs::copy(path(&other, ".private"), path(&one, ".private")).unwrap();
        let error = store.load(&zone()).unwrap_err().to_string();
        assert!(error.ends_with("does not belong to the public key in the .key file beside it"));
        fs::remove_file(path(&one, ".private")).unwrap();
        let error = store.load(&zone()).unwrap_err().to_string();
        assert!(error.contains("has no .private file beside it"), "{error}");
        fs::remove_file(path(&one, ".key")).unwrap();
        fs::rename(path(&other, ".key"), store.dir().join("Kexample.+013+00001.key")).unwrap();
        fs::rename(path(&other, ".private"), store.dir().join("Kexample.+013+00001.private"))
            .unwrap();
        let error = store.load(&zone()).unwrap_err().to_string();
        assert!(error.contains("which its name denies; rename it to Kexample.+013+"), "{error}");
    }

    #[test]
    fn file_names_are_those_of_bind() {
        let name = |wire: &[u8]| file_name(&Name::from_wire(wire).unwrap());
        assert_eq!(name(b"\x07Example\x03com\x00"), "example.com.");
        assert_eq!(name(b"\x040/25\x01a\x00"), "0%2F25.a.");
        assert_eq!(name(b"\x00"), ".");
    }
}
