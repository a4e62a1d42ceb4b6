//! What is wrong with a configuration as a whole, and where.

use std::collections::{HashMap, HashSet};
use std::slice;

use super::sections::{Place, Placed, Sections};
use super::zone::{ZoneFault, ZoneSettings};
use super::{
    ConfigError, DEFAULT_PIN, DEFAULT_POLICY, ListenAddress, OnExit, TcxMode, Verify, XdpMode, Zone,
};
use crate::zone::Name;

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
    pub fn zones(&self, keys: &HashSet<Name>) -> Result<Vec<Zone>, ConfigError> {
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
        for section in &self.zones {
            let Placed { value: settings, place } = section;
            let Some(name) = &settings.name else {
                let message = "the key `name` is missing in this section".to_owned();
                return Err(self.fault(*place, message, None));
            };
            let template = self.template_of(name, section)?;
            let zone = match template {
                Some(template) => settings.over(&template.value).zone(name),
                None => settings.zone(name),
            };
            if let Some(ZoneFault { word, message, hint }) = self.zone_fault(&zone, keys) {
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
            zones.push(zone);
        }
        Ok(zones)
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
        if let Some(fault) = zone.transfer_fault(keys) {
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
