//! Large zones that are compiled apart: meanwhile nobody waits who would publish another zone, or asks for something.

use std::sync::Arc;

use super::programs::Programs;
use super::published::{PublishedZones, set_max_labels};
use super::size::TooLarge;
use crate::clock::WallTime;
use crate::compile::{ApartZone, ChangeError, Difference, PlacedZone, PublishError, Room};
use crate::datapath::memory::Size;
use crate::datapath::seam::{APART_FROM, ApartCompiler, Publication, Published, PublishedManner};
use crate::zone::{self, Version};

/// Compiles zones for an image whose names are hashed with this key.
struct Compiler {
    seed: u64,
}

impl ApartCompiler for Compiler {
    fn compile(&self, zone: &Version, now: u32) -> anyhow::Result<ApartZone> {
        Ok(ApartZone::compile(&zone.flat()?, self.seed, now)?)
    }

    fn hash_key(&self) -> u64 {
        self.seed
    }
}

impl PublishedZones {
    /// As [`PublishedZones::publish`], unless all of a large zone must be compiled and there is room for that: for the
    /// zone if no version of it is published, else for both. Maps are not made larger for a version beside another one,
    /// since that would be for the time of a publication.
    pub(super) fn publish_at_once(
        &mut self,
        zone: &Version,
        change: Option<&zone::difference::Difference>,
        programs: &mut Programs,
    ) -> anyhow::Result<Publication> {
        // With a part of a zone in the maps much else must be published at the same time.
        if !self.partial.is_empty() || zone.owner_count() < APART_FROM {
            return self.publish(zone, change, programs).map(Publication::Done);
        }
        let published = match change {
            Some(change) => self.publish_change(zone, change, programs)?,
            None => None,
        };
        set_max_labels(self.image.max_labels(), programs);
        if let Some(published) = published {
            self.zones.insert(zone.apex().clone(), zone.clone());
            return Ok(Publication::Done(published));
        }
        if !self.image.has_room_beside(zone.apex()) {
            return self.publish(zone, None, programs).map(Publication::Done);
        }
        Ok(Publication::Apart(self.compiler()))
    }

    /// Who compiles zones for the image.
    pub(super) fn compiler(&self) -> Arc<dyn ApartCompiler> {
        Arc::new(Compiler { seed: self.image.seed() })
    }

    /// Hashes names with this key from now on. Nothing is published yet.
    pub(super) fn set_hash_key(&mut self, key: u64) {
        self.image.set_seed(key);
    }

    /// Takes room for a zone; `None` if there is none, or what is published is held in part meanwhile.
    pub(super) fn reserve(
        &mut self,
        zone: &ApartZone,
        programs: &mut Programs,
    ) -> anyhow::Result<Option<Room>> {
        if !self.partial.is_empty() {
            return Ok(None);
        }
        loop {
            match self.image.reserve(zone) {
                Ok(room) => return Ok(Some(room)),
                Err(PublishError::Full { .. }) if !self.retired.is_empty() => {
                    self.release(programs)
                }
                Err(PublishError::Full { .. }) if self.zones.contains_key(zone.apex()) => {
                    return Ok(None);
                }
                Err(PublishError::Full { slab_needed, buckets_needed }) => {
                    let needed = Size { slab: slab_needed, buckets: buckets_needed };
                    match self.grow(needed, programs) {
                        Err(error) if error.is::<TooLarge>() => return Ok(None),
                        grown => grown?,
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives room back.
    pub(super) fn cancel(&mut self, room: Room) {
        self.image.cancel(room);
    }

    /// Makes of a zone that was placed the version to which a difference leads.
    pub(super) fn change_placed(
        &mut self,
        mut placed: PlacedZone,
        zone: &Version,
        change: &zone::difference::Difference,
        programs: &mut Programs,
    ) -> anyhow::Result<PlacedZone> {
        loop {
            let now = WallTime::now().signature_time();
            match self.image.at(now).change_placed(&mut placed, zone, change) {
                Ok(()) => return Ok(placed),
                Err(ChangeError::Publish(PublishError::Full { slab_needed, buckets_needed })) => {
                    let needed = Size { slab: slab_needed, buckets: buckets_needed };
                    if let Err(error) = self.grow(needed, programs) {
                        self.image.cancel_placed(placed);
                        return Err(error);
                    }
                }
                Err(error) => {
                    self.image.cancel_placed(placed);
                    return Err(error.into());
                }
            }
        }
    }

    /// Gives back what a zone has taken.
    pub(super) fn cancel_placed(&mut self, placed: PlacedZone) {
        self.image.cancel_placed(placed);
    }

    /// Answers from a zone that was placed from now on.
    pub(super) fn publish_placed(
        &mut self,
        zone: &Version,
        mut placed: PlacedZone,
        programs: &mut Programs,
    ) -> anyhow::Result<Published> {
        let apex = zone.apex();
        // Known before the names are: an encloser is looked for from there.
        set_max_labels(self.image.max_labels().max(placed.max_labels()), programs);
        let put = match self.prepare(zone, programs) {
            Ok(()) => self.put(&mut placed, programs),
            Err(error) => Err(error),
        };
        match put {
            Ok(Difference { written, kept, .. }) => {
                self.forget_partial(apex, programs);
                set_max_labels(self.image.max_labels(), programs);
                self.zones.insert(apex.clone(), zone.clone());
                let manner = PublishedManner::Whole;
                Ok(Published { written, kept, is_partial: false, manner })
            }
            Err(error) => {
                self.image.cancel_placed(placed);
                match error.is::<TooLarge>() {
                    true => self.publish(zone, None, programs),
                    false => Err(error),
                }
            }
        }
    }

    fn put(
        &mut self,
        placed: &mut PlacedZone,
        programs: &mut Programs,
    ) -> anyhow::Result<Difference> {
        loop {
            match self.image.publish_placed(placed) {
                Ok((difference, retired)) => {
                    self.retired.push(retired);
                    return Ok(difference);
                }
                Err(PublishError::Full { .. }) if !self.retired.is_empty() => {
                    self.release(programs)
                }
                Err(PublishError::Full { slab_needed, buckets_needed }) => {
                    let needed = Size { slab: slab_needed, buckets: buckets_needed };
                    self.grow(needed, programs)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Plane;
    use super::*;
    use crate::compile::QueryContext;
    use crate::config::Config;
    use crate::datapath::seam::{DataPlane as _, Publishing as _};
    use crate::zone::difference::{Difference, Rules};
    use crate::zone::{Name, Rtype, ZoneBuilder};

    /// A data plane without XDP, in memory that is too small for what comes.
    fn plane() -> Plane {
        let config = Config::parse("version = \"v1\"\n", Path::new("sealdns.toml")).unwrap();
        Plane::new(&config, Size { slab: 2 << 16, buckets: 64 }).unwrap()
    }

    /// A zone with so many hosts.
    fn zone(apex: &str, serial: u32, hosts: u32) -> Version {
        let apex: Name = apex.parse().unwrap();
        let mut builder = ZoneBuilder::new(apex.clone());
        let mut soa = vec![0, 0];
        soa.extend(serial.to_be_bytes());
        soa.extend([0; 16]);
        builder.push(apex.as_wire(), Rtype::SOA, 300, &soa).unwrap();
        builder.push(apex.as_wire(), Rtype::NS, 300, &[0]).unwrap();
        for host in 0..hosts {
            let host: Name = format!("host{host}.{apex}").parse().unwrap();
            builder.push(host.as_wire(), Rtype::A, 300, &[192, 0, 2, 1]).unwrap();
        }
        Version::of(builder.finish().unwrap())
    }

    fn compiled(plane: &mut Plane, zone: &Version) -> ApartZone {
        match plane.publish_at_once(zone, None).unwrap() {
            Publication::Apart(compiler) => compiler.compile(zone, 1).unwrap(),
            Publication::Done(_) => panic!("it is not compiled apart"),
        }
    }

    fn is_done(publication: anyhow::Result<Publication>) -> bool {
        matches!(publication.unwrap(), Publication::Done(_))
    }

    fn filled(room: Room, zone: &ApartZone) -> PlacedZone {
        room.fill(zone).map_err(|(error, _)| error).unwrap()
    }

    /// Whether there is one answer to a question for the address of a host.
    fn has_address(plane: &Plane, host: &str) -> bool {
        let name: Name = host.parse().unwrap();
        let mut query = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(name.as_wire());
        query.extend([0, 1, 0, 1]);
        let asked = QueryContext {
            client: [127, 0, 0, 1].into(),
            over_tcp: false,
            limit: 1232,
            now: 1,
            edns_settings: &xdp_common::maps::EdnsSettings::new(),
        };
        let mut response = Vec::new();
        plane.engine().respond(&query, &asked, &mut response);
        response.get(6..8) == Some(&[0, 1])
    }

    #[test]
    fn a_large_zone_is_compiled_apart_while_others_are_published() {
        let mut plane = plane();
        let large = zone("example.", 1, 3000);
        let apart = compiled(&mut plane, &large);
        let room = plane.reserve(&apart).unwrap().expect("room");
        // Another one takes so much that the memory is exchanged meanwhile.
        let before = plane.published.image.usage().slab_capacity;
        plane.publish(&zone("other.", 1, 5000), None).unwrap();
        assert!(plane.published.image.usage().slab_capacity > before);
        let placed = filled(room, &apart);
        assert!(!has_address(&plane, "host7.example."));
        let published = plane.publish_placed(&large, placed).unwrap();
        assert_eq!((published.kept, published.is_partial), (0, false));
        for host in ["host7.example.", "host2999.example.", "host7.other."] {
            assert!(has_address(&plane, host), "{host}");
        }
        // A change of it is published by itself.
        let file = zone("example.", 2, 3001);
        let change = Difference::between_versions(&large, &file);
        let next = large.apply(&change, Rules::Strict).unwrap();
        assert!(is_done(plane.publish_at_once(&next, Some(&change))));
        assert!(has_address(&plane, "host3000.example."));
    }

    #[test]
    fn maps_are_made_large_enough_at_once_and_not_for_two_versions() {
        let mut plane = plane();
        assert!(is_done(plane.publish_at_once(&zone("small.", 1, 10), None)));
        let used = plane.published.image.usage().slab_octets;
        let large = zone("example.", 1, 3000);
        let apart = compiled(&mut plane, &large);
        let room = plane.reserve(&apart).unwrap().expect("room");
        let capacity = plane.published.image.usage().slab_capacity;
        plane.cancel(room);
        let room = plane.reserve(&apart).unwrap().expect("room");
        plane.cancel_placed(filled(room, &apart));
        // It goes with what is withdrawn next.
        plane.remove(&"small.".parse().unwrap()).unwrap();
        plane.publish(&zone("small.", 1, 10), None).unwrap();
        plane.tick();
        assert_eq!(plane.published.image.usage().slab_octets, used);
        let room = plane.reserve(&apart).unwrap().expect("room");
        plane.publish_placed(&large, filled(room, &apart)).unwrap();
        // Nothing was too small since.
        assert_eq!(plane.published.image.usage().slab_capacity, capacity);
        let next = zone("example.", 2, 3000);
        assert!(plane.reserve(&apart).unwrap().is_none());
        assert!(is_done(plane.publish_at_once(&next, None)));
        assert_eq!(plane.published.image.usage().slab_capacity, capacity);
        // What has gone leaves room for both.
        plane.publish(&zone("other.", 1, 6000), None).unwrap();
        plane.remove(&"other.".parse().unwrap()).unwrap();
        plane.tick();
        let again = zone("example.", 3, 3000);
        let apart = compiled(&mut plane, &again);
        let room = plane.reserve(&apart).unwrap().expect("room");
        plane.publish_placed(&again, filled(room, &apart)).unwrap();
        assert!(has_address(&plane, "host7.example.") && has_address(&plane, "host7.small."));
    }
}
