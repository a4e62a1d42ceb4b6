//! Who may change what (RFC 2136 section 3.3; RFC 3007).

use super::UpdateRecord;
use crate::config::AllowUpdate;
use crate::zone::{Name, Rtype};

/// Whether a rule lets records of a type at a name be changed.
fn lets(rule: &AllowUpdate, apex: &Name, name: &[u8], rtype: Rtype) -> bool {
    let is_named = rule.names.is_empty() || rule.names.iter().any(|names| names.takes(name));
    let is_of_type = match rule.types.is_empty() {
        true => name != apex.as_wire() || !matches!(rtype, Rtype::SOA | Rtype::NS),
        false => rule.types.contains(&rtype),
    };
    is_named && is_of_type
}

/// Whether the holder of a key may do what a record asks for. Of a name that is to go as a whole, each type must be
/// the rules' to change that is there: `types_at` says which are.
pub fn is_let(
    rules: &[AllowUpdate],
    apex: &Name,
    key: &Name,
    record: &UpdateRecord,
    types_at: impl FnOnce(&[u8]) -> Vec<Rtype>,
) -> bool {
    let lets = |rtype: Rtype| {
        rules.iter().any(|rule| rule.key == *key && lets(rule, apex, &record.owner, rtype))
    };
    match record.rtype {
        // SOA and NS of the apex stay in any case (RFC 2136 section 3.4.2.3).
        Rtype::ANY => {
            let stays = |rtype: Rtype| {
                record.owner == apex.as_wire() && matches!(rtype, Rtype::SOA | Rtype::NS)
            };
            let types = types_at(&record.owner);
            lets(Rtype::ANY) || types.into_iter().filter(|&rtype| !stays(rtype)).all(lets)
        }
        rtype => lets(rtype),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ANY, IN};
    use super::*;
    use crate::config::NamePattern;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn record(class: u16, owner: &str, rtype: Rtype) -> UpdateRecord {
        UpdateRecord {
            owner: name(owner).as_wire().to_vec(),
            rtype,
            class,
            ttl: 0,
            rdata: Vec::new(),
        }
    }

    #[test]
    fn a_key_changes_what_its_rules_say() {
        let below = NamePattern::Below(name("dyn.example"));
        let exact = NamePattern::Exact(name("www.example"));
        let types = vec![Rtype::A, Rtype::TXT];
        let rules = [
            AllowUpdate { key: name("dhcp"), names: vec![below, exact], types },
            AllowUpdate { key: name("admin"), names: Vec::new(), types: Vec::new() },
        ];
        let lets = |key: &str, record: &UpdateRecord, there: &[Rtype]| {
            is_let(&rules, &name("example"), &name(key), record, |_| there.to_vec())
        };
        for (key, owner, rtype, expected) in [
            ("dhcp", "a.dyn.example", Rtype::A, true),
            ("dhcp", "b.a.dyn.example", Rtype::TXT, true),
            ("dhcp", "dyn.example", Rtype::A, false),
            ("dhcp", "www.example", Rtype::A, true),
            ("dhcp", "a.www.example", Rtype::A, false),
            ("dhcp", "a.dyn.example", Rtype::AAAA, false),
            ("other", "a.dyn.example", Rtype::A, false),
            ("admin", "any.example", Rtype::NS, true),
            ("admin", "example", Rtype::MX, true),
            ("admin", "example", Rtype::NS, false),
            ("admin", "example", Rtype::SOA, false),
        ] {
            assert_eq!(
                lets(key, &record(IN, owner, rtype), &[]),
                expected,
                "{key} {owner} {rtype}"
            );
        }
        let whole = |owner| record(ANY, owner, Rtype::ANY);
        assert!(lets("dhcp", &whole("a.dyn.example"), &[Rtype::A, Rtype::TXT]));
        assert!(!lets("dhcp", &whole("a.dyn.example"), &[Rtype::A, Rtype::MX]));
        assert!(!lets("dhcp", &whole("example"), &[Rtype::SOA, Rtype::NS, Rtype::MX]));
        assert!(lets("admin", &whole("example"), &[Rtype::SOA, Rtype::NS, Rtype::MX]));
    }
}
