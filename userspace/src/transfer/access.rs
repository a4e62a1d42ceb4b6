//! Who may transfer a zone.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{AllowTransfer, Zone};
use crate::zone::Name;

/// Who may transfer a zone; nobody by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransferAccess {
    prefixes: Vec<IpNet>,
    /// Keys that are enough by themselves.
    keys: Vec<Name>,
    /// The key that those who come from `prefixes` must sign with, if any.
    zone_key: Option<Name>,
}

impl TransferAccess {
    /// As the zone's section says.
    pub fn of(section: &Zone) -> TransferAccess {
        let mut access = TransferAccess { zone_key: section.tsig.clone(), ..Default::default() };
        for allowed in &section.allow_transfer {
            match allowed {
                AllowTransfer::Address(prefix) => access.prefixes.push(prefix.0),
                AllowTransfer::Key(name) => access.keys.push(name.clone()),
            }
        }
        access
    }

    /// For clients with these addresses, who need no key.
    pub fn of_prefixes(prefixes: impl IntoIterator<Item = IpNet>) -> TransferAccess {
        TransferAccess { prefixes: prefixes.into_iter().collect(), ..Default::default() }
    }

    /// Whether a client at this address, whose request was signed with this key or with none, may transfer the zone.
    pub fn allows(&self, client: IpAddr, key: Option<&Name>) -> bool {
        let is_key_enough = key.is_some_and(|key| self.keys.contains(key));
        let has_zone_key = self.zone_key.as_ref().is_none_or(|needed| key == Some(needed));
        is_key_enough || has_zone_key && self.prefixes.iter().any(|net| net.contains(&client))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn access(settings: &str) -> TransferAccess {
        let keys = ["one", "two"].map(|name| {
            format!("[[tsig]]\nname = \"{name}\"\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZg==\"\n")
        });
        let zone = format!("[[zone]]\nname = \"a\"\nfile = \"f\"\n{settings}\n");
        let text = format!("version = \"v1\"\n{}{zone}", keys.concat());
        let config = Config::parse(&text, Path::new("sealdns.toml")).unwrap();
        TransferAccess::of(config.zones().next().unwrap())
    }

    #[test]
    fn addresses_and_keys_open_a_zone_as_configured() {
        let names = ["one", "two"].map(|name| name.parse::<Name>().unwrap());
        let [here, elsewhere]: [IpAddr; 2] =
            ["192.0.2.7", "198.51.100.7"].map(|ip| ip.parse().unwrap());
        // Who may with no key, with `one`, with `two`: from the prefix, and from elsewhere.
        for (settings, expected) in [
            ("", [[false; 3]; 2]),
            ("tsig = \"one\"", [[false; 3]; 2]),
            ("allow-transfer = [\"192.0.2.0/24\"]", [[true; 3], [false; 3]]),
            (
                "tsig = \"one\"\nallow-transfer = [\"192.0.2.0/24\"]",
                [[false, true, false], [false; 3]],
            ),
            ("allow-transfer = [\"key two\"]", [[false, false, true]; 2]),
            (
                "tsig = \"one\"\nallow-transfer = [\"192.0.2.0/24\", \"key two.\"]",
                [[false, true, true], [false, false, true]],
            ),
        ] {
            let access = access(settings);
            let found = [here, elsewhere].map(|client| {
                [None, Some(&names[0]), Some(&names[1])].map(|key| access.allows(client, key))
            });
            assert_eq!(found, expected, "{settings}");
        }
    }
}
