//! Entries of master files become records of a zone (RFC 1035 section 5, RFC 2308 section 4).

use super::cursor::Fields;
use super::error::{Fault, ReadError, Warning, shown};
use super::generate;
use super::head::{Head, MAX_TTL, head, ttl};
use super::lexer::{Entry, Lexer, Token};
use super::names::push_name;
use super::places::{Places, Source};
use super::zone_faults::ZoneFaults;
use crate::zone::{Name, Rtype, Soa, Zone, ZoneBuilder, ZoneError, ZoneFault};
use std::io;
use std::path::Path;
use std::rc::Rc;

/// How deep `$INCLUDE` may nest. Zones of people use one or two; no official reference.
pub const MAX_INCLUDE_DEPTH: usize = 16;

/// How many files one zone may include in all, so that files that include each other's siblings do
/// not multiply without end.
pub const MAX_INCLUDES: usize = 10_000;

/// How many records `$GENERATE` may make in one zone: PTR records for an IPv4 /10.
pub const MAX_GENERATED: u32 = 1 << 22;

/// How a master file is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The TTL in seconds of records that have none before any `$TTL`, explicit TTL or SOA; `None`
    /// makes them an error.
    pub default_ttl: Option<u32>,
}

/// A zone that was read, and what was noticed on the way.
#[derive(Clone)]
pub struct ReadZone {
    /// The zone.
    pub zone: Zone,
    /// Up to [`MAX_WARNINGS`](super::MAX_WARNINGS) warnings in the order of their places.
    pub warnings: Vec<Warning>,
    /// How many warnings there were in all.
    pub warning_count: usize,
    /// The files that were read, the outermost first.
    pub files: Vec<String>,
}

/// Who reads the files that `$INCLUDE` names; the path is complete (see [`parse`]).
pub type Loader<'l> = &'l mut dyn FnMut(&str) -> io::Result<Vec<u8>>;

/// Reads `text` as the zone `apex`, which is also the first origin.
///
/// `file` names the text in errors; a relative `$INCLUDE` path is completed with the folder of the
/// file that it stands in before `loader` gets it; if `loader` does not find it, with that of the
/// outermost file, since BIND has all paths from one working directory. `$TTL` and the last TTL stay in force behind an
/// included file, as in BIND; origin and last owner name do not (RFC 1035 section 5.1).
///
/// # Errors
/// The first one found: in the text, else the first record in the order of the text that a zone
/// cannot hold (see [`ZoneFaultKind`](crate::zone::ZoneFaultKind)), else what the zone lacks.
pub fn parse(
    text: Vec<u8>,
    file: &str,
    apex: &Name,
    options: Options,
    loader: Loader<'_>,
) -> Result<ReadZone, ReadError> {
    let mut reader = Reader::new(apex, options, 1, loader);
    reader.source(text, file.to_owned(), None)?;
    reader.finish()
}

/// As [`parse`], but goes on at the next entry after a fault, until there are `most_faults`.
pub fn check(
    text: Vec<u8>,
    file: &str,
    apex: &Name,
    options: Options,
    most_faults: usize,
    loader: Loader<'_>,
) -> CheckedFile {
    let mut reader = Reader::new(apex, options, most_faults, loader);
    match reader.source(text, file.to_owned(), None) {
        Ok(()) => reader.finish_checked(),
        Err(last) => {
            reader.faults.push(last);
            let Reader { places, faults, .. } = reader;
            CheckedFile { zone: None, places, faults, warnings: Vec::new(), has_more: true }
        }
    }
}

/// What [`check`] found.
pub struct CheckedFile {
    /// The zone, if it is one.
    pub zone: Option<Zone>,
    /// Where its records stand.
    pub places: Places,
    /// What keeps it from being one, in the order in which it was found.
    pub faults: Vec<ReadError>,
    /// What does not.
    pub warnings: Vec<Warning>,
    /// Whether there may be more faults than these.
    pub has_more: bool,
}

struct Reader<'l> {
    builder: ZoneBuilder,
    places: Places,
    /// Faults that were found, and how many end the reading.
    faults: Vec<ReadError>,
    most_faults: usize,
    origin: Vec<u8>,
    /// The last owner name; empty if there was none yet.
    owner: Vec<u8>,
    /// The last owner name could not be read, so that nobody knows whose a line with a blank one is.
    owner_is_unknown: bool,
    /// What `$TTL` says, or the SOA where RFC 2308 leaves no other.
    default_ttl: Option<u32>,
    last_ttl: Option<u32>,
    /// The record number of the first SOA.
    soa_at: Option<usize>,
    generated: u32,
    rdata: Vec<u8>,
    types: Vec<u16>,
    loader: Loader<'l>,
}

impl<'l> Reader<'l> {
    fn new(apex: &Name, options: Options, most_faults: usize, loader: Loader<'l>) -> Reader<'l> {
        Reader {
            builder: ZoneBuilder::new(apex.clone()),
            places: Places::default(),
            faults: Vec::new(),
            most_faults,
            origin: apex.as_wire().to_vec(),
            owner: Vec::new(),
            owner_is_unknown: false,
            default_ttl: None,
            last_ttl: options.default_ttl,
            soa_at: None,
            generated: 0,
            rdata: Vec::new(),
            types: Vec::new(),
            loader,
        }
    }

    /// Notes a fault; `Err` with it if it ends the reading.
    fn note(&mut self, error: ReadError) -> Result<(), ReadError> {
        if self.faults.len() + 1 >= self.most_faults {
            return Err(error);
        }
        self.faults.push(error);
        Ok(())
    }

    /// Reads a whole file.
    fn source(
        &mut self,
        text: Vec<u8>,
        name: String,
        parent: Option<(usize, u32)>,
    ) -> Result<(), ReadError> {
        let id = self.places.sources.len();
        let text = Rc::new(text);
        if u32::try_from(text.len()).is_err() {
            return Err(ReadError::of_file(&name, "the file is larger than 4 GiB"));
        }
        self.places.add(Source::new(name, Rc::clone(&text), parent));
        let mut lexer = Lexer::new(&text);
        let mut tokens = Vec::new();
        loop {
            let entry = match lexer.next_entry(&mut tokens) {
                Ok(Some(entry)) => entry,
                Ok(None) => return Ok(()),
                Err(fault) => {
                    lexer.skip_line_of(fault.at);
                    let error = self.error(id, fault);
                    self.note(error)?;
                    continue;
                }
            };
            let first = tokens[0];
            let directive = !entry.blank_owner
                && !first.quoted
                && text.get(first.start as usize) == Some(&b'$');
            if directive && first.raw(&text).eq_ignore_ascii_case(b"$INCLUDE") {
                if let Err(error) = self.include(id, &text, entry, &tokens) {
                    // What ended the reading of an included file ends that of this one.
                    self.note(error)?;
                }
                self.places.go_on_in(id);
                continue;
            }
            let read = if directive {
                self.directive(&text, entry, &tokens)
            } else {
                self.record(&text, entry, &tokens)
            };
            if let Err(fault) = read {
                let error = self.error(id, fault);
                self.note(error)?;
            }
        }
    }

    fn directive(&mut self, text: &[u8], entry: Entry, tokens: &[Token]) -> Result<(), Fault> {
        let name = tokens[0].raw(text).to_ascii_uppercase();
        let argument = |what: &str| {
            tokens
                .get(1)
                .copied()
                .ok_or_else(|| Fault::new(entry.end as usize, format!("{what} is missing here")))
        };
        let alone = |taken: usize| match tokens.get(taken) {
            None => Ok(()),
            Some(token) => {
                let message = format!("{} is not expected here", shown(token.raw(text)));
                Err(Fault::new(token.at(), message))
            }
        };
        match &name[..] {
            b"$ORIGIN" => {
                let mut origin = Vec::new();
                push_name(argument("an origin")?, text, &self.origin, &mut origin)?;
                alone(2)?;
                self.origin = origin;
            }
            b"$TTL" => {
                let token = argument("a TTL")?;
                self.default_ttl = Some(ttl(token, text)?);
                alone(2)?;
            }
            b"$GENERATE" => self.generate(text, entry, tokens)?,
            _ => {
                let message = format!(
                    "{} is not a directive; there are $ORIGIN, $TTL, $INCLUDE and $GENERATE (an owner name \
                     that starts with $ is written \\$)",
                    shown(tokens[0].raw(text))
                );
                return Err(Fault::new(tokens[0].at(), message));
            }
        }
        Ok(())
    }

    /// `$INCLUDE file [origin]`.
    fn include(
        &mut self,
        id: usize,
        text: &[u8],
        entry: Entry,
        tokens: &[Token],
    ) -> Result<(), ReadError> {
        let at = tokens[0].start;
        let (path, token, origin) =
            self.include_arguments(text, entry, tokens).map_err(|fault| self.error(id, fault))?;
        let other = included_path(&self.places.sources[0].name, &path);
        let path = included_path(&self.places.sources[id].name, &path);
        let place = token.at();
        let mut ancestor = Some((id, at));
        let mut depth = 1;
        while let Some((id_above, _)) = ancestor {
            if self.places.sources[id_above].name == path {
                let message = format!("{path} includes itself");
                return Err(self.error(id, Fault::new(place, message)));
            }
            depth += 1;
            ancestor = self.places.sources[id_above].parent;
        }
        if depth > MAX_INCLUDE_DEPTH + 1 {
            let message = format!("$INCLUDE nests deeper than {MAX_INCLUDE_DEPTH} files");
            return Err(self.error(id, Fault::new(place, message)));
        }
        if self.places.sources.len() > MAX_INCLUDES {
            let message = format!("more than {MAX_INCLUDES} files are included");
            return Err(self.error(id, Fault::new(place, message)));
        }
        let included = (self.loader)(&path);
        let (path, included) = match included {
            Err(error) if error.kind() == io::ErrorKind::NotFound && other != path => {
                match (self.loader)(&other) {
                    Ok(included) => (other, Ok(included)),
                    Err(_) => (path, Err(error)),
                }
            }
            included => (path, included),
        };
        let included = included.map_err(|error| {
            self.error(id, Fault::new(place, format!("cannot read {path}: {error}")))
        })?;
        let kept_origin = std::mem::replace(&mut self.origin, origin);
        let kept_owner = self.owner.clone();
        let read = self.source(included, path, Some((id, at)));
        self.origin = kept_origin;
        self.owner = kept_owner;
        read
    }

    /// Path, its token, and the origin for the included file.
    fn include_arguments(
        &self,
        text: &[u8],
        entry: Entry,
        tokens: &[Token],
    ) -> Result<(String, Token, Vec<u8>), Fault> {
        let Some(&token) = tokens.get(1) else {
            return Err(Fault::new(entry.end as usize, "a file to include is missing here"));
        };
        let mut octets = Vec::new();
        let mut origin = Vec::new();
        let mut types = Vec::new();
        Fields {
            text,
            tokens: &[],
            next: 0,
            origin: &[],
            out: &mut octets,
            end: entry.end,
            types: &mut types,
        }
        .octets(token)?;
        let path = String::from_utf8(octets)
            .map_err(|_| Fault::new(token.at(), "the name of a file to include is not UTF-8"))?;
        match tokens.get(2) {
            Some(&name) => push_name(name, text, &self.origin, &mut origin)?,
            None => origin.extend_from_slice(&self.origin),
        }
        if let Some(extra) = tokens.get(3) {
            let message = format!("{} is not expected here", shown(extra.raw(text)));
            return Err(Fault::new(extra.at(), message));
        }
        Ok((path, token, origin))
    }

    fn record(&mut self, text: &[u8], entry: Entry, tokens: &[Token]) -> Result<(), Fault> {
        let mut next = 0;
        if !entry.blank_owner {
            self.owner.clear();
            self.owner_is_unknown = true;
            push_name(tokens[0], text, &self.origin, &mut self.owner)?;
            self.owner_is_unknown = false;
            next = 1;
        } else if self.owner_is_unknown {
            // That the owner is wrong has been said.
            return Ok(());
        } else if self.owner.is_empty() {
            let message = "the line starts with white space, but there is no owner name before";
            return Err(Fault::new(tokens[0].at(), message));
        }
        let head = head(text, &tokens[next..], entry.end)?;
        next += head.tokens;
        self.rdata.clear();
        let mut fields = Fields {
            text,
            tokens,
            next,
            origin: &self.origin,
            out: &mut self.rdata,
            end: entry.end,
            types: &mut self.types,
        };
        fields.read(head.rtype)?;
        let ttl = self.ttl_of(&head, tokens[0])?;
        self.push(head.rtype, ttl, tokens[0].at())
    }

    /// The TTL of a record: its own, else `$TTL`'s, else the last one (RFC 1035 section 5.1), else
    /// of the SOA its MINIMUM, which is then the default as in BIND.
    fn ttl_of(&mut self, head: &Head, token: Token) -> Result<u32, Fault> {
        if let Some(ttl) = head.ttl {
            self.last_ttl = Some(ttl);
            return Ok(ttl);
        }
        if let Some(ttl) = self.default_ttl.or(self.last_ttl) {
            return Ok(ttl);
        }
        match Soa::parse(&self.rdata) {
            Some(soa) if head.rtype == Rtype::SOA => {
                let minimum = soa.minimum.min(MAX_TTL);
                self.default_ttl = Some(minimum);
                Ok(minimum)
            }
            _ => {
                let message = "the record has no TTL, and there is no $TTL, no TTL and no SOA \
                               before it";
                Err(Fault::new(token.at(), message))
            }
        }
    }

    /// Adds the record of `self.owner` and `self.rdata`.
    fn push(&mut self, rtype: Rtype, ttl: u32, at: usize) -> Result<(), Fault> {
        match self.builder.push(&self.owner, rtype, ttl, &self.rdata) {
            Ok(()) => {
                if rtype == Rtype::SOA {
                    self.soa_at.get_or_insert(self.places.records());
                }
                self.places.push(at as u32);
                Ok(())
            }
            Err(error @ ZoneError::OutOfZone { .. }) => {
                Err(Fault::new(at, format!("{error}; is a dot missing or one too many?")))
            }
            Err(error) => Err(Fault::new(at, error.to_string())),
        }
    }

    /// `$GENERATE range owner [TTL] [class] type RDATA`. A blank owner behind it is the one that was stated before
    /// it, as in BIND, whose directive it is: what it makes states none.
    fn generate(&mut self, text: &[u8], entry: Entry, tokens: &[Token]) -> Result<(), Fault> {
        let stated_owner = self.owner.clone();
        let made = self.generate_records(text, entry, tokens);
        self.owner = stated_owner;
        made
    }

    fn generate_records(
        &mut self,
        text: &[u8],
        entry: Entry,
        tokens: &[Token],
    ) -> Result<(), Fault> {
        let token = |index: usize, what: &str| {
            tokens.get(index).copied().ok_or_else(|| {
                Fault::new(entry.end as usize, format!("$GENERATE: {what} is missing here"))
            })
        };
        let range_token = token(1, "a range")?;
        let range = generate::range(range_token.raw(text)).ok_or_else(|| {
            let message = format!(
                "{} is not a range: START-STOP or START-STOP/STEP",
                shown(range_token.raw(text))
            );
            Fault::new(range_token.at(), message)
        })?;
        let owner = token(2, "an owner name")?;
        let head = head(text, &tokens[3.min(tokens.len())..], entry.end)?;
        let first = 3 + head.tokens;
        let start = token(first, "RDATA")?;
        // BIND has the RDATA as one token, in quotes if it has blanks; several are taken as they
        // stand, quotes and all.
        let rdata = match &tokens[first..] {
            [only] => only.raw(text),
            [.., last] => {
                let from = start.at();
                &text[from..last.end as usize + usize::from(last.quoted)]
            }
            [] => &[],
        };
        let generated = self.generated.checked_add(range.count());
        let Some(generated) = generated.filter(|&count| count <= MAX_GENERATED) else {
            let message = format!("$GENERATE makes more than {MAX_GENERATED} records in this zone");
            return Err(Fault::new(range_token.at(), message));
        };
        self.generated = generated;
        let at = tokens[0].at();
        let (mut line, mut line_tokens) = (Vec::new(), Vec::new());
        for value in range.values() {
            // Faults in what was made are shown at the template that it was made of.
            let made = |template: Token, made: &[u8], fault: Fault| {
                let message = format!("{} (in {}, for {value})", fault.message, shown(made));
                Fault::new(template.at(), message)
            };
            line.clear();
            generate::expand(owner.raw(text), value, &mut line)
                .map_err(|message| Fault::new(owner.at(), message))?;
            self.owner.clear();
            let whole = whole_token(&line);
            push_name(whole, &line, &self.origin, &mut self.owner)
                .map_err(|fault| made(owner, &line, fault))?;

            line.clear();
            generate::expand(rdata, value, &mut line)
                .map_err(|message| Fault::new(start.at(), message))?;
            let mut lexer = Lexer::new(&line);
            let lexed = lexer.next_entry(&mut line_tokens);
            let lexed = lexed.map_err(|fault| made(start, &line, fault))?;
            self.rdata.clear();
            let end = lexed.map_or(0, |entry| entry.end);
            let mut fields = Fields {
                text: &line,
                tokens: &line_tokens,
                next: 0,
                origin: &self.origin,
                out: &mut self.rdata,
                end,
                types: &mut self.types,
            };
            fields.read(head.rtype).map_err(|fault| made(start, &line, fault))?;
            let ttl = self.ttl_of(&head, tokens[0])?;
            self.push(head.rtype, ttl, at)?;
        }
        Ok(())
    }

    /// Sorts, checks, and builds the zone.
    fn finish(self) -> Result<ReadZone, ReadError> {
        let file_error = |places: &Places, error: ZoneError| {
            ReadError::of_file(&places.sources[0].name, error.to_string())
        };
        let (builder, places, faults) = self.whole();
        let is_error = |fault: &&ZoneFault| fault.kind.is_error();
        if let Some(fault) = faults.found.iter().find(is_error) {
            return Err(faults.error(&places, fault));
        }
        let zone = builder.finish().map_err(|error| file_error(&places, error))?;
        let warning_count = faults.found.len();
        let warnings = faults.warnings(&places);
        let files = places.sources.iter().map(|source| source.name.clone()).collect();
        Ok(ReadZone { zone, warnings, warning_count, files })
    }

    /// The same for [`check`], whatever was found.
    fn finish_checked(mut self) -> CheckedFile {
        let mut errors = std::mem::take(&mut self.faults);
        let most = self.most_faults;
        let is_whole = errors.is_empty();
        let (mut builder, mut places, faults) = self.whole();
        for fault in faults.found.iter().filter(|fault| fault.kind.is_error()) {
            // What is lacking may stand in a line that could not be read.
            if is_whole || fault.record.is_some() {
                errors.push(faults.error(&places, fault));
            }
        }
        let has_more = errors.len() > most;
        errors.truncate(most);
        let warnings = faults.warnings(&places);
        let mut zone = None;
        if errors.is_empty() {
            places.rrsets = builder.rrset_starts();
            match builder.finish() {
                Ok(built) => zone = Some(built),
                Err(error) => {
                    errors.push(ReadError::of_file(&places.sources[0].name, error.to_string()));
                }
            }
        }
        CheckedFile { zone, places, faults: errors, warnings, has_more }
    }

    /// All records, where they stand, and what is wrong with them as a zone, in the order of the text; what is lacking
    /// altogether comes last.
    fn whole(mut self) -> (ZoneBuilder, Places, ZoneFaults) {
        let mut found = self.builder.faults();
        found.sort_by_key(|fault| fault.record.unwrap_or(usize::MAX));
        (self.builder, self.places, ZoneFaults { found, soa_at: self.soa_at })
    }

    fn error(&self, source: usize, fault: Fault) -> ReadError {
        self.places.error(source, fault, "syntax")
    }
}

/// A token that is all of a text.
fn whole_token(text: &[u8]) -> Token {
    Token {
        start: 0,
        end: text.len() as u32,
        quoted: false,
        escaped: text.contains(&b'\\'),
        glued: false,
    }
}

/// A path beside the file that names it, unless it is absolute.
fn included_path(file: &str, path: &str) -> String {
    match Path::new(file).parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            folder.join(path).to_string_lossy().into_owned()
        }
        _ => path.to_owned(),
    }
}
