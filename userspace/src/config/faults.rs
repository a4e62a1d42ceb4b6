//! What is wrong with a configuration as a whole, and where.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::slice;

use super::sections::{Place, Placed, Sections};
use super::zone::{MemberTemplates, ZoneFault, ZoneSettings};
use super::{
    CatalogRole, ConfigError, DEFAULT_PIN, DEFAULT_POLICY, ListenAddress, OnExit, TcxMode, Verify,
    XdpMode, Zone,
};
use crate::zone::Name;

/// Octets of the longest group (RFC 1035 section 3.3: a character-string).
const MAX_GROUP: usize = 255;

/// Zones with all their settings.
pub(super) struct ZoneSections {
    /// In the order of the files.
    pub zones: Vec<Zone>,
    /// The catalogs whose members are served, and by which templates.
    pub followed: BTreeMap<Name, MemberTemplates>,
}

impl Sections {
    /// Looks at what stands in the configuration's own file alone, and at policies.
    pub fn check_main(&self) -> Result<(), ConfigError> {
        let main = &self.main;
        let text = &self.files[0].text;
        let fault = |offset: Option<usize>, message: String, hint: Option<String>| {
            Err(self.fault(Place { file: 0, offset: offset.unwrap_or(0) }, message, hint))
        };
        let mut listening = HashSet::new();
        let listen: Vec<ListenAddress> =
            main.server.listen.iter().chain(&main.server.listen_tls).copied().collect();
        if let Some(twice) = listen.iter().find(|one| !listening.insert(one.0)) {
            return fault(text.find("listen"), format!("{} is listed twice", twice.0), None);
        }
        let mut files = [&main.server.tls_certificate, &main.server.tls_key].into_iter();
        if !main.server.listen_tls.is_empty() && files.any(|file| file.as_os_str().is_empty()) {
            let message = "listen-tls needs a certificate and its key".to_owned();
            let hint = "set `tls-certificate` and `tls-key` in [server]".to_owned();
            return fault(text.find("listen-tls"), message, Some(hint));
        }
        let covered = |one: &&ListenAddress| listen.iter().any(|other| other.covers(**one));
        if let Some(covered) = listen.iter().find(covered) {
            let message =
                format!("{} is one of the addresses of a wildcard that is listed too", covered.0);
            let hint = Some("remove one of the two".to_owned());
            return fault(text.find(&covered.0.ip().to_string()), message, hint);
        }
        if let Some((key, message)) = main.cookies.fault() {
            let section = text.find("[cookies]").unwrap_or(0);
            let place = section + text[section..].find(key).unwrap_or(0);
            return fault(Some(place), message.to_owned(), None);
        }
        if let Some((word, message, hint)) = main.front_fault() {
            return fault(text.find(word), message.to_owned(), Some(hint.to_owned()));
        }
        if main.xdp.on_exit == OnExit::Keep && main.xdp.pin.path().is_none() {
            let message = "on-exit = \"keep\" needs `pin`: what is not pinned ends with the daemon";
            let hint = format!("set pin = \"{DEFAULT_PIN}\" in [xdp]");
            return fault(text.find("on-exit"), message.to_owned(), Some(hint));
        }
        if main.xdp.mode == XdpMode::Tcx && main.xdp.tcx == TcxMode::Off {
            let place = text.find("\ntcx").map(|at| at + 1);
            let message = "mode = \"tcx\" and tcx = \"off\": then nothing would answer but sockets";
            let hint = "remove one of the two, or empty `interfaces`";
            return fault(place, message.to_owned(), Some(hint.to_owned()));
        }
        for (name, Placed { value: policy, place }) in &self.policies {
            if policy.refresh >= policy.signature_validity {
                let message = format!(
                    "policy {name}: refresh is not shorter than signature-validity: zones would \
                     be signed again without end"
                );
                return Err(self.fault(*place, message, None));
            }
        }
        Ok(())
    }

    /// The names of the keys that are shared with other servers.
    pub fn tsig_key_names(&self) -> Result<HashSet<Name>, ConfigError> {
        let mut names: HashMap<&Name, &Placed<_>> = HashMap::new();
        for section in &self.tsig_keys {
            let key = &section.value;
            let fault = match (&key.secret, &key.secret_file) {
                _ if let Some(first) = names.insert(&key.name, section) => {
                    format!("is configured twice, {}: remove one of the two", self.first_at(first))
                }
                (None, None) => "has no secret: set `secret` or `secret-file`".to_owned(),
                (Some(_), Some(_)) => {
                    "has both `secret` and `secret-file`: remove one of them".to_owned()
                }
                _ => continue,
            };
            let message = format!("the TSIG key {} {fault}", key.name);
            return Err(self.fault(section.place, message, None));
        }
        Ok(names.into_keys().cloned().collect())
    }

    /// The zones with all their settings, if these are the keys that there are.
    pub fn zones(&self, keys: &HashSet<Name>) -> Result<ZoneSections, ConfigError> {
        for (name, Placed { value, place }) in &self.templates {
            let key = match (&value.name, &value.template) {
                (Some(_), _) => "name",
                (None, Some(_)) => "template",
                (None, None) => continue,
            };
            let place = self.find_key(*place, key);
            let message = format!("the template {name} has a `{key}`, which is a zone's alone");
            return Err(self.fault(place, message, None));
        }
        let mut known: HashMap<&Name, &Placed<_>> = HashMap::new();
        let mut zones = Vec::with_capacity(self.zones.len());
        let mut followed = BTreeMap::new();
        for section in &self.zones {
            let Placed { value: settings, place } = section;
            let Some(name) = &settings.name else {
                let message = "the key `name` is missing in this section".to_owned();
                return Err(self.fault(*place, message, None));
            };
            let template = self.template_of(name, section)?;
            let settings = match template {
                Some(template) => settings.over(&template.value),
                None => settings.clone(),
            };
            let zone = settings.zone(name, self.main.front.as_ref());
            let fault = self.zone_fault(&zone, keys);
            let fault = fault.or_else(|| self.catalog_fault(&zone, &settings, keys));
            if let Some(ZoneFault { word, message, hint }) = fault {
                let sections = slice::from_ref(&section).iter().chain(template.as_slice());
                let mut found = sections.map(|section| self.find_in_section(section.place, &word));
                let place = found.find_map(|found| found).unwrap_or(*place);
                return Err(self.fault(place, message, Some(hint)));
            }
            if let Some(first) = known.insert(name, section) {
                let message =
                    format!("the zone {name} is configured twice, {}", self.first_at(first));
                let hint = "remove one of the two [[zone]] sections".to_owned();
                return Err(self.fault(*place, message, Some(hint)));
            }
            followed.extend(settings.member_templates().map(|templates| (name.clone(), templates)));
            zones.push(zone);
        }
        let produced = zones.iter().filter(|zone| zone.catalog == CatalogRole::Produce);
        let produced: HashSet<&Name> = produced.map(|zone| &zone.name).collect();
        for (zone, section) in zones.iter().zip(&self.zones) {
            let Some(catalog) = &zone.in_catalog else { continue };
            if !produced.contains(catalog) || *catalog == zone.name {
                let place = self.find_key(section.place, "in-catalog");
                let message = format!("zone {}: no catalog {catalog} is produced here", zone.name);
                let hint = format!(
                    "add a section [[zone]] with name = \"{catalog}\" and catalog = \"produce\""
                );
                return Err(self.fault(place, message, Some(hint)));
            }
        }
        let used = followed.values().flat_map(MemberTemplates::names);
        for (name, template) in used.filter_map(|name| Some((name, self.templates.get(name)?))) {
            // Whatever the members are called.
            let in_catalog = template.value.zone(&Name::root(), None).in_catalog;
            if let Some(catalog) = in_catalog.filter(|catalog| !produced.contains(catalog)) {
                let place = self.find_key(template.place, "in-catalog");
                let message = format!("template {name}: no catalog {catalog} is produced here");
                return Err(self.fault(place, message, None));
            }
        }
        Ok(ZoneSections { zones, followed })
    }

    /// What is wrong with what a zone says of catalogs.
    fn catalog_fault(
        &self,
        zone: &Zone,
        settings: &ZoneSettings,
        keys: &HashSet<Name>,
    ) -> Option<ZoneFault> {
        let fault = |word: &str, message: String, hint: &str| {
            let message = format!("zone {}: {message}", zone.name);
            Some(ZoneFault { word: word.to_owned(), message, hint: hint.to_owned() })
        };
        match &zone.catalog_group {
            Some(_) if zone.in_catalog.is_none() => {
                let message = "`catalog-group` is of a zone that is in a catalog".to_owned();
                return fault("catalog-group", message, "set `in-catalog`");
            }
            Some(group) if group.len() > MAX_GROUP => {
                let message = format!("the group is longer than {MAX_GROUP} octets");
                return fault("catalog-group", message, "choose another");
            }
            _ => {}
        }
        let said = settings.member_template.iter().filter(|name| !name.is_empty());
        let groups = settings.member_groups.iter().flatten().map(|(_, template)| template);
        let templates: Vec<&String> = said.clone().chain(groups).collect();
        match (zone.catalog, said.clone().next(), templates.first()) {
            (CatalogRole::Consume, None, _) => {
                let message = "it does not say by which template its members are served".to_owned();
                return fault("catalog", message, "set `member-template`");
            }
            (CatalogRole::None | CatalogRole::Produce, _, Some(_)) => {
                let message = "`member-template` and `member-groups` are of catalogs".to_owned();
                return fault("member-", message, "set `catalog = \"consume\"`");
            }
            _ => {}
        }
        templates.into_iter().find_map(|name| {
            let word = format!("\"{name}\"");
            let Some(template) = self.templates.get(name) else {
                let message = format!("there is no template named \"{name}\"");
                return fault(&word, message, &format!("add a section [template.{name}]"));
            };
            let member = template.value.zone(&zone.name, self.main.front.as_ref());
            if member.ratelimit.is_some() || member.catalog != CatalogRole::None {
                let message =
                    format!("members cannot be catalogs, or have limits of their own: {name}");
                return fault(&word, message, "choose another template");
            }
            let found = self.zone_fault(&member, keys)?;
            let message = format!("its members cannot be served by the template {name}");
            Some(ZoneFault { word, message: format!("{message}: {}", found.message), ..found })
        })
    }

    fn template_of(
        &self,
        zone: &Name,
        section: &Placed<ZoneSettings>,
    ) -> Result<Option<&Placed<ZoneSettings>>, ConfigError> {
        let wanted = section.value.template.as_ref().filter(|wanted| !wanted.is_empty());
        let Some(wanted) = wanted else { return Ok(None) };
        let unknown = || {
            let place = self.find_key(section.place, "template");
            let message = format!("zone {zone}: there is no template named \"{wanted}\"");
            self.fault(place, message, Some(format!("add a section [template.{wanted}]")))
        };
        self.templates.get(wanted).map(Some).ok_or_else(unknown)
    }

    /// What is wrong with a zone's settings.
    fn zone_fault(&self, zone: &Zone, keys: &HashSet<Name>) -> Option<ZoneFault> {
        let in_front = self.main.front.as_ref().and_then(|front| zone.front_fault(front));
        if let Some(fault) = in_front.or_else(|| zone.transfer_fault(keys)) {
            return Some(fault);
        }
        let name = &zone.name;
        if zone.policy != DEFAULT_POLICY && !self.policies.contains_key(&zone.policy) {
            let policy = &zone.policy;
            return Some(ZoneFault {
                word: "[[zone]]".to_owned(),
                message: format!("zone {name}: there is no policy named \"{policy}\""),
                hint: format!("add a section [policy.{policy}]"),
            });
        }
        let main = &self.main;
        let is_in_front = main.server.listen.is_empty() && !main.xdp.interfaces.is_empty();
        (zone.verify == Verify::Background && is_in_front).then(|| ZoneFault {
            word: "verify".to_owned(),
            message: format!(
                "zone {name}: verify = \"background\" needs `listen`: where another server answers what XDP does not, \
                 it would send what must not be sent"
            ),
            hint: "set verify = \"first\"".to_owned(),
        })
    }
}
