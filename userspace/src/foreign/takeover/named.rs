//! BIND's named.conf (BIND 9 Administrator Reference Manual, "Configuration Reference").

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::slice::Iter;

use super::listening::LocalAddress;
use super::{NOTIFIED_AT, PORT, Server, Takeover};
use crate::config::AddressPrefix;
use crate::foreign::named::{Token, acls, read_all, resolve};
use crate::foreign::{Fault, Files, Place};

/// Zones that a distribution has of each host for itself alone.
const OWN: [&str; 4] = ["localhost", "127.in-addr.arpa", "0.in-addr.arpa", "255.in-addr.arpa"];

/// How deep braces are nested at most; five are in use.
const MAX_DEPTH: usize = 20;

/// A statement: its words, and what stands in its braces.
struct Statement {
    place: Place,
    words: Vec<String>,
    block: Vec<Statement>,
}

impl Statement {
    fn key(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    fn find(&self, key: &str) -> Option<&Statement> {
        self.block.iter().find(|inner| inner.key() == key)
    }

    /// The words of a list of addresses.
    fn list(&self) -> Vec<String> {
        self.block.iter().map(|item| item.words.concat()).collect()
    }
}

pub(super) fn read(files: &mut Files, local: &[LocalAddress]) -> Result<Takeover, Fault> {
    let tokens = read_all(files)?;
    let acls = acls(&tokens);
    let all = statements(&mut tokens.iter(), 0)?;
    let mut takeover = Takeover::new(Server::Named);
    let options = all.iter().find(|statement| statement.key() == "options");
    let option = |key: &str| options.and_then(|options| options.find(key));
    takeover.listens = listens(options, &acls, local);
    if let Some(said) = option("cookie-secret") {
        takeover.share_cookies(said.word(1));
    }
    let mut own_access = Vec::new();
    let views = all.iter().filter(|statement| statement.key() == "view");
    let zones = all.iter().chain(views.flat_map(|view| &view.block));
    let zones: Vec<&Statement> = zones.filter(|statement| statement.key() == "zone").collect();
    for zone in &zones {
        let name = zone.word(1);
        let said = |key: &str| zone.find(key);
        let kind = said("type").map_or("", |kind| kind.word(1));
        let is_it = |other: &str| {
            other.trim_end_matches('.').eq_ignore_ascii_case(name.trim_end_matches('.'))
        };
        // PowerDNS has a type of its own in such files.
        if !matches!(kind, "primary" | "master" | "secondary" | "slave" | "native") {
            let why = if kind.is_empty() { "it has no type of its own" } else { kind };
            if kind != "hint" {
                takeover.leave_out(&zone.place, name, why);
            }
        } else if zone.words.get(2).is_some_and(|class| !class.eq_ignore_ascii_case("in")) {
            takeover.leave_out(&zone.place, name, format_args!("class {}", zone.word(2)));
        } else if OWN.iter().any(|own| is_it(own)) {
            takeover.leave_out(&zone.place, name, "it is this host's own");
        } else if zones.iter().filter(|other| is_it(other.word(1))).count() > 1 {
            let why = "it is there several times, in views: who asks decides what is right";
            takeover.leave_out(&zone.place, name, why);
        } else {
            takeover.add_zone(&zone.place, name);
            own_access.extend(["allow-transfer", "also-notify"].iter().filter_map(|key| said(key)));
        }
    }
    if let Some(catalogs) = option("catalog-zones") {
        let note = "members of catalog zones are in no configuration: list them with --zones";
        takeover.notes.push(format!("{}: {note}", catalogs.place));
    }
    takeover.advice = advice(takeover.asked_at().ip(), &option, &own_access);
    Ok(takeover)
}

/// What named must be told.
fn advice<'a>(
    from: IpAddr,
    option: &impl Fn(&str) -> Option<&'a Statement>,
    own_access: &[&Statement],
) -> Vec<String> {
    let mut lines = vec!["options {".to_owned()];
    let notified = format!("{} port {}", NOTIFIED_AT.ip(), NOTIFIED_AT.port());
    for (key, value) in [("allow-transfer", from.to_string()), ("also-notify", notified)] {
        match option(key) {
            Some(known) => lines.push(format!("    // {}: add to {key}: {value};", known.place)),
            None => lines.push(format!("    {key} {{ {value}; }};")),
        }
    }
    lines.push("};".to_owned());
    for own in own_access {
        lines.push(format!(
            "// {}: this zone has an {} of its own: the same there",
            own.place,
            own.key()
        ));
    }
    lines
}

/// `listen-on` and `listen-on-v6`: lists of which the first element that an address matches decides; without one, any address.
fn listens(
    options: Option<&Statement>,
    acls: &HashMap<String, Vec<String>>,
    local: &[LocalAddress],
) -> Vec<SocketAddr> {
    let mut listens = Vec::new();
    for (key, is_ipv4) in [("listen-on", true), ("listen-on-v6", false)] {
        let block = options.map_or(&[][..], |options| &options.block);
        let said: Vec<&Statement> = block.iter().filter(|one| one.key() == key).collect();
        let of_family = local.iter().filter(|one| one.address.is_ipv4() == is_ipv4);
        let default_port = options.and_then(|options| options.find("port"));
        let default_port = default_port.and_then(|port| port.word(1).parse().ok()).unwrap_or(PORT);
        if said.is_empty() {
            listens.extend(of_family.map(|one| SocketAddr::new(one.address, default_port)));
            continue;
        }
        // What is encrypted XDP leaves alone.
        let plain =
            said.into_iter().filter(|one| !one.words.iter().any(|it| it == "tls" || it == "http"));
        for one in plain {
            let port = one.words.iter().position(|word| word == "port");
            let port = port.and_then(|at| one.word(at + 1).parse().ok()).unwrap_or(default_port);
            let list = resolve(&one.list(), acls);
            let matching = of_family.clone().filter(|one| is_matched(&list, one.address));
            listens.extend(matching.map(|one| SocketAddr::new(one.address, port)));
        }
    }
    listens
}

fn is_matched(list: &[String], address: IpAddr) -> bool {
    for element in list {
        let (is_negated, element) =
            element.strip_prefix('!').map_or((false, element.as_str()), |rest| (true, rest));
        let is_it = match element {
            "any" | "localhost" | "localnets" => true,
            "none" => false,
            _ => AddressPrefix::from_text(element).is_ok_and(|prefix| prefix.0.contains(&address)),
        };
        if is_it {
            return !is_negated;
        }
    }
    false
}

/// The statements up to the end, or to the brace that ends the block they stand in. Braces are balanced.
fn statements(tokens: &mut Iter<'_, Token>, depth: usize) -> Result<Vec<Statement>, Fault> {
    let mut all = Vec::new();
    let mut open: Option<Statement> = None;
    while let Some(token) = tokens.next() {
        if token.is("}") {
            break;
        } else if token.is(";") {
            all.extend(open.take());
            continue;
        }
        let new = || Statement { place: token.place.clone(), words: Vec::new(), block: Vec::new() };
        let statement = open.get_or_insert_with(new);
        if !token.is("{") {
            statement.words.push(token.text.clone());
        } else if depth == MAX_DEPTH {
            return Err(token
                .place
                .fault(format_args!("braces are nested more than {depth} deep")));
        } else {
            statement.block = statements(tokens, depth + 1)?;
        }
    }
    Ok(all)
}
