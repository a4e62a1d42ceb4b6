//! What a catalog zone lists.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{COO, GROUP, Label, Member, VERSION, ZONES, below};
use crate::zone::difference::Difference;
use crate::zone::{Name, Rtype, Version, name};

/// Why a zone is no catalog that may be followed (RFC 9432 section 5.1): what it lists changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenCatalog {
    /// It does not say which version of catalog zones it is.
    #[error("it has no TXT record `version`")]
    NoVersion,
    /// It says so more than once.
    #[error("it has more than one TXT record `version`")]
    SeveralVersions,
    /// It is of another version.
    #[error("its TXT record `version` is not \"2\"")]
    OtherVersion,
    /// One node lists several zones.
    #[error("the member node {0} has more than one PTR record")]
    SeveralZones(Label),
    /// One zone goes to several catalogs.
    #[error("the member node {0} has more than one PTR record `coo`")]
    SeveralOwners(Label),
    /// Several nodes list one zone.
    #[error("it lists the zone {0} more than once")]
    ListedTwice(Name),
}

/// The zones that a catalog lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    by_zone: BTreeMap<Name, Member>,
    by_label: HashMap<Label, Name>,
}

/// What changed of one zone that a catalog lists or listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    /// The zone.
    pub zone: Name,
    /// What the catalog says of it now; `None` if it does not list it any more.
    pub member: Option<Member>,
}

impl Members {
    /// What the catalog says of a zone.
    pub fn get(&self, zone: &Name) -> Option<&Member> {
        self.by_zone.get(zone)
    }

    /// The zones that it lists, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Member)> {
        self.by_zone.iter()
    }

    /// How many it lists.
    pub fn len(&self) -> usize {
        self.by_zone.len()
    }

    /// Whether it lists none.
    pub fn is_empty(&self) -> bool {
        self.by_zone.is_empty()
    }

    /// Follows the catalog from the version that these are the members of, if there is one, to another. Returns what
    /// changed, by the name of the zone; at the cost of what differs between the two versions.
    ///
    /// # Errors
    /// If the other one is broken: the members stay as they were.
    pub fn follow(
        &mut self,
        before: Option<&Version>,
        now: &Version,
    ) -> Result<Vec<MemberChange>, BrokenCatalog> {
        let after = self.after(before, now)?;
        // Nodes that exchange their zones: all that is gone goes first.
        for zone in after.keys() {
            if let Some(known) = self.by_zone.remove(zone) {
                self.by_label.remove(&known.label);
            }
        }
        for (zone, member) in &after {
            if let Some(member) = member {
                self.by_label.insert(member.label.clone(), zone.clone());
                self.by_zone.insert(zone.clone(), member.clone());
            }
        }
        Ok(after.into_iter().map(|(zone, member)| MemberChange { zone, member }).collect())
    }

    /// Whether [`Members::follow`] would follow, at the same cost.
    ///
    /// # Errors
    /// If it would not.
    pub fn check(&self, before: Option<&Version>, now: &Version) -> Result<(), BrokenCatalog> {
        self.after(before, now).map(drop)
    }

    /// What is to be known of each zone of which the catalog says something else now.
    fn after(
        &self,
        before: Option<&Version>,
        now: &Version,
    ) -> Result<BTreeMap<Name, Option<Member>>, BrokenCatalog> {
        check_version(now)?;
        let zones = below(ZONES, now.apex().as_wire());
        let labels: BTreeSet<Label> = match before {
            Some(before) => {
                let changed = Difference::between_versions(before, now);
                let records = changed.removed().iter().chain(changed.added().iter());
                records.filter_map(|record| label_of(record.owner, &zones)).collect()
            }
            None => {
                let owners = now.from(&zones).map(|owner| owner.name());
                let listed = owners.take_while(|owner| name::is_at_or_below(owner, &zones));
                let listed = listed.filter_map(|owner| label_of(owner, &zones));
                listed.chain(self.by_label.keys().cloned()).collect()
            }
        };
        let mut after: BTreeMap<Name, Option<Member>> = BTreeMap::new();
        for label in &labels {
            if let Some(zone) = self.by_label.get(label) {
                after.entry(zone.clone()).or_default();
            }
        }
        for label in &labels {
            let Some((zone, member)) = member_at(now, &zones, label)? else { continue };
            // A node that did not change lists it still.
            let is_listed =
                self.by_zone.get(&zone).is_some_and(|known| !labels.contains(&known.label));
            match after.entry(zone.clone()).or_default() {
                place @ None if !is_listed => *place = Some(member),
                _ => return Err(BrokenCatalog::ListedTwice(zone)),
            }
        }
        after.retain(|zone, member| self.by_zone.get(zone) != member.as_ref());
        Ok(after)
    }
}

fn check_version(catalog: &Version) -> Result<(), BrokenCatalog> {
    let owner = catalog.find(&below(b"version", catalog.apex().as_wire()));
    let rrset = owner.and_then(|owner| owner.rrset(Rtype::TXT)).ok_or(BrokenCatalog::NoVersion)?;
    let mut rdatas = rrset.rdatas();
    match (rdatas.next(), rdatas.next()) {
        (_, Some(_)) => Err(BrokenCatalog::SeveralVersions),
        (Some([len, version @ ..]), None)
            if usize::from(*len) == VERSION.len() && version == VERSION =>
        {
            Ok(())
        }
        _ => Err(BrokenCatalog::OtherVersion),
    }
}

/// The label of the member node that a name is or stands below, in wire format.
fn label_of(owner: &[u8], zones: &[u8]) -> Option<Label> {
    let below = name::ancestors(owner).take_while(|above| *above != zones).last()?;
    let is_below = name::parent(below) == Some(zones);
    is_below.then(|| name::labels(below).next().map(|label| Label(label.into())))?
}

/// What the member node with this label says, if there is one.
fn member_at(
    catalog: &Version,
    zones: &[u8],
    label: &Label,
) -> Result<Option<(Name, Member)>, BrokenCatalog> {
    let node = below(label.octets(), zones);
    let several = || BrokenCatalog::SeveralZones(label.clone());
    let Some(zone) = target(catalog, &node, several)? else { return Ok(None) };
    let several = || BrokenCatalog::SeveralOwners(label.clone());
    let moves_to = target(catalog, &below(COO, &node), several)?;
    let group = catalog.find(&below(GROUP, &node));
    let groups = group.and_then(|owner| owner.rrset(Rtype::TXT));
    let groups = groups.iter().flat_map(|rrset| rrset.rdatas().map(text_of)).collect();
    Ok(Some((zone, Member { label: label.clone(), groups, moves_to })))
}

/// The name that the only PTR record of an owner says, if it has one.
fn target(
    catalog: &Version,
    owner: &[u8],
    several: impl Fn() -> BrokenCatalog,
) -> Result<Option<Name>, BrokenCatalog> {
    let Some(rrset) = catalog.find(owner).and_then(|owner| owner.rrset(Rtype::PTR)) else {
        return Ok(None);
    };
    let mut rdatas = rrset.rdatas();
    match (rdatas.next().and_then(Name::from_wire), rdatas.next()) {
        (_, Some(_)) => Err(several()),
        (zone, None) => Ok(zone),
    }
}

/// The character-strings of a TXT record (RFC 1035 section 3.3.14), one after the other.
fn text_of(mut rdata: &[u8]) -> String {
    let mut text = Vec::with_capacity(rdata.len());
    while let Some((len, rest)) = rdata.split_first() {
        let (string, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        text.extend_from_slice(string);
        rdata = rest;
    }
    String::from_utf8_lossy(&text).into_owned()
}
