//! NOTIFY into this server (RFC 1996): from whom it is heeded, and which zones are to be looked at.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::config::Zone;
use crate::zone::Name;

/// From whom a zone's NOTIFY messages are heeded: its primaries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotifySources(Box<[(IpAddr, Option<Name>)]>);

impl NotifySources {
    /// As the zone's section says.
    pub fn of(section: &Zone) -> NotifySources {
        let source = |primary: &crate::config::Primary| {
            let key = primary.tsig.as_ref().or(section.tsig.as_ref());
            (primary.address.0.ip(), key.cloned())
        };
        NotifySources::new(section.primaries.iter().map(source))
    }

    /// Those at these addresses, who sign with these keys if there are any.
    pub fn new(sources: impl IntoIterator<Item = (IpAddr, Option<Name>)>) -> NotifySources {
        NotifySources(sources.into_iter().collect())
    }

    /// Whether what a client at this address says is heeded, signed with this key or with none.
    pub fn include(&self, client: IpAddr, key: Option<&Name>) -> bool {
        let client = client.to_canonical();
        let is_one = |(address, needed): &(IpAddr, Option<Name>)| {
            *address == client && (needed.is_none() || needed.as_ref() == key)
        };
        self.0.iter().any(is_one)
    }

    /// Whether the zone has primaries.
    pub fn exist(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Zones of which a primary has said that there is a newer version, until somebody looks. However often it is said, each is
/// there once, so that there are no more than are configured.
#[derive(Debug, Default)]
pub struct NotifiedZones {
    zones: Mutex<BTreeMap<Name, IpAddr>>,
    come: Notify,
}

impl NotifiedZones {
    /// A primary at this address has said so.
    pub fn add(&self, zone: Name, from: IpAddr) {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner).insert(zone, from);
        self.come.notify_one();
    }

    /// Those that were said since this was called last, each with who said so last.
    pub fn take(&self) -> BTreeMap<Name, IpAddr> {
        std::mem::take(&mut *self.zones.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until there are some, or somebody asks for all to be looked at.
    pub async fn come(&self) {
        self.come.notified().await;
    }

    /// Has who waits look.
    pub fn wake(&self) {
        self.come.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn primaries_are_heeded_at_their_addresses_and_with_their_keys() {
        let text = "version = \"v1\"\n\
            [[tsig]]\nname = \"one\"\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZg==\"\n\
            [[tsig]]\nname = \"two\"\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZg==\"\n\
            [[zone]]\nname = \"a\"\nprimaries = [\"192.0.2.1\", \"[2001:db8::1]:5353\"]\n\
            [[zone]]\nname = \"b\"\ntsig = \"one\"\n\
            primaries = [\"192.0.2.1\", { address = \"192.0.2.2\", tsig = \"two\" }]\n\
            [[zone]]\nname = \"c\"\nfile = \"f\"\n";
        let config = Config::parse(text, Path::new("sealdns.toml")).unwrap();
        let sources: Vec<NotifySources> = config.zones().map(NotifySources::of).collect();
        let (one, two): (Name, Name) = ("one.".parse().unwrap(), "two.".parse().unwrap());
        let heeded =
            |zone: usize, client: &str, key| sources[zone].include(client.parse().unwrap(), key);
        for key in [None, Some(&one)] {
            assert!(heeded(0, "192.0.2.1", key) && heeded(0, "::ffff:192.0.2.1", key));
            assert!(heeded(0, "2001:db8::1", key) && !heeded(0, "192.0.2.2", key));
            assert!(!heeded(2, "192.0.2.1", key));
        }
        assert!(heeded(1, "192.0.2.1", Some(&one)) && heeded(1, "192.0.2.2", Some(&two)));
        assert!(!heeded(1, "192.0.2.1", None) && !heeded(1, "192.0.2.2", Some(&one)));
        assert_eq!(
            sources.iter().map(NotifySources::exist).collect::<Vec<_>>(),
            [true, true, false]
        );
    }

    #[test]
    fn each_zone_is_there_once() {
        let zones = NotifiedZones::default();
        let (name, from) = ("a.".parse::<Name>().unwrap(), "192.0.2.1".parse().unwrap());
        (0..1000).for_each(|_| zones.add(name.clone(), from));
        assert_eq!(zones.take(), BTreeMap::from([(name, from)]));
        assert_eq!(zones.take(), BTreeMap::new());
    }
}
