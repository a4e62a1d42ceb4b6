//! What a catalog lists: read as a whole, and by what changed.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::zone::text::{self, Options};
use crate::zone::{Serial, Version};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A version of the catalog `cat.` with these records.
fn catalog(records: &str) -> Version {
    let head = "$ORIGIN cat.\n$TTL 0\n@ SOA invalid. invalid. 1 3600 600 86400 0\n@ NS invalid.\n";
    let text = format!("{head}{records}").into_bytes();
    let mut none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let read = text::parse(text, "cat", &name("cat"), Options::default(), &mut none);
    Version::of(read.unwrap().zone)
}

const V2: &str = "version TXT \"2\"\n";

/// Whom each zone is listed by, with its groups.
fn listed(members: &Members) -> Vec<(String, String, Vec<String>)> {
    let listed = members.iter();
    let row = |(zone, member): (&Name, &Member)| {
        (zone.to_string(), member.label.to_string(), member.groups.clone())
    };
    listed.map(row).collect()
}

#[test]
fn members_and_their_properties_are_read() {
    let zone = catalog(&format!(
        "{V2}a.zones PTR One.example.\ngroup.a.zones TXT \"gold\"\ngroup.a.zones TXT \"a\" \"b\"\n\
         b.zones PTR two.example.\ncoo.b.zones PTR Other.\n\
         other.zones TXT \"what is this\"\nx.y.z.zones PTR three.example.\n\
         coo.none.zones PTR other.\nelsewhere PTR four.example.\nzones PTR five.example.\n\
         ext.a.zones TXT \"ignored\"\n"
    ));
    let mut members = Members::default();
    let changes = members.follow(None, &zone).unwrap();
    assert_eq!(changes.len(), 2);
    let groups = vec!["ab".to_owned(), "gold".to_owned()];
    let expected = [
        ("one.example.".to_owned(), "a".to_owned(), groups),
        ("two.example.".to_owned(), "b".to_owned(), vec![]),
    ];
    assert_eq!(listed(&members), expected);
    assert_eq!(members.get(&name("two.example")).unwrap().moves_to, Some(name("other")));
}

#[test]
fn what_is_broken_changes_nothing_and_is_said() {
    let good = catalog(&format!("{V2}a.zones PTR one.\n"));
    let mut members = Members::default();
    members.follow(None, &good).unwrap();
    for (records, said) in [
        ("b.zones PTR two.\n", "it has no TXT record `version`"),
        ("version A 192.0.2.1\n", "it has no TXT record `version`"),
        ("version TXT \"1\"\n", "is not \"2\""),
        ("version TXT \"2\" \"2\"\n", "is not \"2\""),
        ("version TXT \"2\"\nversion TXT \"3\"\n", "more than one TXT record `version`"),
        (
            "version TXT \"2\"\nb.zones PTR two.\nb.zones PTR three.\n",
            "node b has more than one PTR",
        ),
        ("version TXT \"2\"\na.zones PTR two.\nb.zones PTR two.\n", "the zone two. more than once"),
        ("version TXT \"2\"\na.zones PTR one.\nb.zones PTR one.\n", "the zone one. more than once"),
        (
            "version TXT \"2\"\nb.zones PTR two.\ncoo.b.zones PTR c.\ncoo.b.zones PTR d.\n",
            "more than one PTR record `coo`",
        ),
    ] {
        let broken = catalog(records);
        for before in [None, Some(&good)] {
            let mut after = members.clone();
            let error = after.follow(before, &broken).unwrap_err().to_string();
            assert!(error.contains(said), "{error} for {records}");
            assert_eq!(after, members, "{records}");
        }
    }
}

#[test]
fn another_label_is_a_change_and_nodes_may_exchange_their_zones() {
    let one = catalog(&format!("{V2}a.zones PTR one.\nb.zones PTR two.\n"));
    let two = catalog(&format!("{V2}a.zones PTR two.\nb.zones PTR one.\n"));
    let three = catalog(&format!("{V2}c.zones PTR two.\nb.zones PTR one.\n"));
    let mut members = Members::default();
    members.follow(None, &one).unwrap();
    let label = |change: &MemberChange| {
        (change.zone.to_string(), change.member.as_ref().map(|member| member.label.to_string()))
    };
    let changes = members.follow(Some(&one), &two).unwrap();
    let expected = [("one.".to_owned(), Some("b".to_owned())), ("two.".into(), Some("a".into()))];
    assert_eq!(changes.iter().map(label).collect::<Vec<_>>(), expected);
    let changes = members.follow(Some(&two), &three).unwrap();
    assert_eq!(changes.iter().map(label).collect::<Vec<_>>(), [("two.".into(), Some("c".into()))]);
}

#[test]
fn a_catalog_that_is_made_lists_what_it_was_made_of() {
    let member = |zone: &str, group: Option<&str>| MadeMember {
        zone: name(zone),
        group: group.map(str::to_owned),
    };
    let zones = [member("one.example", Some("gold")), member("two", None), member(".", None)];
    let first = Version::of(made(&name("cat"), Serial(7), &zones).unwrap());
    let mut members = Members::default();
    members.follow(None, &first).unwrap();
    let groups: Vec<_> =
        members.iter().map(|(zone, member)| (zone.to_string(), member.groups.clone())).collect();
    let expected = [
        (".".to_owned(), vec![]),
        ("one.example.".to_owned(), vec!["gold".to_owned()]),
        ("two.".to_owned(), vec![]),
    ];
    assert_eq!(groups, expected);
    let fewer = Version::of(made(&name("cat"), Serial(8), &zones[1..]).unwrap());
    let changes = members.follow(Some(&first), &fewer).unwrap();
    let gone = MemberChange { zone: name("one.example"), member: None };
    assert_eq!(changes, [gone]);
    assert_eq!(first.soa_fields().unwrap().serial, Serial(7));
}

/// By number of the node: the numbers of its zone and its group.
type Nodes = BTreeMap<u8, (u8, u8)>;

/// Each node with its zone; zones are never listed twice.
fn text_of(nodes: &Nodes) -> String {
    let mut listed = Vec::new();
    let mut text = V2.to_owned();
    for (node, (zone, group)) in nodes {
        if !listed.contains(zone) {
            listed.push(*zone);
            text += &format!("n{node}.zones PTR z{zone}.\n");
            if *group > 0 {
                text += &format!("group.n{node}.zones TXT \"g{group}\"\n");
            }
        }
    }
    text
}

proptest! {
    /// Following step by step comes to what each version says as a whole, and says what changed.
    #[test]
    fn steps_come_to_the_whole(steps in vec(btree_map(0..9u8, (0..9u8, 0..3u8), 0..9), 1..6)) {
        let mut members = Members::default();
        let mut before: Option<Version> = None;
        for nodes in &steps {
            let now = catalog(&text_of(nodes));
            let mut whole = Members::default();
            whole.follow(None, &now).unwrap();
            let known = members.clone();
            let changes = members.follow(before.as_ref(), &now).unwrap();
            prop_assert_eq!(&members, &whole);
            for change in &changes {
                prop_assert_eq!(whole.get(&change.zone), change.member.as_ref());
                prop_assert_ne!(known.get(&change.zone), change.member.as_ref());
            }
            let differs = |(zone, member): &(&Name, &Member)| known.get(zone) != Some(*member);
            let more = whole.iter().filter(differs).count();
            let fewer = known.iter().filter(|(zone, _)| whole.get(zone).is_none()).count();
            prop_assert_eq!(changes.len(), more + fewer);
            before = Some(now);
        }
    }
}
