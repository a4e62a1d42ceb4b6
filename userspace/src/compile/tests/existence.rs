//! Names that are there, that are not, and that lead to others.

use xdp_common::image::Store;
use xdp_common::state::plan::PLAN_LEN;

use super::*;

/// However many siblings there are, and however long what they begin with is the same.
#[test]
fn a_gap_is_found_among_any_number_of_siblings() {
    let mut random = 0x9e37_79b9_u64;
    // Of few letters, half of them behind twelve octets that are the same: what the index compares.
    let mut label = || {
        let mut text = String::new();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if random >> 63 != 0 {
            text.push_str("mmmmmmmmmmmm");
        }
        for place in 0..1 + (random >> 60 & 3) {
            text.push(char::from(b'a' + 6 * (random >> (20 + 3 * place) & 3) as u8));
        }
        text
    };
    let sizes = (1..40).chain([63, 64, 65, 100, 150]);
    for size in sizes {
        let mut siblings = BTreeSet::new();
        while siblings.len() < size {
            siblings.insert(label());
        }
        let records: String = siblings.iter().map(|label| format!("{label} TXT x\n")).collect();
        let signed = signed(&zone("example.", 1, &records), Denial::Nsec);
        let mut image = small_image();
        let _ = image.publish(&signed).expect("it fits");
        let reader = image.reader();
        for _ in 0..60 {
            let asked = label();
            if siblings.contains(&asked) {
                continue;
            }
            let before = siblings.range(..asked.clone()).next_back();
            let owner = before.map_or("example.".to_owned(), |one| format!("{one}.example."));
            let said = ask(&reader, &format!("{asked}.example."), Rtype::A);
            assert_eq!(said.code, ResponseCode::NXDomain);
            assert!(
                said.authority.contains(&format!("{owner} NSEC")),
                "{asked} among {size}: {:?}, not {owner}",
                said.authority
            );
        }
    }
}

#[test]
fn chains_of_cnames_are_followed_and_circles_end() {
    let records = "a CNAME b\nb CNAME c\nc A 192.0.2.1\nround CNAME about\nabout CNAME round\n\
                   into CNAME round\n*.c CNAME x.y\nx.y CNAME z.c\nself CNAME self\nwild CNAME x.w\n\
                   *.w CNAME c\nnone CNAME nowhere\n\
                   out CNAME www.example.net.\nd DNAME sub\nx.sub A 192.0.2.2\nvia CNAME x.d";
    let mut image = small_image();
    drop(image.publish(&zone("example.org.", 1, records)).expect("published"));
    let reader = image.reader();
    let answer = |qname: &str| {
        let said = ask(&reader, &format!("{qname}.example.org."), Rtype::A);
        let owners: Vec<String> =
            said.answer.iter().map(|record| record.replace(".example.org.", "")).collect();
        (said.code, owners.join(", "))
    };
    let good = ResponseCode::NoError;
    assert_eq!(answer("a"), (good, "a CNAME, b CNAME, c A".into()));
    assert_eq!(answer("wild"), (good, "wild CNAME, x.w CNAME, c A".into()));
    assert_eq!(answer("none"), (ResponseCode::NXDomain, "none CNAME".into()));
    assert_eq!(answer("out"), (good, "out CNAME".into()));
    assert_eq!(answer("x.d"), (good, "d DNAME, x.d CNAME, x.sub A".into()));
    assert_eq!(answer("via"), (good, "via CNAME, d DNAME, x.d CNAME, x.sub A".into()));
    assert_eq!(answer("self"), (good, "self CNAME".into()));
    assert_eq!(answer("round"), (good, "round CNAME, about CNAME".into()));
    assert_eq!(answer("about"), (good, "about CNAME, round CNAME".into()));
    assert_eq!(answer("x.c"), (good, "x.c CNAME, x.y CNAME, z.c CNAME".into()));
    assert_eq!(answer("into"), (good, "into CNAME, round CNAME, about CNAME".into()));
}

/// A chain of CNAMEs, of wildcards' CNAMEs and of DNAMEs, in any order: it is answered whole up to the bound, and past it as
/// far as it was followed, which is true and for the resolver to go on from.
#[test]
fn a_chain_of_any_length_is_followed_to_the_bound() {
    let bound = <Reader as Store>::MAX_CHAIN;
    for (seed, denial) in (0..300u64).flat_map(|seed| [(seed, None), (seed, Some(Denial::Nsec))]) {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut kind = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // A third of the chains are of one kind.
            if seed % 3 == 0 { seed / 3 % 3 } else { (random >> 33) % 3 }
        };
        let length = seed as usize % (2 * PLAN_LEN);
        let (mut records, mut whole) = (String::new(), Vec::new());
        for step in 0..length {
            let next = step + 1;
            match kind() {
                0 => records += &format!("x.s{step} CNAME x.s{next}\n"),
                1 => records += &format!("*.s{step} CNAME x.s{next}\n"),
                _ => {
                    records += &format!("s{step} DNAME s{next}\n");
                    whole.push(format!("s{step}.example. DNAME"));
                }
            }
            whole.push(format!("x.s{step}.example. CNAME"));
        }
        records += &format!("x.s{length} A 192.0.2.1\n");
        whole.push(format!("x.s{length}.example. A"));
        let plain = zone("example.", 1, &records);
        let mut image = small_image();
        let _ = image.publish(&denial.map_or(plain.clone(), |denial| signed(&plain, denial)));
        let (query, mut response) = (query(name("x.s0.example.").as_wire(), Rtype::A), Vec::new());
        let outcome = image.reader().answer(&query, true, 65535, NOW, &mut response);
        assert!(outcome.is_answered(), "{seed} {denial:?}: {outcome:?}");
        let message = Message::from_bytes(&response).expect("a message");
        let shown = message.answers.iter().map(|one| format!("{} {}", one.name, one.record_type()));
        let answer: Vec<String> = shown.filter(|one| !one.ends_with(" RRSIG")).collect();
        assert_eq!(message.metadata.response_code, ResponseCode::NoError, "{seed} {denial:?}");
        assert_eq!(answer, whole[..answer.len()], "{seed} {denial:?}");
        assert!(!answer.is_empty(), "{seed} {denial:?}");
        assert!(length > bound || answer == whole, "{seed} {denial:?}: {answer:?}");
        assert!(answer.len() < PLAN_LEN, "{seed} {denial:?}: {answer:?}");
    }
}

/// Which of the names of a random zone exist, by the plain reading of RFC 4592.
fn expected(zone: &Zone, qname: &Name) -> &'static str {
    let exists = |wire: &[u8]| {
        zone.owners().any(|owner| crate::zone::name::is_at_or_below(owner.name(), wire))
    };
    if exists(qname.as_wire()) {
        return "exists";
    }
    let mut encloser = qname.parent();
    while let Some(above) = encloser {
        if exists(above.as_wire()) {
            let wildcard = [b"\x01*", above.as_wire()].concat();
            return if exists(&wildcard) { "wildcard" } else { "nxdomain" };
        }
        encloser = above.parent();
    }
    "nxdomain"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// For every name asked, existence is as the zone's records say, and what is said of absence holds:
    /// the NSEC or NSEC3 chain is checked by the verifier of this crate, its use by the oracles.
    #[test]
    fn existence_is_what_the_records_say(
        owners in proptest::collection::vec("([ab*]\\.){0,3}[ab*]", 1..12),
        asked in proptest::collection::vec("([abc*]\\.){0,4}[abc]", 1..40),
        which in 0u8..3,
    ) {
        let records: String =
            owners.iter().map(|owner| format!("{owner} A 192.0.2.1\n")).collect();
        let plain = zone("example.org.", 1, &records);
        let zone = match which {
            0 => signed(&plain, Denial::Nsec),
            1 => signed(&plain, Denial::Nsec3 { opt_out: false }),
            _ => zone("example.org.", 1, &records),
        };
        let mut image = small_image();
        drop(image.publish(&zone).expect("published"));
        let reader = image.reader();
        for qname in &asked {
            let qname = format!("{qname}.example.org.");
            let said = ask(&reader, &qname, Rtype::A);
            let found = match said.outcome {
                Outcome::Positive | Outcome::Nodata => "exists",
                Outcome::Wildcard => "wildcard",
                Outcome::Nxdomain => "nxdomain",
                _ => "neither",
            };
            prop_assert_eq!(found, expected(&plain, &name(&qname)), "{} among {:?}", qname, owners);
            if which < 2 && said.outcome == Outcome::Nxdomain {
                let proofs = said.authority.iter().filter(|record| record.contains("NSEC"));
                prop_assert!(proofs.count() > 0);
            }
        }
    }
}
