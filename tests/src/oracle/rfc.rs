//! The examples of the RFCs: their zones, their questions, and what they say is the answer.
//!
//! The zones are signed anew, since those of the RFCs are signed with RSA and SHA-1, which is refused, and NSEC3 with
//! salt and iterations: records are compared, of RRSIG all but algorithm, times, key and signature, and of NSEC3
//! what each proves. We answer with less than the examples do, as RFC 4035 section 3.1.1 and RFC 2181 section 9
//! allow: positive answers have no NS RRset, and the additional section has glue alone.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use sealdns::{
    cli::zone_file,
    clock::WallTime,
    compile::{Image, Reader},
    datapath::memory::{Mapping, Size},
    dnssec::{
        denial::{Hash, nsec3_hash, read_hash_owner},
        policy::Denial,
    },
    zone::{Name, Rtype, Zone, text::write_record},
};

use tests::{
    dns::{Edns, Message, Query, Record},
    servers::signed,
};

/// RFC 5155 appendix A.
const ITERATIONS: u16 = 12;
const SALT: &[u8] = b"\xaa\xbb\xcc\xdd";

/// A question and its answer, as a file of the tests has them.
#[derive(Default)]
struct Example {
    name: String,
    rtype: String,
    rcode: u16,
    is_authoritative: bool,
    /// Records of the answer, authority and additional section.
    sections: [BTreeSet<String>; 3],
    /// Of NSEC3: the hash that is its owner, whether it matches, and the name.
    proofs: Vec<(String, bool, String)>,
}

impl Example {
    /// Reads all examples of a file: `query NAME TYPE`, the response code and `aa`, and the sections.
    fn read(text: &str) -> Result<Vec<Example>> {
        let mut examples: Vec<Example> = Vec::new();
        let mut section = 0;
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(';')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["query", name, rtype] = words[..] {
                let (name, rtype) = (name.to_owned(), rtype.to_owned());
                examples.push(Example { name, rtype, ..Example::default() });
                continue;
            }
            let example = examples.last_mut().context("a line before the first query")?;
            match words[..] {
                ["NOERROR", ..] | ["NXDOMAIN", ..] => {
                    example.rcode = if words[0] == "NXDOMAIN" { 3 } else { 0 };
                    example.is_authoritative = words[1..] == ["aa"];
                }
                ["answer"] => section = 0,
                ["authority"] => section = 1,
                ["additional"] => section = 2,
                ["proof", hash, how, name] => {
                    example.proofs.push((hash.into(), how == "matches", name.into()));
                }
                _ => {
                    example.sections[section].insert(plain(line)?);
                }
            }
        }
        Ok(examples)
    }

    /// What of it a server that answers with the least says.
    fn least(&mut self) {
        let is_positive = !self.sections[0].is_empty();
        let is_referral = !self.is_authoritative;
        if is_positive {
            self.sections[1].retain(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                words[2] != "ns" && words[2..4] != ["rrsig", "ns"]
            });
        }
        if !is_referral {
            self.sections[2].clear();
        }
    }
}

/// A record as both sides have it: no class, small letters but types, RRSIG without what every signer has of its own.
fn plain(line: &str) -> Result<String> {
    let mut words: Vec<&str> = line.split_whitespace().filter(|word| *word != "IN").collect();
    let [_, ttl, rtype, ..] = words[..] else { bail!("`{line}` is no record") };
    ensure!(ttl.parse::<u32>().is_ok(), "`{line}` has no TTL");
    if rtype == "RRSIG" {
        // Owner, TTL, RRSIG, type, algorithm, labels, original TTL, expiration, inception, tag, signer.
        ensure!(words.len() >= 11, "`{line}` is no RRSIG");
        words = [&words[..4], &words[5..7], &words[10..11]].concat();
    }
    Ok(words.join(" ").to_ascii_lowercase())
}

fn lines(records: &[Record]) -> Result<BTreeSet<String>> {
    let is_nsec3 = |record: &&Record| {
        let rtype = Rtype(record.rtype);
        let covered = record.rdata.get(..2) == Some(&Rtype::NSEC3.0.to_be_bytes()[..]);
        rtype == Rtype::NSEC3 || (rtype == Rtype::RRSIG && covered)
    };
    let shown = |record: &Record| {
        plain(&write_record(&record.owner, Rtype(record.rtype), record.ttl, &record.rdata))
    };
    records.iter().filter(|record| !is_nsec3(record)).map(shown).collect()
}

fn wire(name: &str) -> Result<Vec<u8>> {
    Ok(name.parse::<Name>()?.as_wire().to_vec())
}

fn reader(zone: &Zone) -> Result<Reader> {
    let memory = Mapping::anonymous(Size { slab: 1 << 20, buckets: 256 })?;
    let mut image = Image::new(Arc::new(memory), 1);
    drop(image.publish(zone)?);
    Ok(image.reader())
}

fn ask(reader: &Reader, example: &Example, dnssec_ok: bool) -> Result<Message> {
    let edns = Some(Edns { payload: 1232, dnssec_ok });
    let rtype: Rtype = example.rtype.parse()?;
    let query = Query { name: wire(&example.name)?, rtype: rtype.0, edns };
    let mut said = Vec::new();
    let outcome =
        reader.answer(&query.message(1), false, 1232, WallTime::now().signature_time(), &mut said);
    ensure!(outcome.is_answered(), "{outcome:?}");
    Message::read(&said)
}

/// Asks what the examples ask, and compares.
fn compare(reader: &Reader, mut example: Example, dnssec_ok: bool) -> Result<Message> {
    example.least();
    let said = ask(reader, &example, dnssec_ok)?;
    ensure!(said.rcode == example.rcode, "response code {}", said.rcode);
    ensure!(said.is_authoritative() == example.is_authoritative, "AA");
    let sections = [&said.answer, &said.authority, &said.additional];
    for ((section, expected), word) in
        sections.into_iter().zip(&example.sections).zip(["answer", "authority", "additional"])
    {
        let section = lines(section)?;
        ensure!(section == *expected, "{word}: {section:#?}, expected {expected:#?}");
    }
    Ok(said)
}

//----------- NSEC3 ----------------------------------------------------------------------------------

/// Whether the NSEC3 with this owner and this next hash matches a name's hash, or covers it.
fn proves(owner: &Hash, next: &Hash, hash: &Hash, matches: bool) -> bool {
    if matches {
        return owner == hash;
    }
    // The last one's next is the first.
    match owner < next {
        true => owner < hash && hash < next,
        false => owner < hash || hash < next,
    }
}

/// The NSEC3 records of a response: each must prove one of these things, and each of these must be proven.
fn compare_proofs(said: &Message, proofs: &[(String, bool, String)]) -> Result<()> {
    let records: Vec<&Record> =
        said.authority.iter().filter(|one| Rtype(one.rtype) == Rtype::NSEC3).collect();
    let mut used = BTreeSet::new();
    for (_, matches, name) in proofs {
        let hash = nsec3_hash(&wire(name)?, 0, &[]);
        let by = records.iter().position(|record| {
            let owner = read_hash_owner(&record.owner);
            // No salt: the next hash is behind five octets and its length.
            let next = record.rdata.get(6..26).and_then(|next| next.try_into().ok());
            owner.zip(next).is_some_and(|(owner, next)| proves(&owner, &next, &hash, *matches))
        });
        used.insert(by.with_context(|| format!("nothing proves {name}, matching: {matches}"))?);
    }
    ensure!(used.len() == records.len(), "{} records, {} needed", records.len(), used.len());
    let signatures = said.authority.iter().filter(|one| {
        Rtype(one.rtype) == Rtype::RRSIG && one.rdata[..2] == Rtype::NSEC3.0.to_be_bytes()
    });
    ensure!(signatures.count() == records.len(), "not all are signed");
    Ok(())
}

/// That the hashes of the RFC prove what the file says of them: in the RFC's own chain.
fn check_hashes_of_the_rfc(proofs: &[(String, bool, String)]) -> Result<()> {
    let names = ["", "a.", "ai.", "ns1.", "ns2.", "w.", "*.w.", "x.w.", "y.w.", "x.y.w.", "xx."];
    let mut chain = Vec::new();
    for name in names {
        chain.push(nsec3_hash(&wire(&format!("{name}example."))?, ITERATIONS, SALT));
    }
    chain.sort_unstable();
    for (owner, matches, name) in proofs {
        let owner = read_hash_owner(&wire(&format!("{owner}.example."))?).context("no hash")?;
        let place = chain.binary_search(&owner).ok().context("not in the RFC's chain")?;
        let next = chain[(place + 1) % chain.len()];
        let hash = nsec3_hash(&wire(name)?, ITERATIONS, SALT);
        ensure!(proves(&owner, &next, &hash, *matches), "{name} is not proven in the RFC");
    }
    Ok(())
}

//----------- Tests ----------------------------------------------------------------------------------

fn zone(text: &'static str, denial: Option<Denial>) -> Result<Zone> {
    match denial {
        Some(denial) => signed(("example.", text), denial, tempfile::tempdir()?.path()),
        None => {
            let apex = "example.".parse()?;
            zone_file::parse_zone(text.as_bytes(), &apex)
        }
    }
}

/// Does something with each example of a file, of which there are so many.
fn each_example(
    text: &str,
    count: usize,
    mut work: impl FnMut(Example) -> Result<()>,
) -> Result<()> {
    let examples = Example::read(text)?;
    ensure!(examples.len() == count, "{} examples", examples.len());
    for example in examples {
        let what = format!("{} {}", example.name, example.rtype);
        work(example).context(what)?;
    }
    Ok(())
}

/// DNSSEC with NSEC.
pub fn rfc_4035_appendix_b() -> Result<()> {
    let zone = zone(include_str!("../../zones/rfc4035.zone"), Some(Denial::Nsec))?;
    let reader = reader(&zone)?;
    each_example(include_str!("../../zones/rfc4035.responses"), 8, |example| {
        compare(&reader, example, true).map(drop)
    })
}

/// NSEC3.
pub fn rfc_5155_appendix_b() -> Result<()> {
    let denial = Denial::Nsec3 { opt_out: true };
    let zone = zone(include_str!("../../zones/rfc5155.zone"), Some(denial))?;
    let reader = reader(&zone)?;
    each_example(include_str!("../../zones/rfc5155.responses"), 7, |example| {
        let proofs = example.proofs.clone();
        ensure!(!proofs.is_empty(), "no proof");
        check_hashes_of_the_rfc(&proofs)?;
        compare_proofs(&compare(&reader, example, true)?, &proofs)
    })
}

/// Wildcards.
pub fn rfc_4592_section_2_2_1() -> Result<()> {
    for denial in [None, Some(Denial::Nsec), Some(Denial::Nsec3 { opt_out: false })] {
        let zone = zone(include_str!("../../zones/rfc4592.zone"), denial)?;
        let reader = reader(&zone)?;
        // RFC 4592 knows no DNSSEC records.
        each_example(include_str!("../../zones/rfc4592.responses"), 8, |example| {
            compare(&reader, example, false).map(drop)
        })
        .with_context(|| format!("{denial:?}"))?;
    }
    Ok(())
}
