//! RRsets of every length: XDP answers with each, or with TC=1 where a message that the client and the server allow
//! does not hold it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use sealdns::dnssec::policy::Denial;
use tests::{
    dns::{Edns, Query},
    harness::Verdict,
    measure::zones::wire,
    servers::signed,
};
use xdp_common::Outcome;

use crate::kernel::{Rig, TAGS, compare_one, framed, obstacle, unsigned};

const TXT: u16 = 16;

/// Octets of RDATA: all from the shortest to more than what XDP copies in one run with every signature beside
/// them, and some that are far longer.
fn lengths() -> impl Iterator<Item = usize> + Clone {
    (1..=1500).chain([1999, 2048, 4096, 9000, 16_000])
}

/// TXT records of every length, as the owner's name says.
fn zone_text() -> String {
    let mut text = String::from("$TTL 5m\n@ SOA ns h 1 4h 1h 2w 1m\n@ NS ns\nns A 192.0.2.1\n");
    for len in lengths() {
        let mut left = len;
        text += &format!("t{len} TXT");
        while left > 0 {
            // Nothing may be left that is no string, and the shortest string is empty.
            let string = left.min(256) - 1;
            text += &format!(" \"{}\"", "x".repeat(string));
            left -= string + 1;
        }
        text.push('\n');
    }
    text
}

/// What is asked with: payload sizes, and DO.
fn clients() -> impl Iterator<Item = Option<Edns>> {
    let sizes = [512, 1231, 1232, 4096].into_iter();
    let with =
        sizes.flat_map(|payload| [false, true].map(|dnssec_ok| Some(Edns { payload, dnssec_ok })));
    with.chain([None])
}

/// Each length is answered, as the daemon answers it, signed and unsigned; whole as far as it fits.
pub fn every_length_is_answered() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let text = zone_text();
    let (apex, directory) = ("txt.example", tempfile::tempdir()?);
    let zones = [unsigned((apex, &text))?, signed((apex, &text), Denial::Nsec, directory.path())?];
    for zone in &zones {
        let mut rig = Rig::new(zone)?;
        let mut fates = BTreeMap::new();
        for len in lengths() {
            for (place, edns) in clients().enumerate() {
                let name = wire(&[&format!("t{len}"), "txt", "example"]);
                let query = Query { name, rtype: TXT, edns };
                let asked = framed(query.message(1), place % 2, TAGS[len % TAGS.len()])?;
                let outcome =
                    compare_one(&mut rig, &asked).with_context(|| format!("{query:?}"))?;
                let is_right = matches!(outcome, Outcome::Positive | Outcome::Truncated);
                ensure!(is_right, "{query:?}: {outcome:?}");
                *fates.entry(outcome.word()).or_insert(0u32) += 1;
            }
        }
        println!("  {fates:?}");
        ensure!(fates.len() == 2, "{fates:?}");
    }
    Ok(Verdict::Passed)
}
