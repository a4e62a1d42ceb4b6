//! What is wrong with a master file, and where.

use std::fmt;

/// The most characters of the offending line that are shown.
const SHOWN_CHARACTERS: usize = 160;

/// Something wrong at an octet of the text at hand.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Fault {
        Fault { at, message: message.into() }
    }
}

/// A place in a master file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named by who opened it or by `$INCLUDE`.
    pub file: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; a tab is one character. 0 for the file as a whole.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// Why a master file is no zone. [`fmt::Display`] prints all of it on several lines: the sentence,
/// the place as `file:line:column`, the line with a caret under the column, and which files
/// included this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// What is wrong, and where it helps what to do: one sentence without a full stop.
    pub message: String,
    /// The same in a word, for programs.
    pub code: &'static str,
    /// Where: a file as a whole if it cannot be read or lacks something.
    pub place: Place,
    /// The line at fault, control characters replaced; long lines are cut around the column.
    pub source_line: Box<str>,
    /// How many characters of `source_line` stand before the column.
    pub caret: usize,
    /// The `$INCLUDE` lines that led here, the innermost first.
    pub included_from: Box<[Place]>,
}

impl ReadError {
    /// An error of a file as a whole.
    pub(super) fn of_file(file: &str, message: impl Into<String>) -> ReadError {
        ReadError {
            message: message.into(),
            code: "file",
            place: Place { file: file.to_owned(), line: 0, column: 0 },
            source_line: Box::default(),
            caret: 0,
            included_from: Box::default(),
        }
    }
}

impl std::error::Error for ReadError {}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        let place = &self.place;
        if place.line == 0 {
            return write!(f, "\n  --> {place}");
        }
        let number = place.line.to_string();
        let margin = number.len();
        write!(f, "\n{:margin$}--> {place}", "")?;
        write!(f, "\n{:margin$} |\n{number} | {}\n{:margin$} | ", "", self.source_line, "")?;
        // Tabs are repeated, so that the caret stands right whatever their width.
        for character in self.source_line.chars().take(self.caret) {
            write!(f, "{}", if character == '\t' { '\t' } else { ' ' })?;
        }
        write!(f, "^")?;
        for place in &self.included_from {
            write!(f, "\n{:margin$} = included from {}:{}", "", place.file, place.line)?;
        }
        Ok(())
    }
}

/// A token for people: in quotes, cut if it is long.
pub(super) fn shown(raw: &[u8]) -> String {
    const SHOWN: usize = 40;
    let text = String::from_utf8_lossy(&raw[..raw.len().min(SHOWN)]);
    let dots = if raw.len() > SHOWN { "…" } else { "" };
    let text: String = text.chars().filter(|character| !character.is_control()).collect();
    format!("\"{text}{dots}\"")
}

/// Where the lines of a text start.
pub(super) fn line_starts(text: &[u8]) -> Vec<u32> {
    let ends = text.iter().enumerate().filter(|(_, octet)| **octet == b'\n');
    std::iter::once(0).chain(ends.map(|(at, _)| at as u32 + 1)).collect()
}

/// Line and column of an octet of a text, both from 1, the column in characters.
pub(super) fn line_and_column(text: &[u8], line_starts: &[u32], at: usize) -> (usize, usize) {
    let at = at.min(text.len());
    let line = line_starts.partition_point(|&start| start as usize <= at).max(1);
    let start = line_starts.get(line - 1).map_or(0, |&start| start as usize);
    (line, 1 + characters(skip_mark(&text[..at], start)))
}

/// The line around an octet for people, and how many of its characters stand before the octet.
pub(super) fn shown_line(text: &[u8], at: usize) -> (String, usize) {
    let at = at.min(text.len());
    let start = text[..at].iter().rposition(|&octet| octet == b'\n').map_or(0, |at| at + 1);
    let end = text[at..].iter().position(|&octet| octet == b'\n').map_or(text.len(), |n| at + n);
    let mut before: Vec<char> = readable(skip_mark(&text[..at], start)).collect();
    let cut = before.len().saturating_sub(SHOWN_CHARACTERS * 3 / 4);
    if cut > 0 {
        before.drain(..cut);
        before[0] = '…';
    }
    let caret = before.len();
    let room = SHOWN_CHARACTERS.saturating_sub(caret);
    let rest: Vec<char> = readable(&text[at..end]).take(room + 1).collect();
    let mut line: String = before.into_iter().chain(rest.iter().copied().take(room)).collect();
    line.truncate(line.trim_end().len());
    if rest.len() > room {
        line.push('…');
    }
    (line, caret)
}

/// `before` from `line_start` on, without a byte order mark at the start of the text.
fn skip_mark(before: &[u8], line_start: usize) -> &[u8] {
    let line = &before[line_start..];
    if line_start == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line }
}

fn characters(octets: &[u8]) -> usize {
    octets.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len()).sum()
}

/// The characters of a line; what would not be one, or would command a terminal, is replaced.
fn readable(octets: &[u8]) -> impl Iterator<Item = char> + '_ {
    octets.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().chars().map(|character| match character {
            '\t' => '\t',
            '\r' => ' ',
            other if other.is_control() => char::REPLACEMENT_CHARACTER,
            other => other,
        });
        valid.chain(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER))
    })
}

/// Something in a master file that does not stop it from being a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What: one sentence without a full stop.
    pub message: String,
    /// The same in a word, for programs.
    pub code: &'static str,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let text = "\u{feff}aé b\n\tc".as_bytes();
        let starts = line_starts(text);
        assert_eq!(line_and_column(text, &starts, 3), (1, 1));
        assert_eq!(line_and_column(text, &starts, 7), (1, 4));
        assert_eq!(line_and_column(text, &starts, text.len() - 1), (2, 2));
        assert_eq!(line_and_column(text, &starts, 1000), (2, 3));
        assert_eq!(line_and_column(b"", &line_starts(b""), 0), (1, 1));
    }

    #[test]
    fn shown_lines_are_short_and_harmless() {
        let text = format!("{}\x1b[31m X {}\n", "a".repeat(500), "b".repeat(500));
        let at = text.find('X').unwrap_or(0);
        let (line, caret) = shown_line(text.as_bytes(), at);
        assert!(line.chars().count() <= SHOWN_CHARACTERS + 1 && !line.contains('\x1b'));
        assert_eq!(line.chars().nth(caret), Some('X'));
        assert_eq!(line.chars().next(), Some('…'));
    }
}
