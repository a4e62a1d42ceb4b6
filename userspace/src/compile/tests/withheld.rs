//! RRsets that a validator would refuse are in no answer to one, and every other answer is as ever.

use super::*;

const RECORDS: &str = "a A 192.0.2.1\na TXT \"one\"\n*.wild TXT \"any\"\nto CNAME a\nfrom DNAME to\n\
                       x.ent A 192.0.2.2\nsafe NS ns.safe\nsafe DS 1 13 2 \
                       0000000000000000000000000000000000000000000000000000000000000001\n\
                       ns.safe A 192.0.2.3\nunsafe NS ns.example.net.\n";

fn over_tcp(reader: &Reader, query: &[u8]) -> (Outcome, Vec<u8>) {
    let mut response = Vec::new();
    let outcome = reader.answer(query, true, 65_535, NOW, &mut response);
    (outcome, response)
}

/// Each signed RRset withheld, each query: the answers that have its signature are those that are not sent.
#[test]
fn what_is_withheld_is_in_no_answer_and_all_others_are_sent() {
    let plain = zone("example.org.", 1, RECORDS);
    let names = [
        "@", "a", "b", "x.a", "x.wild", "*.wild", "to", "x.from", "ent", "x.ent", "y.ent", "safe",
        "x.safe", "unsafe", "x.unsafe", "zz",
    ];
    let types = [
        Rtype::A,
        Rtype::TXT,
        Rtype::NS,
        Rtype::SOA,
        Rtype::DS,
        Rtype::DNSKEY,
        Rtype::NSEC,
        Rtype::MX,
    ];
    let queries: Vec<Vec<u8>> =
        names
            .iter()
            .map(|label| {
                if *label == "@" { "example.org.".into() } else { format!("{label}.example.org.") }
            })
            .flat_map(|qname| types.map(|rtype| query(name(&qname).as_wire(), rtype)))
            .collect();
    for denial in DENIALS.into_iter().flatten() {
        let whole = signed(&plain, denial);
        let mut image = image(4096 << 16, 1 << 12);
        drop(image.at(NOW).publish(&whole).expect("published"));
        let expected: Vec<_> =
            queries.iter().map(|query| over_tcp(&image.reader(), query)).collect();
        assert!(expected.iter().all(|(outcome, _)| outcome.is_answered()));
        let mut sent = BTreeSet::new();
        for owner in whole.owners() {
            let types = owner.rrsets().map(|rrset| rrset.rtype());
            for rtype in types.filter(|rtype| owner.signatures(*rtype).next().is_some()) {
                let rrset = (Name::from_wire(owner.name()).expect("a name"), rtype);
                let withholding = whole.clone().withholding([rrset.clone()].into());
                // In the place of the whole version, as it comes about.
                drop(image.at(NOW).publish(&withholding).expect("published"));
                let reader = image.reader();
                let rrsig = owner.signatures(rtype).next().expect("one");
                let signature = &rrsig[rrsig.len() - 64..];
                for (query, (outcome, response)) in queries.iter().zip(&expected) {
                    let has = response.windows(64).any(|part| part == signature);
                    let now = over_tcp(&reader, query);
                    match has {
                        true => {
                            assert_eq!(now.0, Outcome::Expired, "{rrset:?} {query:?}");
                            sent.insert(rrset.clone());
                        }
                        false => assert_eq!(now, (*outcome, response.clone()), "{rrset:?}"),
                    }
                }
                drop(image.at(NOW).publish(&whole).expect("published"));
            }
        }
        // Nearly all of them are in some answer; with NSEC3 the names' hashes decide about those of proofs.
        assert!(sent.len() > 10, "{sent:?}");
        let again: Vec<_> = queries.iter().map(|query| over_tcp(&image.reader(), query)).collect();
        assert_eq!(again, expected);
    }
}
