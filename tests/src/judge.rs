//! A second decoder of messages, which shares nothing with the code under test: `hickory-proto`. Whatever the tests'
//! plain decoder reads (`dns.rs`), this one must read too, and to the same.

use std::fmt::Debug;

use anyhow::{Context as _, Result, bail, ensure};
use hickory_proto::{
    op::{self, MessageType},
    rr,
    serialize::binary::{BinDecodable as _, BinEncodable as _, BinEncoder, NameEncoding},
};

use crate::dns::{Edns, Message, Record};

/// Sees that a message is to hickory-proto what it is to the plain decoder, whose records stand in the order in which
/// they came.
pub fn agrees(octets: &[u8], plain: &Message) -> Result<()> {
    let sections = [&plain.answer, &plain.authority, &plain.additional];
    let read = match op::Message::from_bytes(octets) {
        Ok(read) => read,
        Err(_) if sections.into_iter().flatten().any(is_unreadable) => return Ok(()),
        Err(error) => bail!("hickory-proto cannot read it: {error}"),
    };
    let header = read.metadata;
    same("identifiers", header.id, plain.id)?;
    same("flags", flags_of(&header), plain.flags & !0x0040)?;
    same("response codes", u16::from(header.response_code), plain.rcode)?;
    let edns = read
        .edns
        .as_ref()
        .map(|edns| Edns { payload: edns.max_payload(), dnssec_ok: edns.flags().dnssec_ok });
    same("EDNS", edns, plain.edns)?;
    let [question] = &read.queries[..] else { bail!("{} questions", read.queries.len()) };
    let mut asked = question.name().to_bytes()?;
    asked.extend(u16::from(question.query_type()).to_be_bytes());
    asked.extend(u16::from(question.query_class()).to_be_bytes());
    same("questions", &asked, &plain.question)?;
    for (theirs, ours) in
        [&read.answers, &read.authorities, &read.additionals].into_iter().zip(sections)
    {
        same("counts of records", theirs.len(), ours.len())?;
        for (theirs, ours) in theirs.iter().zip(ours) {
            let theirs = record(theirs).with_context(|| format!("{ours:?}"))?;
            // It keeps the letters of what it has no fields for, such as the signer of an RRSIG.
            let is_same = theirs.rdata.eq_ignore_ascii_case(&ours.rdata);
            ensure!(
                is_same,
                "RDATA of {ours:?} differs:\n{:02x?}\n{:02x?}",
                theirs.rdata,
                ours.rdata
            );
            same("records", Record { rdata: ours.rdata.clone(), ..theirs }, ours.clone())?;
        }
    }
    Ok(())
}

/// Whether hickory-proto 0.26 refuses a record that is right: one with RDATA of no octets (RFC 3597 section 5), and one
/// of a type for private use (RFC 6895 section 3.1) that it takes for ANAME of a draft.
fn is_unreadable(record: &Record) -> bool {
    const ANAME: u16 = 65305;
    record.rdata.is_empty() || record.rtype == ANAME
}

fn same<T: PartialEq + Debug>(what: &str, theirs: T, ours: T) -> Result<()> {
    ensure!(theirs == ours, "{what} differ: {theirs:?} to hickory-proto, {ours:?} here");
    Ok(())
}

/// The flags as they stand in the header, without the bit that is reserved and the response code.
fn flags_of(header: &op::Metadata) -> u16 {
    let bits = [
        (header.message_type == MessageType::Response, 15),
        (header.authoritative, 10),
        (header.truncation, 9),
        (header.recursion_desired, 8),
        (header.recursion_available, 7),
        (header.authentic_data, 5),
        (header.checking_disabled, 4),
    ];
    let flags: u16 = bits.iter().map(|&(is_set, place)| u16::from(is_set) << place).sum();
    flags | u16::from(u8::from(header.op_code)) << 11
}

/// A record with its names in full and in lower case.
fn record(read: &rr::Record) -> Result<Record> {
    let mut rdata = Vec::new();
    let mut encoder = BinEncoder::new(&mut rdata);
    encoder.set_canonical_form(true);
    encoder.set_name_encoding(NameEncoding::UncompressedLowercase);
    read.data.emit(&mut encoder)?;
    Ok(Record {
        owner: read.name.to_lowercase().to_bytes()?,
        rtype: u16::from(read.record_type()),
        class: u16::from(read.dns_class),
        ttl: read.ttl,
        rdata,
    })
}
