//! Chains of CNAMEs, DNAMEs and wildcards, in all orders up to a length, beside knotd, nsd and named.
//!
//! Step `n` of chain `c` is about the name `x.sNcC`: a CNAME of that name, a DNAME above it, or the CNAME of a
//! wildcard beside it. Each leads to `x` below the next step's label, and a chain ends at data, at a name without
//! the type, at none, at a delegation, or outside of the zone.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use sealdns::dnssec::policy::Denial;
use sealdns::zone::{Rtype, name};

use super::answers::ZoneQueries;
use tests::dns::{Edns, Query};
use tests::questions::PAYLOAD;
use tests::servers::{signed, unsigned};

/// The steps whose orders are all tried.
const MAX_STEPS: u32 = 4;

/// Lengths around the bounds of the servers, of steps of one kind or of two in turn.
const LONG: [usize; 6] = [5, 6, 8, 9, 10, 12];

/// How a step is made.
#[derive(Clone, Copy)]
enum Step {
    Cname,
    Dname,
    Wildcard,
}

const STEPS: [Step; 3] = [Step::Cname, Step::Dname, Step::Wildcard];

/// Where a chain ends.
#[derive(Clone, Copy)]
enum End {
    Data,
    Nodata,
    Nothing,
    Cut,
    Outside,
}

const ENDS: [End; 5] = [End::Data, End::Nodata, End::Nothing, End::Cut, End::Outside];

/// All chains.
fn chains() -> Vec<(Vec<Step>, End)> {
    let mut all = Vec::new();
    for len in 1..=MAX_STEPS {
        for number in 0..3usize.pow(len) {
            let steps = (0..len).map(|place| STEPS[number / 3usize.pow(place) % 3]).collect();
            all.push(steps);
        }
    }
    for len in LONG {
        for (a, b) in [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2)] {
            all.push((0..len).map(|place| STEPS[if place % 2 == 0 { a } else { b }]).collect());
        }
    }
    all.into_iter().flat_map(|steps: Vec<Step>| ENDS.map(|end| (steps.clone(), end))).collect()
}

/// A zone with all of them, and a question for each; circles and DNAMEs that make names longer besides.
pub(super) fn chains_of(denial: Denial, directory: &Path) -> Result<Vec<ZoneQueries>> {
    let mut text = String::from(
        "$TTL 300\n@ SOA ns host 1 4h 1h 2w 60\n@ NS ns\nns A 192.0.2.1\n\
         round1 DNAME round2\nround2 DNAME round1\ngrows DNAME down.grows\nself DNAME self\n\
         half DNAME other\nx.other CNAME x.half\n*.star.d DNAME dst\nx.dst A 192.0.2.7\n",
    );
    let mut asked = Vec::new();
    for (number, (steps, end)) in chains().into_iter().enumerate() {
        for (place, step) in steps.iter().enumerate() {
            let (here, next) = (format!("s{place}c{number}"), format!("s{}c{number}", place + 1));
            match step {
                Step::Cname => writeln!(text, "x.{here} CNAME x.{next}")?,
                Step::Dname => writeln!(text, "{here} DNAME {next}")?,
                Step::Wildcard => writeln!(text, "*.{here} CNAME x.{next}")?,
            }
        }
        let last = format!("s{}c{number}", steps.len());
        match end {
            End::Data => writeln!(text, "x.{last} A 192.0.2.2")?,
            End::Nodata => writeln!(text, "x.{last} TXT \"text\"")?,
            End::Nothing => {}
            End::Cut => writeln!(text, "{last} NS ns.{last}\nns.{last} A 192.0.2.3")?,
            End::Outside => writeln!(text, "x.{last} CNAME www.example.net.")?,
        }
        asked.push(format!("x.s0c{number}"));
    }
    asked.extend(
        ["x.round1", "x.grows", "x.self", "x.half", "a.x.half", "x.star.d", "a.x.star.d"]
            .map(str::to_owned),
    );
    let zone = signed(("chains.example", &text), denial, directory)?;
    let wire = |text: &str| {
        let labels = text.split('.').flat_map(|label| {
            std::iter::once(label.len() as u8).chain(label.bytes()).collect::<Vec<_>>()
        });
        labels.chain(zone.apex().as_wire().iter().copied()).collect::<Vec<u8>>()
    };
    let types = [Rtype::A, Rtype::CNAME, Rtype::DNAME];
    let edns = [None, Some(Edns { payload: PAYLOAD, dnssec_ok: true })];
    let queries: Vec<Query> = asked
        .iter()
        .map(|text| wire(text))
        .filter(|wire| name::wire_name_len(wire) == Some(wire.len()))
        .flat_map(|name| types.map(|rtype| (name.clone(), rtype)))
        .flat_map(|(name, rtype)| {
            edns.map(|edns| Query { name: name.clone(), rtype: rtype.0, edns })
        })
        .collect();
    Ok(vec![ZoneQueries { zone, queries }])
}

/// An unsigned zone with DS at its delegations: nobody sends them in referrals, whoever asks with DO=1.
pub(super) fn unsigned_with_ds(_: Denial, _: &Path) -> Result<Vec<ZoneQueries>> {
    let zone = unsigned(
        "unsigned.example",
        "$TTL 300\n@ SOA ns host 1 4h 1h 2w 60\n@ NS ns\nns A 192.0.2.1\nsub NS ns.sub\nns.sub A 192.0.2.2\n\
         sub DS 1 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\nother NS ns.example.net.\n",
    )?;
    let queries = tests::questions::questions(&zone, []);
    Ok(vec![ZoneQueries { zone, queries }])
}
