//! Of which catalog a zone is: clashes, changes of ownership, other labels, other configurations.

use std::path::Path;

use super::*;
use crate::zone::text::{self, Options};

const CONFIG: &str = "version = \"v1\"\n\
    [template.member]\nfile = \"{zone}\"\ndnssec = \"off\"\n\
    [template.gold]\nfile = \"gold/{zone}\"\n\
    [[zone]]\nname = \"one.cat\"\nfile = \"1\"\ncatalog = \"consume\"\nmember-template = \"member\"\n\
    member-groups = { gold = \"gold\" }\n\
    [[zone]]\nname = \"two.cat\"\nfile = \"2\"\ncatalog = \"consume\"\nmember-template = \"member\"\n\
    [[zone]]\nname = \"own\"\nfile = \"own\"\n";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

struct Stage {
    catalogs: Catalogs,
    config: Config,
}

impl Stage {
    fn new() -> Stage {
        let config = Config::parse(CONFIG, Path::new("sealdns.toml")).unwrap();
        Stage { catalogs: Catalogs::default(), config }
    }

    /// The catalog has these records now. What becomes of zones: `-` goes, `+` is served, `!` is another.
    fn follow(&mut self, catalog: &str, records: &str) -> Vec<String> {
        let apex = name(catalog);
        let text = format!(
            "$ORIGIN {apex}\n$TTL 0\n@ SOA invalid. invalid. 1 3600 600 86400 0\n@ NS invalid.\n\
             version TXT \"2\"\n{records}\n"
        );
        let mut none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let read = text::parse(text.into_bytes(), "cat", &apex, Options::default(), &mut none);
        let version = Version::of(read.unwrap().zone);
        self.catalogs.check(&apex, &version).unwrap();
        let config = &self.config;
        let is_configured = |zone: &Name| config.zones().any(|section| section.name == *zone);
        let steps = self.catalogs.follow(&apex, &version, config, &is_configured);
        steps.iter().map(shown).collect()
    }

    /// Another configuration; the members that are served by it.
    fn configure(&mut self, config: &str) -> Vec<String> {
        self.config = Config::parse(config, Path::new("sealdns.toml")).unwrap();
        let config = &self.config;
        let is_configured = |zone: &Name| config.zones().any(|section| section.name == *zone);
        let served = self.catalogs.reconsider(config, &is_configured);
        served
            .iter()
            .map(|(section, member)| format!("{} {}", section.name, member.catalog))
            .collect()
    }

    fn refused(&self, catalog: &str) -> Vec<String> {
        let refused = self.catalogs.summary(&name(catalog)).refused;
        refused.iter().map(|(zone, why)| format!("{zone} {why}")).collect()
    }
}

fn shown(step: &Step) -> String {
    match step {
        Step::Remove(zone) => format!("- {zone}"),
        Step::Serve { section, membership, is_reset } => {
            let sign = if *is_reset { "!" } else { "+" };
            format!("{sign} {} {} {}", section.name, membership.catalog, section.file.display())
        }
    }
}

#[test]
fn members_come_go_and_have_the_templates_of_their_groups() {
    let mut stage = Stage::new();
    let steps = stage.follow("one.cat", "a.zones PTR a.\ngroup.a.zones TXT gold\nb.zones PTR b.\n");
    assert_eq!(steps, ["+ a. one.cat. gold/a", "+ b. one.cat. b"]);
    assert_eq!(
        stage.follow("one.cat", "b.zones PTR b.\nc.zones PTR c.\n"),
        ["- a.", "+ c. one.cat. c"]
    );
    let steps = stage.follow("one.cat", "b.zones PTR b.\ngroup.b.zones TXT gold\nd.zones PTR c.\n");
    assert_eq!(steps, ["+ b. one.cat. gold/b", "! c. one.cat. c"]);
    let groups = "group.b.zones TXT lead\nb.zones PTR b.\nd.zones PTR c.\n";
    assert_eq!(stage.follow("one.cat", groups), ["+ b. one.cat. b"]);
    assert_eq!(stage.follow("one.cat", ""), ["- b.", "- c."]);
}

#[test]
fn clashes_are_refused_and_settled_when_the_other_goes() {
    let mut stage = Stage::new();
    assert_eq!(stage.follow("one.cat", "a.zones PTR a.\n"), ["+ a. one.cat. a"]);
    assert_eq!(stage.follow("two.cat", "x.zones PTR a.\ny.zones PTR own.\n"), [""; 0]);
    let refused = [
        "a. it is a member of the catalog one.cat.",
        "own. the configuration has a zone of this name",
    ];
    assert_eq!(stage.refused("two.cat"), refused);
    assert_eq!(stage.follow("one.cat", ""), ["! a. two.cat. a"]);
    assert_eq!(stage.refused("two.cat"), &refused[1..]);
    // The zone of its own goes from the configuration, and one of a member comes.
    let other = CONFIG.replace("\"own\"", "\"a\"");
    assert_eq!(stage.configure(&other), ["own. two.cat."]);
    assert_eq!(stage.refused("two.cat"), ["a. the configuration has a zone of this name"]);
    assert_eq!(stage.configure(CONFIG), ["a. two.cat."]);
    let without = CONFIG.replace("\"two.cat\"", "\"three.cat\"");
    assert_eq!(stage.configure(&without), [""; 0]);
}

#[test]
fn a_zone_changes_hands_where_both_catalogs_say_so() {
    for (label, expected) in [("a", "+ a. two.cat. a"), ("b", "! a. two.cat. a")] {
        let lists = format!("{label}.zones PTR a.\n");
        // In either order, and with what it is known by if the label is the same.
        let mut stage = Stage::new();
        stage.follow("one.cat", "a.zones PTR a.\n");
        assert_eq!(stage.follow("two.cat", &lists), [""; 0]);
        let handed = "a.zones PTR a.\ncoo.a.zones PTR two.cat.\n";
        assert_eq!(stage.follow("one.cat", handed), [expected]);
        assert_eq!(stage.refused("one.cat"), ["a. it is a member of the catalog two.cat."]);
        assert_eq!(stage.follow("one.cat", ""), [""; 0]);
        let mut stage = Stage::new();
        stage.follow("one.cat", "a.zones PTR a.\n");
        assert_eq!(stage.follow("one.cat", handed), ["+ a. one.cat. a"]);
        assert_eq!(stage.follow("two.cat", &lists), [expected]);
        assert_eq!(stage.follow("two.cat", ""), ["! a. one.cat. a"]);
    }
}
