//! Knot's knot.conf (Knot DNS documentation, "Configuration Reference").

use std::collections::BTreeMap;

use super::listening::{self, LocalAddress};
use super::{NOTIFIED_AT, PORT, Server, Takeover, place_of};
use crate::foreign::lines::{Section, Style, read_all};
use crate::foreign::{Fault, Files, Setting};

/// The template of zones that name none.
const DEFAULT: &str = "default";

/// An item of a section by the name of its settings.
type Item<'a> = BTreeMap<&'a str, &'a Setting>;

pub(super) fn read(files: &mut Files, local: &[LocalAddress]) -> Result<Takeover, Fault> {
    let sections = read_all(files, Style::Knot)?;
    let items = |name: &'static str| items(&sections, name);
    let mut takeover = Takeover::new(Server::Knot);
    let server = sections.iter().filter(|section| section.name == "server");
    let server = server.flat_map(|section| section.items.iter().flatten());
    for setting in server.filter(|setting| setting.key == "listen") {
        for said in &setting.values {
            match listening::address(said, '@', PORT) {
                Some(address) => listening::add(&mut takeover.listens, address, local),
                // A socket of the file system is nobody's on the network.
                None if said.starts_with('/') => {}
                None => return Err(setting.fault(format_args!("\"{said}\" is not an address"))),
            }
        }
    }
    let cookies = items("mod-cookies");
    if let Some(secret) = cookies.iter().find_map(|item| item.get("secret")) {
        takeover.share_cookies(secret.value().trim_start_matches("0x"));
    }
    let templates: BTreeMap<&str, Item<'_>> = items("template")
        .into_iter()
        .filter_map(|item| Some((item.get("id")?.value(), item)))
        .collect();
    let mut own_access: Vec<&Setting> = Vec::new();
    for zone in items("zone") {
        let Some(domain) = zone.get("domain") else { continue };
        let template = zone.get("template").map_or(DEFAULT, |template| template.value());
        let template = templates.get(template);
        let said = |key: &str| {
            zone.get(key).or_else(|| template.and_then(|template| template.get(key))).copied()
        };
        let Some(place) = &domain.place else { continue };
        match said("catalog-role").map(Setting::value) {
            Some("interpret") => {
                let why = "it is a catalog: list its members with --zones";
                takeover.leave_out(place, domain.value(), why);
                continue;
            }
            Some("generate") => {
                takeover.leave_out(place, domain.value(), "it is a catalog");
                continue;
            }
            _ => {}
        }
        takeover.add_zone(place, domain.value());
        own_access.extend(["acl", "notify"].iter().filter_map(|key| zone.get(key)));
    }
    let default = templates.get(DEFAULT);
    let known = |key: &str| default.and_then(|template| template.get(key)).copied();
    takeover.advice = advice(&takeover, [known("notify"), known("acl")], &own_access);
    Ok(takeover)
}

/// What knotd must be told.
fn advice(takeover: &Takeover, known: [Option<&Setting>; 2], own: &[&Setting]) -> Vec<String> {
    let (to, from) = (NOTIFIED_AT, takeover.asked_at().ip());
    let mut lines = vec![
        "remote:".to_owned(),
        "  - id: sealdns".to_owned(),
        format!("    address: {}@{}", to.ip(), to.port()),
        "acl:".to_owned(),
        "  - id: sealdns".to_owned(),
        format!("    address: {from}"),
        "    action: transfer".to_owned(),
        "template:".to_owned(),
        format!("  - id: {DEFAULT}"),
    ];
    for (key, known) in ["notify", "acl"].into_iter().zip(known) {
        match known {
            Some(known) => lines.push(format!("    # {}: add to {key}: sealdns", place_of(known))),
            None => lines.push(format!("    {key}: sealdns")),
        }
    }
    for own in own {
        let said = format!("this zone has {} of its own: add sealdns there, too", own.key);
        lines.push(format!("# {}: {said}", place_of(own)));
    }
    lines
}

fn items<'a>(sections: &'a [Section], name: &str) -> Vec<Item<'a>> {
    let sections = sections.iter().filter(|section| section.name == name);
    let items = sections.flat_map(|section| &section.items);
    items.map(|item| item.iter().map(|setting| (&setting.key[..], setting)).collect()).collect()
}
