//! Zones published, replaced and withdrawn, and what is answered meanwhile. Here is what the tests share.

mod any;
mod apart;
mod chain;
mod changes;
mod children;
mod existence;
mod front;
mod incremental;
mod lasting;
mod messages;
mod races;
mod room;
mod signatures;
mod withheld;
mod zones;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::serialize::binary::BinDecodable;
use proptest::prelude::*;
use xdp_common::Outcome;

use super::{Difference, Image, Memory, PublishError, Reader, RetiredExtents};
use crate::datapath::memory::{Mapping, Size};
use crate::dnssec::keys::{Algorithm, KeyLayout};
use crate::dnssec::policy::{AnyResponse, Denial, SigningPolicy};
use crate::zone::{Name, Rtype, Version, Zone, text};

pub(super) const NOW: u32 = 1_790_000_000;

fn image(slab: usize, buckets: usize) -> Image {
    Image::new(Arc::new(Mapping::anonymous(Size { slab, buckets }).expect("memory")), 0x5eed)
}

fn small_image() -> Image {
    image(16 << 16, 1 << 10)
}

pub(super) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A zone from its records; SOA and NS are added.
pub(super) fn zone(apex: &str, serial: u32, records: &str) -> Zone {
    let head = format!(
        "$TTL 300\n@ SOA ns.example.net. host.example.net. {serial} 4h 1h 2w 60\n@ NS ns.example.net.\n"
    );
    let apex = name(apex);
    let mut none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    text::parse(
        (head + records + "\n").into_bytes(),
        "test",
        &apex,
        text::Options::default(),
        &mut none,
    )
    .unwrap_or_else(|error| panic!("{error}"))
    .zone
}

pub(super) fn signed(zone: &Zone, denial: Denial) -> Zone {
    signed_for_any(zone, denial, AnyResponse::Rrset)
}

pub(super) fn signed_for_any(zone: &Zone, denial: Denial, any: AnyResponse) -> Zone {
    versions_for_any(&[zone], Some(denial), any).remove(0)
}

/// Versions of a zone signed by the same keys one after the other; what does not change from one to the
/// next keeps its signature.
fn versions(zones: &[&Zone], denial: Option<Denial>) -> Vec<Zone> {
    versions_for_any(zones, denial, AnyResponse::Rrset)
}

fn versions_for_any(zones: &[&Zone], denial: Option<Denial>, any: AnyResponse) -> Vec<Zone> {
    let Some(denial) = denial else { return zones.iter().copied().cloned().collect() };
    let directory = tempfile::tempdir().expect("a directory");
    let store = crate::dnssec::keys::store::KeyStore::new(directory.path());
    let (keys, _) = store
        .load_or_generate(zones[0].apex(), KeyLayout::KskZsk, Algorithm::EcdsaP256Sha256, NOW)
        .expect("keys");
    let policy = SigningPolicy { denial, any, ..SigningPolicy::default() };
    let mut versions: Vec<Zone> = Vec::new();
    for zone in zones {
        let before = versions.last().cloned().map(Version::of);
        let before = before.as_ref().map(|before| (before, 0));
        let signed = crate::dnssec::sign::sign_again(zone, before, &keys, &policy, NOW);
        versions.push(signed.expect("signed").0);
    }
    versions
}

/// What a question is answered with: outcome, response code, answer, authority as owner and type.
struct Answer {
    outcome: Outcome,
    code: ResponseCode,
    answer: Vec<String>,
    authority: Vec<String>,
}

pub(super) fn query(wire: &[u8], rtype: Rtype) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    message.extend(wire);
    message.extend(rtype.0.to_be_bytes());
    message.extend([0, 1, 0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]);
    message
}

fn ask(reader: &Reader, qname: &str, rtype: Rtype) -> Answer {
    let mut response = Vec::new();
    let query = query(name(qname).as_wire(), rtype);
    let outcome = reader.answer(&query, false, 1232, NOW, &mut response);
    if !outcome.is_answered() {
        let (answer, authority) = (Vec::new(), Vec::new());
        return Answer { outcome, code: ResponseCode::ServFail, answer, authority };
    }
    assert_eq!(response[..2], query[..2]);
    let message = Message::from_bytes(&response).expect("a message");
    let shown = |records: &[hickory_proto::rr::Record]| {
        records.iter().map(|record| format!("{} {}", record.name, record.record_type())).collect()
    };
    Answer {
        outcome,
        code: message.metadata.response_code,
        answer: shown(&message.answers),
        authority: shown(&message.authorities),
    }
}

fn answer(reader: &Reader, query: &[u8]) -> Vec<u8> {
    let mut response = Vec::new();
    reader.answer(query, false, 1232, NOW, &mut response);
    response
}

/// The links of an answer: each CNAME with its signatures, and what the last one leads to. Each link is of one version,
/// as if a resolver had asked for each target by itself (RFC 1034 section 4.3.2).
fn links(response: &[u8]) -> BTreeSet<String> {
    let Ok(message) = Message::from_bytes(response) else {
        return BTreeSet::from([format!("{response:02x?}")]);
    };
    let mut links: Vec<(String, String)> = Vec::new();
    let mut rest = format!("{:?} {:?}", message.metadata.response_code, message.authorities);
    for record in &message.answers {
        let (owner, said) = (record.name.to_string(), format!("{record:?}"));
        match links.last_mut() {
            Some((last, link)) if *last == owner => *link += &said,
            _ => links.push((owner, said)),
        }
    }
    if let Some((_, last)) = links.pop_if(|(_, link)| !link.contains("CNAME")) {
        rest += &last;
    }
    links.into_iter().map(|(_, link)| link).chain([rest]).collect()
}

const DENIALS: [Option<Denial>; 4] = [
    Some(Denial::Nsec),
    Some(Denial::Nsec3 { opt_out: false }),
    Some(Denial::Nsec3 { opt_out: true }),
    None,
];
