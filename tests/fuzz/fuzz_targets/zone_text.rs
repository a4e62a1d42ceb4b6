//! Master files: what is read can be written and read again, and what is not names a place in a file.
//!
//! The input is files apart by zero octets; the first includes the others as `1`, `2` and so on.
#![no_main]

use std::{collections::HashMap, io};

use libfuzzer_sys::fuzz_target;
use sealdns::zone::{
    Zone,
    text::{self, MAX_INCLUDES, Options, ReadError},
};

/// A `$GENERATE` may make millions of records, which takes longer than a run of a fuzzer should: ranges
/// have so many digits here.
const DIGITS: usize = 3;

fuzz_target!(|input: &[u8]| {
    if generates_many(input) {
        return;
    }
    let files: Vec<&[u8]> = input.split(|octet| *octet == 0).collect();
    let mut opened: HashMap<String, Vec<u8>> = HashMap::from([("main".into(), files[0].to_vec())]);
    let mut count = 0;
    let mut loader = |path: &str| {
        count += 1;
        let number = path.parse::<usize>().ok().filter(|number| *number > 0);
        let file = number.and_then(|number| files.get(number)).ok_or(io::ErrorKind::NotFound)?;
        opened.insert(path.into(), file.to_vec());
        Ok(file.to_vec())
    };
    let apex = "example".parse().expect("a name");
    let options = Options { default_ttl: Some(300) };
    let read = text::parse(files[0].to_vec(), "main", &apex, options, &mut loader);
    assert!(count <= 2 * (MAX_INCLUDES + 1), "{count} files were asked for");
    match read {
        Ok(loaded) => {
            assert_eq!(loaded.zone.apex(), &apex);
            assert!(loaded.files.iter().all(|file| opened.contains_key(file)));
            let text = written(&loaded.zone);
            let mut none = |_: &str| Err(io::ErrorKind::NotFound.into());
            let again = text::parse(text.clone(), "again", &apex, options, &mut none)
                .unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(&text)));
            assert_eq!(
                String::from_utf8_lossy(&text),
                String::from_utf8_lossy(&written(&again.zone))
            );
        }
        Err(error) => check(&error, &opened),
    }
});

/// Whether there may be a range with many numbers.
fn generates_many(text: &[u8]) -> bool {
    let has_directive = text.windows(9).any(|window| window.eq_ignore_ascii_case(b"$generate"));
    has_directive && text.split(|octet| !octet.is_ascii_digit()).any(|number| number.len() > DIGITS)
}

fn written(zone: &Zone) -> Vec<u8> {
    let mut text = Vec::new();
    text::write(zone, &mut text).expect("memory takes it");
    text
}

/// The place is inside a file that was opened.
fn check(error: &ReadError, opened: &HashMap<String, Vec<u8>>) {
    let place = &error.place;
    let text = opened.get(&place.file).unwrap_or_else(|| panic!("{place} was not opened"));
    assert!(!error.message.is_empty() && !error.to_string().is_empty());
    if place.line == 0 {
        assert_eq!(place.column, 0, "{error}");
        return;
    }
    let line = text.split(|octet| *octet == b'\n').nth(place.line - 1);
    let line = line.unwrap_or_else(|| panic!("there is no line {}: {error}", place.line));
    assert!((1..=line.len() + 1).contains(&place.column), "{error}");
    assert!(error.included_from.iter().all(|place| opened.contains_key(&place.file)), "{error}");
}
