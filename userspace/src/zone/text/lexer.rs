//! Master files cut into entries and tokens (RFC 1035 section 5.1).
//!
//! An entry is what stands on one line, or on several inside parentheses. Tokens are places in the
//! text: nothing is copied, and escapes are left for who knows what the token means.

use super::error::Fault;

/// The most tokens one entry may have: the longest RDATA written as two hexadecimal digits per
/// token needs 65,535; this is four times as many.
const MAX_TOKENS: usize = 1 << 18;

/// A token: octets `start..end` of the text, without its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) start: u32,
    pub(super) end: u32,
    /// It stood in quotes.
    pub(super) quoted: bool,
    /// It holds a backslash.
    pub(super) escaped: bool,
    /// No white space parts it from the token before, as in `alpn="h2"`.
    pub(super) glued: bool,
}

impl Token {
    /// Where the token stands, its opening quote included.
    pub(super) fn at(self) -> usize {
        self.start as usize - usize::from(self.quoted)
    }

    /// The octets of the token as written.
    pub(super) fn raw(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..self.end as usize]
    }
}

/// What is known of an entry besides its tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Its first line starts with white space, which stands for the last owner name.
    pub(super) blank_owner: bool,
    /// Where its last token ends.
    pub(super) end: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Space,
    Newline,
    Quote,
    Comment,
    Open,
    Close,
    Backslash,
    Return,
    Nul,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Plain; 256];
    classes[b' ' as usize] = Class::Space;
    classes[b'\t' as usize] = Class::Space;
    classes[b'\r' as usize] = Class::Return;
    classes[b'\n' as usize] = Class::Newline;
    classes[b'"' as usize] = Class::Quote;
    classes[b';' as usize] = Class::Comment;
    classes[b'(' as usize] = Class::Open;
    classes[b')' as usize] = Class::Close;
    classes[b'\\' as usize] = Class::Backslash;
    classes[0] = Class::Nul;
    classes
};

/// Walks over a text of less than 4 GiB.
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of `text`, behind a UTF-8 byte order mark if there is one.
    pub(super) fn new(text: &'a [u8]) -> Lexer<'a> {
        let at = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Lexer { text, at }
    }

    /// Goes on behind the line of an octet at which a fault is, so that the next entry is read.
    pub(super) fn skip_line_of(&mut self, at: usize) {
        let at = at.max(self.at).min(self.text.len());
        let rest = &self.text[at..];
        let line_end = rest.iter().position(|octet| *octet == b'\n');
        self.at = line_end.map_or(self.text.len(), |end| at + end + 1);
    }

    /// Reads the next entry that has a token; `None` at the end of the text.
    pub(super) fn next_entry(&mut self, tokens: &mut Vec<Token>) -> Result<Option<Entry>, Fault> {
        tokens.clear();
        let text = self.text;
        let mut at = self.at;
        let mut line_start = at;
        let mut blank_owner = false;
        // Where the outermost open parenthesis stands, and how many are open.
        let (mut opened_at, mut depth) = (0usize, 0usize);
        // Where the last token ended, closing quote included.
        let mut touched = usize::MAX;
        loop {
            let Some(&octet) = text.get(at) else {
                if depth > 0 {
                    return Err(Fault::new(opened_at, "this parenthesis is never closed"));
                }
                break;
            };
            let class = CLASSES[usize::from(octet)];
            match class {
                Class::Space => at += 1,
                Class::Plain | Class::Backslash | Class::Quote => {
                    if tokens.is_empty() && depth == 0 {
                        blank_owner = at > line_start;
                    }
                    let glued = touched == at;
                    let token = if class == Class::Quote {
                        let token = quoted(text, at, glued)?;
                        at = token.end as usize + 1;
                        token
                    } else {
                        let token = bare(text, at, glued)?;
                        at = token.end as usize;
                        token
                    };
                    touched = at;
                    if tokens.len() == MAX_TOKENS {
                        let message = format!("an entry has more than {MAX_TOKENS} tokens");
                        return Err(Fault::new(token.at(), message));
                    }
                    tokens.push(token);
                }
                Class::Newline => {
                    at += 1;
                    if depth == 0 {
                        if !tokens.is_empty() {
                            break;
                        }
                        line_start = at;
                    }
                }
                Class::Comment => {
                    while let Some(&octet) = text.get(at).filter(|&&octet| octet != b'\n') {
                        if octet == b'\r' {
                            line_end(text, at)?;
                        }
                        at += 1;
                    }
                }
                Class::Return => {
                    line_end(text, at)?;
                    at += 1;
                }
                Class::Open => {
                    if depth == 0 {
                        opened_at = at;
                        if tokens.is_empty() {
                            blank_owner = at > line_start;
                        }
                    }
                    depth += 1;
                    at += 1;
                }
                Class::Close => {
                    if depth == 0 {
                        return Err(Fault::new(at, "no parenthesis is open here"));
                    }
                    depth -= 1;
                    at += 1;
                }
                Class::Nul => {
                    let message = "a NUL octet: this is not a text file, or it is UTF-16 \
                                   (save it as UTF-8)";
                    return Err(Fault::new(at, message));
                }
            }
        }
        self.at = at;
        let Some(last) = tokens.last() else { return Ok(None) };
        Ok(Some(Entry { blank_owner, end: last.end }))
    }
}

/// Carriage returns stand before a line feed only: BIND takes others for line ends, others for
/// white space, and behind a comment that decides what the zone holds.
fn line_end(text: &[u8], at: usize) -> Result<(), Fault> {
    match text[at..].iter().find(|&&octet| octet != b'\r') {
        None | Some(b'\n') => Ok(()),
        Some(_) => {
            let message = "a carriage return without a line feed (save the file with LF or CR LF)";
            Err(Fault::new(at, message))
        }
    }
}

/// A token without quotes that starts at `start`.
fn bare(text: &[u8], start: usize, glued: bool) -> Result<Token, Fault> {
    let mut at = start;
    let mut escaped = false;
    while let Some(&octet) = text.get(at) {
        match CLASSES[usize::from(octet)] {
            Class::Plain => at += 1,
            Class::Backslash => {
                escaped = true;
                at = behind_escape(text, at)?;
            }
            _ => break,
        }
    }
    Ok(Token { start: start as u32, end: at as u32, quoted: false, escaped, glued })
}

/// A token in quotes; `start` is the opening quote.
fn quoted(text: &[u8], start: usize, glued: bool) -> Result<Token, Fault> {
    let mut at = start + 1;
    let mut escaped = false;
    loop {
        match text.get(at) {
            Some(b'"') => break,
            Some(b'\\') => {
                escaped = true;
                at = behind_escape(text, at)?;
            }
            None | Some(b'\n') => {
                return Err(Fault::new(start, "this quote is not closed on its line"));
            }
            Some(_) => at += 1,
        }
    }
    Ok(Token { start: start as u32 + 1, end: at as u32, quoted: true, escaped, glued })
}

/// The place behind the escape that starts at `at`; only its first octet matters here, since the
/// digits of `\DDD` are plain octets anyway.
fn behind_escape(text: &[u8], at: usize) -> Result<usize, Fault> {
    match text.get(at + 1) {
        None | Some(b'\n' | b'\r') => Err(Fault::new(at, "a backslash ends the line")),
        Some(_) => Ok(at + 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(bool, Vec<String>)> {
        let mut lexer = Lexer::new(text.as_bytes());
        let mut tokens = Vec::new();
        let mut found = Vec::new();
        while let Some(entry) = lexer.next_entry(&mut tokens).expect("entries") {
            let raw =
                |token: &Token| String::from_utf8_lossy(token.raw(text.as_bytes())).into_owned();
            found.push((entry.blank_owner, tokens.iter().map(raw).collect()));
        }
        found
    }

    fn fault(text: &str) -> (usize, String) {
        let mut lexer = Lexer::new(text.as_bytes());
        let mut tokens = Vec::new();
        loop {
            match lexer.next_entry(&mut tokens) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("no fault in {text:?}"),
                Err(fault) => return (fault.at, fault.message),
            }
        }
    }

    #[test]
    fn entries_span_lines_only_in_parentheses() {
        let found = entries("a b ; c (\n  \n\t d(e\n f ; )\n)g\nh\\ i\"j k\"\"\"");
        let expected: [(bool, &[&str]); 3] =
            [(false, &["a", "b"]), (true, &["d", "e", "f", "g"]), (false, &["h\\ i", "j k", ""])];
        assert_eq!(found.len(), 3);
        for ((blank, tokens), (expected_blank, expected_tokens)) in found.iter().zip(expected) {
            assert_eq!(*blank, expected_blank);
            assert_eq!(tokens, expected_tokens);
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_token() {
        assert_eq!(entries("\u{feff}a\r\n"), [(false, vec!["a".to_owned()])]);
    }

    #[test]
    fn faults_name_their_place() {
        assert_eq!(fault("a (b\nc (d)\n").0, 2);
        assert_eq!(fault("a )").0, 2);
        assert_eq!(fault("a\r\r\nb ; c\rd").0, 9);
        assert_eq!(fault("a\rb").0, 1);
        assert_eq!(fault("a\nb \"c\nd\"").0, 4);
        assert_eq!(fault("a\\\n").0, 1);
        assert!(fault("a\0b").1.contains("UTF-16"));
    }
}
