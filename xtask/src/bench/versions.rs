//! The versions of the programs that sealdns is compared with, as these tell them.

use std::process::Command;

use serde_json::{Map, Value};
use testbed::net::find_program;

/// Programs, and the argument that has each say its version.
const PROGRAMS: [(&str, &str); 5] = [
    ("knotd", "-V"),
    ("nsd", "-v"),
    ("ldns-signzone", "-v"),
    ("dnssec-signzone", "-V"),
    ("kzonesign", "-V"),
];

/// The version of each program that is there, by its name.
pub fn all() -> Value {
    let versions = PROGRAMS.iter().filter_map(|&(program, argument)| {
        let output = Command::new(find_program(program)?).arg(argument).output().ok()?;
        // nsd says it on standard error.
        let said = [output.stdout, output.stderr].concat();
        let version = version_in(&String::from_utf8_lossy(&said))?.to_owned();
        Some((program.to_owned(), Value::String(version)))
    });
    Value::Object(versions.collect::<Map<_, _>>())
}

/// The first word that begins with a number, a full stop and a number, without what a distribution has added.
fn version_in(said: &str) -> Option<&str> {
    let is_version = |word: &&str| {
        let mut numbers = word.split('.').take(2);
        let is_number = |part: &str| part.starts_with(|first: char| first.is_ascii_digit());
        numbers.next().is_some_and(|first| {
            !first.is_empty() && first.bytes().all(|octet| octet.is_ascii_digit())
        }) && numbers.next().is_some_and(is_number)
    };
    let word = said.split_whitespace().find(is_version)?;
    word.split(['-', '+', '~', ',']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_each_program_says() {
        for (said, version) in [
            ("knotd (Knot DNS), version 3.2.6\n", Some("3.2.6")),
            ("NSD version 4.6.1\nWritten by NLnet Labs.\n", Some("4.6.1")),
            ("zone signer version 1.8.3 (ldns version 1.8.3)\n", Some("1.8.3")),
            ("dnssec-signzone 9.18.49-1~deb12u3-Debian\n", Some("9.18.49")),
            ("usage: 2 arguments. See nsd.8\n", None),
        ] {
            assert_eq!(version_in(said), version, "{said}");
        }
    }
}
