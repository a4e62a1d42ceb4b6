//! Answers larger than pointers reach, and larger than messages: what is said of them, and what is served beside.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::serialize::binary::BinDecodable;
use xdp_common::Outcome;

use super::super::{CompileError, Reader, Unsendable, UnsendableKind, check, faults};
use super::{DENIALS, NOW, ask, image, name, query, signed, versions, zone};
use crate::dnssec::denial::ParametersError;
use crate::dnssec::policy::Denial;
use crate::zone::{Rtype, Zone};

/// The greatest offset that a compression pointer reaches (RFC 1035 section 4.1.4).
const MAX_POINTER: usize = 0x3fff;

fn reader_of(zone: &Zone) -> Reader {
    let mut image = image(4096 << 16, 1 << 12);
    drop(image.publish(zone).expect("published"));
    image.reader()
}

/// What comes over TCP to a question with DO set.
fn over_tcp(reader: &Reader, qname: &str, rtype: Rtype) -> (Outcome, Vec<u8>) {
    let mut response = Vec::new();
    let query = query(name(qname).as_wire(), rtype);
    let outcome = reader.answer(&query, true, 65535, NOW, &mut response);
    (outcome, response)
}

/// Owner, type and RDATA.
type Record = (Vec<u8>, u16, Vec<u8>);

/// Every record of a message, names in full, by a walk of the test's own that takes
/// pointers to what lies before them only; and the offsets that pointers lead to.
fn taken_apart(message: &[u8]) -> (Vec<Record>, Vec<usize>) {
    let mut pointers = Vec::new();
    let mut at = 12;
    let mut read_name = |at: &mut usize| {
        let (mut wire, mut place, mut end) = (Vec::new(), *at, None);
        loop {
            let len = usize::from(message[place]);
            if len >= 0xc0 {
                let target = (len & 0x3f) << 8 | usize::from(message[place + 1]);
                assert!(target < place, "a pointer leads forward, from {place} to {target}");
                pointers.push(target);
                end.get_or_insert(place + 2);
                place = target;
                continue;
            }
            assert!(len < 64, "no label at {place}");
            wire.extend(message[place..=place + len].to_ascii_lowercase());
            place += 1 + len;
            if len == 0 {
                break;
            }
        }
        *at = end.unwrap_or(place);
        assert!(wire.len() <= 255);
        wire
    };
    let count = |at: usize| usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    read_name(&mut at);
    at += 4;
    let mut records = Vec::new();
    for _ in 0..count(6) + count(8) + count(10) {
        let owner = read_name(&mut at);
        let rtype = count(at) as u16;
        let end = at + 10 + count(at + 8);
        at += 10;
        let mut rdata = Vec::new();
        let (before, names) = match Rtype(rtype) {
            Rtype::NS | Rtype::CNAME => (0, 1),
            Rtype::MX => (2, 1),
            Rtype::SOA => (0, 2),
            _ => (0, 0),
        };
        rdata.extend(&message[at..at + before]);
        at += before;
        for _ in 0..names {
            rdata.extend(read_name(&mut at));
        }
        assert!(at <= end, "RDATA ends before its names do");
        rdata.extend(&message[at..end]);
        at = end;
        records.push((owner, rtype, rdata));
    }
    assert_eq!(at, message.len(), "the message ends with its last record");
    (records, pointers)
}

/// Records of `TXT` that take so many octets of a message.
fn text(owner: &str, octets: usize) -> String {
    // Pointer, type, class, TTL, length, and the length of the string.
    const HEAD: usize = 12 + 1;
    let mut rest = octets;
    let mut out = String::new();
    let mut number = 0;
    while rest > 0 {
        // Never less than a number and a head are left.
        let len = match rest {
            536.. => 268,
            269.. => 134,
            _ => rest,
        };
        out += &format!("{owner} TXT \"{number:04}{}\"\n", "x".repeat(len - HEAD - 4));
        number += 1;
        rest -= len;
    }
    out
}

/// Whatever comes behind octet 16,383 of a message, at every octet around it: an answer's proof, a second one, a
/// CNAME's target, glue. All of it is there, and no pointer leads where none reaches.
#[test]
fn names_behind_the_reach_of_pointers_are_written_out() {
    // With the question, of up to 32 octets, and OPT; the signature of an RRset has some hundred.
    let sizes = (16_000..16_420).step_by(1);
    for start in sizes.step_by(70) {
        let mut records = String::from("to A 192.0.2.1\nto.y.z A 192.0.2.1\n");
        for size in start..start + 70 {
            records += &text(&format!("*.w{size}"), size);
            // The RRset comes behind a CNAME.
            records += &format!("alias{size} CNAME x.w{size}\n");
        }
        let plain = zone("large.example.", 1, &records);
        for denial in DENIALS {
            let zone = versions(&[&plain], denial).remove(0);
            let reader = reader_of(&zone);
            let mut far = 0;
            for size in start..start + 70 {
                for (qname, cnames) in [
                    (format!("x.w{size}.large.example."), 0),
                    (format!("long-label-in-front.w{size}.large.example."), 0),
                    (format!("alias{size}.large.example."), 1),
                ] {
                    let (outcome, message) = over_tcp(&reader, &qname, Rtype::TXT);
                    assert!(outcome.is_answered(), "{qname} {denial:?}: {outcome:?}");
                    let (found, pointers) = taken_apart(&message);
                    assert!(pointers.iter().all(|&pointer| pointer <= MAX_POINTER));
                    far += usize::from(message.len() > MAX_POINTER + 1);
                    let texts = text("x", size).lines().count();
                    let of =
                        |rtype: Rtype| found.iter().filter(|one| Rtype(one.1) == rtype).count();
                    assert_eq!((of(Rtype::TXT), of(Rtype::CNAME)), (texts, cnames), "{qname}");
                    let proofs = of(Rtype::NSEC) + of(Rtype::NSEC3);
                    assert_eq!(proofs > 0, denial.is_some(), "{qname}");
                    // Every proof is a record of the zone, as it stands there, and so is its signature.
                    for (owner, rtype, rdata) in &found {
                        if matches!(Rtype(*rtype), Rtype::NSEC | Rtype::NSEC3) {
                            let known = zone.find(owner).and_then(|at| at.rrset(Rtype(*rtype)));
                            let known =
                                known.is_some_and(|known| known.rdatas().any(|one| one == rdata));
                            assert!(known, "{qname}: {owner:02x?} is no proof");
                            let is_of_it = |one: &&(Vec<u8>, u16, Vec<u8>)| {
                                one.0 == *owner
                                    && one.1 == Rtype::RRSIG.0
                                    && one.2[..2] == rtype.to_be_bytes()
                            };
                            assert_eq!(found.iter().filter(is_of_it).count(), 1, "{qname}");
                        }
                    }
                }
            }
            assert!(far > 0 || denial.is_none() || start < 16_200, "none was long");
        }
    }
}

/// A delegation to so many servers that their addresses stand where pointers do not reach.
#[test]
fn glue_behind_the_reach_of_pointers_is_whole() {
    for servers in (400..=1100).step_by(25).chain([2000]) {
        let mut records = String::new();
        for n in 0..servers {
            records +=
                &format!("sub NS n{n}.sub\nn{n}.sub A 192.0.2.1\nn{n}.sub AAAA 2001:db8::1\n");
        }
        let plain = zone("large.example.", 1, &records);
        for denial in [DENIALS[0], DENIALS[1]] {
            let zone = versions(&[&plain], denial).remove(0);
            let (outcome, message) = over_tcp(&reader_of(&zone), "x.sub.large.example.", Rtype::A);
            assert_eq!(outcome, Outcome::Referral, "{servers}");
            let (found, pointers) = taken_apart(&message);
            assert!(pointers.iter().all(|&pointer| pointer <= MAX_POINTER));
            // What there is no room for is left out, TC says so (RFC 9471 section 3.1), and so does the check.
            let is_cut = message[2] & 2 != 0;
            // The proof that there is no DS has its place, too, where 900 servers have just enough.
            assert_eq!(is_cut, servers > if denial.is_none() { 900 } else { 875 }, "{servers}");
            let told = check(&zone, NOW).expect("it can be served");
            let is_told = told.iter().any(|one| one.kind == UnsendableKind::Glue);
            assert_eq!(is_told, servers > 900, "{servers}: {told:?}");
            if is_cut {
                assert!(message.len() + 40 > 65_535, "{servers}: {} octets", message.len());
                let read = Message::from_bytes(&message).expect("a message");
                assert!(read.additionals.len() < 2 * servers && read.authorities.len() >= servers);
                continue;
            }
            for n in 0..servers {
                let owner = name(&format!("n{n}.sub.large.example."));
                let is_of_it = |one: &&(Vec<u8>, u16, Vec<u8>)| one.0 == owner.as_wire();
                assert_eq!(found.iter().filter(is_of_it).count(), 2, "n{n} of {servers}");
            }
            // A reader of another house takes it apart, too.
            assert_eq!(
                Message::from_bytes(&message).expect("a message").additionals.len(),
                2 * servers
            );
        }
    }
}

/// One RRset that no message carries does not take its zone away: who asks for it is told SERVFAIL, all else is as
/// ever, and whoever checks the zone is told of it.
#[test]
fn what_no_message_carries_takes_nothing_else_away() {
    let types: String = (0..129).map(|n| format!("many TYPE{} \\# 1 00\n", 1000 + n)).collect();
    let fits: String = (0..128).map(|n| format!("fits TYPE{} \\# 1 00\n", 1000 + n)).collect();
    let servers: String =
        (0..5000).map(|n| format!("cut NS a-name-server-{n}.example.net.\n")).collect();
    let records = text("big", 66_000)
        + &text("*.wild", 66_000)
        + &types
        + &fits
        + &servers
        + "big A 192.0.2.1\nmany DNAME to\nx.to A 192.0.2.2\nbelow.big A 192.0.2.3\nto.big A 192.0.2.4\n";
    let plain = zone("large.example.", 1, &records);
    for denial in DENIALS {
        // One for the NSEC: with it the name that fits has one more than fits.
        let zone = versions(&[&plain], denial).remove(0);
        let has_nsec =
            zone.find(name("fits.large.example.").as_wire()).expect("there").rrset(Rtype::NSEC);
        let mut expected: Vec<Unsendable> = [
            ("big", UnsendableKind::Rrset(Rtype::TXT)),
            ("*.wild", UnsendableKind::Rrset(Rtype::TXT)),
            ("many", UnsendableKind::Types),
            ("cut", UnsendableKind::Referral),
        ]
        .into_iter()
        .chain(has_nsec.map(|_| ("fits", UnsendableKind::Types)))
        .map(|(owner, kind)| Unsendable { owner: name(&format!("{owner}.large.example.")), kind })
        .collect();
        expected.sort();
        assert_eq!(check(&zone, NOW), Ok(expected.clone()), "{denial:?}");
        let mut image = image(4096 << 16, 1 << 12);
        drop(image.publish(&zone).expect("published all the same"));
        assert_eq!(image.unsendable(zone.apex()), expected);
        let reader = image.reader();
        for (qname, rtype, outcome) in [
            ("big", Rtype::TXT, Outcome::Oversize),
            ("big", Rtype::A, Outcome::Positive),
            ("big", Rtype::MX, Outcome::Nodata),
            ("below.big", Rtype::A, Outcome::Positive),
            ("nothing.big", Rtype::A, Outcome::Nxdomain),
            ("x.wild", Rtype::TXT, Outcome::Oversize),
            ("x.wild", Rtype::A, Outcome::Wildcard),
            ("many", Rtype(1000), Outcome::Oversize),
            ("many", Rtype::A, Outcome::Oversize),
            ("x.many", Rtype::A, Outcome::Dname),
            ("cut", Rtype::A, Outcome::Oversize),
            ("x.cut", Rtype::A, Outcome::Oversize),
            ("x.to", Rtype::A, Outcome::Positive),
            ("nobody", Rtype::A, Outcome::Nxdomain),
        ] {
            let qname = format!("{qname}.large.example.");
            let (said, message) = over_tcp(&reader, &qname, rtype);
            let said =
                if said == Outcome::Positive && outcome == Outcome::Dname { outcome } else { said };
            assert_eq!(said, outcome, "{qname} {rtype} {denial:?}");
            if said.is_answered() {
                let message = Message::from_bytes(&message).expect("a message");
                assert_ne!(message.metadata.response_code, ResponseCode::ServFail);
            }
            let mut response = Vec::new();
            let query = query(name(&qname).as_wire(), rtype);
            let over_udp = reader.answer(&query, false, 1232, NOW, &mut response);
            // What is too large for TCP is first asked for over it.
            let is_told = matches!(over_udp, Outcome::Truncated | Outcome::Oversize);
            assert_eq!(is_told, !said.is_answered(), "{qname} {rtype}: {over_udp:?}");
        }
        let fits = over_tcp(&reader, "fits.large.example.", Rtype(1000)).0;
        assert_eq!(fits.is_answered(), has_nsec.is_none(), "{fits:?}");
        let told = faults(&zone, NOW);
        assert!(told.iter().all(|(_, text)| text.contains("SERVFAIL")), "{told:?}");
    }
}

/// RRsets around the bound, octet by octet: what is said to fit is sent whole, and what is not is named before.
#[test]
fn the_bound_of_a_message_is_met_to_the_octet() {
    // The longest message, less header, question and OPT.
    let qname = "t.large.example.";
    let room = 65_535 - 12 - (name(qname).as_wire().len() + 4) - 11;
    for size in room - 3..=room + 3 {
        let zone = zone("large.example.", 1, &text("t", size));
        let unsendable = check(&zone, NOW).expect("it can be served");
        assert_eq!(unsendable.is_empty(), size <= room, "{size}");
        let (outcome, message) = over_tcp(&reader_of(&zone), qname, Rtype::TXT);
        assert_eq!(outcome == Outcome::Oversize, size > room, "{size}: {outcome:?}");
        if size <= room {
            assert_eq!(message.len(), 65_535 - (room - size));
        }
    }
}

/// Whatever the daemon would refuse is an error of the check, in the same words.
#[test]
fn what_is_not_served_is_told_as_the_daemon_tells_it() {
    let parameters = |salt: &str, iterations: u16| {
        zone("example.org.", 1, &format!("@ NSEC3PARAM 1 0 {iterations} {salt}"))
    };
    for (zone, error) in [
        (parameters("-", 51), CompileError::Nsec3Parameters(ParametersError::Iterations(51))),
        (parameters("-", 65535), CompileError::Nsec3Parameters(ParametersError::Iterations(65535))),
        (parameters("ab", 0), CompileError::NoNsec3),
        (
            zone("example.org.", 1, "@ NSEC3PARAM 7 0 0 -"),
            CompileError::Nsec3Parameters(ParametersError::HashAlgorithm(7)),
        ),
    ] {
        assert_eq!(check(&zone, NOW), Err(error.clone()));
        let mut image = image(64 << 16, 64);
        let refused = image.publish(&zone).map(|_| ()).expect_err("refused").to_string();
        assert_eq!(refused, error.to_string());
        let told = faults(&zone, NOW);
        assert_eq!(told.len(), 1);
        assert!(told[0].1.ends_with(&refused), "{told:?}");
        if let Err(found) = crate::dnssec::verify::verify(&zone, NOW) {
            assert!(!found.is_empty());
        }
    }
}

#[test]
fn a_large_rrset_is_truncated_over_udp_and_whole_over_tcp() {
    let records: String = (0..300).map(|n| format!("big TXT \"{:0200}\"\n", n)).collect();
    let mut image = image(64 << 16, 64);
    drop(
        image
            .publish(&signed(&zone("example.org.", 1, &records), Denial::Nsec))
            .expect("published"),
    );
    let reader = image.reader();
    assert_eq!(ask(&reader, "big.example.org.", Rtype::TXT).outcome, Outcome::Truncated);
    let mut response = Vec::new();
    let query = query(name("big.example.org.").as_wire(), Rtype::TXT);
    assert_eq!(reader.answer(&query, true, 65535, NOW, &mut response), Outcome::Positive);
    assert!(response.len() > 300 * 200);
    assert_eq!(Message::from_bytes(&response).expect("a message").answers.len(), 301);
}
