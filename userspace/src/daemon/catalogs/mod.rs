//! Which zones are served since catalogs list them (RFC 9432), and of which catalog each is: what is known, and no lock.

use std::collections::BTreeMap;

use super::state::Membership;
use crate::config::{Config, Zone};
use crate::transfer::catalog::{BrokenCatalog, Label, Member, Members};
use crate::zone::{Name, Version};

/// What is known of the catalogs that are followed.
#[derive(Default)]
pub struct Catalogs {
    catalogs: BTreeMap<Name, Catalog>,
    /// Of which catalog each member is that is served, and the label that it is listed under.
    owners: BTreeMap<Name, (Name, Label)>,
}

/// One catalog.
#[derive(Default)]
struct Catalog {
    /// The version that was followed last.
    followed: Option<Version>,
    members: Members,
    /// Members that are not served, and why.
    refused: BTreeMap<Name, String>,
}

/// What is told of a catalog.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CatalogSummary {
    /// How many zones it lists.
    pub members: u64,
    /// Members that are not served, and why.
    pub refused: Vec<(Name, String)>,
}

/// What becomes of a zone since a catalog has changed.
#[derive(Debug)]
pub enum Step {
    /// It is served by this section from now on.
    Serve {
        /// Its settings.
        section: Box<Zone>,
        /// Of which catalog it is.
        membership: Membership,
        /// Whether what was known of a zone of this name is of no account.
        is_reset: bool,
    },
    /// It is not served any more.
    Remove(Name),
}

impl Catalogs {
    /// Whether a version of a catalog may be followed.
    ///
    /// # Errors
    /// If it is broken.
    pub fn check(&self, name: &Name, version: &Version) -> Result<(), BrokenCatalog> {
        match self.catalogs.get(name) {
            Some(catalog) => catalog.members.check(catalog.followed.as_ref(), version),
            None => Members::default().check(None, version),
        }
    }

    /// A catalog has this version now. Returns what becomes of zones; nothing if it is broken. `is_configured` says of a zone
    /// whether it has a section of its own.
    pub fn follow(
        &mut self,
        name: &Name,
        version: &Version,
        config: &Config,
        is_configured: &dyn Fn(&Name) -> bool,
    ) -> Vec<Step> {
        let catalog = self.catalogs.entry(name.clone()).or_default();
        let changes = match catalog.members.follow(catalog.followed.as_ref(), version) {
            Ok(changes) => changes,
            Err(broken) => {
                tracing::error!(zone = %name, "the catalog changes nothing: {broken}");
                return Vec::new();
            }
        };
        catalog.followed = Some(version.clone());
        let zones = changes.into_iter().map(|change| change.zone);
        zones.filter_map(|zone| self.settle(&zone, Some(name), config, is_configured)).collect()
    }

    /// The configuration is another. Returns the members that are served by it, as sections.
    pub fn reconsider(
        &mut self,
        config: &Config,
        is_configured: &dyn Fn(&Name) -> bool,
    ) -> Vec<(Zone, Membership)> {
        self.catalogs.retain(|name, _| config.follows(name));
        let listed = self.catalogs.values().flat_map(|catalog| catalog.members.iter());
        let mut zones: Vec<Name> =
            listed.map(|(zone, _)| zone).chain(self.owners.keys()).cloned().collect();
        zones.sort_unstable();
        zones.dedup();
        let steps = zones.iter().filter_map(|zone| self.settle(zone, None, config, is_configured));
        let served = steps.filter_map(|step| match step {
            Step::Serve { section, membership, .. } => Some((*section, membership)),
            Step::Remove(_) => None,
        });
        served.collect()
    }

    /// What is told of a catalog.
    pub fn summary(&self, name: &Name) -> CatalogSummary {
        let Some(catalog) = self.catalogs.get(name) else { return CatalogSummary::default() };
        let refused = catalog.refused.iter().map(|(zone, why)| (zone.clone(), why.clone()));
        CatalogSummary { members: catalog.members.len() as u64, refused: refused.collect() }
    }

    /// Decides of which catalog a zone is, now that what this catalog says of it is otherwise, or with `None` anything.
    fn settle(
        &mut self,
        zone: &Name,
        changed: Option<&Name>,
        config: &Config,
        is_configured: &dyn Fn(&Name) -> bool,
    ) -> Option<Step> {
        let before = self.owners.remove(zone);
        let is_configured = is_configured(zone);
        let owner = match is_configured {
            true => None,
            false => self.owner(zone, before.as_ref().map(|(catalog, _)| catalog)),
        };
        let why = match (&owner, is_configured) {
            (_, true) => "the configuration has a zone of this name".to_owned(),
            (Some(owner), _) => format!("it is a member of the catalog {owner}"),
            (None, _) => String::new(),
        };
        for (name, catalog) in &mut self.catalogs {
            let is_refused = owner.as_ref() != Some(name) && catalog.members.get(zone).is_some();
            match is_refused {
                true if catalog.refused.get(zone) == Some(&why) => {}
                true => {
                    tracing::error!(zone = %name, "the member {zone} is not served: {why}");
                    catalog.refused.insert(zone.clone(), why.clone());
                }
                false => {
                    catalog.refused.remove(zone);
                }
            }
        }
        if let (Some(known), Some(changed)) = (&before, changed)
            && owner.as_ref() == Some(&known.0)
            && *changed != known.0
        {
            self.owners.insert(zone.clone(), known.clone());
            return None;
        }
        let step = owner.and_then(|owner| self.step(zone, owner, before.as_ref(), config));
        match step {
            Some(step) => Some(step),
            // It has a section of its own, and is served by that.
            None if is_configured => None,
            None => before.map(|_| Step::Remove(zone.clone())),
        }
    }

    fn step(
        &mut self,
        zone: &Name,
        owner: Name,
        before: Option<&(Name, Label)>,
        config: &Config,
    ) -> Option<Step> {
        let member = self.catalogs.get(&owner)?.members.get(zone)?;
        let (section, group) = config.member(&owner, zone, &member.groups)?;
        let is_other = |(catalog, label): &(Name, Label)| {
            let lists_no_more =
                || self.catalogs.get(catalog).is_none_or(|old| old.members.get(zone).is_none());
            // The label stays as it is where a zone changes hands with all that is known of it (RFC 9432 section 4.3.1).
            *label != member.label || *catalog != owner && lists_no_more()
        };
        let is_reset = before.is_some_and(is_other);
        let label = member.label.clone();
        self.owners.insert(zone.clone(), (owner.clone(), label));
        let membership = Membership { catalog: owner, group };
        Some(Step::Serve { section: Box::new(section), membership, is_reset })
    }

    /// The catalog that a zone is of: the one that it was of, unless that hands it over to another that lists it, too.
    fn owner(&self, zone: &Name, before: Option<&Name>) -> Option<Name> {
        let lists = |name: &Name| -> Option<&Member> { self.catalogs.get(name)?.members.get(zone) };
        match before.and_then(|name| Some((name, lists(name)?))) {
            Some((name, member)) => {
                let next = member.moves_to.as_ref().filter(|next| lists(next).is_some());
                Some(next.unwrap_or(name).clone())
            }
            None => self.catalogs.keys().find(|name| lists(name).is_some()).cloned(),
        }
    }
}

#[cfg(test)]
mod tests;
