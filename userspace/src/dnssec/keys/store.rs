//! Keys on disk, in BIND's format: `K<zone>+<algorithm>+<tag>.key` and `.private`.
//!
//! Keys that are made at once are there at once. Their files are written to a folder `.unfinished-<zone>`
//! among the keys, synced, and the folder is renamed to `.finished-<zone>`: from then on they are the zone's
//! keys. Their files then move to their places one by one. Whoever comes next, after a crash or a loss of
//! power at any moment, moves the rest of a finished folder and removes an unfinished one. The folder of the
//! keys is locked while that is done, and shared while keys are read, so that nobody sees a part.
//!
//! A zone that has had keys has a mark beside them, `<zone>signed`. It never gets keys by itself again: the
//! parent's DS record names those that it had.
//!
//! This is the one module of the rooms from `compile` downwards that touches files but for master files:
//! private keys are read and written in one place, so that their rights are checked in one place.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use zeroize::Zeroizing;

use super::in_use::assign_roles;
use super::{Algorithm, Key, KeyError, KeyLayout, NewKey, Role};
use crate::files;
use crate::zone::{Name, in_file_name};

/// The largest key file that is read, in octets: an RSA key of 8192 bits takes 6 KB.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// What `read_to_string` wants to have free when it looks for the end, in octets, and more.
const ROOM_TO_READ: usize = 64;

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
    /// A private key has no public part.
    #[error("{path} has no .key file beside it; put it there, or move the .private file away",
            path = path.display())]
    NoPublic {
        /// The `.private` file.
        path: PathBuf,
    },
    /// A zone that had keys has none.
    #[error("the keys of {zone} are gone from {dir}, and no new ones are made, since the DS record at its \
             parent names the old ones: bring them back; or make new ones with `sealdns key generate {zone} \
             --role {roles} --keys {dir}` and give the parent their DS record", dir = dir.display())]
    Gone {
        /// The zone.
        zone: Name,
        /// Where they should be.
        dir: PathBuf,
        /// The roles that they should have.
        roles: String,
    },
    /// A finished key cannot come to its place.
    #[error("{path} is there already: move it away", path = path.display())]
    Taken {
        /// The file in its place.
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
    #[error("{path} holds key {tag} of algorithm {algorithm}, but its name says otherwise; rename it \
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

/// How the names of folders begin whose keys are not the zone's yet.
const UNFINISHED: &str = ".unfinished-";

/// How the names of folders begin whose keys are the zone's.
const FINISHED: &str = ".finished-";

/// What stands in the mark of a zone that has had keys.
const MARK: &str =
    "This zone has had keys, which its parent may refer to: it gets no new ones by itself.\n";

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
    /// and one half of a pair without the other.
    pub fn load(&self, zone: &Name) -> Result<Vec<Key>, StoreError> {
        let Some(lock) = self.lock(FlockArg::LockShared)? else { return Ok(Vec::new()) };
        let leftovers = self.leftovers()?;
        if leftovers.is_empty() {
            return self.read_keys(zone);
        }
        drop(lock);
        let _lock = self.lock(FlockArg::LockExclusive)?;
        self.tidy()?;
        self.read_keys(zone)
    }

    /// The keys of a zone that is known to have some: none is an error.
    pub fn load_known(&self, zone: &Name, layout: KeyLayout) -> Result<Vec<Key>, StoreError> {
        let keys = self.load(zone)?;
        if keys.is_empty() { Err(self.gone(zone, layout)) } else { Ok(keys) }
    }

    /// The zone's keys; makes them if there are none and never were. `true` if they were made. `now` is the
    /// time in seconds since 1970.
    pub fn load_or_generate(
        &self,
        zone: &Name,
        layout: KeyLayout,
        algorithm: Algorithm,
        now: u32,
    ) -> Result<(Vec<Key>, bool), StoreError> {
        let keys = self.load(zone)?;
        if !keys.is_empty() {
            return Ok((keys, false));
        }
        // Another process may be about to do the same: one of them makes all keys, the other waits
        // and finds all of them.
        let _lock = self.lock_to_write()?;
        let keys = self.read_keys(zone)?;
        if !keys.is_empty() {
            return Ok((keys, false));
        }
        if self.mark_of(zone).exists() {
            return Err(self.gone(zone, layout));
        }
        self.make(zone, layout.roles(), algorithm, now)?;
        Ok((self.read_keys(zone)?, true))
    }

    fn gone(&self, zone: &Name, layout: KeyLayout) -> StoreError {
        let roles: Vec<String> = layout.roles().iter().map(Role::to_string).collect();
        StoreError::Gone { zone: zone.clone(), dir: self.dir.clone(), roles: roles.join(",") }
    }

    /// Makes keys with these roles, whose tags no other key of the zone has, and stores all of them or none.
    /// `now` is the time in seconds since 1970.
    pub fn generate(
        &self,
        zone: &Name,
        roles: &[Role],
        algorithm: Algorithm,
        now: u32,
    ) -> Result<Vec<Key>, StoreError> {
        let _lock = self.lock_to_write()?;
        self.make(zone, roles, algorithm, now)
    }

    /// Notes that the zone is signed with keys of this folder: should they be gone, it gets no new ones.
    pub fn mark(&self, zone: &Name) -> io::Result<()> {
        let mark = self.mark_of(zone);
        if mark.exists() { Ok(()) } else { files::replace(&mark, 0o600, MARK.as_bytes()) }
    }

    /// The name of a key's files in the directory, without their endings.
    pub fn path_of(&self, key: &Key) -> PathBuf {
        self.dir.join(stem(key))
    }

    fn mark_of(&self, zone: &Name) -> PathBuf {
        self.dir.join(format!("{}signed", file_name(zone)))
    }

    /// Makes and stores keys; the caller holds the directory.
    fn make(
        &self,
        zone: &Name,
        roles: &[Role],
        algorithm: Algorithm,
        now: u32,
    ) -> Result<Vec<Key>, StoreError> {
        let mut taken: Vec<u16> = self.read_keys(zone)?.iter().map(Key::tag).collect();
        let mut made = Vec::with_capacity(roles.len());
        for &role in roles {
            let new =
                NewKey::generate(zone, role, algorithm, &taken, now).map_err(StoreError::Make)?;
            taken.push(new.key.tag());
            made.push(new);
        }
        self.commit(zone, &made)?;
        Ok(made.into_iter().map(|new| new.key).collect())
    }

    /// Stores all keys or none.
    fn commit(&self, zone: &Name, made: &[NewKey]) -> Result<(), StoreError> {
        let name = file_name(zone);
        let unfinished = self.dir.join(format!("{UNFINISHED}{name}"));
        let finished = self.dir.join(format!("{FINISHED}{name}"));
        let written = self.write_all(zone, made, &unfinished).and_then(|()| {
            fs::rename(&unfinished, &finished)
                .and_then(|()| files::sync_folder(&self.dir))
                .map_err(|error| self.io(&finished, error))
        });
        if let Err(error) = written {
            let _ = fs::remove_dir_all(&unfinished);
            return Err(error);
        }
        self.move_into_place(&finished)
    }

    fn write_all(&self, zone: &Name, made: &[NewKey], folder: &Path) -> Result<(), StoreError> {
        DirBuilder::new().mode(0o700).create(folder).map_err(|error| self.io(folder, error))?;
        let write = |name: String, text: &str| {
            let path = folder.join(name);
            files::create(&path, 0o600, text.as_bytes()).map_err(|error| self.io(&path, error))
        };
        for new in made {
            let stem = stem(&new.key);
            write(format!("{stem}.private"), &new.private)?;
            write(format!("{stem}.key"), &new.public)?;
        }
        if !self.mark_of(zone).exists() {
            write(format!("{}signed", file_name(zone)), MARK)?;
        }
        files::sync_folder(folder).map_err(|error| self.io(folder, error))
    }

    /// Moves the files of a finished folder to their places.
    fn move_into_place(&self, finished: &Path) -> Result<(), StoreError> {
        let entries = fs::read_dir(finished).map_err(|error| self.io(finished, error))?;
        for entry in entries {
            let from = entry.map_err(|error| self.io(finished, error))?.path();
            let to = self.dir.join(from.file_name().unwrap_or_default());
            if to.symlink_metadata().is_ok() {
                return Err(StoreError::Taken { path: to });
            }
            fs::rename(&from, &to).map_err(|error| self.io(&to, error))?;
        }
        files::sync_folder(&self.dir)
            .and_then(|()| fs::remove_dir(finished))
            .map_err(|error| self.io(finished, error))
    }

    /// What processes left that were ended while they made keys: folders, and files of versions that wrote
    /// `.K…` first.
    fn leftovers(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut leftovers = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(|error| self.io(&self.dir, error))? {
            let path = entry.map_err(|error| self.io(&self.dir, error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_old =
                name.starts_with(".K") && (name.contains(".private.") || name.contains(".key."));
            if name.starts_with(UNFINISHED) || name.starts_with(FINISHED) || is_old {
                leftovers.push(path);
            }
        }
        Ok(leftovers)
    }

    /// Finishes what was finished but for its place, and removes the rest; the caller holds the directory.
    fn tidy(&self) -> Result<(), StoreError> {
        for path in self.leftovers()? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(FINISHED) {
                self.move_into_place(&path)?;
                continue;
            }
            let is_folder = name.starts_with(UNFINISHED);
            let removed =
                if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Ok(()) => {
                    tracing::info!("removed {}: incomplete keys", path.display())
                }
                // It has no part in what follows: no reason not to sign.
                Err(error) => tracing::warn!("removing {}: {error}", path.display()),
            }
        }
        Ok(())
    }

    /// Holds the directory to write to it, makes it if need be, and tidies it.
    fn lock_to_write(&self) -> Result<Option<Flock<File>>, StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|error| self.io(&self.dir, error))?;
        let lock = self.lock(FlockArg::LockExclusive)?;
        self.tidy()?;
        Ok(lock)
    }

    /// Holds the directory until the lock is dropped; `None` if there is none.
    fn lock(&self, how: FlockArg) -> Result<Option<Flock<File>>, StoreError> {
        let dir = match File::open(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| self.io(&self.dir, error))?,
        };
        let lock = Flock::lock(dir, how);
        lock.map(Some).map_err(|(_, errno)| self.io(&self.dir, errno.into()))
    }

    /// The keys of a zone; the caller holds the directory.
    fn read_keys(&self, zone: &Name) -> Result<Vec<Key>, StoreError> {
        let prefix = format!("K{}+", file_name(zone));
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(|error| self.io(&self.dir, error))? {
            let path = entry.map_err(|error| self.io(&self.dir, error))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.starts_with(&prefix) {
                continue;
            }
            if let Some(stem) = name.strip_suffix(".key") {
                keys.push(self.load_pair(zone, &path, stem)?);
            } else if name.ends_with(".private") && !path.with_extension("key").exists() {
                return Err(StoreError::NoPublic { path });
            }
        }
        assign_roles(&mut keys);
        keys.sort_by_key(|key| (key.algorithm(), key.role() == Role::Zsk, key.tag()));
        Ok(keys)
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
            let about_private =
                matches!(error, KeyError::Private(_) | KeyError::Time(_) | KeyError::Mismatch);
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
    fn read(&self, path: &Path) -> Result<(Zeroizing<String>, u32), StoreError> {
        let file = files::open(path).map_err(|error| self.io(path, error))?;
        let metadata = file.metadata().map_err(|error| self.io(path, error))?;
        let mode = metadata.mode() & 0o7777;
        // Large enough not to move while it is read, since what moves leaves its octets behind.
        let room = metadata.len().min(MAX_KEY_FILE) as usize + ROOM_TO_READ;
        let mut text = Zeroizing::new(String::with_capacity(room));
        let read = file.take(MAX_KEY_FILE + 1).read_to_string(&mut text);
        if read.map_err(|error| self.io(path, error))? as u64 > MAX_KEY_FILE {
            return Err(StoreError::TooLarge { path: path.into() });
        }
        Ok((text, mode))
    }

    fn io(&self, path: &Path, error: io::Error) -> StoreError {
        StoreError::Io { path: path.into(), error }
    }
}

/// The name of a key's files without their endings.
fn stem(key: &Key) -> String {
    format!("K{}+{:03}+{:05}", file_name(key.zone()), key.algorithm().number(), key.file_tag())
}

/// A zone's name within the name of a key's file, as BIND writes it.
fn file_name(zone: &Name) -> String {
    let name = in_file_name(zone);
    if name.is_empty() { ".".into() } else { name }
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

    fn made(store: &KeyStore, role: Role, algorithm: Algorithm) -> Key {
        store.generate(&zone(), &[role], algorithm, NOW).unwrap().remove(0)
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn tags(keys: &[Key]) -> Vec<u16> {
        keys.iter().map(Key::tag).collect()
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
        assert_eq!(names(store.dir()).len(), 5, "two keys and the mark");
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
        let key = made(&store, Role::Csk, Algorithm::Ed25519);
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
        let one = made(&store, Role::Ksk, Algorithm::default());
        let other = made(&store, Role::Zsk, Algorithm::default());
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
        assert!(
            error.contains("but its name says otherwise; rename it to Kexample.+013+"),
            "{error}"
        );
    }

    /// A store with two keys of a zone, as they lie in their folder before they come to their place.
    fn finished() -> (tempfile::TempDir, KeyStore, PathBuf, Vec<u16>) {
        let (dir, store) = store();
        let made = store.generate(&zone(), KeyLayout::KskZsk.roles(), Algorithm::default(), NOW);
        let folder = store.dir().join(format!("{FINISHED}example."));
        let files = names(store.dir());
        fs::create_dir(&folder).unwrap();
        for file in &files {
            fs::rename(store.dir().join(file), folder.join(file)).unwrap();
        }
        let mut made = made.unwrap();
        made.sort_by_key(|key| key.role() == Role::Zsk);
        (dir, store, folder, tags(&made))
    }

    #[test]
    fn finished_keys_are_the_zone_s_wherever_their_way_ended() {
        for moved in 0u32..1 << 5 {
            let (_dir, store, folder, expected) = finished();
            for (index, file) in names(&folder).iter().enumerate() {
                if moved & 1 << index != 0 {
                    fs::rename(folder.join(file), store.dir().join(file)).unwrap();
                }
            }
            assert_eq!(tags(&store.load(&zone()).unwrap()), expected, "{moved:05b}");
            assert_eq!(names(store.dir()).len(), 5, "{moved:05b}");
        }
    }

    #[test]
    fn unfinished_keys_are_nobody_s_and_go() {
        for written in 0..=5 {
            let (_dir, store, folder, _) = finished();
            let unfinished = store.dir().join(format!("{UNFINISHED}example."));
            fs::rename(folder, &unfinished).unwrap();
            for file in names(&unfinished).iter().skip(written) {
                fs::remove_file(unfinished.join(file)).unwrap();
            }
            fs::write(store.dir().join(".Kexample.+013+00001.private.77"), "secret").unwrap();
            assert!(store.load(&zone()).unwrap().is_empty());
            assert!(names(store.dir()).is_empty(), "{:?}", names(store.dir()));
            let layout = KeyLayout::KskZsk;
            let made = store.load_or_generate(&zone(), layout, Algorithm::default(), NOW).unwrap();
            assert_eq!((made.0.len(), made.1), (2, true));
        }
    }

    #[test]
    fn a_zone_that_had_keys_gets_no_new_ones_by_itself() {
        let layout = KeyLayout::KskZsk;
        let make = |store: &KeyStore| {
            store.load_or_generate(&zone(), layout, Algorithm::default(), NOW).map(|made| made.1)
        };
        let (_dir, store) = store();
        assert!(make(&store).unwrap());
        for file in names(store.dir()).iter().filter(|name| name.ends_with(".key")) {
            fs::remove_file(store.dir().join(file)).unwrap();
        }
        assert!(matches!(make(&store), Err(StoreError::NoPublic { .. })));
        for file in names(store.dir()).iter().filter(|name| name.ends_with(".private")) {
            fs::remove_file(store.dir().join(file)).unwrap();
        }
        assert_eq!(names(store.dir()), ["example.signed"]);
        let error = make(&store).unwrap_err().to_string();
        assert!(error.contains("are gone from") && error.contains("--role ksk,zsk"), "{error}");
        assert!(matches!(store.load_known(&zone(), layout), Err(StoreError::Gone { .. })));
        // Who asks for new ones gets them.
        store.generate(&zone(), layout.roles(), Algorithm::default(), NOW).unwrap();
        assert!(!make(&store).unwrap());
    }

    #[test]
    fn keys_that_cannot_all_be_stored_are_none() {
        let (_dir, store) = store();
        // RSA keys are not made here: nothing is left of the one that was.
        let error = store.generate(&zone(), &[Role::Ksk], Algorithm::RsaSha256, NOW);
        assert!(matches!(error, Err(StoreError::Make(_))));
        assert!(names(store.dir()).is_empty());
        fs::create_dir(store.dir().join(format!("{FINISHED}example."))).unwrap();
        fs::write(store.dir().join("example.signed"), "").unwrap();
        fs::write(store.dir().join(format!("{FINISHED}example./example.signed")), "").unwrap();
        assert!(matches!(store.load(&zone()), Err(StoreError::Taken { .. })));
    }

    #[test]
    fn the_text_of_a_private_key_never_moves() {
        for algorithm in [Algorithm::default(), Algorithm::EcdsaP384Sha384, Algorithm::Ed25519] {
            let new = NewKey::generate(&zone(), Role::Csk, algorithm, &[], NOW).unwrap();
            assert_eq!(new.private.capacity(), super::super::MAX_PRIVATE);
            assert!(new.private.starts_with("Private-key-format: v1.3\nAlgorithm: "));
            let (_dir, store) = store();
            store.generate(&zone(), &[Role::Csk], algorithm, NOW).unwrap();
            let path = store.dir().join(&names(store.dir())[1]);
            assert!(path.extension().is_some_and(|extension| extension == "private"));
            let (text, _) = store.read(&path).unwrap();
            assert_eq!(text.capacity(), text.len() + ROOM_TO_READ);
        }
    }
}
