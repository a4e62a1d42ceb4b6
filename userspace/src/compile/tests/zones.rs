//! Zones side by side, one below the other, and held in part.

use super::*;

#[test]
fn a_child_zone_hides_its_cut_but_not_the_ds() {
    let parent = "sub NS ns.sub\nns.sub A 192.0.2.9\nsub DS 1 13 2 \
                  00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\nx A 192.0.2.1";
    for child_first in [false, true] {
        let mut image = small_image();
        let parent = signed(&zone("example.org.", 1, parent), Denial::Nsec);
        let child = zone("sub.example.org.", 1, "www A 192.0.2.7");
        let order = if child_first { [&child, &parent] } else { [&parent, &child] };
        for zone in order {
            drop(image.publish(zone).expect("published"));
        }
        let reader = image.reader();
        let www = ask(&reader, "www.sub.example.org.", Rtype::A);
        assert_eq!(www.answer, ["www.sub.example.org. A"]);
        let ds = ask(&reader, "sub.example.org.", Rtype::DS);
        assert_eq!(ds.answer, ["sub.example.org. DS", "sub.example.org. RRSIG"]);
        assert_eq!(ask(&reader, "sub.example.org.", Rtype::SOA).answer.len(), 1);

        // The parent changes, the child stays; then the child goes, and the parent refers again.
        drop(image.publish(&parent).expect("published"));
        assert_eq!(ask(&image.reader(), "sub.example.org.", Rtype::DS).answer.len(), 2);
        drop(image.remove(&name("sub.example.org.")));
        let reader = image.reader();
        assert_eq!(ask(&reader, "www.sub.example.org.", Rtype::A).outcome, Outcome::Referral);
        assert_eq!(ask(&reader, "sub.example.org.", Rtype::DS).answer.len(), 2);
        drop(image.remove(&name("example.org.")));
        assert_eq!(image.usage().entries, 0);
    }
}

#[test]
fn zones_apart_do_not_see_each_other() {
    let mut image = small_image();
    drop(image.publish(&zone("example.org.", 1, "a A 192.0.2.1")).expect("published"));
    drop(image.publish(&zone("example.com.", 1, "a A 192.0.2.1")).expect("published"));
    let reader = image.reader();
    assert_eq!(ask(&reader, "a.example.com.", Rtype::A).answer.len(), 1);
    for qname in ["org.", ".", "other.org.", "example.net.", "xexample.org."] {
        assert_eq!(ask(&reader, qname, Rtype::A).outcome, Outcome::NotOurs, "{qname}");
    }
    // The root zone encloses what no other zone does.
    drop(image.publish(&zone(".", 1, "net NS ns.example.net.")).expect("published"));
    let reader = image.reader();
    assert_eq!(ask(&reader, "other.org.", Rtype::A).code, ResponseCode::NXDomain);
    assert_eq!(ask(&reader, "example.net.", Rtype::A).outcome, Outcome::Referral);
    assert_eq!(ask(&reader, "a.example.com.", Rtype::A).answer.len(), 1);
}

#[test]
fn a_reader_sees_names_deeper_than_any_before_it() {
    let mut image = small_image();
    drop(image.publish(&zone("example.org.", 1, "a A 192.0.2.1")).expect("published"));
    let reader = image.reader();
    let deep = "e.d.c.b.a A 192.0.2.1\n*.d.c.b.a TXT \"deep\"";
    drop(image.publish(&zone("example.org.", 2, deep)).expect("published"));
    assert_eq!(ask(&reader, "x.d.c.b.a.example.org.", Rtype::TXT).outcome, Outcome::Wildcard);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A part of a zone answers as the whole does, or not at all; what it has, it answers.
    #[test]
    fn a_part_says_nothing_that_the_whole_does_not(
        owners in proptest::collection::vec(("([ab*]\\.){0,3}[ab*]", 0u8..6, any::<bool>()), 1..14),
        asked in proptest::collection::vec("([abc*]\\.){0,4}[abc]", 1..30),
        denial in 0usize..4,
    ) {
        let mut records = String::from("*.a.a A 192.0.2.1\n");
        for (owner, kind, _) in &owners {
            let is_cname = |(other, kind, _): &&(String, u8, bool)| other == owner && *kind > 3;
            records += &match kind {
                _ if owners.iter().any(|one| is_cname(&one)) => {
                    format!("{owner} CNAME {}\n", owners[0].0)
                }
                3 if !owner.starts_with('*') => format!("{owner} NS ns.{owner}\n"),
                kind => format!("{owner} A 192.0.2.{kind}\n"),
            };
        }
        prop_assume!(!owners.iter().any(|(owner, kind, _)| owner == "*.a.a" && *kind > 3));
        let plain = zone("example.org.", 1, &records);
        let versions = versions(&[&plain], DENIALS[denial]);
        let chosen = owners.iter().filter(|(_, _, is_chosen)| *is_chosen);
        let chosen: std::collections::BTreeSet<Name> =
            chosen.map(|(owner, ..)| name(&format!("{owner}.example.org."))).collect();
        let (mut part, mut whole) = (small_image(), small_image());
        drop(whole.publish(&versions[0]).expect("published"));
        drop(part.publish_partial(&versions[0], &chosen).expect("published"));
        let (reader, expected) = (part.reader(), whole.reader());
        let mut answered = 0;
        let asked = asked.iter().map(|asked| name(&format!("{asked}.example.org.")));
        for qname in asked.chain(chosen.iter().cloned()).chain([name("example.org.")]) {
            for rtype in [Rtype::A, Rtype::NS, Rtype::NSEC, Rtype::DS, Rtype::SOA] {
                let query = query(qname.as_wire(), rtype);
                let mut response = Vec::new();
                let outcome = reader.answer(&query, false, 1232, NOW, &mut response);
                if outcome == Outcome::Miss {
                    continue;
                }
                answered += 1;
                prop_assert_eq!(&response, &answer(&expected, &query), "{} {}", qname, rtype);
            }
        }
        prop_assert!(answered >= 5, "the apex is always there");
        // The whole takes the part's place, and the other way round.
        for _ in 0..2 {
            let (_, retired) = part.publish(&versions[0]).expect("published");
            part.release(retired);
            let query = query(name("c.example.org.").as_wire(), Rtype::A);
            prop_assert_eq!(answer(&part.reader(), &query), answer(&expected, &query));
            let (_, retired) = part.publish_partial(&versions[0], &chosen).expect("published");
            part.release(retired);
            prop_assert_eq!(answer(&part.reader(), &query), Vec::<u8>::new());
        }
        let retired = part.remove(&name("example.org."));
        part.release(retired);
        prop_assert_eq!((part.usage().slab_octets, part.usage().entries), (0, 0));
    }
}
