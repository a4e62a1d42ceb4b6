//! What entries of a master file leave behind for the next ones (RFC 1035 section 5.1): owner, origin and TTL, after
//! every sequence of them, as named-compilezone has it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, ensure};
use sealdns::zone::text::{self, Options};

use super::zone_text::{apex, named, records};

/// Entries that change what a later one takes from before it, or take it. `N` is the entry's place.
const ENTRIES: [&str; 9] = [
    "stated-N A 192.0.2.N",
    " TXT \"N\"",
    "$GENERATE 1-2 made-N-$ A 192.0.2.1$",
    "$GENERATE 1-2 made-N-$ 70N A 192.0.2.1$",
    "$INCLUDE blank",
    "$INCLUDE stated",
    "$INCLUDE stated sub-N",
    "$ORIGIN under-N",
    "$TTL 80N",
];

/// The length of sequences: what one entry leaves, what a second makes of it, and who takes it.
const LENGTH: usize = 3;

/// Every sequence of `ENTRIES`, then a record with a blank owner, reads as in named-compilezone; what that refuses
/// (it does no such thing here), so do we.
pub fn sequences_leave_the_owner_that_they_do_in_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("blank"), " TXT \"of an included file\"\n")?;
    std::fs::write(
        folder.path().join("stated"),
        "inner A 192.0.2.99\n$ORIGIN deep\nx 90 A 192.0.2.98\n",
    )?;
    let mut complaints = String::new();
    let sequences = ENTRIES.len().pow(LENGTH as u32);
    for number in 0..sequences {
        let mut text = String::from("@ 60 IN SOA a. b. 1 2 3 4 5\n@ NS a.\nfirst A 192.0.2.100\n");
        let mut rest = number;
        for place in 1..=LENGTH {
            text.push_str(&ENTRIES[rest % ENTRIES.len()].replace('N', &place.to_string()));
            text.push('\n');
            rest /= ENTRIES.len();
        }
        text.push_str(" TXT \"last\"\n");
        let path = folder.path().join("zone");
        std::fs::write(&path, &text)?;
        let ours = text::read(&path, &apex(), Options::default());
        match (ours, named(Path::new(&path))) {
            (Ok(ours), Ok(theirs)) if records(&ours) == records(&theirs) => {}
            (Err(_), Err(_)) => {}
            (Ok(ours), Ok(theirs)) => {
                let (ours, theirs) = (records(&ours), records(&theirs));
                let only_ours: Vec<_> = ours.difference(&theirs).collect();
                let only_theirs: Vec<_> = theirs.difference(&ours).collect();
                writeln!(
                    complaints,
                    "{text}only ours: {only_ours:?}\nonly theirs: {only_theirs:?}\n"
                )?;
            }
            (Ok(_), Err(error)) => writeln!(complaints, "{text}only named refuses: {error}\n")?,
            (Err(error), Ok(_)) => writeln!(complaints, "{text}only we refuse: {error}\n")?,
        }
    }
    ensure!(complaints.is_empty(), "{complaints}");
    Ok(())
}
