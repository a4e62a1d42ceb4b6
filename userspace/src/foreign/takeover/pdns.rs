//! PowerDNS's pdns.conf (PowerDNS Authoritative Server documentation, "Authoritative Server Settings"): `key=value`, a line each;
//! `key+=value` adds to what was said. Its zones are in its backends.

use std::collections::BTreeMap;

use super::listening::{self, LocalAddress};
use super::named;
use super::{NOTIFIED_AT, PORT, Server, Takeover};
use crate::foreign::files::Start;
use crate::foreign::{Fault, Files, Setting};

/// The settings by name; the last one holds.
type Settings = BTreeMap<String, Setting>;

pub(super) fn read(files: &mut Files, local: &[LocalAddress]) -> Result<Takeover, Fault> {
    let mut settings = Settings::new();
    files.outermost(|_, text, start| add(text, &start, &mut settings))?;
    // The settings of such a folder come after those of the file, wherever it is named.
    if let Some(folder) = settings.get("include-dir").cloned().filter(|it| !it.values.is_empty()) {
        let Some(place) = &folder.place else { return Ok(Takeover::new(Server::Pdns)) };
        let pattern = format!("{}/*.conf", folder.value());
        files.included(&pattern, place, |_, text, start| add(text, &start, &mut settings))?;
    }
    let mut takeover = Takeover::new(Server::Pdns);
    let list = |key: &str, default: &[&str]| -> Vec<String> {
        match settings.get(key) {
            Some(said) => said.values.clone(),
            None => default.iter().map(|&word| word.to_owned()).collect(),
        }
    };
    let port = settings.get("local-port").map_or(Ok(u64::from(PORT)), Setting::number)?;
    let port = u16::try_from(port).unwrap_or(PORT);
    for said in list("local-address", &["0.0.0.0", "::"]) {
        let address = listening::address(&said, ':', port).ok_or_else(|| {
            let message = format_args!("\"{said}\" is not an address").to_string();
            match settings.get("local-address") {
                Some(setting) => setting.fault(message),
                None => Fault(message),
            }
        })?;
        listening::add(&mut takeover.listens, address, local);
    }
    if let Some(secret) = list("edns-cookie-secret", &[]).first() {
        takeover.share_cookies(secret);
    }
    let launched = list("launch", &[]);
    if let Some(config) = settings.get("bind-config").filter(|it| !it.values.is_empty()) {
        let zones = named::read(&mut Files::new(config.value().as_ref()), local)?;
        takeover.zones = zones.zones;
        takeover.notes.extend(zones.notes);
    }
    if launched.iter().any(|backend| !backend.starts_with("bind")) || launched.is_empty() {
        takeover.notes.push(
            "zones of a database are in no configuration: list them with --zones, as `pdnsutil list-all-zones` does"
                .to_owned(),
        );
    }
    takeover.notes.push(
        "zones with narrow NSEC3, Lua or ALIAS records are answered by the server: what is made for each query cannot be transferred"
            .to_owned(),
    );
    let from = takeover.asked_at().ip();
    let allowed = list("allow-axfr-ips", &["127.0.0.0/8", "::1"]);
    takeover.advice = Vec::new();
    if settings.contains_key("allow-axfr-ips") || !from.is_loopback() {
        let all = allowed.into_iter().chain([from.to_string()]);
        let mut all: Vec<String> = all.collect();
        all.dedup();
        takeover.advice.push(format!("allow-axfr-ips={}", all.join(",")));
    }
    takeover.advice.push(format!("also-notify+={NOTIFIED_AT}"));
    takeover.advice.push("primary=yes".to_owned());
    takeover
        .advice
        .push("# only of primary zones it is told: `pdnsutil set-kind ZONE primary`".to_owned());
    Ok(takeover)
}

fn add(text: &str, start: &Start, settings: &mut Settings) -> Result<(), Fault> {
    for (index, line) in text.lines().enumerate() {
        let said = line.split('#').next().unwrap_or_default();
        let column = said.len() - said.trim_start().len() + 1;
        let place = start.place(index + 1, column);
        let said = said.trim();
        if said.is_empty() {
            continue;
        }
        // A switch alone is on.
        let (key, value) = said.split_once('=').unwrap_or((said, "yes"));
        let (key, adds) = key.strip_suffix('+').map_or((key, false), |key| (key, true));
        let key = key.trim();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(place.fault("this is no `key=value`"));
        }
        let words = value.split([',', ' ', '\t', ';']).map(str::trim);
        let words = words.filter(|word| !word.is_empty()).map(str::to_owned);
        let before = settings.get(key).filter(|_| adds).map(|before| before.values.clone());
        let values = before.into_iter().flatten().chain(words).collect();
        settings
            .insert(key.to_owned(), Setting { place: Some(place), key: key.to_owned(), values });
    }
    Ok(())
}
