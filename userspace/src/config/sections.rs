//! The sections of a configuration as they are written: of its file, and of those that it includes, each with its place.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::error::{explain, invalid};
use super::zone::ZoneSettings;
use super::{ConfigError, Cookies, Front, Health, Policy, RateLimit, Server, TsigKey, Xdp};
use crate::file_pattern::{is_pattern, matching};
use crate::files;

/// All sections, in the order in which they were read: what a file includes comes after its own.
#[derive(Default)]
pub(super) struct Sections {
    pub files: Vec<ReadFile>,
    pub main: MainSections,
    pub tsig_keys: Vec<Placed<TsigKey>>,
    pub zones: Vec<Placed<ZoneSettings>>,
    pub templates: BTreeMap<String, Placed<ZoneSettings>>,
    pub policies: BTreeMap<String, Placed<Policy>>,
}

/// A file that was read.
pub(super) struct ReadFile {
    pub path: PathBuf,
    pub text: String,
}

/// What stands in the configuration's own file alone.
#[derive(Default)]
pub(super) struct MainSections {
    pub server: Server,
    pub xdp: Xdp,
    pub cookies: Cookies,
    pub ratelimit: RateLimit,
    pub health: Health,
    pub front: Option<Front>,
}

/// A place in one of the files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Which of [`Sections::files`].
    pub file: usize,
    /// In octets.
    pub offset: usize,
}

/// A section, and where it begins.
pub(super) struct Placed<T> {
    pub value: T,
    pub place: Place,
}

/// What a file may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileContents {
    version: Option<FormatVersion>,
    #[serde(default)]
    include: Vec<Spanned<String>>,
    server: Option<Spanned<Server>>,
    xdp: Option<Spanned<Xdp>>,
    cookies: Option<Spanned<Cookies>>,
    ratelimit: Option<Spanned<RateLimit>>,
    health: Option<Spanned<Health>>,
    front: Option<Spanned<Front>>,
    #[serde(default, rename = "tsig")]
    tsig_keys: Vec<Spanned<TsigKey>>,
    #[serde(default, rename = "zone")]
    zones: Vec<Spanned<ZoneSettings>>,
    #[serde(default, rename = "template")]
    templates: BTreeMap<String, Spanned<ZoneSettings>>,
    #[serde(default, rename = "policy")]
    policies: BTreeMap<String, Spanned<Policy>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
enum FormatVersion {
    #[serde(rename = "v1")]
    V1,
}

impl Sections {
    /// Those of this text, whose relative paths stay as they are; what it includes is not read.
    pub fn of_text(text: &str, path: &Path) -> Result<Sections, ConfigError> {
        let mut sections = Sections::default();
        sections.read_main(text.to_owned(), path, None)?;
        Ok(sections)
    }

    /// Those of the file at `path` and of all that it includes. Relative paths are taken from the folder of the file that they
    /// stand in.
    pub fn load(path: &Path) -> Result<Sections, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut sections = Sections::default();
        let includes = sections.read_main(text, path, Some(folder_of(path)))?;
        let mut inclusion = Inclusion { known: HashSet::new(), open: Vec::new() };
        inclusion.enter(path);
        inclusion.follow(&mut sections, &includes)?;
        sections.main.ratelimit.load_exempt(folder_of(path))?;
        Ok(sections)
    }

    fn read_main(
        &mut self,
        text: String,
        path: &Path,
        folder: Option<&Path>,
    ) -> Result<Vec<(Place, String)>, ConfigError> {
        let mut contents = self.parse(text, path)?;
        if contents.version.is_none() {
            let hint = "write version = \"v1\" on the first line".to_owned();
            let place = Place { file: 0, offset: 0 };
            return Err(self.fault(place, "the key `version` is missing".to_owned(), Some(hint)));
        }
        let main = &mut self.main;
        take(&mut main.server, contents.server.take());
        take(&mut main.xdp, contents.xdp.take());
        take(&mut main.cookies, contents.cookies.take());
        take(&mut main.ratelimit, contents.ratelimit.take());
        take(&mut main.health, contents.health.take());
        main.front = contents.front.take().map(Spanned::into_inner);
        if let Some(folder) = folder {
            for place in [&mut main.server.control, &mut main.server.state_dir] {
                *place = folder.join(&*place);
            }
            for file in [&mut main.server.tls_certificate, &mut main.server.tls_key] {
                if !file.as_os_str().is_empty() {
                    *file = folder.join(&*file);
                }
            }
            if let Some(file) = &mut main.cookies.secret_file {
                *file = folder.join(&*file);
            }
        }
        self.add(contents, folder)
    }

    /// Reads a file that another includes. Returns what it includes itself.
    fn read_included(
        &mut self,
        text: String,
        path: &Path,
    ) -> Result<Vec<(Place, String)>, ConfigError> {
        let contents = self.parse(text, path)?;
        let file = self.files.len() - 1;
        let only_in_main = [
            ("server", contents.server.as_ref().map(Spanned::span)),
            ("xdp", contents.xdp.as_ref().map(Spanned::span)),
            ("cookies", contents.cookies.as_ref().map(Spanned::span)),
            ("ratelimit", contents.ratelimit.as_ref().map(Spanned::span)),
            ("health", contents.health.as_ref().map(Spanned::span)),
            ("front", contents.front.as_ref().map(Spanned::span)),
        ];
        for (section, span) in only_in_main {
            if let Some(Range { start: offset, .. }) = span {
                let message = format!("[{section}] stands in a file that another includes");
                let hint = "a file that is included has [[zone]], [template], [policy], [[tsig]] and `include`";
                return Err(self.fault(Place { file, offset }, message, Some(hint.to_owned())));
            }
        }
        self.add(contents, Some(folder_of(path)))
    }

    fn parse(&mut self, text: String, path: &Path) -> Result<FileContents, ConfigError> {
        let contents = toml::from_str(&text).map_err(|error| explain(&error, &text, path))?;
        self.files.push(ReadFile { path: path.to_owned(), text });
        Ok(contents)
    }

    /// Adds what a file says that may stand in any, the one that was read last. Returns what it includes.
    fn add(
        &mut self,
        contents: FileContents,
        folder: Option<&Path>,
    ) -> Result<Vec<(Place, String)>, ConfigError> {
        let file = self.files.len() - 1;
        let at = |span: Range<usize>| Place { file, offset: span.start };
        for key in contents.tsig_keys {
            let place = at(key.span());
            let mut value = key.into_inner();
            if let (Some(folder), Some(file)) = (folder, &mut value.secret_file) {
                *file = folder.join(&*file);
            }
            self.tsig_keys.push(Placed { value, place });
        }
        let settings = |settings: Spanned<ZoneSettings>| {
            let place = at(settings.span());
            let mut value = settings.into_inner();
            folder.into_iter().for_each(|folder| value.take_paths_from(folder));
            Placed { value, place }
        };
        self.zones.extend(contents.zones.into_iter().map(settings));
        for (name, template) in contents.templates {
            let template = settings(template);
            self.check_new("template", &name, template.place, self.templates.get(&name))?;
            self.templates.insert(name, template);
        }
        for (name, policy) in contents.policies {
            let policy = Placed { place: at(policy.span()), value: policy.into_inner() };
            self.check_new("policy", &name, policy.place, self.policies.get(&name))?;
            self.policies.insert(name, policy);
        }
        let includes = contents.include.into_iter();
        Ok(includes.map(|pattern| (at(pattern.span()), pattern.into_inner())).collect())
    }

    fn check_new<T>(
        &self,
        what: &str,
        name: &str,
        place: Place,
        before: Option<&Placed<T>>,
    ) -> Result<(), ConfigError> {
        let Some(before) = before else { return Ok(()) };
        let message = format!("the {what} {name} is configured twice, {}", self.first_at(before));
        Err(self.fault(place, message, Some("remove one of the two".to_owned())))
    }

    /// Where something stood first that stands there again.
    pub fn first_at<T>(&self, first: &Placed<T>) -> String {
        let ReadFile { path, text } = &self.files[first.place.file];
        let before = text.get(..first.place.offset).unwrap_or(text);
        format!("first at {}:{}", path.display(), before.matches('\n').count() + 1)
    }

    /// What is wrong at a place.
    pub fn fault(&self, place: Place, message: String, hint: Option<String>) -> ConfigError {
        let ReadFile { path, text } = &self.files[place.file];
        invalid(text, path, place.offset, message, hint)
    }

    /// Where a key stands in the section that begins at `place`; else that place.
    pub fn find_key(&self, place: Place, key: &str) -> Place {
        let found = self.find_in_section(place, &format!("\n{key}"));
        found.map_or(place, |found| Place { offset: found.offset + 1, ..found })
    }

    /// Where a word stands in the section that begins at `place`, if it does.
    pub fn find_in_section(&self, place: Place, word: &str) -> Option<Place> {
        let text = &self.files[place.file].text;
        // The place of a section is that of its heading.
        let section = text.get(place.offset..)?;
        let is_next = |line: &str| line.starts_with('[') && !line.starts_with("[zone.");
        let lines = section.split_inclusive('\n').enumerate();
        let lines = lines.take_while(|(number, line)| *number == 0 || !is_next(line));
        let section = &section[..lines.map(|(_, line)| line.len()).sum()];
        let found = section.find(word)?;
        Some(Place { offset: place.offset + found, ..place })
    }
}

/// Files that are being read, and those that were.
struct Inclusion {
    /// By their canonical path.
    known: HashSet<PathBuf>,
    /// The files that are being read, each included by the one before.
    open: Vec<PathBuf>,
}

impl Inclusion {
    fn enter(&mut self, path: &Path) -> bool {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let is_new = self.known.insert(path.clone());
        if is_new {
            self.open.push(path);
        }
        is_new
    }

    /// Reads what the file includes that was entered last, and leaves that file.
    fn follow(
        &mut self,
        sections: &mut Sections,
        includes: &[(Place, String)],
    ) -> Result<(), ConfigError> {
        for (place, pattern) in includes {
            let folder = folder_of(&sections.files[place.file].path).to_owned();
            let named = folder.join(pattern);
            let found = matching(&named, None);
            let is_open_ended =
                named.file_name().and_then(|name| name.to_str()).is_some_and(is_pattern);
            if found.is_empty() && !is_open_ended {
                let message = format!("there is no file {} to include", named.display());
                return Err(sections.fault(*place, message, None));
            }
            for path in found {
                self.include(sections, *place, &path)?;
            }
        }
        self.open.pop();
        Ok(())
    }

    fn include(
        &mut self,
        sections: &mut Sections,
        place: Place,
        path: &Path,
    ) -> Result<(), ConfigError> {
        if !self.enter(path) {
            let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            let how = if self.open.contains(&canonical) {
                "includes itself"
            } else {
                "is included twice"
            };
            return Err(sections.fault(place, format!("{} {how}", path.display()), None));
        }
        let text = files::read_to_string(path).map_err(|error| {
            sections.fault(place, format!("cannot read {}: {error}", path.display()), None)
        })?;
        let includes = sections.read_included(text, path)?;
        self.follow(sections, &includes)
    }
}

fn take<T>(place: &mut T, said: Option<Spanned<T>>) {
    if let Some(said) = said {
        *place = said.into_inner();
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}
