//! ANY: one RRset of the name, or a HINFO made for it (RFC 8482).

use super::*;
use crate::dnssec::any;
use crate::dnssec::verify::verify;

const ANY: Rtype = Rtype::ANY;

const RECORDS: &str = "both AAAA 2001:db8::1\nboth A 192.0.2.1\ntext TXT text\n\
    alias CNAME both\n*.w MX 10 both\n*.v CNAME both\ndeep.e.m.p.t.y SRV 1 1 1 both\n\
    pc HINFO PC Linux\npc A 192.0.2.2\ncut NS ns.cut\ncut DS 1 13 2 \
    00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n\
    ns.cut A 192.0.2.3\nd DNAME w";

/// What is said to ANY for each name: outcome, and the answer's owner and types.
fn said(zone: &Zone, expected: &[(&str, Outcome, &str)]) {
    let mut image = small_image();
    drop(image.publish(zone).expect("published"));
    let reader = image.reader();
    for (label, outcome, answer) in expected {
        let said = ask(&reader, &format!("{label}example.org."), ANY);
        assert_eq!(said.outcome, *outcome, "{label}");
        assert_eq!(said.answer.join(", "), *answer, "{label}");
    }
}

const NSEC3: Denial = Denial::Nsec3 { opt_out: false };

#[test]
fn one_rrset_stands_for_all() {
    let plain = zone("example.org.", 1, RECORDS);
    for denial in [Denial::Nsec, NSEC3] {
        said(
            &signed(&plain, denial),
            &[
                ("", Outcome::Positive, "example.org. NS, example.org. RRSIG"),
                ("both.", Outcome::Positive, "both.example.org. A, both.example.org. RRSIG"),
                ("text.", Outcome::Positive, "text.example.org. TXT, text.example.org. RRSIG"),
                // The CNAME itself, which is not followed.
                ("alias.", Outcome::Positive, "alias.example.org. CNAME, alias.example.org. RRSIG"),
                ("x.w.", Outcome::Wildcard, "x.w.example.org. MX, x.w.example.org. RRSIG"),
                ("x.v.", Outcome::Wildcard, "x.v.example.org. CNAME, x.v.example.org. RRSIG"),
                ("p.t.y.", Outcome::Nodata, ""),
                ("d.", Outcome::Positive, "d.example.org. DNAME, d.example.org. RRSIG"),
                ("cut.", Outcome::Referral, ""),
                ("x.cut.", Outcome::Referral, ""),
                ("none.", Outcome::Nxdomain, ""),
                ("pc.", Outcome::Positive, "pc.example.org. A, pc.example.org. RRSIG"),
            ],
        );
    }
    said(&plain, &[("both.", Outcome::Positive, "both.example.org. A")]);
}

#[test]
fn a_hinfo_is_made_for_every_name_that_has_no_better() {
    let plain = zone("example.org.", 1, RECORDS);
    for denial in [Denial::Nsec, NSEC3] {
        let signed = signed_for_any(&plain, denial, AnyResponse::Hinfo);
        said(
            &signed,
            &[
                ("", Outcome::Positive, "example.org. HINFO, example.org. RRSIG"),
                ("both.", Outcome::Positive, "both.example.org. HINFO, both.example.org. RRSIG"),
                ("alias.", Outcome::Positive, "alias.example.org. CNAME, alias.example.org. RRSIG"),
                ("x.w.", Outcome::Wildcard, "x.w.example.org. HINFO, x.w.example.org. RRSIG"),
                ("x.v.", Outcome::Wildcard, "x.v.example.org. CNAME, x.v.example.org. RRSIG"),
                ("p.t.y.", Outcome::Nodata, ""),
                ("d.", Outcome::Positive, "d.example.org. HINFO, d.example.org. RRSIG"),
                ("cut.", Outcome::Referral, ""),
                ("none.", Outcome::Nxdomain, ""),
                ("pc.", Outcome::Positive, "pc.example.org. A, pc.example.org. RRSIG"),
            ],
        );
        // It is no part of the zone, whose proofs do not list it.
        let in_zone = signed.owners().flat_map(|owner| owner.rrset(Rtype::HINFO).map(|_| owner));
        assert_eq!(in_zone.count(), 1);
        let mut image = small_image();
        drop(image.publish(&signed).expect("published"));
        let asked = ask(&image.reader(), "both.example.org.", Rtype::HINFO);
        assert_eq!((asked.outcome, asked.answer.len()), (Outcome::Nodata, 0));
    }
    let any_answers = any::unsigned(&plain).expect("a zone");
    said(
        &plain.with_any_answers(any_answers),
        &[("both.", Outcome::Positive, "both.example.org. HINFO")],
    );
}

#[test]
fn what_is_made_is_signed_and_verified() {
    let plain = zone("example.org.", 1, RECORDS);
    let without = signed(&plain, Denial::Nsec);
    let with = signed_for_any(&plain, Denial::Nsec, AnyResponse::Hinfo);
    let rrsets = |zone: &Zone| verify(zone, NOW).expect("valid").rrsets;
    // Names with authority but the two CNAMEs, the one with a HINFO, and the two below and at the cut.
    let names = plain.owners().len() - 2 - 1 - 2;
    assert_eq!(rrsets(&with), rrsets(&without) + names);

    // Signatures of another zone's keys.
    let other = signed_for_any(&plain, Denial::Nsec, AnyResponse::Hinfo);
    let forged = with.with_any_answers(other.any_answers().expect("hinfos").clone());
    let faults = verify(&forged, NOW).expect_err("forged");
    assert_eq!(faults.len(), names);
    assert!(faults.iter().all(|fault| fault.rtype == Rtype::HINFO), "{faults:?}");
}

#[test]
fn without_do_nothing_is_signed() {
    let signed =
        signed_for_any(&zone("example.org.", 1, RECORDS), Denial::Nsec, AnyResponse::Hinfo);
    let mut image = small_image();
    drop(image.publish(&signed).expect("published"));
    let mut plain = query(name("both.example.org.").as_wire(), ANY);
    let flags_at = plain.len() - 4;
    plain[flags_at] = 0;
    let mut response = Vec::new();
    let outcome = image.reader().answer(&plain, false, 1232, NOW, &mut response);
    assert_eq!(outcome, Outcome::Positive);
    let message = Message::from_bytes(&response).expect("a message");
    let answers: Vec<_> = message.answers.iter().map(|one| one.record_type().to_string()).collect();
    assert_eq!(answers, ["HINFO"]);
}
