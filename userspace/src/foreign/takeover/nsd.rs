//! NSD's nsd.conf (nsd.conf(5)).

use std::collections::BTreeMap;

use super::listening::{self, LocalAddress};
use super::{NOTIFIED_AT, PORT, Server, Takeover};
use crate::foreign::lines::{Section, Style, read_all};
use crate::foreign::{Fault, Files, Setting};

pub(super) fn read(files: &mut Files, local: &[LocalAddress]) -> Result<Takeover, Fault> {
    let sections = read_all(files, Style::Nsd)?;
    let mut takeover = Takeover::new(Server::Nsd);
    let server: Vec<&Setting> = settings(&sections, "server").collect();
    let all = |key: &'static str| server.iter().copied().filter(move |one| one.key == key);
    let port = all("port").next().map_or(Ok(u64::from(PORT)), Setting::number)?;
    let port = u16::try_from(port).unwrap_or(PORT);
    for setting in all("ip-address").chain(all("interface")) {
        // Behind an address there may be what it is bound to.
        let said = setting.value().split_whitespace().next().unwrap_or_default();
        let of_interface = local.iter().filter(|one| one.interface == said);
        let addresses: Vec<_> = match listening::address(said, '@', port) {
            Some(address) => vec![address],
            None => of_interface.map(|one| (one.address, port).into()).collect(),
        };
        if addresses.is_empty() {
            return Err(setting.fault(format_args!(
                "\"{said}\" is no address, and no interface of this host that has one"
            )));
        }
        addresses.into_iter().for_each(|one| listening::add(&mut takeover.listens, one, local));
    }
    if takeover.listens.is_empty() {
        for wildcard in
            ["0.0.0.0", "::"].iter().filter_map(|any| listening::address(any, '@', port))
        {
            listening::add(&mut takeover.listens, wildcard, local);
        }
    }
    if let Some(secret) = all("cookie-secret").next() {
        takeover.share_cookies(secret.value());
    }
    if let Some(file) = all("cookie-secret-file").next().filter(|file| !file.values.is_empty()) {
        let note =
            format!("the secret of its cookies is in {}: put it into [cookies]", file.value());
        takeover.notes.push(note);
    }
    let patterns = sections.iter().filter(|section| section.name == "pattern");
    let patterns: BTreeMap<&str, &Section> =
        patterns.filter_map(|pattern| Some((value(pattern, "name")?.value(), pattern))).collect();
    for zone in sections.iter().filter(|section| section.name == "zone") {
        let Some(name) = value(zone, "name") else { continue };
        let Some(place) = &name.place else { continue };
        let pattern = value(zone, "include-pattern").and_then(|it| patterns.get(it.value()));
        let catalog = value(zone, "catalog").or_else(|| value(pattern?, "catalog"));
        match catalog.map(Setting::value) {
            Some("consumer" | "producer") => {
                let why = "it is a catalog: list its members with --zones";
                takeover.leave_out(place, name.value(), why);
            }
            _ => takeover.add_zone(place, name.value()),
        }
    }
    if !patterns.is_empty() {
        let note = "zones that `nsd-control addzone` added are in no configuration: list them with --zones";
        takeover.notes.push(note.to_owned());
    }
    takeover.advice = vec![
        "# in each zone, or in the pattern that it includes:".to_owned(),
        format!("    provide-xfr: {} NOKEY", takeover.asked_at().ip()),
        format!("    notify: {}@{} NOKEY", NOTIFIED_AT.ip(), NOTIFIED_AT.port()),
        "    # only what changes is transferred then (NSD 4.5 and later):".to_owned(),
        "    store-ixfr: yes".to_owned(),
        "    create-ixfr: yes".to_owned(),
    ];
    Ok(takeover)
}

fn settings<'a>(sections: &'a [Section], name: &'static str) -> impl Iterator<Item = &'a Setting> {
    let sections = sections.iter().filter(move |section| section.name == name);
    sections.flat_map(|section| section.items.iter().flatten())
}

fn value<'a>(section: &'a Section, key: &str) -> Option<&'a Setting> {
    section.items.iter().flatten().find(|setting| setting.key == key)
}
