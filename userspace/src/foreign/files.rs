//! Configuration files of others, the files that they include, and places in them.

use std::fmt;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use crate::file_pattern::{is_pattern, matching};

/// What of a folder that is included is read, as Knot has it.
const IN_FOLDER: &str = "*.conf";

/// How deep files may include others. No official reference: people use two or three.
const MAX_DEPTH: usize = 16;

/// How many files may be included in all, so that files that include each other's siblings do not multiply without end.
const MAX_FILES: usize = 1000;

/// A place in a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The file.
    pub file: Rc<Path>,
    /// Whether it is not the file that was asked for but one that it includes.
    pub is_included: bool,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Place {
    /// What is wrong there.
    pub fn fault(&self, message: impl fmt::Display) -> Fault {
        Fault(format!("{}:{}:{}: {message}", self.file.display(), self.line, self.column))
    }
}

/// As notes have it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_included {
            true => write!(f, "{}:{}", self.file.display(), self.line),
            false => write!(f, "line {}", self.line),
        }
    }
}

/// Why a configuration cannot be translated, with its place.
#[derive(Debug, PartialEq)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads files, the outermost first.
pub struct Files {
    outermost: Rc<Path>,
    /// The files that are being read, each included by the one before.
    open: Vec<Rc<Path>>,
    read: usize,
}

impl Files {
    /// Starts with the file that was asked for.
    pub fn new(outermost: &Path) -> Files {
        Files { outermost: outermost.into(), open: Vec::new(), read: 0 }
    }

    /// The file that was asked for, through `parse`, which is handed its text and whether it is an included one.
    pub fn outermost<T>(
        &mut self,
        parse: impl FnOnce(&mut Files, &str, Start) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let file = Rc::clone(&self.outermost);
        self.file(&file, parse).map_err(|error| match error {
            ReadFailure::Io(error) => Fault(format!("{}: {error}", file.display())),
            ReadFailure::Fault(fault) => fault,
        })
    }

    /// All files that a pattern names, each through `parse`. A path that is not absolute is taken from the folder of the
    /// file that it stands in; if nothing is there, from that of the outermost file.
    pub fn included(
        &mut self,
        pattern: &str,
        at: &Place,
        mut parse: impl FnMut(&mut Files, &str, Start) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if self.open.len() > MAX_DEPTH {
            return Err(at.fault(format_args!("files are included more than {MAX_DEPTH} deep")));
        }
        let next_to = |file: &Path| file.parent().unwrap_or(Path::new("")).join(pattern);
        let places = [next_to(&at.file), next_to(&self.outermost)];
        let mut found = places.iter().map(|place| matching(place, Some(IN_FOLDER)));
        let found = found.find(|found| !found.is_empty()).unwrap_or_default();
        // Of files in a folder there may be none yet.
        let may_be_none = is_pattern(pattern) || places.iter().any(|place| place.is_dir());
        if found.is_empty() && !may_be_none {
            return Err(at.fault(format_args!("there is no file {pattern} to include")));
        }
        for path in found {
            let same = |open: &Rc<Path>| {
                fs::canonicalize(open)
                    .ok()
                    .is_some_and(|open| Some(open) == fs::canonicalize(&path).ok())
            };
            if self.open.iter().any(same) {
                return Err(at.fault(format_args!("{} includes itself", path.display())));
            }
            if self.read > MAX_FILES {
                return Err(at.fault(format_args!("more than {MAX_FILES} files are included")));
            }
            self.file(&path.as_path().into(), &mut parse).map_err(|error| match error {
                ReadFailure::Io(error) => {
                    at.fault(format_args!("cannot read {}: {error}", path.display()))
                }
                ReadFailure::Fault(fault) => fault,
            })?;
        }
        Ok(())
    }

    fn file<T>(
        &mut self,
        file: &Rc<Path>,
        parse: impl FnOnce(&mut Files, &str, Start) -> Result<T, Fault>,
    ) -> Result<T, ReadFailure> {
        let text = fs::read(file).map_err(ReadFailure::Io)?;
        let is_included = !self.open.is_empty();
        self.open.push(Rc::clone(file));
        self.read += 1;
        let start = Start { file: Rc::clone(file), is_included };
        let parsed =
            parse(self, &String::from_utf8_lossy(&text), start).map_err(ReadFailure::Fault);
        self.open.pop();
        parsed
    }
}

enum ReadFailure {
    Io(std::io::Error),
    Fault(Fault),
}

/// A file that places are in.
#[derive(Clone, Debug)]
pub struct Start {
    file: Rc<Path>,
    is_included: bool,
}

impl Start {
    /// A place of the file.
    pub fn place(&self, line: usize, column: usize) -> Place {
        Place { file: Rc::clone(&self.file), is_included: self.is_included, line, column }
    }
}
